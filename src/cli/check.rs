//! `outpost check`: are the settings good, and what are they?

use std::{fmt::Write as _, process::ExitCode};

use super::{flags::Flags, print};
use crate::config::Loaded;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print each setting with its effective value and where that comes from; secrets are shown as "set"
    #[arg(long)]
    print: bool,
    #[command(flatten)]
    flags: Flags,
}

pub(super) fn run(flags: Flags, args: Args) -> anyhow::Result<ExitCode> {
    let loaded = flags.and(args.flags).load()?;
    let mut text = String::new();
    if args.print {
        text += &table(&loaded);
    } else {
        let file = loaded.file.as_ref().map_or_else(String::new, |path| format!(" (file {})", path.display()));
        writeln!(text, "settings are good{file}")?;
    }
    for warning in &loaded.warnings {
        writeln!(text, "warning: {warning}")?;
    }
    print(text)?;
    Ok(ExitCode::SUCCESS)
}

/// Name, value and source in columns.
fn table(loaded: &Loaded) -> String {
    let rows: Vec<_> = loaded
        .effective()
        .map(|(setting, value, source)| (setting.name, value.unwrap_or_else(|| "-".into()), source.to_string()))
        .collect();
    let name_width = rows.iter().map(|(name, ..)| name.len()).max().unwrap_or(0);
    // One long path does not push everything else to the right.
    let value_width = rows.iter().map(|(_, value, _)| value.chars().count()).filter(|n| *n <= 48).max().unwrap_or(0);
    rows.iter().map(|(name, value, source)| format!("{name:name_width$}  {value:value_width$}  {source}\n")).collect()
}

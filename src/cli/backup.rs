//! `outpost backup` and `outpost restore`: the databases of a data directory in one file.

use std::{path::PathBuf, process::ExitCode};

use jiff::Timestamp;

use super::{
    flags::{Flags, LocateFlags},
    print,
    steps::Steps,
};
use crate::{
    app::DATABASES,
    broker::peer::now_ms,
    config::secrets,
    host::data_lock,
    persist::backup::{self, Manifest, Step},
};

#[derive(Debug, clap::Args)]
pub(super) struct BackupArgs {
    /// The file to write; there must be none of this name yet
    file: PathBuf,
    #[command(flatten)]
    flags: LocateFlags,
}

#[derive(Debug, clap::Args)]
pub(super) struct RestoreArgs {
    /// The backup
    file: PathBuf,
    #[command(flatten)]
    flags: LocateFlags,
}

/// Backs up; the server may run.
pub(super) fn backup(flags: Flags, args: BackupArgs) -> anyhow::Result<ExitCode> {
    let config = flags.and(args.flags.0).load()?.config;
    let mut steps = Steps::new();
    let manifest = backup::create(&config.paths.data, DATABASES, &args.file, now_ms(), &mut |step, done, total| {
        steps.show(name(step), done, total);
    })?;
    steps.clear();
    print(format!("{}wrote {}\n", describe(&manifest), args.file.display()))?;
    Ok(ExitCode::SUCCESS)
}

/// Restores; refuses while a server runs.
pub(super) fn restore(flags: Flags, args: RestoreArgs) -> anyhow::Result<ExitCode> {
    let config = flags.and(args.flags.0).load()?.config;
    // Before anything is made: what is no backup leaves nothing behind.
    backup::manifest(&args.file)?;
    let data = &config.paths.data;
    secrets::private_directory(data)?;
    let _lock = data_lock::acquire(data)?;
    let mut steps = Steps::new();
    let restored = backup::restore(&args.file, data, DATABASES, &stamp(), &mut |step, done, total| {
        steps.show(name(step), done, total);
    })?;
    steps.clear();
    let mut text = describe(&restored.manifest);
    text += &format!("restored into {}\n", data.display());
    for path in restored.replaced {
        text += &format!("what was there before is now {}\n", path.display());
    }
    print(text)?;
    Ok(ExitCode::SUCCESS)
}

fn name(step: Step) -> &'static str {
    match step {
        Step::Copy => "copying",
        Step::Pack => "packing",
        Step::Unpack => "unpacking",
        Step::Verify => "checking",
    }
}

fn describe(manifest: &Manifest) -> String {
    let created = i64::try_from(manifest.created).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    let mut text = created.map_or_else(String::new, |created| format!("backup of {created:.0}\n"));
    for entry in &manifest.databases {
        text += &format!("{:<12} {:>12} bytes\n", entry.name, entry.bytes);
    }
    text
}

/// A date that can be part of a file's name and sorts.
pub(super) fn stamp() -> String {
    Timestamp::now().strftime("%Y%m%d-%H%M%S").to_string()
}

//! `outpost db check` and `outpost db compact`.

use std::{path::Path, process::ExitCode};

use clap::Subcommand;

use super::{
    flags::{Flags, LocateFlags},
    print,
    steps::Steps,
};
use crate::{
    app::DATABASES,
    host::data_lock,
    hub::blobs,
    persist::{
        sqlite::{self, Schema},
        store,
    },
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check every database and every blob; the server may run
    Check(LocateFlags),
    /// Give space that is no longer used back to the disk; the server must be stopped
    Compact(LocateFlags),
}

pub(super) fn run(flags: Flags, args: Args) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::Check(own) => check(&flags.and(own.0).load()?.config.paths.data),
        Command::Compact(own) => compact(&flags.and(own.0).load()?.config.paths.data),
    }
}

/// The databases that are there.
fn present(data: &Path) -> anyhow::Result<Vec<&'static Schema>> {
    let present: Vec<_> = DATABASES.iter().copied().filter(|schema| data.join(schema.name).is_file()).collect();
    if present.is_empty() {
        anyhow::bail!("{}: no database is there; has the server ever run with this data directory?", data.display());
    }
    Ok(present)
}

fn check(data: &Path) -> anyhow::Result<ExitCode> {
    let mut steps = Steps::new();
    let mut text = String::new();
    let mut all_good = true;
    for schema in present(data)? {
        let path = data.join(schema.name);
        steps.show(schema.name, 0, 1);
        let outcome = match sqlite::verify(&path, schema) {
            Ok(found) if found.findings.is_empty() => format!("good, version {}", found.version),
            Ok(found) => {
                all_good = false;
                format!("DAMAGED: {}", found.findings.join("; "))
            }
            Err(error) => {
                all_good = false;
                error.to_string()
            }
        };
        steps.clear();
        text += &format!("{:<12} {outcome}\n", schema.name);
    }
    let streams = data.join(store::SCHEMA.name);
    if all_good && streams.is_file() {
        let checked = blobs::verify(&streams, |done, total| steps.show("blobs", done, total))?;
        steps.clear();
        all_good = checked.damaged.is_empty();
        text += &format!("{:<12} {} good, {} damaged\n", "blobs", checked.sound, checked.damaged.len());
        for id in checked.damaged {
            text += &format!("  {id} is not what its name says\n");
        }
    }
    print(text)?;
    Ok(if all_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn compact(data: &Path) -> anyhow::Result<ExitCode> {
    let present = present(data)?;
    let _lock = data_lock::acquire(data)?;
    let mut steps = Steps::new();
    let mut text = String::new();
    for (done, schema) in (0..).zip(&present) {
        steps.show("compacting", done, present.len() as u64);
        let path = data.join(schema.name);
        let (before, after) = sqlite::compact(&path, schema)?;
        text += &format!("{:<12} {before} bytes before, {after} after\n", schema.name);
    }
    steps.clear();
    print(text)?;
    Ok(ExitCode::SUCCESS)
}

//! `outpost stream info`: what a stream holds.

use std::{fmt::Write as _, process::ExitCode};

use serde_json::{Map, Value, json};

use crate::{
    cli::{connect::block_on, flags::Flags, owner::StoreFlags, print},
    persist::client::{Inventory, Storage},
};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// The stream's or store's name
    stream: String,
    #[command(flatten)]
    flags: StoreFlags,
}

pub(super) fn run(flags: Flags, args: Args) -> anyhow::Result<ExitCode> {
    let (path, inventory, config) = block_on(async {
        let (persist, owner) = args.flags.open(flags).await?;
        let stream = persist.astream(&owner, &args.stream, Storage::default())?;
        let path = stream.connection().path().to_owned();
        // Reading the configuration enforces the limits, so the numbers come after it.
        let config = stream.configure(&Map::new()).await?;
        anyhow::Ok((path, stream.inventory().await?, config))
    })?;
    print(if args.flags.bus.json { json_line(&path, &inventory, &config) } else { table(&path, &inventory, &config) })?;
    Ok(ExitCode::SUCCESS)
}

fn json_line(path: &str, inventory: &Inventory, config: &Map<String, Value>) -> String {
    let Inventory { bytes, count, seq, .. } = inventory;
    format!("{}\n", json!({"path": path, "count": count, "bytes": bytes, "seq": seq, "config": config}))
}

fn table(path: &str, inventory: &Inventory, config: &Map<String, Value>) -> String {
    let Inventory { bytes, count, seq, .. } = inventory;
    let mut text = format!("{:<22} {path}\n{:<22} {count}\n", "path", "messages");
    for (name, value) in [("bytes", bytes), ("newest number", seq)] {
        let _ = writeln!(text, "{name:<22} {value}");
    }
    for (name, value) in config {
        let _ = writeln!(text, "{name:<22} {value}");
    }
    text
}

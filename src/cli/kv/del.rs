//! `outpost kv del`: delete keys.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use serde_json::json;

use crate::{
    cli::{connect::block_on, flags::Flags, owner::StoreFlags, print},
    persist::client::Storage,
};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// The store's name
    store: String,
    /// The keys
    #[arg(required = true)]
    keys: Vec<String>,
    #[command(flatten)]
    flags: StoreFlags,
}

pub(super) fn run(flags: Flags, args: Args) -> anyhow::Result<ExitCode> {
    let (mut deleted, mut missing) = (0, Vec::new());
    block_on(async {
        let (persist, owner) = args.flags.open(flags).await?;
        let store = persist.akv(&owner, &args.store, Storage::default())?;
        for key in &args.keys {
            // A tombstone for a key that was never there would only take room.
            if store.message(key).await?.is_some() {
                store.delete(key).await?;
                deleted += 1;
            } else {
                missing.push(key);
            }
        }
        anyhow::Ok(())
    })?;
    if args.flags.bus.json {
        print(format!("{}\n", json!({"deleted": deleted, "missing": missing})))?;
    } else {
        print(format!("{deleted} deleted\n"))?;
        for key in &missing {
            let _ = writeln!(io::stderr(), "outpost: {} has no key {key:?}", args.store);
        }
    }
    Ok(if missing.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

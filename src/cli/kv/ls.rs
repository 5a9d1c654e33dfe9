//! `outpost kv ls`: list keys.

use std::process::ExitCode;

use crate::{
    cli::{connect::block_on, flags::Flags, owner::StoreFlags, print, record},
    persist::client::{GetAll, Storage},
};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// The store's name
    store: String,
    /// Only keys that begin with this
    prefix: Option<String>,
    /// Print the values as well
    #[arg(long, short = 'v')]
    values: bool,
    #[command(flatten)]
    flags: StoreFlags,
}

pub(super) fn run(flags: Flags, args: Args) -> anyhow::Result<ExitCode> {
    // A list of the keys alone would have those of deleted ones in it.
    let mut messages = block_on(async {
        let (persist, owner) = args.flags.open(flags).await?;
        let store = persist.connection(&owner, &args.store, Storage::default())?;
        anyhow::Ok(store.get_all(GetAll::default()).await?.messages)
    })?;
    let prefix = args.prefix.unwrap_or_default();
    messages
        .retain(|message| !message.is_tombstone() && message.key.as_ref().is_some_and(|key| key.starts_with(&prefix)));
    messages.sort_by(|a, b| a.key.cmp(&b.key));
    let mut text = String::new();
    for message in &messages {
        if args.flags.bus.json {
            text.push_str(&record::json_line(message));
        } else if args.values {
            text.push_str(&record::key_line(message));
        } else {
            text.push_str(message.key.as_deref().unwrap_or_default());
            text.push('\n');
        }
    }
    print(text)?;
    Ok(ExitCode::SUCCESS)
}

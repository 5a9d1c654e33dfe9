//! `outpost kv watch`: keys with their values as they change.

use std::process::ExitCode;

use crate::{
    cli::{connect::block_on, flags::Flags, owner::StoreFlags, print, record},
    persist::client::{Event, Storage},
};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// The store's name
    store: String,
    /// Only keys that begin with this
    prefix: Option<String>,
    /// End after so many changes
    #[arg(long, short = 'n', value_name = "COUNT")]
    count: Option<u64>,
    #[command(flatten)]
    flags: StoreFlags,
}

pub(super) fn run(flags: Flags, args: Args) -> anyhow::Result<ExitCode> {
    let prefix = args.prefix.unwrap_or_default();
    block_on(async {
        let (persist, owner) = args.flags.open(flags).await?;
        let store = persist.astream(&owner, &args.store, Storage::default())?;
        let mut changes = store.changes().await?;
        let mut left = args.count.unwrap_or(u64::MAX);
        while left > 0 {
            let Event::Set { message, .. } = changes.next().await? else { continue };
            if !message.key.as_ref().is_some_and(|key| key.starts_with(&prefix)) {
                continue;
            }
            print(if args.flags.bus.json { record::json_line(&message) } else { record::key_line(&message) })?;
            left -= 1;
        }
        anyhow::Ok(())
    })?;
    Ok(ExitCode::SUCCESS)
}

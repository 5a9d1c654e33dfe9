//! `outpost kv get`: the value of a key.

use std::process::ExitCode;

use anyhow::bail;

use crate::{
    cli::{connect::block_on, flags::Flags, owner::StoreFlags, print, record},
    persist::client::Storage,
};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// The store's name
    store: String,
    /// The key
    key: String,
    #[command(flatten)]
    flags: StoreFlags,
}

pub(super) fn run(flags: Flags, args: Args) -> anyhow::Result<ExitCode> {
    let message = block_on(async {
        let (persist, owner) = args.flags.open(flags).await?;
        anyhow::Ok(persist.akv(&owner, &args.store, Storage::default())?.message(&args.key).await?)
    })?;
    let Some(message) = message else { bail!("{} has no key {:?}", args.store, args.key) };
    print(if args.flags.bus.json { record::json_line(&message) } else { record::value_line(&message) })?;
    Ok(ExitCode::SUCCESS)
}

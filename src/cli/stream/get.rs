//! `outpost stream get`: one message.

use std::process::ExitCode;

use anyhow::bail;

use crate::{
    cli::{connect::block_on, flags::Flags, owner::StoreFlags, print, record},
    persist::client::Storage,
};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// The stream's name
    stream: String,
    /// The message's number
    seq: u64,
    #[command(flatten)]
    flags: StoreFlags,
}

pub(super) fn run(flags: Flags, args: Args) -> anyhow::Result<ExitCode> {
    let message = block_on(async {
        let (persist, owner) = args.flags.open(flags).await?;
        anyhow::Ok(persist.astream(&owner, &args.stream, Storage::default())?.get(args.seq).await?)
    })?;
    let Some(message) = message else { bail!("{} has no message {}", args.stream, args.seq) };
    print(if args.flags.bus.json { record::json_line(&message) } else { record::value_line(&message) })?;
    Ok(ExitCode::SUCCESS)
}

//! `outpost stream ls`: messages of a range.

use std::process::ExitCode;

use crate::{
    cli::{connect::block_on, flags::Flags, owner::StoreFlags, print, record},
    persist::client::Storage,
};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// The stream's name
    stream: String,
    /// The first number
    #[arg(long, value_name = "SEQ")]
    from: Option<u64>,
    /// The last number
    #[arg(long, value_name = "SEQ")]
    to: Option<u64>,
    #[command(flatten)]
    flags: StoreFlags,
}

pub(super) fn run(flags: Flags, args: Args) -> anyhow::Result<ExitCode> {
    let messages = block_on(async {
        let (persist, owner) = args.flags.open(flags).await?;
        anyhow::Ok(persist.astream(&owner, &args.stream, Storage::default())?.range(args.from, args.to).await?)
    })?;
    let line = if args.flags.bus.json { record::json_line } else { record::line };
    print(messages.iter().map(line).collect::<String>())?;
    Ok(ExitCode::SUCCESS)
}

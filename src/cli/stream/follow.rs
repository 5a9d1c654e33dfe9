//! `outpost stream follow`: the last messages, and those to come.

use std::process::ExitCode;

use anyhow::bail;

use crate::{
    cli::{connect::block_on, flags::Flags, owner::StoreFlags, print, record},
    persist::client::{CoreStream, Error, Owner, Persist, Storage, StreamOptions},
};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// The stream's name
    stream: String,
    /// Begin with so many of the messages that are there
    #[arg(long, value_name = "COUNT", default_value_t = 10)]
    last: usize,
    /// End after so many messages
    #[arg(long, short = 'n', value_name = "COUNT")]
    count: Option<u64>,
    #[command(flatten)]
    flags: StoreFlags,
}

pub(super) fn run(flags: Flags, args: Args) -> anyhow::Result<ExitCode> {
    let line = if args.flags.bus.json { record::json_line } else { record::line };
    block_on(async {
        let (persist, owner) = args.flags.open(flags).await?;
        let stream = open(&persist, &owner, &args.stream, args.last).await?;
        let first = match args.last {
            0 => stream.newest_seq() + 1,
            last => stream.last(last).first().map_or(0, |message| message.seq),
        };
        let mut messages = stream.follow(first.saturating_sub(1));
        let mut left = args.count.unwrap_or(u64::MAX);
        while left > 0 {
            let Some(message) = messages.next().await else {
                bail!("{}", stream.error().unwrap_or(Error::Closed));
            };
            print(line(&message))?;
            left -= 1;
        }
        anyhow::Ok(())
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Opens a stream with so many of its last messages, or some more.
async fn open(persist: &Persist, owner: &Owner, name: &str, last: usize) -> anyhow::Result<CoreStream> {
    let newest = persist.astream(owner, name, Storage::default())?.inventory().await?.seq;
    let wanted = last as u64;
    let mut start = (newest + 1).saturating_sub(wanted).max(1);
    let options = StreamOptions { start_seq: start, ..StreamOptions::default() };
    let stream = persist.stream(owner, name, options).await?;
    // Numbers may be missing, so it may take more of them.
    let mut more = wanted;
    while stream.len() < last && start > 1 {
        start = start.saturating_sub(more).max(1);
        stream.load_older(start).await?;
        more = more.saturating_mul(2);
    }
    Ok(stream)
}

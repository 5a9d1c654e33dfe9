//! `outpost bench`: load on a running server, measured at the client.

mod progress;
mod report;
mod server;
mod workload;

use std::{ops::RangeInclusive, process::ExitCode};

use clap::{ValueEnum, builder::RangedU64ValueParser, value_parser};

use self::{progress::Progress, report::Report, server::ServerProcess};
use super::{
    connect::{BusFlags, block_on},
    flags::Flags,
    print,
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// What to measure
    #[arg(value_enum)]
    workload: Workload,
    /// Messages, requests or connections; each workload has a default of its own
    #[arg(long, short = 'n', value_name = "COUNT", value_parser = value_parser!(u64).range(1..=1_000_000_000))]
    count: Option<u64>,
    /// Payload bytes
    #[arg(long, default_value_t = 128, value_parser = number(0..=7_900_000))]
    size: usize,
    /// Subscribers of fanout
    #[arg(long, default_value_t = 20, value_parser = number(1..=10_000))]
    subscribers: usize,
    /// Requests under way at a time
    #[arg(long, default_value_t = 64, value_parser = number(1..=10_000))]
    in_flight: usize,
    #[command(flatten)]
    bus: BusFlags,
}

fn number(range: RangeInclusive<u64>) -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(range)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Workload {
    /// One publisher, one subscriber
    Pub,
    /// One publisher, many subscribers on connections of their own
    Fanout,
    /// Requests to one service
    Request,
    /// Connections opened one after the other and kept
    Connections,
}

pub(super) fn run(flags: Flags, args: Args) -> anyhow::Result<ExitCode> {
    let as_json = args.bus.json;
    let report = block_on(async {
        let process = ServerProcess::find(&args.bus, flags.clone())?;
        let before = process.as_ref().and_then(ServerProcess::read);
        let progress = Progress::start();
        let measured = match args.workload {
            Workload::Pub => workload::publish(&args, flags, 1, args.count.unwrap_or(200_000), &progress).await?,
            Workload::Fanout => {
                let count = args.count.unwrap_or(20_000);
                workload::publish(&args, flags, args.subscribers, count, &progress).await?
            }
            Workload::Request => workload::request(&args, flags, args.count.unwrap_or(50_000), &progress).await?,
            Workload::Connections => workload::connections(&args, flags, args.count.unwrap_or(50), &progress).await?,
        };
        progress.finish();
        let after = process.as_ref().and_then(ServerProcess::read);
        anyhow::Ok(Report::new(measured, before.zip(after)))
    })?;
    print(if as_json { format!("{}\n", report.to_json()) } else { report.to_table() })?;
    Ok(ExitCode::SUCCESS)
}

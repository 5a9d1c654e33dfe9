//! `outpost token`: the URL that signs in to the running server.

use std::{
    io::{self, IsTerminal as _},
    process::ExitCode,
};

use anyhow::bail;

use super::{
    flags::{Flags, LocateFlags},
    print, qr, serve,
};
use crate::host::connection_info::ConnectionInfo;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print the QR code even when the output is no terminal
    #[arg(long)]
    qr: bool,
    #[command(flatten)]
    flags: LocateFlags,
}

pub(super) fn run(flags: Flags, args: Args) -> anyhow::Result<ExitCode> {
    let config = flags.and(args.flags.0).load()?.config;
    let Some(info) = ConnectionInfo::read(&config.paths.data)?.filter(ConnectionInfo::is_alive) else {
        bail!("no server runs with the data directory {}", config.paths.data.display());
    };
    print(format!("{}\n", info.url))?;
    if (args.qr || io::stdout().is_terminal())
        && let Some(code) = qr::render(&serve::url_from_outside(&info))
    {
        print(code)?;
    }
    Ok(ExitCode::SUCCESS)
}

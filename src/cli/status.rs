//! `outpost status`: does the server run, and how is it reached?

use std::{fmt::Write as _, process::ExitCode};

use jiff::Timestamp;
use serde_json::json;

use super::{
    ask,
    flags::{Flags, LocateFlags},
    print,
    target::Target,
};
use crate::host::connection_info::ConnectionInfo;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    flags: LocateFlags,
}

pub(super) fn run(flags: Flags, args: Args) -> anyhow::Result<ExitCode> {
    let config = flags.and(args.flags.0).load()?.config;
    let info = ConnectionInfo::read(&config.paths.data)?;
    let target = Target::find(&config, info.as_ref());
    let answers = |path| matches!(ask::get(&target, path), Ok((status, _)) if status.is_success());
    let healthy = answers("/healthz");
    let ready = healthy && answers("/readyz");
    let alive = info.as_ref().is_some_and(ConnectionInfo::is_alive);
    let text = if args.json {
        let info = info.as_ref().filter(|_| alive);
        let value = json!({
            "running": alive || healthy,
            "healthy": healthy,
            "ready": ready,
            "pid": info.map(|info| info.pid),
            "url": info.map(|info| without_token(&info.url)),
            "host": target.name,
            "port": target.port,
            "tls": target.certificate.is_some(),
            "base_path": info.map(|info| &info.base_path),
            "version": info.map(|info| &info.version),
            "server_id": info.map(|info| &info.server_id),
            "started": info.map(|info| info.started),
        });
        format!("{value}\n")
    } else {
        describe(info.as_ref(), alive, healthy, ready, &target)?
    };
    print(text)?;
    Ok(if ready { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn describe(
    info: Option<&ConnectionInfo>,
    alive: bool,
    healthy: bool,
    ready: bool,
    target: &Target,
) -> anyhow::Result<String> {
    let mut text = String::new();
    match info {
        Some(info) if alive => {
            writeln!(text, "outpost {} runs as process {}", info.version, info.pid)?;
            writeln!(text, "url      {}", without_token(&info.url))?;
            if let Ok(started) = Timestamp::from_millisecond(i64::try_from(info.started).unwrap_or(0)) {
                writeln!(text, "started  {started:.0}")?;
            }
        }
        Some(info) => writeln!(text, "the server (process {}) has ended without saying so", info.pid)?,
        None if healthy => writeln!(text, "a server answers on {} port {}", target.host, target.port)?,
        None => writeln!(text, "no server runs with this data directory")?,
    }
    if alive || healthy {
        let word = |good| if good { "yes" } else { "no" };
        writeln!(text, "healthy  {}\nready    {}", word(healthy), word(ready))?;
    }
    Ok(text)
}

/// A URL to show: the token is for `outpost token`.
fn without_token(url: &str) -> &str {
    url.split_once('?').map_or(url, |(url, _)| url)
}

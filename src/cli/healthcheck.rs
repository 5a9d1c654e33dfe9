//! `outpost healthcheck`: an exit status for containers that have no curl.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use super::{ask, flags::Flags, one_line, target::Target};
use crate::host::connection_info::ConnectionInfo;

/// 0 when the server is ready, else 1, whatever the reason: containers give other numbers other meanings.
pub(super) fn run(flags: &Flags) -> ExitCode {
    match check(flags.clone()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "outpost: {}", one_line(&format!("{error:#}")));
            ExitCode::FAILURE
        }
    }
}

fn check(flags: Flags) -> anyhow::Result<()> {
    let config = flags.load()?.config;
    // A connection info that can't be read is as good as none: the settings say where to look.
    let info = ConnectionInfo::read(&config.paths.data).ok().flatten();
    let (status, _) = ask::get(&Target::find(&config, info.as_ref()), "/readyz")?;
    anyhow::ensure!(status.is_success(), "not ready: status {status}");
    Ok(())
}

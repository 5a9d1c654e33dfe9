//! CPU time and memory of the server's process, when it runs on this machine.

use std::{fs, time::Duration};

use crate::cli::{connect::BusFlags, flags::Flags};

/// A process of this machine.
pub(super) struct ServerProcess {
    pid: i32,
}

/// What it has used.
#[derive(Clone, Copy, Debug)]
pub(super) struct Usage {
    pub cpu: Duration,
    pub rss_bytes: u64,
}

impl ServerProcess {
    /// The process behind the server that is measured; nothing if it may be on another machine.
    pub fn find(bus: &BusFlags, flags: Flags) -> anyhow::Result<Option<ServerProcess>> {
        Ok(bus.local_server(flags)?.map(|info| ServerProcess { pid: info.pid }))
    }

    pub fn read(&self) -> Option<Usage> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).ok()?;
        // The name may contain anything, so fields are counted from its end.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks: u64 = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
        let pages: u64 = fields.get(21)?.parse().ok()?;
        let per_second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).ok()??;
        let page_size = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok()??;
        Some(Usage {
            cpu: Duration::from_secs_f64(ticks as f64 / per_second as f64),
            rss_bytes: pages * u64::try_from(page_size).ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_this_process() {
        let usage = ServerProcess { pid: std::process::id().cast_signed() }.read().unwrap();
        assert!(usage.rss_bytes > 100_000);
    }
}

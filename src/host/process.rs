//! Numbers about this process.

use std::{
    fs,
    sync::OnceLock,
    time::{Instant, SystemTime},
};

use nix::sys::{
    resource::{Resource, UsageWho, getrlimit, getrusage, setrlimit},
    time::TimeValLike as _,
};

static STARTED: OnceLock<(Instant, SystemTime)> = OnceLock::new();

/// When the process started; the first call decides, so `main` makes it.
pub fn started() -> (Instant, SystemTime) {
    *STARTED.get_or_init(|| (Instant::now(), SystemTime::now()))
}

/// Resident memory in bytes, 0 where `/proc` is not mounted.
pub fn rss_bytes() -> u64 {
    status_number("VmRSS:").unwrap_or(0) * 1024
}

/// Number of threads.
pub fn threads() -> u64 {
    status_number("Threads:").unwrap_or(0)
}

fn status_number(name: &str) -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Processor time used so far, in user and kernel mode, in milliseconds.
pub fn cpu_ms() -> u64 {
    getrusage(UsageWho::RUSAGE_SELF)
        .map(|usage| (usage.user_time() + usage.system_time()).num_milliseconds().unsigned_abs())
        .unwrap_or(0)
}

/// Number of open descriptors.
pub fn open_descriptors() -> u64 {
    // The directory itself is open while it is read.
    fs::read_dir("/proc/self/fd").map_or(0, |entries| (entries.count() as u64).saturating_sub(1))
}

/// How many descriptors may be open.
pub fn max_descriptors() -> u64 {
    getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft)
}

static INHERITED: OnceLock<(u64, u64)> = OnceLock::new();

/// Raises the number of descriptors that may be open as far as the system lets us.
pub fn raise_max_descriptors() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        INHERITED.get_or_init(|| (soft, hard));
        if soft < hard {
            // Where this is refused the soft limit holds, as before.
            let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
        }
    }
}

/// The limits (soft, hard) on descriptors before [`raise_max_descriptors`]: children should get them back, because programs
/// that use `select` or close every possible descriptor suffer from a high one. `None` when nothing was raised.
pub fn inherited_max_descriptors() -> Option<(u64, u64)> {
    INHERITED.get().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_this_process_are_plausible() {
        assert!(rss_bytes() > 1 << 20);
        assert!(threads() >= 1);
        assert!(open_descriptors() >= 3);
        assert!(max_descriptors() >= open_descriptors());
        assert!(started().0 <= Instant::now());
    }
}

//! Numbers of the process, named as everywhere in the Prometheus world.

use std::{
    fs,
    sync::OnceLock,
    time::{SystemTime, UNIX_EPOCH},
};

use nix::sys::{
    resource::{Resource, UsageWho, getrlimit, getrusage},
    time::TimeValLike,
};

use super::{MetricsSource, Sample, Value};

/// The process we are.
pub(super) struct Process;

/// When the metrics were put together: close enough to the start of the process.
static STARTED: OnceLock<f64> = OnceLock::new();

impl Process {
    pub(super) fn new() -> Process {
        STARTED.get_or_init(now);
        Process
    }
}

impl MetricsSource for Process {
    fn samples(&self) -> Vec<Sample> {
        let mut samples = Vec::with_capacity(5);
        let mut gauge = |name, help, value: Option<f64>| {
            samples.extend(value.map(|value| Sample { name, help, value: Value::Gauge(value) }));
        };
        gauge("process_resident_memory_bytes", "Resident memory.", resident_bytes());
        gauge(
            "process_open_fds",
            "Open file descriptors.",
            fs::read_dir("/proc/self/fd").ok().map(|list| list.count() as f64),
        );
        gauge(
            "process_max_fds",
            "Limit of file descriptors.",
            getrlimit(Resource::RLIMIT_NOFILE).ok().map(|(soft, _)| soft as f64),
        );
        gauge(
            "process_start_time_seconds",
            "Start of the process, in seconds since 1970.",
            Some(*STARTED.get_or_init(now)),
        );
        samples.extend(cpu_seconds().map(|seconds| Sample {
            name: "process_cpu_seconds",
            help: "Processor time used, by the program and in the kernel.",
            value: Value::Seconds(seconds),
        }));
        samples
    }
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

fn resident_bytes() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024.0)
}

fn cpu_seconds() -> Option<f64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    let micros = usage.user_time().num_microseconds().saturating_add(usage.system_time().num_microseconds());
    Some(micros as f64 / 1e6)
}

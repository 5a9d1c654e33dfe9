//! Numbers: latencies, medians, and what the kernel knows about a process.

use std::{fs, io, time::Duration};

/// Latencies in nanoseconds, kept one by one.
#[derive(Default)]
pub struct Latencies(Vec<u32>);

impl Latencies {
    pub fn add(&mut self, nanos: u64) {
        self.0.push(u32::try_from(nanos).unwrap_or(u32::MAX));
    }

    pub fn merge(&mut self, other: Latencies) {
        self.0.extend(other.0);
    }

    /// p50, p99 and p99.9 in microseconds.
    pub fn percentiles(mut self) -> [f64; 3] {
        self.0.sort_unstable();
        [0.5, 0.99, 0.999].map(|quantile| {
            let rank = (self.0.len() as f64 * quantile) as usize;
            self.0.get(rank.min(self.0.len().saturating_sub(1))).map_or(f64::NAN, |&nanos| f64::from(nanos) / 1000.0)
        })
    }
}

/// The middle one; the mean of the middle two.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        len if len % 2 == 1 => values[middle],
        _ => (values[middle - 1] + values[middle]) / 2.0,
    }
}

/// Processor time a process has used, in its own code and in the kernel on its behalf.
pub fn cpu_time(pid: u32) -> io::Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in parentheses may contain spaces; user and system time are the 12th and 13th word after it.
    let words: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
    let ticks = |index: usize| words.get(index).and_then(|word| word.parse::<u64>().ok()).unwrap_or_default();
    // A tick is 10 ms on every Linux that matters (USER_HZ).
    Ok(Duration::from_millis((ticks(11) + ticks(12)) * 10))
}

/// A line of `/proc/PID/status` that is given in kB, in MiB.
pub fn memory_mib(pid: u32, line: &str) -> io::Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let value = status.lines().find_map(|l| l.strip_prefix(line)?.strip_prefix(':')?.split_whitespace().next());
    Ok(value.and_then(|kb| kb.parse::<f64>().ok()).unwrap_or(f64::NAN) / 1024.0)
}

/// How often the threads of a process went to sleep so far, which is how often they woke up.
pub fn wake_ups(pid: u32) -> io::Result<u64> {
    let mut total = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let status = fs::read_to_string(task?.path().join("status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        total += line.and_then(|count| count.trim().parse::<u64>().ok()).unwrap_or_default();
    }
    Ok(total)
}

//! Numbers for people and for machines.

use std::{fmt::Write as _, time::Duration};

use serde_json::{Value, json};

use super::server::Usage;

/// What a workload measured.
pub(super) struct Measured {
    /// What was counted.
    pub what: &'static str,
    /// How many.
    pub count: u64,
    /// How long it took altogether.
    pub took: Duration,
    /// Latencies.
    pub latencies: Vec<Duration>,
}

/// A finished measurement.
pub(super) struct Report {
    measured: Measured,
    usage: Option<(Usage, Usage)>,
}

impl Report {
    /// `usage`: the server's before and after.
    pub fn new(mut measured: Measured, usage: Option<(Usage, Usage)>) -> Report {
        measured.latencies.sort_unstable();
        Report { measured, usage }
    }

    fn percentile(&self, share: f64) -> Duration {
        let latencies = &self.measured.latencies;
        let index = (latencies.len() as f64 * share) as usize;
        latencies.get(index.min(latencies.len().saturating_sub(1))).copied().unwrap_or_default()
    }

    fn rate(&self) -> f64 {
        self.measured.count as f64 / self.measured.took.as_secs_f64().max(1e-9)
    }

    fn cpu_micros_each(&self) -> Option<f64> {
        let (before, after) = self.usage?;
        Some(after.cpu.saturating_sub(before.cpu).as_secs_f64() * 1e6 / self.measured.count.max(1) as f64)
    }

    pub fn to_json(&self) -> Value {
        let micros = |share| self.percentile(share).as_secs_f64() * 1e6;
        json!({
            "what": self.measured.what,
            "count": self.measured.count,
            "seconds": self.measured.took.as_secs_f64(),
            "per_second": self.rate(),
            "latency_us": {"p50": micros(0.5), "p99": micros(0.99), "p99.9": micros(0.999)},
            "server": self.usage.map(|(_, after)| json!({
                "cpu_us_each": self.cpu_micros_each(),
                "rss_bytes": after.rss_bytes,
            })),
        })
    }

    pub fn to_table(&self) -> String {
        let mut out = String::new();
        let mut row = |name: &str, value: String| {
            // Writing to a string cannot fail.
            let _ = writeln!(out, "{name:<22} {value:>14}");
        };
        row(self.measured.what, self.measured.count.to_string());
        row("seconds", format!("{:.3}", self.measured.took.as_secs_f64()));
        row("per second", format!("{:.0}", self.rate()));
        for (name, share) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)] {
            row(&format!("latency {name}"), format!("{:.1} µs", self.percentile(share).as_secs_f64() * 1e6));
        }
        match (self.usage, self.cpu_micros_each()) {
            (Some((_, after)), Some(cpu)) => {
                row("server CPU each", format!("{cpu:.2} µs"));
                row("server memory", format!("{:.1} MiB", after.rss_bytes as f64 / (1 << 20) as f64));
            }
            _ => row("server", "elsewhere".into()),
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_come_from_sorted_latencies() {
        let latencies = (1..=1000).rev().map(Duration::from_micros).collect();
        let measured = Measured { what: "messages", count: 1000, took: Duration::from_secs(2), latencies };
        let report = Report::new(measured, None);
        let json = report.to_json();
        assert_eq!(json["per_second"], 500.0);
        assert!((json["latency_us"]["p50"].as_f64().unwrap() - 501.0).abs() < 1e-6);
        assert!(report.to_table().contains("elsewhere"));
    }
}

//! Counters of the whole server, read by metrics, the status service and the page.

use std::sync::atomic::{AtomicU64, Ordering};

/// One number that only grows (or a gauge set from one place).
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Takes `n` away; for gauges.
    pub fn sub(&self, n: u64) {
        self.0.fetch_sub(n, Ordering::Relaxed);
    }

    /// The number now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counters of the broker; totals since start unless called a gauge.
#[derive(Debug, Default)]
pub struct Counters {
    /// Gauge: connections over a socket that are open.
    pub connections: Counter,
    /// Connections ever opened.
    pub connections_opened: Counter,
    /// Gauge: subscriptions of all connections.
    pub subscriptions: Counter,
    /// Frames published.
    pub messages_in: Counter,
    /// Payload bytes published.
    pub bytes_in: Counter,
    /// Frames delivered.
    pub messages_out: Counter,
    /// Payload bytes delivered.
    pub bytes_out: Counter,
    /// Frames published that nobody was subscribed to.
    pub no_interest: Counter,
    /// Deliveries dropped because their reader was cut off.
    pub drops: Counter,
    /// Connections cut off because they read too slowly.
    pub slow_readers: Counter,
    /// Operations refused by the policy.
    pub refused: Counter,
    /// Failed sign-ins.
    pub sign_in_failures: Counter,
    /// Connections closed because of a protocol violation.
    pub protocol_errors: Counter,
    /// Events refused by admission control.
    pub throttled: Counter,
    /// Time from a frame's arrival to the last outbox.
    pub route_time: Histogram,
}

/// Upper bounds of the buckets of a [`Histogram`], in µs; one more bucket holds the rest.
pub const BUCKETS_MICROS: [u64; 12] = [1, 2, 5, 10, 20, 50, 100, 250, 1_000, 5_000, 25_000, 100_000];

/// How long something took, counted in buckets.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [Counter; BUCKETS_MICROS.len() + 1],
    nanos: Counter,
}

impl Histogram {
    /// The bucket of a duration.
    pub fn bucket(duration: std::time::Duration) -> usize {
        let micros = duration.as_micros() as u64;
        BUCKETS_MICROS.iter().position(|bound| micros <= *bound).unwrap_or(BUCKETS_MICROS.len())
    }

    /// Adds durations that were counted elsewhere: how many in each bucket, and their sum.
    pub fn add(&self, counts: &[u64; BUCKETS_MICROS.len() + 1], sum: std::time::Duration) {
        for (bucket, count) in self.buckets.iter().zip(counts).filter(|(_, count)| **count > 0) {
            bucket.add(*count);
        }
        self.nanos.add(sum.as_nanos() as u64);
    }

    /// Counts per bucket, the last one without upper bound; not cumulative.
    pub fn counts(&self) -> [u64; BUCKETS_MICROS.len() + 1] {
        std::array::from_fn(|i| self.buckets.get(i).map_or(0, Counter::get))
    }

    /// The sum of all durations.
    pub fn sum(&self) -> std::time::Duration {
        std::time::Duration::from_nanos(self.nanos.get())
    }
}

//! Counters of a store.

use std::time::Duration;

use crate::broker::stats::{BUCKETS_MICROS, Counter, Histogram};

/// Counters of a store; totals since start unless called a gauge.
#[derive(Debug, Default)]
pub struct Stats {
    /// Messages stored.
    pub messages: Counter,
    /// Bytes of their payloads, headers and keys.
    pub bytes: Counter,
    /// Transactions committed.
    pub commits: Counter,
    /// Jobs in these transactions; divided by the commits, the size of a group.
    pub jobs: Counter,
    /// Transactions that failed.
    pub failures: Counter,
    /// Time from the begin of a transaction to its commit.
    pub commit_time: Histogram,
    /// Reads carried out.
    pub reads: Counter,
    /// Feeds that ended because their readers were too slow.
    pub slow_feeds: Counter,
    /// Snapshots that were taken from readers that did not go on.
    pub lost_snapshots: Counter,
    /// Gauge: streams that are open.
    pub open_streams: Counter,
    /// Times the write-ahead log was copied into the database.
    pub checkpoints: Counter,
}

impl Stats {
    pub(super) fn committed(&self, jobs: usize, took: Duration) {
        let mut counts = [0; BUCKETS_MICROS.len() + 1];
        if let Some(count) = counts.get_mut(Histogram::bucket(took)) {
            *count = 1;
        }
        self.commit_time.add(&counts, took);
        self.commits.add(1);
        self.jobs.add(jobs as u64);
    }
}

//! What the persist service and its store do.

use std::sync::Arc;

use super::{MetricsSource, Sample, histogram};
use crate::persist::{service::Counters, store::Stats};

/// Counters of the persist service and of the store.
pub struct Streams {
    /// Of the service.
    pub service: Arc<Counters>,
    /// Of the store.
    pub store: Arc<Stats>,
    /// Whether the store refuses writes.
    pub refuses: Box<dyn Fn() -> bool + Send + Sync>,
}

impl MetricsSource for Streams {
    fn samples(&self) -> Vec<Sample> {
        let (c, s) = (&self.service, &self.store);
        let gauge = |name, help, n: u64| Sample::gauge(name, help, n as f64);
        vec![
            gauge("outpost_persist_open_sockets", "Sockets on which a stream is open.", c.open.get()),
            Sample::counter("outpost_persist_refused_opens", "Opens that were refused.", c.refused_opens.get()),
            Sample::counter("outpost_persist_requests", "Requests on open streams.", c.requests.get()),
            Sample::counter("outpost_persist_failures", "Requests answered with an error.", c.failures.get()),
            gauge("outpost_persist_replays", "Replays of messages that are under way.", c.replays.get()),
            Sample::counter("outpost_persist_feed_frames", "Frames sent on changefeeds.", c.frames.get()),
            Sample::counter(
                "outpost_persist_slow_readers",
                "Sockets closed because their changefeed was not acknowledged.",
                c.slow_readers.get(),
            ),
            gauge("outpost_store_open_streams", "Streams that are open in the store.", s.open_streams.get()),
            gauge("outpost_store_refuses_writes", "1 while the store refuses writes.", u64::from((self.refuses)())),
            Sample::counter("outpost_store_messages", "Messages stored.", s.messages.get()),
            Sample::counter("outpost_store_bytes", "Bytes of their payloads, headers and keys.", s.bytes.get()),
            Sample::counter("outpost_store_commits", "Transactions committed.", s.commits.get()),
            Sample::counter("outpost_store_jobs", "Writes in these transactions.", s.jobs.get()),
            Sample::counter("outpost_store_commit_failures", "Transactions that failed.", s.failures.get()),
            Sample {
                name: "outpost_store_commit_seconds",
                help: "Time from the begin of a transaction to its commit.",
                value: histogram(&s.commit_time),
            },
            Sample::counter("outpost_store_reads", "Reads carried out.", s.reads.get()),
            Sample::counter(
                "outpost_store_lost_snapshots",
                "Snapshots taken from readers that did not go on.",
                s.lost_snapshots.get(),
            ),
            Sample::counter(
                "outpost_store_checkpoints",
                "Times the write-ahead log was copied into the database.",
                s.checkpoints.get(),
            ),
        ]
    }
}

//! What the service counts, for metrics.

use std::sync::Arc;

use crate::broker::stats::Counter;

/// Counters of the service; totals since start unless called a gauge.
#[derive(Debug, Default)]
pub struct Counters {
    /// Gauge: sockets on which a stream is open.
    pub open: Counter,
    /// Opens that were refused.
    pub refused_opens: Counter,
    /// Requests that arrived on open sockets.
    pub requests: Counter,
    /// Requests that were answered with an error.
    pub failures: Counter,
    /// Gauge: answers to `getAll` that are being sent.
    pub replays: Counter,
    /// Frames of changefeeds.
    pub frames: Counter,
    /// Sockets closed because their changefeed was not acknowledged.
    pub slow_readers: Counter,
}

/// One that a gauge counts, until it is dropped.
pub(super) struct Counted {
    counters: Arc<Counters>,
    gauge: fn(&Counters) -> &Counter,
}

impl Counted {
    pub fn new(counters: &Arc<Counters>, gauge: fn(&Counters) -> &Counter) -> Counted {
        gauge(counters).add(1);
        Counted { counters: counters.clone(), gauge }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        (self.gauge)(&self.counters).sub(1);
    }
}

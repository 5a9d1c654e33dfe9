//! What waits in the broker, and how long routing takes.

use std::sync::Arc;

use super::{MetricsSource, Sample, histogram};
use crate::broker::Broker;

/// Queue depths, waits and latencies of a broker.
pub struct Queues(pub Arc<Broker>);

impl MetricsSource for Queues {
    fn samples(&self) -> Vec<Sample> {
        let depths = self.0.queue_depths();
        let gauge = |name, help, n: usize| Sample::gauge(name, help, n as f64);
        vec![
            gauge("outpost_broker_queued_messages", "Messages in all outboxes.", depths.messages),
            gauge("outpost_broker_queued_bytes", "Bytes in all outboxes.", depths.bytes),
            gauge("outpost_broker_deepest_queue_bytes", "Bytes in the fullest outbox.", depths.deepest_bytes),
            gauge("outpost_broker_waits", "Waits for interest that are under way.", self.0.waiting()),
            Sample {
                name: "outpost_broker_route_seconds",
                help: "Time from a frame's arrival to the last outbox.",
                value: histogram(&self.0.counters().route_time),
            },
        ]
    }
}

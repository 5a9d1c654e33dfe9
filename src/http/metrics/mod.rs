//! `GET /metrics`: numbers for Prometheus, in the OpenMetrics text format.

mod process;
mod queues;
mod requests;
mod streams;

use std::{fmt, sync::Arc};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet, text},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};

use crate::broker::{
    Counters,
    stats::{BUCKETS_MICROS, Histogram},
};

pub use queues::Queues;
pub(super) use requests::Requests;
pub use streams::Streams;

/// Content type of the answer.
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The value of a [`Sample`].
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Only grows; the name is given without `_total`.
    Counter(u64),
    /// A time in seconds that only grows; the name is given without `_total`.
    Seconds(f64),
    /// Goes up and down.
    Gauge(f64),
    /// How often what was how large.
    Histogram {
        /// Sum of all observations.
        sum: f64,
        /// Number of observations.
        count: u64,
        /// Upper bound and number of observations in each bucket (not added up); the last bound should be infinite.
        buckets: Vec<(f64, u64)>,
    },
}

/// One number with its name.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// `outpost_<part>_<noun>_<unit>`.
    pub name: &'static str,
    /// A sentence for people.
    pub help: &'static str,
    /// The number now.
    pub value: Value,
}

impl Sample {
    /// A number that only grows; `name` without `_total`.
    pub fn counter(name: &'static str, help: &'static str, value: u64) -> Sample {
        Sample { name, help, value: Value::Counter(value) }
    }

    /// A number that goes up and down.
    pub fn gauge(name: &'static str, help: &'static str, value: f64) -> Sample {
        Sample { name, help, value: Value::Gauge(value) }
    }
}

/// The times that a histogram has counted.
fn histogram(times: &Histogram) -> Value {
    let counts = times.counts();
    let bounds = BUCKETS_MICROS.iter().map(|micros| *micros as f64 / 1e6).chain([f64::INFINITY]);
    Value::Histogram {
        sum: times.sum().as_secs_f64(),
        count: counts.iter().sum(),
        buckets: bounds.zip(counts).collect(),
    }
}

/// A part that has numbers to show. It is asked each time somebody looks; names must differ between sources.
pub trait MetricsSource: Send + Sync + 'static {
    /// The numbers now.
    fn samples(&self) -> Vec<Sample>;
}

/// Everything `/metrics` shows.
#[derive(Debug, Default)]
pub struct Metrics {
    registry: Registry,
}

impl Metrics {
    /// The process's own numbers and those of the broker.
    pub fn new(counters: Arc<Counters>) -> Metrics {
        let mut metrics = Metrics::default();
        metrics.add(process::Process::new());
        metrics.add(Broker(counters));
        metrics
    }

    /// Shows the numbers of one more part.
    pub fn add(&mut self, source: impl MetricsSource) {
        self.registry.register_collector(Box::new(Adapter(source)));
    }

    /// The text.
    pub(super) fn render(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// Shows a [`MetricsSource`] to the library.
struct Adapter<S>(S);

impl<S> fmt::Debug for Adapter<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Adapter")
    }
}

impl<S: MetricsSource> Collector for Adapter<S> {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        for Sample { name, help, value } in self.0.samples() {
            match value {
                Value::Counter(n) => {
                    let counter = ConstCounter::new(n);
                    counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)?;
                }
                Value::Seconds(n) => {
                    let counter = ConstCounter::new(n);
                    counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)?;
                }
                Value::Gauge(n) => {
                    let gauge = ConstGauge::new(n);
                    gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
                }
                Value::Histogram { sum, count, buckets } => encoder
                    .encode_descriptor(name, help, None, MetricType::Histogram)?
                    .encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?,
            }
        }
        Ok(())
    }
}

/// The broker's counters.
struct Broker(Arc<Counters>);

impl MetricsSource for Broker {
    fn samples(&self) -> Vec<Sample> {
        let c = &self.0;
        let gauge = |name, help, n: u64| Sample::gauge(name, help, n as f64);
        vec![
            gauge("outpost_broker_connections", "Connections over a socket that are open.", c.connections.get()),
            Sample::counter(
                "outpost_broker_connections_opened",
                "Connections ever opened.",
                c.connections_opened.get(),
            ),
            gauge("outpost_broker_subscriptions", "Subscriptions of all connections.", c.subscriptions.get()),
            Sample::counter("outpost_broker_messages_in", "Frames published.", c.messages_in.get()),
            Sample::counter("outpost_broker_in_bytes", "Payload bytes published.", c.bytes_in.get()),
            Sample::counter("outpost_broker_messages_out", "Frames delivered.", c.messages_out.get()),
            Sample::counter("outpost_broker_out_bytes", "Payload bytes delivered.", c.bytes_out.get()),
            Sample::counter(
                "outpost_broker_no_interest",
                "Frames published that nobody was subscribed to.",
                c.no_interest.get(),
            ),
            Sample::counter(
                "outpost_broker_drops",
                "Deliveries dropped because their reader was cut off.",
                c.drops.get(),
            ),
            Sample::counter(
                "outpost_broker_slow_readers",
                "Connections cut off because they read too slowly.",
                c.slow_readers.get(),
            ),
            Sample::counter("outpost_broker_refused", "Operations refused by the policy.", c.refused.get()),
            Sample::counter("outpost_broker_sign_in_failures", "Failed sign-ins.", c.sign_in_failures.get()),
            Sample::counter(
                "outpost_broker_protocol_errors",
                "Connections closed because of a protocol violation.",
                c.protocol_errors.get(),
            ),
            Sample::counter("outpost_broker_throttled", "Events refused by admission control.", c.throttled.get()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Depths;

    impl MetricsSource for Depths {
        fn samples(&self) -> Vec<Sample> {
            let value = Value::Histogram { sum: 3.5, count: 3, buckets: vec![(1.0, 1), (2.0, 1), (f64::INFINITY, 1)] };
            vec![
                Sample::gauge("outpost_test_depth", "How deep.", 2.5),
                Sample { name: "outpost_test_wait_seconds", help: "How long.", value },
            ]
        }
    }

    #[test]
    fn text_of_all_kinds() {
        let counters = Arc::new(Counters::default());
        counters.messages_in.add(3);
        let mut metrics = Metrics::new(counters);
        metrics.add(Depths);
        let text = metrics.render().unwrap();
        for line in [
            "# HELP outpost_broker_messages_in Frames published.",
            "# TYPE outpost_broker_messages_in counter",
            "outpost_broker_messages_in_total 3",
            "outpost_test_depth 2.5",
            "outpost_test_wait_seconds_count 3",
            "outpost_test_wait_seconds_bucket{le=\"2.0\"} 2",
            "outpost_test_wait_seconds_bucket{le=\"+Inf\"} 3",
            "# EOF",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
        assert!(text.contains("process_resident_memory_bytes "));
        assert!(text.contains("process_open_fds "));
    }
}

//! How many requests were answered how, and how long that took.

use std::{
    array,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use http::StatusCode;

use super::{MetricsSource, Sample, Value};

/// Upper bounds of the histogram, in seconds.
const BOUNDS: [f64; 10] = [0.0001, 0.000_5, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 2.0, f64::INFINITY];

/// Counts requests.
#[derive(Debug, Default)]
pub(in crate::http) struct Requests {
    /// By first digit of the status.
    classes: [AtomicU64; 6],
    buckets: [AtomicU64; BOUNDS.len()],
    micros: AtomicU64,
    /// Connections that are open now; upgraded ones included.
    pub(in crate::http) connections: AtomicU64,
}

impl Requests {
    /// Notes one answer.
    pub(in crate::http) fn note(&self, status: StatusCode, took: Duration) {
        if let Some(class) = self.classes.get(usize::from(status.as_u16() / 100)) {
            class.fetch_add(1, Ordering::Relaxed);
        }
        let seconds = took.as_secs_f64();
        if let Some(bucket) =
            BOUNDS.iter().position(|bound| seconds <= *bound).and_then(|index| self.buckets.get(index))
        {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.micros.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

impl MetricsSource for Arc<Requests> {
    fn samples(&self) -> Vec<Sample> {
        const CLASSES: [(usize, &str, &str); 5] = [
            (1, "outpost_http_responses_1xx", "Requests that became another protocol."),
            (2, "outpost_http_responses_2xx", "Requests answered well."),
            (3, "outpost_http_responses_3xx", "Requests answered with another place or with \"unchanged\"."),
            (4, "outpost_http_responses_4xx", "Requests refused."),
            (5, "outpost_http_responses_5xx", "Requests that failed."),
        ];
        let read = |list: &[AtomicU64], index: usize| list.get(index).map_or(0, |n| n.load(Ordering::Relaxed));
        let mut samples: Vec<_> = CLASSES
            .into_iter()
            .map(|(index, name, help)| Sample::counter(name, help, read(&self.classes, index)))
            .collect();
        let counts: [u64; BOUNDS.len()] = array::from_fn(|index| read(&self.buckets, index));
        samples.push(Sample {
            name: "outpost_http_request_seconds",
            help: "Time from the head of a request to the head of its answer.",
            value: Value::Histogram {
                sum: self.micros.load(Ordering::Relaxed) as f64 / 1e6,
                count: counts.iter().sum(),
                buckets: BOUNDS.into_iter().zip(counts).collect(),
            },
        });
        let connections = self.connections.load(Ordering::Relaxed) as f64;
        samples.push(Sample::gauge(
            "outpost_http_connections",
            "HTTP connections that are open, upgraded ones included.",
            connections,
        ));
        samples
    }
}

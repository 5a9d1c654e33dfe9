//! The flight recorder: metadata of the last messages in a bounded ring, always on.
//!
//! It never holds a payload or a header's value.

use std::{collections::VecDeque, sync::Arc};

use parking_lot::Mutex;
use serde_json::{Value, json};
use smallvec::SmallVec;

/// What is kept of one frame.
#[derive(Clone, Debug)]
pub struct Record {
    /// Running number from 1.
    pub number: u64,
    /// When, in ms since the epoch.
    pub time: u64,
    /// Where it was published.
    pub subject: Arc<str>,
    /// Payload bytes.
    pub bytes: u64,
    /// Names of its headers.
    pub headers: SmallVec<[Box<str>; 2]>,
    /// The connection that published it.
    pub from: u64,
    /// The first few deliveries: pattern and connection.
    pub to: SmallVec<[(Arc<str>, u64); 2]>,
    /// How many deliveries there were.
    pub count: u32,
    /// Time from arrival to the last outbox, in µs.
    pub micros: u32,
}

/// Deliveries that a record names at most.
pub const MAX_TARGETS: usize = 4;

impl Record {
    /// The record for people and bug reports.
    pub fn to_json(&self) -> Value {
        let to: Vec<Value> =
            self.to.iter().map(|(pattern, conn)| json!({"pattern": &**pattern, "conn": conn})).collect();
        let headers: Vec<&str> = self.headers.iter().map(|h| &**h).collect();
        json!({
            "n": self.number, "time": self.time, "subject": &*self.subject, "bytes": self.bytes, "headers": headers,
            "from": self.from, "to": to, "count": self.count, "micros": self.micros,
        })
    }
}

/// The ring.
#[derive(Debug)]
pub struct Flight {
    ring: Mutex<(VecDeque<Record>, u64)>,
    capacity: usize,
}

impl Flight {
    /// An empty ring for so many records; 0 turns it off.
    pub fn new(capacity: usize) -> Flight {
        Flight { ring: Mutex::default(), capacity }
    }

    /// Whether anything is recorded.
    pub fn is_on(&self) -> bool {
        self.capacity > 0
    }

    /// Adds a record; the oldest one goes when the ring is full. The record's number is set here.
    pub fn push(&self, mut record: Record) {
        let mut ring = self.ring.lock();
        ring.1 += 1;
        record.number = ring.1;
        // The record that goes is dropped after the lock is free.
        let _oldest = if ring.0.len() >= self.capacity { ring.0.pop_front() } else { None };
        ring.0.push_back(record);
        drop(ring);
    }

    /// Records after number `after` whose subject contains `filter`, oldest first, at most the last `limit` of them; and
    /// the number to go on from.
    pub fn since(&self, after: u64, limit: usize, filter: &str) -> (u64, Vec<Record>) {
        let ring = self.ring.lock();
        let mut found: Vec<Record> = ring
            .0
            .iter()
            .rev()
            .take_while(|r| r.number > after)
            .filter(|r| filter.is_empty() || r.subject.contains(filter))
            .take(limit)
            .cloned()
            .collect();
        found.reverse();
        (ring.1, found)
    }
}

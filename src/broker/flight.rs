//! The flight recorder: metadata of the last messages in a bounded ring, always on.
//!
//! It never holds a payload or a header's value.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

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
    /// How the payload is encoded, if that is a number.
    pub encoding: Option<u64>,
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
            "n": self.number, "time": self.time, "subject": &*self.subject, "bytes": self.bytes, "headers": headers, "encoding": self.encoding,
            "from": self.from, "to": to, "count": self.count, "micros": self.micros,
        })
    }
}

/// The ring.
#[derive(Debug)]
pub struct Flight {
    ring: Mutex<(VecDeque<Record>, u64)>,
    capacity: AtomicUsize,
}

impl Flight {
    /// An empty ring for so many records; 0 turns it off.
    pub fn new(capacity: usize) -> Flight {
        Flight { ring: Mutex::default(), capacity: AtomicUsize::new(capacity) }
    }

    /// Changes the size of the ring; records beyond it go, the oldest ones first.
    pub fn set_capacity(&self, capacity: usize) {
        let mut ring = self.ring.lock();
        self.capacity.store(capacity, Ordering::Relaxed);
        let beyond = ring.0.len().saturating_sub(capacity);
        // Dropped after the lock is free.
        let _oldest: Vec<Record> = ring.0.drain(..beyond).collect();
        ring.0.shrink_to(capacity);
        drop(ring);
    }

    /// Whether anything is recorded.
    pub fn is_on(&self) -> bool {
        self.capacity.load(Ordering::Relaxed) > 0
    }

    /// Adds a record; the oldest one goes when the ring is full. The record's number is set here.
    pub fn push(&self, mut record: Record) {
        let mut ring = self.ring.lock();
        ring.1 += 1;
        record.number = ring.1;
        // The record that goes is dropped after the lock is free.
        let capacity = self.capacity.load(Ordering::Relaxed);
        let _oldest = if ring.0.len() >= capacity { ring.0.pop_front() } else { None };
        // The recorder may have been turned off since somebody looked.
        if capacity > 0 {
            ring.0.push_back(record);
        }
        drop(ring);
    }

    /// Records after number `after` whose subject contains `filter`, oldest first, at most `limit` of them; and the number to
    /// go on from. What the ring has lost already is left out.
    pub fn since(&self, after: u64, limit: usize, filter: &str) -> (u64, Vec<Record>) {
        let ring = self.ring.lock();
        let oldest = ring.0.front().map_or(0, |record| record.number);
        let known = usize::try_from(after.saturating_add(1).saturating_sub(oldest)).unwrap_or(usize::MAX);
        let (mut next, mut found) = (after, Vec::new());
        for record in ring.0.iter().skip(known) {
            if found.len() == limit {
                break;
            }
            next = record.number;
            if filter.is_empty() || record.subject.contains(filter) {
                found.push(record.clone());
            }
        }
        (next, found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(subject: &str) -> Record {
        Record {
            number: 0,
            time: 0,
            subject: subject.into(),
            bytes: 0,
            headers: SmallVec::new(),
            encoding: Some(0),
            from: 1,
            to: SmallVec::new(),
            count: 0,
            micros: 0,
        }
    }

    #[test]
    fn nothing_is_skipped_between_two_looks() {
        let flight = Flight::new(5);
        for i in 1..=8 {
            flight.push(record(if i % 2 == 0 { "even" } else { "odd" }));
        }
        let numbers =
            |(next, records): (u64, Vec<Record>)| (next, records.iter().map(|r| r.number).collect::<Vec<_>>());
        // 1 to 3 have gone; two at a time from there.
        assert_eq!(numbers(flight.since(0, 2, "")), (5, vec![4, 5]));
        assert_eq!(numbers(flight.since(5, 2, "")), (7, vec![6, 7]));
        assert_eq!(numbers(flight.since(7, 2, "")), (8, vec![8]));
        assert_eq!(numbers(flight.since(8, 2, "")), (8, vec![]));
        assert_eq!(numbers(flight.since(u64::MAX, 2, "")), (u64::MAX, vec![]));
        // What the filter leaves out is gone through all the same.
        assert_eq!(numbers(flight.since(0, 9, "odd")), (8, vec![5, 7]));
    }

    #[test]
    fn the_ring_can_change_its_size() {
        let flight = Flight::new(5);
        let kept = |flight: &Flight| flight.since(0, 99, "").1.iter().map(|r| r.number).collect::<Vec<_>>();
        for _ in 1..=5 {
            flight.push(record("a"));
        }
        flight.set_capacity(2);
        assert_eq!(kept(&flight), [4, 5]);
        flight.push(record("a"));
        assert_eq!(kept(&flight), [5, 6]);
        flight.set_capacity(3);
        flight.push(record("a"));
        assert_eq!(kept(&flight), [5, 6, 7]);
        flight.set_capacity(0);
        flight.push(record("a"));
        assert!(!flight.is_on() && kept(&flight).is_empty());
    }
}

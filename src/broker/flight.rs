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

/// What is kept of one frame, or of some in a row that are alike.
#[derive(Clone, Debug)]
pub struct Record {
    /// Running number from 1, of the first one.
    pub number: u64,
    /// How many there are.
    pub times: u32,
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
    pub to: Arc<[(Arc<str>, u64)]>,
    /// How many deliveries there were.
    pub count: u32,
    /// Time from arrival to the last outbox, in µs.
    pub micros: u32,
}

/// Deliveries that a record names at most.
pub const MAX_TARGETS: usize = 4;

impl Record {
    /// The number after the last.
    fn end(&self) -> u64 {
        self.number + u64::from(self.times)
    }

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
    ring: Mutex<Ring>,
    capacity: AtomicUsize,
}

#[derive(Debug, Default)]
struct Ring {
    records: VecDeque<Record>,
    /// The last number.
    last: u64,
}

impl Ring {
    /// Adds a record; what is too old now goes to `old`.
    fn push(&mut self, mut record: Record, capacity: u64, old: &mut SmallVec<[Record; 2]>) {
        record.number = self.last + 1;
        self.last += u64::from(record.times);
        self.records.push_back(record);
        self.forget(capacity, old);
    }

    /// Moves what is too old to `old`.
    fn forget(&mut self, capacity: u64, old: &mut SmallVec<[Record; 2]>) {
        let last = self.last;
        old.extend(std::iter::from_fn(|| self.records.pop_front_if(|oldest| oldest.end() + capacity <= last + 1)));
    }
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
        // Dropped after the lock is free.
        let mut old = SmallVec::new();
        ring.forget(capacity as u64, &mut old);
        ring.records.shrink_to(capacity);
        drop(ring);
    }

    /// Whether anything is recorded.
    pub fn is_on(&self) -> bool {
        self.capacity.load(Ordering::Relaxed) > 0
    }

    /// Adds records; the oldest go when the ring is full. The records' numbers are set here.
    pub fn extend(&self, records: impl IntoIterator<Item = Record>) {
        let mut ring = self.ring.lock();
        // What goes is dropped after the lock is free. The recorder may have been turned off since somebody looked.
        let (capacity, mut old) = (self.capacity.load(Ordering::Relaxed) as u64, SmallVec::new());
        records.into_iter().for_each(|record| ring.push(record, capacity, &mut old));
        drop(ring);
    }

    /// Records after number `after` whose subject contains `filter`, oldest first, at most `limit` of them; and the number to
    /// go on from. What the ring has lost already is left out.
    pub fn since(&self, after: u64, limit: usize, filter: &str) -> (u64, Vec<Record>) {
        let ring = self.ring.lock();
        let known = ring.records.partition_point(|record| record.end() <= after.saturating_add(1));
        let (mut next, mut found) = (after, Vec::new());
        for record in ring.records.iter().skip(known) {
            let wanted = filter.is_empty() || record.subject.contains(filter);
            for number in record.number.max(after.saturating_add(1))..record.end() {
                if found.len() == limit {
                    return (next, found);
                }
                next = number;
                if wanted {
                    found.push(Record { number, times: 1, ..record.clone() });
                }
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
            times: 1,
            time: 0,
            subject: subject.into(),
            bytes: 0,
            headers: SmallVec::new(),
            encoding: Some(0),
            from: 1,
            to: Arc::new([]),
            count: 0,
            micros: 0,
        }
    }

    #[test]
    fn nothing_is_skipped_between_two_looks() {
        let flight = Flight::new(5);
        for i in 1..=8 {
            flight.extend([record(if i % 2 == 0 { "even" } else { "odd" })]);
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
        // 9 to 11 and 12 to 15 in one record each; 9 to 11 are not all among the last five, and go when they are none of them.
        flight.extend([Record { times: 3, ..record("odd") }, Record { times: 4, ..record("even") }]);
        assert_eq!(numbers(flight.since(9, 3, "")), (12, vec![10, 11, 12]));
        assert_eq!(numbers(flight.since(12, 9, "")), (15, vec![13, 14, 15]));
        flight.extend([record("odd")]);
        assert_eq!(numbers(flight.since(0, 9, "odd")), (16, vec![16]));
    }

    #[test]
    fn the_ring_can_change_its_size() {
        let flight = Flight::new(5);
        let kept = |flight: &Flight| flight.since(0, 99, "").1.iter().map(|r| r.number).collect::<Vec<_>>();
        for _ in 1..=5 {
            flight.extend([record("a")]);
        }
        flight.set_capacity(2);
        assert_eq!(kept(&flight), [4, 5]);
        flight.extend([record("a")]);
        assert_eq!(kept(&flight), [5, 6]);
        flight.set_capacity(3);
        flight.extend([record("a")]);
        assert_eq!(kept(&flight), [5, 6, 7]);
        flight.set_capacity(0);
        flight.extend([record("a")]);
        assert!(!flight.is_on() && kept(&flight).is_empty());
    }
}

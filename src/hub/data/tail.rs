//! Live messages of streams, published while somebody looks.
//!
//! A tail publishes what is new at most ten times a second, and of that only the newest when there is too much for people to
//! read; what is left out is counted. It ends when nobody listens any more.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use serde::Serialize;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{record::Record, tail_subject};
use crate::{
    bus::{Client, Error, PublishOptions, Result},
    persist::store::{Change, Event, Feed, FeedBounds, FeedEnd, Stream},
};

/// Tails at a time.
const MAX_TAILS: usize = 64;
/// Shortest time between two publishes of a tail.
const PERIOD: Duration = Duration::from_millis(100);
/// How often a quiet tail asks whether anybody still listens.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// What may wait in the store for a tail.
const BOUNDS: FeedBounds = FeedBounds { events: 4096, bytes: 16 << 20 };
/// Events of one publish.
const MAX_EVENTS: usize = 100;
/// Bytes of one publish.
const MAX_BYTES: usize = 512 << 10;
/// Bytes of a value.
const VALUE_BYTES: usize = 4096;
/// Numbers in one deletion.
const MAX_SEQS: usize = 1000;

/// An event as it is published.
#[derive(Debug, Serialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub(super) enum Tailed {
    /// A message was stored.
    Set(Record),
    /// Messages were deleted.
    Delete {
        /// Their numbers.
        seqs: Vec<u64>,
    },
    /// Events were left out.
    Skipped {
        /// How many; none when they were too many to be counted.
        #[serde(skip_serializing_if = "Option::is_none")]
        count: Option<u64>,
    },
}

/// The tails that run.
pub(super) struct Tails {
    client: Client,
    account_id: String,
    tasks: TaskTracker,
    until: CancellationToken,
    running: Arc<Mutex<HashMap<String, Running>>>,
}

struct Running {
    /// Tells a tail from its successor of the same token.
    number: u64,
    end: CancellationToken,
}

impl Tails {
    pub(super) fn new(client: Client, account_id: &str, tasks: TaskTracker, until: CancellationToken) -> Tails {
        Tails { client, account_id: account_id.to_owned(), tasks, until, running: Arc::default() }
    }

    /// Begins to publish the changes of `stream` from now on. A tail of the same token ends.
    pub(super) fn start(&self, stream: Stream, token: &str) -> Result<()> {
        if !(8..=64).contains(&token.len()) || !token.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(Error::failure("the token must be 8 to 64 letters and digits", 400));
        }
        let end = self.until.child_token();
        let number = {
            let mut running = self.running.lock();
            let before = running.remove(token);
            if running.len() >= MAX_TAILS {
                return Err(Error::failure("too many streams are being followed", 503));
            }
            let number = before.map_or(0, |before| {
                before.end.cancel();
                before.number + 1
            });
            running.insert(token.to_owned(), Running { number, end: end.clone() });
            number
        };
        let tail = Tail {
            client: self.client.clone(),
            subject: tail_subject(&self.account_id, token),
            // Armed before the call is answered: what comes after it is not missed.
            feed: stream.feed(BOUNDS),
            stream,
            batch: Batch::default(),
        };
        let (running, token) = (self.running.clone(), token.to_owned());
        self.tasks.spawn(async move {
            end.run_until_cancelled(tail.run()).await;
            let mut running = running.lock();
            if running.get(&token).is_some_and(|it| it.number == number) {
                running.remove(&token);
            }
        });
        Ok(())
    }
}

struct Tail {
    client: Client,
    subject: String,
    feed: Feed,
    stream: Stream,
    batch: Batch,
}

impl Tail {
    async fn run(mut self) {
        loop {
            match tokio::time::timeout(HEARTBEAT, self.feed.next()).await {
                Ok(Ok(event)) => self.batch.add(&event),
                Ok(Err(FeedEnd::Slow)) => self.begin_anew(),
                Ok(Err(FeedEnd::Closed)) => return,
                Err(_) => {}
            }
            while let Some(event) = self.feed.try_next() {
                self.batch.add(&event);
            }
            let published = self.client.publish(&self.subject, &self.batch.take(), PublishOptions::default()).await;
            if !matches!(published, Ok(published) if published.count > 0) {
                return;
            }
            tokio::time::sleep(PERIOD).await;
        }
    }

    /// Too much has happened to be kept: goes on with what comes now.
    fn begin_anew(&mut self) {
        self.feed = self.stream.feed(BOUNDS);
        self.batch.lose_all();
    }
}

/// The newest events, and how many older ones were left out.
#[derive(Debug, Default)]
struct Batch {
    events: VecDeque<Tailed>,
    bytes: usize,
    skipped: u64,
    uncounted: bool,
}

impl Batch {
    fn add(&mut self, event: &Event) {
        let tailed = match &event.change {
            Change::Set { stored, .. } => Tailed::Set(Record::of(stored, VALUE_BYTES)),
            Change::Delete(seqs) => Tailed::Delete { seqs: seqs.iter().take(MAX_SEQS).copied().collect() },
            Change::Metadata(_) | Change::Checkpoints(_) => return,
        };
        self.bytes += weight(&tailed);
        self.events.push_back(tailed);
        while self.events.len() > MAX_EVENTS || (self.bytes > MAX_BYTES && self.events.len() > 1) {
            if let Some(gone) = self.events.pop_front() {
                self.bytes = self.bytes.saturating_sub(weight(&gone));
                self.skipped += 1;
            }
        }
    }

    fn lose_all(&mut self) {
        self.events.clear();
        self.bytes = 0;
        self.uncounted = true;
    }

    fn take(&mut self) -> Vec<Tailed> {
        let count = (!self.uncounted).then_some(self.skipped);
        let marker = (count != Some(0)).then_some(Tailed::Skipped { count });
        let events = std::mem::take(self).events;
        marker.into_iter().chain(events).collect()
    }
}

fn weight(tailed: &Tailed) -> usize {
    match tailed {
        Tailed::Set(record) => record.weight(),
        Tailed::Delete { seqs } => seqs.len() * 8,
        Tailed::Skipped { .. } => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;

    use bytes::Bytes;

    use super::*;
    use crate::persist::store::Stored;

    fn set(seq: u64, length: usize) -> Event {
        let raw = Bytes::from(vec![7; length]);
        let stored = Stored { seq, time: 1, key: None, encoding: 0, raw, headers: None };
        Event { change: Change::Set { stored, msg_id: None }, encoded: OnceLock::new() }
    }

    fn text(events: &[Tailed]) -> String {
        let word = |event: &Tailed| match event {
            Tailed::Set(_) => "set".to_owned(),
            Tailed::Delete { seqs } => format!("delete {seqs:?}"),
            Tailed::Skipped { count } => format!("skipped {count:?}"),
        };
        events.iter().map(word).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn what_fits_is_published_in_order() {
        let mut batch = Batch::default();
        batch.add(&set(1, 1));
        batch.add(&Event { change: Change::Delete(vec![1, 2]), encoded: OnceLock::new() });
        batch.add(&Event { change: Change::Metadata(None), encoded: OnceLock::new() });
        assert_eq!(text(&batch.take()), "set, delete [1, 2]");
        assert_eq!(text(&batch.take()), "");
    }

    #[test]
    fn too_many_events_leave_the_newest_and_a_count() {
        let mut batch = Batch::default();
        for seq in 1..=(MAX_EVENTS as u64 + 7) {
            batch.add(&set(seq, 1));
        }
        let events = batch.take();
        assert!(matches!(events[0], Tailed::Skipped { count: Some(7) }));
        assert_eq!(events.len(), MAX_EVENTS + 1);
        let value = serde_json::to_value(&events[1]).unwrap();
        assert_eq!((&value["op"], &value["seq"]), (&"set".into(), &8.into()));
    }

    #[test]
    fn values_are_cut_and_bytes_are_bounded() {
        let mut batch = Batch::default();
        for seq in 1..=(MAX_EVENTS as u64) {
            batch.add(&set(seq, 1 << 20));
        }
        assert!(batch.bytes <= MAX_BYTES);
        let events = batch.take();
        assert_eq!(events.len(), MAX_EVENTS);
        let Tailed::Set(record) = &events[0] else { panic!("{events:?}") };
        assert!(record.weight() < VALUE_BYTES + 100);
    }

    #[test]
    fn a_feed_that_was_lost_is_an_uncounted_gap() {
        let mut batch = Batch::default();
        batch.add(&set(1, 1));
        batch.lose_all();
        batch.add(&set(5000, 1));
        assert_eq!(text(&batch.take()), "skipped None, set");
        batch.add(&set(5001, 1));
        assert_eq!(text(&batch.take()), "set");
    }
}

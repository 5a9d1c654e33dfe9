//! Changes of a stream, as they are committed (§7).

use std::{
    collections::VecDeque,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::message::{Checkpoints, Stored};

/// A change.
#[derive(Debug)]
pub enum Change {
    /// A message was stored.
    Set {
        /// It.
        stored: Stored,
        /// The id its writer gave it.
        msg_id: Option<Arc<str>>,
    },
    /// Messages were deleted.
    Delete(Vec<u64>),
    /// The metadata were set, or cleared.
    Metadata(Option<serde_json::Value>),
    /// The checkpoints changed; these are all.
    Checkpoints(Checkpoints),
}

impl Change {
    /// What it takes of a feed's bound.
    fn cost(&self) -> usize {
        let payload = match self {
            Change::Set { stored, .. } => {
                let text = |text: &Option<Arc<str>>| text.as_ref().map_or(0, |text| text.len());
                stored.raw.len() + text(&stored.headers) + text(&stored.key)
            }
            Change::Delete(seqs) => seqs.len() * size_of::<u64>(),
            // Rare, and limited in size each.
            Change::Metadata(_) | Change::Checkpoints(_) => 1024,
        };
        payload + 128
    }
}

/// A change, shared by all who hear of it.
#[derive(Debug)]
pub struct Event {
    /// What happened.
    pub change: Change,
    /// Its encoding on the wire, made by the first who needs it.
    pub encoded: OnceLock<Bytes>,
}

impl From<Change> for Event {
    fn from(change: Change) -> Event {
        Event { change, encoded: OnceLock::new() }
    }
}

/// How much may wait for the reader of a feed.
#[derive(Clone, Copy, Debug)]
pub struct FeedBounds {
    /// Events.
    pub events: usize,
    /// Bytes of payloads and headers.
    pub bytes: usize,
}

/// Why a feed has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeedEnd {
    /// The reader was too slow: what waited exceeded the bounds.
    Slow,
    /// The store is closed.
    Closed,
}

#[derive(Debug, Default)]
struct Inner {
    events: VecDeque<(Arc<Event>, usize)>,
    bytes: usize,
    end: Option<FeedEnd>,
}

/// What waits for the reader of a feed.
#[derive(Debug)]
pub(super) struct FeedQueue {
    inner: Mutex<Inner>,
    ready: Notify,
    bounds: FeedBounds,
}

impl FeedQueue {
    /// Adds an event. A single one is let in when nothing else waits, however large it is. When the bounds are exceeded, what
    /// waits is dropped and the feed ends: with a gap it is worth nothing. Tells whether the feed goes on.
    pub fn push(&self, event: &Arc<Event>) -> bool {
        let cost = event.change.cost();
        let mut inner = self.inner.lock();
        if inner.end.is_some() {
            return false;
        }
        let full = inner.events.len() >= self.bounds.events || inner.bytes.saturating_add(cost) > self.bounds.bytes;
        if full && !inner.events.is_empty() {
            *inner = Inner { end: Some(FeedEnd::Slow), ..Inner::default() };
        } else {
            inner.bytes += cost;
            inner.events.push_back((event.clone(), cost));
        }
        let goes_on = inner.end.is_none();
        drop(inner);
        self.ready.notify_one();
        goes_on
    }

    /// Ends the feed; the reader still gets what waits.
    pub fn end(&self, end: FeedEnd) {
        self.inner.lock().end.get_or_insert(end);
        self.ready.notify_one();
    }

    fn pop(&self) -> Option<Result<Arc<Event>, FeedEnd>> {
        let mut inner = self.inner.lock();
        if let Some((event, cost)) = inner.events.pop_front() {
            inner.bytes -= cost;
            return Some(Ok(event));
        }
        inner.end.map(Err)
    }
}

/// The changes of a stream from a moment on.
#[derive(Debug)]
pub struct Feed {
    queue: Arc<FeedQueue>,
}

impl Feed {
    pub(super) fn new(bounds: FeedBounds) -> (Feed, Arc<FeedQueue>) {
        let queue = Arc::new(FeedQueue { inner: Mutex::default(), ready: Notify::new(), bounds });
        (Feed { queue: queue.clone() }, queue)
    }

    /// The next change. Waits for it.
    ///
    /// # Errors
    /// The feed has ended.
    pub async fn next(&mut self) -> Result<Arc<Event>, FeedEnd> {
        loop {
            // A permit is kept when nobody waits, so nothing that is pushed in between is missed.
            if let Some(next) = self.queue.pop() {
                return next;
            }
            self.queue.ready.notified().await;
        }
    }

    /// Waits until the feed has ended; for readers that can't take more at the moment.
    pub async fn ended(&mut self) -> FeedEnd {
        loop {
            if let Some(end) = self.queue.inner.lock().end {
                return end;
            }
            self.queue.ready.notified().await;
        }
    }

    /// The next change, if there is one already.
    pub fn try_next(&mut self) -> Option<Arc<Event>> {
        self.queue.pop()?.ok()
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        // The writer lets go of it with the next event.
        let mut inner = self.queue.inner.lock();
        *inner = Inner { end: Some(FeedEnd::Closed), ..Inner::default() };
    }
}

//! Readers of a connection's change feed: each with its own queue and place (conat-persist.md §11.3).

use std::sync::Arc;

use parking_lot::Mutex;

use super::{Connection, Error, Result, Shared, get_all::Snapshot};
use crate::{bus::queue::Queue, persist::client::message::Event};

/// What a reader of a feed gets.
#[derive(Clone, Debug, PartialEq)]
pub enum FeedItem {
    /// Changes in order; each message once, also when the socket was lost in between.
    Events(Vec<Event>),
    /// The stream has begun anew, with numbers from 1: it was in memory only and its server was restarted. What it holds now
    /// comes next.
    Restarted,
    /// While there was no socket, messages were stored and deleted: none before `to` is there any more, and those after `from`
    /// were never seen.
    Gap {
        /// The last that was seen.
        from: u64,
        /// The first that is there.
        to: u64,
    },
    /// Nothing before this number is there any more.
    Oldest(u64),
}

#[derive(Clone, Copy, Debug, Default)]
struct Place {
    /// The largest number that was seen.
    last: u64,
    /// When that message was stored.
    time: u64,
    /// Whether the reader has what was there before, and wants to have what it misses.
    follows: bool,
    /// The socket up to which nothing is missed.
    epoch: u64,
}

/// The connection's side of a feed.
#[derive(Debug)]
pub(super) struct Reader {
    pub queue: Queue<Queued>,
    place: Mutex<Place>,
}

/// What waits for a reader. Frames are shared by all readers.
#[derive(Clone, Debug)]
pub(super) enum Queued {
    Events(Arc<Vec<Event>>),
    Snapshot(Arc<Snapshot>),
    Item(FeedItem),
}

impl Reader {
    pub fn new(name: &str, items: usize, bytes: usize) -> Reader {
        Reader { queue: Queue::new(name, items, bytes), place: Mutex::default() }
    }

    pub fn last(&self) -> u64 {
        self.place.lock().last
    }

    /// Whether it may have missed something before the socket with this number.
    pub fn is_behind(&self, epoch: u64) -> bool {
        let place = self.place.lock();
        place.follows && place.epoch < epoch
    }

    /// Takes what was found after its last message.
    pub fn catch_up(&self, snapshot: &Arc<Snapshot>, ephemeral: bool, epoch: u64) {
        let place = {
            let mut place = self.place.lock();
            place.epoch = epoch;
            *place
        };
        let found = |seq| snapshot.messages.iter().find(|message| message.seq == seq);
        if place.last > 0 {
            // The numbers of a stream in memory begin anew with its server. When its last message was merely deleted, the reader
            // looks at everything once for nothing.
            let same = found(place.last).is_some_and(|message| message.time == place.time || place.time == 0);
            if ephemeral && !same {
                self.push(Queued::Item(FeedItem::Restarted), 64);
                return;
            }
            if let Some(oldest) = snapshot.oldest {
                if oldest > place.last + 1 {
                    self.push(Queued::Item(FeedItem::Gap { from: place.last, to: oldest }), 64);
                }
                self.push(Queued::Item(FeedItem::Oldest(oldest)), 64);
            }
        }
        if snapshot.messages.iter().any(|message| message.seq > place.last) {
            let bytes = snapshot.messages.iter().map(|message| message.bytes()).sum();
            self.push(Queued::Snapshot(snapshot.clone()), bytes);
        }
    }

    pub fn push(&self, item: Queued, bytes: usize) -> bool {
        self.queue.push(item, bytes)
    }
}

impl Shared {
    /// Hands events to all readers; those that are too slow lose their place.
    pub(super) fn publish(&self, events: Vec<Event>) {
        if events.is_empty() {
            return;
        }
        let bytes = events.iter().map(Event::bytes).sum();
        let events = Arc::new(events);
        self.readers.lock().retain(|reader| reader.push(Queued::Events(events.clone()), bytes));
    }
}

/// A reader of the changes of a stream. Dropping it ends it.
#[derive(Debug)]
pub struct Feed {
    connection: Connection,
    reader: Arc<Reader>,
}

impl Feed {
    pub(super) fn new(connection: Connection, reader: Arc<Reader>) -> Feed {
        Feed { connection, reader }
    }

    /// The reader has everything up to this message (its number and time, or 0), as seen over this socket. From now on it gets
    /// what it would miss while there is no socket.
    pub fn follow(&self, last: u64, time: u64, epoch: u64) {
        {
            let mut place = self.reader.place.lock();
            if last > place.last {
                (place.last, place.time) = (last, time);
            }
            place.follows = true;
            place.epoch = place.epoch.max(epoch);
        }
        self.connection.shared().behind.notify_one();
    }

    /// The next changes.
    ///
    /// # Errors
    /// The connection is closed, or the reader was too slow.
    pub async fn next(&mut self) -> Result<FeedItem> {
        loop {
            let queued = match self.reader.queue.pop().await {
                Ok(queued) => queued,
                Err(crate::bus::Error::SlowReader(_)) => return Err(Error::Slow),
                Err(_) => return Err(self.connection.ended().await),
            };
            if let Some(item) = self.take(queued) {
                return Ok(item);
            }
        }
    }

    fn take(&self, queued: Queued) -> Option<FeedItem> {
        let mut place = self.reader.place.lock();
        let mut pass = |seq: u64, time: u64| {
            let fresh = seq > place.last;
            if fresh {
                (place.last, place.time) = (seq, time);
            }
            fresh
        };
        let events: Vec<Event> = match queued {
            Queued::Item(item) => {
                if item == FeedItem::Restarted {
                    *place = Place::default();
                }
                return Some(item);
            }
            Queued::Events(events) => {
                let events = events.iter().filter(|event| match event {
                    Event::Set { message, .. } => pass(message.seq, message.time),
                    Event::Delete(_) => true,
                });
                events.cloned().collect()
            }
            Queued::Snapshot(snapshot) => {
                let messages = snapshot.messages.iter().filter(|message| pass(message.seq, message.time));
                messages.map(|message| Event::Set { message: message.clone(), msg_id: None }).collect()
            }
        };
        (!events.is_empty()).then_some(FeedItem::Events(events))
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.connection.shared().remove_reader(&self.reader);
    }
}

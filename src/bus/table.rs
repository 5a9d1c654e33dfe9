//! Local subscriptions of one client: one wire subscription per pattern, shared by its readers (§11).

use std::{collections::HashMap, sync::Arc};

use foldhash::fast::RandomState;
use smallvec::SmallVec;
use tokio::{sync::watch, time::Instant};

use super::{Error, id::random_id, message::Delivered, queue::Queue};
use crate::wire::chunk::Assembler;

pub(super) type ReaderQueue = Arc<Queue<Delivered>>;

/// Whether a wire subscription is there: not known yet, or what the server said.
pub(super) type Confirmation = watch::Receiver<Option<Result<(), Error>>>;

#[derive(Debug)]
struct Entry {
    /// Tells this wire subscription from an earlier one of the same pattern.
    serial: u64,
    queue: Arc<str>,
    /// The queue was named by nobody, so any name nobody else has will do.
    own_queue: bool,
    assembler: Assembler,
    readers: SmallVec<[(u64, ReaderQueue); 1]>,
    confirmed: watch::Sender<Option<Result<(), Error>>>,
    /// Messages go to whoever waits for the response, not to readers.
    inbox: bool,
}

/// What came of a chunk.
pub(super) enum Arrival {
    /// Nothing to do: incomplete, or nobody reads it.
    Nothing,
    /// A whole message for readers; patterns without readers are unsubscribed.
    Read { bytes: usize, orphaned: bool },
    /// A whole response.
    Response(Delivered),
}

/// A frame as it arrived.
pub(super) struct Chunk {
    pub subject: Arc<str>,
    pub id: String,
    pub seq: u64,
    pub done: bool,
    pub encoding: u64,
    pub raw: bytes::Bytes,
    pub headers: Option<serde_json::Value>,
    /// All attachments of a frame that has more than the payload: binary values of headers.
    pub attachments: Option<Arc<[bytes::Bytes]>>,
}

/// The attachments of a frame if there are binary values in its headers.
pub(super) fn more_than_payload(attachments: &[bytes::Bytes]) -> Option<Arc<[bytes::Bytes]>> {
    (attachments.len() > 1).then(|| attachments.into())
}

/// What became of the wish for a reader.
pub(super) struct Joined {
    pub reader: u64,
    pub confirmation: Confirmation,
    /// The wire subscription that has to be made now: its serial and queue.
    pub new: Option<(u64, Arc<str>)>,
}

/// All subscriptions of a client.
#[derive(Debug, Default)]
pub(super) struct Table {
    entries: HashMap<Arc<str>, Entry, RandomState>,
    next: u64,
    closed: Option<Error>,
}

impl Table {
    /// Adds a reader. The caller makes the wire subscription if there was none, before it lets go of the lock.
    pub fn join(&mut self, pattern: &str, queue: Option<&str>, reader: ReaderQueue) -> Result<Joined, Error> {
        if let Some(error) = &self.closed {
            return Err(error.clone());
        }
        self.next += 1;
        let id = self.next;
        if let Some(entry) = self.entries.get_mut(pattern) {
            if let Some(queue) = queue
                && queue != &*entry.queue
            {
                return Err(Error::OtherQueue { pattern: pattern.into(), queue: entry.queue.to_string() });
            }
            entry.readers.push((id, reader));
            return Ok(Joined { reader: id, confirmation: entry.confirmed.subscribe(), new: None });
        }
        let own_queue = queue.is_none();
        let queue: Arc<str> = queue.map_or_else(|| random_id().into(), Arc::from);
        let entry = self.insert(id, pattern, queue.clone(), false);
        entry.own_queue = own_queue;
        entry.readers.push((id, reader));
        Ok(Joined { reader: id, confirmation: entry.confirmed.subscribe(), new: Some((id, queue)) })
    }

    /// Adds the inbox's subscription.
    pub fn add_inbox(&mut self, pattern: &str) -> (u64, Arc<str>) {
        self.next += 1;
        let (id, queue) = (self.next, Arc::<str>::from(random_id()));
        self.insert(id, pattern, queue.clone(), true);
        (id, queue)
    }

    fn insert(&mut self, serial: u64, pattern: &str, queue: Arc<str>, inbox: bool) -> &mut Entry {
        let entry = Entry {
            serial,
            queue,
            own_queue: inbox,
            assembler: Assembler::default(),
            readers: SmallVec::new(),
            confirmed: watch::Sender::new(None),
            inbox,
        };
        self.entries.entry(pattern.into()).insert_entry(entry).into_mut()
    }

    /// Takes a reader away; tells whether the wire subscription has to end.
    pub fn leave(&mut self, pattern: &str, reader: u64) -> bool {
        let Some(entry) = self.entries.get_mut(pattern) else { return false };
        let before = entry.readers.len();
        entry.readers.retain(|(id, _)| *id != reader);
        let last = before > 0 && entry.readers.is_empty() && !entry.inbox;
        if last {
            self.entries.remove(pattern);
        }
        last
    }

    /// The server has answered a subscribe. A refusal ends the subscription.
    pub fn confirm(&mut self, pattern: &str, serial: u64, result: Result<(), Error>) {
        let Some(entry) = self.entries.get_mut(pattern).filter(|e| e.serial == serial) else { return };
        entry.confirmed.send_replace(Some(result.clone()));
        if let Err(error) = result {
            self.end(pattern, &error);
        }
    }

    /// The server has answered for a pattern while subscriptions were compared.
    pub fn confirm_any(&mut self, pattern: &str, result: Result<(), Error>) {
        if let Some(serial) = self.entries.get(pattern).map(|e| e.serial) {
            self.confirm(pattern, serial, result);
        }
    }

    /// Ends a subscription from this side of the wire: its readers get the error.
    fn end(&mut self, pattern: &str, error: &Error) {
        if let Some(entry) = self.entries.remove(pattern) {
            entry.readers.iter().for_each(|(_, queue)| queue.close(error.clone()));
        }
    }

    /// Gives new names to the queues that nobody named. A server that has not noticed yet that the last connection is dead
    /// would share messages between it and its successor in the same queue, and lose half of them.
    pub fn renew_queues(&mut self) {
        for entry in self.entries.values_mut().filter(|entry| entry.own_queue) {
            entry.queue = random_id().into();
        }
    }

    /// All patterns with their queues.
    pub fn wanted(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<str>)> {
        self.entries.iter().map(|(pattern, entry)| (pattern, &entry.queue))
    }

    /// Whether a pattern is subscribed to.
    pub fn wants(&self, pattern: &str) -> bool {
        self.entries.contains_key(pattern)
    }

    /// Takes a frame.
    pub fn receive(&mut self, pattern: &str, chunk: Chunk) -> Arrival {
        let Some(entry) = self.entries.get_mut(pattern) else { return Arrival::Nothing };
        let Chunk { subject, id, seq, done, encoding, raw, headers, attachments } = chunk;
        let Some(payload) = entry.assembler.add(&id, seq, done, raw, Instant::now().into_std()) else {
            return Arrival::Nothing;
        };
        let delivered = Delivered { subject, encoding, payload, headers: headers.map(Arc::new), attachments };
        if entry.inbox {
            return Arrival::Response(delivered);
        }
        let size = delivered.bytes();
        let bytes = delivered.payload.len();
        match entry.readers.as_slice() {
            [(_, only)] if only.push(delivered.clone(), size) => return Arrival::Read { bytes, orphaned: false },
            _ => entry.readers.retain(|(_, queue)| queue.push(delivered.clone(), size)),
        }
        let orphaned = entry.readers.is_empty();
        if orphaned {
            self.entries.remove(pattern);
        }
        Arrival::Read { bytes, orphaned }
    }

    /// Chunks of the old connection have no continuation on the next.
    pub fn disconnected(&mut self) {
        self.entries.values_mut().for_each(|entry| entry.assembler.clear());
    }

    /// Forgets incomplete messages that are too old.
    pub fn expire(&mut self) {
        let now = Instant::now().into_std();
        self.entries.values_mut().for_each(|entry| entry.assembler.expire(now));
    }

    /// Ends everything; gives the patterns there were.
    pub fn close(&mut self, error: &Error) -> Vec<Arc<str>> {
        self.closed = Some(error.clone());
        let entries = std::mem::take(&mut self.entries);
        for entry in entries.values() {
            entry.confirmed.send_replace(Some(Err(error.clone())));
            entry.readers.iter().for_each(|(_, queue)| queue.close(error.clone()));
        }
        entries.into_keys().collect()
    }
}

//! Messages that were published and are not in the stream yet.

use std::sync::Arc;

use bytes::Bytes;
use indexmap::IndexMap;
use tokio::sync::oneshot;

use crate::persist::client::{Assigned, Error, Message, Result, Write, commands::batch};

#[derive(Debug)]
struct Entry {
    write: Write,
    receipt: Option<oneshot::Sender<Result<Assigned>>>,
    /// The server has it; it is kept until it comes back over the feed.
    assigned: Option<Assigned>,
}

impl Entry {
    fn tell(&mut self, result: Result<Assigned>) {
        if let Some(receipt) = self.receipt.take() {
            // Nobody has to wait for it.
            let _ = receipt.send(result);
        }
    }
}

/// Messages in the order in which they were published, by message id.
#[derive(Debug)]
pub(super) struct Unsaved {
    entries: IndexMap<Arc<str>, Entry>,
    bytes: usize,
    /// The newest message that is in the stream.
    newest: u64,
    most: usize,
    most_bytes: usize,
    closed: Option<Error>,
}

impl Unsaved {
    pub fn new(most: usize, most_bytes: usize) -> Unsaved {
        Unsaved { entries: IndexMap::new(), bytes: 0, newest: 0, most, most_bytes, closed: None }
    }

    /// Adds a message, if there is room. A single one is always let in.
    pub fn push(&mut self, id: Arc<str>, write: Write, receipt: oneshot::Sender<Result<Assigned>>) -> Result<()> {
        if let Some(error) = &self.closed {
            return Err(error.clone());
        }
        let bytes = write.bytes();
        let full = self.entries.len() >= self.most || self.bytes + bytes > self.most_bytes;
        if full && !self.entries.is_empty() {
            return Err(Error::Full);
        }
        self.bytes += bytes;
        self.entries.insert(id, Entry { write, receipt: Some(receipt), assigned: None });
        Ok(())
    }

    /// What goes into the next request.
    pub fn batch(&self) -> Vec<Write> {
        let mut writes = self.entries.values().filter(|entry| entry.assigned.is_none()).map(|entry| &entry.write);
        let count = batch(writes.clone());
        writes.by_ref().take(count).cloned().collect()
    }

    /// The server has stored a message.
    pub fn assigned(&mut self, id: &str, assigned: Assigned) {
        if let Some(entry) = self.entries.get_mut(id) {
            entry.assigned = Some(assigned);
            entry.tell(Ok(assigned));
            if assigned.seq <= self.newest {
                // It has come back before the answer did, without its id: it was caught up with.
                self.remove(id);
            }
        }
    }

    /// The server has refused a message for good; tells whether it was there.
    pub fn rejected(&mut self, id: &str, error: &Error) -> bool {
        let Some(entry) = self.entries.get_mut(id) else { return false };
        entry.tell(Err(error.clone()));
        self.remove(id);
        true
    }

    /// A message is in the stream.
    pub fn stored(&mut self, message: &Message, id: Option<&str>) {
        self.newest = self.newest.max(message.seq);
        if self.entries.is_empty() {
            return;
        }
        let assigned = Assigned { seq: message.seq, time: message.time };
        if let Some(entry) = id.and_then(|id| self.entries.get_mut(id)) {
            entry.tell(Ok(assigned));
            entry.assigned = Some(assigned);
        }
        // Messages come in order, so earlier ones that did not come are gone again.
        self.forget(|seq| seq <= message.seq);
    }

    /// A message was deleted.
    pub fn deleted(&mut self, seq: u64) {
        if !self.entries.is_empty() {
            self.forget(|other| other == seq);
        }
    }

    fn forget(&mut self, gone: impl Fn(u64) -> bool) {
        let mut freed = 0;
        self.entries.retain(|_, entry| {
            let leaves = entry.assigned.is_some_and(|assigned| gone(assigned.seq));
            if leaves {
                freed += entry.write.bytes();
            }
            !leaves
        });
        self.bytes -= freed;
    }

    fn remove(&mut self, id: &str) {
        if let Some(entry) = self.entries.shift_remove(id) {
            self.bytes -= entry.write.bytes();
        }
    }

    /// How many the server does not have.
    pub fn unsaved(&self) -> usize {
        self.entries.values().filter(|entry| entry.assigned.is_none()).count()
    }

    /// The payloads, in order.
    pub fn payloads(&self) -> Vec<Bytes> {
        self.entries.values().map(|entry| entry.write.payload.clone()).collect()
    }

    /// Takes nothing more; whoever waits is told.
    pub fn close(&mut self, error: &Error) {
        self.closed.get_or_insert_with(|| error.clone());
        for (_, mut entry) in self.entries.drain(..) {
            entry.tell(Err(error.clone()));
        }
        self.bytes = 0;
    }
}

//! A copy of a stream: messages by number, the newest message of each key, what is missing (conat-persist.md §12.1). Pure.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
    sync::Arc,
};

use foldhash::fast::RandomState;

use super::gaps::Gaps;
use crate::persist::client::message::Message;

/// What became of a message.
#[derive(Debug, PartialEq)]
pub(super) enum Arrival {
    /// It is here already, or a newer one of its key is.
    Known,
    /// It is new. With it comes the message of its key that it has replaced.
    New(Option<Message>),
}

/// The copy.
#[derive(Debug, Default)]
pub(super) struct Log {
    messages: BTreeMap<u64, Message>,
    /// The newest message of each key, tombstones included.
    keys: HashMap<Arc<str>, u64, RandomState>,
    bytes: usize,
    /// Payload bytes alone.
    raw_bytes: usize,
    /// The largest number that was seen.
    newest: u64,
    /// When that message was stored.
    newest_time: u64,
    gaps: Gaps,
    /// Messages below this number were never loaded, or have left.
    floor: u64,
}

impl Log {
    /// A copy that begins at a number.
    pub fn from(floor: u64) -> Log {
        Log { floor, newest: floor.saturating_sub(1), ..Log::default() }
    }

    /// Takes a message that the feed has brought: what lies between it and the newest one is missing.
    pub fn receive(&mut self, message: Message) -> Arrival {
        if message.seq > self.newest {
            self.gaps.add(self.newest + 1, message.seq - 1);
        }
        self.insert(message)
    }

    /// Takes a message that was asked for.
    pub fn insert(&mut self, message: Message) -> Arrival {
        if message.seq > self.newest {
            (self.newest, self.newest_time) = (message.seq, message.time);
        }
        if self.messages.contains_key(&message.seq) {
            return Arrival::Known;
        }
        let mut replaced = None;
        if let Some(key) = &message.key {
            match self.keys.get(key) {
                // Only one message of a key can be there.
                Some(newer) if *newer > message.seq => return Arrival::Known,
                Some(older) => {
                    let older = *older;
                    replaced = self.take(older);
                }
                None => {}
            }
            self.keys.insert(key.clone(), message.seq);
        }
        self.bytes += message.bytes();
        self.raw_bytes += message.raw.len();
        self.messages.insert(message.seq, message);
        Arrival::New(replaced)
    }

    fn take(&mut self, seq: u64) -> Option<Message> {
        let message = self.messages.remove(&seq)?;
        self.bytes -= message.bytes();
        self.raw_bytes -= message.raw.len();
        Some(message)
    }

    /// Takes a message out.
    pub fn remove(&mut self, seq: u64) -> Option<Message> {
        let message = self.take(seq)?;
        if let Some(key) = &message.key
            && self.keys.get(key) == Some(&seq)
        {
            self.keys.remove(key);
        }
        Some(message)
    }

    /// Takes out what is older than a number.
    pub fn remove_before(&mut self, seq: u64) -> Vec<Message> {
        let old: Vec<u64> = self.messages.range(..seq).map(|(seq, _)| *seq).collect();
        old.into_iter().filter_map(|seq| self.remove(seq)).collect()
    }

    /// Lets the oldest messages without key go until what is left takes no more than this. Tells whether that worked.
    pub fn trim(&mut self, most: usize) -> bool {
        if self.bytes <= most {
            return true;
        }
        // Some more than needed, so that it is not done for every message.
        let wanted = most - most / 8;
        let mut left = self.bytes;
        let mut leaving = Vec::new();
        for message in self.messages.values().filter(|message| message.key.is_none()) {
            if left <= wanted {
                break;
            }
            left -= message.bytes();
            leaving.push(message.seq);
        }
        for seq in leaving {
            self.take(seq);
            self.floor = self.floor.max(seq + 1);
        }
        self.bytes <= most
    }

    /// Forgets everything.
    pub fn clear(&mut self, floor: u64) {
        *self = Log::from(floor);
    }

    pub fn get(&self, seq: u64) -> Option<&Message> {
        self.messages.get(&seq)
    }

    /// The newest message of a key; it may be a tombstone.
    pub fn of_key(&self, key: &str) -> Option<&Message> {
        self.messages.get(self.keys.get(key)?)
    }

    /// The keys that are there, with their messages.
    pub fn live(&self) -> impl Iterator<Item = (&Arc<str>, &Message)> {
        let messages = self.keys.iter().filter_map(|(key, seq)| Some((key, self.messages.get(seq)?)));
        messages.filter(|(_, message)| !message.is_tombstone())
    }

    pub fn range(&self, first: u64, last: u64) -> impl DoubleEndedIterator<Item = &Message> {
        let bounds = (Bound::Included(first), Bound::Included(last.max(first)));
        self.messages.range(bounds).map(|(_, message)| message).filter(move |message| message.seq <= last)
    }

    /// The first message after a number, but none from beyond a gap.
    pub fn after(&self, seq: u64) -> Option<&Message> {
        let settled = self.gaps.first().map_or(u64::MAX, |(first, _)| first);
        let next = self.messages.range((Bound::Excluded(seq), Bound::Unbounded)).next();
        next.map(|(_, message)| message).filter(|message| message.seq < settled)
    }

    pub fn len(&self) -> usize {
        self.messages.len()
    }

    pub fn raw_bytes(&self) -> usize {
        self.raw_bytes
    }

    /// The largest number that was seen, and the time of its message.
    pub fn newest(&self) -> (u64, u64) {
        (self.newest, self.newest_time)
    }

    /// Everything from this number on has been loaded.
    pub fn floor(&self) -> u64 {
        self.floor
    }

    /// Older messages have been loaded.
    pub fn lower_floor(&mut self, floor: u64) {
        self.floor = self.floor.min(floor);
    }

    /// Messages below this number were left out.
    pub fn raise_floor(&mut self, floor: u64) {
        self.floor = self.floor.max(floor);
    }

    /// Whether so many bytes more would fit.
    pub fn has_room(&self, more: usize, most: usize) -> bool {
        self.bytes.saturating_add(more) <= most
    }

    /// The numbers to ask for.
    pub fn gap(&self) -> Option<(u64, u64)> {
        self.gaps.first()
    }

    /// They have been asked for.
    pub fn close_gap(&mut self, first: u64) {
        self.gaps.close_first(first);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::json;

    use super::*;

    fn message(seq: u64, key: Option<&str>) -> Message {
        Message { seq, time: seq, key: key.map(Arc::from), encoding: 0, raw: Bytes::from_static(b"12"), headers: None }
    }

    fn tombstone(seq: u64, key: &str) -> Message {
        let headers = json!({"CN-Tombstone": true}).as_object().unwrap().clone();
        Message { headers: Some(Arc::new(headers)), ..message(seq, Some(key)) }
    }

    fn seqs(log: &Log) -> Vec<u64> {
        log.range(0, u64::MAX).map(|message| message.seq).collect()
    }

    #[test]
    fn a_key_has_one_message_the_newest() {
        let mut log = Log::default();
        log.receive(message(1, Some("a")));
        log.receive(message(2, None));
        assert_eq!(log.receive(message(3, Some("a"))), Arrival::New(Some(message(1, Some("a")))));
        assert_eq!(log.insert(message(1, Some("a"))), Arrival::Known);
        assert_eq!(log.receive(message(3, Some("a"))), Arrival::Known);
        assert_eq!((seqs(&log), log.of_key("a").unwrap().seq, log.raw_bytes()), (vec![2, 3], 3, 4));
        log.receive(tombstone(4, "a"));
        assert_eq!((log.live().count(), log.of_key("a").unwrap().seq), (0, 4));
        log.remove(4);
        assert!(log.of_key("a").is_none());
        log.remove(2);
        assert_eq!((log.len(), log.bytes, log.raw_bytes()), (0, 0, 0));
    }

    #[test]
    fn persist_098_what_the_feed_leaves_out_is_a_gap() {
        let mut log = Log::default();
        log.insert(message(1, None));
        log.insert(message(4, None));
        assert_eq!(log.gap(), None);
        log.receive(message(5, None));
        log.receive(message(9, None));
        assert_eq!(log.gap(), Some((6, 8)));
        // Nobody follows beyond it.
        assert_eq!(log.after(4).map(|message| message.seq), Some(5));
        assert_eq!(log.after(5), None);
        log.insert(message(7, None));
        log.close_gap(6);
        assert_eq!((log.gap(), log.after(5).map(|message| message.seq)), (None, Some(7)));
    }

    #[test]
    fn the_oldest_messages_without_key_leave_a_copy_that_is_full() {
        let mut log = Log::default();
        log.receive(message(1, Some("a")));
        for seq in 2..=100 {
            log.receive(message(seq, None));
        }
        let most = log.bytes / 2;
        assert!(log.trim(most));
        assert!(log.bytes <= most);
        assert_eq!((log.of_key("a").unwrap().seq, log.get(2), log.get(100).is_some()), (1, None, true));
        assert_eq!(log.floor(), log.range(2, 100).next().unwrap().seq);
        assert!(!log.trim(10));
    }

    #[test]
    fn ranges_may_be_empty() {
        let mut log = Log::from(5);
        assert_eq!(log.newest(), (4, 0));
        log.receive(message(5, None));
        assert_eq!((log.gap(), log.range(6, 2).count(), log.range(5, 5).count()), (None, 0, 1));
        assert_eq!(log.remove_before(6).len(), 1);
    }
}

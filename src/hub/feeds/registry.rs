//! The feeds that are open, as the database's thread sees them.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::change;
use crate::{
    hub::{query::Query, schema::Row},
    wire::msgpack,
};

/// Changes that may be on their way to the socket of one feed.
const MAX_CHANGES: usize = 1000;
/// Their bytes.
const MAX_FEED_BYTES: usize = 16 << 20;
/// Bytes on their way to all sockets.
const MAX_BYTES: usize = 128 << 20;

/// Where a feed is: the table it is stored in, and its number.
type Place = (&'static str, u64);

/// All open feeds.
#[derive(Debug, Default)]
pub struct Registry {
    next: u64,
    open: HashMap<&'static str, BTreeMap<u64, Open>>,
    /// Changes and feeds of the transaction under way.
    changes: Vec<(Place, Bytes)>,
    opened: Vec<Place>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Open {
    query: Query,
    changes: mpsc::Sender<Bytes>,
    waiting: Arc<AtomicUsize>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Bytes on their way, of all feeds.
    waiting: AtomicUsize,
    /// Feeds that ended at the other end.
    ended: Mutex<Vec<Place>>,
}

/// The other end of a feed. Dropping it ends the feed.
#[derive(Debug)]
pub struct Feed {
    /// The first message: the result of the query.
    pub first: Bytes,
    changes: mpsc::Receiver<Bytes>,
    waiting: Arc<AtomicUsize>,
    place: Place,
    shared: Arc<Shared>,
}

impl Feed {
    /// The next message, encoded. `None`: the feed was cut off because too much waited, or the database is closed.
    pub async fn next(&mut self) -> Option<Bytes> {
        let message = self.changes.recv().await?;
        self.waiting.fetch_sub(message.len(), Relaxed);
        self.shared.waiting.fetch_sub(message.len(), Relaxed);
        Some(message)
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.shared.ended.lock().push(self.place);
        self.changes.close();
        while let Ok(message) = self.changes.try_recv() {
            self.shared.waiting.fetch_sub(message.len(), Relaxed);
        }
    }
}

impl Registry {
    /// Opens a feed with its first message.
    pub fn open(&mut self, query: Query, first: Bytes) -> Feed {
        self.sweep();
        let place = (query.table.stored, self.next);
        self.next += 1;
        let (sender, changes) = mpsc::channel(MAX_CHANGES);
        let waiting = Arc::<AtomicUsize>::default();
        let open = Open { query, changes: sender, waiting: waiting.clone() };
        self.open.entry(place.0).or_default().insert(place.1, open);
        self.opened.push(place);
        Feed { first, changes, waiting, place, shared: self.shared.clone() }
    }

    /// Notes a change of the transaction under way.
    pub fn changed(&mut self, table: &'static str, old: Option<&Row>, new: Option<&Row>) {
        self.sweep();
        let Some(feeds) = self.open.get(table) else { return };
        // Tabs of one frontend ask the same.
        let mut known: Vec<(&Query, Option<Bytes>)> = Vec::new();
        let mut slow = Vec::new();
        for (number, feed) in feeds {
            let message = match known.iter().find(|(query, _)| **query == feed.query) {
                Some((_, message)) => message.clone(),
                None => {
                    let message = change::message(&feed.query, old, new);
                    let message = message.and_then(|message| msgpack::encode(&message).ok()).map(Bytes::from);
                    known.push((&feed.query, message.clone()));
                    message
                }
            };
            let Some(message) = message else { continue };
            let of_feed = feed.waiting.fetch_add(message.len(), Relaxed) + message.len();
            let of_all = self.shared.waiting.fetch_add(message.len(), Relaxed) + message.len();
            if of_feed > MAX_FEED_BYTES || of_all > MAX_BYTES {
                self.shared.waiting.fetch_sub(message.len(), Relaxed);
                slow.push(*number);
            } else {
                self.changes.push(((table, *number), message));
            }
        }
        for number in slow {
            self.cut((table, number));
        }
    }

    /// Sends what was noted: the transaction is committed.
    pub fn publish(&mut self) {
        self.opened.clear();
        for (place, message) in std::mem::take(&mut self.changes) {
            let feed = self.open.get(place.0).and_then(|feeds| feeds.get(&place.1));
            let length = message.len();
            let sent = feed.map(|feed| feed.changes.try_send(message));
            if !matches!(sent, Some(Ok(()))) {
                self.shared.waiting.fetch_sub(length, Relaxed);
            }
            if matches!(sent, Some(Err(mpsc::error::TrySendError::Full(_)))) {
                self.cut(place);
            }
        }
    }

    /// Drops what was noted: the transaction is not committed.
    pub fn forget(&mut self) {
        for (place, message) in self.changes.drain(..) {
            self.shared.waiting.fetch_sub(message.len(), Relaxed);
            if let Some(feed) = self.open.get(place.0).and_then(|feeds| feeds.get(&place.1)) {
                feed.waiting.fetch_sub(message.len(), Relaxed);
            }
        }
        for place in std::mem::take(&mut self.opened) {
            self.remove(place);
        }
    }

    fn cut(&mut self, place: Place) {
        tracing::warn!(table = place.0, "a changefeed was cut off: too much waits for its reader");
        self.remove(place);
    }

    fn remove(&mut self, (table, number): Place) {
        if let Some(feeds) = self.open.get_mut(table) {
            feeds.remove(&number);
        }
    }

    /// Removes feeds that ended.
    fn sweep(&mut self) {
        let ended = std::mem::take(&mut *self.shared.ended.lock());
        for place in ended {
            self.remove(place);
        }
    }

    #[cfg(test)]
    fn len(&mut self) -> usize {
        self.sweep();
        self.open.values().map(BTreeMap::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::hub::query::{Actor, Request};

    fn open(registry: &mut Registry) -> Feed {
        let actor = Actor { account_id: "A".into(), project_id: "P".into(), is_project: false };
        let query = Request::read_feed(json!({"file_use": [{"id": null, "path": null}]}), None, &actor).unwrap();
        let feed = registry.open(query, Bytes::new());
        registry.publish();
        feed
    }

    fn change(registry: &mut Registry, path: &str) {
        let row = |path: &str| json!({"id": "i", "path": path}).as_object().unwrap().clone();
        registry.changed("file_use", None, Some(&row(path)));
    }

    #[tokio::test]
    async fn changes_come_after_the_commit_and_in_order() {
        let mut registry = Registry::default();
        let mut feed = open(&mut registry);
        change(&mut registry, "lost");
        registry.forget();
        change(&mut registry, "a");
        change(&mut registry, "b");
        assert!(feed.changes.try_recv().is_err());
        registry.publish();
        for path in ["a", "b"] {
            let message: serde_json::Value = msgpack::decode(&feed.next().await.unwrap()).unwrap();
            assert_eq!(message["update"]["new_val"]["path"], path);
        }
        assert_eq!(registry.shared.waiting.load(Relaxed), 0);
        assert_eq!(feed.waiting.load(Relaxed), 0);
    }

    #[test]
    fn feeds_that_ended_are_swept() {
        let mut registry = Registry::default();
        let feeds = [open(&mut registry), open(&mut registry)];
        change(&mut registry, "a");
        registry.publish();
        assert_eq!(registry.len(), 2);
        drop(feeds);
        assert_eq!(registry.len(), 0);
        assert_eq!(registry.shared.waiting.load(Relaxed), 0);
    }

    #[tokio::test]
    async fn a_feed_that_nobody_reads_is_cut_off_and_others_are_not() {
        let mut registry = Registry::default();
        let (mut idle, mut busy) = (open(&mut registry), open(&mut registry));
        for _ in 0..=MAX_CHANGES {
            change(&mut registry, "a");
            registry.publish();
            assert!(busy.next().await.is_some());
        }
        assert_eq!(registry.len(), 1);
        let mut got = 0;
        while idle.next().await.is_some() {
            got += 1;
        }
        assert_eq!(got, MAX_CHANGES);
        assert_eq!(registry.shared.waiting.load(Relaxed), 0);
        let large = "x".repeat(1 << 20);
        let mut lagging = open(&mut registry);
        for _ in 0..20 {
            change(&mut registry, &large);
            registry.publish();
            assert!(busy.next().await.is_some());
        }
        let mut got = 0;
        while lagging.next().await.is_some() {
            got += 1;
        }
        assert_eq!(got, 15);
    }

    #[test]
    fn a_feed_of_a_transaction_that_fails_is_not_open() {
        let mut registry = Registry::default();
        let actor = Actor { account_id: "A".into(), project_id: "P".into(), is_project: false };
        let query = Request::read_feed(json!({"file_use": [{"id": null}]}), None, &actor).unwrap();
        let _feed = registry.open(query, Bytes::new());
        registry.forget();
        assert_eq!(registry.len(), 0);
    }
}

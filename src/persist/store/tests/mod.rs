//! Tests of the store: against a naive model, and one by one what the model does not know.

mod basics;
mod faults;
mod feeds;
mod large;
mod lifecycle;
mod limits;
mod model;
mod ranges;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde_json::{Map, Value};

use super::*;
use crate::config::Durability;

/// Any time will do.
const START: u64 = 1_700_000_000_000;

/// A store with a clock that stands still unless it is moved.
struct Fixture {
    dir: tempfile::TempDir,
    clock: Arc<AtomicU64>,
    store: Store,
    tuning: Tuning,
    durability: Durability,
}

impl Fixture {
    fn new() -> Fixture {
        Fixture::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Tuning)) -> Fixture {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(AtomicU64::new(START));
        let time = clock.clone();
        let mut tuning = Tuning { clock: Clock::new(move || time.load(Ordering::Relaxed)), ..Tuning::default() };
        change(&mut tuning);
        let durability = Durability::Normal;
        let store = Store::open_with(options(dir.path(), durability), tuning.clone()).unwrap();
        Fixture { dir, clock, store, tuning, durability }
    }

    fn now(&self) -> u64 {
        self.clock.load(Ordering::Relaxed)
    }

    fn set_clock(&self, time: u64) {
        self.clock.store(time, Ordering::Relaxed);
    }

    fn advance(&self, ms: u64) {
        self.clock.fetch_add(ms, Ordering::Relaxed);
    }

    async fn stream(&self, path: &str) -> Stream {
        self.store.stream(path, OpenOptions::default()).await.unwrap()
    }

    async fn ephemeral(&self, path: &str) -> Stream {
        self.store.stream(path, OpenOptions { ephemeral: true }).await.unwrap()
    }

    /// Closes the store and opens it anew.
    async fn restart(&mut self) {
        self.store.close().await;
        self.store = Store::open_with(options(self.dir.path(), self.durability), self.tuning.clone()).unwrap();
    }

    /// Waits until all streams without handles are released.
    async fn released(&self) {
        while self.store.stats().open_streams.get() > 0 {
            tokio::task::yield_now().await;
        }
    }
}

fn options(dir: &std::path::Path, durability: Durability) -> StoreOptions {
    StoreOptions { path: dir.join("streams.db"), durability, release_grace: Duration::ZERO, observer: None }
}

const BOUNDS: FeedBounds = FeedBounds { events: 100_000, bytes: 1 << 30 };

fn fields(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

fn message(raw: impl Into<bytes::Bytes>) -> Set {
    Set { raw: raw.into(), ..Set::default() }
}

fn keyed(key: &str, raw: impl Into<bytes::Bytes>) -> Set {
    Set { key: Some(key.into()), ..message(raw) }
}

/// Operations that are waited for.
impl Stream {
    async fn put(&self, set: Set) -> Result<Assigned> {
        self.set(set).await?.await
    }

    async fn config(&self, value: Value) -> Result<Map<String, Value>> {
        self.configure(fields(value)).await?.await
    }

    async fn remove(&self, deletion: Deletion) -> Vec<u64> {
        self.delete(deletion).await.unwrap().await.unwrap()
    }

    async fn all(&self) -> Vec<Stored> {
        let mut pages = self.range(Range::default()).await.unwrap();
        let mut all = Vec::new();
        loop {
            let page = pages.next(64 * 1024).await.unwrap();
            if page.is_empty() {
                return all;
            }
            all.extend(page);
        }
    }

    async fn seqs(&self) -> Vec<u64> {
        self.all().await.iter().map(|stored| stored.seq).collect()
    }
}

/// All that waits in a feed, in short.
fn heard(feed: &mut Feed) -> Vec<String> {
    let show = |event: Arc<Event>| match &event.change {
        Change::Set { stored, .. } => format!("set {}", stored.seq),
        Change::Delete(seqs) => format!("delete {seqs:?}"),
        Change::Metadata(value) => format!("metadata {value:?}"),
        Change::Checkpoints(all) => format!("checkpoints {:?}", all.keys().collect::<Vec<_>>()),
    };
    std::iter::from_fn(|| feed.try_next()).map(show).collect()
}

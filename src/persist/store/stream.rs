//! The store's handles.

use std::{
    future::Future,
    path::PathBuf,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use serde_json::{Map, Value};

use super::{
    Result,
    feed::{Feed, FeedBounds},
    message::{Assigned, Checkpoint, Checkpoints, Deletion, Inventory, NewCheckpoint, Set, Stored},
};
use crate::config::Durability;

/// Settings of a store.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// `streams.db`.
    pub path: PathBuf,
    /// When a write is acknowledged.
    pub durability: Durability,
    /// How long an instance stays after its last handle (§17.1 #16).
    pub release_grace: std::time::Duration,
}

/// How to open a stream.
#[derive(Clone, Copy, Debug, Default)]
pub struct OpenOptions {
    /// Keep it in memory only (§8.9). Ignored when the stream is open already.
    pub ephemeral: bool,
}

/// All streams. Cloning it makes another handle.
#[derive(Clone, Debug)]
pub struct Store {}

impl Store {
    /// Opens the store; blocks.
    ///
    /// # Errors
    /// The database can't be opened or made.
    pub fn open(_options: StoreOptions) -> std::result::Result<Store, crate::persist::sqlite::Error> {
        todo!()
    }

    /// Opens a stream, making it when it is not there. Its limits are enforced (§8.7).
    ///
    /// # Errors
    /// The disk, or the store is closed.
    pub async fn stream(&self, _path: &str, _options: OpenOptions) -> Result<Stream> {
        todo!()
    }

    /// Streams with their sizes, for people.
    ///
    /// # Errors
    /// The disk.
    pub async fn summaries(&self, _query: SummaryQuery) -> Result<Summaries> {
        todo!()
    }

    /// Writes what waits and closes the database.
    pub async fn close(&self) {
        todo!()
    }
}

/// Which streams to list.
#[derive(Clone, Debug, Default)]
pub struct SummaryQuery {
    /// A part of the path.
    pub filter: String,
    /// `path`, `count`, `bytes` or `changed`.
    pub sort: String,
    /// Largest first.
    pub descending: bool,
    /// Streams to leave out at the start.
    pub offset: u64,
    /// Streams at most.
    pub limit: u64,
}

/// A part of the list of streams.
#[derive(Clone, Debug, Default)]
pub struct Summaries {
    /// How many there are in all.
    pub total: u64,
    /// Those that were asked for.
    pub streams: Vec<StreamSummary>,
}

/// A stream in the list.
#[derive(Clone, Debug)]
pub struct StreamSummary {
    /// Its storage path.
    pub path: String,
    /// Messages.
    pub count: u64,
    /// Sum of their sizes.
    pub bytes: u64,
    /// Last change, in ms since the epoch.
    pub changed: u64,
    /// In memory only.
    pub ephemeral: bool,
}

/// A write that has its place in the order; it ends with the commit.
#[derive(Debug)]
pub struct Pending<T> {
    answer: tokio::sync::oneshot::Receiver<Result<T>>,
}

impl<T> Future for Pending<T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<T>> {
        Pin::new(&mut self.answer).poll(context).map(|answer| answer.unwrap_or(Err(super::Error::Closed)))
    }
}

/// Which message.
#[derive(Clone, Debug)]
pub enum Selector {
    /// By number.
    Seq(u64),
    /// By key.
    Key(Arc<str>),
}

/// Which messages (§§6.5, 17.3).
#[derive(Clone, Debug, Default)]
pub struct Range {
    /// The first number, inclusive.
    pub start: Option<u64>,
    /// The last number, inclusive.
    pub end: Option<u64>,
    /// A checkpoint whose number is a lower bound too, if there is such a checkpoint.
    pub start_checkpoint: Option<String>,
}

/// The messages of a range, page by page, from one snapshot.
#[derive(Debug)]
pub struct Pages {
    /// `max(effective lower bound, oldest retained)`, if either is known.
    pub effective_start: Option<u64>,
    /// The smallest stored number.
    pub oldest: Option<u64>,
    /// The largest stored number.
    pub newest: Option<u64>,
    /// The checkpoints at the snapshot.
    pub checkpoints: Checkpoints,
    /// The metadata at the snapshot.
    pub metadata: Option<Value>,
}

impl Pages {
    /// The next messages, about `bytes` of payload at most, but one at least; empty at the end.
    ///
    /// # Errors
    /// The disk.
    pub async fn next(&mut self, _bytes: usize) -> Result<Vec<Stored>> {
        todo!()
    }
}

/// An open stream. Cloning it makes another handle.
#[derive(Clone, Debug)]
pub struct Stream {}

/// Writes: the outer future waits for a place in the writer's queue, the inner one for the commit.
impl Stream {
    /// Stores a message.
    ///
    /// # Errors
    /// The store is closed.
    pub async fn set(&self, _set: Set) -> Result<Pending<Assigned>> {
        todo!()
    }

    /// Stores messages in one transaction; each may fail by itself.
    ///
    /// # Errors
    /// The store is closed.
    pub async fn set_many(&self, _sets: Vec<Set>) -> Result<Pending<Vec<Result<Assigned>>>> {
        todo!()
    }

    /// Deletes messages; gives the numbers as §6.3 says.
    ///
    /// # Errors
    /// The store is closed.
    pub async fn delete(&self, _deletion: Deletion) -> Result<Pending<Vec<u64>>> {
        todo!()
    }

    /// Sets fields of the configuration, enforces the limits, and gives the whole configuration (§6.7).
    ///
    /// # Errors
    /// The store is closed.
    pub async fn configure(&self, _fields: Map<String, Value>) -> Result<Pending<Map<String, Value>>> {
        todo!()
    }

    /// Sets or clears the metadata.
    ///
    /// # Errors
    /// The store is closed.
    pub async fn set_metadata(&self, _metadata: Option<Value>) -> Result<Pending<Option<Value>>> {
        todo!()
    }

    /// Merges into the metadata (§17.4); gives the result.
    ///
    /// # Errors
    /// The store is closed.
    pub async fn patch_metadata(&self, _delta: Option<Value>) -> Result<Pending<Option<Value>>> {
        todo!()
    }

    /// Sets a checkpoint.
    ///
    /// # Errors
    /// The store is closed.
    pub async fn set_checkpoint(&self, _checkpoint: NewCheckpoint) -> Result<Pending<Checkpoint>> {
        todo!()
    }

    /// Removes a checkpoint, if there is one of that name.
    ///
    /// # Errors
    /// The store is closed.
    pub async fn delete_checkpoint(&self, _name: String) -> Result<Pending<()>> {
        todo!()
    }
}

/// Reads: they see every write that was answered before they began.
impl Stream {
    /// The storage path.
    pub fn path(&self) -> &str {
        todo!()
    }

    /// Whether it is in memory only.
    pub fn is_ephemeral(&self) -> bool {
        todo!()
    }

    /// Hears of every change from now on.
    pub fn feed(&self, _bounds: FeedBounds) -> Feed {
        todo!()
    }

    /// One message; expired ones are not there (§6.4).
    ///
    /// # Errors
    /// The disk.
    pub async fn get(&self, _selector: Selector) -> Result<Option<Stored>> {
        todo!()
    }

    /// Messages in order, from a snapshot that is taken before this returns.
    ///
    /// # Errors
    /// The disk.
    pub async fn range(&self, _range: Range) -> Result<Pages> {
        todo!()
    }

    /// The keys of all keyed messages, tombstones included.
    ///
    /// # Errors
    /// The disk.
    pub async fn keys(&self) -> Result<Vec<Arc<str>>> {
        todo!()
    }

    /// What the stream holds.
    ///
    /// # Errors
    /// The disk.
    pub async fn inventory(&self) -> Result<Inventory> {
        todo!()
    }

    /// The metadata.
    ///
    /// # Errors
    /// The disk.
    pub async fn metadata(&self) -> Result<Option<Value>> {
        todo!()
    }

    /// All checkpoints.
    ///
    /// # Errors
    /// The disk.
    pub async fn checkpoints(&self) -> Result<Checkpoints> {
        todo!()
    }
}

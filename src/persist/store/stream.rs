//! The handle of a stream.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use rusqlite::OptionalExtension;
use serde_json::{Map, Value};
use tokio::sync::oneshot;

use super::{
    Error, Result,
    engine::{read_checkpoints, read_metadata, rows},
    feed::{Feed, FeedBounds},
    instance::Instance,
    message::{Adopted, Assigned, Checkpoint, Checkpoints, Deletion, Header, Inventory, NewCheckpoint, Set, Stored},
    pages::{self, Pages, Range},
    queue::Queue,
    reader::Source,
    registry::Registry,
    row::{COLUMNS, Found},
    schema::{MAX_SEQ, row_id, seq_of, uint},
    work::{Answer, Work, Write},
};

/// A write that has its place in the order; it ends with the commit.
#[derive(Debug)]
pub struct Pending<T> {
    answer: oneshot::Receiver<Result<Answer>>,
    convert: fn(Answer) -> Option<T>,
}

impl<T> Future for Pending<T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<T>> {
        let convert = self.convert;
        Pin::new(&mut self.answer).poll(context).map(|answer| match answer {
            // Every kind of work has its kind of answer.
            Ok(answer) => answer.and_then(|answer| convert(answer).ok_or(Error::Closed)),
            Err(_) => Err(Error::Closed),
        })
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

/// What keeps an instance open.
#[derive(Debug)]
pub(super) struct Lease {
    pub registry: Arc<Registry>,
    pub instance: Arc<Instance>,
    pub queue: Arc<Queue>,
    pub source: Source,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.registry.leave(&self.instance, &self.queue);
    }
}

/// An open stream. Cloning it makes another handle.
#[derive(Clone, Debug)]
pub struct Stream {
    pub(super) lease: Arc<Lease>,
}

impl Stream {
    pub(super) fn lease(&self) -> &Lease {
        &self.lease
    }
}

impl From<Lease> for Stream {
    fn from(lease: Lease) -> Stream {
        Stream { lease: Arc::new(lease) }
    }
}

/// The part of an answer that is wanted.
macro_rules! answer {
    ($kind:ident) => {
        |answer| if let Answer::$kind(value) = answer { Some(value) } else { None }
    };
}

/// Writes: the outer future waits for a place in the writer's queue, the inner one for the commit.
impl Stream {
    async fn push<T>(&self, work: Work, convert: fn(Answer) -> Option<T>) -> Result<Pending<T>> {
        Ok(Pending { answer: self.lease.queue.push(&self.lease.instance, work).await?, convert })
    }

    /// Stores a message.
    ///
    /// # Errors
    /// The store is closed, or overloaded.
    pub async fn set(&self, set: Set) -> Result<Pending<Assigned>> {
        self.push(Work::Set(Write::from(set)), answer!(Assigned)).await
    }

    /// Stores messages in one transaction; each may fail by itself.
    ///
    /// # Errors
    /// The store is closed, or overloaded.
    pub async fn set_many(&self, sets: Vec<Set>) -> Result<Pending<Vec<Result<Assigned>>>> {
        self.push(Work::SetMany(Write::batch(sets)), answer!(Many)).await
    }

    /// Deletes messages; gives the numbers as §6.3 says.
    ///
    /// # Errors
    /// The store is closed, or overloaded.
    pub async fn delete(&self, deletion: Deletion) -> Result<Pending<Vec<u64>>> {
        self.push(Work::Delete(deletion), answer!(Seqs)).await
    }

    /// Sets fields of the configuration, enforces the limits, and gives the whole configuration (§6.7).
    ///
    /// # Errors
    /// The store is closed, or overloaded.
    pub async fn configure(&self, fields: Map<String, Value>) -> Result<Pending<Map<String, Value>>> {
        self.push(Work::Configure(fields), answer!(Fields)).await
    }

    /// Sets or clears the metadata.
    ///
    /// # Errors
    /// The store is closed, or overloaded.
    pub async fn set_metadata(&self, metadata: Option<Value>) -> Result<Pending<Option<Value>>> {
        self.push(Work::SetMetadata(metadata), answer!(Metadata)).await
    }

    /// Merges into the metadata (§17.4); gives the result.
    ///
    /// # Errors
    /// The store is closed, or overloaded.
    pub async fn patch_metadata(&self, delta: Option<Value>) -> Result<Pending<Option<Value>>> {
        self.push(Work::PatchMetadata(delta), answer!(Metadata)).await
    }

    /// Sets a checkpoint.
    ///
    /// # Errors
    /// The store is closed, or overloaded.
    pub async fn set_checkpoint(&self, checkpoint: NewCheckpoint) -> Result<Pending<Checkpoint>> {
        self.push(Work::SetCheckpoint(checkpoint), answer!(Checkpoint)).await
    }

    /// Removes a checkpoint, if there is one of that name.
    ///
    /// # Errors
    /// The store is closed, or overloaded.
    pub async fn delete_checkpoint(&self, name: String) -> Result<Pending<()>> {
        self.push(Work::DeleteCheckpoint(name), |answer| matches!(answer, Answer::Done).then_some(())).await
    }

    /// Removes all there is of the stream, its numbers included, so that it can be taken over from elsewhere.
    ///
    /// # Errors
    /// The store is closed, or overloaded.
    pub async fn clear_for_adoption(&self) -> Result<Pending<()>> {
        self.push(Work::ClearForAdoption, |answer| matches!(answer, Answer::Done).then_some(())).await
    }

    /// Takes over messages from elsewhere, with their numbers and times, in order; those that are not newer than what is
    /// there are left out. Gives how many were stored. Ends with [`Stream::finish_adoption`]; see [`Stream::changed`].
    ///
    /// # Errors
    /// The store is closed, or overloaded; the stream has a life of its own here.
    pub async fn adopt(&self, messages: Vec<Adopted>) -> Result<Pending<u64>> {
        self.push(Work::Adopt(messages), answer!(Count)).await
    }

    /// Completes an adoption.
    ///
    /// # Errors
    /// See [`Stream::adopt`].
    pub async fn finish_adoption(&self, header: Header) -> Result<Pending<()>> {
        self.push(Work::FinishAdoption(header), |answer| matches!(answer, Answer::Done).then_some(())).await
    }
}

/// Reads: they see every write that was answered before they began.
impl Stream {
    /// The storage path.
    pub fn path(&self) -> &str {
        &self.lease.instance.path
    }

    /// Whether it is in memory only.
    pub fn is_ephemeral(&self) -> bool {
        self.lease.instance.ephemeral
    }

    /// Hears of every change from now on.
    pub fn feed(&self, bounds: FeedBounds) -> Feed {
        self.lease.instance.feed(bounds)
    }

    /// Reads something of what is stored; of a stream of which there is nothing, nothing is read.
    pub(super) async fn read<T: Default + Send + 'static>(
        &self,
        read: impl FnOnce(&rusqlite::Connection, i64) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        match self.lease.instance.row() {
            Some(stream) => self.lease.source.read(move |connection| read(connection, stream)).await,
            None => Ok(T::default()),
        }
    }

    /// One message; expired ones are not there (§6.4).
    ///
    /// # Errors
    /// The disk.
    pub async fn get(&self, selector: Selector) -> Result<Option<Stored>> {
        let now = self.lease.instance.hides_expired().then(|| self.lease.registry.clock().now());
        self.read(move |connection, stream| {
            let found = match selector {
                Selector::Seq(seq) if seq > MAX_SEQ => None,
                Selector::Seq(seq) => {
                    let sql = format!("SELECT {COLUMNS} FROM messages WHERE id = ?1");
                    let mut select = connection.prepare_cached(&sql)?;
                    select.query_row([row_id(stream, seq)], |row| Found::read(connection, row)).optional()?
                }
                Selector::Key(key) => {
                    let sql = format!(
                        "SELECT {COLUMNS} FROM keys JOIN messages ON messages.id = (keys.stream << 40) | keys.seq
                         WHERE keys.stream = ?1 AND keys.key = ?2"
                    );
                    let mut select = connection.prepare_cached(&sql)?;
                    select.query_row((stream, key), |row| Found::read(connection, row)).optional()?
                }
            };
            Ok(found.and_then(|found| match now {
                Some(now) => found.unless_expired(now),
                None => Some(found.stored),
            }))
        })
        .await
    }

    /// Messages in order, from a snapshot that is taken before this returns.
    ///
    /// # Errors
    /// The disk.
    pub async fn range(&self, range: Range) -> Result<Pages> {
        pages::range(self.lease.clone(), self.lease.registry.snapshots(), range).await
    }

    /// The keys of all keyed messages, tombstones included.
    ///
    /// # Errors
    /// The disk.
    pub async fn keys(&self) -> Result<Vec<Arc<str>>> {
        self.read(|connection, stream| {
            let mut select = connection.prepare_cached("SELECT key FROM keys WHERE stream = ?1 ORDER BY key")?;
            select.query_map([stream], |row| row.get(0))?.collect()
        })
        .await
    }

    /// What the stream holds.
    ///
    /// # Errors
    /// The disk.
    pub async fn inventory(&self) -> Result<Inventory> {
        self.read(|connection, stream| {
            let (first, last) = rows(stream);
            let mut newest = connection
                .prepare_cached("SELECT id FROM messages WHERE id >= ?1 AND id <= ?2 ORDER BY id DESC LIMIT 1")?;
            let seq = newest.query_row([first, last], |row| row.get(0).map(seq_of)).optional()?.unwrap_or(0);
            let mut select = connection.prepare_cached(
                "SELECT bytes, count, value FROM streams LEFT JOIN config ON config.stream = streams.id WHERE id = ?1",
            )?;
            select.query_row([stream], |row| {
                let limits = row.get_ref(2)?.as_str_or_null()?.and_then(|text| serde_json::from_str(text).ok());
                let (bytes, count) = (uint(row.get(0)?), uint(row.get(1)?));
                Ok(Inventory { bytes, count, seq, limits: limits.unwrap_or_default() })
            })
        })
        .await
    }

    /// When it was changed last, in ms since the epoch; 0 when an adoption of it was begun and not finished, `None` when
    /// there is nothing of it.
    ///
    /// # Errors
    /// The disk.
    pub async fn changed(&self) -> Result<Option<u64>> {
        self.read(|connection, stream| {
            let mut select = connection.prepare_cached("SELECT changed FROM streams WHERE id = ?1")?;
            select.query_row([stream], |row| row.get(0).map(uint)).optional()
        })
        .await
    }

    /// The metadata.
    ///
    /// # Errors
    /// The disk.
    pub async fn metadata(&self) -> Result<Option<Value>> {
        self.read(read_metadata).await
    }

    /// All checkpoints.
    ///
    /// # Errors
    /// The disk.
    pub async fn checkpoints(&self) -> Result<Checkpoints> {
        self.read(read_checkpoints).await
    }
}

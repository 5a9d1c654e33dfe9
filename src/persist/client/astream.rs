//! A stream without a copy: one request for each operation (conat-persist.md §12.5).

use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    Assigned, Connection, Deletion, Event, Feed, FeedItem, GetAll, Inventory, Result,
    message::{Message, Write},
};

/// A stream without a copy.
#[derive(Clone, Debug)]
pub struct AStream {
    connection: Connection,
}

impl AStream {
    pub(super) fn new(connection: Connection) -> AStream {
        AStream { connection }
    }

    /// Its connection.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// A message by its number.
    ///
    /// # Errors
    /// The server can't be reached.
    pub async fn get(&self, seq: u64) -> Result<Option<Message>> {
        self.connection.get(seq).await
    }

    /// Messages of a range, inclusive.
    ///
    /// # Errors
    /// The server can't be reached, or the answer is too large.
    pub async fn range(&self, first: Option<u64>, last: Option<u64>) -> Result<Vec<Message>> {
        let query = GetAll { start_seq: first, end_seq: last, ..GetAll::default() };
        Ok(self.connection.get_all(query).await?.messages)
    }

    /// Appends a message.
    ///
    /// # Errors
    /// The server refuses it, or can't be reached.
    pub async fn publish<T: Serialize + ?Sized>(&self, value: &T) -> Result<Assigned> {
        self.connection.set(Write::value(value)?).await
    }

    /// Appends messages; each may fail by itself.
    ///
    /// # Errors
    /// See [`Connection::set_many`].
    pub async fn push(&self, writes: Vec<Write>) -> Result<Vec<Result<Assigned>>> {
        self.connection.set_many(writes).await
    }

    /// Deletes messages.
    ///
    /// # Errors
    /// The server can't be reached.
    pub async fn delete(&self, deletion: &Deletion) -> Result<Vec<u64>> {
        self.connection.delete(deletion).await
    }

    /// Sets fields of the configuration, and gives the whole.
    ///
    /// # Errors
    /// The server can't be reached.
    pub async fn configure(&self, fields: &Map<String, Value>) -> Result<Map<String, Value>> {
        self.connection.configure(fields).await
    }

    /// What the stream holds.
    ///
    /// # Errors
    /// The server can't be reached.
    pub async fn inventory(&self) -> Result<Inventory> {
        self.connection.inventory().await
    }

    /// Follows the changes from now on. All feeds of a stream share its socket.
    ///
    /// # Errors
    /// The server can't be reached.
    pub async fn changes(&self) -> Result<ChangeFeed> {
        let feed = self.connection.feed().await?;
        // What comes from now on is all that is wanted, but that without holes: whatever was stored since is caught up with.
        feed.follow(self.connection.inventory().await?.seq, 0, 0);
        Ok(ChangeFeed { feed, waiting: std::collections::VecDeque::new() })
    }

    /// Closes the stream and waits until its task has ended.
    pub async fn close(&self) {
        self.connection.closed().await;
    }
}

/// Changes in order.
#[derive(Debug)]
pub struct ChangeFeed {
    feed: Feed,
    waiting: std::collections::VecDeque<Event>,
}

impl ChangeFeed {
    /// The next change. Deletions that happened while there was no socket are not told.
    ///
    /// # Errors
    /// The stream is closed, or the reader was too slow.
    pub async fn next(&mut self) -> Result<Event> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Ok(event);
            }
            match self.feed.next().await? {
                FeedItem::Events(events) => self.waiting.extend(events),
                FeedItem::Restarted => self.feed.follow(0, 0, 0),
                FeedItem::Gap { .. } | FeedItem::Oldest(_) => {}
            }
        }
    }
}

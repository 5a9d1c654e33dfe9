//! A copy of a stream that follows it (conat-persist.md §§11.5, 12.1).

mod follow;
mod gaps;
mod log;
mod run;

use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use serde_json::{Map, Value};
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

pub use self::follow::Follower;
use self::log::Log;
use super::{
    Assigned, Connection, Deletion, Error, Feed, GetAll, Inventory, Owner, Persist, Result, Storage,
    message::{Message, Write},
    notices::{Notice, Notices, Notifier},
};

/// How to open a stream.
#[derive(Clone, Debug, Default)]
pub struct StreamOptions {
    /// How it is stored.
    pub storage: Storage,
    /// Nothing before this number is loaded; 0 loads everything.
    pub start_seq: u64,
    /// A checkpoint to start at, if that is later (newer servers).
    pub start_checkpoint: Option<String>,
    /// Fields of the configuration to set (§8.6).
    pub config: Map<String, Value>,
}

/// What has changed in a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// There is a new message.
    Set {
        /// Its number.
        seq: u64,
        /// Its key.
        key: Option<Arc<str>>,
    },
    /// Messages were deleted.
    Delete(Arc<[u64]>),
    /// Messages that were never seen are gone.
    Gap(HistoryGap),
    /// The stream has begun anew, or its changes came too fast and it was loaded anew; look at the whole.
    Restarted,
    /// The reader of the changes was too slow and has missed so many; look at the whole.
    Missed(u64),
}

/// Messages that are gone although they were asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryGap {
    /// The first number that was asked for.
    pub requested: u64,
    /// The first that can be there.
    pub effective: u64,
}

/// Changes in order.
#[derive(Debug)]
pub struct Changes {
    notices: Notices<Change>,
}

impl Changes {
    /// The next one, or `None` when the stream is closed.
    pub async fn next(&mut self) -> Option<Change> {
        Some(match self.notices.next().await? {
            Notice::Of(change) => change,
            Notice::Missed(count) => Change::Missed(count),
        })
    }
}

/// What is built on a copy. It is called with the copy locked, so it must not look at it; except for `settle`.
pub(super) trait Observer: std::fmt::Debug + Send + Sync {
    /// A message has come that was not there. `before` is what it has replaced.
    fn stored(&self, message: &Message, msg_id: Option<&str>, before: Option<&Message>);
    /// A message is gone, or one that was not there.
    fn deleted(&self, seq: u64, message: Option<&Message>);
    /// The copy is free again.
    fn settle(&self);
    /// Nothing more will come.
    fn closed(&self, error: &Error);
}

/// A copy of a stream. Cloning it makes another handle; it closes with the last one.
#[derive(Clone, Debug)]
pub struct CoreStream {
    guard: Arc<Guard>,
}

#[derive(Debug)]
struct Guard {
    shared: Arc<Shared>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.shared.close(&Error::Closed);
    }
}

#[derive(Debug)]
struct Shared {
    connection: Connection,
    options: StreamOptions,
    log: Mutex<Log>,
    config: Mutex<Map<String, Value>>,
    gap: Mutex<Option<HistoryGap>>,
    changes: Notifier<Change>,
    /// Counts what has happened, for followers.
    version: watch::Sender<u64>,
    observer: Option<Arc<dyn Observer>>,
    ended: Mutex<Option<Error>>,
    closing: CancellationToken,
}

impl CoreStream {
    pub(super) async fn open(
        persist: &Persist,
        owner: &Owner,
        name: &str,
        options: StreamOptions,
    ) -> Result<CoreStream> {
        CoreStream::observed(persist, owner, name, options, None).await
    }

    pub(super) async fn observed(
        persist: &Persist,
        owner: &Owner,
        name: &str,
        options: StreamOptions,
        observer: Option<Arc<dyn Observer>>,
    ) -> Result<CoreStream> {
        let (connection, feed) = Connection::open_with_feed(persist, owner, name, options.storage)?;
        let shared = Arc::new(Shared {
            log: Mutex::new(Log::from(options.start_seq)),
            changes: Notifier::new(connection.options().bounds.notices),
            connection,
            options,
            config: Mutex::default(),
            gap: Mutex::default(),
            version: watch::Sender::new(0),
            observer,
            ended: Mutex::default(),
            closing: CancellationToken::new(),
        });
        // Whatever was started ends when the load does not succeed, or nobody waits for it any more.
        let guard = Guard { shared: shared.clone(), task: Mutex::default() };
        shared.load(&feed).await?;
        *guard.task.lock() = Some(tokio::spawn(run::run(shared, feed)));
        Ok(CoreStream { guard: Arc::new(guard) })
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.guard.shared
    }

    /// Its connection.
    pub fn connection(&self) -> &Connection {
        &self.shared().connection
    }

    /// The storage path.
    pub fn path(&self) -> &str {
        self.connection().path()
    }

    /// A message, if it is in the copy.
    pub fn get(&self, seq: u64) -> Option<Message> {
        self.shared().log.lock().get(seq).cloned()
    }

    /// The newest message of a key, unless the key is deleted.
    pub fn get_key(&self, key: &str) -> Option<Message> {
        self.newest_of(key).filter(|message| !message.is_tombstone())
    }

    /// The newest message of a key, also when it says that the key is deleted.
    pub(super) fn newest_of(&self, key: &str) -> Option<Message> {
        self.shared().log.lock().of_key(key).cloned()
    }

    /// The keys there are, in no order.
    pub fn keys(&self) -> Vec<Arc<str>> {
        self.shared().log.lock().live().map(|(key, _)| key.clone()).collect()
    }

    /// The newest message of each key that is there, in no order.
    pub fn by_key(&self) -> Vec<Message> {
        self.shared().log.lock().live().map(|(_, message)| message.clone()).collect()
    }

    /// The keys there are, and something else that is looked at in the same moment.
    pub(super) fn keys_and<T>(&self, look: impl FnOnce() -> T) -> (Vec<Arc<str>>, T) {
        let log = self.shared().log.lock();
        (log.live().map(|(key, _)| key.clone()).collect(), look())
    }

    /// Messages in order, and something else that is looked at in the same moment.
    pub(super) fn messages_and<T>(&self, look: impl FnOnce() -> T) -> (Vec<Message>, T) {
        let log = self.shared().log.lock();
        (log.range(0, u64::MAX).cloned().collect(), look())
    }

    /// The copy for those who do not keep it open.
    pub(super) fn watched(&self) -> Watched {
        Watched { shared: Arc::downgrade(self.shared()) }
    }

    /// Messages in order, tombstones included.
    pub fn messages(&self) -> Vec<Message> {
        self.range(0, u64::MAX)
    }

    /// Messages whose numbers are in this range, inclusive, in order.
    pub fn range(&self, first: u64, last: u64) -> Vec<Message> {
        self.shared().log.lock().range(first, last).cloned().collect()
    }

    /// The last so many messages, in order.
    pub fn last(&self, count: usize) -> Vec<Message> {
        let log = self.shared().log.lock();
        let mut last: Vec<Message> = log.range(0, u64::MAX).rev().take(count).cloned().collect();
        last.reverse();
        last
    }

    /// Messages in the copy.
    pub fn len(&self) -> usize {
        self.shared().log.lock().len()
    }

    /// Whether the copy holds nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Payload bytes in the copy.
    pub fn bytes(&self) -> usize {
        self.shared().log.lock().raw_bytes()
    }

    /// The largest number that was seen.
    pub fn newest_seq(&self) -> u64 {
        self.shared().log.lock().newest().0
    }

    /// Messages that are gone although they were asked for.
    pub fn history_gap(&self) -> Option<HistoryGap> {
        *self.shared().gap.lock()
    }

    /// The configuration as it was last seen; empty if an older server was never asked.
    pub fn config(&self) -> Map<String, Value> {
        self.shared().config.lock().clone()
    }

    /// What changes from now on.
    pub fn changes(&self) -> Changes {
        Changes { notices: self.shared().changes.subscribe() }
    }

    /// Reads the messages after a number in order, and goes on with those to come.
    pub fn follow(&self, after: u64) -> Follower {
        Follower::new(self.shared(), after)
    }

    /// Stores a message; it is in the copy a moment later.
    ///
    /// # Errors
    /// The server refuses it, or can't be reached.
    pub async fn set(&self, write: Write) -> Result<Assigned> {
        self.connection().set(write).await
    }

    /// Stores messages; each may fail by itself.
    ///
    /// # Errors
    /// See [`Connection::set_many`].
    pub async fn set_many(&self, writes: Vec<Write>) -> Result<Vec<Result<Assigned>>> {
        self.connection().set_many(writes).await
    }

    /// Deletes a key by a tombstone. Does nothing when it is not there.
    ///
    /// # Errors
    /// The server refuses it, or can't be reached.
    pub async fn delete_key(&self, key: &str) -> Result<()> {
        if self.get_key(key).is_none() {
            return Ok(());
        }
        let ttl = self.connection().options().tombstone_ttl;
        self.set(Write::tombstone(key, Some(ttl))).await.map(drop)
    }

    /// Deletes messages.
    ///
    /// # Errors
    /// The server can't be reached.
    pub async fn delete(&self, deletion: &Deletion) -> Result<Vec<u64>> {
        self.connection().delete(deletion).await
    }

    /// Sets fields of the configuration, enforces the limits, and gives the whole configuration.
    ///
    /// # Errors
    /// The server can't be reached.
    pub async fn configure(&self, fields: &Map<String, Value>) -> Result<Map<String, Value>> {
        let config = self.connection().configure(fields).await?;
        self.shared().config.lock().clone_from(&config);
        Ok(config)
    }

    /// What the stream holds at the server.
    ///
    /// # Errors
    /// The server can't be reached.
    pub async fn inventory(&self) -> Result<Inventory> {
        self.connection().inventory().await
    }

    /// Loads messages before those in the copy, from `start_seq` on. Gives how many there were.
    ///
    /// # Errors
    /// The server can't be reached, or they do not fit.
    pub async fn load_older(&self, start_seq: u64) -> Result<usize> {
        let shared = self.shared();
        let floor = shared.log.lock().floor();
        if floor <= start_seq.max(1) {
            return Ok(0);
        }
        let query = GetAll { start_seq: Some(start_seq), end_seq: Some(floor - 1), ..GetAll::default() };
        let snapshot = shared.connection.get_all(query).await?;
        let count = shared.add_older(snapshot.messages, start_seq)?;
        Ok(count)
    }

    /// Why it has ended, if it has.
    pub fn error(&self) -> Option<Error> {
        self.shared().ended.lock().clone()
    }

    /// Waits until it has ended, and says why.
    pub async fn ended(&self) -> Error {
        self.shared().closing.cancelled().await;
        self.error().unwrap_or(Error::Closed)
    }

    /// Closes the stream and waits until its tasks have ended.
    pub async fn close(&self) {
        self.shared().close(&Error::Closed);
        let task = self.guard.task.lock().take();
        if let Some(task) = task {
            // A task that panicked has ended as well.
            let _ = task.await;
        }
        self.connection().closed().await;
    }
}

/// A copy that may be gone.
#[derive(Clone, Debug)]
pub(super) struct Watched {
    shared: Weak<Shared>,
}

impl Watched {
    /// Looks at the numbers of the newest messages of keys, while the copy stands still.
    pub fn with_newest<T>(&self, look: impl FnOnce(&dyn Fn(&str) -> Option<u64>) -> T) -> Option<T> {
        let shared = self.shared.upgrade()?;
        let log = shared.log.lock();
        Some(look(&|key| log.of_key(key).map(|message| message.seq)))
    }

    /// A message is known to be gone.
    pub fn forget(&self, seq: u64) {
        if let Some(shared) = self.shared.upgrade() {
            shared.forget(seq);
        }
    }
}

impl Shared {
    /// Ends everything, and remembers why.
    fn close(&self, error: &Error) {
        {
            let mut ended = self.ended.lock();
            if ended.is_some() {
                return;
            }
            *ended = Some(error.clone());
        }
        self.closing.cancel();
        self.connection.close();
        self.changes.close();
        self.touch();
        if let Some(observer) = &self.observer {
            observer.closed(error);
        }
    }

    /// Wakes followers.
    fn touch(&self) {
        self.version.send_modify(|version| *version += 1);
    }
}

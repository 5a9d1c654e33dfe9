//! Reading beside the writer.
//!
//! Reads run on the runtime's threads for blocking work, a few at a time, each with a connection of its own, which sees all
//! that was committed before it begins.

use std::{path::PathBuf, sync::Arc};

use parking_lot::Mutex;
use rusqlite::Connection;
use tokio::sync::{Semaphore, oneshot};

use super::{
    Error, Result,
    health::Suspicion,
    queue::Queue,
    stats::Stats,
    work::{Message, Read},
};
use crate::persist::sqlite;

/// Connections that are kept for the next reads.
#[derive(Debug)]
pub(super) struct Readers {
    path: PathBuf,
    permits: Arc<Semaphore>,
    most: u32,
    idle: Mutex<Idle>,
    suspicion: Arc<Suspicion>,
    stats: Arc<Stats>,
}

#[derive(Debug, Default)]
struct Idle {
    connections: Vec<Connection>,
    closed: bool,
}

impl Readers {
    pub fn new(path: PathBuf, reads: usize, suspicion: Arc<Suspicion>, stats: Arc<Stats>) -> Readers {
        let most = u32::try_from(reads.max(1)).unwrap_or(u32::MAX);
        Readers {
            path,
            permits: Arc::new(Semaphore::new(most as usize)),
            most,
            idle: Mutex::default(),
            suspicion,
            stats,
        }
    }

    /// Runs blocking work. It takes a connection if it needs one.
    pub async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Readers) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        // The work keeps the permit, even when nobody waits for its result any more.
        let permit = self.permits.clone().acquire_owned().await.map_err(|_| Error::Closed)?;
        let readers = self.clone();
        self.stats.reads.add(1);
        let task = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work(&readers)
        });
        task.await.unwrap_or(Err(Error::Closed))
    }

    /// A connection without a transaction.
    pub fn take(&self) -> Result<Connection> {
        let mut idle = self.idle.lock();
        if idle.closed {
            return Err(Error::Closed);
        }
        match idle.connections.pop() {
            Some(connection) => Ok(connection),
            None => {
                drop(idle);
                Ok(sqlite::connect_for_reading(&self.path)?)
            }
        }
    }

    /// What a reader is told of a failure.
    pub fn failed(&self, error: rusqlite::Error) -> Error {
        self.suspicion.raise(&error);
        error.into()
    }

    /// Gives a connection back.
    pub fn put(&self, connection: Connection) {
        // A connection that can't end its transaction is of no use.
        if !connection.is_autocommit() && connection.execute_batch("ROLLBACK").is_err() {
            return;
        }
        let mut idle = self.idle.lock();
        if !idle.closed && idle.connections.len() < self.most as usize {
            idle.connections.push(connection);
        }
    }

    /// Waits for the reads that are under way and closes all connections.
    pub async fn close(&self) {
        let permits = self.permits.acquire_many(self.most).await;
        self.permits.close();
        let mut idle = self.idle.lock();
        idle.closed = true;
        idle.connections.clear();
        drop(permits);
    }
}

/// Where a stream is read.
#[derive(Clone, Debug)]
pub(super) enum Source {
    /// On connections of its own.
    Disk(Arc<Readers>),
    /// By the writer, between two transactions: nobody else has its database.
    Memory(Arc<Queue>),
}

/// What a read takes of the writer's queue.
const READ_COST: usize = 512;

impl Source {
    /// Reads at one point in time.
    pub async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        match self {
            Source::Disk(readers) => {
                let within = move |readers: &Readers| {
                    let connection = readers.take()?;
                    let outcome = in_transaction(&connection, read);
                    readers.put(connection);
                    outcome.map_err(|error| readers.failed(error))
                };
                readers.run(within).await
            }
            Source::Memory(queue) => {
                let room = queue.room(READ_COST).await?;
                let (answer, receiver) = oneshot::channel();
                let within: Read = Box::new(move |connection| {
                    let _room = room;
                    let _ = answer.send(in_transaction(connection, read));
                });
                queue.send(Message::Read(within))?;
                Ok(receiver.await.map_err(|_| Error::Closed)??)
            }
        }
    }
}

fn in_transaction<T>(
    connection: &Connection,
    read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    connection.prepare_cached("BEGIN")?.execute([])?;
    let outcome = read(connection);
    let end = connection.prepare_cached("COMMIT").and_then(|mut end| end.execute([]));
    outcome.and_then(|value| end.map(|_| value))
}

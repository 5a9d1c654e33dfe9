//! `hub.db`: the hub's rows in SQLite (hub.md §8.8).
//!
//! One thread owns the connection. It takes what waits for it, up to a number, executes it in one transaction, and answers
//! after the commit; so an answer means that the change is on the disk. Changefeeds are fed by the same thread: what it has
//! written before a feed's first result is in that result, what it writes after it comes as a change.
//!
//! | queue | bound | when it is full |
//! |---|---|---|
//! | requests for the thread | [`MAX_JOBS`] | callers wait |
//! | changes for one feed | see [`feeds`](crate::hub::feeds) | the feed ends |

mod file;
mod rows;
#[cfg(test)]
mod tests;
mod transaction;
mod worker;

use std::path::PathBuf;

use serde_json::Value;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

pub use self::file::SCHEMA;
use self::worker::{Job, Outcome, Work, Worker};
use super::{
    feeds::Feed,
    query::{self, Actor, Query, Request},
    schema::{Row, Table},
    settings::Live,
};
use crate::{
    config::{Durability, Identity},
    persist::sqlite::{self, Recovery},
};

/// Requests that may wait for the thread.
const MAX_JOBS: usize = 1024;

/// Why the database can't be used.
#[derive(Debug, Error)]
pub enum Error {
    /// The file or its directory.
    #[error("{}: {source}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// SQLite, or the schema.
    #[error(transparent)]
    Sqlite(#[from] sqlite::Error),
    /// No thread can be started.
    #[error("no thread for the database: {0}")]
    Thread(std::io::Error),
}

/// What a database needs.
#[derive(Clone, Debug)]
pub struct Options {
    /// The directory that holds `hub.db`.
    pub data: PathBuf,
    /// When a write is acknowledged.
    pub durability: Durability,
    /// Whose rows there must be.
    pub identity: Identity,
}

/// The database. Cloning it makes another handle.
#[derive(Clone, Debug)]
pub struct Database {
    jobs: mpsc::Sender<Job>,
    settings: Live,
}

impl Database {
    /// Opens the database, making it when it is not there, and starts its thread. Blocks.
    ///
    /// # Errors
    /// See [`enum@Error`].
    pub fn open(options: &Options) -> Result<(Database, Option<Recovery>), Error> {
        let (connection, recovery) = file::open(options)?;
        let settings = Live::default();
        let worker = Worker::new(connection, settings.clone());
        let worker = worker.map_err(|source| sqlite::Error::Sqlite { path: file::path(options), source })?;
        let (jobs, waiting) = mpsc::channel(MAX_JOBS);
        let thread = std::thread::Builder::new().name("hub-db".into());
        thread.spawn(move || worker.run(waiting)).map_err(Error::Thread)?;
        Ok((Database { jobs, settings }, recovery))
    }

    /// The settings of the site.
    pub fn settings(&self) -> &Live {
        &self.settings
    }

    /// Executes a user query.
    ///
    /// # Errors
    /// The query's error, or the database's.
    pub async fn query(&self, request: Request, actor: Actor) -> Result<Value, query::Error> {
        match self.ask(Work::Query(request, actor)).await? {
            Outcome::Value(value) => Ok(value),
            _ => Err(query::Error::Database),
        }
    }

    /// Opens a changefeed.
    ///
    /// # Errors
    /// The query's error, or the database's.
    pub async fn feed(&self, query: Query) -> Result<Feed, query::Error> {
        match self.ask(Work::Feed(query)).await? {
            Outcome::Feed(feed) => Ok(feed),
            _ => Err(query::Error::Database),
        }
    }

    /// A row as it is stored, by its key.
    ///
    /// # Errors
    /// The database's error.
    pub async fn row(&self, table: &'static Table, key: Row) -> Result<Option<Row>, query::Error> {
        match self.ask(Work::Row(table, key)).await? {
            Outcome::Row(row) => Ok(row),
            _ => Err(query::Error::Database),
        }
    }

    /// Executes what was asked before, and closes the database. What is asked later fails.
    pub async fn close(&self) {
        // An error means that it is closed.
        let _ = self.ask(Work::End).await;
    }

    async fn ask(&self, work: Work) -> Result<Outcome, query::Error> {
        let (reply, answer) = oneshot::channel();
        self.jobs.send(Job { work, reply }).await.map_err(|_| query::Error::Closed)?;
        answer.await.map_err(|_| query::Error::Closed)?
    }
}

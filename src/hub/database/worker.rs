//! The thread that owns the database.

use std::panic::{AssertUnwindSafe, catch_unwind};

use rusqlite::{Connection, TransactionBehavior};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use super::transaction::{Failure, Transaction};
use crate::hub::{
    feeds::{Feed, Registry},
    query::{Action, Actor, Error, Query, Request},
    schema::{Row, Table},
    settings::Live,
};

/// Requests that are executed in one transaction.
const MAX_BATCH: usize = 64;

/// What is asked of the thread.
pub(super) enum Work {
    /// A user query.
    Query(Request, Actor),
    /// A changefeed.
    Feed(Query),
    /// A row by its key.
    Row(&'static Table, Row),
    /// Closes the database.
    End,
}

/// What came of it.
pub(super) enum Outcome {
    Value(Value),
    Feed(Feed),
    Row(Option<Row>),
    Ended,
}

/// Work, and where its outcome goes.
pub(super) struct Job {
    pub work: Work,
    pub reply: oneshot::Sender<Result<Outcome, Error>>,
}

/// The thread's state.
pub(super) struct Worker {
    connection: Connection,
    feeds: Registry,
    settings: Live,
}

impl Work {
    fn writes(&self) -> bool {
        let writes = |query: &Query| !matches!(query.action, Action::Get(_));
        match self {
            Work::Query(Request::One(query), _) => writes(query),
            Work::Query(Request::Many(queries), _) => queries.iter().flatten().any(writes),
            Work::Feed(_) | Work::Row(..) | Work::End => false,
        }
    }
}

impl Worker {
    pub fn new(connection: Connection, settings: Live) -> rusqlite::Result<Worker> {
        let mut feeds = Registry::default();
        settings.set(Transaction::new(&connection, &mut feeds).settings()?);
        Ok(Worker { connection, feeds, settings })
    }

    /// Works until it is told to end, or nobody is left who could ask. Then the database is closed.
    pub fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        let mut ends = Vec::new();
        let worked = catch_unwind(AssertUnwindSafe(|| {
            while let Some(first) = jobs.blocking_recv() {
                let mut batch = vec![first];
                while batch.len() < MAX_BATCH
                    && let Ok(job) = jobs.try_recv()
                {
                    batch.push(job);
                }
                let (end, batch): (Vec<_>, Vec<_>) = batch.into_iter().partition(|job| matches!(job.work, Work::End));
                if !end.is_empty() {
                    jobs.close();
                    ends.extend(end);
                }
                if !batch.is_empty() {
                    self.work(batch);
                }
            }
        }));
        if worked.is_err() {
            tracing::error!("the thread of hub.db panicked; user queries fail until the server is started again");
        }
        drop(self);
        for end in ends {
            // Who asked may have gone.
            let _ = end.reply.send(Ok(Outcome::Ended));
        }
    }

    fn work(&mut self, mut batch: Vec<Job>) {
        match self.attempt(&batch) {
            Ok(outcomes) => {
                for (job, outcome) in batch.into_iter().zip(outcomes) {
                    // Who asked may have gone.
                    let _ = job.reply.send(outcome);
                }
            }
            Err(error) if batch.len() <= 1 => {
                tracing::error!(%error, "hub.db");
                if let Some(job) = batch.pop() {
                    let _ = job.reply.send(Err(Error::Database));
                }
            }
            // Others must not fail with the one that does.
            Err(_) => batch.into_iter().for_each(|job| self.work(vec![job])),
        }
    }

    /// Executes requests in one transaction. Nobody hears of anything before it is committed.
    fn attempt(&mut self, batch: &[Job]) -> rusqlite::Result<Vec<Result<Outcome, Error>>> {
        let attempted = self.execute(batch);
        match &attempted {
            Ok(_) => self.feeds.publish(),
            Err(_) => self.feeds.forget(),
        }
        attempted
    }

    fn execute(&mut self, batch: &[Job]) -> rusqlite::Result<Vec<Result<Outcome, Error>>> {
        let behavior = if batch.iter().any(|job| job.work.writes()) {
            TransactionBehavior::Immediate
        } else {
            TransactionBehavior::Deferred
        };
        let commit = self.connection.transaction_with_behavior(behavior)?;
        let mut transaction = Transaction::new(&commit, &mut self.feeds);
        let mut outcomes = Vec::with_capacity(batch.len());
        for job in batch {
            outcomes.push(match transaction.execute(&job.work) {
                Ok(outcome) => Ok(outcome),
                Err(Failure::Request(error)) => Err(error),
                Err(Failure::Sqlite(error)) => return Err(error),
            });
        }
        let settings = if transaction.changes_settings { Some(transaction.settings()?) } else { None };
        commit.commit()?;
        if let Some(settings) = settings {
            self.settings.set(settings);
        }
        Ok(outcomes)
    }
}

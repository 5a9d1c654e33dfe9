//! Carrying out writes: what the writer does within a transaction.
//!
//! Everything that may be refused is found out before anything is changed, so a refused write needs no undoing. A fault of the
//! database ends the whole transaction; what is known of the streams it touched is then read anew.

mod adopt;
mod checkpoints;
mod delete;
mod enforce;
mod message_ids;
mod metadata;
mod rate;
mod remove;
mod state;
mod write;

use std::sync::Arc;

use rusqlite::Connection;
use serde_json::{Map, Value};

use self::message_ids::MessageIds;
pub(super) use self::{
    checkpoints::read_checkpoints,
    metadata::read_metadata,
    state::{State, rows},
};
use super::{
    Error, Result,
    feed::Change,
    instance::Instance,
    limits::Limits,
    options::{Clock, Tuning},
    work::{Answer, Job, Work, Write},
};

/// Why a write was not done.
#[derive(Debug)]
enum Failure {
    /// It alone is refused; nothing was changed.
    Refused(Error),
    /// The database failed; the transaction can't go on.
    Fault(rusqlite::Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Refused(error)
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Failure {
        Failure::Fault(error)
    }
}

/// What came of a job.
#[derive(Debug)]
pub(super) struct Done {
    pub answer: Result<Answer>,
    /// The stream was changed by this job, or by one before it in the transaction.
    pub changed: bool,
    pub changes: Vec<Change>,
}

/// A stream in the hands of the writer.
struct Target<'a> {
    instance: &'a Instance,
    state: &'a mut State,
    /// What its feeds will hear.
    changes: &'a mut Vec<Change>,
    now: u64,
}

impl Target<'_> {
    fn touch(&mut self) {
        self.state.dirty = true;
        self.state.changed = self.now;
    }
}

/// The writer's connection and what it knows.
#[derive(Debug)]
pub(super) struct Engine {
    connection: Connection,
    clock: Clock,
    ids: MessageIds,
    /// Streams of the transaction that is under way.
    touched: Vec<Arc<Instance>>,
}

impl Engine {
    pub fn new(connection: Connection, tuning: &Tuning) -> Engine {
        connection.set_prepared_statement_cache_capacity(64);
        let ids = MessageIds::new(tuning.message_ids);
        Engine { connection, clock: tuning.clock.clone(), ids, touched: Vec::new() }
    }

    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Gives the connection back.
    pub fn into_connection(self) -> Connection {
        self.connection
    }

    /// Carries out jobs in one transaction: all of them, or none.
    ///
    /// # Errors
    /// The database failed; nothing was changed.
    pub fn commit(&mut self, jobs: &[Job]) -> rusqlite::Result<Vec<Done>> {
        let outcome = self.attempt(jobs);
        match &outcome {
            Ok(_) => {
                self.ids.keep();
                for instance in self.touched.drain(..) {
                    if let Some(state) = instance.state.lock().as_mut() {
                        state.touched = false;
                        instance.show(state);
                    }
                }
            }
            Err(_) => self.undo(),
        }
        outcome
    }

    fn attempt(&mut self, jobs: &[Job]) -> rusqlite::Result<Vec<Done>> {
        // A transaction that begins with reading would not wait for another program that writes.
        self.connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        let done = jobs.iter().map(|job| self.execute(job)).collect::<rusqlite::Result<Vec<_>>>()?;
        for instance in &self.touched {
            if let Some(state) = instance.state.lock().as_mut() {
                state.flush(&self.connection)?;
            }
        }
        self.connection.prepare_cached("COMMIT")?.execute([])?;
        Ok(done)
    }

    fn undo(&mut self) {
        // Some faults end the transaction by themselves.
        if !self.connection.is_autocommit()
            && let Err(error) = self.connection.execute_batch("ROLLBACK")
        {
            tracing::warn!(%error, "a transaction could not be rolled back");
        }
        self.ids.forget_pending();
        for instance in self.touched.drain(..) {
            *instance.state.lock() = None;
        }
    }

    fn execute(&mut self, job: &Job) -> rusqlite::Result<Done> {
        let mut guard = job.instance.state.lock();
        if guard.is_none() {
            *guard = Some(State::load(&self.connection, &job.instance)?);
        }
        let mut nothing = State::default();
        let state = guard.as_mut().unwrap_or(&mut nothing);
        if !std::mem::replace(&mut state.touched, true) {
            self.touched.push(job.instance.clone());
        }
        let mut changes = Vec::new();
        let now = self.clock.now();
        let mut target = Target { instance: &job.instance, state, changes: &mut changes, now };
        let answer = match self.carry_out(&mut target, &job.work) {
            Ok(answer) => Ok(answer),
            Err(Failure::Refused(error)) => Err(error),
            Err(Failure::Fault(fault)) => return Err(fault),
        };
        Ok(Done { answer, changed: state.dirty, changes })
    }

    fn carry_out(&mut self, target: &mut Target<'_>, work: &Work) -> Result<Answer, Failure> {
        match work {
            // That was done on the way here.
            Work::Load => Ok(Answer::Done),
            Work::Open => self.enforce(target, 0).map(|()| Answer::Done),
            Work::Set(write) => self.write(target, write).map(Answer::Assigned),
            Work::SetMany(writes) => self.write_many(target, writes).map(Answer::Many),
            Work::Delete(deletion) => self.delete(target, deletion).map(Answer::Seqs),
            Work::Configure(fields) => self.configure(target, fields).map(Answer::Fields),
            Work::SetMetadata(value) => self.set_metadata(target, value.as_ref()).map(Answer::Metadata),
            Work::PatchMetadata(delta) => self.patch_metadata(target, delta.as_ref()).map(Answer::Metadata),
            Work::SetCheckpoint(checkpoint) => self.set_checkpoint(target, checkpoint).map(Answer::Checkpoint),
            Work::ClearForAdoption => self.clear(target).map(|()| Answer::Done),
            Work::Adopt(messages) => self.adopt(target, messages).map(Answer::Count),
            Work::FinishAdoption(header) => self.finish_adoption(target, header).map(|()| Answer::Done),
            Work::DeleteCheckpoint(name) => self.delete_checkpoint(target, name).map(|()| Answer::Done),
        }
    }

    fn write_many(
        &mut self,
        target: &mut Target<'_>,
        writes: &[Write],
    ) -> Result<Vec<Result<super::Assigned>>, Failure> {
        let mut results = Vec::with_capacity(writes.len());
        for write in writes {
            target.now = self.clock.now();
            results.push(match self.write(target, write) {
                Ok(assigned) => Ok(assigned),
                Err(Failure::Refused(error)) => Err(error),
                Err(fault) => return Err(fault),
            });
        }
        Ok(results)
    }

    fn configure(
        &mut self,
        target: &mut Target<'_>,
        fields: &Map<String, Value>,
    ) -> Result<Map<String, Value>, Failure> {
        let limits = target.state.limits.with(fields)?;
        self.store_limits(target, limits)?;
        self.enforce(target, 0)?;
        Ok(target.state.limits.effective(target.instance.ephemeral))
    }

    fn store_limits(&mut self, target: &mut Target<'_>, limits: Limits) -> rusqlite::Result<()> {
        if limits != target.state.limits {
            let stream = target.state.ensure_id(&self.connection, target.instance)?;
            self.connection
                .prepare_cached("INSERT OR REPLACE INTO config (stream, value) VALUES (?1, ?2)")?
                .execute((stream, limits.to_text()))?;
            if limits.max_age > 0 && target.state.limits.max_age <= 0 {
                // From now on its messages are found by their age.
                let (first, last) = rows(stream);
                self.connection
                    .prepare_cached("UPDATE messages SET aged = 1 WHERE id >= ?1 AND id <= ?2 AND aged = 0")?
                    .execute([first, last])?;
            }
            target.state.limits = limits;
            target.touch();
        }
        Ok(())
    }

    /// Opens a stream for reading while nothing can be written, so that its limits can't be enforced.
    ///
    /// # Errors
    /// It can't be read, either.
    pub fn open_for_reading(&self, instance: &Instance) -> rusqlite::Result<()> {
        let state = State::load(&self.connection, instance)?;
        instance.show(&state);
        *instance.state.lock() = Some(state);
        Ok(())
    }

    /// Removes all there is of an ephemeral stream.
    pub fn discard(&mut self, instance: &Instance) -> rusqlite::Result<()> {
        let Some(id) = instance.row() else { return Ok(()) };
        *instance.state.lock() = None;
        let transaction = self.connection.unchecked_transaction()?;
        remove_stream(&transaction, id)?;
        transaction.commit()?;
        // Memory goes back to the system.
        self.connection.execute_batch("PRAGMA incremental_vacuum")
    }

    /// Forgets message ids whose time is over; gives the ms until there are more of them.
    pub fn tidy(&mut self) -> Option<u64> {
        let now = self.clock.now();
        self.ids.expire(now);
        self.ids.next_expiry(now)
    }
}

/// Removes all there is of a stream.
fn remove_stream(connection: &Connection, id: i64) -> rusqlite::Result<()> {
    let (first, last) = rows(id);
    let pieces = "DELETE FROM pieces WHERE id IN (SELECT pieces.id FROM messages JOIN pieces
            ON pieces.id >= messages.first_piece AND pieces.id < messages.first_piece + messages.pieces
            WHERE messages.id >= ?1 AND messages.id <= ?2 AND messages.first_piece IS NOT NULL)";
    connection.execute(pieces, [first, last])?;
    connection.execute("DELETE FROM messages WHERE id >= ?1 AND id <= ?2", [first, last])?;
    for table in ["keys", "checkpoints", "config", "metadata"] {
        connection.execute(&format!("DELETE FROM {table} WHERE stream = ?1"), [id])?;
    }
    connection.execute("DELETE FROM streams WHERE id = ?1", [id])?;
    Ok(())
}

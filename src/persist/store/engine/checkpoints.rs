//! Named places in a stream (§17.4).

use rusqlite::{Connection, params};
use serde_json::Value;

use super::{Engine, Failure, Target, state::State};
use crate::persist::store::{
    Error,
    feed::Change,
    message::{Assigned, Checkpoint, Checkpoints, NewCheckpoint},
    schema::{int, uint},
};

/// Checkpoints of a stream at most: every change of one tells all.
const MAX_CHECKPOINTS: i64 = 1000;
/// Bytes of a checkpoint's name and data at most.
const MAX_BYTES: usize = 1 << 20;

impl Engine {
    /// Sets a checkpoint.
    pub(super) fn set_checkpoint(
        &mut self,
        target: &mut Target<'_>,
        checkpoint: &NewCheckpoint,
    ) -> Result<Checkpoint, Failure> {
        let Some(seq) = checkpoint.seq else {
            return Err(Error::Invalid("setCheckpoint requires seq".to_owned()).into());
        };
        self.check_checkpoint(target, checkpoint)?;
        let assigned = Assigned { seq, time: target.now };
        Ok(self.put_checkpoint(target, checkpoint, assigned)?)
    }

    /// Whether a checkpoint can be set.
    pub(super) fn check_checkpoint(&self, target: &Target<'_>, checkpoint: &NewCheckpoint) -> Result<(), Failure> {
        let data = checkpoint.data.as_ref().map_or(0, |data| data.to_string().len());
        if checkpoint.name.len().saturating_add(data) > MAX_BYTES {
            return Err(Error::Invalid(format!("a checkpoint may have {MAX_BYTES} bytes at most")).into());
        }
        let Some(stream) = target.state.id.filter(|_| target.state.has_checkpoints) else { return Ok(()) };
        let others: i64 = self
            .connection
            .prepare_cached("SELECT count(*) FROM checkpoints WHERE stream = ?1 AND name <> ?2")?
            .query_row((stream, &checkpoint.name), |row| row.get(0))?;
        if others >= MAX_CHECKPOINTS {
            return Err(Error::Invalid(format!("a stream may have {MAX_CHECKPOINTS} checkpoints at most")).into());
        }
        Ok(())
    }

    /// Stores a checkpoint that was checked; number and time are those it has when it names none.
    pub(super) fn put_checkpoint(
        &mut self,
        target: &mut Target<'_>,
        new: &NewCheckpoint,
        default: Assigned,
    ) -> rusqlite::Result<Checkpoint> {
        let checkpoint = Checkpoint {
            seq: new.seq.unwrap_or(default.seq),
            time: new.time.unwrap_or(default.time),
            data: new.data.clone(),
        };
        let stream = target.state.ensure_id(&self.connection, target.instance)?;
        self.connection
            .prepare_cached(
                "INSERT OR REPLACE INTO checkpoints (stream, name, seq, time, data) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![
                stream,
                new.name,
                int(checkpoint.seq),
                int(checkpoint.time),
                checkpoint.data.as_ref().map(Value::to_string),
            ])?;
        target.state.has_checkpoints = true;
        target.touch();
        self.tell_checkpoints(target)?;
        Ok(checkpoint)
    }

    /// Removes a checkpoint, if there is one of that name.
    pub(super) fn delete_checkpoint(&mut self, target: &mut Target<'_>, name: &str) -> Result<(), Failure> {
        if let Some(stream) = target.state.id.filter(|_| target.state.has_checkpoints) {
            let removed = self
                .connection
                .prepare_cached("DELETE FROM checkpoints WHERE stream = ?1 AND name = ?2")?
                .execute((stream, name))?;
            if removed > 0 {
                target.touch();
            }
        }
        Ok(self.tell_checkpoints(target)?)
    }

    fn tell_checkpoints(&self, target: &mut Target<'_>) -> rusqlite::Result<()> {
        let stream = target.state.id;
        let all = stream.map(|stream| read_checkpoints(&self.connection, stream)).transpose()?.unwrap_or_default();
        target.changes.push(Change::Checkpoints(all));
        Ok(())
    }

    /// Removes the checkpoints of messages that are gone; the numbers are in order.
    pub(super) fn remove_checkpoints_of(&self, state: &mut State, seqs: &[u64]) -> rusqlite::Result<()> {
        let Some(stream) = state.id.filter(|_| state.has_checkpoints && !seqs.is_empty()) else { return Ok(()) };
        for (name, checkpoint) in read_checkpoints(&self.connection, stream)? {
            if seqs.binary_search(&checkpoint.seq).is_ok() {
                self.connection
                    .prepare_cached("DELETE FROM checkpoints WHERE stream = ?1 AND name = ?2")?
                    .execute((stream, name))?;
                state.dirty = true;
            }
        }
        Ok(())
    }

    pub(super) fn remove_all_checkpoints(&self, state: &mut State) -> rusqlite::Result<()> {
        if let Some(stream) = state.id.filter(|_| state.has_checkpoints) {
            self.connection.prepare_cached("DELETE FROM checkpoints WHERE stream = ?1")?.execute([stream])?;
            state.has_checkpoints = false;
            state.dirty = true;
        }
        Ok(())
    }
}

/// All checkpoints of a stream.
pub(in crate::persist::store) fn read_checkpoints(
    connection: &Connection,
    stream: i64,
) -> rusqlite::Result<Checkpoints> {
    let mut select = connection.prepare_cached("SELECT name, seq, time, data FROM checkpoints WHERE stream = ?1")?;
    let checkpoints = select.query_map([stream], |row| {
        let data: Option<String> = row.get(3)?;
        let data = data.and_then(|text| serde_json::from_str(&text).ok());
        Ok((row.get(0)?, Checkpoint { seq: uint(row.get(1)?), time: uint(row.get(2)?), data }))
    })?;
    checkpoints.collect()
}

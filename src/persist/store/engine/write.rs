//! Storing a message (§8.8).

use std::sync::Arc;

use rusqlite::{OptionalExtension, params};

use super::{Engine, Failure, Target, state::State};
use crate::persist::store::{
    Error,
    feed::Change,
    message::{Assigned, Stored},
    payload::{self, AtRest, PIECE},
    schema::{MAX_SEQ, int, row_id, uint},
    work::Write,
};

impl Engine {
    pub(super) fn write(&mut self, target: &mut Target<'_>, write: &Write) -> Result<Assigned, Failure> {
        let set = &write.set;
        let serial = target.instance.serial;
        if let Some(id) = &set.msg_id
            && let Some(assigned) = self.ids.get(serial, id, target.now)
        {
            return Ok(assigned);
        }
        target.state.limits.check_headers(set)?;
        if let (Some(key), Some(previous)) = (&set.key, set.previous_seq)
            && self.seq_of_key(target.state, key)? != Some(previous)
        {
            return Err(Error::WrongLastSequence.into());
        }
        if target.state.last_seq >= MAX_SEQ {
            return Err(Error::Invalid("the stream has no numbers left".to_owned()).into());
        }
        if let Some(checkpoint) = &set.checkpoint {
            self.check_checkpoint(target, checkpoint)?;
        }
        self.enforce(target, write.size)?;

        let assigned = Assigned { seq: target.state.last_seq + 1, time: target.now };
        self.insert(target, write, assigned)?;
        let stored = Stored {
            seq: assigned.seq,
            time: assigned.time,
            key: set.key.clone(),
            encoding: set.encoding,
            raw: set.raw.clone(),
            headers: set.headers.clone(),
        };
        target.changes.push(Change::Set { stored, msg_id: set.msg_id.clone() });
        if let Some(checkpoint) = &set.checkpoint {
            self.put_checkpoint(target, checkpoint, assigned)?;
        }
        if let Some(id) = &set.msg_id {
            self.ids.add(serial, id, assigned, target.now);
        }
        Ok(assigned)
    }

    /// The number of the message that has a key.
    fn seq_of_key(&self, state: &State, key: &Arc<str>) -> rusqlite::Result<Option<u64>> {
        let Some(stream) = state.id else { return Ok(None) };
        let mut select = self.connection.prepare_cached("SELECT seq FROM keys WHERE stream = ?1 AND key = ?2")?;
        select.query_row((stream, key), |row| row.get(0).map(uint)).optional()
    }

    pub(super) fn insert(
        &mut self,
        target: &mut Target<'_>,
        write: &Write,
        assigned: Assigned,
    ) -> rusqlite::Result<()> {
        let set = &write.set;
        let stream = target.state.ensure_id(&self.connection, target.instance)?;
        if let Some(key) = &set.key {
            let replaced = self.seq_of_key(target.state, key)?;
            if let Some(victim) = replaced.map(|seq| self.victim(row_id(stream, seq))).transpose()?.flatten() {
                self.remove(target.state, &victim)?;
            }
            self.connection
                .prepare_cached("INSERT OR REPLACE INTO keys (stream, key, seq) VALUES (?1, ?2, ?3)")?
                .execute(params![stream, key, int(assigned.seq)])?;
        }
        let (pieces, at_rest) = if set.raw.len() > PIECE {
            let pieces = payload::insert_pieces(&self.connection, &set.raw)?;
            (Some(pieces), AtRest { compress: false, data: (&[]).into() })
        } else {
            (None, payload::at_rest(&set.raw, &write.early))
        };
        self.connection
            .prepare_cached(
                "INSERT INTO messages (id, time, size, encoding, compress, aged, ttl, first_piece, pieces, key, headers, raw)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
            )?
            .execute(params![
                row_id(stream, assigned.seq),
                int(assigned.time),
                int(write.size),
                set.encoding,
                at_rest.compress,
                target.state.limits.max_age > 0,
                // A time to live of 0 is none. Sums with the time must not overflow.
                set.ttl.filter(|ttl| *ttl > 0).map(|ttl| int(ttl).min(i64::MAX / 2)),
                pieces.map(|pieces| pieces.first),
                pieces.map(|pieces| pieces.count),
                set.key,
                set.headers,
                at_rest.data.as_ref(),
            ])?;
        let state = &mut *target.state;
        state.last_seq = assigned.seq;
        state.count += 1;
        state.bytes = state.bytes.saturating_add(write.size);
        if state.limits.limit_rate() {
            // The window is read from the database when it is first needed.
            if let Some(rate) = &mut state.rate {
                rate.add(assigned.seq, assigned.time, write.size);
            }
        } else {
            state.rate = None;
        }
        target.touch();
        Ok(())
    }
}

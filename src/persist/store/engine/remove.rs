//! Removing messages with all that belongs to them.

use rusqlite::{Connection, Row, params_from_iter};

use super::{Engine, state::State};
use crate::persist::store::{
    payload::{self, Pieces},
    schema::{row_id, seq_of, uint},
};

/// Messages that are looked up at a time: a stream may have more than fit into memory.
const BATCH: usize = 4096;

/// Selections of messages, for [`Engine::remove_while`].
pub(super) mod select {
    /// All between two row ids.
    pub const BETWEEN: &str = "messages WHERE id >= ?1 AND id <= ?2 ORDER BY id";
    /// Those of a stream that are not younger than a time. The index has only those of streams with `max_age`.
    pub const AGED: &str = "messages INDEXED BY messages_by_age WHERE aged = 1 AND id >> 40 = ?1 AND time <= ?2";
    /// Those of a stream whose time to live is over.
    pub const EXPIRED: &str =
        "messages INDEXED BY messages_by_expiry WHERE ttl IS NOT NULL AND id >> 40 = ?1 AND time + ttl <= ?2";
}

/// A message that is to be removed.
#[derive(Debug)]
pub(super) struct Victim {
    pub row: i64,
    size: u64,
    key: Option<Box<str>>,
    pieces: Option<Pieces>,
}

const COLUMNS: &str = "id, size, key, first_piece, pieces";

impl Victim {
    fn read(row: &Row<'_>) -> rusqlite::Result<Victim> {
        let pieces = match (row.get(3)?, row.get(4)?) {
            (Some(first), Some(count)) => Some(Pieces { first, count }),
            _ => None,
        };
        Ok(Victim { row: row.get(0)?, size: uint(row.get(1)?), key: row.get(2)?, pieces })
    }
}

impl Engine {
    /// The message of a row.
    pub(super) fn victim(&self, row: i64) -> rusqlite::Result<Option<Victim>> {
        let mut select =
            self.connection.prepare_cached("SELECT id, size, key, first_piece, pieces FROM messages WHERE id = ?1")?;
        let mut rows = select.query([row])?;
        rows.next()?.map(Victim::read).transpose()
    }

    /// Removes the messages of a selection as long as the stream is such that more have to go; gives their numbers in order.
    pub(super) fn remove_while(
        &self,
        state: &mut State,
        selection: &str,
        parameters: [i64; 2],
        more: impl Fn(&State) -> bool,
    ) -> rusqlite::Result<Vec<u64>> {
        let mut seqs = Vec::new();
        if !more(state) {
            return Ok(seqs);
        }
        let sql = format!("SELECT {COLUMNS} FROM {selection} LIMIT {BATCH}");
        loop {
            // The first steps of a large deletion must not read thousands of rows for one that goes.
            let victims = select_victims(&self.connection, &sql, parameters, |found, bytes| {
                more(&State {
                    count: state.count.saturating_sub(found),
                    bytes: state.bytes.saturating_sub(bytes),
                    ..State::default()
                })
            })?;
            for victim in &victims {
                self.remove(state, victim)?;
                seqs.push(seq_of(victim.row));
            }
            if victims.len() < BATCH {
                break;
            }
        }
        seqs.sort_unstable();
        self.remove_checkpoints_of(state, &seqs)?;
        Ok(seqs)
    }

    /// Removes these messages, as far as they are there.
    pub(super) fn remove_these(&self, state: &mut State, seqs: &[u64]) -> rusqlite::Result<u64> {
        let Some(stream) = state.id else { return Ok(0) };
        let mut removed = 0;
        let last_seq = state.last_seq;
        for seq in seqs.iter().copied().filter(|seq| (1..=last_seq).contains(seq)) {
            if let Some(victim) = self.victim(row_id(stream, seq))? {
                self.remove(state, &victim)?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// Removes a message; checkpoints stay.
    pub(super) fn remove(&self, state: &mut State, victim: &Victim) -> rusqlite::Result<()> {
        self.connection.prepare_cached("DELETE FROM messages WHERE id = ?1")?.execute([victim.row])?;
        if let (Some(key), Some(stream)) = (&victim.key, state.id) {
            self.connection
                .prepare_cached("DELETE FROM keys WHERE stream = ?1 AND key = ?2")?
                .execute((stream, key))?;
        }
        if let Some(pieces) = victim.pieces {
            payload::delete_pieces(&self.connection, pieces)?;
        }
        state.count = state.count.saturating_sub(1);
        state.bytes = state.bytes.saturating_sub(victim.size);
        if let Some(rate) = &mut state.rate {
            rate.remove(seq_of(victim.row));
        }
        state.dirty = true;
        Ok(())
    }
}

fn select_victims(
    connection: &Connection,
    sql: &str,
    parameters: [i64; 2],
    more: impl Fn(u64, u64) -> bool,
) -> rusqlite::Result<Vec<Victim>> {
    let mut select = connection.prepare_cached(sql)?;
    let mut rows = select.query(params_from_iter(parameters))?;
    let mut victims = Vec::new();
    let mut bytes = 0_u64;
    while more(victims.len() as u64, bytes) {
        let Some(row) = rows.next()? else { break };
        let victim = Victim::read(row)?;
        bytes = bytes.saturating_add(victim.size);
        victims.push(victim);
    }
    Ok(victims)
}

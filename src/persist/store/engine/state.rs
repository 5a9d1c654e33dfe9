//! What the writer knows of an open stream, so that writes need no counting.

use rusqlite::{Connection, OptionalExtension, params};

use super::rate::RateWindow;
use crate::persist::store::{
    instance::Instance,
    limits::Limits,
    schema::{MAX_STREAM, int, row_id, uint},
};

/// What the writer knows of a stream. The numbers include those of the transaction that is under way.
#[derive(Debug, Default)]
pub(in crate::persist::store) struct State {
    /// Its id in the database, if there is anything of it.
    pub id: Option<i64>,
    /// The number of its last message, whether that is still there or not.
    pub last_seq: u64,
    pub count: u64,
    pub bytes: u64,
    /// Last change, in ms since the epoch.
    pub changed: u64,
    pub limits: Limits,
    /// There may be checkpoints.
    pub has_checkpoints: bool,
    /// The messages of the last second, as soon as a rate limit needs them.
    pub rate: Option<RateWindow>,
    /// It belongs to the transaction that is under way.
    pub touched: bool,
    /// The numbers differ from those in the database.
    pub dirty: bool,
}

impl State {
    pub fn load(connection: &Connection, instance: &Instance) -> rusqlite::Result<State> {
        // Ephemeral streams of one path may follow each other.
        let found = connection
            .prepare_cached(
                "SELECT id, last_seq, count, bytes, changed, config.value,
                 EXISTS (SELECT 1 FROM checkpoints WHERE checkpoints.stream = streams.id)
                 FROM streams LEFT JOIN config ON config.stream = streams.id WHERE path = ?1",
            )?
            .query_row([&instance.path], |row| {
                Ok(State {
                    id: Some(row.get(0)?),
                    last_seq: uint(row.get(1)?),
                    count: uint(row.get(2)?),
                    bytes: uint(row.get(3)?),
                    changed: uint(row.get(4)?),
                    limits: row.get_ref(5)?.as_str_or_null()?.map(Limits::from_text).unwrap_or_default(),
                    has_checkpoints: row.get(6)?,
                    rate: None,
                    touched: false,
                    dirty: false,
                })
            })
            .optional()?;
        Ok(found.unwrap_or_default())
    }

    /// The id of the stream, which gets one with the first thing that is written of it.
    pub fn ensure_id(&mut self, connection: &Connection, instance: &Instance) -> rusqlite::Result<i64> {
        if let Some(id) = self.id {
            return Ok(id);
        }
        let id = connection.prepare_cached("INSERT INTO streams (path) VALUES (?1)")?.insert([&instance.path])?;
        if id > MAX_STREAM {
            let text = "there are too many streams".to_owned();
            return Err(rusqlite::Error::SqliteFailure(
                rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_FULL),
                Some(text),
            ));
        }
        self.id = Some(id);
        Ok(id)
    }

    /// Stores the numbers.
    pub fn flush(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        if let Some(id) = self.id.filter(|_| self.dirty) {
            connection
                .prepare_cached("UPDATE streams SET last_seq = ?2, count = ?3, bytes = ?4, changed = ?5 WHERE id = ?1")?
                .execute(params![id, int(self.last_seq), int(self.count), int(self.bytes), int(self.changed)])?;
        }
        self.dirty = false;
        Ok(())
    }

    /// The row ids of the stream's messages: all of them lie between.
    pub fn rows(&self) -> Option<(i64, i64)> {
        self.id.map(rows)
    }
}

/// The row ids that a stream's messages may have.
pub(in crate::persist::store) fn rows(stream: i64) -> (i64, i64) {
    (row_id(stream, 0), row_id(stream, u64::MAX))
}

//! Reading a stream straight from the file, from one snapshot, while others may write to it: for copies and checks.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension as _};

use super::{
    engine::{read_checkpoints, read_metadata, rows},
    message::{Adopted, Header},
    row::{COLUMNS, Found},
    schema::uint,
};
use crate::persist::sqlite;

/// A snapshot of one stream. Blocks.
#[derive(Debug)]
pub struct Inspected {
    connection: Connection,
    stream: i64,
    /// When it was changed last, in ms since the epoch.
    pub changed: u64,
    /// Messages.
    pub count: u64,
}

impl Inspected {
    /// Takes a snapshot of the stream of a path in a `streams.db`, if there is such a stream.
    ///
    /// # Errors
    /// SQLite says no.
    pub fn open(file: &Path, path: &str) -> rusqlite::Result<Option<Inspected>> {
        let connection = sqlite::connect_for_reading(file)?;
        connection.execute_batch("BEGIN")?;
        let query = "SELECT id, changed, count FROM streams WHERE path = ?1";
        let found = connection
            .query_row(query, [path], |row| Ok((row.get(0)?, uint(row.get(1)?), uint(row.get(2)?))))
            .optional()?;
        Ok(found.map(|(stream, changed, count)| Inspected { connection, stream, changed, count }))
    }

    /// What it has beside its messages.
    ///
    /// # Errors
    /// SQLite says no.
    pub fn header(&self) -> rusqlite::Result<Header> {
        let query = "SELECT last_seq, value FROM streams LEFT JOIN config ON config.stream = streams.id WHERE id = ?1";
        let (last_seq, config) = self
            .connection
            .query_row(query, [self.stream], |row| Ok((uint(row.get(0)?), row.get::<_, Option<String>>(1)?)))?;
        Ok(Header {
            last_seq,
            config: config.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default(),
            metadata: read_metadata(&self.connection, self.stream)?,
            checkpoints: read_checkpoints(&self.connection, self.stream)?,
        })
    }

    /// Calls `take` with each message in order, until that says no.
    ///
    /// # Errors
    /// SQLite says no.
    pub fn each(&self, mut take: impl FnMut(Adopted) -> bool) -> rusqlite::Result<()> {
        let (first, last) = rows(self.stream);
        let sql = format!("SELECT {COLUMNS} FROM messages WHERE id >= ?1 AND id <= ?2 ORDER BY id");
        let mut select = self.connection.prepare(&sql)?;
        let mut found = select.query([first, last])?;
        while let Some(row) = found.next()? {
            let Found { stored, ttl } = Found::read(&self.connection, row)?;
            if !take(Adopted { stored, ttl }) {
                break;
            }
        }
        Ok(())
    }
}

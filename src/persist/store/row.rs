//! Messages as they are read from their rows.

use rusqlite::{Connection, Row};

use super::{
    message::Stored,
    payload::{self, Pieces},
    schema::{seq_of, uint},
    size,
};

/// The columns that [`Found::read`] wants, of the table `messages`.
pub(super) const COLUMNS: &str =
    "messages.id, time, size, encoding, compress, ttl, first_piece, pieces, messages.key, headers, raw";

/// A message that was found.
pub(super) struct Found {
    pub stored: Stored,
    pub ttl: Option<u64>,
}

impl Found {
    pub fn read(connection: &Connection, row: &Row<'_>) -> rusqlite::Result<Found> {
        let pieces = match (row.get(6)?, row.get(7)?) {
            (Some(first), Some(count)) => Some(Pieces { first, count }),
            _ => None,
        };
        let key = row.get_ref(8)?.as_str_or_null()?.map(Into::into);
        let headers = row.get_ref(9)?.as_str_or_null()?.map(Into::into);
        // The size is that of the payload and of the texts around it.
        let length = uint(row.get(2)?).saturating_sub(size::around(headers.as_deref(), key.as_deref()));
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let raw = payload::read(connection, row.get_ref(10)?.as_blob()?, row.get(4)?, pieces, length)?;
        let stored =
            Stored { seq: seq_of(row.get(0)?), time: uint(row.get(1)?), key, encoding: row.get(3)?, raw, headers };
        Ok(Found { stored, ttl: row.get::<_, Option<i64>>(5)?.map(uint) })
    }

    /// The message, unless its time to live is over.
    pub fn unless_expired(self, now: u64) -> Option<Stored> {
        let expired = self.ttl.is_some_and(|ttl| now >= self.stored.time.saturating_add(ttl));
        (!expired).then_some(self.stored)
    }
}

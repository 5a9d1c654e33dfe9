//! What is there, for people: lists of messages without their values.

use std::sync::Arc;

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{
    Result,
    engine::rows,
    payload::{self, Pieces},
    reader::Source,
    registry::Store,
    schema::{int, row_id, seq_of, uint},
    size,
    stream::Stream,
};

/// What a list of messages is sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ListOrder {
    /// The number, which is the order of writing.
    #[default]
    Seq,
    /// The key; messages without one are left out.
    Key,
    /// The size.
    Size,
}

/// Which messages to list.
#[derive(Clone, Debug, Default)]
pub struct ListQuery {
    /// A part of the key; empty: messages without a key, too.
    pub filter: String,
    /// What to sort by.
    pub order: ListOrder,
    /// Largest first.
    pub descending: bool,
    /// Messages to leave out at the start.
    pub offset: u64,
    /// Messages at most.
    pub limit: u64,
    /// So many bytes of each value, at most.
    pub head: usize,
}

/// A part of a list of messages.
#[derive(Clone, Debug, Default)]
pub struct Listed {
    /// How many there are in all.
    pub total: u64,
    /// Those that were asked for.
    pub messages: Vec<Listing>,
}

/// A message in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// Its number.
    pub seq: u64,
    /// When it was written, in ms since the epoch.
    pub time: u64,
    /// Its key.
    pub key: Option<Arc<str>>,
    /// 0 MessagePack, 1 JSON.
    pub encoding: u8,
    /// Length of the value.
    pub bytes: u64,
    /// The value's first bytes.
    pub head: Bytes,
    /// The user's headers: the compact JSON text of an object.
    pub headers: Option<Arc<str>>,
}

/// Messages in a list at most.
const MAX_LIMIT: u64 = 1000;
/// The columns that [`read`] wants.
const COLUMNS: &str = "id, time, size, encoding, compress, first_piece, pieces, key, headers, raw";

impl Store {
    /// Opens a stream if it is there.
    ///
    /// # Errors
    /// The disk, or the store is closed.
    pub async fn existing(&self, path: &str) -> Result<Option<Stream>> {
        if !self.registry().is_open(path) {
            let disk = Source::Disk(self.registry().readers().clone());
            let wanted = path.to_owned();
            let is_there = disk.read(move |connection| {
                let mut select = connection.prepare_cached("SELECT 1 FROM streams WHERE path = ?1")?;
                select.exists([wanted])
            });
            if !is_there.await? {
                return Ok(None);
            }
        }
        self.stream(path, super::OpenOptions::default()).await.map(Some)
    }
}

impl Stream {
    /// Messages without their values; expired ones may be among them.
    ///
    /// # Errors
    /// The disk.
    pub async fn list(&self, query: ListQuery) -> Result<Listed> {
        self.read(move |connection, stream| {
            let total = total(connection, stream, &query)?;
            // Only the numbers are sorted, not what belongs to them.
            let seqs = seqs(connection, stream, &query)?;
            let mut select = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM messages WHERE id = ?1"))?;
            let mut messages = Vec::with_capacity(seqs.len());
            for seq in seqs {
                let found = select.query_row([row_id(stream, seq)], |row| read(connection, row, query.head));
                messages.extend(found.optional()?);
            }
            Ok(Listed { total, messages })
        })
        .await
    }
}

fn is_of_keys(query: &ListQuery) -> bool {
    !query.filter.is_empty() || query.order == ListOrder::Key
}

fn total(connection: &Connection, stream: i64, query: &ListQuery) -> rusqlite::Result<u64> {
    if is_of_keys(query) {
        let sql = "SELECT count(*) FROM keys WHERE stream = ?1 AND instr(lower(key), lower(?2)) > 0";
        connection.prepare_cached(sql)?.query_row(params![stream, query.filter], |row| row.get(0).map(uint))
    } else {
        let mut select = connection.prepare_cached("SELECT count FROM streams WHERE id = ?1")?;
        Ok(select.query_row([stream], |row| row.get(0).map(uint)).optional()?.unwrap_or(0))
    }
}

fn seqs(connection: &Connection, stream: i64, query: &ListQuery) -> rusqlite::Result<Vec<u64>> {
    let direction = if query.descending { "DESC" } else { "ASC" };
    let of_keys = "FROM keys WHERE stream = ?1 AND instr(lower(key), lower(?2)) > 0";
    let sized = "FROM keys JOIN messages ON messages.id = (keys.stream << 40) | keys.seq
                 WHERE keys.stream = ?1 AND instr(lower(keys.key), lower(?2)) > 0";
    let sql = match (is_of_keys(query), query.order) {
        (true, ListOrder::Seq) => format!("SELECT seq {of_keys} ORDER BY seq {direction}"),
        (true, ListOrder::Key) => format!("SELECT seq {of_keys} ORDER BY key {direction}"),
        (true, ListOrder::Size) => format!("SELECT seq {sized} ORDER BY size {direction}, seq {direction}"),
        (false, ListOrder::Size) => {
            format!("SELECT id FROM messages WHERE id BETWEEN ?1 AND ?2 ORDER BY size {direction}, id {direction}")
        }
        (false, _) => format!("SELECT id FROM messages WHERE id BETWEEN ?1 AND ?2 ORDER BY id {direction}"),
    };
    let mut select = connection.prepare_cached(&format!("{sql} LIMIT ?3 OFFSET ?4"))?;
    let (limit, offset) = (int(query.limit.min(MAX_LIMIT)), int(query.offset));
    let seq = |row: &Row<'_>| row.get(0).map(seq_of);
    if is_of_keys(query) {
        select.query_map(params![stream, query.filter, limit, offset], seq)?.collect()
    } else {
        let (first, last) = rows(stream);
        select.query_map(params![first, last, limit, offset], seq)?.collect()
    }
}

fn read(connection: &Connection, row: &Row<'_>, head: usize) -> rusqlite::Result<Listing> {
    let pieces = match (row.get(5)?, row.get(6)?) {
        (Some(first), Some(count)) => Some(Pieces { first, count }),
        _ => None,
    };
    let key: Option<Arc<str>> = row.get(7)?;
    let headers: Option<Arc<str>> = row.get(8)?;
    let around = size::around(headers.as_deref(), key.as_deref());
    Ok(Listing {
        seq: seq_of(row.get(0)?),
        time: uint(row.get(1)?),
        encoding: row.get(3)?,
        bytes: uint(row.get(2)?).saturating_sub(around),
        head: payload::read_head(connection, row.get_ref(9)?.as_blob()?, row.get(4)?, pieces, head)?,
        key,
        headers,
    })
}

//! Payloads at rest: compressed when that pays, and in pieces when they are large.
//!
//! SQLite reads and writes a value as a whole, with copies of its own. So values above [`PIECE`] are kept as several rows of
//! another table. A value of 100 MB takes its own size in memory, once, and a few pieces.

use std::{borrow::Cow, io::Read};

use bytes::Bytes;
use rusqlite::{Connection, params};

/// Payloads up to this size are stored as they are.
const COMPRESS_ABOVE: usize = 1024;
/// Payloads up to this size are compressed by whoever writes them; it takes less than a few hundred µs.
pub(super) const COMPRESS_EARLY: usize = 64 * 1024;
/// The size of a piece; larger payloads have several.
pub(super) const PIECE: usize = 1 << 20;
/// Fast: the writer has to keep up with the disk.
const LEVEL: i32 = 1;

/// What stands in the columns `compress` and `raw` of a message, and in those of a piece.
pub(super) struct AtRest<'a> {
    pub compress: bool,
    pub data: Cow<'a, [u8]>,
}

/// Rows of the table `pieces`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pieces {
    pub first: i64,
    pub count: i64,
}

fn compress(raw: &[u8]) -> Option<Vec<u8>> {
    if raw.len() <= COMPRESS_ABOVE {
        return None;
    }
    zstd::bulk::compress(raw, LEVEL).ok().filter(|compressed| compressed.len() < raw.len())
}

/// What was done about a payload before it came to the writer.
#[derive(Debug)]
pub(super) enum Early {
    /// Nothing: that would have taken long.
    NotTried,
    /// It was compressed, if that made it smaller.
    Tried(Option<Vec<u8>>),
}

impl Early {
    pub fn of(raw: &Bytes) -> Early {
        if raw.len() > COMPRESS_EARLY { Early::NotTried } else { Early::Tried(compress(raw)) }
    }

    /// Bytes of the compressed form.
    pub fn len(&self) -> usize {
        if let Early::Tried(Some(compressed)) = self { compressed.len() } else { 0 }
    }
}

/// What to store of a payload of one piece.
pub(super) fn at_rest<'a>(raw: &'a Bytes, early: &'a Early) -> AtRest<'a> {
    let compressed: Option<Cow<'a, [u8]>> = match early {
        Early::Tried(compressed) => compressed.as_deref().map(Cow::from),
        Early::NotTried => compress(raw).map(Cow::from),
    };
    match compressed {
        Some(data) => AtRest { compress: true, data },
        None => AtRest { compress: false, data: raw.as_ref().into() },
    }
}

/// Stores a large payload.
pub(super) fn insert_pieces(connection: &Connection, raw: &[u8]) -> rusqlite::Result<Pieces> {
    let mut insert = connection.prepare_cached("INSERT INTO pieces (compress, data) VALUES (?1, ?2)")?;
    // What does not get smaller at its beginning is most likely compressed already.
    let mut worth_it = true;
    let mut pieces = Pieces { first: 0, count: 0 };
    for chunk in raw.chunks(PIECE) {
        let compressed = if worth_it { compress(chunk) } else { None };
        worth_it = compressed.is_some();
        let id = insert.insert(params![compressed.is_some(), compressed.as_deref().unwrap_or(chunk)])?;
        if pieces.count == 0 {
            pieces.first = id;
        }
        pieces.count += 1;
    }
    Ok(pieces)
}

/// Removes a large payload.
pub(super) fn delete_pieces(connection: &Connection, pieces: Pieces) -> rusqlite::Result<()> {
    connection
        .prepare_cached("DELETE FROM pieces WHERE id >= ?1 AND id < ?2")?
        .execute([pieces.first, pieces.first.saturating_add(pieces.count)])?;
    Ok(())
}

/// The payload of a message from its row.
pub(super) fn read(
    connection: &Connection,
    data: &[u8],
    compressed: bool,
    pieces: Option<Pieces>,
    length: usize,
) -> rusqlite::Result<Bytes> {
    match pieces {
        None if compressed => decompress(data, length).map(Bytes::from),
        None => Ok(Bytes::copy_from_slice(data)),
        Some(pieces) => read_pieces(connection, pieces, length),
    }
}

/// The first `head` bytes of a payload from its row.
pub(super) fn read_head(
    connection: &Connection,
    data: &[u8],
    compressed: bool,
    pieces: Option<Pieces>,
    head: usize,
) -> rusqlite::Result<Bytes> {
    let Some(pieces) = pieces else { return begin(data, compressed, head) };
    let mut select = connection.prepare_cached("SELECT compress, data FROM pieces WHERE id = ?1")?;
    select.query_row([pieces.first], |row| begin(row.get_ref(1)?.as_blob()?, row.get(0)?, head))
}

fn begin(data: &[u8], compressed: bool, head: usize) -> rusqlite::Result<Bytes> {
    if !compressed {
        return Ok(Bytes::copy_from_slice(data.get(..head).unwrap_or(data)));
    }
    let mut beginning = Vec::new();
    let decoder = zstd::stream::read::Decoder::new(data).map_err(failed)?;
    decoder.take(head as u64).read_to_end(&mut beginning).map_err(failed)?;
    Ok(beginning.into())
}

fn read_pieces(connection: &Connection, pieces: Pieces, length: usize) -> rusqlite::Result<Bytes> {
    let mut raw = Vec::new();
    raw.try_reserve_exact(length).map_err(failed)?;
    let mut select =
        connection.prepare_cached("SELECT compress, data FROM pieces WHERE id >= ?1 AND id < ?2 ORDER BY id")?;
    let mut rows = select.query([pieces.first, pieces.first.saturating_add(pieces.count)])?;
    while let Some(row) = rows.next()? {
        let data = row.get_ref(1)?.as_blob()?;
        if row.get(0)? {
            raw.extend_from_slice(&decompress(data, PIECE)?);
        } else {
            raw.extend_from_slice(data);
        }
    }
    if raw.len() != length {
        return Err(failed("pieces of a value are missing"));
    }
    Ok(raw.into())
}

fn decompress(data: &[u8], length: usize) -> rusqlite::Result<Vec<u8>> {
    zstd::bulk::decompress(data, length).map_err(failed)
}

fn failed(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Blob, why.into())
}

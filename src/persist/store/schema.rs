//! What `streams.db` looks like.
//!
//! All streams share four tables. A message's row id is its stream's id and its number in one integer, so that a stream's
//! messages lie side by side and in order in one tree: appending touches its last page only, and reading a range is a scan.

use crate::persist::sqlite::Schema;

/// Bits of a row id that are the number within the stream; the 23 bits above are the stream.
pub(super) const SEQ_BITS: u32 = 40;
/// The largest number of a message.
pub(super) const MAX_SEQ: u64 = (1 << SEQ_BITS) - 1;
/// The largest id of a stream.
pub(super) const MAX_STREAM: i64 = (1 << 23) - 1;

/// The schema.
pub const SCHEMA: Schema = Schema { name: "streams.db", migrations: &[V1] };

// `config` and `metadata` are apart from `streams`, whose rows are written with every transaction and must be small.
// The two indexes hold only messages of streams with `max_age`, and messages with a time to live: others pay nothing.
const V1: &str = "
CREATE TABLE streams (
    id INTEGER PRIMARY KEY,
    last_seq INTEGER NOT NULL DEFAULT 0,
    count INTEGER NOT NULL DEFAULT 0,
    bytes INTEGER NOT NULL DEFAULT 0,
    changed INTEGER NOT NULL DEFAULT 0,
    path TEXT NOT NULL UNIQUE
) STRICT;
CREATE TABLE config (stream INTEGER PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE metadata (stream INTEGER PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE pieces (id INTEGER PRIMARY KEY, compress INTEGER NOT NULL, data BLOB NOT NULL) STRICT;
CREATE TABLE messages (
    id INTEGER PRIMARY KEY,
    time INTEGER NOT NULL,
    size INTEGER NOT NULL,
    encoding INTEGER NOT NULL,
    compress INTEGER NOT NULL,
    aged INTEGER NOT NULL,
    ttl INTEGER,
    first_piece INTEGER,
    pieces INTEGER,
    key TEXT,
    headers TEXT,
    raw BLOB NOT NULL
) STRICT;
CREATE INDEX messages_by_age ON messages (id >> 40, time) WHERE aged = 1;
CREATE INDEX messages_by_expiry ON messages (id >> 40, time + ttl) WHERE ttl IS NOT NULL;
CREATE TABLE keys (
    stream INTEGER NOT NULL,
    key TEXT NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY (stream, key)
) WITHOUT ROWID, STRICT;
CREATE TABLE checkpoints (
    stream INTEGER NOT NULL,
    name TEXT NOT NULL,
    seq INTEGER NOT NULL,
    time INTEGER NOT NULL,
    data TEXT,
    PRIMARY KEY (stream, name)
) WITHOUT ROWID, STRICT;
";

/// The row id of a message. Both parts were checked when they were made or read.
pub(super) fn row_id(stream: i64, seq: u64) -> i64 {
    (stream << SEQ_BITS) | int(seq.min(MAX_SEQ))
}

/// The number of a message, from its row id.
pub(super) fn seq_of(row_id: i64) -> u64 {
    (row_id as u64) & MAX_SEQ
}

/// An integer for SQLite, which has no unsigned ones.
pub(super) fn int(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// An integer from SQLite; none of ours is negative.
pub(super) fn uint(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}

/// Makes what was saved of a damaged database fit together again: numbers that were lost are found from what is there, and
/// messages whose stream is not known any more get one.
pub(super) fn mend(connection: &rusqlite::Connection) -> rusqlite::Result<()> {
    connection.execute_batch(&format!(
        "DELETE FROM messages WHERE first_piece IS NOT NULL AND messages.pieces <> (
            SELECT count(*) FROM pieces AS piece
            WHERE piece.id >= messages.first_piece AND piece.id < messages.first_piece + messages.pieces);
        INSERT INTO streams (id, path)
            SELECT DISTINCT id >> {SEQ_BITS}, 'hub/recovered/' || (id >> {SEQ_BITS}) FROM messages
            WHERE id >> {SEQ_BITS} NOT IN (SELECT id FROM streams);
        DELETE FROM keys;
        INSERT INTO keys (stream, key, seq)
            SELECT id >> {SEQ_BITS}, key, max(id & {MAX_SEQ}) FROM messages WHERE key IS NOT NULL GROUP BY 1, 2;
        DELETE FROM messages WHERE key IS NOT NULL AND NOT EXISTS (
            SELECT 1 FROM keys WHERE keys.stream = messages.id >> {SEQ_BITS} AND keys.key = messages.key
            AND keys.seq = messages.id & {MAX_SEQ});
        UPDATE streams SET (count, bytes, last_seq) = (
            SELECT count(*), coalesce(sum(size), 0), max(streams.last_seq, coalesce(max(messages.id) & {MAX_SEQ}, 0))
            FROM messages
            WHERE messages.id >= streams.id << {SEQ_BITS} AND messages.id <= (streams.id << {SEQ_BITS}) | {MAX_SEQ});"
    ))
}

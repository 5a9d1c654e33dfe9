//! Reading a stream's file.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rusqlite::{Connection, OpenFlags, OptionalExtension as _, types::ValueRef};
use serde_json::{Map, Value};
use tempfile::TempDir;

use super::Error;
use crate::persist::store::{Adopted, Checkpoint, Checkpoints, Header, Stored};

/// The largest payload that is unpacked; what claims to be larger is damaged.
const MAX_PAYLOAD_BYTES: usize = 1 << 30;

/// A stream's file, open for reading. The file itself is never changed: where SQLite would have to write beside it, a copy
/// is read.
#[derive(Debug)]
pub struct ReferenceFile {
    path: PathBuf,
    connection: Connection,
    /// Holds the copy that is read.
    _copy: Option<TempDir>,
}

impl ReferenceFile {
    /// Opens a file. Where a copy has to be made, it is made in `scratch`, and removed in the end.
    ///
    /// # Errors
    /// It can't be read, or is no stream.
    pub fn open(path: &Path, scratch: &Path) -> Result<ReferenceFile, Error> {
        let (connection, copy) = open_untouched(path, scratch)?;
        let file = ReferenceFile { path: path.to_owned(), connection, _copy: copy };
        if file.has_table("messages")? { Ok(file) } else { Err(Error::NotAStream(path.to_owned())) }
    }

    fn sqlite<T>(&self, result: rusqlite::Result<T>) -> Result<T, Error> {
        result.map_err(|source| Error::Sqlite { path: self.path.clone(), source })
    }

    fn has_table(&self, name: &str) -> Result<bool, Error> {
        let found =
            self.connection
                .query_row("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1", [name], |_| Ok(()));
        Ok(self.sqlite(found.optional())?.is_some())
    }

    /// The last number that was assigned (§8.1): never derived from the rows alone.
    fn last_seq(&self) -> Result<u64, Error> {
        let query = "SELECT max(coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'messages'), 0),
                                coalesce((SELECT max(seq) FROM messages), 0))";
        // A table without autoincrement has no counter.
        let rows_only = "SELECT coalesce(max(seq), 0) FROM messages";
        let query = if self.has_table("sqlite_sequence")? { query } else { rows_only };
        let last: i64 = self.sqlite(self.connection.query_row(query, [], |row| row.get(0)))?;
        Ok(u64::try_from(last).unwrap_or(0))
    }

    /// The number of messages.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn count(&self) -> Result<u64, Error> {
        let count: i64 =
            self.sqlite(self.connection.query_row("SELECT count(*) FROM messages", [], |row| row.get(0)))?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    /// The configuration: the fields that were ever set, with the types they have on the wire (§8.6).
    fn config(&self) -> Result<Map<String, Value>, Error> {
        let mut config = Map::new();
        if !self.has_table("config")? {
            return Ok(config);
        }
        let mut statement = self.sqlite(self.connection.prepare("SELECT field, value FROM config"))?;
        let rows = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, Option<String>>(1)?)));
        for row in self.sqlite(rows)? {
            let (field, Some(text)) = self.sqlite(row)? else { continue };
            let value = match field.as_str() {
                "discard_policy" => Value::String(text),
                "allow_msg_ttl" => Value::Bool(text == "true"),
                "desc" | "required_headers" => serde_json::from_str(&text).unwrap_or(Value::Null),
                _ => text.parse::<i64>().map_or(Value::Null, Value::from),
            };
            if !value.is_null() {
                config.insert(field, value);
            }
        }
        Ok(config)
    }

    /// The metadata (§17.7), if the file has them.
    fn metadata(&self) -> Result<Option<Value>, Error> {
        if !self.has_table("stream_metadata")? {
            return Ok(None);
        }
        let text = self
            .connection
            .query_row("SELECT metadata FROM stream_metadata WHERE id = 1", [], |row| row.get::<_, Option<String>>(0));
        let text = self.sqlite(text.optional())?.flatten();
        Ok(text.and_then(|text| serde_json::from_str(&text).ok()).filter(|value: &Value| !value.is_null()))
    }

    /// The checkpoints (§17.7).
    fn checkpoints(&self) -> Result<Checkpoints, Error> {
        let mut checkpoints = Checkpoints::new();
        if !self.has_table("stream_checkpoints")? {
            return Ok(checkpoints);
        }
        let query = "SELECT name, seq, time, data FROM stream_checkpoints";
        let mut statement = self.sqlite(self.connection.prepare(query))?;
        let rows = statement.query_map([], |row| {
            let (name, seq): (String, i64) = (row.get(0)?, row.get(1)?);
            Ok((name, seq, number(row.get_ref(2)?), row.get::<_, Option<String>>(3)?))
        });
        for row in self.sqlite(rows)? {
            let (name, seq, time, data) = self.sqlite(row)?;
            let data = data.and_then(|text| serde_json::from_str(&text).ok());
            let (seq, time) = (u64::try_from(seq).unwrap_or(0), time.map_or(0, whole));
            checkpoints.insert(name, Checkpoint { seq, time, data });
        }
        Ok(checkpoints)
    }

    /// What the stream has beside its messages.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn header(&self) -> Result<Header, Error> {
        Ok(Header {
            last_seq: self.last_seq()?,
            config: self.config()?,
            metadata: self.metadata()?,
            checkpoints: self.checkpoints()?,
        })
    }

    /// Calls `take` with each message in order of its number, until that says no; a row that makes no sense comes as an
    /// error, and the next one after it.
    ///
    /// # Errors
    /// The file can't be read any further.
    pub fn rows(&self, mut take: impl FnMut(Result<Adopted, Error>) -> bool) -> Result<(), Error> {
        let query = "SELECT seq, key, time, headers, compress, encoding, raw, ttl FROM messages ORDER BY seq";
        let mut statement = self.sqlite(self.connection.prepare(query))?;
        let mut rows = self.sqlite(statement.query([]))?;
        while let Some(row) = self.sqlite(rows.next())? {
            let seq: i64 = self.sqlite(row.get(0))?;
            if !take(message(row, seq).map_err(|reason| Error::Row { path: self.path.clone(), seq, reason })) {
                break;
            }
        }
        Ok(())
    }
}

/// A row as a message; or what is wrong with it.
fn message(row: &rusqlite::Row<'_>, seq: i64) -> Result<Adopted, String> {
    let text = |e: rusqlite::Error| e.to_string();
    let key: Option<String> = row.get(1).map_err(text)?;
    // Seconds with a fraction; the rounding of the product is noise (§5.3).
    let time = number(row.get_ref(2).map_err(text)?).ok_or("it has no time")? * 1000.0;
    let headers: Option<String> = row.get(3).map_err(text)?;
    let compress = number(row.get_ref(4).map_err(text)?).unwrap_or(0.0);
    let encoding = number(row.get_ref(5).map_err(text)?).unwrap_or(0.0);
    let raw = match row.get_ref(6).map_err(text)? {
        ValueRef::Blob(bytes) | ValueRef::Text(bytes) => unpack(bytes, compress)?,
        ValueRef::Null => Vec::new(),
        _ => return Err("its payload is a number".into()),
    };
    let ttl = number(row.get_ref(7).map_err(text)?).map(whole);
    let stored = Stored {
        seq: u64::try_from(seq).map_err(|_| "its number is negative")?,
        time: whole(time),
        key: key.map(Into::into),
        encoding: if encoding == 1.0 { 1 } else { 0 },
        raw: raw.into(),
        headers: headers.as_deref().and_then(compact_object),
    };
    Ok(Adopted { stored, ttl })
}

fn unpack(bytes: &[u8], compress: f64) -> Result<Vec<u8>, String> {
    match compress {
        0.0 => Ok(bytes.to_vec()),
        1.0 => {
            let mut unpacked = Vec::new();
            let mut decoder = zstd::Decoder::new(bytes).map_err(|e| e.to_string())?;
            let limit = u64::try_from(MAX_PAYLOAD_BYTES).unwrap_or(u64::MAX) + 1;
            let read = io::Read::read_to_end(&mut io::Read::take(&mut decoder, limit), &mut unpacked);
            read.map_err(|e| format!("its payload can't be unpacked: {e}"))?;
            if unpacked.len() > MAX_PAYLOAD_BYTES { Err("its payload is too large".into()) } else { Ok(unpacked) }
        }
        other => Err(format!("its payload has an unknown compression {other}")),
    }
}

/// Headers as compact JSON; null, and what is no object, count as none (§18 #26).
fn compact_object(text: &str) -> Option<Arc<str>> {
    let object: Map<String, Value> = serde_json::from_str(text).ok()?;
    serde_json::to_string(&object).ok().map(Into::into)
}

fn number(value: ValueRef<'_>) -> Option<f64> {
    match value {
        ValueRef::Integer(n) => Some(n as f64),
        ValueRef::Real(n) => Some(n),
        ValueRef::Text(text) => std::str::from_utf8(text).ok()?.trim().parse().ok(),
        ValueRef::Null | ValueRef::Blob(_) => None,
    }
}

fn whole(n: f64) -> u64 {
    // Saturates; negative times are none.
    n.round() as u64
}

/// Opens a database such that neither it nor its folder is written to.
pub fn open_untouched(path: &Path, scratch: &Path) -> Result<(Connection, Option<TempDir>), Error> {
    let io = |source| Error::Io { path: path.to_owned(), source };
    let wal = beside(path, "-wal");
    let has_wal = fs::metadata(&wal).is_ok_and(|metadata| metadata.len() > 0);
    if has_wal {
        // The newest transactions are in it; reading it needs a shared-memory file beside it.
        let folder = tempfile::tempdir_in(scratch).map_err(io)?;
        let copy = folder.path().join("stream.db");
        fs::copy(path, &copy).map_err(io)?;
        fs::copy(&wal, beside(&copy, "-wal")).map_err(io)?;
        let connection = Connection::open(&copy).map_err(|source| Error::Sqlite { path: path.to_owned(), source })?;
        return Ok((connection, Some(folder)));
    }
    // SQLite would answer with "unable to open" whatever the reason.
    fs::File::open(path).map_err(io)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(immutable_uri(path), flags)
        .map_err(|source| Error::Sqlite { path: path.to_owned(), source })?;
    Ok((connection, None))
}

/// `x.db` and `-wal` make `x.db-wal`.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

fn immutable_uri(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt as _;
    let encoded = percent_encoding::percent_encode(path.as_os_str().as_bytes(), percent_encoding::NON_ALPHANUMERIC);
    format!("file:{encoded}?immutable=1")
}

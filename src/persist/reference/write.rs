//! Writing a stream's file.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, params};
use serde_json::Value;

use super::Error;
use crate::persist::store::{Adopted, Header};

/// Payloads longer than this are compressed (§9.3).
const COMPRESS_ABOVE: usize = 1024;

/// The tables of §§9.2 and 17.7, those of the newer revision included: older programs tolerate them.
const TABLES: &str = "
    CREATE TABLE messages (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        key TEXT UNIQUE,
        time INTEGER NOT NULL,
        headers TEXT,
        compress NUMBER NOT NULL,
        encoding NUMBER NOT NULL,
        raw BLOB NOT NULL,
        size NUMBER NOT NULL,
        ttl NUMBER
    );
    CREATE INDEX idx_messages_key ON messages(key);
    CREATE INDEX idx_messages_time ON messages(time);
    CREATE TABLE config (field TEXT PRIMARY KEY, value TEXT NOT NULL);
    CREATE TABLE stream_metadata (id INTEGER PRIMARY KEY, metadata TEXT, revision INTEGER NOT NULL);
    CREATE TABLE stream_checkpoints (
        name TEXT PRIMARY KEY, seq INTEGER NOT NULL, time INTEGER NOT NULL, data TEXT, revision INTEGER NOT NULL
    );
    CREATE INDEX idx_stream_checkpoints_seq ON stream_checkpoints(seq);";

/// A file that is being written under another name beside its own.
#[derive(Debug)]
pub struct Writer {
    path: PathBuf,
    new: PathBuf,
    connection: Connection,
}

impl Writer {
    /// Begins a file, making the folders it needs.
    ///
    /// # Errors
    /// The disk.
    pub fn begin(path: &Path, header: &Header) -> Result<Writer, Error> {
        let io = |source| Error::Io { path: path.to_owned(), source };
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(io)?;
        }
        let mut new = path.as_os_str().to_owned();
        new.push(".new");
        let new = PathBuf::from(new);
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io(error)),
            _ => {}
        }
        let connection = Connection::open(&new).map_err(|source| Error::Sqlite { path: path.to_owned(), source })?;
        let writer = Writer { path: path.to_owned(), new, connection };
        writer.prepare(header)?;
        Ok(writer)
    }

    fn sqlite<T>(&self, result: rusqlite::Result<T>) -> Result<T, Error> {
        result.map_err(|source| Error::Sqlite { path: self.path.clone(), source })
    }

    fn prepare(&self, header: &Header) -> Result<(), Error> {
        // Until it has its own name nobody reads it, and after a crash it is written anew.
        self.sqlite(self.connection.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; BEGIN;"))?;
        self.sqlite(self.connection.execute_batch(TABLES))?;
        for (field, value) in &header.config {
            let text = match value {
                // The two that are JSON are so even when they are strings.
                Value::String(text) if field == "discard_policy" => text.clone(),
                other => other.to_string(),
            };
            self.sqlite(self.connection.execute("INSERT INTO config VALUES (?1, ?2)", [field, &text]))?;
        }
        if let Some(metadata) = &header.metadata {
            let insert = "INSERT INTO stream_metadata VALUES (1, ?1, 1)";
            self.sqlite(self.connection.execute(insert, [metadata.to_string()]))?;
        }
        for (name, checkpoint) in &header.checkpoints {
            let data = checkpoint.data.as_ref().map(Value::to_string);
            let insert = "INSERT INTO stream_checkpoints VALUES (?1, ?2, ?3, ?4, 1)";
            let values = params![name, signed(checkpoint.seq), signed(checkpoint.time), data];
            self.sqlite(self.connection.execute(insert, values))?;
        }
        let counter = "INSERT INTO sqlite_sequence(name, seq) VALUES ('messages', ?1)";
        self.sqlite(self.connection.execute(counter, [signed(header.last_seq)]))?;
        Ok(())
    }

    /// Adds a message.
    ///
    /// # Errors
    /// The disk.
    pub fn add(&self, row: &Adopted) -> Result<(), Error> {
        let Adopted { stored, ttl } = row;
        let packed = (stored.raw.len() > COMPRESS_ABOVE).then(|| zstd::bulk::compress(&stored.raw, 0));
        let packed = packed.transpose().map_err(|source| Error::Io { path: self.path.clone(), source })?;
        let raw: &[u8] = packed.as_deref().unwrap_or(&stored.raw);
        let utf16 = |text: Option<&str>| text.map_or(0, |text| text.encode_utf16().count());
        let size = utf16(stored.headers.as_deref()) + utf16(stored.key.as_deref()) + stored.raw.len();
        let insert = "INSERT INTO messages VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
        let mut statement = self.sqlite(self.connection.prepare_cached(insert))?;
        let values = params![
            signed(stored.seq),
            stored.key.as_deref(),
            stored.time as f64 / 1000.0,
            stored.headers.as_deref(),
            packed.is_some(),
            stored.encoding,
            raw,
            i64::try_from(size).unwrap_or(i64::MAX),
            ttl.map(signed),
        ];
        self.sqlite(statement.execute(values))?;
        Ok(())
    }

    /// Completes the file and gives it its name.
    ///
    /// # Errors
    /// The disk.
    pub fn finish(self) -> Result<(), Error> {
        self.sqlite(self.connection.execute_batch("COMMIT"))?;
        let Writer { path, new, connection } = self;
        connection.close().map_err(|(_, source)| Error::Sqlite { path: path.clone(), source })?;
        let io = |source| Error::Io { path: path.clone(), source };
        fs::File::open(&new).and_then(|file| file.sync_all()).map_err(io)?;
        // What belonged to the file that is replaced must not be taken for part of the new one.
        for ending in ["-wal", "-shm"] {
            let mut beside = path.as_os_str().to_owned();
            beside.push(ending);
            match fs::remove_file(PathBuf::from(beside)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io(error)),
                _ => {}
            }
        }
        fs::rename(&new, &path).map_err(io)
    }
}

fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

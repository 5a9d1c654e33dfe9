//! Opening SQLite databases: pragmas, schema versions, damage.
//!
//! A database that was closed in order has no write-ahead log beside it. Where there is one, the program was killed or the
//! power failed, and the database is looked through before it is used. One that is damaged is set aside, and what can be read
//! of it is copied into a new one: a start never ends with less than there is, and never silently.

mod damage;
mod maintenance;
mod salvage;
#[cfg(test)]
mod tests;

use std::{
    io::{self, Read},
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags};
use thiserror::Error;

pub use self::{
    damage::{is_damage, mark_suspect},
    maintenance::{Verification, backup, compact, verify},
};
use crate::config::Durability;

/// What a database looks like, version by version.
#[derive(Debug)]
pub struct Schema {
    /// What the database is called in messages: `hub.db`.
    pub name: &'static str,
    /// The statements that lead from version `i` to `i + 1`; all of a start's run in one transaction.
    pub migrations: &'static [&'static str],
}

impl Schema {
    /// The version that the program knows.
    pub fn version(&self) -> u32 {
        u32::try_from(self.migrations.len()).unwrap_or(u32::MAX)
    }
}

/// A database that is open for reading and writing.
#[derive(Debug)]
pub struct Opened {
    /// The connection.
    pub connection: Connection,
    /// Set when the database was damaged and had to be set aside.
    pub recovery: Option<Recovery>,
}

/// What became of a damaged database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// Where the damaged file is now.
    pub set_aside: PathBuf,
    /// Rows that were saved into the new one.
    pub saved: u64,
    /// What `quick_check` found, in one line.
    pub finding: String,
}

/// Why a database can't be used.
#[derive(Debug, Error)]
pub enum Error {
    /// SQLite says no.
    #[error("{path}: {source}")]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// The file was written by a newer program; it was left as it is.
    #[error(
        "{path} has schema version {found}, this program knows {known}: use a newer program, or another data directory"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The newest we know.
        known: u32,
    },
    /// The system says no.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl Error {
    fn io(path: &Path) -> impl Fn(io::Error) -> Error + '_ {
        |source| Error::Io { path: path.to_owned(), source }
    }

    fn sqlite(path: &Path) -> impl Fn(rusqlite::Error) -> Error + '_ {
        |source| Error::Sqlite { path: path.to_owned(), source }
    }
}

/// What the mode of a new database is.
#[cfg(unix)]
const MODE: u32 = 0o600;

/// How much of the write-ahead log stays on the disk for reuse.
const WAL_KEPT: i64 = 32 << 20;

/// How long a connection waits for another program that has the database locked.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Opens a database, making it when it is not there, and brings its schema up to date in one transaction.
///
/// # Errors
/// See [`Error`].
pub fn open(path: &Path, schema: &Schema, durability: Durability) -> Result<Opened, Error> {
    open_mending(path, schema, durability, |_| Ok(()))
}

/// Like [`open`]; what was saved of a damaged database is put in order before it is used.
///
/// # Errors
/// See [`Error`].
pub fn open_mending(
    path: &Path,
    schema: &Schema,
    durability: Durability,
    mend: fn(&Connection) -> rusqlite::Result<()>,
) -> Result<Opened, Error> {
    refuse_newer(path, schema)?;
    damage::finish_interrupted(path, schema)?;
    let mut recovery = match damage::look(path, schema)? {
        Some(finding) => Some(salvage::replace(path, schema, mend, finding)?),
        None => None,
    };
    create(path)?;
    let connection = match prepared(path, schema, durability) {
        // Damage that was there before an orderly end, or came since.
        Err(error) if recovery.is_none() && damage::is_damage(&error) => {
            recovery = Some(salvage::replace(path, schema, mend, error.to_string())?);
            prepared(path, schema, durability)
        }
        other => other,
    };
    let connection = connection.map_err(Error::sqlite(path))?;
    damage::clear_suspicion(path)?;
    if let Some(recovery) = &recovery {
        tracing::warn!(
            database = schema.name,
            finding = recovery.finding,
            set_aside = %recovery.set_aside.display(),
            saved = recovery.saved,
            "a damaged database was set aside; what could be read of it was saved"
        );
    }
    Ok(Opened { connection, recovery })
}

/// Makes an empty file that only its owner may read; SQLite gives the files beside it the same mode.
fn create(path: &Path) -> Result<(), Error> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, MODE);
    match options.open(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(Error::io(path)(error)),
        _ => Ok(()),
    }
}

/// Looks at the version without changing anything.
fn refuse_newer(path: &Path, schema: &Schema) -> Result<(), Error> {
    let mut found = match std::fs::File::open(path) {
        Ok(mut file) => header_version(&mut file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Error::io(path)(error)),
    };
    if found <= schema.version() && beside(path, "-wal").exists() {
        // The newest version may be in the log. What can't be read is no reason to refuse here.
        let version = connect_read_only(path).and_then(|connection| version(&connection));
        found = version.unwrap_or(found);
    }
    if found > schema.version() {
        return Err(Error::Newer { path: path.to_owned(), found, known: schema.version() });
    }
    Ok(())
}

/// `user_version` as it is in the header of a database file; 0 for anything else.
fn header_version(file: &mut std::fs::File) -> u32 {
    let mut header = [0; 64];
    match file.read_exact(&mut header) {
        Ok(()) if header.starts_with(b"SQLite format 3\0") => {
            let [.., a, b, c, d] = header;
            u32::from_be_bytes([a, b, c, d])
        }
        _ => 0,
    }
}

fn version(connection: &Connection) -> rusqlite::Result<u32> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

fn prepared(path: &Path, schema: &Schema, durability: Durability) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", if durability == Durability::Full { "FULL" } else { "NORMAL" })?;
    connection.pragma_update(None, "journal_size_limit", WAL_KEPT)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    // There may be no place for temporary files.
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    let found = version(&connection)?;
    migrate(&mut connection, schema, found)?;
    Ok(connection)
}

fn migrate(connection: &mut Connection, schema: &Schema, found: u32) -> rusqlite::Result<()> {
    if found >= schema.version() {
        return Ok(());
    }
    let transaction = connection.transaction()?;
    for step in schema.migrations.iter().skip(found as usize) {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "user_version", schema.version())?;
    transaction.commit()
}

/// A database in memory that takes so many bytes at most.
///
/// # Errors
/// SQLite says no.
pub fn open_in_memory(schema: &Schema, max_bytes: u64) -> rusqlite::Result<Connection> {
    let mut connection = Connection::open_in_memory()?;
    // Pages that are not used any more can be given back. Has to come before the first table.
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    let page_size: i64 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
    let pages = i64::try_from(max_bytes).unwrap_or(i64::MAX) / page_size.max(1);
    connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))?;
    migrate(&mut connection, schema, 0)?;
    Ok(connection)
}

/// A connection for reading what another one writes.
///
/// # Errors
/// SQLite says no.
pub fn connect_for_reading(path: &Path) -> rusqlite::Result<Connection> {
    let connection = connect_beside(path)?;
    connection.pragma_update(None, "query_only", true)?;
    connection.pragma_update(None, "cache_size", -256)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    Ok(connection)
}

/// A connection that copies the write-ahead log into the database.
///
/// # Errors
/// SQLite says no.
pub fn connect_for_checkpoints(path: &Path) -> rusqlite::Result<Connection> {
    let connection = connect_beside(path)?;
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "cache_size", -64)?;
    Ok(connection)
}

/// A further connection to a database that is open already.
fn connect_beside(path: &Path) -> rusqlite::Result<Connection> {
    // Able to write, because whichever connection is closed last has to clear up.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    Ok(connection)
}

/// A connection that changes nothing, not even when it is closed.
fn connect_read_only(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    Ok(connection)
}

/// The file beside a database that has an ending more.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// Makes names in a folder durable.
fn sync_folder(path: &Path) -> Result<(), Error> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(Error::io(folder))
}

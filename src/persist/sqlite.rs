//! Opening SQLite databases: pragmas, schema versions, damage.

use std::path::{Path, PathBuf};

use rusqlite::Connection;
use thiserror::Error;

use crate::config::Durability;

/// What a database looks like, version by version.
#[derive(Debug)]
pub struct Schema {
    /// What the database is called in messages: `hub.db`.
    pub name: &'static str,
    /// The statements that lead from version `i` to `i + 1`; all of a start's run in one transaction.
    pub migrations: &'static [&'static str],
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
}

/// Opens a database, making it when it is not there, and brings its schema up to date in one transaction.
///
/// # Errors
/// See [`Error`].
pub fn open(path: &Path, schema: &Schema, durability: Durability) -> Result<Opened, Error> {
    let wrap = |source| Error::Sqlite { path: path.to_owned(), source };
    let mut connection = Connection::open(path).map_err(wrap)?;
    prepare(&connection, durability).map_err(wrap)?;
    let found: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(wrap)?;
    let known = u32::try_from(schema.migrations.len()).unwrap_or(u32::MAX);
    if found > known {
        return Err(Error::Newer { path: path.to_owned(), found, known });
    }
    migrate(&mut connection, schema, found, known).map_err(wrap)?;
    Ok(Opened { connection, recovery: None })
}

fn prepare(connection: &Connection, durability: Durability) -> rusqlite::Result<()> {
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", if durability == Durability::Full { "FULL" } else { "NORMAL" })
}

fn migrate(connection: &mut Connection, schema: &Schema, found: u32, known: u32) -> rusqlite::Result<()> {
    if found == known {
        return Ok(());
    }
    let transaction = connection.transaction()?;
    for step in schema.migrations.iter().skip(found as usize) {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "user_version", known)?;
    transaction.commit()
}

//! Files of the reference implementation (conat-persist.md §9): one SQLite database per stream, at
//! `<root>/<storage path>.db`.
//!
//! [`ReferenceFile`] reads one without touching it; [`Writer`] makes one. They serve the import of an existing
//! installation and the archive and backup copies.

mod adopt;
mod read;
#[cfg(test)]
mod tests;
mod walk;
mod write;

use std::path::PathBuf;

use thiserror::Error;

pub use self::{
    adopt::{Error as AdoptError, Outcome, adopt},
    read::{ReferenceFile, open_untouched},
    walk::{Found, walk},
    write::Writer,
};

/// The ending of a stream's file.
pub const EXTENSION: &str = "db";

/// Why a file of the reference can't be read or written.
#[derive(Debug, Error)]
pub enum Error {
    /// The file system.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What happened.
        source: std::io::Error,
    },
    /// SQLite.
    #[error("{}: {source}", path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What happened.
        source: rusqlite::Error,
    },
    /// It has no table of messages.
    #[error("{}: not a stream: it has no table 'messages'", .0.display())]
    NotAStream(PathBuf),
    /// A row makes no sense.
    #[error("{}: message {seq}: {reason}", path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// The message.
        seq: i64,
        /// What is wrong with it.
        reason: String,
    },
}

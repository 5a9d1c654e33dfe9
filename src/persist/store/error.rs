//! What goes wrong in the store (conat-persist.md §10).

use thiserror::Error;

use crate::bus::Code;

/// Why an operation of the store failed. The texts are those of §10, without the prefix `Error: `.
#[derive(Clone, Debug, Error)]
pub enum Error {
    /// A limit or a required header forbids the write (`reject`).
    #[error("{0}")]
    Rejected(String),
    /// Compare-and-set failed.
    #[error("wrong last sequence")]
    WrongLastSequence,
    /// The request makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// The disk, or SQLite; the code is `ENOSPC`, `SQLITE_FULL`, `SQLITE_IOERR`, `SQLITE_CORRUPT`, `SQLITE_READONLY` …
    #[error("{message}")]
    Storage {
        /// The code.
        code: String,
        /// What SQLite says.
        message: String,
    },
    /// Too much waits to be written.
    #[error("the store is overloaded; try again")]
    Busy,
    /// The store is closed.
    #[error("the store is closed")]
    Closed,
}

impl Error {
    /// The code on the wire, if there is one.
    pub fn code(&self) -> Option<Code> {
        match self {
            Error::Rejected(_) => Some("reject".into()),
            Error::WrongLastSequence => Some("wrong-last-sequence".into()),
            Error::Storage { code, .. } => Some(code.as_str().into()),
            Error::Busy => Some(503.into()),
            Error::Invalid(_) | Error::Closed => None,
        }
    }
}

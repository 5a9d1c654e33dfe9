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

/// The name of SQLite's primary result code.
pub(super) fn code_name(error: &rusqlite::Error) -> &'static str {
    use rusqlite::ErrorCode as C;

    match error.sqlite_error_code() {
        Some(C::DiskFull) => "SQLITE_FULL",
        Some(C::SystemIoFailure) => "SQLITE_IOERR",
        Some(C::DatabaseCorrupt) => "SQLITE_CORRUPT",
        Some(C::NotADatabase) => "SQLITE_NOTADB",
        Some(C::ReadOnly) => "SQLITE_READONLY",
        Some(C::CannotOpen) => "SQLITE_CANTOPEN",
        Some(C::DatabaseBusy) => "SQLITE_BUSY",
        Some(C::DatabaseLocked) => "SQLITE_LOCKED",
        Some(C::OutOfMemory) => "SQLITE_NOMEM",
        Some(C::TooBig) => "SQLITE_TOOBIG",
        Some(C::PermissionDenied) => "SQLITE_PERM",
        Some(C::ConstraintViolation) => "SQLITE_CONSTRAINT",
        Some(_) => "SQLITE_ERROR",
        // What is stored can't be read.
        None => "SQLITE_CORRUPT",
    }
}

/// Whether a failure is about the place where data are kept, rather than about what is written.
pub(super) fn is_storage(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode as C;

    let local = [C::TooBig, C::ConstraintViolation, C::TypeMismatch, C::ParameterOutOfRange];
    !error.sqlite_error_code().is_some_and(|code| local.contains(&code))
}

impl Error {
    /// What a writer is told of a fault.
    pub(super) fn from_fault(fault: &rusqlite::Error, ephemeral: bool) -> Error {
        if ephemeral && fault.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull) {
            let message = "the memory for ephemeral streams is full".to_owned();
            return Error::Storage { code: "ENOSPC".to_owned(), message };
        }
        Error::Storage { code: code_name(fault).to_owned(), message: fault.to_string() }
    }
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Error {
        Error::from_fault(&error, false)
    }
}

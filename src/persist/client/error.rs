//! What goes wrong at the client of a persist service (conat-persist.md §10).

use thiserror::Error;

use crate::{
    bus::{self, Code},
    persist::service::authorization::Denied,
    wire::msgpack,
};

/// Why an operation failed.
#[derive(Clone, Debug, Error)]
pub enum Error {
    /// The bus, or the server's error.
    #[error(transparent)]
    Bus(#[from] bus::Error),
    /// The path may not be opened; the server was not asked.
    #[error(transparent)]
    Path(#[from] Denied),
    /// A limit or a required header forbids the write; it makes no sense to try again.
    #[error("{0}")]
    Rejected(String),
    /// Compare-and-set failed: the key has changed.
    #[error("wrong last sequence")]
    WrongLastSequence,
    /// Parts of an answer were lost on the way.
    #[error("the answer is incomplete: {0}")]
    Incomplete(String),
    /// A payload or an answer is not what it should be.
    #[error(transparent)]
    Payload(#[from] msgpack::Error),
    /// An answer makes no sense.
    #[error("unexpected answer: {0}")]
    Answer(String),
    /// Too much is written and not yet saved.
    #[error("too much is not saved yet")]
    Full,
    /// The stream is larger than a copy may be.
    #[error("the stream is too large for a copy of {0} bytes")]
    TooLarge(usize),
    /// A reader of a change feed did not keep up.
    #[error("the reader of the changes is too slow")]
    Slow,
    /// The structure, or the client of the bus, is closed.
    #[error("closed")]
    Closed,
}

impl Error {
    /// The code, if there is one.
    pub fn code(&self) -> Option<Code> {
        match self {
            Error::Bus(error) => error.code(),
            Error::Path(_) => Some(403.into()),
            Error::Rejected(_) => Some("reject".into()),
            Error::WrongLastSequence => Some("wrong-last-sequence".into()),
            Error::Incomplete(_) => Some(503.into()),
            Error::Full => Some("ENOBUFS".into()),
            _ => None,
        }
    }

    fn is_code(&self, number: i64) -> bool {
        self.code().is_some_and(|code| code == number)
    }

    /// Whether it makes no sense to go on with the object: 403 and 429 (§10), and what can't change.
    pub fn is_fatal(&self) -> bool {
        let denied = matches!(self, Error::Bus(bus::Error::Refused { message, code: None }) if message.contains("permission denied"));
        denied
            || self.is_code(403)
            || self.is_code(429)
            || matches!(self, Error::Closed | Error::TooLarge(_) | Error::Bus(bus::Error::InvalidSubject(_)))
    }

    /// Whether the socket is to blame, so that a new one may do better: 408 and 503 (§11.2). A server that says 503 itself is
    /// there, and merely busy.
    pub(super) fn is_lost(&self) -> bool {
        let gone = matches!(
            self,
            Error::Bus(bus::Error::NoSubscribers(_) | bus::Error::Closed | bus::Error::Disconnected)
                | Error::Incomplete(_)
        );
        gone || self.is_code(408)
    }

    /// The error of a request, told apart by its code.
    pub(super) fn of_request(error: bus::Error) -> Error {
        let code = error.code();
        let is = |word: &str| code.as_ref().is_some_and(|code| *code == *word);
        if is("reject") {
            Error::Rejected(error.to_string())
        } else if is("wrong-last-sequence") {
            Error::WrongLastSequence
        } else {
            Error::Bus(error)
        }
    }

    /// The error that a result of `setMany` tells of.
    pub(super) fn of_result(message: String, code: Option<Code>) -> Error {
        Error::of_request(match code {
            Some(code) => bus::Error::failure(message, code),
            None => bus::Error::message(message),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn persist_096_403_and_429_are_fatal_others_are_not() {
        for code in [403, 429] {
            assert!(Error::of_request(bus::Error::failure("no", code)).is_fatal());
        }
        assert!(Error::from(bus::Error::Denied("x".into())).is_fatal());
        for error in [
            bus::Error::failure("late", 408),
            bus::Error::NoSubscribers("x".into()),
            bus::Error::message("Error: internal"),
            bus::Error::failure("disk", "SQLITE_FULL"),
            bus::Error::Timeout("x".into()),
        ] {
            assert!(!Error::of_request(error).is_fatal());
        }
        assert!(matches!(Error::of_request(bus::Error::failure("x", "reject")), Error::Rejected(_)));
        assert!(matches!(Error::of_request(bus::Error::failure("x", "wrong-last-sequence")), Error::WrongLastSequence));
        assert!(Error::Incomplete("x".into()).is_lost());
        assert!(Error::from(bus::Error::NoSubscribers("x".into())).is_lost());
        assert!(!Error::of_request(bus::Error::failure("busy", 503)).is_lost());
        assert!(!Error::Rejected("x".into()).is_lost());
    }
}

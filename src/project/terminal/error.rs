//! What a client is told when a request fails.

use crate::{bus::Code, host::pty};

/// Why a request can't be granted.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The request is not a map with the right types.
    #[error("the request can't be understood: {0}")]
    Malformed(String),
    /// No such request.
    #[error("unknown command {0:?}")]
    UnknownCommand(String),
    /// A field is missing or impossible.
    #[error("{0}")]
    Invalid(&'static str),
    /// The program is nowhere on `PATH`.
    #[error("{0}: command not found")]
    NoSuchProgram(String),
    /// Not even a shell.
    #[error("there is no shell on this machine: neither bash, $SHELL, sh nor busybox was found")]
    NoShell,
    /// The program can't be started.
    #[error(transparent)]
    Start(#[from] pty::Error),
    /// The program takes longer to start than clients wait.
    #[error("the program does not start")]
    SlowStart,
    /// The session's control directory can't be made.
    #[error("the session's control directory can't be made: {0}")]
    Control(#[source] std::io::Error),
    /// Too many sessions.
    #[error("there are {0} terminal sessions already; end one of them")]
    TooManySessions(usize),
    /// Too many sockets.
    #[error("this session has {0} clients already")]
    TooManySockets(usize),
    /// The session that was named does not run.
    #[error("there is no such terminal session")]
    NoSession,
    /// The server ends.
    #[error("the server is shutting down")]
    ShuttingDown,
}

impl Error {
    /// The code that goes with the message, if clients know one.
    pub(super) fn code(&self) -> Option<Code> {
        match self {
            Error::Malformed(_) | Error::Invalid(_) | Error::UnknownCommand(_) => Some("EINVAL".into()),
            Error::NoSuchProgram(_) | Error::NoShell | Error::NoSession => Some("ENOENT".into()),
            Error::TooManySessions(_) | Error::TooManySockets(_) => Some(429.into()),
            Error::ShuttingDown => Some(503.into()),
            Error::SlowStart => Some(408.into()),
            Error::Start(_) | Error::Control(_) => None,
        }
    }
}

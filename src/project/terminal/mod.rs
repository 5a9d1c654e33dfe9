//! Terminals: programs in pseudo-terminals that any number of browsers share (project.md §11).
//!
//! [`Service`] is a server of virtual sockets on the bus. What a client asks for goes this way:
//!
//! ```text
//! socket ── connection ── registry ── session ══ owner ─┬─ members ── socket(s)
//!  (border: peer)      (id → session)     (one task)    ├─ output (history), utf8, escape, pace
//!                                                       ├─ control (open), environment
//!                                                       └─ host::pty
//! ```
//!
//! # Bounds
//!
//! | what | bound | when it is reached |
//! |---|---|---|
//! | sessions, sockets per session | [`Limits`] | `spawn` is answered with an error |
//! | history of a session | [`Limits`], `maxHistoryLength` | the oldest output is dropped |
//! | data on the way to a socket | 1 MiB | it gets no more until it has taken everything; if it has missed more than 1 MiB by then, it goes on with the newest 64 KiB |
//! | output read | 12 MiB a second; nothing for 2 s while all sockets are stalled; then, or with no socket, 3 MiB a second | the program waits |
//! | typing of a socket | 4 MiB | the socket is not read from, so its peer's writes wait |
//! | typing of a session | 32 KiB | sockets take turns |
//! | requests of a socket in work | 64 | the socket is not read from |
//! | notices without answer per client | 64, and 64 that wait | further ones are dropped |
//!
//! # Ends
//!
//! A session ends with its program, by `destroy`, with the service, and, if it has no id, with its socket: nobody else could
//! ever reach it. Programs get the hang-up signal, and after a second they are killed with everything they started that has
//! not left for a session of its own.

mod connection;
mod control;
mod environment;
mod error;
mod escape;
mod leader;
mod limits;
mod members;
mod output;
mod owner;
mod pace;
mod peer;
mod registry;
mod request;
mod service;
mod session;
mod socket;
mod utf8;

#[cfg(test)]
mod tests;

pub use limits::Limits;
pub use service::{Error, Service, TerminalOptions};

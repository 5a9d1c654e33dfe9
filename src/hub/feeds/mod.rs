//! Changefeeds: queries that stay open (hub.md §10).
//!
//! The database's thread keeps a [`Registry`] of open feeds and computes for each change what each of them is to hear; the
//! [`service`] brings it to the clients.
//!
//! | queue | bound | when it is full |
//! |---|---|---|
//! | changes on their way to the socket of one feed | 1000, 16 MiB | the feed ends with an error |
//! | changes on their way to all sockets | 128 MiB | feeds end, as above |
//! | written to one socket, not acknowledged by its client | 1000 messages, 32 MiB | the feed ends |
//!
//! A client that lost its feed opens another and gets everything anew, so nothing is lost for good.

mod change;
mod quota;
mod registry;
pub mod service;

pub use registry::{Feed, Registry};

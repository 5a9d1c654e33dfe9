//! Outpost: a computing lab in one static file.
//!
//! # The map of the house
//!
//! A folder is a floor; a floor uses only the floors below it (`tests/floors.rs` holds the order).
//!
//! | floor | what it is |
//! |---|---|
//! | [`cli`] | one file per command; the only place that uses `anyhow` |
//! | [`app`] | puts the parts together (build, then run) and owns shutdown |
//! | [`http`] | one request pipeline: limits, trace, sign-in, route, security headers; TLS; the page; metrics |
//! | [`project`] | files, terminals (later: programs, documents, notebooks) |
//! | [`hub`] | clock, server status, API, user queries, settings, blobs |
//! | [`persist`] | streams and key-value stores in SQLite: writer, readers, limits, service, client |
//! | [`bus`] | the client's side: subscribe, publish, request, virtual sockets, services |
//! | [`broker`] | who hears what: interest, queue groups, one session per connection, policy, limits |
//! | [`wire`] | pure codecs: engine.io, socket.io, frames, subjects; no I/O, no clock |
//! | [`config`] | every setting in one typed struct |
//! | [`host`] | the machine below us: systemd, journal, paths, PTY; the only home of `unsafe` |

#![deny(missing_docs)]
#![deny(unsafe_code)]
#![warn(clippy::unwrap_used, clippy::expect_used)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod app;
pub mod broker;
pub mod bus;
pub mod cli;
pub mod config;
pub mod host;
pub mod http;
pub mod hub;
pub mod persist;
pub mod project;
pub mod wire;

//! What the hub does (hub.md). All but the blobs are clients of the bus.
//!
//! | | what it is | hub.md |
//! |---|---|---|
//! | [`api`] | functions that clients call | §7 |
//! | [`query`] | user queries: reading and writing account data | §8 |
//! | [`schema`] | the tables, as data | §9 |
//! | [`feeds`] | queries that stay open | §10 |
//! | [`settings`] | settings of the site, and the configuration document | §§4, 11 |
//! | [`blobs`] | images and attachments of documents | §5 |
//! | [`database`] | the rows in SQLite | §8.8 |
//! | [`data`] | streams and blobs for the server's own page | |
//! | [`clock`], [`system`], [`status`] | the time, statistics, the server's own page | |

pub mod api;
pub mod blobs;
pub mod clock;
pub mod data;
pub mod database;
pub mod feeds;
pub mod identity;
pub mod import;
pub mod query;
pub mod schema;
pub mod settings;
pub mod status;
pub mod system;
#[cfg(test)]
mod tests;

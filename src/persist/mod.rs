//! Streams and key-value stores (conat-persist.md).
//!
//! | | what it is | conat-persist.md |
//! |---|---|---|
//! | [`store`] | the streams themselves, in SQLite: one writer thread with group commit, readers, limits, expiry | §§8, 9 |
//! | [`sqlite`] | how a database is opened, migrated and mended; the hub uses it too | |
//! | [`service`] | the store on the bus | §§2–7, 10, 17 |
//! | [`archive`], [`backup`] | copies of streams, and of whole databases | §9.5 |
//! | [`reference`] | files of the reference implementation: import, archive, backup | §9 |
//! | [`path`] | who owns a stream, and where it is | §§2.2, 2.3 |
//! | [`client`] | the client of such a service: recovery, and the structures built on it | §§11, 12 |

pub mod archive;
pub mod backup;
pub mod client;
pub mod path;
pub mod reference;
pub mod service;
pub mod sqlite;
pub mod store;

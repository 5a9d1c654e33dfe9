//! The client of a persist service (conat-persist.md §§11–13). It works over any client of the bus.
//!
//! [`Persist`] opens what there is:
//!
//! | | what it is | conat-persist.md |
//! |---|---|---|
//! | [`Connection`] | one stream's socket, made anew when it is lost; requests, change feeds | §§3, 6, 7, 11 |
//! | [`CoreStream`] | a copy of a stream that follows it | §12.1 |
//! | [`DStream`] | a copy to append to, also while the server is away | §12.2 |
//! | [`Dkv`] | a key-value store, written locally at once and saved later | §12.3 |
//! | [`Dko`] | a store of objects whose fields are saved one by one | §12.4 |
//! | [`Akv`], [`AStream`] | the same data without a copy, one request for each operation | §12.5 |
//! | [`InventoryOptions`] | the list of an owner's streams that older clients keep | §12.6 |
//! | [`names`] | what older and newer clients call their tables | §13 |
//!
//! # Bounds
//!
//! | what | bound | when it is full |
//! |---|---|---|
//! | a copy | [`Bounds::copy_bytes`] | the oldest messages without key leave it and can be loaded again; if keys alone are too much, the structure closes with [`Error::TooLarge`] |
//! | changes for a reader of a feed | [`Bounds::feed_items`], [`Bounds::feed_bytes`] | the reader gets what waits, then an error; copies load what they missed |
//! | feed while catching up | [`Bounds::feed_bytes`] | the socket is made anew |
//! | notices of changes | [`Bounds::notices`] | the reader is told how many it has missed ([`Change::Missed`]) and looks at the whole |
//! | written, not saved | [`Bounds::unsaved`], [`Bounds::unsaved_bytes`] | writes fail with [`Error::Full`] |
//! | a `setMany` | 500 messages, 8 MB | the rest goes into the next |
//!
//! Followers ([`CoreStream::follow`]) have no queue: they read the copy at their own pace.

mod akv;
mod astream;
mod commands;
mod connection;
mod core;
mod dko;
mod dkv;
mod dstream;
mod error;
mod inventory;
mod locator;
mod message;
pub mod names;
mod notices;
mod options;
mod persist;
mod records;
mod retry;

pub use self::{
    akv::Akv,
    astream::{AStream, ChangeFeed},
    connection::{Connection, Feed, FeedItem, GetAll, Phase, Snapshot},
    core::{Change, Changes, CoreStream, Follower, HistoryGap, StreamOptions},
    dko::{Dko, Object, ObjectChanges},
    dkv::{Conflict, Dkv, DkvOptions, Merge, Refused, SetOptions},
    dstream::{DStream, PublishOptions, Receipt, Rejection},
    error::Error,
    inventory::{InventoryOptions, StreamKind},
    message::{Event, Message, TOMBSTONE, Write},
    notices::{Notice, Notices},
    options::{Bounds, Options, Pace, Storage, Times},
    persist::Persist,
};
pub use crate::persist::{
    path::Owner,
    store::{Assigned, Deletion, Inventory},
};

/// What an operation of the client gives.
pub type Result<T, E = Error> = std::result::Result<T, E>;

//! The streams themselves (conat-persist.md §§8, 9).
//!
//! A [`Store`] is a directory's `streams.db`. A [`Stream`] is a handle of an open stream; handles of one path share an
//! instance, which ends some time after the last handle has gone (§3.3).
//!
//! Writes of a stream are carried out in the order in which they were begun, all writes by one thread, many to a
//! transaction; each is answered after its commit. Events come after the commit, in its order.
//!
//! ```text
//! Stream ──► queue ──► writer ──► engine ──► streams.db ◄── checkpointer
//!    ▲ └──► reader, pages ──────────────────────►│
//!    └── feed ◄── instance ◄── writer            (ephemeral streams: the same, in memory)
//! ```
//!
//! A transaction that fails as a whole is undone, what is known of its streams is read anew, and each of its writes gets a
//! transaction of its own, until one fails because of the disk. Nothing of it is acknowledged, and no number is lost.
//!
//! What it takes of memory is bounded: see [`Tuning`]. Besides, a write is in memory once, as its caller gave it, until it is
//! answered; SQLite gets it in pieces of 1 MiB. A read gives each value as one buffer.

mod checkpointer;
mod engine;
mod error;
mod feed;
mod health;
mod inspect;
mod instance;
mod limits;
mod listing;
mod message;
mod observer;
mod options;
mod pages;
mod payload;
mod queue;
mod reader;
mod registry;
mod row;
mod schema;
mod size;
mod stats;
mod stream;
mod summary;
#[cfg(test)]
mod tests;
mod work;
mod writer;

pub use error::Error;
pub use feed::{Change, Event, Feed, FeedBounds, FeedEnd};
pub use health::{Health, Refusing};
pub use inspect::Inspected;
pub use listing::{ListOrder, ListQuery, Listed, Listing};
pub use message::{
    Adopted, Assigned, Checkpoint, Checkpoints, Deletion, Header, Inventory, NewCheckpoint, Set, Stored,
};
pub use observer::Observer;
pub use options::{Clock, OpenOptions, StoreOptions, Tuning};
pub use pages::{Pages, Range};
pub use registry::Store;
pub use schema::SCHEMA;
pub use stats::Stats;
pub use stream::{Pending, Selector, Stream};
pub use summary::{StreamSummary, Summaries, SummaryQuery, Totals};

/// What an operation of the store gives.
pub type Result<T, E = Error> = std::result::Result<T, E>;

//! The streams themselves (conat-persist.md §§8, 9).
//!
//! A [`Store`] is a directory's `streams.db`. A [`Stream`] is a handle of an open stream; handles of one path share an
//! instance, which ends some time after the last handle has gone (§3.3).
//!
//! Writes of a stream are carried out in the order in which they were begun, all writes by one thread, many to a
//! transaction; each is answered after its commit. Events come after the commit, in its order.

mod error;
mod feed;
mod message;
mod stream;

pub use error::Error;
pub use feed::{Change, Event, Feed, FeedBounds, FeedEnd};
pub use message::{Assigned, Checkpoint, Checkpoints, Deletion, Inventory, NewCheckpoint, Set, Stored};
pub use stream::{
    OpenOptions, Pages, Pending, Range, Selector, Store, StoreOptions, Stream, StreamSummary, Summaries, SummaryQuery,
};

/// What an operation of the store gives.
pub type Result<T, E = Error> = std::result::Result<T, E>;

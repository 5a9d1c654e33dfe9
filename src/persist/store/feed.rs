//! Changes of a stream, as they are committed (§7).

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::message::{Checkpoints, Stored};

/// A change.
#[derive(Debug)]
pub enum Change {
    /// A message was stored.
    Set {
        /// It.
        stored: Stored,
        /// The id its writer gave it.
        msg_id: Option<Arc<str>>,
    },
    /// Messages were deleted.
    Delete(Vec<u64>),
    /// The metadata were set, or cleared.
    Metadata(Option<serde_json::Value>),
    /// The checkpoints changed; these are all.
    Checkpoints(Checkpoints),
}

/// A change, shared by all who hear of it.
#[derive(Debug)]
pub struct Event {
    /// What happened.
    pub change: Change,
    /// Its encoding on the wire, made by the first who needs it.
    pub encoded: OnceLock<Bytes>,
}

/// How much may wait for the reader of a feed.
#[derive(Clone, Copy, Debug)]
pub struct FeedBounds {
    /// Events.
    pub events: usize,
    /// Bytes of payloads and headers.
    pub bytes: usize,
}

/// Why a feed has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeedEnd {
    /// The reader was too slow: what waited exceeded the bounds.
    Slow,
    /// The store is closed.
    Closed,
}

/// The changes of a stream from a moment on.
#[derive(Debug)]
pub struct Feed {}

impl Feed {
    /// The next change. Waits for it.
    ///
    /// # Errors
    /// The feed has ended.
    pub async fn next(&mut self) -> Result<Arc<Event>, FeedEnd> {
        todo!()
    }

    /// The next change, if there is one already.
    pub fn try_next(&mut self) -> Option<Arc<Event>> {
        todo!()
    }
}

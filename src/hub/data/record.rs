//! Messages as the page gets them.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::persist::store::{Listed, Listing, Stored};

/// A message, and the start of its value.
#[derive(Debug, Serialize)]
pub(super) struct Record {
    seq: u64,
    time: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<Arc<str>>,
    encoding: u8,
    /// Length of the whole value.
    size: u64,
    #[serde(serialize_with = "bin")]
    raw: Bytes,
    #[serde(skip_serializing_if = "Option::is_none")]
    headers: Option<Value>,
}

/// A part of a list.
#[derive(Debug, Serialize)]
pub(super) struct Records {
    total: u64,
    messages: Vec<Record>,
}

/// Bytes.
#[derive(Debug)]
pub(super) struct Part(pub(super) Bytes);

impl Serialize for Part {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl Record {
    /// A stored message with at most so many bytes of its value.
    pub(super) fn of(stored: &Stored, at_most: usize) -> Record {
        Record {
            seq: stored.seq,
            time: stored.time,
            key: stored.key.clone(),
            encoding: stored.encoding,
            size: stored.raw.len() as u64,
            // A copy: a slice would keep the whole value in memory.
            raw: stored.raw.get(..at_most).map_or_else(|| stored.raw.clone(), Bytes::copy_from_slice),
            headers: object(stored.headers.as_deref()),
        }
    }

    /// Bytes that are kept for it, about.
    pub(super) fn weight(&self) -> usize {
        self.raw.len() + self.key.as_deref().map_or(0, str::len) + 64
    }
}

impl From<Listing> for Record {
    fn from(listing: Listing) -> Record {
        let Listing { seq, time, key, encoding, bytes, head, headers } = listing;
        Record { seq, time, key, encoding, size: bytes, raw: head, headers: object(headers.as_deref()) }
    }
}

impl Records {
    pub(super) fn of(listed: Listed) -> Records {
        Records { total: listed.total, messages: listed.messages.into_iter().map(Record::from).collect() }
    }
}

/// Headers from their text.
fn object(text: Option<&str>) -> Option<Value> {
    text.and_then(|text| serde_json::from_str(text).ok())
}

fn bin<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(bytes)
}

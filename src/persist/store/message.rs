//! Messages, and what is asked of and told about them.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;

/// A stored message (§5.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its number, from 1.
    pub seq: u64,
    /// When it was written, in ms since the epoch.
    pub time: u64,
    /// Its key.
    pub key: Option<Arc<str>>,
    /// 0 MessagePack, 1 JSON.
    pub encoding: u8,
    /// The payload.
    pub raw: Bytes,
    /// The user's headers: the compact JSON text of an object.
    pub headers: Option<Arc<str>>,
}

/// A message that keeps the number and the time it was given elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adopted {
    /// The message.
    pub stored: Stored,
    /// Its time to live, in ms.
    pub ttl: Option<u64>,
}

/// What a stream has beside its messages.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Header {
    /// The last number that was assigned.
    pub last_seq: u64,
    /// The fields of the configuration that differ from the default.
    pub config: serde_json::Map<String, serde_json::Value>,
    /// The metadata.
    pub metadata: Option<serde_json::Value>,
    /// The checkpoints.
    pub checkpoints: Checkpoints,
}

/// A write (§§6.1, 8.8).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Set {
    /// 0 MessagePack, 1 JSON.
    pub encoding: u8,
    /// The payload.
    pub raw: Bytes,
    /// The user's headers: the compact JSON text of an object.
    pub headers: Option<Arc<str>>,
    /// The key.
    pub key: Option<Arc<str>>,
    /// Time to live, in ms.
    pub ttl: Option<u64>,
    /// Compare-and-set (§8.3). A number that is no sequence number never matches.
    pub previous_seq: Option<u64>,
    /// De-duplication (§8.4).
    pub msg_id: Option<Arc<str>>,
    /// A checkpoint to write with the message (§17.4).
    pub checkpoint: Option<NewCheckpoint>,
}

/// What a message was given when it was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assigned {
    /// Its number.
    pub seq: u64,
    /// Its time, in ms since the epoch.
    pub time: u64,
}

/// What to delete (§6.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deletion {
    /// Everything.
    All,
    /// Everything up to and including this number.
    UpTo(u64),
    /// One.
    One(u64),
    /// These.
    These(Vec<u64>),
    /// Nothing was selected.
    Nothing,
}

/// What a stream holds (§6.8).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    /// Sum of the sizes (§8.6).
    pub bytes: u64,
    /// Messages.
    pub count: u64,
    /// The largest stored number, or 0.
    pub seq: u64,
    /// Fields of the configuration that differ from the default: a JSON object.
    pub limits: serde_json::Map<String, serde_json::Value>,
}

/// A named place in a stream (§17.4).
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// The message.
    pub seq: u64,
    /// When it was set, in ms since the epoch.
    pub time: u64,
    /// Anything.
    pub data: Option<serde_json::Value>,
}

/// A checkpoint to be written.
#[derive(Clone, Debug, PartialEq)]
pub struct NewCheckpoint {
    /// Its name.
    pub name: String,
    /// The message; with a write, by default the new one.
    pub seq: Option<u64>,
    /// By default that of the message, or now.
    pub time: Option<u64>,
    /// Anything.
    pub data: Option<serde_json::Value>,
}

/// All checkpoints of a stream.
pub type Checkpoints = BTreeMap<String, Checkpoint>;

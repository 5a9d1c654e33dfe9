//! Messages as they are read and written.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use super::{Error, Result};
use crate::{
    bus::{JSON, MSGPACK},
    wire::msgpack,
};

/// The header of a message that says that its key is deleted.
pub const TOMBSTONE: &str = "CN-Tombstone";

/// A message of a stream (§5.5).
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Its number, from 1.
    pub seq: u64,
    /// When it was stored, in ms since the epoch.
    pub time: u64,
    /// Its key.
    pub key: Option<Arc<str>>,
    /// 0 MessagePack, 1 JSON.
    pub encoding: u64,
    /// The payload.
    pub raw: Bytes,
    /// The user's headers.
    pub headers: Option<Arc<Map<String, Value>>>,
}

impl Message {
    /// Decodes the payload.
    ///
    /// # Errors
    /// It is malformed, or not a `T`.
    pub fn value<T: DeserializeOwned>(&self) -> Result<T> {
        match self.encoding {
            MSGPACK => Ok(msgpack::decode(&self.raw)?),
            JSON => serde_json::from_slice(&self.raw).map_err(|error| Error::Answer(error.to_string())),
            other => Err(Error::Answer(format!("unknown encoding {other}"))),
        }
    }

    /// The payload as JSON, for people.
    ///
    /// # Errors
    /// It is malformed.
    pub fn to_json(&self) -> Result<Value> {
        match self.encoding {
            MSGPACK => Ok(msgpack::to_json(&msgpack::decode_value(&self.raw)?)),
            _ => self.value(),
        }
    }

    /// One header.
    pub fn header(&self, name: &str) -> Option<&Value> {
        self.headers.as_ref()?.get(name)
    }

    /// Whether it says that its key is deleted.
    pub fn is_tombstone(&self) -> bool {
        self.header(TOMBSTONE) == Some(&Value::Bool(true))
    }

    /// Roughly what it takes in memory.
    pub(super) fn bytes(&self) -> usize {
        const OVERHEAD: usize = 160;
        let key = self.key.as_ref().map_or(0, |key| key.len());
        let headers = self.headers.as_ref().map_or(0, |headers| headers_bytes(headers));
        OVERHEAD + self.raw.len() + key + headers
    }
}

pub(super) fn headers_bytes(headers: &Map<String, Value>) -> usize {
    fn size(value: &Value) -> usize {
        32 + match value {
            Value::String(text) => text.len(),
            Value::Array(items) => items.iter().map(size).sum(),
            Value::Object(fields) => headers_bytes(fields),
            _ => 0,
        }
    }
    headers.iter().map(|(name, value)| 32 + name.len() + size(value)).sum()
}

/// A change of a stream (§7).
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A message was stored.
    Set {
        /// It.
        message: Message,
        /// The id its writer gave it; unknown when the event was missed and caught up with.
        msg_id: Option<Box<str>>,
    },
    /// Messages were deleted.
    Delete(Vec<u64>),
}

impl Event {
    pub(super) fn bytes(&self) -> usize {
        match self {
            Event::Set { message, .. } => message.bytes(),
            Event::Delete(seqs) => 64 + seqs.len() * 8,
        }
    }
}

/// A message to be written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Write {
    /// The payload, in MessagePack.
    pub payload: Bytes,
    /// The key.
    pub key: Option<Arc<str>>,
    /// The user's headers.
    pub headers: Option<Arc<Map<String, Value>>>,
    /// Time to live; needs `allow_msg_ttl`.
    pub ttl: Option<Duration>,
    /// The number of the key's message that this one is to replace; otherwise the write fails.
    pub previous_seq: Option<u64>,
    /// What tells a repeated write from another; one is made up when there is none.
    pub msg_id: Option<Arc<str>>,
    /// A checkpoint to be written with it (newer servers): `{name, seq?, time?, data?}`.
    pub checkpoint: Option<Value>,
}

impl Write {
    /// A value.
    ///
    /// # Errors
    /// It can't be encoded.
    pub fn value<T: Serialize + ?Sized>(value: &T) -> Result<Write> {
        Ok(Write { payload: msgpack::encode(value)?.into(), ..Write::default() })
    }

    /// What deletes a key: readers take it for absent, and it goes by itself after a while (§12.1).
    pub fn tombstone(key: &str, ttl: Option<Duration>) -> Write {
        let mut headers = Map::new();
        headers.insert(TOMBSTONE.into(), true.into());
        Write {
            payload: Bytes::from_static(&[0xc0]),
            key: Some(key.into()),
            headers: Some(Arc::new(headers)),
            ttl,
            ..Write::default()
        }
    }

    /// With a key.
    #[must_use]
    pub fn key(self, key: &str) -> Write {
        Write { key: Some(key.into()), ..self }
    }

    /// With headers.
    #[must_use]
    pub fn headers(self, headers: Map<String, Value>) -> Write {
        Write { headers: Some(Arc::new(headers)), ..self }
    }

    /// With a time to live.
    #[must_use]
    pub fn ttl(self, ttl: Duration) -> Write {
        Write { ttl: Some(ttl), ..self }
    }

    /// With compare-and-set.
    #[must_use]
    pub fn previous_seq(self, seq: u64) -> Write {
        Write { previous_seq: Some(seq), ..self }
    }

    pub(super) fn ttl_ms(&self) -> Option<u64> {
        self.ttl.map(|ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX))
    }

    pub(super) fn bytes(&self) -> usize {
        let key = self.key.as_ref().map_or(0, |key| key.len());
        128 + self.payload.len() + key + self.headers.as_ref().map_or(0, |headers| headers_bytes(headers))
    }
}

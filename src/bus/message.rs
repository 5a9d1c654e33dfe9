//! A message as a reader gets it (conat-wire.md §§5, 10).

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

use super::{Error, core::Core, publish::Published};
use crate::wire::msgpack;

/// Payloads in MessagePack.
pub const MSGPACK: u64 = 0;
/// Payloads in JSON.
pub const JSON: u64 = 1;

/// The header that makes a message a request: where the response goes.
pub const REPLY: &str = "CN-Reply";

/// How long an acknowledged response may take, the wait for interest included.
const RESPOND_TIMEOUT: Duration = Duration::from_secs(30);

/// What was delivered, without the way to answer it.
#[derive(Clone, Debug)]
pub(super) struct Delivered {
    pub subject: Arc<str>,
    pub encoding: u64,
    pub payload: Bytes,
    pub headers: Option<Arc<Value>>,
    /// What placeholders in the headers stand for, if there are any.
    pub attachments: Option<Arc<[Bytes]>>,
}

impl Delivered {
    /// Bytes it holds, for the bounds of queues.
    pub fn bytes(&self) -> usize {
        const OVERHEAD: usize = 64;
        // Headers are parsed JSON; a rough count of theirs is enough.
        OVERHEAD + self.payload.len() + self.headers.as_ref().map_or(0, |h| rough_size(h)) + self.attached()
    }

    fn attached(&self) -> usize {
        self.attachments.as_ref().map_or(0, |all| all.iter().map(Bytes::len).sum())
    }
}

fn rough_size(value: &Value) -> usize {
    const NODE: usize = 32;
    NODE + match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(rough_size).sum(),
        Value::Object(map) => map.iter().map(|(key, value)| key.len() + rough_size(value)).sum(),
        _ => 0,
    }
}

/// A message that was received.
#[derive(Clone, Debug)]
pub struct Message {
    delivered: Delivered,
    core: Arc<Core>,
}

impl Message {
    pub(super) fn new(delivered: Delivered, core: Arc<Core>) -> Message {
        Message { delivered, core }
    }

    /// The subject it was published to.
    pub fn subject(&self) -> &str {
        &self.delivered.subject
    }

    /// The payload as it was sent.
    pub fn payload(&self) -> &Bytes {
        &self.delivered.payload
    }

    /// How the payload is encoded: [`MSGPACK`] or [`JSON`].
    pub fn encoding(&self) -> u64 {
        self.delivered.encoding
    }

    /// The headers, if there are any.
    pub fn headers(&self) -> Option<&Value> {
        self.delivered.headers.as_deref()
    }

    /// One header.
    pub fn header(&self, name: &str) -> Option<&Value> {
        self.headers()?.get(name)
    }

    /// One header that is a string.
    pub fn header_str(&self, name: &str) -> Option<&str> {
        self.header(name)?.as_str()
    }

    /// One header that is binary. In [`Message::headers`] a placeholder stands for it, `{"_placeholder": true, "num": n}`
    /// (§§2.5, 21.9).
    pub fn header_bytes(&self, name: &str) -> Option<&Bytes> {
        let header = self.header(name)?;
        let number = header.get("num").filter(|_| header.get("_placeholder") == Some(&Value::Bool(true)))?;
        self.delivered.attachments.as_ref()?.get(usize::try_from(number.as_u64()?).ok()?)
    }

    /// The same message with other headers.
    pub(super) fn with_headers(mut self, headers: Option<Value>) -> Message {
        self.delivered.headers = headers.map(Arc::new);
        self
    }

    /// A message of the same origin with another content.
    pub(super) fn sibling(&self, encoding: u64, payload: Bytes, headers: Value) -> Message {
        let delivered = Delivered {
            subject: self.delivered.subject.clone(),
            encoding,
            payload,
            headers: Some(Arc::new(headers)),
            attachments: None,
        };
        Message { delivered, core: self.core.clone() }
    }

    /// Decodes the payload.
    ///
    /// # Errors
    /// The payload is malformed or not a `T`.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, Error> {
        decode(self.encoding(), self.payload())
    }

    /// The payload as JSON, for people: bytes become base64, dates ISO 8601.
    ///
    /// # Errors
    /// The payload is malformed.
    pub fn to_json(&self) -> Result<Value, Error> {
        match self.encoding() {
            MSGPACK => Ok(msgpack::to_json(&msgpack::decode_value(self.payload())?)),
            encoding => decode(encoding, self.payload()),
        }
    }

    /// Whether this is a request, which can be answered.
    pub fn is_request(&self) -> bool {
        self.reply_subject().is_some()
    }

    /// Where the response goes.
    pub fn reply_subject(&self) -> Option<&str> {
        self.header_str(REPLY)
    }

    /// Answers a request, waiting until the answer has got to the requester's connection. Answering a message that is no
    /// request does nothing.
    ///
    /// # Errors
    /// The requester is gone, or the connection is.
    pub async fn respond<T: Serialize + ?Sized>(&self, value: &T) -> Result<Published, Error> {
        self.respond_with(value, None, RESPOND_TIMEOUT).await
    }

    /// Answers a request with headers; `timeout` includes the time to wait for the requester's inbox.
    ///
    /// # Errors
    /// See [`Message::respond`].
    pub async fn respond_with<T: Serialize + ?Sized>(
        &self,
        value: &T,
        headers: Option<Value>,
        timeout: Duration,
    ) -> Result<Published, Error> {
        let Some(reply) = self.reply_subject() else { return Ok(Published::default()) };
        let payload = msgpack::encode(value)?.into();
        self.core.publish_waiting(reply, MSGPACK, payload, headers, timeout).await
    }

    /// Answers a request with a payload that is encoded already.
    ///
    /// # Errors
    /// See [`Message::respond`].
    pub async fn respond_bytes(&self, encoding: u64, payload: Bytes) -> Result<Published, Error> {
        let Some(reply) = self.reply_subject() else { return Ok(Published::default()) };
        self.core.publish_waiting(reply, encoding, payload, None, RESPOND_TIMEOUT).await
    }

    /// Answers a request without waiting for anything.
    ///
    /// # Errors
    /// The value can't be encoded, or the client is closed.
    pub fn respond_sync<T: Serialize + ?Sized>(&self, value: &T) -> Result<(), Error> {
        self.respond_sync_with(value, None)
    }

    /// Answers a request with headers, without waiting for anything.
    ///
    /// # Errors
    /// See [`Message::respond_sync`].
    pub fn respond_sync_with<T: Serialize + ?Sized>(&self, value: &T, headers: Option<Value>) -> Result<(), Error> {
        let Some(reply) = self.reply_subject() else { return Ok(()) };
        self.core.publish_sync(reply, MSGPACK, msgpack::encode(value)?.into(), headers)
    }

    /// Answers a request with an error: body nil, headers `error` and `error_attrs` (§10.4).
    ///
    /// # Errors
    /// See [`Message::respond`].
    pub async fn respond_error(&self, message: &str, code: impl Into<super::Code>) -> Result<Published, Error> {
        let headers = Error::failure(message, code).to_headers();
        self.respond_with(&(), Some(headers), RESPOND_TIMEOUT).await
    }

    /// Answers a request with what came of it: the value, or the error in the headers.
    ///
    /// # Errors
    /// See [`Message::respond`].
    pub async fn respond_result<T: Serialize>(&self, result: Result<T, Error>) -> Result<Published, Error> {
        match result {
            Ok(value) => self.respond(&value).await,
            Err(error) => self.respond_with(&(), Some(error.to_headers()), RESPOND_TIMEOUT).await,
        }
    }
}

/// Decodes a payload.
pub(super) fn decode<T: DeserializeOwned>(encoding: u64, payload: &[u8]) -> Result<T, Error> {
    match encoding {
        MSGPACK => Ok(msgpack::decode(payload)?),
        JSON => serde_json::from_slice(payload).map_err(|e| Error::Encoding(e.to_string())),
        other => Err(Error::Encoding(format!("unknown encoding {other}"))),
    }
}

/// Puts a header in front of others. Headers that are no object are kept beside it under `headers`.
pub(super) fn add_header(headers: Option<Value>, name: &str, value: Value) -> Value {
    let mut map = match headers {
        Some(Value::Object(map)) => map,
        None | Some(Value::Null) => Map::new(),
        Some(other) => {
            let mut map = Map::new();
            map.insert("headers".into(), other);
            map
        }
    };
    map.insert(name.into(), value);
    json!(map)
}

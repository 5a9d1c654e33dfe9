//! Direct calls of services past the interest table, both roles (conat-wire.md §§20.5, 20.12).

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use foldhash::fast::RandomState;
use parking_lot::Mutex;
use serde_json::Value;
use smallvec::smallvec;

use super::{Code, Error, message::MSGPACK, queue::Queue};
use crate::{
    broker::rpc::{CallKind, Fields},
    wire::{frame::Attachments, json, socketio::MAX_ATTACHMENTS},
};

/// Nil in MessagePack.
const NIL: &[u8] = &[0xc0];

/// A call for a service of this client.
pub(super) struct IncomingCall {
    pub subject: Arc<str>,
    pub pattern: Arc<str>,
    pub kind: CallKind,
    pub body: Fields,
    pub reply: Box<dyn FnOnce(Fields) + Send + Sync>,
}

impl std::fmt::Debug for IncomingCall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IncomingCall").field("subject", &self.subject).field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl IncomingCall {
    /// The MessagePack in `payload.raw` of a typed call.
    pub fn payload(&self) -> Option<&Bytes> {
        (self.kind == CallKind::FastRpc).then(|| self.body.attachments.first())?
    }

    /// Answers with MessagePack in `raw`.
    pub fn respond(self, raw: Bytes, handler_ms: u64) {
        let text = format!(r#""raw":{{"_placeholder":true,"num":0}},"serviceHandlerMs":{handler_ms}"#).into_bytes();
        (self.reply)(Fields { text, attachments: smallvec![raw] });
    }

    /// The encoding and the bytes of an untyped call.
    pub fn body(&self) -> Option<(u64, &Bytes)> {
        let text = format!("{{{}}}", String::from_utf8_lossy(&self.body.text));
        let body: Value = serde_json::from_str(&text).ok()?;
        Some((body.get("encoding")?.as_u64()?, attachment(&body, &self.body.attachments)?))
    }

    /// Answers an untyped call: with MessagePack, or with the error in headers (§15.1).
    pub fn respond_untyped(self, result: Result<Bytes, Error>) {
        let (raw, headers) = match result {
            Ok(raw) => (raw, String::new()),
            Err(error) => (Bytes::from_static(NIL), format!(r#","headers":{}"#, error.to_headers())),
        };
        let text = format!(r#""encoding":{MSGPACK},"raw":{{"_placeholder":true,"num":0}}{headers}"#).into_bytes();
        (self.reply)(Fields { text, attachments: smallvec![raw] });
    }

    /// Answers with an error.
    pub fn fail(self, error: &Error) {
        (self.reply)(error_fields(&error.to_string(), error.code()));
    }

    /// Answers a typed call with the error of a method that was called.
    pub fn fail_after(self, error: &Error, handler_ms: u64) {
        let mut fields = error_fields(&error.to_string(), error.code());
        fields.text.extend_from_slice(format!(r#","serviceHandlerMs":{handler_ms}"#).as_bytes());
        (self.reply)(fields);
    }
}

fn error_fields(message: &str, code: Option<Code>) -> Fields {
    let mut text = br#""error":"#.to_vec();
    json::push_string(&mut text, message);
    if let Some(code) = code {
        text.extend_from_slice(format!(r#","code":{}"#, code.to_json()).as_bytes());
    }
    Fields { text, attachments: Attachments::new() }
}

/// The body of a typed call.
pub(super) fn call_fields(raw: Bytes) -> Fields {
    Fields { text: br#""payload":{"raw":{"_placeholder":true,"num":0}}"#.to_vec(), attachments: smallvec![raw] }
}

/// Reads the answer of a typed call: the MessagePack in `raw`, or the error.
pub(super) fn read_answer(fields: &Fields) -> Result<Bytes, Error> {
    let text = format!("{{{}}}", String::from_utf8_lossy(&fields.text));
    let answer: Value = serde_json::from_str(&text).map_err(|e| Error::Answer(e.to_string()))?;
    if let Some(error) = Error::from_headers(&answer) {
        return Err(error);
    }
    attachment(&answer, &fields.attachments)
        .cloned()
        .ok_or_else(|| Error::Answer("a call was answered without a result".into()))
}

/// The attachment that stands for the field `raw`.
fn attachment<'a>(object: &Value, attachments: &'a Attachments) -> Option<&'a Bytes> {
    let number = object.pointer("/raw/num").and_then(Value::as_u64).filter(|n| *n < MAX_ATTACHMENTS as u64)?;
    attachments.get(number as usize)
}

#[derive(Debug)]
struct Service {
    queue_group: Arc<str>,
    calls: Arc<Queue<IncomingCall>>,
}

/// Services of this client that can be called directly.
#[derive(Debug, Default)]
pub(super) struct Calls {
    services: Mutex<HashMap<Arc<str>, Service, RandomState>>,
}

impl Calls {
    /// Registers where calls of a pattern go. A pattern has one service per client.
    pub fn insert(&self, pattern: &str, queue_group: &str, calls: Arc<Queue<IncomingCall>>) -> Result<(), Error> {
        let mut services = self.services.lock();
        if services.contains_key(pattern) {
            return Err(Error::message(format!("a service on '{pattern}' is registered already")));
        }
        services.insert(pattern.into(), Service { queue_group: queue_group.into(), calls });
        Ok(())
    }

    pub fn remove(&self, pattern: &str) {
        self.services.lock().remove(pattern);
    }

    /// Patterns and queues of all services.
    pub fn registered(&self) -> Vec<(Arc<str>, Arc<str>)> {
        self.services.lock().iter().map(|(pattern, s)| (pattern.clone(), s.queue_group.clone())).collect()
    }

    /// Passes a call on. The queue is as long as the service takes calls at a time, so a call that does not fit finds the
    /// service busy.
    pub fn receive(&self, call: IncomingCall) {
        let service = self.services.lock().get(&*call.pattern).map(|s| s.calls.clone());
        match service {
            None => call.fail(&Error::failure("no services matching", 503)),
            Some(calls) if calls.depth().0 >= MAX_QUEUED => {
                let busy = format!("service '{}' is busy", call.pattern);
                call.fail(&Error::failure(busy, 503));
            }
            Some(calls) => {
                let bytes = call.body.text.len() + call.body.attachments.iter().map(Bytes::len).sum::<usize>();
                calls.push(call, bytes);
            }
        }
    }

    pub fn close(&self) {
        for (_, service) in std::mem::take(&mut *self.services.lock()) {
            service.calls.close(Error::Closed);
        }
    }
}

/// Calls that may wait for a service, beside those it works on.
pub(super) const MAX_QUEUED: usize = 128;

//! Calls past the interest table, for callers and for services, and what finishes later (conat-wire.md §20.5).

use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    Pending, Session,
    events::{milliseconds, text_field},
    packet::{self, Answer},
};
use crate::{
    broker::{
        CallError, Refusal,
        rpc::{CallKind, Fields, RpcCall},
    },
    wire::{frame::Attachments, json::Raw, subject::is_valid_subject},
};

/// Calls that a service may owe an answer.
const MAX_PENDING: usize = 100_000;
/// Longest id a caller may give its call; those of clients have ten characters.
const MAX_REQUEST_ID_BYTES: usize = 1024;
/// Fields that the server sets itself in answers.
const OWN_FIELDS: [&str; 6] =
    ["requestId", "count", "serverAuthMs", "serverRouteMs", "serverHandlerMs", "serverTargetAckMs"];

/// Who is waiting for the answer of a call.
#[derive(Debug)]
pub enum Caller {
    /// Acknowledge this event.
    Ack(u64),
    /// Send `rpc-raw-response` with this request id.
    Raw(String),
}

/// Something that ran beside the events has ended.
#[derive(Debug)]
pub enum Finished {
    /// A wait for interest.
    Interest {
        /// The event to acknowledge.
        id: u64,
        /// Whether there is interest.
        found: bool,
    },
    /// A call: fields of the answer.
    Called(Caller, Fields),
    /// A raw call whose service went away: the entry vanishes silently.
    Vanished,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> {
    pub(super) fn answer_finished(&mut self, finished: Finished) {
        match finished {
            Finished::Interest { id, found } => self.acknowledge(Some(id), Value::Bool(found).into()),
            Finished::Called(caller, fields) => self.answer_call(caller, fields),
            Finished::Vanished => {}
        }
    }

    fn answer_call(&mut self, caller: Caller, fields: Fields) {
        match caller {
            Caller::Ack(id) => self.acknowledge(Some(id), Answer::Object(fields)),
            Caller::Raw(id) => {
                self.enqueue(packet::object_event("rpc-raw-response", None, &[("requestId", &id)], &fields));
            }
        }
    }

    /// `rpc`, `fast-rpc`, `rpc-raw` from a caller.
    pub(super) fn call(
        &mut self,
        kind: CallKind,
        id: Option<u64>,
        argument: Option<Raw<'_>>,
        attachments: Attachments,
    ) {
        let started = Instant::now();
        let Some(argument) = argument.filter(Raw::is_object) else {
            return self.acknowledge(id, packet::error("invalid argument", Some(400)).into());
        };
        let request_id = text_field(argument, "requestId");
        let caller = match (kind, id, &request_id) {
            (CallKind::RpcRaw, _, Some(request)) if request.len() <= MAX_REQUEST_ID_BYTES => {
                Caller::Raw(request.clone())
            }
            (CallKind::RpcRaw, id, _) => {
                let error = packet::error("requestId must be a string of at most 1024 bytes", Some(400));
                return match id {
                    Some(_) => self.acknowledge(id, error.into()),
                    None => self.enqueue(packet::event("rpc-raw-response", None, &error)),
                };
            }
            (_, Some(id), _) => Caller::Ack(id),
            // Without an acknowledgement nobody would hear the answer.
            (_, None, _) => return,
        };
        let timeout = argument.field("timeout").and_then(|t| t.as_f64()).filter(|ms| *ms > 0.0).map(milliseconds);
        let max_wait = self.broker.limits().max_wait;
        let timeout = timeout.unwrap_or(max_wait).min(max_wait);
        let is_body = |name: &str| match kind {
            CallKind::FastRpc => name == "payload",
            CallKind::Rpc | CallKind::RpcRaw => matches!(name, "encoding" | "raw" | "headers"),
        };
        let Some(connection) = &mut self.connection else { return };
        let Some(subject) = text_field(argument, "subject").filter(|s| is_valid_subject(s)) else {
            return self.answer_call(caller, invalid_subject(kind));
        };
        let Some(body) = Fields::copy(argument, attachments, is_body) else {
            return self.answer_call(caller, Fields::error("attachments do not match their placeholders", 400));
        };
        let global_id = request_id.map(|request| format!("{}:{request}", connection.peer().sid));
        match connection.call(kind, &subject, global_id, body) {
            Ok(answer) => self.running.push(Box::pin(async move {
                let routed = started.elapsed();
                let asked = Instant::now();
                let mut fields = match tokio::time::timeout(timeout, answer).await {
                    Ok(Ok(fields)) => fields,
                    Ok(Err(_)) if kind == CallKind::RpcRaw => return Finished::Vanished,
                    // The word makes newer clients fall back to an ordinary request (§20.12).
                    Ok(Err(_)) => Fields::error(&format!("{} -- service disconnected", kind.event()), 503),
                    Err(_) => Fields::error(&format!("{} -- operation has timed out", kind.event()), 408),
                };
                add_timings(&mut fields, kind, started, routed, Some(asked.elapsed()));
                Finished::Called(caller, fields)
            })),
            Err(CallError::NoService) => {
                let text = format!("{} -- no services matching '{subject}'", kind.event());
                let mut fields = Fields::error(&text, 503);
                add_timings(&mut fields, kind, started, started.elapsed(), None);
                self.answer_call(caller, fields);
            }
            Err(CallError::Refused(refusal)) if refusal.is_denied() => {
                self.answer_call(caller, Fields::error(&format!("Error: {refusal}"), 403));
            }
            Err(CallError::Refused(Refusal::Policy(text))) => {
                self.answer_call(caller, Fields::error(&format!("Error: {text}"), 500));
            }
            Err(CallError::Refused(_)) => self.answer_call(caller, invalid_subject(kind)),
        }
    }

    /// Passes a call on to the service at this connection.
    pub(super) fn forward_call(&mut self, call: RpcCall) {
        if self.pending.len() + self.pending_raw.len() >= MAX_PENDING {
            // Callers that gave up have dropped their end.
            self.pending.retain(|_, p| !matches!(p, Pending::Call(reply) if reply.is_closed()));
            self.pending_raw.retain(|_, reply| !reply.is_closed());
            if self.pending.len() + self.pending_raw.len() >= MAX_PENDING {
                let text = format!("{} -- service '{}' is busy", call.kind.event(), call.pattern);
                // A caller that is gone does not care.
                let _ = call.reply.send(Fields::error(&text, 503));
                return;
            }
        }
        let (subject, pattern) = (&*call.subject, &*call.pattern);
        let event = call.kind.request_event();
        let packet = match call.request_id {
            Some(request) if call.kind == CallKind::RpcRaw => {
                let lead = [("requestId", request.as_str()), ("subject", subject), ("pattern", pattern)];
                let packet = packet::object_event(event, None, &lead, &call.body);
                self.pending_raw.insert(request, call.reply);
                packet
            }
            _ => {
                let id = self.next_id();
                self.pending.insert(id, Pending::Call(call.reply));
                packet::object_event(event, Some(id), &[("subject", subject), ("pattern", pattern)], &call.body)
            }
        };
        packet.write(&mut self.io);
    }

    /// An acknowledgement from the client: of `info`, or the answer of a service.
    pub(super) fn acknowledged(&mut self, id: Option<u64>, argument: Option<Raw<'_>>, attachments: Attachments) {
        match id.and_then(|id| self.pending.remove(&id)) {
            Some(Pending::Info) => self.info = None,
            Some(Pending::Call(reply)) => {
                // A caller that is gone does not care.
                let _ = reply.send(Self::service_answer(argument, attachments));
            }
            None => {}
        }
    }

    /// `rpc-raw-response` from a service. Only the connection that was asked has the request id in its table.
    pub(super) fn raw_response(&mut self, argument: Option<Raw<'_>>, attachments: Attachments) {
        let request = argument.and_then(|a| text_field(a, "requestId"));
        if let Some(reply) = request.and_then(|request| self.pending_raw.remove(&request)) {
            let _ = reply.send(Self::service_answer(argument, attachments));
        }
    }

    fn service_answer(argument: Option<Raw<'_>>, attachments: Attachments) -> Fields {
        let Some(object) = argument.filter(Raw::is_object) else {
            return Fields::error("the service gave no answer", 500);
        };
        Fields::copy(object, attachments, |name| !OWN_FIELDS.contains(&name))
            .unwrap_or_else(|| Fields::error("the service's answer was malformed", 500))
    }
}

fn invalid_subject(kind: CallKind) -> Fields {
    match kind {
        CallKind::FastRpc | CallKind::RpcRaw => Fields::error("invalid subject", 400),
        CallKind::Rpc => {
            Fields { text: br#""error":"invalid subject""#.to_vec(), attachments: packet::no_attachments() }
        }
    }
}

/// `count` unless it is an error, and how long the server took.
fn add_timings(fields: &mut Fields, kind: CallKind, started: Instant, routed: Duration, target: Option<Duration>) {
    let ms = |duration: Duration| duration.as_millis() as u64;
    if target.is_some() && !fields.text.starts_with(br#""error":"#) {
        packet::add_number(fields, "count", 1);
    }
    // The policy is asked while routing and its answer is remembered.
    packet::add_number(fields, "serverAuthMs", 0);
    packet::add_number(fields, "serverRouteMs", ms(routed));
    if let (CallKind::FastRpc, Some(target)) = (kind, target) {
        packet::add_number(fields, "serverTargetAckMs", ms(target));
    }
    packet::add_number(fields, "serverHandlerMs", ms(started.elapsed()));
}

//! What a server sends.

use std::sync::{Arc, atomic::Ordering};

use bytes::Bytes;
use serde_json::Value;
use smallvec::SmallVec;

use super::{Remote, outgoing::Packet};
use crate::{
    broker::{Direction, User, rpc::CallKind},
    bus::{
        calls::IncomingCall,
        core::Core,
        table::{Chunk, more_than_payload},
    },
    wire::{json::Raw, socketio},
};

/// Fields of `rpc…-request` that are not the call's body.
const LEAD_FIELDS: [&str; 3] = ["requestId", "subject", "pattern"];

/// What an event means for the session.
#[derive(Debug)]
pub(super) enum Event {
    /// Nothing more to do.
    Handled,
    /// `info`: who is signed in.
    Info(User),
}

/// Handles an event.
pub(super) fn receive(
    core: &Arc<Core>,
    remote: &Remote,
    packet: &socketio::Packet<'_>,
    attachments: SmallVec<[Bytes; 1]>,
) -> Result<Event, socketio::Error> {
    let event = packet.event()?;
    let (Some(name), Some(argument)) = (event.name.as_str(), event.argument) else { return Ok(Event::Handled) };
    match &*name {
        "info" => {
            if let Some(id) = packet.id {
                let answer = Packet::Answer { id, body: "[]".into(), attachments: SmallVec::new() };
                remote.outgoing.push_control(answer);
            }
            return Ok(Event::Info(info(remote, argument)));
        }
        "permission" => permission(core, argument),
        "rpc-request" => call(core, remote, CallKind::Rpc, packet.id, argument, attachments),
        "fast-rpc-request" => call(core, remote, CallKind::FastRpc, packet.id, argument, attachments),
        "rpc-raw-request" => call(core, remote, CallKind::RpcRaw, None, argument, attachments),
        pattern => {
            if let Some(chunk) = chunk(argument, &attachments) {
                core.deliver(pattern, chunk);
            }
        }
    }
    Ok(Event::Handled)
}

fn info(remote: &Remote, argument: Raw<'_>) -> User {
    let max_payload = argument.field("max_payload").and_then(|n| n.as_f64()).filter(|n| *n >= 1.0);
    if let Some(max_payload) = max_payload {
        remote.max_payload.store(max_payload as usize, Ordering::Relaxed);
    }
    let user = argument.field("user").and_then(|user| serde_json::from_str(user.text()).ok());
    User::from_json(user.unwrap_or(Value::Null))
}

fn permission(core: &Core, argument: Raw<'_>) {
    let direction = match argument.field("type").and_then(|t| t.as_str()).as_deref() {
        Some("pub") => Direction::Publish,
        Some("sub") => Direction::Subscribe,
        _ => return,
    };
    if let Some(subject) = argument.field("subject").and_then(|s| s.as_str()) {
        core.denied(direction, &subject);
    }
}

/// Reads a delivery (§5.2): elements beyond the headers are ignored, null headers are none.
fn chunk(argument: Raw<'_>, attachments: &[Bytes]) -> Option<Chunk> {
    let subject = argument.field("subject")?.as_str()?.as_ref().into();
    let mut elements = argument.field("data")?.elements()?;
    let id = elements.next()?.as_str()?.into_owned();
    let seq = elements.next()?.as_f64()? as u64;
    let done = elements.next()?.is_truthy();
    let encoding = elements.next()?.as_f64()? as u64;
    let number = elements.next()?.field("num")?.as_u64()?;
    let raw = attachments.get(usize::try_from(number).ok()?)?.clone();
    let headers = match elements.next() {
        Some(headers) if !headers.is_null() => Some(serde_json::from_str(headers.text()).ok()?),
        _ => None,
    };
    let attachments = more_than_payload(attachments);
    Some(Chunk { subject, id, seq, done, encoding, raw, headers, attachments })
}

/// A call of a service of this client (§20.5).
fn call(
    core: &Arc<Core>,
    remote: &Remote,
    kind: CallKind,
    id: Option<u64>,
    argument: Raw<'_>,
    attachments: SmallVec<[Bytes; 1]>,
) {
    let text = |name: &str| argument.field(name).and_then(|value| value.as_str()).map(|text| text.into_owned());
    let (Some(subject), Some(pattern)) = (text("subject"), text("pattern")) else { return };
    let request = text("requestId");
    let Some(body) = crate::broker::rpc::Fields::copy(argument, attachments, |name| !LEAD_FIELDS.contains(&name))
    else {
        return;
    };
    let (answering, session) = (core.clone(), remote.outgoing.session());
    let reply = move |fields: crate::broker::rpc::Fields| {
        let Some(remote) = answering.link().remote() else { return };
        let text = String::from_utf8_lossy(&fields.text).into_owned();
        let attachments = fields.attachments;
        let packet = match (id, request) {
            (Some(id), _) => Packet::Answer { id, body: format!("[{{{text}}}]"), attachments },
            (None, Some(request)) => {
                let request = serde_json::json!(request);
                let body = format!(r#"["rpc-raw-response",{{"requestId":{request},{text}}}]"#);
                Packet::Event { body, attachments, ack: None }
            }
            (None, None) => return,
        };
        remote.outgoing.push_answer(session, packet);
    };
    core.calls.receive(IncomingCall {
        subject: subject.into(),
        pattern: pattern.into(),
        kind,
        body,
        reply: Box::new(reply),
    });
}

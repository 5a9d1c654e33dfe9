//! What a client may say, event by event (conat-wire.md §6).

use std::time::Duration;

use futures_util::{FutureExt, future::select_all};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};

use super::{
    End, INFO_GIVE_UP, INFO_PAUSE, INFO_TIMEOUT, InfoRepeat, Session,
    assembling::Head,
    calls::Finished,
    packet::{self, Answer},
};
use crate::{
    broker::{Connection, Handshake, Refusal, Subscribed, User, admission::Throttled, rpc::CallKind},
    wire::{
        frame::{self, Parts, Publication},
        json::Raw,
        socketio::{Kind, Packet},
    },
};

/// Waits and calls of one connection that may run at a time.
const MAX_RUNNING: usize = 10_000;
/// Elements of an array argument, which is more than anybody may subscribe to by default.
const MAX_BATCH: usize = 32_768;
/// After the deadline of a wait the answer is held back so that the client's own clock decides first (§9).
const LATE_ANSWER: Duration = Duration::from_millis(300);
/// How long a publisher of bulk frames waits when all its readers are behind.
const RELIEF_TIMEOUT: Duration = Duration::from_secs(5);

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> {
    /// Handles a packet that is complete.
    pub(super) fn dispatch<'a>(&mut self, source: &'a str, head: Head, parts: Parts<'a>) -> Result<(), End> {
        let data = source.get(head.offset..).unwrap_or_default();
        match head.kind {
            Kind::Event => self.event(data, head, parts),
            Kind::Ack => {
                self.acknowledged(head.id, head.argument.map(|a| a.of(data)), frame::keep(parts));
                Ok(())
            }
            Kind::Disconnect => Err(End::Left),
            Kind::Connect | Kind::ConnectError => Err(End::Protocol("packet that only a server sends")),
        }
    }

    /// A packet for a namespace that does not exist (§2.4).
    pub(super) fn foreign(&mut self, packet: &Packet<'_>) -> Result<(), End> {
        if packet.kind != Kind::Connect {
            return Err(End::Protocol("packet for an unknown namespace"));
        }
        let refused = json!({"message": "Invalid namespace"});
        self.write_text(&format!("44{},{refused}", packet.namespace));
        Ok(())
    }

    /// CONNECT: names the user, counts the connection and says `info` (§§3.2–3.5).
    pub(super) fn connect(&mut self, auth: &str) -> Result<(), End> {
        if self.connection.is_some() {
            return Err(End::Protocol("CONNECT twice"));
        }
        let auth: Value = match auth {
            "" => Value::Null,
            text => serde_json::from_str(text).map_err(|_| End::Protocol("malformed CONNECT"))?,
        };
        let browser_id = auth.get("browser_id").and_then(Value::as_str).map(str::trim).filter(|id| is_browser_id(id));
        let browser_id = browser_id.map(str::to_owned);
        let handshake = Handshake {
            headers: std::mem::take(&mut self.origin.headers),
            query: std::mem::take(&mut self.origin.query),
            address: Some(self.origin.address),
            auth,
        };
        let broker = self.broker.clone();
        let signed_in = broker.authenticator.sign_in(&handshake);
        let (user, admitted) = match signed_in {
            Ok(user) => match broker.connections.admit(&user, &broker.limits()) {
                Ok(admitted) => (user, Some(admitted)),
                Err(text) => (User::failed(&text, Some(429)), None),
            },
            Err(error) => (User::failed(&format!("Error: {}", error.message), error.code), None),
        };
        let now = Instant::now();
        // A failed sign-in stays connected (hub.md §3.3), but not forever: closing makes the client try again.
        self.expires = user.is_failed().then(|| now + self.limits.connect_timeout);
        if user.is_failed() {
            broker.counters.sign_in_failures.add(1);
            tracing::info!(address = %self.origin.address, error = %user.json()["error"], "sign-in failed");
        }
        let connection = broker.connect(user, Some(self.origin.address), browser_id, admitted);
        self.write_text(&format!(r#"40{{"sid":"{}"}}"#, connection.peer().sid));
        tracing::debug!(conn = connection.peer().id, user = %connection.user().key(), "signed in");
        self.connection = Some(connection);
        self.info =
            Some(InfoRepeat { at: now + INFO_TIMEOUT + INFO_PAUSE, pause: INFO_PAUSE, give_up: now + INFO_GIVE_UP });
        self.send_info();
        Ok(())
    }

    fn event<'a>(&mut self, data: &'a str, head: Head, parts: Parts<'a>) -> Result<(), End> {
        let name = head.name.and_then(|name| name.of(data).as_str()).unwrap_or_default();
        let argument = head.argument.map(|a| a.of(data));
        let connection = self.require_connection()?;
        if let Err(throttled) = connection.admit_event(name == "subscriptions") {
            self.throttle(&name, head.id, argument, throttled);
            return Ok(());
        }
        let id = head.id;
        if name == "publish" {
            match argument.ok_or(frame::Error::Shape).and_then(|argument| Publication::decode(argument, parts)) {
                Ok(publication) => self.publish(publication, id),
                Err(error) => self.acknowledge(id, packet::error(&error.to_string(), Some(400)).into()),
            }
            return Ok(());
        }
        // Whatever this does, it does it after what was published before.
        if let Some(connection) = &mut self.connection {
            connection.hand_over(&mut self.moment);
        }
        match &*name {
            "subscribe" => self.each(id, argument, subscribe),
            "unsubscribe" => self.each(id, argument, |connection, argument| {
                if let Some(pattern) = text_field(argument, "subject") {
                    connection.unsubscribe(&pattern);
                }
                Value::Null
            }),
            "subscriptions" => {
                let patterns: Value = self.require_connection()?.subscriptions().map(|p| Value::from(&**p)).collect();
                self.acknowledge(id, patterns.into());
            }
            "wait-for-interest" => self.wait_for_interest(id, argument),
            "stats" => self.stats(argument),
            "cluster" => self.acknowledge(id, Answer::Json(json!([self.broker.address()]))),
            "rpc-service" => self.each(id, argument, register_service),
            "rpc-service-close" => self.each(id, argument, |connection, argument| {
                if let Some(pattern) = text_field(argument, "subject") {
                    connection.close_service(&pattern);
                }
                Value::Null
            }),
            "rpc" => self.call(CallKind::Rpc, id, argument, frame::keep(parts)),
            "fast-rpc" => self.call(CallKind::FastRpc, id, argument, frame::keep(parts)),
            "rpc-raw" => self.call(CallKind::RpcRaw, id, argument, frame::keep(parts)),
            "rpc-raw-response" => self.raw_response(argument, frame::keep(parts)),
            // Events the server does not know are ignored and never acknowledged (§2.6).
            _ => {}
        }
        Ok(())
    }

    /// Answers an event if the client wants an answer.
    pub(super) fn acknowledge(&mut self, id: Option<u64>, answer: Answer) {
        if let Some(id) = id {
            self.enqueue(packet::ack(id, answer));
        }
    }

    /// `publish` that was taken apart in one go.
    pub(super) fn publish_usual(&mut self, publication: Publication<'_>, id: Option<u64>) -> Result<(), End> {
        match self.require_connection()?.admit_event(false) {
            Ok(()) => self.publish(publication, id),
            Err(throttled) => self.throttle("publish", id, None, throttled),
        }
        Ok(())
    }

    fn publish(&mut self, publication: Publication<'_>, id: Option<u64>) {
        let Some(connection) = &mut self.connection else { return };
        match connection.publish_read(publication, id, &mut self.moment) {
            Ok(congested) if congested.is_empty() => {}
            Ok(congested) => {
                let reliefs = congested.into_iter().map(|outbox| Box::pin(outbox.relief(RELIEF_TIMEOUT)));
                self.stalled = Some(Box::pin(select_all(reliefs).map(drop)));
            }
            Err(refusal) => self.acknowledge(id, packet::refusal(&refusal).into()),
        }
    }

    /// Handles an argument that is one object or an array of them; the answer has the same form (§6.2).
    fn each(
        &mut self,
        id: Option<u64>,
        argument: Option<Raw<'_>>,
        mut handle: impl FnMut(&mut Connection, Raw<'_>) -> Value,
    ) {
        let Some(connection) = &mut self.connection else { return };
        let answer = match argument {
            None => malformed("an argument is missing"),
            Some(argument) => match argument.elements() {
                Some(elements) if elements.clone().count() > MAX_BATCH => malformed("too many elements"),
                Some(elements) => {
                    Value::Array(elements.map(|element| handle_object(connection, element, &mut handle)).collect())
                }
                None => handle_object(connection, argument, &mut handle),
            },
        };
        self.acknowledge(id, answer.into());
    }

    fn wait_for_interest(&mut self, id: Option<u64>, argument: Option<Raw<'_>>) {
        // Without an acknowledgement there is nobody to tell (§9).
        let (Some(id), Some(connection)) = (id, &self.connection) else { return };
        let Some(subject) = argument.and_then(|a| text_field(a, "subject")) else {
            return self.acknowledge(Some(id), malformed("subject must be a string").into());
        };
        let timeout = argument.and_then(|a| a.field("timeout"));
        let answer = if timeout.is_some_and(|t| !t.is_truthy()) {
            connection.has_interest(&subject).map(|found| self.acknowledge(Some(id), Value::Bool(found).into()))
        } else if self.running.len() >= MAX_RUNNING {
            Err(Refusal::Limit { what: "waits and calls", max: MAX_RUNNING })
        } else {
            let timeout = timeout.and_then(|t| t.as_f64()).map(milliseconds).unwrap_or(self.broker.limits().max_wait);
            connection.wait_for_interest(&subject, timeout).map(|wait| {
                self.running.push(Box::pin(async move {
                    let found = wait.await;
                    if !found {
                        tokio::time::sleep(LATE_ANSWER).await;
                    }
                    Finished::Interest { id, found }
                }));
            })
        };
        if let Err(refusal) = answer {
            // No exception class in front of these texts (§9).
            self.acknowledge(Some(id), packet::error(&refusal.to_string(), refusal.code()).into());
        }
    }

    fn stats(&mut self, argument: Option<Raw<'_>>) {
        let (Some(connection), Some(received)) = (&self.connection, argument.and_then(|a| a.field("recv0"))) else {
            return;
        };
        let number = |name| received.field(name).and_then(|n| n.as_f64()).filter(|n| n.is_finite());
        if let (Some(messages), Some(bytes)) = (number("messages"), number("bytes")) {
            connection.report_received(messages, bytes);
        }
    }

    fn throttle(&mut self, name: &str, id: Option<u64>, argument: Option<Raw<'_>>, throttled: Throttled) {
        let whose = if throttled.identity { " for this authenticated identity" } else { "" };
        let retry_ms = throttled.retry.as_millis() as u64;
        let text = format!("Error: too many Conat socket messages{whose} -- retry in {retry_ms} ms");
        let answer = json!({"error": text, "code": 429, "retryMs": retry_ms});
        let request = argument.and_then(|a| text_field(a, "requestId"));
        match request {
            Some(request) if name == "rpc-raw" => {
                let mut answer = answer;
                answer["requestId"] = request.into();
                self.enqueue(packet::event("rpc-raw-response", None, &answer));
            }
            _ => self.acknowledge(id, answer.into()),
        }
    }
}

/// A text field of an object.
pub(super) fn text_field(object: Raw<'_>, name: &str) -> Option<String> {
    object.field(name)?.as_str().map(|text| text.into_owned())
}

/// Milliseconds as JavaScript sends them: possibly a fraction, possibly absurd.
pub(super) fn milliseconds(ms: f64) -> Duration {
    const MOST: f64 = 1e9;
    Duration::from_secs_f64(if ms.is_nan() { 0.0 } else { ms.clamp(0.0, MOST) } / 1000.0)
}

fn malformed(text: &'static str) -> Value {
    packet::refusal(&Refusal::Malformed(text))
}

fn handle_object(
    connection: &mut Connection,
    argument: Raw<'_>,
    handle: &mut impl FnMut(&mut Connection, Raw<'_>) -> Value,
) -> Value {
    if argument.is_object() { handle(connection, argument) } else { malformed("the argument must be an object") }
}

fn subscribe(connection: &mut Connection, argument: Raw<'_>) -> Value {
    let pattern = match argument.field("subject") {
        Some(pattern) => pattern.as_str().ok_or(Refusal::InvalidSubject),
        None => Err(Refusal::InvalidSubject),
    };
    let queue = text_field(argument, "queue");
    let subscribed = pattern.and_then(|pattern| match queue {
        Some(queue) => connection.subscribe(&pattern, &queue),
        // A pattern that is there already needs no queue (§6.2).
        None if connection.is_subscribed(&pattern) => Ok(Subscribed::AlreadyAdded),
        None => Err(Refusal::QueueMissing),
    });
    match subscribed {
        Ok(Subscribed::Added) => json!({"status": "added"}),
        Ok(Subscribed::AlreadyAdded) => json!({"status": "already-added"}),
        Err(refusal) => packet::refusal(&refusal),
    }
}

fn register_service(connection: &mut Connection, argument: Raw<'_>) -> Value {
    let pattern = text_field(argument, "subject").ok_or(Refusal::InvalidSubject);
    let queue = text_field(argument, "queue").ok_or(Refusal::QueueMissing);
    match pattern.and_then(|pattern| connection.register_service(&pattern, &queue?)) {
        Ok(()) => json!({"status": "added"}),
        Err(refusal) => packet::refusal(&refusal),
    }
}

fn is_browser_id(id: &str) -> bool {
    (6..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

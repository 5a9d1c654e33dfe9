//! A client over a WebSocket: one task owns the connection and connects again when it is lost (conat-wire.md §11).

mod dial;
mod incoming;
mod options;
mod outgoing;
mod resync;
mod session;
mod tls;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use serde_json::{Value, json};
use smallvec::{SmallVec, smallvec};
use tokio::sync::oneshot;

pub use self::options::{ConnectOptions, Connector, Io, Trust};
use self::{
    dial::Dialer,
    outgoing::{Acked, Outgoing, Packet},
};
use super::{
    Code, Error,
    calls::call_fields,
    core::Core,
    link::{Ack, Link, Subscribing},
    publish::within,
};
use crate::{
    broker::rpc::Fields as CallFields,
    wire::{
        chunk::DEFAULT_MAX_PAYLOAD,
        frame::{Fields, Frame},
        json,
    },
};

/// Longest wait for interest; servers cap it as well (§9).
const MAX_WAIT: Duration = Duration::from_secs(90);
/// How long a probe for interest may take.
const PROBE_TIMEOUT: Duration = Duration::from_secs(10);

/// The connection of a client over a WebSocket.
#[derive(Debug)]
pub(super) struct Remote {
    pub options: ConnectOptions,
    outgoing: Outgoing,
    max_payload: AtomicUsize,
}

/// Starts a client. It connects in the background.
pub(super) fn start(options: ConnectOptions) -> Result<Arc<Core>, Error> {
    let dialer = Dialer::new(&options)?;
    let remote = Remote {
        outgoing: Outgoing::new(options.max_waiting, options.max_waiting_bytes),
        max_payload: AtomicUsize::new(DEFAULT_MAX_PAYLOAD),
        options,
    };
    let core = Core::new(Link::Remote(Box::new(remote)));
    core.tasks.spawn(session::drive(core.clone(), dialer));
    Ok(core)
}

/// The error in an acknowledgement, if it is one (§2.6).
pub(super) fn refused(answer: &Value) -> Option<Error> {
    let message = answer.get("error")?;
    let message = message.as_str().map_or_else(|| message.to_string(), str::to_owned);
    Some(Error::Refused { message, code: answer.get("code").and_then(Code::from_json) })
}

fn event(name: &str, argument: &Value) -> String {
    format!("[{},{argument}]", json!(name))
}

async fn acknowledged(answer: oneshot::Receiver<Result<Acked, Error>>) -> Result<Acked, Error> {
    answer.await.unwrap_or(Err(Error::Closed))
}

fn read(acked: &Acked) -> Result<Value, Error> {
    serde_json::from_str(&acked.text).map_err(|e| Error::Answer(e.to_string()))
}

impl Remote {
    pub fn max_payload(&self) -> usize {
        self.max_payload.load(Ordering::Relaxed)
    }

    fn publish_packet(subject: &str, frame: Fields, ack: Option<outgoing::AckSender>) -> Packet {
        let raw = frame.raw.clone();
        let frame = Frame::new(frame);
        let mut body = Vec::with_capacity(subject.len() + frame.text().len() + 20);
        body.extend_from_slice(br#"["publish",["#);
        json::push_string(&mut body, subject);
        body.push(b',');
        body.extend_from_slice(frame.text());
        body.extend_from_slice(b"]]");
        // All of it was text before.
        Packet::Event { body: String::from_utf8(body).unwrap_or_default(), attachments: smallvec![raw], ack }
    }

    pub fn publish_sync(&self, subject: &str, frame: Fields) -> Result<(), Error> {
        self.outgoing.try_push(Self::publish_packet(subject, frame, None))
    }

    pub async fn publish(&self, subject: &str, frame: Fields) -> Result<Ack, Error> {
        let (ack, answer) = oneshot::channel();
        self.outgoing.push(Self::publish_packet(subject, frame, Some(ack))).await?;
        Ok(Ack::Pending(Box::pin(async move {
            let answer = read(&acknowledged(answer).await?)?;
            if let Some(error) = refused(&answer) {
                return Err(error);
            }
            let count = answer.get("count").and_then(Value::as_f64);
            count.map(|n| n as u32).ok_or_else(|| Error::Answer("publish was answered without a count".into()))
        })))
    }

    fn start(&self, name: &str, argument: &Value) -> Subscribing {
        let (ack, answer) = oneshot::channel();
        let packet = Packet::Event { body: event(name, argument), attachments: SmallVec::new(), ack: Some(ack) };
        self.outgoing.push_always(packet);
        Subscribing::Pending(Box::pin(async move {
            let answer = read(&acknowledged(answer).await?)?;
            refused(&answer).map_or(Ok(()), Err)
        }))
    }

    fn emit_sync(&self, name: &str, argument: &Value) {
        let packet = Packet::Event { body: event(name, argument), attachments: SmallVec::new(), ack: None };
        self.outgoing.push_always(packet);
    }

    pub fn subscribe(&self, pattern: &str, queue: &str) -> Subscribing {
        self.start("subscribe", &json!({"subject": pattern, "queue": queue}))
    }

    pub fn unsubscribe(&self, pattern: &str) {
        self.emit_sync("unsubscribe", &json!({ "subject": pattern }));
    }

    pub fn register_service(&self, pattern: &str, queue: &str) -> Subscribing {
        self.start("rpc-service", &json!({"subject": pattern, "queue": queue}))
    }

    pub fn close_service(&self, pattern: &str) {
        self.emit_sync("rpc-service-close", &json!({ "subject": pattern }));
    }

    pub async fn wait_for_interest(&self, subject: &str, timeout: Duration) -> Result<bool, Error> {
        let timeout = timeout.min(MAX_WAIT);
        let argument = json!({"subject": subject, "timeout": timeout.as_millis() as u64});
        let patience = if timeout.is_zero() { PROBE_TIMEOUT } else { timeout };
        match self.emit("wait-for-interest", &argument, patience).await {
            Ok(Value::Bool(found)) => Ok(found),
            // Some servers answer with an error when the time is over (§9); others refuse, which has a code.
            Ok(answer) => match refused(&answer) {
                Some(error) if error.code().is_some() || error.to_string().contains("invalid subject") => Err(error),
                _ => Ok(false),
            },
            Err(Error::Timeout(_)) if !timeout.is_zero() => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub async fn call(&self, subject: &str, raw: Bytes, timeout: Duration) -> Result<CallFields, Error> {
        let CallFields { text, attachments } = call_fields(raw);
        let payload = String::from_utf8_lossy(&text);
        let (name, ms) = (json!(subject), timeout.as_millis() as u64);
        let body = format!(r#"["fast-rpc",{{"subject":{name},{payload},"timeout":{ms}}}]"#);
        let (ack, answer) = oneshot::channel();
        self.outgoing.push(Packet::Event { body, attachments, ack: Some(ack) }).await?;
        let Acked { text, attachments } = acknowledged(answer).await?;
        let inner = text.strip_prefix('{').and_then(|t| t.strip_suffix('}'));
        let inner = inner.ok_or_else(|| Error::Answer("a call was not answered by an object".into()))?;
        Ok(CallFields { text: inner.as_bytes().to_vec(), attachments })
    }

    /// Emits an event of the application's and waits for its acknowledgement.
    async fn emit(&self, name: &str, argument: &Value, timeout: Duration) -> Result<Value, Error> {
        let (ack, answer) = oneshot::channel();
        let packet = Packet::Event { body: event(name, argument), attachments: SmallVec::new(), ack: Some(ack) };
        within(timeout, name, async {
            self.outgoing.push(packet).await?;
            read(&acknowledged(answer).await?)
        })
        .await
    }

    /// Emits an event of the client's own at once and waits for its acknowledgement.
    async fn emit_control(&self, name: &str, argument: &Value, timeout: Duration) -> Result<Value, Error> {
        let (ack, answer) = oneshot::channel();
        let packet = Packet::Event { body: event(name, argument), attachments: SmallVec::new(), ack: Some(ack) };
        self.outgoing.push_control(packet);
        let answer = within(timeout, name, async { read(&acknowledged(answer).await?) }).await?;
        refused(&answer).map_or(Ok(answer), Err)
    }

    fn emit_control_sync(&self, name: &str, argument: &Value) {
        let packet = Packet::Event { body: event(name, argument), attachments: SmallVec::new(), ack: None };
        self.outgoing.push_control(packet);
    }

    /// Unsubscribes, says goodbye; what waits is sent before if the connection is there.
    pub fn close(&self, patterns: Vec<Arc<str>>) {
        for pattern in patterns {
            self.unsubscribe(&pattern);
        }
        self.outgoing.push_always(Packet::Raw("41".into()));
        self.outgoing.close();
    }
}

/// The first pause after the inbox was refused, and the longest.
const INBOX_PAUSE: Duration = Duration::from_millis(3900);
const INBOX_MAX_PAUSE: Duration = Duration::from_secs(30);

/// The first `info` has come: subscribes to the inbox before anything else, waits for the server's word, tries again if it
/// refuses (§10.1).
fn add_inbox(core: &Arc<Core>, prefix: &str) {
    let pattern = format!("{}.*", core.name_inbox(prefix));
    let Some(first) = ask_for_inbox(core, &pattern) else { return };
    core.tasks.clone().spawn(keep_inbox(core.clone(), pattern, first));
}

type InboxAnswer = (u64, oneshot::Receiver<Result<Acked, Error>>);

fn ask_for_inbox(core: &Core, pattern: &str) -> Option<InboxAnswer> {
    let remote = core.link().remote()?;
    let mut table = core.table.lock();
    let (serial, queue) = table.add_inbox(pattern);
    let (ack, answer) = oneshot::channel();
    let body = event("subscribe", &json!({"subject": pattern, "queue": &*queue}));
    remote.outgoing.push_control(Packet::Event { body, attachments: SmallVec::new(), ack: Some(ack) });
    Some((serial, answer))
}

async fn keep_inbox(core: Arc<Core>, pattern: String, first: InboxAnswer) {
    let mut pause = super::socket::Backoff::new(INBOX_PAUSE, INBOX_MAX_PAUSE);
    let (mut serial, mut answer) = first;
    loop {
        let answered = tokio::select! {
            answered = acknowledged(answer) => answered,
            () = core.closing.cancelled() => return,
        };
        let result = answered.and_then(|acked| read(&acked)).and_then(|a| refused(&a).map_or(Ok(()), Err));
        match result {
            // After a lost connection the inbox is made again with the other subscriptions.
            Ok(()) | Err(Error::Disconnected | Error::Closed) => {
                core.table.lock().confirm(&pattern, serial, Ok(()));
                core.status.send_modify(|status| status.inbox = true);
                return;
            }
            Err(error) => {
                tracing::warn!(pattern, %error, "the inbox was refused; requests wait");
                core.table.lock().confirm(&pattern, serial, Err(error));
            }
        }
        tokio::select! {
            () = tokio::time::sleep(pause.step()) => {}
            () = core.closing.cancelled() => return,
        }
        match ask_for_inbox(&core, &pattern) {
            Some(next) => (serial, answer) = next,
            None => return,
        }
    }
}

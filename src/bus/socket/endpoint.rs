//! What both ends of a virtual socket have in common: what arrives, what is sent, what the application sees.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use serde_json::{Map, Value, json};
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

use super::{
    names::{COMMAND, SEQUENCE},
    options::{Reason, SocketOptions, SocketState},
    reliable::{Arrival, Receiver, Sender, Sent},
};
use crate::bus::{
    Error, Message,
    core::Core,
    message::{MSGPACK, add_header},
    queue::Queue,
};

/// Which end this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Client,
    Server,
}

/// Both directions.
#[derive(Debug)]
pub(super) struct Channel {
    pub sender: Sender,
    pub receiver: Receiver<Message>,
    /// After a failed fetch, not before this time again.
    pub fetch_after: Option<Instant>,
    /// After a failed report, not before this time again.
    pub report_after: Option<Instant>,
    /// A large message is being sent; others wait behind it.
    pub bulk: bool,
}

/// From this size on messages are sent by the driver, at the speed at which the peer reads.
const BULK_BYTES: usize = 1 << 20;
/// How long it may take to send a large message.
const BULK_TIMEOUT: Duration = Duration::from_secs(600);

impl Channel {
    /// The way to the peer is back.
    pub fn reconnected(&mut self, now: Instant) {
        self.sender.reconnected(now);
        self.receiver.reconnected();
        (self.fetch_after, self.report_after) = (None, None);
        self.bulk = false;
    }
}

/// Something for the application, with its number if it has one.
#[derive(Debug)]
pub(super) struct Arrived {
    pub message: Message,
    pub seq: Option<u64>,
}

#[derive(Debug)]
pub(super) struct Endpoint {
    pub core: Arc<Core>,
    pub role: Role,
    pub id: String,
    /// The concrete base subject.
    pub base: String,
    pub options: SocketOptions,
    /// Where the peer listens; empty while a client has no server.
    pub peer: Mutex<String>,
    pub state: watch::Sender<SocketState>,
    pub reason: Mutex<Option<Reason>>,
    pub channel: Mutex<Channel>,
    pub incoming: Queue<Arrived>,
    /// Wakes the driver.
    pub wake: Notify,
    /// Wakes whoever waits for everything to be acknowledged.
    pub drained: Notify,
    pub heard: Mutex<Instant>,
    /// How many times a client has connected.
    pub connects: AtomicU64,
    /// A request has found nobody: the client is to connect again.
    pub restart: AtomicBool,
}

/// The body of `socket` commands (§17.4).
#[derive(Debug, Default, Serialize, Deserialize)]
struct Control {
    socket: ControlBody,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct ControlBody {
    #[serde(skip_serializing_if = "Option::is_none", default)]
    emitted: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    missing: Option<Vec<u64>>,
}

/// A message of the answer to a request for missing data.
#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    encoding: u64,
    raw: ByteBuf,
    headers: Map<String, Value>,
}

#[derive(Serialize)]
struct Emitted {
    emitted: u64,
}

#[derive(Serialize)]
struct UnknownCommand {
    error: String,
}

fn numbered(headers: Option<Value>, seq: u64) -> Value {
    add_header(headers, SEQUENCE, seq.into())
}

/// The headers without the number, and the number.
fn take_number(message: &Message) -> (Option<Value>, Option<u64>) {
    let Some(Value::Object(map)) = message.headers() else { return (message.headers().cloned(), None) };
    let mut map = map.clone();
    let seq = map.remove(SEQUENCE).and_then(|n| n.as_f64()).filter(|n| *n >= 1.0 && n.fract() == 0.0);
    let headers = if map.is_empty() { None } else { Some(Value::Object(map)) };
    (headers, seq.map(|n| n as u64))
}

impl Endpoint {
    pub fn new(
        core: Arc<Core>,
        role: Role,
        id: String,
        base: String,
        peer: String,
        options: SocketOptions,
    ) -> Arc<Endpoint> {
        let (size, bytes) = (options.queue_size.max(1), options.queue_bytes);
        let channel = Channel {
            sender: Sender::new(size, bytes, options.times.repeat),
            receiver: Receiver::new(size.max(1000)),
            fetch_after: None,
            report_after: None,
            bulk: false,
        };
        let (arrived, arrived_bytes) = options.incoming.unwrap_or((size.max(1000) * 2, bytes.saturating_mul(2)));
        Arc::new(Endpoint {
            // What the peer may have under way, and requests beside it.
            incoming: Queue::new(&base, arrived, arrived_bytes),
            core,
            role,
            id,
            base,
            options,
            peer: Mutex::new(peer),
            state: watch::Sender::new(SocketState::Connecting),
            reason: Mutex::default(),
            channel: Mutex::new(channel),
            wake: Notify::new(),
            drained: Notify::new(),
            heard: Mutex::new(Instant::now()),
            connects: AtomicU64::new(0),
            restart: AtomicBool::new(false),
        })
    }

    pub fn state(&self) -> SocketState {
        *self.state.borrow()
    }

    pub fn is_closed(&self) -> bool {
        self.state() == SocketState::Closed
    }

    /// Changes the state unless the socket is closed.
    pub fn set_state(&self, next: SocketState) {
        self.state.send_if_modified(|state| {
            let change = *state != SocketState::Closed && *state != next;
            if change {
                *state = next;
            }
            change
        });
    }

    /// A client connects again, unless it has already done so since `connect`.
    pub fn restart(&self, connect: u64) {
        if self.connects.load(Ordering::Acquire) == connect && self.state() == SocketState::Ready {
            self.restart.store(true, Ordering::Release);
            self.set_state(SocketState::Disconnected);
            self.wake.notify_one();
        }
    }

    /// Closes the socket from this side; the driver tells the peer unless it knows.
    pub fn close(&self, reason: Reason) {
        // The reason is there before anybody sees the state.
        self.reason.lock().get_or_insert(reason);
        self.set_state(SocketState::Closed);
        self.incoming.close(match reason {
            Reason::SlowReader => Error::SlowReader(self.base.clone()),
            _ => Error::Closed,
        });
        self.drained.notify_waiters();
        self.wake.notify_one();
    }

    /// Tells the peer that this socket is closed.
    pub fn tell_closed(&self) {
        let peer = self.peer.lock().clone();
        if peer.is_empty() {
            return;
        }
        let headers = match self.role {
            Role::Client => json!({COMMAND: "close", "id": self.id}),
            Role::Server => json!({COMMAND: "close"}),
        };
        self.send_control(&peer, headers);
    }

    fn send_control(&self, subject: &str, headers: Value) {
        if let Err(error) = self.core.publish_sync(subject, MSGPACK, nil(), Some(headers)) {
            tracing::debug!(subject, %error, "a socket command was not sent");
        }
    }

    /// Sends what was written and not yet sent, as long as the socket is ready.
    pub fn flush(&self) {
        if self.state() != SocketState::Ready {
            return;
        }
        let peer = self.peer.lock().clone();
        // The lock is held while sending, so that concurrent writers keep the order of the numbers.
        let mut channel = self.channel.lock();
        while !channel.bulk
            && let Some(sent) = channel.sender.unsent().filter(|sent| sent.payload.len() < BULK_BYTES).cloned()
        {
            if let Err(error) = self.send(&peer, sent) {
                tracing::debug!(subject = peer, %error, "socket data is sent later");
                return;
            }
            channel.sender.mark_sent(Instant::now());
        }
        drop(channel);
        self.wake.notify_one();
    }

    /// Sends the newest message again if it is time to. Gives a large message that is to be sent now, again or for the first
    /// time, with [`Endpoint::send_bulk`].
    pub fn repeat(&self, now: Instant) -> Option<Sent> {
        let peer = self.peer.lock().clone();
        let mut channel = self.channel.lock();
        if channel.bulk {
            return None;
        }
        if let Some(sent) = channel.sender.repeat(now).cloned() {
            if sent.payload.len() >= BULK_BYTES {
                channel.bulk = true;
                return Some(sent);
            }
            if let Err(error) = self.send(&peer, sent) {
                tracing::debug!(subject = peer, %error, "socket data was not repeated");
            }
        }
        let sent = channel.sender.unsent().filter(|sent| sent.payload.len() >= BULK_BYTES)?.clone();
        // The peer may acknowledge it before we know that it has gone.
        channel.sender.mark_sent(now);
        channel.bulk = true;
        Some(sent)
    }

    /// Sends a large message, waiting while the peer's connection has enough to send. If it fails, it is repeated.
    pub async fn send_bulk(self: Arc<Self>, sent: Sent) {
        let peer = self.peer.lock().clone();
        let Sent { seq, encoding, payload, headers } = sent;
        let headers = Some(numbered(headers, seq));
        if let Err(error) = self.core.publish(&peer, encoding, payload, headers, BULK_TIMEOUT).await {
            tracing::debug!(subject = peer, %error, "socket data is sent later");
        }
        self.channel.lock().bulk = false;
        self.flush();
    }

    fn send(&self, peer: &str, sent: Sent) -> Result<(), Error> {
        let Sent { seq, encoding, payload, headers } = sent;
        self.core.publish_sync(peer, encoding, payload, Some(numbered(headers, seq)))
    }

    /// Takes a message that the peer has sent.
    pub fn receive(&self, message: Message) {
        if self.is_closed() {
            return;
        }
        *self.heard.lock() = Instant::now();
        if let Some(command) = message.header_str(COMMAND) {
            let command = command.to_owned();
            self.receive_command(&command, &message);
        } else if message.is_request() {
            self.arrive(message, None);
        } else {
            self.receive_data(message);
        }
    }

    fn receive_command(&self, command: &str, message: &Message) {
        let answered = match command {
            "socket" if message.is_request() => self.receive_control(message),
            "socket" | "connect" | "connected" => Ok(()),
            "ping" if self.role == Role::Client || self.state() == SocketState::Ready => message.respond_sync(&()),
            "ping" => Ok(()),
            "close" => {
                let answered = message.respond_sync("closed");
                self.close(Reason::Peer);
                answered
            }
            other if self.role == Role::Server => {
                message.respond_sync(&UnknownCommand { error: format!("unknown command {other}") })
            }
            _ => Ok(()),
        };
        if let Err(error) = answered {
            tracing::debug!(subject = message.subject(), %error, "a socket command was not answered");
        }
    }

    fn receive_control(&self, message: &Message) -> Result<(), Error> {
        let Control { socket } = message.decode()?;
        if let Some(seq) = socket.emitted {
            let acknowledged = self.channel.lock().sender.acknowledge(seq);
            match acknowledged {
                Ok(left) => {
                    if !left {
                        self.drained.notify_waiters();
                    }
                    message.respond_sync(&Emitted { emitted: seq })
                }
                Err(_) => {
                    self.close(Reason::Lost);
                    Ok(())
                }
            }
        } else if let Some(missing) = socket.missing {
            match self.stored(&missing) {
                Some(stored) => message.respond_sync(&stored),
                None => message.respond_sync_with(&(), Some(json!({"error": "nodata"}))),
            }
        } else {
            Ok(())
        }
    }

    fn stored(&self, missing: &[u64]) -> Option<Vec<Stored>> {
        let channel = self.channel.lock();
        let found = channel.sender.find(missing)?;
        let stored = found.into_iter().map(|sent| {
            let headers = match numbered(sent.headers.clone(), sent.seq) {
                Value::Object(map) => map,
                _ => Map::new(),
            };
            Stored { encoding: sent.encoding, raw: ByteBuf::from(sent.payload.to_vec()), headers }
        });
        Some(stored.collect())
    }

    fn receive_data(&self, message: Message) {
        let (headers, seq) = take_number(&message);
        let arrival = match seq {
            Some(seq) => self.channel.lock().receiver.receive(seq, message.with_headers(headers), |seq, message| {
                self.arrive(message, Some(seq));
            }),
            None => Arrival::Bad,
        };
        match arrival {
            Arrival::Kept | Arrival::Duplicate => self.wake.notify_one(),
            Arrival::Bad => {
                tracing::debug!(subject = self.base, "a socket got a number that makes no sense");
                self.close(Reason::Lost);
            }
        }
    }

    /// Queues something for the application.
    fn arrive(&self, message: Message, seq: Option<u64>) {
        let bytes = message.payload().len() + 256;
        if !self.incoming.push(Arrived { message, seq }, bytes) && !self.is_closed() {
            tracing::warn!(subject = self.base, "the reader of a socket was too slow");
            self.close(Reason::SlowReader);
        }
    }

    /// The application has taken something.
    pub fn taken(&self, seq: Option<u64>) {
        if let Some(seq) = seq {
            self.channel.lock().receiver.take(seq);
            self.wake.notify_one();
        }
    }

    /// Reports to the peer what the application has.
    pub async fn report(self: Arc<Self>, seq: u64) {
        let body = Control { socket: ControlBody { emitted: Some(seq), missing: None } };
        let ok = self.ask(&body, self.options.times.control).await.is_ok();
        let mut channel = self.channel.lock();
        channel.receiver.reported(seq, ok);
        // The peer may be on its way back; asking it without a pause would be a storm.
        channel.report_after = (!ok).then(|| Instant::now() + self.options.times.control_pause);
        drop(channel);
        self.wake.notify_one();
    }

    /// Asks the peer for what is missing.
    pub async fn fetch(self: Arc<Self>, missing: Vec<u64>) {
        let body = Control { socket: ControlBody { emitted: None, missing: Some(missing) } };
        let answer = self.ask(&body, self.options.times.control).await;
        let stored = answer.and_then(|answer| answer.decode::<Vec<Stored>>().map(|stored| (answer, stored)));
        match stored {
            Ok((answer, stored)) => {
                for Stored { encoding, raw, headers } in stored {
                    let payload = raw.into_vec().into();
                    self.receive_data(answer.sibling(encoding, payload, Value::Object(headers)));
                }
            }
            Err(error) if error.to_string() == "nodata" => self.close(Reason::Lost),
            Err(error) => {
                tracing::debug!(subject = self.base, %error, "missing socket data was not fetched");
                self.channel.lock().fetch_after = Some(Instant::now() + self.options.times.control_pause);
            }
        }
        self.channel.lock().receiver.fetched();
        self.wake.notify_one();
    }

    async fn ask(&self, body: &Control, timeout: Duration) -> Result<Message, Error> {
        let peer = self.peer.lock().clone();
        let headers = Some(json!({COMMAND: "socket"}));
        let payload = crate::wire::msgpack::encode(body)?.into();
        let options = crate::bus::RequestOptions { headers, timeout, wait_for_interest: false };
        let answer = crate::bus::request::request(&self.core, &peer, payload, options).await?;
        *self.heard.lock() = Instant::now();
        Ok(answer)
    }

    /// Asks whether the peer is there.
    pub async fn ping(self: Arc<Self>, timeout: Duration, wait: bool) -> Result<(), Error> {
        let peer = self.peer.lock().clone();
        let options =
            crate::bus::RequestOptions { headers: Some(json!({COMMAND: "ping"})), timeout, wait_for_interest: wait };
        crate::bus::request::request(&self.core, &peer, nil(), options).await?;
        *self.heard.lock() = Instant::now();
        Ok(())
    }
}

/// The payload of commands.
pub(super) fn nil() -> bytes::Bytes {
    bytes::Bytes::from_static(&[0xc0])
}

//! The task that owns the connection: dial, sign in, read and write until it is lost, and again.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use foldhash::fast::RandomState;
use futures_util::{
    SinkExt, StreamExt,
    stream::{SplitSink, SplitStream},
};
use parking_lot::Mutex;
use serde_json::{Value, json};
use smallvec::SmallVec;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;

use super::{
    Remote, add_inbox,
    dial::{Dialer, Socket},
    incoming::{self, Event},
    outgoing::{AckSender, Acked, Packet},
    resync::{FIRST_DELAY, resync},
};
use crate::{
    broker::User,
    bus::{Code, Error, core::Core, link::BoxFuture},
    wire::{chunk::SWEEP_INTERVAL, engineio, socketio},
};

/// Above so many unanswered events, those that nobody waits for are forgotten.
const MANY_PENDING: usize = 10_000;
/// Statistics are reported at least this often (§20.8), in periods.
const STATS_AT_LEAST: u32 = 7;
/// How long a closing client tries to send what waits.
const GOODBYE: Duration = Duration::from_secs(3);

/// Why a session has ended.
#[derive(Debug)]
enum End {
    /// The client was closed.
    Closed,
    /// The connection is lost, or the server broke the protocol.
    Lost(String),
    /// The server refuses to sign this client in.
    SignIn { message: String, code: Option<Code> },
}

/// Connects again and again until the client closes.
pub(super) async fn drive(core: Arc<Core>, dialer: Dialer) {
    let Some(remote) = core.link().remote() else { return };
    let (min, max) = (remote.options.reconnect_min, remote.options.reconnect_max);
    let mut pause = min;
    loop {
        let attempt = async {
            let dialed = tokio::select! {
                dialed = tokio::time::timeout(remote.options.connect_timeout, open(&dialer, remote)) => dialed,
                () = core.closing.cancelled() => return End::Closed,
            };
            match dialed {
                Err(_) => End::Lost("connecting took too long".into()),
                Ok(Err(error)) => End::Lost(error.to_string()),
                Ok(Ok((socket, liveness))) => run(&core, remote, socket, liveness, &mut pause).await,
            }
        };
        let end = tokio::select! {
            end = attempt => end,
            // While a session runs, it sees for itself that the client closes, and says goodbye.
            () = async { core.closing.cancelled().await; tokio::time::sleep(GOODBYE).await } => End::Closed,
        };
        remote.outgoing.set_open(false);
        core.disconnected();
        match end {
            End::Closed => break,
            End::Lost(reason) => {
                tracing::debug!(reason, "disconnected");
                if !remote.options.reconnect {
                    core.close_because(&Error::Connect(reason));
                    break;
                }
            }
            End::SignIn { message, code } => {
                tracing::warn!(error = message, "sign-in failed");
                let error = Error::SignIn { message: message.clone(), code };
                if !remote.options.reconnect {
                    core.close_because(&error);
                    break;
                }
                pause = pause.max(retry_after(&message).unwrap_or_default());
                core.status.send_modify(|status| status.error = Some(error));
            }
        }
        // Between half and one and a half, so that clients of a server that restarts do not come at once.
        let jittered = pause.mul_f64(0.5 + fastrand::f64());
        pause = (pause * 2).clamp(min, max);
        tokio::select! {
            () = tokio::time::sleep(jittered) => {}
            () = core.closing.cancelled() => break,
        }
    }
    remote.outgoing.clear();
}

/// `retry in about <n>s` in the text of a refused sign-in (§20.3).
fn retry_after(message: &str) -> Option<Duration> {
    let (_, rest) = message.split_once("retry in about ")?;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    Some(Duration::from_secs(digits.parse::<u64>().ok()?.min(600)))
}

/// How long silence may last, from the open packet.
type Liveness = Duration;

/// Dials and opens the session up to the socket id.
async fn open(dialer: &Dialer, remote: &Remote) -> Result<(Socket, Liveness), Error> {
    let mut socket = dialer.dial(&remote.options).await?;
    let protocol = |what: &str| Error::Connect(format!("the server does not speak this protocol: {what}"));
    let open = next_text(&mut socket).await?;
    let Ok(engineio::Packet::Open(open)) = engineio::Packet::decode(&open) else {
        return Err(protocol("no open packet"));
    };
    let open: Value = serde_json::from_str(open).map_err(|_| protocol("malformed open packet"))?;
    let ms = |name: &str, usual: u64| Duration::from_millis(open.get(name).and_then(Value::as_u64).unwrap_or(usual));
    let liveness = ms("pingInterval", 25_000) + ms("pingTimeout", 20_000);
    let connect = match remote.options.auth() {
        Some(auth) => format!("40{auth}"),
        None => "40".into(),
    };
    socket.send(Message::text(connect)).await.map_err(|e| Error::Connect(e.to_string()))?;
    loop {
        let text = next_text(&mut socket).await?;
        match engineio::Packet::decode(&text) {
            Ok(engineio::Packet::Ping) => {
                socket.send(Message::text("3")).await.map_err(|e| Error::Connect(e.to_string()))?;
            }
            Ok(engineio::Packet::Message(message)) => {
                return match socketio::Packet::decode(message).map(|packet| packet.kind) {
                    Ok(socketio::Kind::Connect) => Ok((socket, liveness)),
                    Ok(socketio::Kind::ConnectError) => Err(protocol("the session was refused")),
                    _ => Err(protocol("no session")),
                };
            }
            _ => return Err(protocol("no session")),
        }
    }
}

async fn next_text(socket: &mut Socket) -> Result<String, Error> {
    loop {
        match socket.next().await {
            Some(Ok(Message::Text(text))) => return Ok(text.to_string()),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            Some(Err(error)) => return Err(Error::Connect(error.to_string())),
            Some(Ok(_)) | None => return Err(Error::Connect("the server closed the connection".into())),
        }
    }
}

/// Events that the server owes an acknowledgement.
type Pending = Mutex<HashMap<u64, AckSender, RandomState>>;

/// Runs a session until it ends.
async fn run(core: &Arc<Core>, remote: &Remote, socket: Socket, liveness: Liveness, pause: &mut Duration) -> End {
    let (mut sink, stream) = socket.split();
    let pending = Pending::default();
    let mut reader = Reader { core, remote, pending: &pending, signed_in: false, compare: None, assembling: None };
    let read = reader.run(stream, liveness, pause);
    let end = tokio::select! {
        end = read => end,
        error = write(remote, &mut sink, &pending) => match error {
            Some(error) => End::Lost(error),
            // All is said.
            None => End::Closed,
        },
        () = report_stats(core, remote) => End::Closed,
    };
    let farewell = tokio::time::timeout(GOODBYE, sink.close());
    if let Ok(Err(error)) = farewell.await {
        tracing::trace!(%error, "the connection was gone before it was closed");
    }
    for (_, ack) in pending.lock().drain() {
        // Whoever waited may have given up.
        let _ = ack.send(Err(Error::Disconnected));
    }
    end
}

/// Writes what is to be sent. Ends with an error, or without one when the client is closed and all is sent.
async fn write(remote: &Remote, sink: &mut SplitSink<Socket, Message>, pending: &Pending) -> Option<String> {
    let mut next_id = 0;
    loop {
        let packet = match remote.outgoing.try_next() {
            Some(packet) => packet,
            None => {
                if let Err(error) = sink.flush().await {
                    return Some(error.to_string());
                }
                remote.outgoing.next().await?
            }
        };
        let (text, attachments) = match packet {
            Packet::Raw(text) => (text, SmallVec::new()),
            Packet::Event { body, attachments, ack } => {
                let id = ack.map(|ack| {
                    let id = next_id;
                    next_id += 1;
                    let mut pending = pending.lock();
                    if pending.len() >= MANY_PENDING {
                        pending.retain(|_, ack| !ack.is_closed());
                    }
                    pending.insert(id, ack);
                    id
                });
                (head('2', '5', attachments.len(), id) + &body, attachments)
            }
            Packet::Answer { id, body, attachments } => {
                (head('3', '6', attachments.len(), Some(id)) + &body, attachments)
            }
        };
        let group = std::iter::once(Message::text(text)).chain(attachments.into_iter().map(Message::Binary));
        for message in group {
            if let Err(error) = sink.feed(message).await {
                return Some(error.to_string());
            }
        }
    }
}

fn head(plain: char, binary: char, attachments: usize, id: Option<u64>) -> String {
    let mut head = match attachments {
        0 => format!("4{plain}"),
        n => format!("4{binary}{n}-"),
    };
    if let Some(id) = id {
        head.push_str(&id.to_string());
    }
    head
}

/// Reports what was received since the session began, when it changed or has not been reported for long (§20.8).
async fn report_stats(core: &Core, remote: &Remote) {
    let read = || (core.received.messages.load(Ordering::Relaxed), core.received.bytes.load(Ordering::Relaxed));
    let start = read();
    let (mut last, mut quiet) = ((0, 0), 0);
    loop {
        tokio::time::sleep(remote.options.stats_period).await;
        let now = read();
        let now = (now.0 - start.0, now.1 - start.1);
        quiet += 1;
        if now != last || quiet >= STATS_AT_LEAST {
            (last, quiet) = (now, 0);
            remote.emit_control_sync("stats", &json!({"recv0": {"messages": now.0, "bytes": now.1}}));
        }
    }
}

struct Assembling {
    text: String,
    wanted: usize,
    attachments: SmallVec<[Bytes; 1]>,
}

struct Reader<'a> {
    core: &'a Arc<Core>,
    remote: &'a Remote,
    pending: &'a Pending,
    signed_in: bool,
    compare: Option<BoxFuture<()>>,
    assembling: Option<Assembling>,
}

impl Reader<'_> {
    async fn run(&mut self, mut stream: SplitStream<Socket>, liveness: Liveness, pause: &mut Duration) -> End {
        let mut sweep = tokio::time::interval_at(Instant::now() + SWEEP_INTERVAL, SWEEP_INTERVAL);
        let mut heard = Instant::now();
        loop {
            let message = tokio::select! {
                message = stream.next() => message,
                () = async { match &mut self.compare { Some(compare) => compare.await, None => std::future::pending().await } } => {
                    self.compare = None;
                    continue;
                }
                _ = sweep.tick() => {
                    self.core.table.lock().expire();
                    continue;
                }
                () = tokio::time::sleep_until(heard + liveness) => return End::Lost("the server is silent".into()),
            };
            heard = Instant::now();
            let handled = match message {
                Some(Ok(Message::Text(text))) => self.text(text.as_str()),
                Some(Ok(Message::Binary(bytes))) => self.binary(bytes),
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => Ok(()),
                Some(Ok(Message::Close(_))) | None => Err(End::Lost("the server closed the connection".into())),
                Some(Err(error)) => Err(End::Lost(error.to_string())),
            };
            if let Err(end) = handled {
                return end;
            }
            if self.signed_in {
                *pause = self.remote.options.reconnect_min;
            }
        }
    }

    fn text(&mut self, text: &str) -> Result<(), End> {
        match engineio::Packet::decode(text) {
            Ok(engineio::Packet::Ping) => {
                self.remote.outgoing.push_control(Packet::Raw("3".into()));
                Ok(())
            }
            Ok(engineio::Packet::Message(message)) => {
                let packet = socketio::Packet::decode(message).map_err(|e| End::Lost(e.to_string()))?;
                if packet.attachments > 0 {
                    self.assembling = Some(Assembling {
                        text: message.to_owned(),
                        wanted: packet.attachments,
                        attachments: SmallVec::new(),
                    });
                    return Ok(());
                }
                self.packet(&packet, SmallVec::new())
            }
            Ok(engineio::Packet::Close) => Err(End::Lost("the server closed the session".into())),
            Ok(_) => Ok(()),
            Err(error) => Err(End::Lost(error.to_string())),
        }
    }

    fn binary(&mut self, bytes: Bytes) -> Result<(), End> {
        let Some(assembling) = &mut self.assembling else {
            return Err(End::Lost("a binary message without a packet".into()));
        };
        assembling.attachments.push(bytes);
        if assembling.attachments.len() < assembling.wanted {
            return Ok(());
        }
        let Some(Assembling { text, attachments, .. }) = self.assembling.take() else { return Ok(()) };
        let packet = socketio::Packet::decode(&text).map_err(|e| End::Lost(e.to_string()))?;
        self.packet(&packet, attachments)
    }

    fn packet(&mut self, packet: &socketio::Packet<'_>, attachments: SmallVec<[Bytes; 1]>) -> Result<(), End> {
        match packet.kind {
            socketio::Kind::Event => {
                let event = incoming::receive(self.core, self.remote, packet, attachments);
                match event.map_err(|e| End::Lost(e.to_string()))? {
                    Event::Handled => Ok(()),
                    Event::Info(user) => self.info(user),
                }
            }
            socketio::Kind::Ack => {
                let argument = packet.ack_argument().map_err(|e| End::Lost(e.to_string()))?;
                let ack = packet.id.and_then(|id| self.pending.lock().remove(&id));
                if let Some(ack) = ack {
                    let text = argument.map_or_else(|| "null".to_owned(), |argument| argument.text().to_owned());
                    // Whoever waited may have given up.
                    let _ = ack.send(Ok(Acked { text, attachments }));
                }
                Ok(())
            }
            socketio::Kind::Disconnect => Err(End::Lost("the server disconnected this client".into())),
            socketio::Kind::Connect | socketio::Kind::ConnectError => Ok(()),
        }
    }

    /// Signs in, with the first `info` of a session; compares subscriptions, with every one.
    fn info(&mut self, user: User) -> Result<(), End> {
        if user.is_failed() {
            let error = user.json().get("error").and_then(Value::as_str).unwrap_or("no user").to_owned();
            return Err(End::SignIn { message: error, code: user.json().get("code").and_then(Code::from_json) });
        }
        let first = self.core.status.borrow().generation == 0;
        let fresh = !std::mem::replace(&mut self.signed_in, true);
        if first {
            let prefix = self.remote.options.inbox_prefix.clone().unwrap_or_else(|| user.inbox_prefix());
            *self.core.user.lock() = Some(user);
            // The inbox comes first, then what has been waiting.
            add_inbox(self.core, &prefix);
            self.remote.outgoing.set_open(true);
            self.core.connected();
            self.compare = Some(Box::pin(resync(self.core.clone(), FIRST_DELAY, false)));
        } else if fresh || self.compare.is_none() {
            *self.core.user.lock() = Some(user);
            self.compare = Some(Box::pin(resync(self.core.clone(), Duration::ZERO, fresh)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_look_like_recorded_ones() {
        assert_eq!(head('2', '5', 0, Some(10)), "4210");
        assert_eq!(head('2', '5', 1, None), "451-");
        assert_eq!(head('2', '5', 1, Some(4)), "451-4");
        assert_eq!(head('3', '6', 1, Some(1)), "461-1");
        assert_eq!(super::super::event("stats", &json!({"a": 1})), r#"["stats",{"a":1}]"#);
    }

    #[test]
    fn the_time_to_wait_is_read_from_the_text() {
        assert_eq!(retry_after("too many failures, retry in about 42s"), Some(Duration::from_secs(42)));
        assert_eq!(retry_after("no"), None);
    }
}

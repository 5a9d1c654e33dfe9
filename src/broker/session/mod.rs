//! One connection over a WebSocket, from the first byte after the upgrade to the last (conat-wire.md §§2–3).
//!
//! One task owns a session. It reads an event, handles it completely and reads the next one, so the order of a connection's
//! events is kept by construction. The same task writes: deliveries come out of the outbox, already encoded, into one queue.
//! What can last long (waiting for interest, calls) runs beside and is answered when it is ready.

mod assembling;
mod calls;
mod duplex;
mod events;
mod incoming;
mod packet;

use std::{
    collections::{HashMap, VecDeque},
    future::Future,
    io,
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use arc_swap::Guard;
use foldhash::fast::RandomState;
use futures_util::{StreamExt, stream::FuturesUnordered};
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite},
    sync::oneshot,
    time::{Instant, Sleep},
};
use tokio_util::sync::CancellationToken;

use self::{assembling::Assembling, calls::Finished, duplex::Duplex, incoming::Incoming};
use super::{
    Broker, Connection,
    delivery::Sink,
    outbox::{Closed, Item, Outbox},
    rpc::Fields,
    tally::Moment,
};
use crate::{
    config::Limits,
    wire::{
        engineio,
        websocket::{self, Opcode},
    },
};

/// Encoded bytes that a session keeps ready for the socket; what is beyond stays in the outbox, where it is counted.
const READY_BYTES: usize = 256 << 10;
/// Up to so many bytes are cheaper to copy than to point to.
const COPIED_BYTES: usize = 2048;
/// How long the first `info` may stay unacknowledged (§3.5).
const INFO_TIMEOUT: Duration = Duration::from_millis(7500);
/// The first pause before `info` is sent again; grows by 1.3 up to [`INFO_MAX_PAUSE`].
const INFO_PAUSE: Duration = Duration::from_millis(6500);
const INFO_MAX_PAUSE: Duration = Duration::from_secs(30);
/// After this time `info` is not sent again.
const INFO_GIVE_UP: Duration = Duration::from_secs(120);
/// How long a closing session waits for the peer to take the last bytes.
const LINGER: Duration = Duration::from_secs(2);

/// What is known of a connection before it says anything.
#[derive(Clone, Debug)]
pub struct Origin {
    /// Headers of the request that was upgraded.
    pub headers: http::HeaderMap,
    /// Its query, without `?`.
    pub query: String,
    /// Where it came from.
    pub address: IpAddr,
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The peer closed the WebSocket, or the network did.
    Peer,
    /// The peer said that it leaves.
    Left,
    /// The peer broke the protocol (§2.9).
    Protocol(&'static str),
    /// A message was larger than allowed: close code 1009.
    TooLarge,
    /// No pong in time.
    Heartbeat,
    /// No CONNECT in time, or a failed sign-in that stayed.
    Expired,
    /// It read too slowly.
    SlowReader,
    /// The server stops.
    Shutdown,
}

impl From<Closed> for End {
    fn from(closed: Closed) -> End {
        match closed {
            Closed::SlowReader => End::SlowReader,
            Closed::Ended => End::Peer,
        }
    }
}

/// What the server waits for an acknowledgement of.
enum Pending {
    Info,
    Call(oneshot::Sender<Fields>),
}

struct InfoRepeat {
    at: Instant,
    pause: Duration,
    give_up: Instant,
}

struct Heartbeat {
    at: Instant,
    awaiting_pong: bool,
}

struct Session<S> {
    io: Duplex<S>,
    incoming: Incoming,
    broker: Arc<Broker>,
    limits: Arc<Limits>,
    origin: Origin,
    connection: Option<Connection>,
    assembling: Option<Assembling>,
    items: VecDeque<Item>,
    running: FuturesUnordered<Pin<Box<dyn Future<Output = Finished> + Send>>>,
    /// While this runs nothing is read: a reader of this connection's bulk frames is behind.
    stalled: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    pending: HashMap<u64, Pending, RandomState>,
    pending_raw: HashMap<String, oneshot::Sender<Fields>, RandomState>,
    next_ack_id: u64,
    heartbeat: Heartbeat,
    info: Option<InfoRepeat>,
    /// When the session ends unless it gets further before.
    expires: Option<Instant>,
    last_write: Instant,
    /// When the event that is handled arrived.
    moment: Moment,
    timer: Pin<Box<Sleep>>,
    armed: Instant,
}

/// Runs a session on an upgraded connection until it ends.
pub async fn serve<S>(io: S, broker: Arc<Broker>, origin: Origin, shutdown: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    // For the whole life of the session: the client is told some of them.
    let limits = Guard::into_inner(broker.limits());
    let now = Instant::now();
    let armed = now + limits.ping_interval.min(limits.connect_timeout);
    broker.counters().connections.add(1);
    broker.counters().connections_opened.add(1);
    let mut session = Session {
        io: Duplex::new(io),
        incoming: Incoming::new(limits.max_payload),
        origin,
        connection: None,
        assembling: None,
        items: VecDeque::new(),
        running: FuturesUnordered::new(),
        stalled: None,
        pending: HashMap::default(),
        pending_raw: HashMap::default(),
        next_ack_id: 0,
        heartbeat: Heartbeat { at: now + limits.ping_interval, awaiting_pong: false },
        info: None,
        expires: Some(now + limits.connect_timeout),
        last_write: now,
        moment: Moment::now(),
        timer: Box::pin(tokio::time::sleep_until(armed)),
        armed,
        limits,
        broker: broker.clone(),
    };
    session.open();
    let end = tokio::select! {
        end = std::future::poll_fn(|cx| session.poll(cx)) => end,
        () = shutdown.cancelled() => End::Shutdown,
    };
    session.finish(end).await;
    broker.counters().connections.sub(1);
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> {
    fn open(&mut self) {
        let limits = &self.limits;
        let (interval, timeout) = (limits.ping_interval.as_millis() as u64, limits.ping_timeout.as_millis() as u64);
        let text = engineio::open_packet(&super::random_sid(), interval, timeout, limits.max_payload);
        self.write_text(&text);
    }

    /// Puts a text message into the write queue at once, past the outbox: for what comes before a connection exists, and pings.
    fn write_text(&mut self, text: &str) {
        websocket::push_text(self.urgent(), text.as_bytes());
    }

    /// The end of the write queue.
    fn urgent(&mut self) -> &mut Vec<u8> {
        if self.io.queued() == 0 {
            // Nothing waited until now, so the time without progress begins now.
            self.last_write = Instant::now();
        }
        self.io.buffer()
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        const ROUNDS: usize = 8;
        for _ in 0..ROUNDS {
            match self.poll_once(cx) {
                Ok(true) => {}
                Ok(false) => return Poll::Pending,
                Err(end) => return Poll::Ready(end),
            }
        }
        // Others on this thread get their turn.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// One round over everything; tells whether anything happened.
    fn poll_once(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        let mut progress = self.poll_items(cx)?;
        if self.io.queued() > 0 {
            let mut wrote = false;
            let drained = self.io.poll_drain(cx, &mut wrote);
            if wrote {
                self.last_write = Instant::now();
                progress = true;
            }
            if let Poll::Ready(Err(_)) = drained {
                return Err(End::Peer);
            }
        }
        if let Some(stalled) = &mut self.stalled
            && stalled.as_mut().poll(cx).is_ready()
        {
            self.stalled = None;
            if self.heartbeat.awaiting_pong {
                // While nothing was read, no pong could be seen.
                self.heartbeat.at = Instant::now() + self.limits.ping_timeout;
            }
        }
        progress |= self.poll_read(cx)?;
        while let Poll::Ready(Some(finished)) = self.running.poll_next_unpin(cx) {
            self.answer_finished(finished);
            progress = true;
        }
        progress |= self.poll_timers(cx)?;
        Ok(progress)
    }

    /// Moves what waits in the outbox into the write queue, as far as there is room.
    fn poll_items(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        let mut progress = false;
        while self.io.queued() < READY_BYTES {
            if self.items.is_empty() {
                let Some(connection) = &self.connection else { break };
                match connection.outbox().poll_take(cx, READY_BYTES, &mut self.items) {
                    Poll::Ready(taken) => taken.map_err(End::from)?,
                    Poll::Pending => return Ok(progress),
                }
            }
            if self.io.queued() == 0 {
                // Nothing waited until now, so the time without progress begins now.
                self.last_write = Instant::now();
            }
            let (mut messages, mut bytes) = (0, 0);
            while self.io.queued() < READY_BYTES {
                let Some(item) = self.items.pop_front() else { break };
                let (some, size) = Outbox::size_of(&item);
                (messages, bytes) = (messages + some, bytes + size);
                self.write_item(item);
                if let Some(connection) = &self.connection {
                    connection.peer().egress_messages.add(some as u64);
                }
            }
            if let Some(connection) = &self.connection {
                connection.outbox().written(messages, bytes);
            }
            progress = true;
        }
        // The socket takes no more, so the outbox fills up, and may be full.
        if let Some(connection) = &self.connection
            && let Poll::Ready(closed) = connection.outbox().poll_closed(cx)
        {
            return Err(closed.into());
        }
        Ok(progress)
    }

    fn write_item(&mut self, item: Item) {
        let before = self.io.queued();
        match item {
            Item::Deliver(delivery) => delivery.write(&mut self.io),
            Item::Frames { bytes, .. } if bytes.len() <= COPIED_BYTES => self.io.buffer().extend_from_slice(&bytes),
            Item::Frames { bytes, .. } => self.io.push(bytes),
            Item::Packet(packet) => packet.write(&mut self.io),
            Item::Permission(refused) => packet::permission(&refused).write(&mut self.io),
            Item::Call(call) => self.forward_call(*call),
            Item::Disconnect => self.write_text("41"),
        }
        let written = self.io.queued() - before;
        if let Some(connection) = &self.connection {
            connection.peer().egress_bytes.add(written as u64);
        }
    }

    fn poll_timers(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        let next = self.next_deadline();
        if next < self.armed {
            self.armed = next;
            self.timer.as_mut().reset(next);
        }
        if self.timer.as_mut().poll(cx).is_pending() {
            return Ok(false);
        }
        let now = Instant::now();
        if self.expires.is_some_and(|at| at <= now) {
            return Err(End::Expired);
        }
        if self.io.queued() > 0 && self.last_write + self.limits.write_timeout <= now {
            return Err(End::SlowReader);
        }
        if self.heartbeat.at <= now {
            if self.heartbeat.awaiting_pong && self.stalled.is_none() {
                return Err(End::Heartbeat);
            }
            if !self.heartbeat.awaiting_pong {
                self.write_text("2");
            }
            self.heartbeat = Heartbeat { at: now + self.limits.ping_timeout, awaiting_pong: true };
        }
        if self.info.as_ref().is_some_and(|info| info.at <= now) {
            self.repeat_info(now);
        }
        self.armed = self.next_deadline();
        self.timer.as_mut().reset(self.armed);
        Ok(true)
    }

    fn next_deadline(&mut self) -> Instant {
        let mut next = self.heartbeat.at;
        if let Some(at) = self.expires {
            next = next.min(at);
        }
        if let Some(info) = &self.info {
            next = next.min(info.at);
        }
        if self.io.queued() > 0 {
            next = next.min(self.last_write + self.limits.write_timeout);
        }
        next
    }

    fn require_connection(&mut self) -> Result<&mut Connection, End> {
        self.connection.as_mut().ok_or(End::Protocol("event before CONNECT"))
    }

    /// Ends everything this connection had, then lets the peer know.
    async fn finish(mut self, end: End) {
        let counters = self.broker.counters().clone();
        let connection = self.connection.take();
        if let Some(connection) = &connection {
            tracing::debug!(conn = connection.peer().id, reason = ?end, "connection ended");
        }
        let slow = connection.as_ref().map(|c| (c.peer().id, c.outbox().depth()));
        // Nobody counts this connection from here on (§3.7).
        drop(connection);
        self.running.clear();
        match end {
            End::SlowReader => {
                counters.slow_readers.add(1);
                let (conn, (messages, bytes)) = slow.unwrap_or_default();
                tracing::warn!(conn, messages, bytes, "slow reader disconnected");
                return;
            }
            End::Protocol(reason) => {
                counters.protocol_errors.add(1);
                tracing::debug!(reason, "protocol violation");
            }
            _ => {}
        }
        let mut close = Vec::new();
        match end {
            End::TooLarge => websocket::push_close(&mut close, 1009),
            // If the peer said goodbye the answer waits already.
            End::Peer => {}
            _ => websocket::push_head(&mut close, Opcode::Close, 0),
        }
        let duplex = &mut self.io;
        duplex.buffer().extend_from_slice(&close);
        let goodbye = async {
            std::future::poll_fn(|cx| duplex.poll_drain(cx, &mut false)).await?;
            std::future::poll_fn(|cx| duplex.poll_close(cx)).await?;
            // Closing with unread bytes would reset the connection and lose the close frame on its way.
            let mut scrap = [0u8; 4096];
            while duplex.read(&mut scrap).await? > 0 {}
            io::Result::Ok(())
        };
        let _ = tokio::time::timeout(LINGER, goodbye).await;
    }

    fn next_id(&mut self) -> u64 {
        let id = self.next_ack_id;
        self.next_ack_id += 1;
        id
    }

    fn send_info(&mut self) {
        let Some(connection) = &self.connection else { return };
        let info: Value = self.broker.info(connection.user(), self.limits.max_payload);
        let id = self.next_id();
        self.pending.insert(id, Pending::Info);
        self.enqueue(packet::event("info", Some(id), &info));
    }

    fn repeat_info(&mut self, now: Instant) {
        let Some(info) = &mut self.info else { return };
        info.pause = info.pause.mul_f64(1.3).min(INFO_MAX_PAUSE);
        info.at = now + INFO_TIMEOUT + info.pause;
        if info.at > info.give_up {
            self.info = None;
        }
        self.send_info();
    }

    /// Puts a packet behind what waits already. If there is no room the outbox closes and the next round ends the session.
    fn enqueue(&mut self, packet: super::delivery::Encoded) {
        if let Some(connection) = &mut self.connection {
            connection.hand_over(&mut self.moment);
            let _ = connection.outbox().push(Item::Packet(packet));
        }
    }
}

//! Settings of virtual sockets, and what can go wrong with them.

use std::time::Duration;

use thiserror::Error;

use super::reliable::Repeat;
use crate::{bus, wire::msgpack};

/// How a client finds the server of a base subject (conat-wire.md §17.2).
#[derive(Clone, Debug, Default)]
pub enum Choice {
    /// Ask `B.server.status`; the first to answer is it.
    #[default]
    Status,
    /// This one.
    Fixed(String),
    /// Ask a balancer on this subject; it answers with the server's id.
    Ask(String),
}

/// Settings of a virtual socket or of a server of such.
#[derive(Clone, Debug)]
pub struct SocketOptions {
    /// Time between the answer of one ping and the next ping; zero turns pings off.
    pub keep_alive: Duration,
    /// How long a ping may stay unanswered.
    pub keep_alive_timeout: Duration,
    /// Messages that may be written and not yet acknowledged.
    pub queue_size: usize,
    /// Bytes that may be written and not yet acknowledged, and that may wait for the application to read them.
    pub queue_bytes: usize,
    /// Messages and bytes that may wait for the application to read them; by default twice what may be written.
    pub incoming: Option<(usize, usize)>,
    /// Messages and bytes that may wait to be handed to the sockets of a server.
    pub server_queue: (usize, usize),
    /// Whether a client connects again when it was disconnected.
    pub reconnect: bool,
    /// How a client finds its server.
    pub choice: Choice,
    /// The server's id; by default that of the hosting client.
    pub server_id: Option<String>,
    /// Sockets a server takes at a time.
    pub max_sockets: usize,
    /// Further times; tests shorten them.
    pub times: Times,
}

impl Default for SocketOptions {
    fn default() -> Self {
        SocketOptions {
            keep_alive: Duration::from_secs(25),
            keep_alive_timeout: Duration::from_secs(10),
            queue_size: 1000,
            queue_bytes: 64 << 20,
            incoming: None,
            server_queue: (65_536, 128 << 20),
            reconnect: true,
            choice: Choice::default(),
            server_id: None,
            max_sockets: 10_000,
            times: Times::default(),
        }
    }
}

/// Times of virtual sockets that applications have no reason to change.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// How long one attempt to connect may take.
    pub connect: Duration,
    /// Pause after a failed attempt; grows by 1.3.
    pub connect_pause: Duration,
    /// At most.
    pub connect_pause_max: Duration,
    /// How long a server waits to see the client's subscription.
    pub client_interest: Duration,
    /// Pause between disconnect and the next attempt to connect.
    pub restart: Duration,
    /// When the newest message is sent again.
    pub repeat: Repeat,
    /// How long reports and requests for missing data may take.
    pub control: Duration,
    /// Pause after a report or a request for missing data that failed.
    pub control_pause: Duration,
    /// A server closes a socket that it has not heard of for so long.
    pub silence: Duration,
    /// How long a server waits for a client to come back after the server's own connection was lost.
    pub grace: Duration,
    /// How long a graceful end waits.
    pub end: Duration,
}

impl Default for Times {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Times {
            connect: seconds(10),
            connect_pause: Duration::from_millis(650),
            connect_pause_max: seconds(10),
            client_interest: seconds(5),
            restart: Duration::from_millis(500),
            repeat: Repeat { first: Duration::from_millis(500), next: Duration::from_millis(650), max: seconds(15) },
            control: seconds(10),
            control_pause: seconds(1),
            silence: Duration::from_millis(112_500),
            grace: seconds(60),
            end: seconds(3),
        }
    }
}

/// Where a socket stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketState {
    /// The way to the peer is lost; a client tries again soon.
    Disconnected,
    /// Connecting.
    Connecting,
    /// Connected.
    Ready,
    /// Closed for good.
    Closed,
}

/// Why a socket was closed.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Reason {
    /// This side closed it.
    #[error("closed")]
    Local,
    /// The peer closed it.
    #[error("closed by the peer")]
    Peer,
    /// The peer did not answer, or has nobody listening any more.
    #[error("the peer is gone")]
    Gone,
    /// The two sides do not agree on what was sent, so something is lost.
    #[error("data is lost")]
    Lost,
    /// The application did not read.
    #[error("too much waits to be read")]
    SlowReader,
    /// The client of the bus was closed.
    #[error("the bus is closed")]
    Bus,
}

/// Why a write failed.
#[derive(Clone, Debug, Error)]
pub enum SocketError {
    /// Too many messages are not acknowledged yet; see [`super::Socket::drained`].
    #[error("ENOBUFS: too many messages are not acknowledged yet")]
    Full,
    /// The socket is closed.
    #[error("EPIPE: the socket is closed")]
    Closed,
    /// The value can't be encoded.
    #[error(transparent)]
    Encode(#[from] msgpack::Error),
}

impl SocketError {
    /// `ENOBUFS` or `EPIPE` (§12).
    pub fn code(&self) -> Option<bus::Code> {
        match self {
            SocketError::Full => Some("ENOBUFS".into()),
            SocketError::Closed => Some("EPIPE".into()),
            SocketError::Encode(_) => None,
        }
    }
}

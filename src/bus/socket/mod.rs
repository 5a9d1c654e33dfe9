//! Virtual sockets: ordered, reliable streams of messages on top of publishes and requests (conat-wire.md §§17, 20.9).
//!
//! [`SocketServer::accept`] and [`Client::socket_connect`](super::Client::socket_connect) give the same [`Socket`]. Both ends
//! speak with peers of both generations.
//!
//! | queue | bound | when it is full |
//! |---|---|---|
//! | written, not acknowledged | `queue_size`, `queue_bytes` | [`SocketError::Full`] |
//! | arrived, not read | twice that, or `incoming` | the socket closes with [`Reason::SlowReader`] |
//! | arrived too early | `queue_size` | the socket closes with [`Reason::Lost`] |
//! | arrived, not handed to a socket of the server | `server_queue` | the server ends |
//! | connections, not accepted | 1024 | refused |
//!
//! A message counts as delivered when the application has taken it, so a reader that does not read stops its peer's writer.
//!
//! When the two sides do not agree on what was sent (the peer has lost its state, or no longer has what is missing) the socket
//! closes with [`Reason::Lost`] at both ends: it never goes on with a hole in it.

mod client;
mod driver;
mod endpoint;
mod names;
mod options;
mod reliable;
mod server;
#[cfg(test)]
mod tests;

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;

use self::endpoint::{Arrived, Endpoint, Role};
pub(super) use self::{client::connect, server::listen};
pub use self::{
    options::{Choice, Reason, SocketError, SocketOptions, SocketState, Times},
    reliable::{Backoff, Repeat},
    server::SocketServer,
};
use super::{Error, Message, RequestOptions, message::MSGPACK, request::request};
use crate::wire::msgpack;

/// Something that has come over a socket.
#[derive(Clone, Debug)]
pub enum Incoming {
    /// Data, in order and exactly once.
    Data(Message),
    /// A request, to be answered with [`Message::respond`]. Not ordered relative to data that was lost on the way.
    Request(Message),
}

/// One end of a virtual socket. Cloning it makes another handle; the socket closes when the last one is dropped.
#[derive(Clone, Debug)]
pub struct Socket {
    handle: Arc<Handle>,
}

#[derive(Debug)]
struct Handle {
    endpoint: Arc<Endpoint>,
    /// Handles that a server makes for its own use do not keep the socket open.
    owner: bool,
}

impl Drop for Handle {
    fn drop(&mut self) {
        if self.owner {
            self.endpoint.close(Reason::Local);
        }
    }
}

impl Socket {
    fn new(endpoint: Arc<Endpoint>) -> Socket {
        Socket { handle: Arc::new(Handle { endpoint, owner: true }) }
    }

    fn borrowed(endpoint: Arc<Endpoint>) -> Socket {
        Socket { handle: Arc::new(Handle { endpoint, owner: false }) }
    }

    fn endpoint(&self) -> &Arc<Endpoint> {
        &self.handle.endpoint
    }

    /// The client's id, the same at both ends.
    pub fn id(&self) -> &str {
        &self.endpoint().id
    }

    /// The concrete base subject, which tells a server with wildcards who connected.
    pub fn subject(&self) -> &str {
        &self.endpoint().base
    }

    /// Where the socket stands.
    pub fn state(&self) -> SocketState {
        self.endpoint().state()
    }

    /// Where the socket stands, to be watched.
    pub fn states(&self) -> tokio::sync::watch::Receiver<SocketState> {
        self.endpoint().state.subscribe()
    }

    /// Why it is closed.
    pub fn reason(&self) -> Option<Reason> {
        *self.endpoint().reason.lock()
    }

    /// The next thing that has come, or `None` when the socket is closed and everything that came before was read.
    pub async fn recv(&self) -> Option<Incoming> {
        let Arrived { message, seq } = self.endpoint().incoming.pop().await.ok()?;
        self.endpoint().taken(seq);
        Some(if seq.is_some() { Incoming::Data(message) } else { Incoming::Request(message) })
    }

    /// Writes a message. It never waits: what can't be sent now is sent later.
    ///
    /// # Errors
    /// Too many messages are not acknowledged, or the socket is closed.
    pub fn write<T: Serialize + ?Sized>(&self, value: &T, headers: Option<Value>) -> Result<(), SocketError> {
        self.write_bytes(MSGPACK, msgpack::encode(value)?.into(), headers)
    }

    /// Writes a payload that is encoded already.
    ///
    /// # Errors
    /// See [`Socket::write`].
    pub fn write_bytes(&self, encoding: u64, payload: Bytes, headers: Option<Value>) -> Result<(), SocketError> {
        let endpoint = self.endpoint();
        if endpoint.is_closed() {
            return Err(SocketError::Closed);
        }
        endpoint.channel.lock().sender.push(encoding, payload, headers).map_err(|_| SocketError::Full)?;
        endpoint.flush();
        Ok(())
    }

    /// Waits until the peer has acknowledged everything that was written, or the socket is closed.
    pub async fn drained(&self) {
        let endpoint = self.endpoint();
        loop {
            let drained = endpoint.drained.notified();
            tokio::pin!(drained);
            // Registered before the look, so that an acknowledgement in between is not missed.
            drained.as_mut().enable();
            if endpoint.is_closed() || endpoint.channel.lock().sender.is_drained() {
                return;
            }
            drained.await;
        }
    }

    /// Messages that are written and not acknowledged.
    pub fn pending(&self) -> usize {
        self.endpoint().channel.lock().sender.pending()
    }

    /// Sends a request to the peer and waits for the answer; waits first for the socket to be ready.
    ///
    /// # Errors
    /// As for [`Client::request`](super::Client::request).
    pub async fn request<T: Serialize + ?Sized>(&self, value: &T, timeout: Duration) -> Result<Message, Error> {
        self.request_bytes(msgpack::encode(value)?.into(), None, timeout).await
    }

    /// Sends a request with headers.
    ///
    /// # Errors
    /// See [`Socket::request`].
    pub async fn request_with<T: Serialize + ?Sized>(
        &self,
        value: &T,
        headers: Option<Value>,
        timeout: Duration,
    ) -> Result<Message, Error> {
        self.request_bytes(msgpack::encode(value)?.into(), headers, timeout).await
    }

    /// Sends a request whose payload is encoded already, in MessagePack.
    ///
    /// A client that finds nobody (503) or gets no answer in time (408) connects again and tries once more, unless its socket
    /// does not reconnect (§20.9). The time is that of one try.
    ///
    /// # Errors
    /// See [`Socket::request`].
    pub async fn request_bytes(
        &self,
        payload: Bytes,
        headers: Option<Value>,
        timeout: Duration,
    ) -> Result<Message, Error> {
        let endpoint = self.endpoint();
        let mut sent = None;
        let first = self.attempt(payload.clone(), headers.clone(), timeout, &mut sent).await;
        let reconnects = endpoint.role == Role::Client && endpoint.options.reconnect;
        match (first, sent) {
            (Err(Error::NoSubscribers(_) | Error::Timeout(_)), Some(connect)) if reconnects => {
                endpoint.restart(connect);
                self.attempt(payload, headers, timeout, &mut None).await
            }
            (first, _) => first,
        }
    }

    /// One try. `sent` becomes the connect that it was sent after.
    async fn attempt(
        &self,
        payload: Bytes,
        headers: Option<Value>,
        timeout: Duration,
        sent: &mut Option<u64>,
    ) -> Result<Message, Error> {
        let endpoint = self.endpoint();
        let attempt = async {
            self.ready().await?;
            *sent = Some(endpoint.connects.load(Ordering::Acquire));
            let peer = endpoint.peer.lock().clone();
            let options = RequestOptions { headers, timeout, wait_for_interest: false };
            let mut state = endpoint.state.subscribe();
            tokio::select! {
                // A peer may answer and close right after.
                biased;
                answer = request(&endpoint.core, &peer, payload, options) => answer,
                _ = state.wait_for(|s| *s == SocketState::Closed) => Err(Error::Closed),
            }
        };
        super::publish::within(timeout, "request on a socket", attempt).await
    }

    /// Where requests to the peer go, as long as the socket is ready: for requests to which many responses come, see
    /// [`Client::request_many`](super::Client::request_many).
    pub fn peer_subject(&self) -> String {
        self.endpoint().peer.lock().clone()
    }

    /// Waits until the socket is ready.
    ///
    /// # Errors
    /// The socket is closed.
    pub async fn ready(&self) -> Result<(), Error> {
        let mut state = self.endpoint().state.subscribe();
        let done = state.wait_for(|s| matches!(s, SocketState::Ready | SocketState::Closed)).await;
        match done.as_deref() {
            Ok(SocketState::Ready) => Ok(()),
            _ => Err(Error::Closed),
        }
    }

    /// Closes the socket; the peer is told. What is not acknowledged is dropped.
    pub fn close(&self) {
        self.endpoint().close(Reason::Local);
    }

    /// Closes the socket after everything is acknowledged, or after a while.
    pub async fn end(&self) {
        // What is not acknowledged by then is dropped, as by close.
        let _ = tokio::time::timeout(self.endpoint().options.times.end, self.drained()).await;
        self.close();
    }

    /// Waits until the socket is closed.
    pub async fn closed(&self) {
        let mut state = self.endpoint().state.subscribe();
        // The state is never dropped while there is a handle.
        let _ = state.wait_for(|s| *s == SocketState::Closed).await;
    }
}

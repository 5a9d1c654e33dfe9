//! Virtual sockets of the bus as the terminals' clients.

use std::time::Duration;

use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream};
use rmpv::Value;

use super::{
    error::Error,
    peer::{Arrival, Arrivals, Peer, Responder, WriteError},
    request::{Answer, Notice},
};
use crate::bus::{
    self, Message,
    socket::{Incoming, Socket, SocketError},
};

/// The sending half of a socket.
pub(super) struct SocketPeer(pub Socket);

impl Peer for SocketPeer {
    fn write(&self, text: &str) -> Result<(), WriteError> {
        self.0.write(text, None).map_err(|error| match error {
            SocketError::Full => WriteError::Full,
            SocketError::Closed | SocketError::Encode(_) => WriteError::Closed,
        })
    }

    fn drained(&self) -> BoxFuture<'static, ()> {
        let socket = self.0.clone();
        async move { socket.drained().await }.boxed()
    }

    fn request(&self, notice: &Notice, timeout: Duration) -> BoxFuture<'static, Option<Value>> {
        let (socket, notice) = (self.0.clone(), notice.clone());
        async move { socket.request(&notice, timeout).await.ok()?.decode().ok() }.boxed()
    }
}

/// The receiving half of a socket.
pub(super) fn arrivals(socket: Socket) -> Arrivals {
    stream::unfold(socket, |socket| async {
        let arrival = match socket.recv().await? {
            Incoming::Data(message) => message.decode().map_or(Arrival::Noise, Arrival::Input),
            Incoming::Request(message) => {
                let request = message.decode().map(Box::new).map_err(|error| Error::Malformed(error.to_string()));
                Arrival::Request(request, Box::new(message))
            }
        };
        Some((arrival, socket))
    })
    .boxed()
}

impl Responder for Message {
    fn respond(self: Box<Self>, answer: Result<Answer, Error>) -> BoxFuture<'static, ()> {
        async move {
            let answer = answer.map_err(|error| match error.code() {
                Some(code) => bus::Error::failure(error.to_string(), code),
                None => bus::Error::message(error.to_string()),
            });
            if let Err(error) = self.respond_result(answer).await {
                // Whoever asked has gone.
                tracing::debug!(%error, "answer to a terminal's client is lost");
            }
        }
        .boxed()
    }
}

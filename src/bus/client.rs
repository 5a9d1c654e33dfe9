//! The handle of a client.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;
use tokio::sync::watch;

use super::{
    ConnectOptions, Error, Message, PublishOptions, Published, RequestManyOptions, RequestOptions, Responses, State,
    Status, SubscribeOptions, Subscription,
    core::Core,
    local,
    message::{JSON, MSGPACK},
    publish::within,
    remote, request,
    socket::{self, Socket, SocketOptions, SocketServer},
    subscription,
};
use crate::{
    broker::{Broker, User},
    wire::msgpack,
};

/// A client of the bus. Cloning it makes another handle of the same client.
///
/// The client closes with [`Client::close`], or when the last handle goes; subscriptions, services and virtual sockets hold
/// handles.
#[derive(Clone, Debug)]
pub struct Client {
    guard: Arc<Guard>,
}

/// Closes the client with its last handle.
#[derive(Debug)]
struct Guard {
    core: Arc<Core>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.core.close();
    }
}

impl Client {
    /// A client in the broker's own process. It is connected when this returns. Has to be called on the runtime.
    pub fn in_process(broker: &Arc<Broker>, user: User) -> Client {
        Client::from_core(local::start(broker, user))
    }

    /// A client over a WebSocket. It connects in the background and may be used at once. Has to be called on the runtime.
    ///
    /// # Errors
    /// The address is none, or the certificates to trust can't be read.
    pub fn connect(options: ConnectOptions) -> Result<Client, Error> {
        Ok(Client::from_core(remote::start(options)?))
    }

    pub(super) fn from_core(core: Arc<Core>) -> Client {
        Client { guard: Arc::new(Guard { core }) }
    }

    pub(super) fn core(&self) -> &Arc<Core> {
        &self.guard.core
    }

    /// A random name of this client, the default id of its socket servers.
    pub fn id(&self) -> &str {
        &self.core().id
    }

    /// Who is signed in, once that is known.
    pub fn user(&self) -> Option<User> {
        self.core().user.lock().clone()
    }

    /// Where the connection stands now.
    pub fn state(&self) -> State {
        self.core().status.borrow().state
    }

    /// The connection's state, to be watched.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.core().status.subscribe()
    }

    /// Waits until the client is connected and signed in.
    ///
    /// # Errors
    /// The client is closed, or sign-in failed; a client that reconnects goes on trying then.
    pub async fn connected(&self) -> Result<(), Error> {
        let mut status = self.status();
        let status =
            status.wait_for(|s| s.state != State::Connecting || s.error.is_some()).await.map_err(|_| Error::Closed)?;
        match &status.error {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }

    /// Messages and payload bytes received, without what the client itself needed to be told.
    pub fn received(&self) -> (u64, u64) {
        let received = &self.core().received;
        let order = std::sync::atomic::Ordering::Relaxed;
        (received.messages.load(order), received.bytes.load(order))
    }

    /// Subscribes to a pattern in a queue group of one's own. Returns when the subscription is effective.
    ///
    /// # Errors
    /// The pattern is none, or the server refuses.
    pub async fn subscribe(&self, pattern: &str) -> Result<Subscription, Error> {
        self.subscribe_with(pattern, SubscribeOptions::default()).await
    }

    /// Subscribes to a pattern.
    ///
    /// # Errors
    /// See [`Client::subscribe`]; also when there is a local subscription with another queue.
    pub async fn subscribe_with(&self, pattern: &str, options: SubscribeOptions) -> Result<Subscription, Error> {
        subscription::subscribe(self, pattern, options).await
    }

    /// Publishes without acknowledgement and without waiting. While the client is not connected, messages wait to be sent,
    /// up to a bound.
    ///
    /// # Errors
    /// The subject is none, the server refused it a short while ago, too much waits to be sent, or the client is closed.
    pub fn publish_sync<T: Serialize + ?Sized>(
        &self,
        subject: &str,
        value: &T,
        headers: Option<Value>,
    ) -> Result<(), Error> {
        self.core().publish_sync(subject, MSGPACK, msgpack::encode(value)?.into(), headers)
    }

    /// Publishes and waits for the acknowledgement.
    ///
    /// # Errors
    /// The subject is none, the server refuses, or did not answer in time.
    pub async fn publish<T: Serialize + ?Sized>(
        &self,
        subject: &str,
        value: &T,
        options: PublishOptions,
    ) -> Result<Published, Error> {
        self.publish_bytes(subject, MSGPACK, msgpack::encode(value)?.into(), options).await
    }

    /// Publishes JSON and waits for the acknowledgement.
    ///
    /// # Errors
    /// See [`Client::publish`].
    pub async fn publish_json<T: Serialize + ?Sized>(
        &self,
        subject: &str,
        value: &T,
        options: PublishOptions,
    ) -> Result<Published, Error> {
        let payload = serde_json::to_vec(value).map_err(|e| Error::Encoding(e.to_string()))?;
        self.publish_bytes(subject, JSON, payload.into(), options).await
    }

    /// Publishes a payload that is encoded already.
    ///
    /// # Errors
    /// See [`Client::publish`].
    pub async fn publish_bytes(
        &self,
        subject: &str,
        encoding: u64,
        payload: Bytes,
        options: PublishOptions,
    ) -> Result<Published, Error> {
        let PublishOptions { headers, timeout, wait_for_interest } = options;
        if wait_for_interest {
            self.core().publish_waiting(subject, encoding, payload, headers, timeout).await
        } else {
            self.core().publish(subject, encoding, payload, headers, timeout).await
        }
    }

    /// Publishes a payload that is encoded already, without acknowledgement and without waiting.
    ///
    /// # Errors
    /// See [`Client::publish_sync`].
    pub fn publish_bytes_sync(
        &self,
        subject: &str,
        encoding: u64,
        payload: Bytes,
        headers: Option<Value>,
    ) -> Result<(), Error> {
        self.core().publish_sync(subject, encoding, payload, headers)
    }

    /// Waits until somebody is subscribed to a pattern that matches; false when nobody was in time.
    ///
    /// # Errors
    /// The subject is none, or the server refuses.
    pub async fn wait_for_interest(&self, subject: &str, timeout: Duration) -> Result<bool, Error> {
        self.core().wait_for_interest(subject, timeout).await
    }

    /// Whether anybody is subscribed to a pattern that matches now.
    ///
    /// # Errors
    /// See [`Client::wait_for_interest`].
    pub async fn has_interest(&self, subject: &str) -> Result<bool, Error> {
        self.core().wait_for_interest(subject, Duration::ZERO).await
    }

    /// Sends a request and waits for the first response.
    ///
    /// # Errors
    /// Nobody is subscribed (503), no response in time (408), the response is an error, or the publish failed.
    pub async fn request<T: Serialize + ?Sized>(
        &self,
        subject: &str,
        value: &T,
        options: RequestOptions,
    ) -> Result<Message, Error> {
        request::request(self.core(), subject, msgpack::encode(value)?.into(), options).await
    }

    /// Sends a request to which many responses may come.
    ///
    /// # Errors
    /// Nobody is subscribed (503), or the publish failed.
    pub async fn request_many<T: Serialize + ?Sized>(
        &self,
        subject: &str,
        value: &T,
        options: RequestManyOptions,
    ) -> Result<Responses, Error> {
        request::request_many(self, subject, msgpack::encode(value)?.into(), options).await
    }

    /// Calls a service directly, past the interest table (§20.5). The payload is MessagePack; so is the result.
    ///
    /// # Errors
    /// Nobody has registered the service (503, `no services matching`), no answer in time (408), or the service failed.
    pub async fn call_direct(&self, subject: &str, payload: Bytes, timeout: Duration) -> Result<Bytes, Error> {
        let answer = self.core().link().call(subject, payload, timeout);
        super::calls::read_answer(&within(timeout, "fast-rpc", answer).await?)
    }

    /// Serves virtual sockets on a base subject, which may have wildcards. The server can be found when this returns.
    ///
    /// # Errors
    /// The subscriptions are refused, or this client has a server there already.
    pub async fn socket_listen(&self, base: &str, options: SocketOptions) -> Result<SocketServer, Error> {
        socket::listen(self, base, options).await
    }

    /// Opens a virtual socket to the server on a base subject. The socket connects in the background; it may be written to
    /// at once. Has to be called on the runtime.
    ///
    /// # Errors
    /// The base is not a subject.
    pub fn socket_connect(&self, base: &str, options: SocketOptions) -> Result<Socket, Error> {
        socket::connect(self, base, options)
    }

    /// Closes the client: what waits to be sent is sent, subscriptions, services and sockets end.
    pub fn close(&self) {
        self.core().close();
    }

    /// Closes the client and waits until its tasks have ended.
    pub async fn closed(&self) {
        self.core().closing.cancelled().await;
        self.core().tasks.wait().await;
    }
}

//! The server's side: finding out who connects, and handing each message to its socket.

use std::{collections::HashMap, sync::Arc};

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::{
    sync::mpsc,
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;

use super::{
    Socket,
    driver::drive_server,
    endpoint::{Endpoint, Role, nil},
    names::{self, ATTEMPT, COMMAND},
    options::{Reason, SocketOptions, SocketState},
};
use crate::bus::{Client, Error, Message, SubscribeOptions, Subscription, message::MSGPACK};

/// Connections that may wait to be accepted.
const BACKLOG: usize = 1024;

/// A server of virtual sockets on a base subject. Dropping it closes it and all its sockets.
#[derive(Debug)]
pub struct SocketServer {
    shared: Arc<Shared>,
    accepted: mpsc::Receiver<Socket>,
}

#[derive(Debug)]
struct Shared {
    client: Client,
    base: String,
    id: String,
    options: SocketOptions,
    sockets: Mutex<HashMap<String, Arc<Endpoint>, RandomState>>,
    closing: CancellationToken,
    backlog: mpsc::Sender<Socket>,
}

#[derive(Serialize)]
struct Identity<'a> {
    id: &'a str,
}

/// Starts a server; it can be found when this returns.
pub(in crate::bus) async fn listen(client: &Client, base: &str, options: SocketOptions) -> Result<SocketServer, Error> {
    let core = client.core();
    let id = options.server_id.clone().unwrap_or_else(|| core.id.clone());
    if !core.socket_servers.lock().insert(base.to_owned()) {
        return Err(Error::message(format!("this client has a socket server on '{base}' already")));
    }
    let (backlog, accepted) = mpsc::channel(BACKLOG);
    let shared = Arc::new(Shared {
        client: client.clone(),
        base: base.to_owned(),
        id,
        options,
        sockets: Mutex::default(),
        closing: CancellationToken::new(),
        backlog,
    });
    // Dropped on any way out, it frees the base subject again.
    let server = SocketServer { shared: shared.clone(), accepted };
    // Who finds the server can talk to it, so the status comes last.
    let (max_messages, max_bytes) = shared.options.server_queue;
    let queue = SubscribeOptions { max_messages, max_bytes, ..SubscribeOptions::default() };
    let messages = client.subscribe_with(&names::server_pattern(base, &shared.id), queue).await?;
    let status = client.subscribe(&names::status(base)).await?;
    core.tasks.spawn(serve(shared, messages, status));
    Ok(server)
}

impl SocketServer {
    /// The next socket, or `None` when the server is closed.
    pub async fn accept(&mut self) -> Option<Socket> {
        tokio::select! {
            socket = self.accepted.recv() => socket,
            () = self.shared.closing.cancelled() => None,
        }
    }

    /// The base subject; it may have wildcards.
    pub fn base(&self) -> &str {
        &self.shared.base
    }

    /// The server's id.
    pub fn id(&self) -> &str {
        &self.shared.id
    }

    /// All sockets there are now.
    pub fn sockets(&self) -> Vec<Socket> {
        self.shared.sockets.lock().values().map(|endpoint| Socket::borrowed(endpoint.clone())).collect()
    }

    /// Writes to all sockets. Sockets that have no room are left out; their number is returned.
    ///
    /// # Errors
    /// The value can't be encoded.
    pub fn write_all<T: Serialize + ?Sized>(&self, value: &T, headers: Option<Value>) -> Result<usize, Error> {
        let payload: bytes::Bytes = crate::wire::msgpack::encode(value)?.into();
        let write = |socket: &Socket| socket.write_bytes(MSGPACK, payload.clone(), headers.clone()).is_err();
        Ok(self.sockets().iter().filter(|socket| write(socket)).count())
    }

    /// Sends a request to all sockets at once and waits for all answers.
    ///
    /// # Errors
    /// The value can't be encoded.
    pub async fn request_all<T: Serialize + ?Sized>(
        &self,
        value: &T,
        timeout: Duration,
    ) -> Result<Vec<Result<Message, Error>>, Error> {
        let payload: bytes::Bytes = crate::wire::msgpack::encode(value)?.into();
        let sockets = self.sockets();
        let requests = sockets.iter().map(|socket| socket.request_bytes(payload.clone(), None, timeout));
        Ok(futures_util::future::join_all(requests).await)
    }

    /// Sends a request to all sockets at once and waits for the first good answer.
    ///
    /// # Errors
    /// The value can't be encoded, or nobody answered.
    pub async fn request_any<T: Serialize + ?Sized>(&self, value: &T, timeout: Duration) -> Result<Message, Error> {
        let payload: bytes::Bytes = crate::wire::msgpack::encode(value)?.into();
        let sockets = self.sockets();
        let requests = sockets.iter().map(|s| Box::pin(s.request_bytes(payload.clone(), None, timeout)));
        let requests: Vec<_> = requests.collect();
        if requests.is_empty() {
            return Err(Error::NoSubscribers(self.base().into()));
        }
        futures_util::future::select_ok(requests).await.map(|(message, _)| message)
    }

    /// Closes the server and all its sockets; returns when their clients have been told.
    pub async fn close(self) {
        self.shared.closing.cancel();
        let sockets: Vec<_> = self.shared.sockets.lock().values().cloned().collect();
        for endpoint in sockets {
            endpoint.close(Reason::Local);
        }
        self.shared.wait_empty().await;
    }
}

impl Drop for SocketServer {
    fn drop(&mut self) {
        self.shared.closing.cancel();
        let core = self.shared.client.core();
        core.socket_servers.lock().remove(&self.shared.base);
        for endpoint in self.shared.sockets.lock().values() {
            endpoint.close(Reason::Local);
        }
    }
}

impl Shared {
    async fn wait_empty(&self) {
        loop {
            let next = self.sockets.lock().values().next().cloned();
            let Some(endpoint) = next else { return };
            let removed = endpoint.drained.notified();
            if !self.sockets.lock().contains_key(&endpoint.id) {
                continue;
            }
            removed.await;
        }
    }

    /// Handles a message from a client.
    fn receive(self: &Arc<Self>, message: Message) {
        let Some((base, id)) = names::parse(message.subject()) else { return };
        let (base, id) = (base.to_owned(), id.to_owned());
        let command = message.header_str(COMMAND).map(str::to_owned);
        let known = self.sockets.lock().get(&id).filter(|e| !e.is_closed()).cloned();
        // Whoever may publish to one base subject must not reach the sockets of another.
        if known.as_ref().is_some_and(|endpoint| endpoint.base != base) {
            return self.refuse(&names::client(&base, &id));
        }
        match (known, command.as_deref()) {
            (Some(endpoint), Some("connect")) => {
                *endpoint.heard.lock() = Instant::now();
                // While the socket is being made, its first request is answered; clients ask again.
                if endpoint.state() == SocketState::Ready {
                    let answer = answer_connect(endpoint, message, Duration::ZERO);
                    self.client.core().tasks.spawn(answer);
                }
            }
            (Some(endpoint), _) => endpoint.receive(message),
            (None, Some("connect")) => self.connect(base, id, message),
            (None, Some("close")) => {
                if let Err(error) = message.respond_sync("closed") {
                    tracing::debug!(%error, "a close was not answered");
                }
            }
            (None, _) => self.refuse(&names::client(&base, &id)),
        }
    }

    /// Tells a client that there is no such socket.
    fn refuse(&self, client: &str) {
        let headers = Some(json!({COMMAND: "close"}));
        if let Err(error) = self.client.core().publish_sync(client, MSGPACK, nil(), headers) {
            tracing::debug!(subject = client, %error, "a socket was not refused");
        }
    }

    fn connect(self: &Arc<Self>, base: String, id: String, message: Message) {
        let peer = names::client(&base, &id);
        let mut sockets = self.sockets.lock();
        if self.closing.is_cancelled() || sockets.len() >= self.options.max_sockets {
            drop(sockets);
            return self.refuse(&peer);
        }
        let core = self.client.core().clone();
        let endpoint = Endpoint::new(core.clone(), Role::Server, id.clone(), base, peer, self.options.clone());
        // An earlier socket of this id is closed and about to leave.
        sockets.insert(id, endpoint.clone());
        drop(sockets);
        let shared = self.clone();
        core.tasks.spawn(async move {
            shared.host(endpoint.clone(), message).await;
            let mut sockets = shared.sockets.lock();
            if sockets.get(&endpoint.id).is_some_and(|e| Arc::ptr_eq(e, &endpoint)) {
                sockets.remove(&endpoint.id);
            }
            drop(sockets);
            endpoint.drained.notify_waiters();
        });
    }

    /// The life of one socket.
    async fn host(&self, endpoint: Arc<Endpoint>, request: Message) {
        let started = Instant::now();
        let peer = endpoint.peer.lock().clone();
        let wait = endpoint.core.wait_for_interest(&peer, self.options.times.client_interest);
        let mut state = endpoint.state.subscribe();
        let found = tokio::select! {
            found = wait => matches!(found, Ok(true)),
            _ = state.wait_for(|s| *s == SocketState::Closed) => false,
        };
        if !found {
            return endpoint.close(Reason::Gone);
        }
        let waited = started.elapsed();
        let Ok(place) = self.backlog.try_reserve() else {
            tracing::warn!(subject = endpoint.base, "a socket was refused: too many wait to be accepted");
            endpoint.close(Reason::Local);
            return endpoint.tell_closed();
        };
        // The application's handle; when it lets go of the last one, the socket closes.
        let socket = Socket::new(endpoint.clone());
        let answer = answer_connect(endpoint.clone(), request, waited);
        tokio::pin!(answer);
        endpoint.set_state(SocketState::Ready);
        // The answer goes out before what the application writes.
        let answered = futures_util::poll!(&mut answer).is_ready();
        place.send(socket);
        let rest = async {
            if !answered {
                answer.await;
            }
        };
        tokio::join!(rest, drive_server(endpoint));
    }
}

/// Tells a client that it is connected, in the way or ways it understands (§20.9).
async fn answer_connect(endpoint: Arc<Endpoint>, request: Message, waited: Duration) {
    let attempt = request.header(ATTEMPT).cloned();
    if attempt.is_some() || !request.is_request() {
        let mut headers = json!({COMMAND: "connected", "waitForClientInterestMs": waited.as_millis() as u64});
        if let (Some(attempt), Value::Object(map)) = (attempt, &mut headers) {
            map.insert(ATTEMPT.into(), attempt);
        }
        let peer = endpoint.peer.lock().clone();
        if let Err(error) = endpoint.core.publish_sync(&peer, MSGPACK, nil(), Some(headers)) {
            tracing::debug!(subject = peer, %error, "a client was not told that it is connected");
        }
    }
    if let Err(error) = request.respond("connected").await {
        tracing::debug!(subject = endpoint.base, %error, "a client was not told that it is connected");
    }
}

async fn serve(shared: Arc<Shared>, mut messages: Subscription, mut status: Subscription) {
    loop {
        let received = tokio::select! {
            received = messages.recv() => received.map(|message| shared.receive(message)),
            asked = status.recv() => asked.and_then(|asked| asked.respond_sync(&Identity { id: &shared.id })),
            () = shared.closing.cancelled() => break,
        };
        match received {
            Ok(()) => {}
            Err(Error::Closed) => break,
            Err(error @ (Error::SlowReader(_) | Error::Refused { .. })) => {
                tracing::warn!(subject = shared.base, %error, "a socket server lost its subscription");
                break;
            }
            Err(error) => tracing::debug!(%error, "a status request was not answered"),
        }
    }
    shared.closing.cancel();
    for endpoint in shared.sockets.lock().values() {
        endpoint.close(Reason::Local);
    }
}

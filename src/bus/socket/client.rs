//! The client's side: finding a server, connecting, connecting again (conat-wire.md §§17.2, 17.3, 17.9).

use std::sync::{Arc, atomic::Ordering};

use serde::Deserialize;
use serde_json::json;
use tokio::time::{Instant, timeout_at};

use super::{
    Socket,
    driver::{Outcome, run, wait_connected},
    endpoint::{Endpoint, Role, nil},
    names::{self, ATTEMPT, COMMAND},
    options::{Choice, Reason, SocketOptions, SocketState},
    reliable::Backoff,
};
use crate::{
    bus::{Client, Error, RequestOptions, Subscription, id::random_id, request::request},
    wire::subject::is_valid_subject,
};

/// After so many failed attempts, another server that answers in place of the one a socket had is believed.
const BELIEVE_AFTER: u32 = 3;

#[derive(Deserialize)]
struct Identity {
    id: String,
}

/// Starts to connect. What is written meanwhile is sent when the socket is ready.
pub(in crate::bus) fn connect(client: &Client, base: &str, options: SocketOptions) -> Result<Socket, Error> {
    if !is_valid_subject(base) {
        return Err(Error::InvalidSubject(base.into()));
    }
    let core = client.core().clone();
    let endpoint = Endpoint::new(core.clone(), Role::Client, random_id(), base.to_owned(), String::new(), options);
    let dialer = Dialer { client: client.clone(), endpoint: endpoint.clone(), server: None, attempts: 0 };
    core.tasks.spawn(dialer.drive());
    Ok(Socket::new(endpoint))
}

struct Dialer {
    client: Client,
    endpoint: Arc<Endpoint>,
    /// The server this socket has a history with.
    server: Option<String>,
    attempts: u32,
}

impl Dialer {
    async fn drive(mut self) {
        let mut state = self.endpoint.state.subscribe();
        let endpoint = self.endpoint.clone();
        tokio::select! {
            () = self.live() => {}
            // Whatever is under way ends with the socket.
            _ = state.wait_for(|s| *s == SocketState::Closed) => {}
            () = endpoint.core.closing.cancelled() => endpoint.close(Reason::Bus),
        }
        if !matches!(*endpoint.reason.lock(), Some(Reason::Peer | Reason::Bus)) {
            endpoint.tell_closed();
        }
    }

    async fn live(&mut self) {
        let times = self.endpoint.options.times;
        let mut backoff = Backoff::new(times.connect_pause, times.connect_pause_max);
        let mut returning = false;
        loop {
            self.endpoint.set_state(SocketState::Connecting);
            wait_connected(&self.endpoint).await;
            match self.connect().await {
                Ok(messages) => {
                    backoff = Backoff::new(times.connect_pause, times.connect_pause_max);
                    self.attempts = 0;
                    // Whoever wanted this has it.
                    self.endpoint.restart.store(false, Ordering::Release);
                    self.endpoint.connects.fetch_add(1, Ordering::AcqRel);
                    self.endpoint.set_state(SocketState::Ready);
                    let outcome = self.converse(messages, returning).await;
                    returning = true;
                    if outcome == Outcome::Closed {
                        return;
                    }
                    self.endpoint.set_state(SocketState::Disconnected);
                    if !self.endpoint.options.reconnect {
                        return std::future::pending().await;
                    }
                    tokio::time::sleep(times.restart).await;
                }
                Err(error) => {
                    tracing::debug!(subject = self.endpoint.base, %error, "a socket could not connect");
                    self.attempts += 1;
                    tokio::time::sleep(backoff.step()).await;
                }
            }
            if self.endpoint.is_closed() {
                return;
            }
        }
    }

    /// Reads and drives the socket while it is ready.
    async fn converse(&self, mut messages: Subscription, returning: bool) -> Outcome {
        let read = async {
            loop {
                match messages.recv().await {
                    Ok(message) => self.endpoint.receive(message),
                    Err(Error::SlowReader(_)) => return self.endpoint.close(Reason::SlowReader),
                    // The driver sees that the connection is gone.
                    Err(_) => return std::future::pending().await,
                }
            }
        };
        tokio::select! {
            outcome = run(&self.endpoint, returning) => outcome,
            () = read => Outcome::Closed,
        }
    }

    /// One attempt.
    async fn connect(&mut self) -> Result<Subscription, Error> {
        let endpoint = self.endpoint.clone();
        let deadline = Instant::now() + endpoint.options.times.connect;
        let late = || Error::Timeout(format!("connecting to '{}'", endpoint.base));
        let server = timeout_at(deadline, self.choose()).await.map_err(|_| late())??;
        *endpoint.peer.lock() = names::server(&endpoint.base, &server, &endpoint.id);
        let subject = names::client(&endpoint.base, &endpoint.id);
        let mut messages = timeout_at(deadline, self.client.subscribe(&subject)).await.map_err(|_| late())??;
        let connected = self.shake_hands(&mut messages, deadline);
        timeout_at(deadline, connected).await.map_err(|_| late())??;
        self.server = Some(server);
        Ok(messages)
    }

    /// Asks the server to connect in the way of both generations, and takes whichever answer is first.
    async fn shake_hands(&self, messages: &mut Subscription, deadline: Instant) -> Result<(), Error> {
        let endpoint = &self.endpoint;
        let peer = endpoint.peer.lock().clone();
        let headers = json!({COMMAND: "connect", ATTEMPT: self.attempts + 1, "id": endpoint.id});
        let options = RequestOptions {
            headers: Some(headers),
            timeout: deadline.saturating_duration_since(Instant::now()),
            wait_for_interest: true,
        };
        let answer = request(&endpoint.core, &peer, nil(), options);
        tokio::pin!(answer);
        let mut answered = false;
        loop {
            tokio::select! {
                answer = &mut answer, if !answered => match answer {
                    Ok(answer) if answer.decode::<String>().is_ok_and(|text| text == "connected") => return Ok(()),
                    Ok(_) => return Err(Error::Answer("the server does not connect".into())),
                    // A newer server does not answer, it publishes; a request that it can't see fails at once.
                    Err(Error::Timeout(_)) => answered = true,
                    Err(error) => return Err(error),
                },
                message = messages.recv() => {
                    let message = message?;
                    match message.header_str(COMMAND) {
                        Some("connected") => return Ok(()),
                        _ => endpoint.receive(message),
                    }
                    if endpoint.is_closed() {
                        return Err(Error::Closed);
                    }
                }
            }
        }
    }

    /// The server to connect to. A socket with a history goes on with the server it has it with, or ends.
    async fn choose(&mut self) -> Result<String, Error> {
        let endpoint = &self.endpoint;
        let fresh = {
            let channel = endpoint.channel.lock();
            channel.receiver.is_fresh() && !channel.sender.has_sent()
        };
        let earlier = self.server.clone().filter(|_| !fresh);
        if let Some(earlier) = &earlier {
            let peer = names::server(&endpoint.base, earlier, &endpoint.id);
            if self.attempts < BELIEVE_AFTER
                || endpoint.core.wait_for_interest(&peer, std::time::Duration::ZERO).await?
            {
                return Ok(earlier.clone());
            }
        }
        let server = match &endpoint.options.choice {
            Choice::Fixed(server) => server.clone(),
            Choice::Ask(subject) => self.ask(subject).await?.decode()?,
            Choice::Status => self.ask(&names::status(&endpoint.base)).await?.decode::<Identity>()?.id,
        };
        match earlier {
            Some(earlier) if earlier != server => {
                endpoint.close(Reason::Gone);
                Err(Error::Closed)
            }
            _ => Ok(server),
        }
    }

    async fn ask(&self, subject: &str) -> Result<crate::bus::Message, Error> {
        let timeout = self.endpoint.options.times.connect;
        let options = RequestOptions { timeout, wait_for_interest: true, headers: None };
        request(&self.endpoint.core, subject, nil(), options).await
    }
}

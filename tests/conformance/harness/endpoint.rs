//! Ends of virtual sockets that are spoken by hand (conat-wire.md §§17, 20.9).

use std::ops::{Deref, DerefMut};

use outpost::bus::random_id;
use serde::Serialize;
use serde_json::{Value, json};

use super::{Bus, Raw, Seen};

/// How a peer connects, or answers a connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generation {
    /// Request and response.
    A,
    /// Plain publishes.
    B,
}

/// What both ends have in common: pings and reports are answered while one looks for something else.
pub struct End {
    pub raw: Raw,
    /// Where the peer listens.
    pub peer: String,
    /// What the peer has reported as delivered.
    pub emitted: Vec<u64>,
}

impl End {
    fn new(raw: Raw, peer: String) -> End {
        End { raw, peer, emitted: Vec::new() }
    }

    /// Sends data with a number.
    pub fn data<T: Serialize + ?Sized>(&mut self, seq: u64, value: &T) {
        self.data_with(seq, value, json!({}));
    }

    pub fn data_with<T: Serialize + ?Sized>(&mut self, seq: u64, value: &T, mut headers: Value) {
        headers["CN-SocketSeq"] = json!(seq);
        self.raw.publish(&self.peer, value, Some(headers));
    }

    /// Reports what was delivered; the answer.
    pub async fn report(&mut self, seq: u64) -> Value {
        let peer = self.peer.clone();
        let body = json!({"socket": {"emitted": seq}});
        self.raw.request(&peer, &body, json!({"CN-SocketCmd": "socket"})).await.value()
    }

    /// Asks for missing data; the answer.
    pub async fn missing(&mut self, seqs: &[u64]) -> Seen {
        let peer = self.peer.clone();
        let body = json!({"socket": {"missing": seqs}});
        self.raw.request(&peer, &body, json!({"CN-SocketCmd": "socket"})).await
    }

    /// The next frame that is neither a ping nor a report; those are answered.
    pub async fn next(&mut self) -> Seen {
        loop {
            let seen = self.raw.next().await;
            if seen.header("CN-SocketCmd") == "ping" {
                self.raw.respond(&seen, &(), None);
            } else if let Some(n) = seen.value().pointer("/socket/emitted").and_then(Value::as_u64) {
                self.emitted.push(n);
                self.raw.respond(&seen, &json!({"emitted": n}), None);
            } else {
                return seen;
            }
        }
    }

    /// The next data: its number, value and all headers. Data that repeats what is there already is skipped.
    pub async fn next_data(&mut self, after: u64) -> (u64, Value, Value) {
        loop {
            let seen = self.next().await;
            match seen.header("CN-SocketSeq").as_u64() {
                Some(seq) if seq > after => return (seq, seen.value(), seen.frame.headers.clone().unwrap_or_default()),
                Some(_) => {}
                None => assert_ne!(seen.header("CN-SocketCmd"), "close", "the peer has closed the socket"),
            }
        }
    }

    /// The next command of this name; other things are skipped.
    pub async fn next_command(&mut self, command: &str) -> Seen {
        loop {
            let seen = self.next().await;
            if seen.header("CN-SocketCmd") == command {
                return seen;
            }
        }
    }

    /// Works until the peer has reported this number.
    pub async fn until_emitted(&mut self, seq: u64) {
        while !self.emitted.contains(&seq) {
            let seen = self.raw.next().await;
            if let Some(n) = seen.value().pointer("/socket/emitted").and_then(Value::as_u64) {
                self.emitted.push(n);
                self.raw.respond(&seen, &json!({"emitted": n}), None);
            }
        }
    }
}

/// A client that is connected.
pub struct RawClient {
    end: End,
    pub id: String,
}

impl RawClient {
    /// Finds a server on a base subject and connects to it.
    pub async fn connect(bus: &Bus, base: &str, generation: Generation) -> RawClient {
        let mut raw = bus.raw();
        let found = raw.request(&format!("{base}.server.status"), &(), json!({})).await.value();
        let server = found["id"].as_str().expect("an id").to_owned();
        let id = random_id();
        raw.subscribe(&format!("{base}.client.{id}"));
        let peer = format!("{base}.server.{server}.{id}");
        let mut end = End::new(raw, peer.clone());
        match generation {
            Generation::A => {
                let headers = json!({"CN-SocketCmd": "connect", "id": id});
                assert_eq!(end.raw.request(&peer, &(), headers).await.value(), "connected");
            }
            Generation::B => {
                let headers = json!({"CN-SocketCmd": "connect", "CN-SocketConnectAttempt": 1, "id": id});
                end.raw.publish(&peer, &(), Some(headers));
                let answer = end.next_command("connected").await;
                assert_eq!(answer.header("CN-SocketConnectAttempt"), 1);
                assert!(answer.header("waitForClientInterestMs").is_u64(), "{answer:?}");
                assert_eq!((answer.value(), answer.reply()), (Value::Null, None));
            }
        }
        RawClient { end, id }
    }
}

impl Deref for RawClient {
    type Target = End;

    fn deref(&self) -> &End {
        &self.end
    }
}

impl DerefMut for RawClient {
    fn deref_mut(&mut self) -> &mut End {
        &mut self.end
    }
}

/// A server for one client.
pub struct RawServer {
    end: End,
    base: String,
    pub id: String,
}

impl RawServer {
    pub fn listen(bus: &Bus, base: &str) -> RawServer {
        let id = random_id();
        let mut raw = bus.raw();
        raw.subscribe(&format!("{base}.server.{id}.*"));
        raw.subscribe(&format!("{base}.server.status"));
        RawServer { end: End::new(raw, String::new()), base: base.into(), id }
    }

    /// Waits for a client and connects with it; gives its connect command.
    pub async fn accept(&mut self, generation: Generation) -> Seen {
        loop {
            let seen = self.raw.next().await;
            if seen.subject.ends_with(".status") {
                let id = self.id.clone();
                self.raw.respond(&seen, &json!({"id": id}), None);
            } else if seen.header("CN-SocketCmd") == "connect" {
                let client = seen.subject.rsplit('.').next().unwrap_or_default();
                self.end.peer = format!("{}.client.{client}", self.base);
                match generation {
                    Generation::A => self.raw.respond(&seen, "connected", None),
                    Generation::B => {
                        let mut headers = json!({"CN-SocketCmd": "connected", "waitForClientInterestMs": 0});
                        headers["CN-SocketConnectAttempt"] = seen.header("CN-SocketConnectAttempt");
                        let peer = self.peer.clone();
                        self.raw.publish(&peer, &(), Some(headers));
                    }
                }
                return seen;
            }
        }
    }
}

impl Deref for RawServer {
    type Target = End;

    fn deref(&self) -> &End {
        &self.end
    }
}

impl DerefMut for RawServer {
    fn deref_mut(&mut self) -> &mut End {
        &mut self.end
    }
}

//! Ends of virtual sockets made of plain publishes and requests, and helpers for real ones.

use std::time::Duration;

use outpost::bus::{
    Client, Message, RequestOptions, Subscription, random_id,
    socket::{Incoming, Socket, SocketOptions, SocketServer},
};
use serde_json::{Value, json};

use crate::server::in_time;

pub async fn data(socket: &Socket) -> Value {
    match in_time(socket.recv()).await {
        Some(Incoming::Data(message)) => message.decode().unwrap(),
        other => panic!("expected data, got {other:?}"),
    }
}

pub async fn listen(client: &Client, base: &str) -> SocketServer {
    client.socket_listen(base, SocketOptions::default()).await.unwrap()
}

/// Options without pings, for what has to be quiet.
pub fn quiet() -> SocketOptions {
    SocketOptions {
        keep_alive: Duration::from_secs(100_000),
        keep_alive_timeout: Duration::from_secs(100_000),
        ..SocketOptions::default()
    }
}

/// A socket client made of plain publishes and requests.
pub struct RawClient {
    client: Client,
    base: String,
    pub id: String,
    messages: Subscription,
}

impl RawClient {
    pub async fn new(client: &Client, base: &str) -> RawClient {
        let id = random_id();
        let messages = client.subscribe(&format!("{base}.client.{id}")).await.unwrap();
        RawClient { client: client.clone(), base: base.into(), id, messages }
    }

    pub fn server(&self, server: &str) -> String {
        format!("{}.server.{server}.{}", self.base, self.id)
    }

    /// Connects as an older client does.
    pub async fn connect(&self, server: &str) -> String {
        let headers = Some(json!({"CN-SocketCmd": "connect", "id": self.id}));
        let options = RequestOptions { headers, ..RequestOptions::default() };
        self.client.request(&self.server(server), &(), options).await.unwrap().decode().unwrap()
    }

    pub fn send(&self, server: &str, seq: u64, value: &str) {
        let headers = Some(json!({"CN-SocketSeq": seq}));
        self.client.publish_sync(&self.server(server), value, headers).unwrap();
    }

    pub async fn next(&mut self) -> Message {
        in_time(self.messages.recv()).await.unwrap()
    }

    /// The next message with this command; pings are answered on the way.
    pub async fn command(&mut self, command: &str) -> Message {
        loop {
            let message = self.next().await;
            match message.header_str("CN-SocketCmd") {
                Some(got) if got == command => return message,
                Some("ping") => message.respond_sync(&()).unwrap(),
                other => panic!("expected {command}, got {other:?}: {message:?}"),
            }
        }
    }
}

/// A socket server made of plain subscriptions.
pub struct RawServer {
    client: Client,
    base: String,
    status: Subscription,
    messages: Subscription,
}

impl RawServer {
    pub async fn new(client: &Client, base: &str) -> RawServer {
        let messages = client.subscribe(&format!("{base}.server.S.*")).await.unwrap();
        let status = client.subscribe(&format!("{base}.server.status")).await.unwrap();
        RawServer { client: client.clone(), base: base.into(), status, messages }
    }

    pub async fn choose(&mut self) {
        let asked = in_time(self.status.recv()).await.unwrap();
        asked.respond_sync(&json!({"id": "S"})).unwrap();
    }

    pub async fn next(&mut self) -> Message {
        in_time(self.messages.recv()).await.unwrap()
    }

    /// Takes a client in as an older server does; gives the client's id.
    pub async fn connect(&mut self) -> String {
        self.choose().await;
        let connect = self.next().await;
        assert_eq!(connect.header_str("CN-SocketCmd"), Some("connect"));
        connect.respond("connected").await.unwrap();
        connect.header_str("id").unwrap().to_owned()
    }

    /// The next message with this command; pings are answered on the way.
    pub async fn command(&mut self, command: &str) -> Message {
        loop {
            let message = self.next().await;
            match message.header_str("CN-SocketCmd") {
                Some(got) if got == command => return message,
                Some("ping") => message.respond_sync(&()).unwrap(),
                other => panic!("expected {command}, got {other:?}: {message:?}"),
            }
        }
    }

    /// The next data message; pings are answered on the way.
    pub async fn data(&mut self) -> Message {
        loop {
            let message = self.next().await;
            match message.header_str("CN-SocketCmd") {
                None => return message,
                Some("ping") => message.respond_sync(&()).unwrap(),
                Some(other) => panic!("expected data, got {other}"),
            }
        }
    }

    pub fn send(&self, id: &str, seq: u64, value: &str) {
        let headers = Some(json!({"CN-SocketSeq": seq}));
        self.client.publish_sync(&format!("{}.client.{id}", self.base), value, headers).unwrap();
    }
}

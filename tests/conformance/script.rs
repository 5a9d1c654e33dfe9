//! A server that says and expects what the test tells it to, packet by packet.

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use outpost::bus::{Client, ConnectOptions, Connector};
use serde_json::{Value, json};
use tokio::{io::DuplexStream, sync::mpsc};
use tokio_tungstenite::{WebSocketStream, tungstenite::Message};

use crate::server::in_time;

/// Connections of clients, one after the other.
pub struct Script {
    streams: mpsc::UnboundedReceiver<DuplexStream>,
}

/// One connection as the server sees it.
pub struct Peer {
    ws: WebSocketStream<DuplexStream>,
    pub headers: http::HeaderMap,
    pub uri: http::Uri,
    /// What came with CONNECT.
    pub connect: String,
}

/// An event of the client's.
#[derive(Debug)]
pub struct Event {
    pub id: Option<u64>,
    pub name: String,
    pub argument: Value,
    pub attachments: Vec<Bytes>,
}

impl Event {
    /// The headers of a publish.
    pub fn headers(&self) -> &Value {
        &self.argument[6]
    }
}

/// A script and the options of a client that reaches it.
pub fn script() -> (Script, ConnectOptions) {
    let (sender, streams) = mpsc::unbounded_channel();
    let connector = Connector::new(move || {
        let (near, far) = tokio::io::duplex(64 << 20);
        // A test that is over refuses connections.
        let opened = sender.send(far).map(|()| near).map_err(|_| std::io::ErrorKind::ConnectionRefused.into());
        std::future::ready(opened)
    });
    (Script { streams }, ConnectOptions { connector: Some(connector), ..ConnectOptions::new("http://script/base") })
}

/// A client and the server's end of its connection, signed in, its inbox subscribed.
pub async fn signed_in() -> (Client, Script, Peer) {
    let (mut script, options) = script();
    let client = Client::connect(options).unwrap();
    let mut peer = script.accept().await;
    peer.info(8_000_000).await;
    peer.answer_inbox().await;
    (client, script, peer)
}

impl Script {
    /// The next connection, up to the socket id.
    pub async fn accept(&mut self) -> Peer {
        let stream = in_time(self.streams.recv()).await.unwrap();
        let (mut headers, mut uri) = (http::HeaderMap::new(), http::Uri::default());
        #[expect(clippy::result_large_err, reason = "the type is the library's")]
        let copy = |request: &http::Request<()>, response| {
            (headers, uri) = (request.headers().clone(), request.uri().clone());
            Ok(response)
        };
        let ws = in_time(tokio_tungstenite::accept_hdr_async(stream, copy)).await.unwrap();
        let mut peer = Peer { ws, headers, uri, connect: String::new() };
        let open = r#"0{"sid":"x","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":8000000}"#;
        peer.send(open).await;
        peer.connect = peer.text().await;
        peer.send(r#"40{"sid":"y"}"#).await;
        peer
    }
}

impl Peer {
    pub async fn send(&mut self, text: &str) {
        self.ws.send(Message::text(text)).await.unwrap();
    }

    pub async fn send_binary(&mut self, bytes: &[u8]) {
        self.ws.send(Message::binary(bytes.to_vec())).await.unwrap();
    }

    /// The next text message.
    pub async fn text(&mut self) -> String {
        match in_time(self.ws.next()).await {
            Some(Ok(Message::Text(text))) => text.to_string(),
            other => panic!("expected text, got {other:?}"),
        }
    }

    async fn binary(&mut self) -> Bytes {
        match in_time(self.ws.next()).await {
            Some(Ok(Message::Binary(bytes))) => bytes,
            other => panic!("expected bytes, got {other:?}"),
        }
    }

    /// Whether the client closes the connection next.
    pub async fn is_closed(&mut self) -> bool {
        !matches!(in_time(self.ws.next()).await, Some(Ok(Message::Text(_) | Message::Binary(_))))
    }

    /// The next event, `stats` left aside.
    pub async fn event(&mut self) -> Event {
        loop {
            let text = self.text().await;
            let (binary, rest) = match (text.strip_prefix("42"), text.strip_prefix("45")) {
                (Some(rest), _) => (0, rest),
                (_, Some(rest)) => {
                    let (count, rest) = rest.split_once('-').unwrap();
                    (count.parse().unwrap(), rest)
                }
                _ => panic!("expected an event, got {text}"),
            };
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let (id, body) = rest.split_at(digits);
            let body: Value = serde_json::from_str(body).unwrap();
            let mut attachments = Vec::new();
            for _ in 0..binary {
                attachments.push(self.binary().await);
            }
            let name = body[0].as_str().unwrap().to_owned();
            if name != "stats" {
                return Event { id: id.parse().ok(), name, argument: body[1].clone(), attachments };
            }
        }
    }

    /// The next event, which has this name.
    pub async fn expect(&mut self, name: &str) -> Event {
        let event = self.event().await;
        assert_eq!(event.name, name, "{event:?}");
        event
    }

    /// Acknowledges an event.
    pub async fn acknowledge(&mut self, event: &Event, argument: Value) {
        let id = event.id.expect("an acknowledgement is wanted");
        self.send(&format!("43{id}[{argument}]")).await;
    }

    /// Signs the client in; it has to acknowledge with nothing.
    pub async fn info(&mut self, max_payload: usize) {
        let info = json!({"max_payload": max_payload, "id": "0", "user": {"account_id": "A"}});
        self.send(&format!(r#"426["info",{info}]"#)).await;
        assert_eq!(self.text().await, "436[]");
    }

    /// Takes the subscription of the inbox and gives its pattern.
    pub async fn answer_inbox(&mut self) -> String {
        let event = self.expect("subscribe").await;
        self.acknowledge(&event, json!({"status": "added"})).await;
        event.argument["subject"].as_str().unwrap().to_owned()
    }

    /// Takes a subscription and gives its pattern.
    pub async fn answer_subscribe(&mut self) -> String {
        self.answer_inbox().await
    }

    /// Delivers a message.
    pub async fn deliver(&mut self, pattern: &str, subject: &str, data: &str, payload: &[u8]) {
        let text = format!(r#"451-["{pattern}",{{"subject":"{subject}","data":{data}}}]"#);
        self.send(&text).await;
        self.send_binary(payload).await;
    }

    /// Takes the network away.
    pub fn cut(self) {
        drop(self);
    }
}

//! One client with one persistent stream, on either server: what differs between the two protocols of streams is in this file.

use std::{
    io,
    sync::atomic::{AtomicU64, Ordering},
};

use memchr::memmem;
use serde_json::{Value, json};

use super::client::{Client, Delivery, Kind, Outgoing};

/// In front of each payload in a feed or a replay of Outpost: a field `raw` of at most 255 bytes.
const RAW: &[u8] = b"\xa3raw\xc4";

/// A stream that is open.
pub struct Stream {
    pub client: Client,
    pub asking: Asking,
}

/// What requests need to know.
pub struct Asking {
    kind: Kind,
    id: String,
    /// Where requests go on Outpost, and messages on NATS.
    target: String,
    /// Begin of the subjects of answers.
    inbox: String,
    feed: String,
    next: u64,
    /// Frames of the feed.
    received: u64,
    replaying: bool,
}

/// What arrived.
pub enum Heard<'a> {
    /// The answer to a request.
    Answer(&'a [u8]),
    /// Messages of the feed or of a replay.
    Messages(&'a [u8]),
    /// The end of a replay.
    End,
    /// What the protocol needs.
    Nothing,
}

fn pack(value: &Value) -> Vec<u8> {
    rmp_serde::to_vec_named(value).unwrap_or_default()
}

impl Stream {
    /// Connects and opens a stream. `keyed` keeps one message of each key; `feed` tells changes.
    pub async fn open(kind: Kind, address: &str, name: &str, keyed: bool, feed: bool) -> io::Result<Stream> {
        static IDS: AtomicU64 = AtomicU64::new(1);
        let id = format!("b{}", IDS.fetch_add(1, Ordering::Relaxed));
        let mut client = Client::connect(kind, address, None).await?;
        let inbox = format!("_INBOX.{id}.");
        client.subscribe(&format!("{inbox}*")).await?;
        let (target, feed_subject) = match kind {
            Kind::Outpost => (format!("persist.hub.server.0.{id}"), format!("persist.hub.client.{id}")),
            Kind::Nats | Kind::Coalesced => (format!("s.{name}."), format!("feed.{id}")),
        };
        client.subscribe(&feed_subject).await?;
        let mut stream = Stream {
            client,
            asking: Asking {
                kind,
                id: id.clone(),
                target,
                inbox,
                feed: feed_subject,
                next: 0,
                received: 0,
                replaying: false,
            },
        };
        match kind {
            Kind::Outpost => {
                let connect = json!({"CN-SocketCmd": "connect", "id": id, "CN-SocketConnectAttempt": 1}).to_string();
                let open = pack(&json!({"storage": {"path": name}, "changefeed": feed}));
                let target = stream.asking.target.clone();
                let out = &mut stream.client.outgoing;
                out.publish_with(target.as_bytes(), &connect, b"\xc0");
                out.publish_with(target.as_bytes(), r#"{"CN-SocketSeq":1}"#, &open);
                // Answered when the stream is open.
                stream.asking.request(out, r#""cmd":"inventory""#, b"\xc0");
                stream.answer().await?;
            }
            Kind::Nats | Kind::Coalesced => {
                let limit = if keyed { 1 } else { -1 };
                stream
                    .manage(
                        &format!("STREAM.CREATE.{name}"),
                        &json!({
                            "name": name, "subjects": [format!("s.{name}.>")], "storage": "file", "retention": "limits", "discard": "old",
                            "max_msgs_per_subject": limit, "num_replicas": 1,
                        }),
                    )
                    .await?;
                if feed {
                    stream.consume(name, "new").await?;
                    stream.answer().await?;
                }
            }
        }
        Ok(stream)
    }

    async fn manage(&mut self, what: &str, request: &Value) -> io::Result<()> {
        let reply = self.asking.reply();
        let subject = format!("$JS.API.{what}");
        self.client.outgoing.publish(subject.as_bytes(), Some(reply.as_bytes()), request.to_string().as_bytes());
        self.answer().await
    }

    async fn consume(&mut self, name: &str, policy: &str) -> io::Result<()> {
        let config = json!({"deliver_subject": self.asking.feed, "deliver_policy": policy, "ack_policy": "none"});
        let reply = self.asking.reply();
        let subject = format!("$JS.API.CONSUMER.CREATE.{name}");
        let request = json!({"stream_name": name, "config": config}).to_string();
        self.client.outgoing.publish(subject.as_bytes(), Some(reply.as_bytes()), request.as_bytes());
        self.client.flush().await
    }

    /// Sends what is asked and waits for one answer, which must be no error.
    pub async fn answer(&mut self) -> io::Result<()> {
        let mut answered = None;
        while answered.is_none() {
            self.client.flush().await?;
            let asking = &mut self.asking;
            self.client
                .read(|delivery, out| {
                    if let Heard::Answer(answer) = asking.hear(&delivery, out) {
                        answered = Some(checked(&delivery, answer));
                    }
                })
                .await?;
        }
        answered.unwrap_or(Ok(()))
    }

    /// Outpost: closes the stream, which would otherwise stay open for a while.
    pub async fn close(mut self) -> io::Result<()> {
        let headers = json!({"CN-SocketCmd": "close", "id": self.asking.id}).to_string();
        self.client.outgoing.publish_with(self.asking.target.as_bytes(), &headers, b"\xc0");
        self.client.flush().await
    }

    /// Asks for all messages.
    pub async fn replay(&mut self, name: &str) -> io::Result<()> {
        match self.asking.kind {
            Kind::Outpost => {
                self.asking.replaying = true;
                self.asking.request(&mut self.client.outgoing, r#""cmd":"getAll""#, b"\xc0");
                self.client.flush().await
            }
            Kind::Nats | Kind::Coalesced => self.consume(name, "all").await,
        }
    }
}

/// An error of the server becomes one here.
pub fn checked(delivery: &Delivery<'_>, answer: &[u8]) -> io::Result<()> {
    let failed =
        memmem::find(delivery.head, br#""error":"#).is_some() || memmem::find(answer, br#""error":{"#).is_some();
    if !failed {
        return Ok(());
    }
    Err(io::Error::other(format!("{} {}", String::from_utf8_lossy(delivery.head), String::from_utf8_lossy(answer))))
}

impl Asking {
    fn reply(&mut self) -> String {
        self.next += 1;
        format!("{}{}", self.inbox, self.next)
    }

    /// Outpost: a request, `headers` without braces.
    fn request(&mut self, out: &mut Outgoing, headers: &str, payload: &[u8]) {
        let reply = self.reply();
        let headers = format!(r#"{{{headers},"CN-Reply":"{reply}"}}"#);
        out.ask_with(self.target.as_bytes(), &headers, payload);
    }

    /// Adds a message to the stream, or sets a key.
    pub fn append(&mut self, out: &mut Outgoing, key: Option<u64>, payload: &[u8]) {
        match (self.kind, key) {
            (Kind::Outpost, None) => self.request(out, r#""cmd":"set""#, payload),
            (Kind::Outpost, Some(key)) => self.request(out, &format!(r#""cmd":"set","key":"k{key}""#), payload),
            (_, key) => {
                let reply = self.reply();
                let subject = format!("{}k{}", self.target, key.unwrap_or_default());
                out.publish(subject.as_bytes(), Some(reply.as_bytes()), payload);
            }
        }
    }

    /// Outpost: adds that many messages at once.
    pub fn append_many(&mut self, out: &mut Outgoing, count: u16, payload: &[u8]) {
        // MessagePack of `{messageData: {encoding: 0, raw}}`.
        let mut operations = vec![0xdc];
        operations.extend_from_slice(&count.to_be_bytes());
        for _ in 0..count {
            operations.extend_from_slice(b"\x81\xabmessageData\x82\xa8encoding\x00");
            operations.extend_from_slice(RAW);
            operations.push(payload.len() as u8);
            operations.extend_from_slice(payload);
        }
        self.request(out, r#""cmd":"setMany""#, &operations);
    }

    /// Tells what a message is, and does what the protocol wants done about it.
    pub fn hear<'a>(&mut self, delivery: &Delivery<'a>, out: &mut Outgoing) -> Heard<'a> {
        let (head, payload) = (delivery.head, delivery.payload);
        if self.kind != Kind::Outpost {
            let subject = head.strip_prefix(b"MSG ").unwrap_or_default();
            let answers = subject.starts_with(self.inbox.as_bytes());
            return if answers { Heard::Answer(payload) } else { Heard::Messages(payload) };
        }
        let subject = head.strip_prefix(br#"451-[""#).unwrap_or_default();
        if subject.starts_with(b"_INBOX.") {
            return match (self.replaying, payload) {
                (false, answer) => Heard::Answer(answer),
                (true, b"\xc0") => Heard::End,
                (true, messages) => Heard::Messages(messages),
            };
        }
        if memmem::find(head, br#""CN-SocketCmd""#).is_none() {
            // The server keeps what was not acknowledged.
            self.received += 1;
            let acknowledgement = pack(&json!({"socket": {"emitted": self.received}}));
            out.publish_with(self.target.as_bytes(), r#"{"CN-SocketCmd":"socket"}"#, &acknowledgement);
            return Heard::Messages(payload);
        }
        if let (Some(reply), Some(_)) = (delivery.reply, memmem::find(head, br#""CN-SocketCmd":"ping""#)) {
            out.publish(reply, None, b"\xc0");
        }
        Heard::Nothing
    }
}

/// Hands over where each payload begins in a frame of Outpost's, or the one message of NATS.
pub fn each_payload<'a>(kind: Kind, messages: &'a [u8], mut each: impl FnMut(&'a [u8])) {
    match kind {
        Kind::Outpost => {
            memmem::find_iter(messages, RAW).filter_map(|at| messages.get(at + RAW.len() + 1..)).for_each(each)
        }
        Kind::Nats | Kind::Coalesced => each(messages),
    }
}

//! A peer without a client library: frames as they are on the wire.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use outpost::{
    broker::{Broker, Connection, Item, Outbox, User},
    bus::random_id,
    wire::{
        frame::{Fields, Frame},
        msgpack,
    },
};
use serde::Serialize;
use serde_json::{Value, json};

use super::soon;

/// A frame that was delivered.
#[derive(Clone, Debug)]
pub struct Seen {
    pub subject: String,
    pub frame: Fields,
}

impl Seen {
    /// The payload, decoded.
    pub fn value(&self) -> Value {
        msgpack::to_json(&msgpack::decode_value(&self.frame.raw).unwrap())
    }

    /// A header, null when there is none.
    pub fn header(&self, name: &str) -> Value {
        self.frame.headers.as_ref().and_then(|h| h.get(name)).cloned().unwrap_or_default()
    }

    /// Where the answer goes.
    pub fn reply(&self) -> Option<String> {
        self.header("CN-Reply").as_str().map(str::to_owned)
    }
}

/// One frame of a message.
pub fn frame(id: &str, seq: u64, done: bool, raw: impl Into<Bytes>) -> Fields {
    Fields { id: id.into(), seq, done, encoding: 0, raw: raw.into(), headers: None }
}

pub struct Raw {
    connection: Connection,
    inbox: String,
    items: VecDeque<Item>,
    waiting: VecDeque<Seen>,
}

impl Raw {
    pub fn new(broker: &Arc<Broker>) -> Raw {
        let connection = broker.attach(User::anonymous());
        let inbox = format!("_INBOX.raw-{}", random_id());
        Raw { connection, inbox, items: VecDeque::new(), waiting: VecDeque::new() }
    }

    /// Subscribes in a queue group of its own.
    pub fn subscribe(&mut self, pattern: &str) {
        self.connection.subscribe(pattern, &random_id()).unwrap();
    }

    /// Publishes one frame; gives the count.
    pub fn send(&mut self, subject: &str, frame: Fields) -> u32 {
        self.connection.publish(subject, Frame::new(frame), None).unwrap().count
    }

    /// Publishes a message; gives the count.
    pub fn publish<T: Serialize + ?Sized>(&mut self, subject: &str, value: &T, headers: Option<Value>) -> u32 {
        let raw = msgpack::encode(value).unwrap();
        self.send(subject, Fields { headers, ..frame(&random_id(), 0, true, raw) })
    }

    /// Answers a request.
    pub fn respond<T: Serialize + ?Sized>(&mut self, request: &Seen, value: &T, headers: Option<Value>) {
        self.publish(&request.reply().expect("a request"), value, headers);
    }

    /// Starts a request; gives the reply subject.
    pub fn ask<T: Serialize + ?Sized>(&mut self, subject: &str, value: &T, headers: Value) -> String {
        // Subscribed late, so that peers that never ask anything have no subscription that a test would count.
        let inbox = format!("{}.*", self.inbox);
        self.connection.subscribe(&inbox, "raw").unwrap();
        let reply = format!("{}.{}", self.inbox, random_id());
        let mut headers = headers;
        headers["CN-Reply"] = json!(reply);
        self.publish(subject, value, Some(headers));
        reply
    }

    /// Sends a request and waits for the answer; what else arrives is kept.
    pub async fn request<T: Serialize + ?Sized>(&mut self, subject: &str, value: &T, headers: Value) -> Seen {
        let reply = self.ask(subject, value, headers);
        let mut kept = VecDeque::new();
        loop {
            let seen = self.next().await;
            if seen.subject == reply {
                kept.append(&mut self.waiting);
                self.waiting = kept;
                return seen;
            }
            kept.push_back(seen);
        }
    }

    /// The next frame.
    pub async fn next(&mut self) -> Seen {
        loop {
            if let Some(seen) = self.try_next() {
                return seen;
            }
            soon(self.connection.outbox().clone().take(&mut self.items)).await.unwrap();
        }
    }

    /// The next frame if there is one already.
    pub fn try_next(&mut self) -> Option<Seen> {
        if let Some(seen) = self.waiting.pop_front() {
            return Some(seen);
        }
        loop {
            if self.items.is_empty() {
                let waker = std::task::Waker::noop();
                let mut cx = std::task::Context::from_waker(waker);
                let _ = self.connection.outbox().poll_take(&mut cx, usize::MAX, &mut self.items);
            }
            let item = self.items.pop_front()?;
            let (messages, bytes) = Outbox::size_of(&item);
            self.connection.outbox().written(messages, bytes);
            if let Item::Deliver(delivery) = item {
                return Some(Seen {
                    subject: delivery.subject().to_string(),
                    frame: delivery.frame().fields().expect("a sound frame").clone(),
                });
            }
        }
    }
}

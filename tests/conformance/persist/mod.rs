//! Items of the persist specification that are about the client, through the real client against the real service.
//!
//! Time is real here, because the store has threads of its own; the client's times are short.

mod keys;
mod loading;
mod recovery;
mod streams;
mod tables;

use std::{sync::Arc, time::Duration};

use outpost::{
    config::Durability,
    persist::{
        client::{Message, Options, Owner, Pace, Persist, Times},
        service::{Service, ServiceOptions},
        store::{Store, StoreOptions},
    },
};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::harness::{Bus, Packet, Way, ms, soon};

pub const PROJECT: &str = "00000000-0000-4000-8000-000000000000";
pub const ACCOUNT: &str = "00000000-0000-4000-8000-000000000001";

pub fn project() -> Owner {
    Owner::Project(PROJECT.into())
}

/// A bus with a persist service.
pub struct Lab {
    pub bus: Bus,
    pub store: Store,
    _dir: TempDir,
    running: Mutex<Option<Running>>,
}

struct Running {
    service: Service,
    until: CancellationToken,
}

impl Lab {
    pub async fn start() -> Lab {
        let lab = Lab::without_service();
        lab.serve(ServiceOptions::default()).await;
        lab
    }

    pub fn without_service() -> Lab {
        let dir = TempDir::new().unwrap();
        let store = open(dir.path());
        Lab { bus: Bus::start(), store, _dir: dir, running: Mutex::default() }
    }

    pub async fn serve(&self, options: ServiceOptions) {
        self.serve_store(self.store.clone(), options).await;
    }

    pub async fn serve_store(&self, store: Store, options: ServiceOptions) {
        let until = CancellationToken::new();
        let service = Service::start(&self.bus.client().await, store, options, until.clone()).await.unwrap();
        *self.running.lock() = Some(Running { service, until });
    }

    /// Ends the service; the store stays open.
    pub async fn stop(&self) {
        let running = self.running.lock().take();
        let Some(Running { service, until }) = running else { return };
        until.cancel();
        soon(service.stopped()).await;
    }

    /// A client in process.
    pub async fn persist(&self) -> Persist {
        Persist::with(&self.bus.client().await, options())
    }

    /// A client over a way of its own.
    pub async fn persist_over_way(&self) -> (Persist, Way) {
        let way = Way::to(&self.bus);
        (Persist::with(&way.client().await, options()), way)
    }
}

pub fn open(dir: &std::path::Path) -> Store {
    let path = dir.join(format!("{}.db", outpost::bus::random_id()));
    let durability = Durability::Normal;
    Store::open(StoreOptions { path, durability, release_grace: Duration::from_secs(30), observer: None }).unwrap()
}

/// Settings with short pauses; how long things may take is not shortened.
pub fn options() -> Options {
    let quick = |first| Pace::new(ms(first), ms(50), 1.5);
    let times = Times {
        reconnect: quick(5),
        catch_up: quick(5),
        load: quick(5),
        repair: quick(5),
        save: quick(5),
        conflict: ms(20),
        ..Times::default()
    };
    Options { times, ..Options::default() }
}

/// Settings for tests that lose answers: silence is noticed soon.
pub fn impatient() -> Options {
    let mut options = options();
    options.times.request = ms(1000);
    options.times.silence = ms(1000);
    options.times.connect = ms(2000);
    options
}

/// What a client has published: subject, headers, payload.
pub fn requests(way: &Way) -> Vec<(String, Value, Value)> {
    let packets = way.packets();
    let published = packets.iter().filter(|packet| packet.from_client).filter_map(|packet| {
        let frame = packet.argument("publish")?;
        let subject = frame[0].as_str()?.to_owned();
        Some((subject, frame[6].clone(), payload(packet)))
    });
    published.collect()
}

/// The commands of one name that a client has sent: headers and payload.
pub fn commands(way: &Way, name: &str) -> Vec<(Value, Value)> {
    let sent = requests(way).into_iter().filter(|(_, headers, _)| headers["cmd"] == name);
    sent.map(|(_, headers, payload)| (headers, payload)).collect()
}

/// The open messages that a client has sent, with the subjects of their sockets.
pub fn opens(way: &Way) -> Vec<(String, Value)> {
    let sent = requests(way).into_iter().filter(|(_, _, payload)| payload["storage"].is_object());
    sent.map(|(subject, _, payload)| (subject, payload)).collect()
}

fn payload(packet: &Packet) -> Value {
    let raw = packet.attachments.first().cloned().unwrap_or_default();
    outpost::wire::msgpack::decode_value(&raw).map(|value| outpost::wire::msgpack::to_json(&value)).unwrap_or_default()
}

/// Subject and headers of what a server delivers.
pub fn delivered(packet: &Packet) -> Option<(String, Value)> {
    let (_, argument) = packet.event().filter(|_| !packet.from_client)?;
    let subject = argument.get("subject")?.as_str()?.to_owned();
    Some((subject, argument["data"].get(5).cloned().unwrap_or(json!({}))))
}

/// Whether a packet is a frame of a change feed.
pub fn is_feed_frame(packet: &Packet) -> bool {
    delivered(packet).is_some_and(|(subject, headers)| {
        subject.starts_with("persist.") && headers["CN-SocketSeq"].is_u64() && headers["error"].is_null()
    })
}

/// A switch for a loss function.
#[derive(Clone, Default)]
pub struct Switch(Arc<std::sync::atomic::AtomicBool>);

impl Switch {
    pub fn set(&self, on: bool) {
        self.0.store(on, std::sync::atomic::Ordering::SeqCst);
    }

    pub fn get(&self) -> bool {
        self.0.load(std::sync::atomic::Ordering::SeqCst)
    }
}

pub fn values(messages: &[Message]) -> Vec<Value> {
    messages.iter().map(|message| message.to_json().unwrap()).collect()
}

//! The way between clients and a broker: packets pass one by one, are written down, may get lost; it can be cut.

use std::{io, net::Ipv4Addr, sync::Arc};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use outpost::{
    broker::{
        Broker,
        session::{self, Origin},
    },
    bus::{Client, ConnectOptions, Connector},
};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, protocol::Role},
};
use tokio_util::sync::CancellationToken;

use super::{Bus, soon};

/// A packet that has passed, or got lost.
#[derive(Clone, Debug)]
pub struct Packet {
    /// The connection, from 0.
    pub connection: usize,
    pub from_client: bool,
    pub text: String,
    pub attachments: Vec<Bytes>,
}

impl Packet {
    /// Name and argument, if it is an event.
    pub fn event(&self) -> Option<(String, Value)> {
        let rest = self.text.strip_prefix("42").or_else(|| self.text.strip_prefix("45"))?;
        let mut array: Vec<Value> = serde_json::from_str(&rest[rest.find('[')?..]).ok()?;
        array.resize(2, Value::Null);
        let argument = array.pop()?;
        Some((array.pop()?.as_str()?.to_owned(), argument))
    }

    /// The argument, if it is an event of this name.
    pub fn argument(&self, name: &str) -> Option<Value> {
        self.event().filter(|(n, _)| n == name).map(|(_, argument)| argument)
    }

    /// The header of a publish.
    pub fn header(&self, name: &str) -> Value {
        self.argument("publish").and_then(|frame| frame[6].get(name).cloned()).unwrap_or_default()
    }
}

const MAX_PACKETS: usize = 100_000;

type Loss = Box<dyn FnMut(&Packet) -> bool + Send>;

struct Inner {
    broker: Option<Arc<Broker>>,
    cut: CancellationToken,
    packets: Vec<Packet>,
    loss: Option<Loss>,
    connections: usize,
}

#[derive(Clone)]
pub struct Way {
    inner: Arc<Mutex<Inner>>,
}

impl Way {
    pub fn to(bus: &Bus) -> Way {
        let inner = Inner {
            broker: Some(bus.broker.clone()),
            cut: CancellationToken::new(),
            packets: Vec::new(),
            loss: None,
            connections: 0,
        };
        Way { inner: Arc::new(Mutex::new(inner)) }
    }

    /// How a client gets here.
    pub fn options(&self) -> ConnectOptions {
        let way = self.clone();
        let connector = Connector::new(move || {
            let (near, far) = tokio::io::duplex(1 << 20);
            std::future::ready(way.enter(far).map(|()| near))
        });
        ConnectOptions { connector: Some(connector), ..ConnectOptions::new("http://server") }
    }

    /// A client that is connected.
    pub async fn client(&self) -> Client {
        let client = Client::connect(self.options()).unwrap();
        soon(client.connected()).await.unwrap();
        client
    }

    /// Takes connections from a listener until it is cut.
    pub async fn serve(&self, listener: TcpListener) {
        let cut = self.inner.lock().cut.clone();
        loop {
            let stream = tokio::select! {
                accepted = listener.accept() => accepted.unwrap().0,
                () = cut.cancelled() => return,
            };
            // While there is no broker nobody listens either.
            let _ = self.enter(stream);
        }
    }

    fn enter(&self, io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> io::Result<()> {
        let mut inner = self.inner.lock();
        let broker = inner.broker.clone().ok_or(io::ErrorKind::ConnectionRefused)?;
        let (way, cut, connection) = (self.clone(), inner.cut.clone(), inner.connections);
        inner.connections += 1;
        tokio::spawn(async move {
            tokio::select! {
                () = way.pass(connection, io, broker) => {}
                () = cut.cancelled() => {}
            }
        });
        Ok(())
    }

    async fn pass(
        &self,
        connection: usize,
        io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        broker: Arc<Broker>,
    ) {
        let Ok(client) = tokio_tungstenite::accept_async(io).await else { return };
        let (near, far) = tokio::io::duplex(1 << 20);
        let origin =
            Origin { headers: http::HeaderMap::new(), query: String::new(), address: Ipv4Addr::LOCALHOST.into() };
        // The session ends when this end of its stream goes.
        tokio::spawn(session::serve(far, broker, origin, CancellationToken::new()));
        let server = WebSocketStream::from_raw_socket(near, Role::Client, None).await;
        let (mut to_client, mut from_client) = client.split();
        let (mut to_server, mut from_server) = server.split();
        let mut halves = [Half::new(connection, true), Half::new(connection, false)];
        loop {
            let (message, i) = tokio::select! {
                message = from_client.next() => (message, 0),
                message = from_server.next() => (message, 1),
            };
            let Some(Ok(message)) = message else { return };
            let Some(packet) = halves[i].add(message) else { continue };
            if self.note(&packet) {
                continue;
            }
            let mut messages = vec![Message::text(packet.text)];
            messages.extend(packet.attachments.into_iter().map(Message::Binary));
            for message in messages {
                let sent = if i == 0 { to_server.send(message).await } else { to_client.send(message).await };
                if sent.is_err() {
                    return;
                }
            }
        }
    }

    /// Writes a packet down; tells whether it gets lost.
    fn note(&self, packet: &Packet) -> bool {
        let mut inner = self.inner.lock();
        inner.packets.push(packet.clone());
        // A test sends hundreds; more is a storm between the two sides, in which paused time stands still.
        if inner.packets.len() > MAX_PACKETS {
            let last = inner.packets.iter().rev().take(40).rev().map(|p| &p.text).collect::<Vec<_>>();
            panic!("too many packets: {last:#?}");
        }
        inner.loss.as_mut().is_some_and(|loss| loss(packet))
    }

    /// Loses the packets a function picks.
    pub fn lose(&self, loss: impl FnMut(&Packet) -> bool + Send + 'static) {
        self.inner.lock().loss = Some(Box::new(loss));
    }

    /// Cuts all connections; new ones can be made.
    pub fn cut(&self) {
        std::mem::take(&mut self.inner.lock().cut).cancel();
    }

    /// Cuts all connections; new ones lead to another broker, or nowhere.
    pub fn lead_to(&self, bus: Option<&Bus>) {
        self.inner.lock().broker = bus.map(|bus| bus.broker.clone());
        self.cut();
    }

    /// Connections there have been.
    pub fn connections(&self) -> usize {
        self.inner.lock().connections
    }

    /// Everything that has passed.
    pub fn packets(&self) -> Vec<Packet> {
        self.inner.lock().packets.clone()
    }

    /// Arguments of the events of one name that clients have sent on a connection, in order.
    pub fn sent(&self, connection: usize, name: &str) -> Vec<Value> {
        let packets = self.packets();
        let sent = packets.iter().filter(|p| p.from_client && p.connection == connection);
        sent.filter_map(|p| p.argument(name)).collect()
    }
}

/// Puts packets of one direction together.
struct Half {
    packet: Packet,
    wanted: usize,
}

impl Half {
    fn new(connection: usize, from_client: bool) -> Half {
        Half { packet: Packet { connection, from_client, text: String::new(), attachments: Vec::new() }, wanted: 0 }
    }

    fn add(&mut self, message: Message) -> Option<Packet> {
        match message {
            Message::Text(text) => {
                let count = text.strip_prefix("45").or_else(|| text.strip_prefix("46"));
                self.wanted = count.and_then(|rest| rest.split_once('-')).map_or(0, |(n, _)| n.parse().unwrap());
                self.packet.text = text.to_string();
                self.packet.attachments.clear();
            }
            Message::Binary(bytes) => self.packet.attachments.push(bytes),
            _ => return None,
        }
        (self.packet.attachments.len() == self.wanted).then(|| self.packet.clone())
    }
}

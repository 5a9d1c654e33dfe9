//! Virtual sockets: items 138–153.

mod asking;
mod connecting;
mod data;
mod ending;

use outpost::bus::{
    Client,
    socket::{Incoming, Socket, SocketOptions, SocketServer},
};
use serde_json::Value;

use crate::harness::{Bus, soon};

/// The next data on a socket: its value and headers.
async fn data_with_headers(socket: &Socket) -> (Value, Option<Value>) {
    match soon(socket.recv()).await {
        Some(Incoming::Data(message)) => (message.decode().unwrap(), message.headers().cloned()),
        other => panic!("expected data, got {other:?}; closed: {:?}", socket.reason()),
    }
}

async fn data(socket: &Socket) -> Value {
    data_with_headers(socket).await.0
}

/// A server on a base subject and the client that hosts it.
async fn server(bus: &Bus, base: &str) -> (Client, SocketServer) {
    let client = bus.client().await;
    let server = client.socket_listen(base, SocketOptions::default()).await.unwrap();
    (client, server)
}

/// A socket that connects, and the client of the bus it does that with.
async fn client(bus: &Bus, base: &str, options: SocketOptions) -> (Client, Socket) {
    let client = bus.client().await;
    let socket = client.socket_connect(base, options).unwrap();
    (client, socket)
}

//! Requests on sockets whose peer is gone or silent (conat-wire.md §20.9): item 152.

use std::time::Duration;

use outpost::bus::{
    Error,
    socket::{Socket, SocketOptions, SocketState},
};
use serde_json::json;

use super::client;
use crate::harness::{Bus, Generation, RawServer, soon};

/// No pings, so that nothing but the request finds out.
fn quiet(reconnect: bool) -> SocketOptions {
    SocketOptions { keep_alive: Duration::ZERO, reconnect, ..SocketOptions::default() }
}

fn ask(socket: &Socket) -> tokio::task::JoinHandle<Result<String, Error>> {
    let socket = socket.clone();
    tokio::spawn(async move { socket.request("ask", Duration::from_secs(5)).await?.decode() })
}

#[tokio::test(start_paused = true)]
async fn wire_152_a_request_that_finds_nobody_is_made_once_more_on_a_new_connect() {
    let bus = Bus::start();
    let mut first = RawServer::listen(&bus, "base");
    let (_c, socket) = client(&bus, "base", quiet(true)).await;
    first.accept(Generation::A).await;
    soon(socket.ready()).await.unwrap();
    drop(first);
    let mut second = RawServer::listen(&bus, "base");
    let asking = ask(&socket);
    second.accept(Generation::A).await;
    let request = soon(second.next()).await;
    assert_eq!(request.value(), "ask");
    second.raw.respond(&request, "answer", None);
    assert_eq!(soon(asking).await.unwrap().unwrap(), "answer");
    assert_eq!(socket.state(), SocketState::Ready);
}

#[tokio::test(start_paused = true)]
async fn wire_152_a_request_that_is_not_answered_is_made_once_more_and_no_more() {
    let bus = Bus::start();
    let mut server = RawServer::listen(&bus, "base");
    let (_c, socket) = client(&bus, "base", quiet(true)).await;
    server.accept(Generation::A).await;
    let asking = ask(&socket);
    assert_eq!(soon(server.next()).await.value(), "ask");
    // It is left unanswered, so the client connects again.
    server.accept(Generation::A).await;
    assert_eq!(soon(server.next()).await.value(), "ask");
    let error = soon(asking).await.unwrap().unwrap_err();
    assert!(error.is_code(408), "{error}");
    assert!(server.raw.try_next().is_none());
}

#[tokio::test(start_paused = true)]
async fn wire_152_a_socket_that_does_not_reconnect_does_not_try_again() {
    let bus = Bus::start();
    let mut server = RawServer::listen(&bus, "base");
    let (_c, socket) = client(&bus, "base", quiet(false)).await;
    server.accept(Generation::A).await;
    soon(socket.ready()).await.unwrap();
    drop(server);
    let mut other = bus.raw();
    other.subscribe("base.server.status");
    assert!(soon(ask(&socket)).await.unwrap().unwrap_err().is_code(503));
    assert!(other.try_next().is_none());
    assert_eq!(socket.state(), SocketState::Ready);
}

#[tokio::test(start_paused = true)]
async fn wire_152_an_error_of_the_peers_is_an_answer() {
    let bus = Bus::start();
    let mut server = RawServer::listen(&bus, "base");
    let (_c, socket) = client(&bus, "base", quiet(true)).await;
    server.accept(Generation::A).await;
    let asking = ask(&socket);
    let request = soon(server.next()).await;
    server.raw.respond(&request, &(), Some(json!({"error": "busy", "code": 503})));
    assert!(soon(asking).await.unwrap().unwrap_err().is_code(503));
    assert!(server.raw.try_next().is_none());
}

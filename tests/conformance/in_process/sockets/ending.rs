//! Loss and ends: items 146, 148, 149.

use std::time::Duration;

use outpost::{
    bus::socket::{Reason, SocketOptions, SocketState},
    config::Limits,
};
use serde_json::json;
use tokio::time::Instant;

use super::{client, data, server};
use crate::harness::{Bus, Generation, RawClient, RawServer, ms, soon, until};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn wire_146_nothing_is_lost_when_a_connection_is_cut_off() {
    // A client that gets so much at once is cut off by the broker, and everything that waits for it is dropped.
    let bus = Bus::with(Limits { outbox_messages: 40, ..Limits::default() });
    let (host, mut server) = server(&bus, "base").await;
    let (c, client) = client(&bus, "base", SocketOptions::default()).await;
    let socket = soon(server.accept()).await.unwrap();
    soon(client.ready()).await.unwrap();
    for round in 0..3 {
        for n in 0..100 {
            client.write(&json!([round, "up", n]), None).unwrap();
            socket.write(&json!([round, "down", n]), None).unwrap();
        }
        for n in 0..100 {
            assert_eq!(data(&socket).await, json!([round, "up", n]));
            assert_eq!(data(&client).await, json!([round, "down", n]));
        }
        soon(client.drained()).await;
        soon(socket.drained()).await;
    }
    let cut = host.status().borrow().generation + c.status().borrow().generation;
    assert!(cut > 2, "nobody was cut off, so this shows nothing");
    assert_eq!((client.state(), socket.state()), (SocketState::Ready, SocketState::Ready));
}

#[tokio::test(start_paused = true)]
async fn wire_148_closing_the_server_closes_its_clients() {
    let bus = Bus::start();
    let (_host, mut server) = server(&bus, "base").await;
    let mut raw = RawClient::connect(&bus, "base", Generation::A).await;
    let (_c, one) = client(&bus, "base", SocketOptions::default()).await;
    for _ in 0..2 {
        // Handles are dropped here and still the sockets are open: the server has them.
        std::mem::forget(soon(server.accept()).await.unwrap());
    }
    soon(one.ready()).await.unwrap();
    let started = Instant::now();
    soon(server.close()).await;
    soon(one.closed()).await;
    assert!(started.elapsed() < SECOND, "{:?}", started.elapsed());
    assert_eq!(one.reason(), Some(Reason::Peer));
    let told = raw.next_command("close").await;
    assert_eq!(told.frame.headers, Some(json!({"CN-SocketCmd": "close"})));
    // A client that was told so does not come back.
    let mut tap = bus.raw();
    tap.subscribe(">");
    tokio::time::sleep(120 * SECOND).await;
    assert!(tap.try_next().is_none());
    assert_eq!(one.state(), SocketState::Closed);
}

#[tokio::test(start_paused = true)]
async fn wire_148_closing_a_client_removes_it_at_the_server() {
    let bus = Bus::start();
    let (_host, mut server) = server(&bus, "base").await;
    let (_a, one) = client(&bus, "base", SocketOptions::default()).await;
    let one_accepted = soon(server.accept()).await.unwrap();
    let (_b, two) = client(&bus, "base", SocketOptions::default()).await;
    let two_accepted = soon(server.accept()).await.unwrap();
    soon(one.ready()).await.unwrap();
    soon(two.ready()).await.unwrap();
    let started = Instant::now();
    one.close();
    soon(one_accepted.closed()).await;
    assert_eq!(one_accepted.reason(), Some(Reason::Peer));
    until("it is removed", || server.sockets().len() == 1).await;
    assert!(started.elapsed() < SECOND, "{:?}", started.elapsed());
    assert_eq!(server.sockets()[0].id(), two.id());
    // A graceful end waits for what is on its way.
    two.write("last words", None).unwrap();
    let (_, last) = tokio::join!(two.end(), data(&two_accepted));
    assert_eq!(last, "last words");
    soon(two_accepted.closed()).await;
    until("it is removed", || server.sockets().is_empty()).await;
}

#[tokio::test(start_paused = true)]
async fn wire_149_a_client_without_answer_is_disconnected() {
    let bus = Bus::start();
    let mut raw = RawServer::listen(&bus, "base");
    let (_c, socket) = client(&bus, "base", SocketOptions::default()).await;
    raw.accept(Generation::A).await;
    // The first ping comes at once and is answered; the next comes 25 s later and has 10 s.
    let ping = raw.raw.next().await;
    assert_eq!(ping.header("CN-SocketCmd"), "ping");
    soon(socket.ready()).await.unwrap();
    raw.raw.respond(&ping, &(), None);
    let started = Instant::now();
    let mut states = socket.states();
    soon(states.wait_for(|s| *s == SocketState::Disconnected)).await.unwrap();
    assert!((ms(35_000)..ms(35_100)).contains(&started.elapsed()), "{:?}", started.elapsed());
    let second = raw.raw.next().await;
    assert_eq!(second.header("CN-SocketCmd"), "ping");
    // It comes back to the same server when that answers again.
    let connect = raw.accept(Generation::A).await;
    assert_eq!(connect.header("id"), socket.id());
    soon(socket.ready()).await.unwrap();
    raw.data(1, "still here");
    assert_eq!(data(&socket).await, "still here");
}

#[tokio::test(start_paused = true)]
async fn wire_149_a_client_that_shall_not_reconnect_stays_disconnected() {
    let bus = Bus::start();
    let mut raw = RawServer::listen(&bus, "base");
    let options = SocketOptions { reconnect: false, keep_alive_timeout: 2 * SECOND, ..SocketOptions::default() };
    let (_c, socket) = client(&bus, "base", options).await;
    raw.accept(Generation::A).await;
    soon(socket.ready()).await.unwrap();
    let started = Instant::now();
    let mut states = socket.states();
    soon(states.wait_for(|s| *s == SocketState::Disconnected)).await.unwrap();
    assert!((ms(2000)..ms(2100)).contains(&started.elapsed()), "{:?}", started.elapsed());
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(socket.state(), SocketState::Disconnected);
}

#[tokio::test(start_paused = true)]
async fn wire_149_a_server_closes_the_socket_of_a_client_without_answer() {
    let bus = Bus::start();
    let (_host, mut server) = server(&bus, "base").await;
    let mut raw = RawClient::connect(&bus, "base", Generation::A).await;
    let socket = soon(server.accept()).await.unwrap();
    let ping = raw.raw.next().await;
    assert_eq!(ping.header("CN-SocketCmd"), "ping");
    raw.raw.respond(&ping, &(), None);
    let started = Instant::now();
    soon(socket.closed()).await;
    assert!((ms(35_000)..ms(35_100)).contains(&started.elapsed()), "{:?}", started.elapsed());
    assert_eq!(socket.reason(), Some(Reason::Gone));
    until("it is removed", || server.sockets().is_empty()).await;
}

#[tokio::test(start_paused = true)]
async fn wire_149_a_client_that_vanished_is_noticed_at_the_next_ping() {
    let bus = Bus::start();
    let (_host, mut server) = server(&bus, "base").await;
    let mut raw = RawClient::connect(&bus, "base", Generation::A).await;
    let socket = soon(server.accept()).await.unwrap();
    let ping = raw.raw.next().await;
    raw.raw.respond(&ping, &(), None);
    let started = Instant::now();
    drop(raw);
    soon(socket.closed()).await;
    // Nobody listens any more, so there is nothing to wait for.
    assert!((ms(25_000)..ms(25_100)).contains(&started.elapsed()), "{:?}", started.elapsed());
}

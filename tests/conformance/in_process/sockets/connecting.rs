//! Finding and choosing a server, connecting: items 138, 139, 147, 150, 151, 153.

use std::{collections::BTreeMap, time::Duration};

use outpost::bus::socket::{SocketOptions, SocketServer, SocketState};
use serde_json::{Value, json};

use super::{client, data, server};
use crate::harness::{Bus, Generation, RawClient, RawServer, ms, soon, until};

#[tokio::test(start_paused = true)]
async fn wire_138_a_server_tells_its_id() {
    let bus = Bus::start();
    let (host, server) = server(&bus, "term.*").await;
    let mut raw = bus.raw();
    let answer = raw.request("term.demo.server.status", &(), json!({})).await;
    assert_eq!(answer.value(), json!({"id": server.id()}));
    assert_eq!(server.id(), host.id());
    let fixed = SocketOptions { server_id: Some("S1".into()), ..SocketOptions::default() };
    let _fixed = host.socket_listen("other", fixed).await.unwrap();
    assert_eq!(raw.request("other.server.status", &(), json!({})).await.value(), json!({"id": "S1"}));
    // What is no request is not answered with anything.
    raw.subscribe(">");
    raw.publish("other.server.status", &(), None);
    assert_eq!(raw.next().await.subject, "other.server.status");
    raw.publish("end", &(), None);
    assert_eq!(raw.next().await.subject, "end");
}

#[tokio::test(start_paused = true)]
async fn wire_139_connecting_as_older_clients_do() {
    let bus = Bus::start();
    let (_host, mut server) = server(&bus, "base").await;
    let mut raw = RawClient::connect(&bus, "base", Generation::A).await;
    let socket = soon(server.accept()).await.unwrap();
    assert_eq!((socket.id(), socket.state()), (raw.id.as_str(), SocketState::Ready));
    raw.data(1, "hello");
    assert_eq!(data(&socket).await, "hello");
    // A second connect of the same client is a reconnect: nothing new is made.
    let (peer, headers) = (raw.peer.clone(), json!({"CN-SocketCmd": "connect", "id": raw.id}));
    assert_eq!(raw.raw.request(&peer, &(), headers).await.value(), "connected");
    raw.data(2, "again");
    assert_eq!(data(&socket).await, "again");
    assert_eq!(server.sockets().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn wire_139_what_was_written_before_the_server_existed_arrives() {
    let bus = Bus::start();
    let (_c, socket) = client(&bus, "base", SocketOptions::default()).await;
    for n in 0..5 {
        socket.write(&n, None).unwrap();
    }
    tokio::time::sleep(Duration::from_secs(45)).await;
    assert_eq!(socket.state(), SocketState::Connecting);
    socket.write(&5, None).unwrap();
    let (_host, mut server) = server(&bus, "base").await;
    let accepted = soon(server.accept()).await.unwrap();
    for n in 0..6 {
        assert_eq!(data(&accepted).await, n);
    }
    soon(socket.drained()).await;
}

#[tokio::test(start_paused = true)]
async fn wire_147_unknown_clients_are_told_to_close() {
    let bus = Bus::start();
    let (_host, server) = server(&bus, "x.*").await;
    let mut raw = bus.raw();
    raw.subscribe("x.y.client.stranger");
    let subject = format!("x.y.server.{}.stranger", server.id());
    for headers in [json!({"CN-SocketSeq": 1}), json!({"CN-SocketCmd": "socket"}), json!({"CN-SocketCmd": "other"})] {
        raw.publish(&subject, "data", Some(headers));
        let told = raw.next().await;
        assert_eq!((told.subject.as_str(), told.value()), ("x.y.client.stranger", Value::Null));
        assert_eq!(told.frame.headers, Some(json!({"CN-SocketCmd": "close"})));
    }
    assert!(server.sockets().is_empty());
    // Except when they only say goodbye, which would go back and forth for ever.
    raw.publish(&subject, &(), Some(json!({"CN-SocketCmd": "close", "id": "stranger"})));
    let answer = raw.request(&subject, &(), json!({"CN-SocketCmd": "close", "id": "stranger"})).await;
    assert_eq!(answer.value(), "closed");
    assert!(raw.try_next().is_none());
}

/// Reads everything that comes over all sockets of a server: by socket, in order.
fn collect(mut server: SocketServer) -> tokio::task::JoinHandle<Vec<Vec<Value>>> {
    tokio::spawn(async move {
        let mut readers = Vec::new();
        while let Some(socket) = server.accept().await {
            readers.push(tokio::spawn(async move {
                let mut all = Vec::new();
                while all.last() != Some(&json!("end")) {
                    all.push(data(&socket).await);
                }
                all
            }));
        }
        let mut all = Vec::new();
        for reader in readers {
            all.push(reader.await.unwrap());
        }
        all
    })
}

#[tokio::test(start_paused = true)]
async fn wire_150_a_client_stays_with_its_server() {
    const CLIENTS: u64 = 8;
    let bus = Bus::start();
    let ((host_a, a), (host_b, b)) = (server(&bus, "base").await, server(&bus, "base").await);
    assert_ne!(a.id(), b.id());
    let (a, b) = (collect(a), collect(b));
    let mut sockets = Vec::new();
    for c in 0..CLIENTS {
        let (client, socket) = client(&bus, "base", SocketOptions::default()).await;
        for n in 0..50 {
            socket.write(&json!([c, n]), None).unwrap();
            if n % 10 == 0 {
                soon(socket.drained()).await;
            }
        }
        socket.write("end", None).unwrap();
        soon(socket.drained()).await;
        sockets.push((client, socket));
    }
    host_a.close();
    host_b.close();
    let received = [soon(a).await.unwrap(), soon(b).await.unwrap()].concat();
    let mut by_client = BTreeMap::new();
    for mut all in received {
        assert_eq!(all.pop(), Some(json!("end")));
        let c = all[0][0].as_u64().unwrap();
        assert_eq!(all, (0..50).map(|n| json!([c, n])).collect::<Vec<_>>());
        assert!(by_client.insert(c, ()).is_none(), "client {c} was at two servers");
    }
    assert_eq!(by_client.len() as u64, CLIENTS);
}

#[tokio::test(start_paused = true)]
async fn wire_151_a_server_with_wildcards_knows_the_concrete_subject() {
    let bus = Bus::start();
    let (_host, mut server) = server(&bus, "x.*").await;
    for base in ["x.one", "x.two"] {
        let mut raw = RawClient::connect(&bus, base, Generation::A).await;
        let socket = soon(server.accept()).await.unwrap();
        assert_eq!((socket.subject(), socket.id()), (base, raw.id.as_str()));
        socket.write("to you", None).unwrap();
        let seen = raw.next().await;
        assert_eq!(seen.subject, format!("{base}.client.{}", raw.id));
        assert_eq!(seen.value(), "to you");
        let (_c, other) = client(&bus, base, SocketOptions::default()).await;
        let socket = soon(server.accept()).await.unwrap();
        assert_eq!((socket.subject(), socket.id()), (base, other.id()));
    }
}

#[tokio::test(start_paused = true)]
async fn wire_153_a_server_takes_clients_of_both_generations() {
    let bus = Bus::start();
    let (_host, mut server) = server(&bus, "base").await;
    for generation in [Generation::A, Generation::B] {
        let mut raw = RawClient::connect(&bus, "base", generation).await;
        let socket = soon(server.accept()).await.unwrap();
        raw.data(1, "up");
        assert_eq!(data(&socket).await, "up");
        socket.write("down", None).unwrap();
        assert_eq!(raw.next_data(0).await.1, "down");
        raw.report(1).await;
        soon(socket.drained()).await;
        // A newer client says goodbye with a publish, an older one with a request.
        let (peer, headers) = (raw.peer.clone(), json!({"CN-SocketCmd": "close", "id": raw.id}));
        if generation == Generation::A {
            assert_eq!(raw.raw.request(&peer, &(), headers).await.value(), "closed");
        } else {
            raw.raw.publish(&peer, &(), Some(headers));
        }
        soon(socket.closed()).await;
    }
    until("both are removed", || server.sockets().is_empty()).await;
}

#[tokio::test(start_paused = true)]
async fn wire_153_a_client_connects_to_servers_of_both_generations() {
    for generation in [Generation::A, Generation::B] {
        let bus = Bus::start();
        let mut raw = RawServer::listen(&bus, "base");
        let (_c, socket) = client(&bus, "base", SocketOptions::default()).await;
        let connect = raw.accept(generation).await;
        assert_eq!(connect.header("id"), socket.id());
        assert_eq!((connect.header("CN-SocketConnectAttempt"), connect.value()), (json!(1), Value::Null));
        assert!(connect.reply().is_some(), "older servers answer requests only");
        soon(socket.ready()).await.unwrap();
        socket.write("up", None).unwrap();
        assert_eq!(raw.next_data(0).await.1, "up");
        raw.data(1, "down");
        assert_eq!(data(&socket).await, "down");
        raw.report(1).await;
        soon(socket.drained()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn wire_153_a_client_asks_again_until_it_is_answered() {
    let bus = Bus::start();
    let mut raw = RawServer::listen(&bus, "base");
    let (_c, socket) = client(&bus, "base", SocketOptions::default()).await;
    let refused = loop {
        let seen = raw.raw.next().await;
        if seen.subject.ends_with(".status") {
            let id = raw.id.clone();
            raw.raw.respond(&seen, &json!({"id": id}), None);
        } else {
            break seen;
        }
    };
    raw.raw.respond(&refused, "not connected", None);
    let connect = raw.accept(Generation::A).await;
    assert_eq!(connect.header("CN-SocketConnectAttempt"), 2);
    soon(socket.ready()).await.unwrap();
    tokio::time::timeout(ms(100), socket.closed()).await.unwrap_err();
}

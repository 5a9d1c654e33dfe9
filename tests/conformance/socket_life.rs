//! Items 146–153: virtual sockets from connect to close, and through what happens to the bus meanwhile.

use std::time::Duration;

use outpost::bus::{
    MSGPACK,
    socket::{Choice, Incoming, Reason, Socket, SocketError, SocketOptions, SocketState},
};
use serde_json::json;

use crate::{
    peers::{RawClient, RawServer, data, listen, quiet},
    server::{Server, in_time},
};

#[tokio::test(start_paused = true)]
async fn wire_146_a_restart_of_the_bus_loses_nothing() {
    const COUNT: u32 = 400;
    let server = Server::start();
    let (host, client) = (server.client().await, server.client().await);
    let mut sockets = listen(&host, "base").await;
    let socket = client.socket_connect("base", SocketOptions::default()).unwrap();
    let accepted = in_time(sockets.accept()).await.unwrap();
    let write = |socket: Socket| async move {
        for n in 0..COUNT {
            socket.write(&n, None).unwrap();
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
    };
    let read = |socket: Socket| async move {
        for n in 0..COUNT {
            assert_eq!(data(&socket).await, json!(n));
        }
    };
    let tasks: Vec<_> = [
        tokio::spawn(write(socket.clone())),
        tokio::spawn(write(accepted.clone())),
        tokio::spawn(read(socket.clone())),
        tokio::spawn(read(accepted.clone())),
    ]
    .into();
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_secs(4)).await;
        server.restart();
    }
    for task in tasks {
        in_time(task).await.unwrap();
    }
    in_time(socket.drained()).await;
    in_time(accepted.drained()).await;
    assert!(sockets.sockets().len() == 1);
}

#[tokio::test(start_paused = true)]
async fn wire_147_an_unknown_client_is_told_to_close() {
    let server = Server::start();
    let (host, client) = (server.client().await, server.client().await);
    let sockets = listen(&host, "base").await;
    let mut raw = RawClient::new(&client, "base").await;
    raw.send(sockets.id(), 1, "x");
    assert_eq!(raw.next().await.headers(), Some(&json!({"CN-SocketCmd": "close"})));
}

#[tokio::test(start_paused = true)]
async fn wire_148_closing_reaches_the_other_end() {
    let server = Server::start();
    let (host, client) = (server.client().await, server.client().await);
    let mut sockets = listen(&host, "base").await;
    let socket = client.socket_connect("base", SocketOptions::default()).unwrap();
    let accepted = in_time(sockets.accept()).await.unwrap();
    socket.close();
    in_time(accepted.closed()).await;
    while !sockets.sockets().is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let socket = client.socket_connect("base", SocketOptions::default()).unwrap();
    let _accepted = in_time(sockets.accept()).await.unwrap();
    let before = tokio::time::Instant::now();
    sockets.close().await;
    in_time(socket.closed()).await;
    assert_eq!(socket.reason(), Some(Reason::Peer));
    assert!(before.elapsed() < Duration::from_secs(1));
    assert!(!client.has_interest("base.server.status").await.unwrap());
}

fn short() -> SocketOptions {
    SocketOptions {
        keep_alive: Duration::from_secs(5),
        keep_alive_timeout: Duration::from_secs(3),
        ..SocketOptions::default()
    }
}

#[tokio::test(start_paused = true)]
async fn wire_149_a_client_leaves_a_server_that_does_not_answer() {
    let server = Server::start();
    let (host, client) = (server.client().await, server.client().await);
    let mut raw = RawServer::new(&host, "base").await;
    let socket = client.socket_connect("base", short()).unwrap();
    raw.connect().await;
    let before = tokio::time::Instant::now();
    raw.command("ping").await.respond_sync(&()).unwrap();
    raw.command("ping").await;
    let mut states = socket.states();
    in_time(states.wait_for(|s| *s == SocketState::Disconnected)).await.unwrap();
    assert_eq!(before.elapsed().as_secs(), 8);
}

#[tokio::test(start_paused = true)]
async fn wire_149_a_server_closes_a_socket_that_does_not_answer() {
    let server = Server::start();
    let (host, client) = (server.client().await, server.client().await);
    let mut sockets = host.socket_listen("base", short()).await.unwrap();
    let raw = RawClient::new(&client, "base").await;
    raw.connect(sockets.id()).await;
    let accepted = in_time(sockets.accept()).await.unwrap();
    in_time(accepted.closed()).await;
    assert_eq!(accepted.reason(), Some(Reason::Gone));
}

#[tokio::test(start_paused = true)]
async fn wire_149_a_silent_client_is_swept() {
    let server = Server::start();
    let (host, client) = (server.client().await, server.client().await);
    let options = SocketOptions {
        keep_alive: Duration::from_secs(1000),
        keep_alive_timeout: Duration::from_secs(1000),
        ..SocketOptions::default()
    };
    let mut sockets = host.socket_listen("base", options).await.unwrap();
    let raw = RawClient::new(&client, "base").await;
    raw.connect(sockets.id()).await;
    let accepted = in_time(sockets.accept()).await.unwrap();
    let before = tokio::time::Instant::now();
    in_time(accepted.closed()).await;
    let after = before.elapsed().as_secs_f64();
    assert!((112.0..114.0).contains(&after), "{after}");
}

#[tokio::test(start_paused = true)]
async fn wire_150_a_client_stays_with_its_server() {
    let server = Server::start();
    let (one, two, client) = (server.client().await, server.client().await, server.client().await);
    let (mut first, mut second) = (listen(&one, "base").await, listen(&two, "base").await);
    let socket = client.socket_connect("base", SocketOptions::default()).unwrap();
    socket.write(&0, None).unwrap();
    let accepted = tokio::select! {
        socket = first.accept() => socket.unwrap(),
        socket = second.accept() => socket.unwrap(),
    };
    for n in 0..40 {
        assert_eq!(data(&accepted).await, json!(n));
        if n % 10 == 9 {
            server.cut();
        }
        socket.write(&(n + 1), None).unwrap();
    }
    assert_eq!(first.sockets().len() + second.sockets().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn wire_150_a_socket_ends_with_its_server() {
    let server = Server::start();
    let (one, two, client) = (server.client().await, server.client().await, server.client().await);
    let mut first = listen(&one, "base").await;
    let socket = client.socket_connect("base", short()).unwrap();
    socket.write(&1, None).unwrap();
    let accepted = in_time(first.accept()).await.unwrap();
    data(&accepted).await;
    let _second = listen(&two, "base").await;
    // Without a word.
    one.close();
    in_time(socket.closed()).await;
}

#[tokio::test(start_paused = true)]
async fn wire_151_wildcards_show_the_concrete_subject() {
    let server = Server::start();
    let (host, client) = (server.client().await, server.client().await);
    let mut sockets = listen(&host, "x.*").await;
    let socket = client.socket_connect("x.account-1", SocketOptions::default()).unwrap();
    let accepted = in_time(sockets.accept()).await.unwrap();
    assert_eq!((accepted.subject(), accepted.id()), ("x.account-1", socket.id()));
    accepted.write("hi", None).unwrap();
    assert_eq!(data(&socket).await, json!("hi"));
}

#[tokio::test(start_paused = true)]
async fn wire_152_requests_work_both_ways_with_headers() {
    let server = Server::start();
    let (host, client) = (server.client().await, server.client().await);
    let mut sockets = listen(&host, "base").await;
    let socket = client.socket_connect("base", SocketOptions::default()).unwrap();
    let accepted = in_time(sockets.accept()).await.unwrap();
    for (asking, answering) in [(&socket, &accepted), (&accepted, &socket)] {
        let asked = tokio::spawn({
            let asking = asking.clone();
            async move { asking.request_with("q", Some(json!({"h": 1})), Duration::from_secs(5)).await.unwrap() }
        });
        let Some(Incoming::Request(request)) = in_time(answering.recv()).await else { panic!() };
        assert_eq!(request.header("h"), Some(&json!(1)));
        request.respond_with("a", Some(json!({"r": 2})), Duration::from_secs(5)).await.unwrap();
        let answer = asked.await.unwrap();
        assert_eq!((answer.decode::<String>().unwrap().as_str(), answer.header("r")), ("a", Some(&json!(2))));
    }
    let answering = tokio::spawn(async move {
        let Some(Incoming::Request(request)) = socket.recv().await else { panic!() };
        request.respond(&7).await.unwrap();
        let Some(Incoming::Request(request)) = socket.recv().await else { panic!() };
        request.respond(&8).await.unwrap();
    });
    let all = sockets.request_all("q", Duration::from_secs(5)).await.unwrap();
    assert_eq!(all[0].as_ref().unwrap().decode::<u8>().unwrap(), 7);
    let any = sockets.request_any("q", Duration::from_secs(5)).await.unwrap();
    assert_eq!(any.decode::<u8>().unwrap(), 8);
    answering.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn wire_153_a_server_accepts_both_forms() {
    let server = Server::start();
    let (host, client) = (server.client().await, server.client().await);
    let mut sockets = listen(&host, "base").await;
    let old = RawClient::new(&client, "base").await;
    assert_eq!(old.connect(sockets.id()).await, "connected");
    assert_eq!(in_time(sockets.accept()).await.unwrap().id(), old.id);
    let mut new = RawClient::new(&client, "base").await;
    let headers = json!({"CN-SocketCmd": "connect", "CN-SocketConnectAttempt": 3, "id": new.id});
    client.publish_sync(&new.server(sockets.id()), &(), Some(headers)).unwrap();
    let connected = new.command("connected").await;
    assert_eq!(&connected.payload()[..], [0xc0]);
    assert_eq!(connected.header("CN-SocketConnectAttempt"), Some(&json!(3)));
    assert!(connected.header("waitForClientInterestMs").unwrap().is_u64());
    assert_eq!(in_time(sockets.accept()).await.unwrap().id(), new.id);
}

#[tokio::test(start_paused = true)]
async fn wire_153_a_client_connects_to_both_kinds_of_server() {
    let server = Server::start();
    let (host, client) = (server.client().await, server.client().await);
    let mut old = RawServer::new(&host, "old").await;
    let socket = client.socket_connect("old", quiet()).unwrap();
    old.connect().await;
    in_time(socket.ready()).await.unwrap();
    // A newer server publishes and does not answer.
    let mut new = RawServer::new(&host, "new").await;
    let socket = client.socket_connect("new", quiet()).unwrap();
    new.choose().await;
    let connect = new.next().await;
    let attempt = connect.header("CN-SocketConnectAttempt").unwrap();
    let id = connect.header_str("id").unwrap();
    let headers =
        json!({"CN-SocketCmd": "connected", "CN-SocketConnectAttempt": attempt, "waitForClientInterestMs": 2});
    host.publish_sync(&format!("new.client.{id}"), &(), Some(headers)).unwrap();
    in_time(socket.ready()).await.unwrap();
    socket.write("x", None).unwrap();
    assert_eq!(new.data().await.header("CN-SocketSeq"), Some(&json!(1)));
}

#[tokio::test(start_paused = true)]
async fn a_balancer_or_the_application_may_choose_the_server() {
    let server = Server::start();
    let (host, client) = (server.client().await, server.client().await);
    let options = SocketOptions { server_id: Some("fixed".into()), ..SocketOptions::default() };
    let mut sockets = host.socket_listen("base", options).await.unwrap();
    let mut balancer = host.subscribe("balance").await.unwrap();
    tokio::spawn(async move {
        while let Ok(request) = balancer.recv().await {
            request.respond("fixed").await.unwrap();
        }
    });
    for choice in [Choice::Fixed("fixed".into()), Choice::Ask("balance".into())] {
        let options = SocketOptions { choice, ..SocketOptions::default() };
        let socket = client.socket_connect("base", options).unwrap();
        in_time(sockets.accept()).await.unwrap();
        in_time(socket.ready()).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn broadcasts_reach_every_socket_with_headers() {
    let server = Server::start();
    let host = server.client().await;
    let mut sockets = listen(&host, "base").await;
    let mut ends = Vec::new();
    for _ in 0..3 {
        let client = server.client().await;
        let socket = client.socket_connect("base", SocketOptions::default()).unwrap();
        ends.push((socket, in_time(sockets.accept()).await.unwrap()));
    }
    assert_eq!(sockets.write_all("all", Some(json!({"h": 1}))).unwrap(), 0);
    for (socket, _) in &ends {
        let Some(Incoming::Data(message)) = in_time(socket.recv()).await else { panic!() };
        assert_eq!(message.header("h"), Some(&json!(1)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_does_not_read_stops_the_writer() {
    let server = Server::start();
    let (host, client) = (server.client().await, server.client().await);
    let mut sockets = listen(&host, "base").await;
    let options = SocketOptions { queue_size: 5, ..SocketOptions::default() };
    let socket = client.socket_connect("base", options).unwrap();
    let accepted = in_time(sockets.accept()).await.unwrap();
    for n in 0..5 {
        socket.write(&n, None).unwrap();
    }
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(matches!(socket.write(&5, None), Err(SocketError::Full)));
    for n in 0..5 {
        assert_eq!(data(&accepted).await, json!(n));
    }
    in_time(socket.drained()).await;
    socket.write(&5, None).unwrap();
    assert_eq!(data(&accepted).await, json!(5));
}

#[tokio::test(start_paused = true)]
async fn nonsense_on_a_socket_closes_it_and_nothing_else() {
    let server = Server::start();
    let (host, client) = (server.client().await, server.client().await);
    let mut sockets = listen(&host, "base").await;
    let good = client.socket_connect("base", SocketOptions::default()).unwrap();
    let accepted = in_time(sockets.accept()).await.unwrap();
    for nonsense in [json!({"CN-SocketSeq": 0}), json!({"CN-SocketSeq": "x"}), json!({"CN-SocketSeq": 1e15}), json!({})]
    {
        let mut raw = RawClient::new(&client, "base").await;
        raw.connect(sockets.id()).await;
        let victim = in_time(sockets.accept()).await.unwrap();
        client.publish_bytes_sync(&raw.server(sockets.id()), MSGPACK, vec![0xc1].into(), Some(nonsense)).unwrap();
        raw.command("close").await;
        in_time(victim.closed()).await;
    }
    client.publish_sync("base.server.status", "nobody asks", None).unwrap();
    good.write("still here", None).unwrap();
    assert_eq!(data(&accepted).await, json!("still here"));
}

#[tokio::test(start_paused = true)]
async fn without_pings_a_server_looks_whether_its_client_listens() {
    let server = Server::start();
    let (host, client) = (server.client().await, server.client().await);
    let options = SocketOptions {
        keep_alive: Duration::ZERO,
        keep_alive_timeout: Duration::from_secs(2),
        ..SocketOptions::default()
    };
    let mut sockets = host.socket_listen("base", options).await.unwrap();
    let raw = RawClient::new(&client, "base").await;
    raw.connect(sockets.id()).await;
    let accepted = in_time(sockets.accept()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert_eq!(accepted.state(), SocketState::Ready);
    let before = tokio::time::Instant::now();
    drop(raw);
    in_time(accepted.closed()).await;
    assert!(before.elapsed() < Duration::from_secs(3), "{:?}", before.elapsed());
}

/// Nothing is asked or repeated without a pause, however long the peer is away.
#[tokio::test(start_paused = true)]
async fn a_peer_that_is_away_is_not_pestered() {
    let server = Server::start();
    let (host, client) = (server.client().await, server.client().await);
    let mut sockets = host.socket_listen("base", quiet()).await.unwrap();
    let raw = RawClient::new(&client, "base").await;
    raw.connect(sockets.id()).await;
    let accepted = in_time(sockets.accept()).await.unwrap();
    raw.send(sockets.id(), 1, "x");
    accepted.write("y", None).unwrap();
    drop(raw);
    data(&accepted).await;
    let before = server.broker().counters().messages_in.get();
    tokio::time::sleep(Duration::from_secs(60)).await;
    let published = server.broker().counters().messages_in.get() - before;
    assert!(published < 100, "{published} messages in a minute");
}

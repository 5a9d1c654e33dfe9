//! Items 138–145: virtual sockets, as far as the stream of data goes. Where an item is about the wire, the peer is made of plain
//! publishes and requests.

use std::time::Duration;

use outpost::bus::{
    RequestOptions,
    socket::{Incoming, Reason, SocketError, SocketOptions},
};
use serde_bytes::ByteBuf;
use serde_json::{Value, json};

use crate::{
    peers::{RawClient, RawServer, data, listen, quiet},
    server::{Server, in_time},
};

#[tokio::test(start_paused = true)]
async fn wire_138_the_status_names_the_server() {
    let server = Server::start();
    let (host, client) = (server.client().await, server.client().await);
    let sockets = listen(&host, "base").await;
    let answer: Value =
        client.request("base.server.status", &(), RequestOptions::default()).await.unwrap().decode().unwrap();
    assert_eq!(answer, json!({"id": sockets.id()}));
    assert_eq!(sockets.id(), host.id());
}

#[tokio::test(start_paused = true)]
async fn wire_139_data_written_before_the_server_exists_is_delivered() {
    let server = Server::start();
    let (host, client) = (server.client().await, server.client().await);
    let socket = client.socket_connect("base", SocketOptions::default()).unwrap();
    for n in 0..3 {
        socket.write(&n, None).unwrap();
    }
    tokio::time::sleep(Duration::from_secs(7)).await;
    let mut sockets = listen(&host, "base").await;
    let accepted = in_time(sockets.accept()).await.unwrap();
    for n in 0..3 {
        assert_eq!(data(&accepted).await, json!(n));
    }
    let raw = RawClient::new(&client, "base").await;
    assert_eq!(raw.connect(sockets.id()).await, "connected");
}

#[tokio::test(start_paused = true)]
async fn wire_140_data_is_numbered_and_the_application_does_not_see_it() {
    let server = Server::start();
    let (host, client) = (server.client().await, server.client().await);
    let mut raw = RawServer::new(&host, "base").await;
    let socket = client.socket_connect("base", quiet()).unwrap();
    let id = raw.connect().await;
    for n in 1..4u64 {
        socket.write(&n, Some(json!({ "h": n }))).unwrap();
        let message = raw.data().await;
        assert_eq!(message.headers(), Some(&json!({"h": n, "CN-SocketSeq": n})));
    }
    raw.send(&id, 1, "x");
    let Some(Incoming::Data(message)) = in_time(socket.recv()).await else { panic!() };
    assert_eq!(message.headers(), None);
}

#[tokio::test(start_paused = true)]
async fn wire_141_what_is_delivered_is_reported_and_forgotten() {
    let server = Server::start();
    let (host, client) = (server.client().await, server.client().await);
    let mut raw = RawServer::new(&host, "base").await;
    let socket = client.socket_connect("base", quiet()).unwrap();
    let id = raw.connect().await;
    socket.write("a", None).unwrap();
    socket.write("b", None).unwrap();
    raw.data().await;
    raw.data().await;
    assert_eq!(socket.pending(), 2);
    let report = async |seq: u64| {
        let headers = Some(json!({"CN-SocketCmd": "socket"}));
        let options = RequestOptions { headers, ..RequestOptions::default() };
        let body = json!({"socket": {"emitted": seq}});
        let answer = host.request(&format!("base.client.{id}"), &body, options).await.unwrap();
        assert_eq!(answer.decode::<Value>().unwrap(), json!({"emitted": seq}));
    };
    report(1).await;
    assert_eq!(socket.pending(), 1);
    report(2).await;
    in_time(socket.drained()).await;
    // The other direction.
    raw.send(&id, 1, "x");
    assert_eq!(data(&socket).await, json!("x"));
    let reported = raw.command("socket").await;
    assert_eq!(reported.decode::<Value>().unwrap(), json!({"socket": {"emitted": 1}}));
}

#[tokio::test(start_paused = true)]
async fn wire_142_a_full_queue_refuses_until_it_is_drained() {
    let server = Server::start();
    let (host, client) = (server.client().await, server.client().await);
    let socket = client.socket_connect("base", SocketOptions { queue_size: 2, ..SocketOptions::default() }).unwrap();
    socket.write(&1, None).unwrap();
    socket.write(&2, None).unwrap();
    let error = socket.write(&3, None).unwrap_err();
    assert!(matches!(error, SocketError::Full) && error.to_string().contains("ENOBUFS"));
    let mut sockets = listen(&host, "base").await;
    let accepted = in_time(sockets.accept()).await.unwrap();
    assert_eq!((data(&accepted).await, data(&accepted).await), (json!(1), json!(2)));
    in_time(socket.drained()).await;
    socket.write(&3, None).unwrap();
    assert_eq!(data(&accepted).await, json!(3));
}

#[tokio::test(start_paused = true)]
async fn wire_143_a_lost_message_is_fetched() {
    let server = Server::start();
    let (host, client) = (server.client().await, server.client().await);
    let mut sockets = listen(&host, "base").await;
    let mut raw = RawClient::new(&client, "base").await;
    raw.connect(sockets.id()).await;
    let accepted = in_time(sockets.accept()).await.unwrap();
    raw.send(sockets.id(), 1, "one");
    raw.send(sockets.id(), 3, "three");
    let mut missing = raw.command("socket").await;
    // A report may come first.
    while missing.decode::<Value>().unwrap().pointer("/socket/missing").is_none() {
        missing.respond_sync(&json!({"emitted": 1})).unwrap();
        missing = raw.command("socket").await;
    }
    assert_eq!(missing.decode::<Value>().unwrap(), json!({"socket": {"missing": [2]}}));
    #[derive(serde::Serialize)]
    struct Stored {
        encoding: u64,
        raw: ByteBuf,
        headers: Value,
    }
    let two = Stored { encoding: 0, raw: ByteBuf::from(*b"\xa3two"), headers: json!({"CN-SocketSeq": 2, "h": 1}) };
    missing.respond_sync(&[two]).unwrap();
    for expected in ["one", "two", "three"] {
        assert_eq!(data(&accepted).await, json!(expected));
    }
}

#[tokio::test(start_paused = true)]
async fn wire_143_what_is_missing_is_given() {
    let server = Server::start();
    let (host, client) = (server.client().await, server.client().await);
    let mut raw = RawServer::new(&host, "base").await;
    let socket = client.socket_connect("base", quiet()).unwrap();
    let id = raw.connect().await;
    socket.write("pwd\n", None).unwrap();
    socket.write("id\n", Some(json!({"h": 1}))).unwrap();
    raw.data().await;
    let options = || RequestOptions { headers: Some(json!({"CN-SocketCmd": "socket"})), ..RequestOptions::default() };
    let subject = format!("base.client.{id}");
    let answer = host.request(&subject, &json!({"socket": {"missing": [2, 1]}}), options()).await.unwrap();
    let stored: rmpv::Value = answer.decode().unwrap();
    let seqs: Vec<_> = stored.as_array().unwrap().iter().map(|s| s["headers"]["CN-SocketSeq"].as_u64()).collect();
    assert_eq!(seqs, [Some(2), Some(1)]);
    assert_eq!(stored[0]["headers"]["h"].as_u64(), Some(1));
    assert_eq!(stored[1]["raw"].as_slice(), Some(&b"\xa4pwd\n"[..]));
    let error = host.request(&subject, &json!({"socket": {"missing": [1, 3]}}), options()).await.unwrap_err();
    assert_eq!(error.to_string(), "nodata");
}

#[tokio::test(start_paused = true)]
async fn wire_144_a_duplicate_is_not_delivered_again() {
    let server = Server::start();
    let (host, client) = (server.client().await, server.client().await);
    let mut sockets = listen(&host, "base").await;
    let raw = RawClient::new(&client, "base").await;
    raw.connect(sockets.id()).await;
    let accepted = in_time(sockets.accept()).await.unwrap();
    for (seq, text) in [(1, "a"), (1, "a"), (2, "b"), (1, "a"), (2, "b"), (3, "c")] {
        raw.send(sockets.id(), seq, text);
    }
    for expected in ["a", "b", "c"] {
        assert_eq!(data(&accepted).await, json!(expected));
    }
}

#[tokio::test(start_paused = true)]
async fn wire_145_data_that_is_gone_closes_the_socket_at_both_ends() {
    let server = Server::start();
    let (host, client) = (server.client().await, server.client().await);
    let mut sockets = listen(&host, "base").await;
    let mut raw = RawClient::new(&client, "base").await;
    raw.connect(sockets.id()).await;
    let accepted = in_time(sockets.accept()).await.unwrap();
    raw.send(sockets.id(), 2, "two");
    let missing = raw.command("socket").await;
    missing.respond_sync_with(&(), Some(json!({"error": "nodata"}))).unwrap();
    raw.command("close").await;
    in_time(accepted.closed()).await;
    assert_eq!(accepted.reason(), Some(Reason::Lost));
}

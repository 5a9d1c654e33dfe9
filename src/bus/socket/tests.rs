//! Sockets over a broker in process.

use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::{
    broker::User,
    bus::{Client, testing::broker},
};

async fn data(socket: &Socket) -> Value {
    match tokio::time::timeout(Duration::from_secs(60), socket.recv()).await.unwrap() {
        Some(Incoming::Data(message)) => message.decode().unwrap(),
        other => panic!("expected data, got {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn both_ends_talk() {
    let broker = broker();
    let (a, b) = (Client::in_process(&broker, User::system()), Client::in_process(&broker, User::system()));
    let mut server = a.socket_listen("term.*", SocketOptions::default()).await.unwrap();
    let client = b.socket_connect("term.demo", SocketOptions::default()).unwrap();
    client.write("one", Some(json!({"h": 1}))).unwrap();
    client.write("two", None).unwrap();
    let socket = server.accept().await.unwrap();
    assert_eq!((socket.id(), socket.subject()), (client.id(), "term.demo"));
    let Some(Incoming::Data(first)) = socket.recv().await else { panic!() };
    assert_eq!(first.headers(), Some(&json!({"h": 1})));
    assert_eq!(data(&socket).await, json!("two"));
    client.drained().await;
    socket.write(&json!({"x": [1]}), None).unwrap();
    assert_eq!(data(&client).await, json!({"x": [1]}));
    let answer = tokio::spawn({
        let client = client.clone();
        async move { client.request(&"ask", Duration::from_secs(5)).await.unwrap().decode::<String>().unwrap() }
    });
    let Some(Incoming::Request(request)) = socket.recv().await else { panic!() };
    request.respond("answer").await.unwrap();
    assert_eq!(answer.await.unwrap(), "answer");
    server.close().await;
    client.closed().await;
    assert_eq!(client.reason(), Some(Reason::Peer));
    assert!(matches!(client.write("x", None), Err(SocketError::Closed)));
}

#[tokio::test(start_paused = true)]
async fn dropping_the_handle_closes_the_other_end() {
    let broker = broker();
    let (a, b) = (Client::in_process(&broker, User::system()), Client::in_process(&broker, User::system()));
    let mut server = a.socket_listen("base", SocketOptions::default()).await.unwrap();
    let client = b.socket_connect("base", SocketOptions::default()).unwrap();
    let socket = server.accept().await.unwrap();
    drop(client);
    socket.closed().await;
    assert_eq!(socket.reason(), Some(Reason::Peer));
    assert!(server.sockets().iter().all(|s| s.state() == SocketState::Closed));
}

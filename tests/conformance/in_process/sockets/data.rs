//! Data in order and exactly once: items 140–145, 152.

use std::time::Duration;

use outpost::bus::{
    Code,
    socket::{Incoming, Reason, SocketError, SocketOptions},
};
use serde_json::{Value, json};

use super::{client, data, data_with_headers, server};
use crate::harness::{Bus, Generation, RawClient, RawServer, soon, until};

#[tokio::test(start_paused = true)]
async fn wire_140_data_is_numbered_and_the_number_is_hidden() {
    let bus = Bus::start();
    let (_host, mut server) = server(&bus, "base").await;
    let mut tap = bus.raw();
    tap.subscribe("base.server.*.*");
    tap.subscribe("base.client.*");
    let (_c, client) = client(&bus, "base", SocketOptions::default()).await;
    for n in 1..=3 {
        client.write(&n, (n == 2).then(|| json!({"h": n}))).unwrap();
    }
    let socket = soon(server.accept()).await.unwrap();
    for n in 1..=3 {
        let expected = (n == 2).then(|| json!({"h": n}));
        assert_eq!(data_with_headers(&socket).await, (json!(n), expected));
    }
    for n in 1..=2 {
        socket.write(&n, Some(json!({"h": n}))).unwrap();
        assert_eq!(data_with_headers(&client).await, (json!(n), Some(json!({"h": n}))));
    }
    let mut numbers = (Vec::new(), Vec::new());
    while let Some(seen) = tap.try_next() {
        if let Some(seq) = seen.header("CN-SocketSeq").as_u64() {
            assert_eq!((seen.value(), seen.reply(), seen.header("CN-SocketCmd")), (json!(seq), None, Value::Null));
            if seen.subject.contains(".server.") { numbers.0.push(seq) } else { numbers.1.push(seq) }
        }
    }
    assert_eq!(numbers, (vec![1, 2, 3], vec![1, 2]));
}

#[tokio::test(start_paused = true)]
async fn wire_141_what_is_delivered_is_reported() {
    let bus = Bus::start();
    let (_host, mut server) = server(&bus, "base").await;
    let mut raw = RawClient::connect(&bus, "base", Generation::A).await;
    let socket = soon(server.accept()).await.unwrap();
    for n in 1..=3 {
        raw.data(n, &n);
        assert_eq!(data(&socket).await, n);
        raw.until_emitted(n).await;
    }
    assert_eq!(raw.emitted, [1, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn wire_141_what_is_reported_is_forgotten() {
    let bus = Bus::start();
    let mut raw = RawServer::listen(&bus, "base");
    let (_c, socket) = client(&bus, "base", SocketOptions::default()).await;
    raw.accept(Generation::A).await;
    for n in 1..=3 {
        socket.write(&n, None).unwrap();
    }
    for n in 1..=3 {
        assert_eq!(raw.next_data(n - 1).await.1, n);
    }
    assert_eq!(socket.pending(), 3);
    assert_eq!(raw.report(2).await, json!({"emitted": 2}));
    assert_eq!(socket.pending(), 1);
    let drained = tokio::spawn({
        let socket = socket.clone();
        async move { socket.drained().await }
    });
    // A report that comes late takes nothing back.
    assert_eq!(raw.report(1).await, json!({"emitted": 1}));
    assert_eq!(socket.pending(), 1);
    assert!(!drained.is_finished());
    assert_eq!(raw.report(3).await, json!({"emitted": 3}));
    soon(drained).await.unwrap();
    assert_eq!(socket.pending(), 0);
}

#[tokio::test(start_paused = true)]
async fn wire_142_too_much_unacknowledged_is_refused() {
    let bus = Bus::start();
    let mut raw = RawServer::listen(&bus, "base");
    let options = SocketOptions { queue_size: 3, ..SocketOptions::default() };
    let (_c, socket) = client(&bus, "base", options).await;
    raw.accept(Generation::A).await;
    for n in 1..=3 {
        socket.write(&n, None).unwrap();
    }
    let error = socket.write(&4, None).unwrap_err();
    assert!(matches!(error, SocketError::Full), "{error}");
    assert_eq!(error.code(), Some(Code::from("ENOBUFS")));
    assert_eq!(raw.next_data(2).await.0, 3);
    raw.report(3).await;
    soon(socket.drained()).await;
    socket.write(&"four", None).unwrap();
    // What was refused has no number.
    assert_eq!(raw.next_data(3).await, (4, json!("four"), json!({"CN-SocketSeq": 4})));
    socket.close();
    let error = socket.write(&5, None).unwrap_err();
    assert_eq!(error.code(), Some(Code::from("EPIPE")));
}

/// A stored message as it is in the answer to a request for what is missing.
fn stored(seq: u64, text: &str) -> Value {
    json!({"encoding": 0, "raw": text, "headers": {"CN-SocketSeq": seq, "h": seq}})
}

/// The same with the payload as bytes, which JSON does not have.
fn answer(items: &[Value]) -> rmpv::Value {
    let item = |item: &Value| {
        let raw = outpost::wire::msgpack::encode(&item["raw"]).unwrap();
        let headers = rmpv::ext::to_value(&item["headers"]).unwrap();
        rmpv::Value::Map(vec![
            ("encoding".into(), 0.into()),
            ("raw".into(), rmpv::Value::Binary(raw)),
            ("headers".into(), headers),
        ])
    };
    rmpv::Value::Array(items.iter().map(item).collect())
}

#[tokio::test(start_paused = true)]
async fn wire_143_a_server_fetches_what_is_missing() {
    let bus = Bus::start();
    let (_host, mut server) = server(&bus, "base").await;
    let mut raw = RawClient::connect(&bus, "base", Generation::B).await;
    let socket = soon(server.accept()).await.unwrap();
    raw.data_with(1, "one", json!({"h": 1}));
    raw.data_with(3, "three", json!({"h": 3}));
    let asked = raw.next_command("socket").await;
    assert_eq!(asked.value(), json!({"socket": {"missing": [2]}}));
    raw.raw.respond(&asked, &answer(&[stored(2, "two")]), None);
    for (n, text) in [(1, "one"), (2, "two"), (3, "three")] {
        assert_eq!(data_with_headers(&socket).await, (json!(text), Some(json!({"h": n}))));
    }
    raw.until_emitted(3).await;
}

#[tokio::test(start_paused = true)]
async fn wire_143_a_client_fetches_what_is_missing() {
    let bus = Bus::start();
    let mut raw = RawServer::listen(&bus, "base");
    let (_c, socket) = client(&bus, "base", SocketOptions::default()).await;
    raw.accept(Generation::B).await;
    soon(socket.ready()).await.unwrap();
    // The beginning is missing as well, and there are two holes.
    raw.data_with(2, "two", json!({"h": 2}));
    raw.data_with(5, "five", json!({"h": 5}));
    let asked = raw.next_command("socket").await;
    let missing = asked.value();
    let missing = missing.pointer("/socket/missing").and_then(Value::as_array).cloned().unwrap();
    // Only one request is under way; depending on when it was sent, it knows of one hole or of both.
    assert!(missing == [json!(1)] || missing == [json!(1), json!(3), json!(4)], "{missing:?}");
    let text = |n: &Value| stored(n.as_u64().unwrap(), ["", "one", "", "three", "four"][n.as_u64().unwrap() as usize]);
    raw.raw.respond(&asked, &answer(&missing.iter().map(text).collect::<Vec<_>>()), None);
    if missing.len() == 1 {
        let asked = raw.next_command("socket").await;
        assert_eq!(asked.value(), json!({"socket": {"missing": [3, 4]}}));
        raw.raw.respond(&asked, &answer(&[stored(3, "three"), stored(4, "four")]), None);
    }
    for (n, text) in [(1, "one"), (2, "two"), (3, "three"), (4, "four"), (5, "five")] {
        assert_eq!(data_with_headers(&socket).await, (json!(text), Some(json!({"h": n}))));
    }
}

#[tokio::test(start_paused = true)]
async fn wire_143_missing_messages_are_answered_from_the_buffer() {
    let bus = Bus::start();
    let (_host, mut server) = server(&bus, "base").await;
    let mut raw = RawClient::connect(&bus, "base", Generation::A).await;
    let socket = soon(server.accept()).await.unwrap();
    for n in 1..=3 {
        socket.write(&format!("m{n}"), Some(json!({"h": n}))).unwrap();
    }
    raw.next_data(2).await;
    let answer = raw.missing(&[3, 1]).await;
    let items = outpost::wire::msgpack::decode_value(&answer.frame.raw).unwrap();
    let items = items.as_array().unwrap();
    assert_eq!(items.len(), 2);
    for (item, n) in items.iter().zip([3u64, 1]) {
        let field =
            |name: &str| item.as_map().unwrap().iter().find(|(k, _)| k.as_str() == Some(name)).unwrap().1.clone();
        assert_eq!(field("encoding").as_u64(), Some(0));
        assert_eq!(field("raw").as_slice().unwrap(), [b"\xa2m", n.to_string().as_bytes()].concat());
        assert_eq!(outpost::wire::msgpack::to_json(&field("headers")), json!({"h": n, "CN-SocketSeq": n}));
    }
}

#[tokio::test(start_paused = true)]
async fn wire_144_a_duplicate_is_not_delivered_again() {
    let bus = Bus::start();
    let (_host, mut server) = server(&bus, "base").await;
    let mut raw = RawClient::connect(&bus, "base", Generation::A).await;
    let socket = soon(server.accept()).await.unwrap();
    raw.data(1, "one");
    raw.data(1, "one, on its way twice");
    assert_eq!(data(&socket).await, "one");
    raw.until_emitted(1).await;
    raw.data(1, "one again");
    raw.data(2, "two");
    assert_eq!(data(&socket).await, "two");
    // Too early twice is a duplicate as well.
    raw.data(4, "four");
    raw.data(4, "another four");
    raw.data(3, "three");
    assert_eq!((data(&socket).await, data(&socket).await), (json!("three"), json!("four")));
    raw.data(5, "end");
    assert_eq!(data(&socket).await, "end");
}

#[tokio::test(start_paused = true)]
async fn wire_145_a_server_gives_up_when_the_missing_data_is_gone() {
    let bus = Bus::start();
    let (_host, mut server) = server(&bus, "base").await;
    let mut raw = RawClient::connect(&bus, "base", Generation::A).await;
    let socket = soon(server.accept()).await.unwrap();
    raw.data(1, "one");
    raw.data(3, "three");
    let asked = raw.next_command("socket").await;
    assert_eq!(asked.value(), json!({"socket": {"missing": [2]}}));
    raw.raw.respond(&asked, &(), Some(json!({"error": "nodata"})));
    raw.next_command("close").await;
    assert_eq!(socket.reason(), Some(Reason::Lost));
    assert_eq!(data(&socket).await, "one");
    assert!(soon(socket.recv()).await.is_none(), "what comes after the hole was delivered");
    until("it is removed", || server.sockets().is_empty()).await;
}

#[tokio::test(start_paused = true)]
async fn wire_145_a_client_gives_up_when_the_missing_data_is_gone() {
    let bus = Bus::start();
    let mut raw = RawServer::listen(&bus, "base");
    let (_c, socket) = client(&bus, "base", SocketOptions::default()).await;
    raw.accept(Generation::A).await;
    soon(socket.ready()).await.unwrap();
    raw.data(2, "two");
    let asked = raw.next_command("socket").await;
    raw.raw.respond(&asked, &(), Some(json!({"error": "nodata"})));
    assert_eq!(raw.next_command("close").await.header("id"), socket.id());
    assert_eq!(socket.reason(), Some(Reason::Lost));
    assert!(soon(socket.recv()).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn wire_145_asking_for_what_was_acknowledged_is_answered_with_nodata() {
    let bus = Bus::start();
    let (_host, mut server) = server(&bus, "base").await;
    let mut raw = RawClient::connect(&bus, "base", Generation::A).await;
    let socket = soon(server.accept()).await.unwrap();
    for n in 1..=3 {
        socket.write(&n, None).unwrap();
    }
    raw.next_data(2).await;
    raw.report(1).await;
    for missing in [&[1][..], &[1, 2], &[2, 4]] {
        let answer = raw.missing(missing).await;
        assert_eq!((answer.value(), answer.header("error")), (Value::Null, json!("nodata")), "{missing:?}");
    }
    assert_eq!(raw.missing(&[2, 3]).await.value().as_array().unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn wire_152_requests_go_both_ways_with_headers() {
    const TIMEOUT: Duration = Duration::from_secs(5);
    let bus = Bus::start();
    let (_host, mut server) = server(&bus, "base").await;
    let (_c, client) = client(&bus, "base", SocketOptions::default()).await;
    let socket = soon(server.accept()).await.unwrap();
    for (asker, answerer) in [(&client, &socket), (&socket, &client)] {
        let ask = asker.request_with("question", Some(json!({"h": 1})), TIMEOUT);
        let answer = async {
            let Some(Incoming::Request(request)) = soon(answerer.recv()).await else { panic!("expected a request") };
            assert_eq!(request.decode::<String>().unwrap(), "question");
            assert_eq!(request.header("h"), Some(&json!(1)));
            request.respond_with("answer", Some(json!({"g": 2})), TIMEOUT).await.unwrap();
        };
        let (answered, ()) = tokio::join!(ask, answer);
        let answered = answered.unwrap();
        assert_eq!(answered.decode::<String>().unwrap(), "answer");
        assert_eq!(answered.header("g"), Some(&json!(2)));
    }
    // Requests have no number: data beside them is numbered without holes.
    client.write("data", None).unwrap();
    assert_eq!(data(&socket).await, "data");
    soon(client.drained()).await;
    // An error is one at the other side, and nobody who answers is a timeout.
    let (failed, ()) = tokio::join!(client.request("question", TIMEOUT), async {
        let Some(Incoming::Request(request)) = soon(socket.recv()).await else { panic!("expected a request") };
        request.respond_error("no", 418).await.unwrap();
    });
    assert!(failed.unwrap_err().is_code(418));
    assert!(client.request("question", TIMEOUT).await.unwrap_err().is_code(408));
}

#[tokio::test(start_paused = true)]
async fn wire_152_a_server_asks_all_its_sockets() {
    const TIMEOUT: Duration = Duration::from_secs(5);
    let bus = Bus::start();
    let (_host, mut server) = server(&bus, "base").await;
    let mut clients = Vec::new();
    for n in 0..3 {
        let (c, socket) = client(&bus, "base", SocketOptions::default()).await;
        clients.push((c, soon(server.accept()).await.unwrap()));
        tokio::spawn(async move {
            while let Some(Incoming::Request(request)) = socket.recv().await {
                request.respond(&n).await.unwrap();
            }
        });
    }
    let answers = soon(server.request_all(&(), TIMEOUT)).await.unwrap();
    let mut answers: Vec<i32> = answers.into_iter().map(|answer| answer.unwrap().decode().unwrap()).collect();
    answers.sort_unstable();
    assert_eq!(answers, [0, 1, 2]);
    let first: i32 = soon(server.request_any(&(), TIMEOUT)).await.unwrap().decode().unwrap();
    assert!((0..3).contains(&first));
}

#[tokio::test]
async fn wire_140_a_large_message_keeps_its_place() {
    let bus = Bus::start();
    let (_host, mut server) = server(&bus, "base").await;
    let (_c, client) = client(&bus, "base", SocketOptions::default()).await;
    client.write(&0, None).unwrap();
    let socket = soon(server.accept()).await.unwrap();
    assert_eq!(data(&socket).await, 0);
    for round in 0..3 {
        socket.write(&round, None).unwrap();
        socket.write(&"x".repeat(20_000_000 + round), None).unwrap();
        socket.write(&"end", None).unwrap();
        assert_eq!(data(&client).await, round);
        assert_eq!(data(&client).await.as_str().map(str::len), Some(20_000_000 + round));
        assert_eq!(data(&client).await, "end");
    }
    soon(socket.drained()).await;
}

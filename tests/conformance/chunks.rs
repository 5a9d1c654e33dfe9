//! Items 111–117: chunks, frames and `info` on the wire.

use std::time::Duration;

use bytes::Bytes;
use outpost::bus::{MSGPACK, PublishOptions};
use serde_json::json;

use crate::{
    script::{script, signed_in},
    server::Server,
};

fn headers(n: u32) -> PublishOptions {
    PublishOptions { headers: Some(json!({ "h": n })), ..PublishOptions::default() }
}

#[tokio::test(start_paused = true)]
async fn wire_111_a_large_message_goes_in_chunks() {
    let (client, _script, mut peer) = signed_in().await;
    let payload: Bytes = (0..20_000_000u32).map(|n| (n % 251) as u8).collect::<Vec<_>>().into();
    let sent = payload.clone();
    let publishing = tokio::spawn(async move { client.publish_bytes("big", MSGPACK, sent, headers(1)).await });
    let mut events = Vec::new();
    for _ in 0..3 {
        events.push(peer.expect("publish").await);
    }
    let shape: Vec<_> = events
        .iter()
        .map(|e| (e.argument[2].as_u64().unwrap(), e.argument[3].as_u64().unwrap(), e.attachments[0].len()))
        .collect();
    assert_eq!(shape, [(0, 0, 7_900_000), (1, 0, 7_900_000), (2, 1, 4_200_000)]);
    assert!(events.iter().all(|e| e.argument[1] == events[0].argument[1]));
    let lengths: Vec<_> = events.iter().map(|e| e.argument.as_array().unwrap().len()).collect();
    assert_eq!(lengths, [6, 6, 7]);
    assert_eq!(events[2].headers(), &json!({"h": 1}));
    let whole: Vec<u8> = events.iter().flat_map(|e| e.attachments[0].to_vec()).collect();
    assert!(whole == payload);
    for (event, count) in events.iter().zip([0, 2, 1]) {
        peer.acknowledge(event, json!({ "count": count })).await;
    }
    assert_eq!(publishing.await.unwrap().unwrap().count, 2, "the largest count of the chunks");
}

#[tokio::test(start_paused = true)]
async fn wire_111_a_large_message_arrives_whole() {
    let server = Server::start();
    let (client, other, local) = (server.client().await, server.client().await, server.local());
    let (mut over_wire, mut in_process) =
        (other.subscribe("big").await.unwrap(), local.subscribe("big").await.unwrap());
    let payload: Bytes = (0..20_000_000u32).map(|n| (n % 251) as u8).collect::<Vec<_>>().into();
    for publisher in [&client, &local] {
        publisher.publish_bytes("big", 7, payload.clone(), headers(2)).await.unwrap();
        for reader in [&mut over_wire, &mut in_process] {
            let message = reader.recv().await.unwrap();
            assert!(message.payload() == &payload);
            assert_eq!((message.encoding(), message.headers()), (7, Some(&json!({"h": 2}))));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn wire_112_the_chunk_size_follows_the_server() {
    for (max_payload, size) in [(200_000, 100_000), (50_000, 1000)] {
        let (mut script, options) = script();
        let client = outpost::bus::Client::connect(options).unwrap();
        let mut peer = script.accept().await;
        peer.info(max_payload).await;
        peer.answer_inbox().await;
        client.publish_bytes_sync("s", MSGPACK, vec![0; size + 1].into(), None).unwrap();
        for expected in [size, 1] {
            assert_eq!(peer.expect("publish").await.attachments[0].len(), expected);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn wire_113_a_message_with_a_hole_is_dropped_and_forgotten() {
    let (client, _script, mut peer) = signed_in().await;
    let subscribing = tokio::spawn({
        let client = client.clone();
        async move { client.subscribe("s").await.unwrap() }
    });
    peer.answer_subscribe().await;
    let mut messages = subscribing.await.unwrap();
    let chunk = |id: &str, seq: u32, done: u32| format!(r#"["{id}",{seq},{done},0,{{"_placeholder":true,"num":0}}]"#);
    peer.deliver("s", "s", &chunk("holed", 0, 0), &[0xa2]).await;
    peer.deliver("s", "s", &chunk("holed", 2, 1), b"b").await;
    peer.deliver("s", "s", &chunk("late", 0, 0), &[0xa2]).await;
    peer.deliver("s", "s", &chunk("good", 0, 0), &[0xa2]).await;
    peer.deliver("s", "s", &chunk("good", 1, 1), b"ok").await;
    assert_eq!(messages.recv().await.unwrap().decode::<String>().unwrap(), "ok");
    // The first comparison of subscriptions is answered so that nothing else happens.
    let event = peer.expect("subscriptions").await;
    peer.acknowledge(&event, json!(["s"])).await;
    // The heartbeat keeps the connection while time passes.
    for _ in 0..8 {
        tokio::time::sleep(Duration::from_secs(25)).await;
        peer.send("2").await;
        while peer.text().await != "3" {}
    }
    peer.deliver("s", "s", &chunk("late", 1, 1), b"xx").await;
    peer.deliver("s", "s", &chunk("last", 0, 1), &[0x07]).await;
    assert_eq!(messages.recv().await.unwrap().decode::<u8>().unwrap(), 7, "the incomplete message was forgotten");
}

#[tokio::test(start_paused = true)]
async fn wire_114_a_message_without_beginning_is_ignored() {
    let (client, _script, mut peer) = signed_in().await;
    let subscribing = tokio::spawn(async move { client.subscribe("s").await.unwrap() });
    peer.answer_subscribe().await;
    let mut messages = subscribing.await.unwrap();
    peer.deliver("s", "s", r#"["x",1,1,0,{"_placeholder":true,"num":0}]"#, b"x").await;
    peer.deliver("s", "s", r#"["y",0,1,0,{"_placeholder":true,"num":0}]"#, &[0x01]).await;
    assert_eq!(messages.recv().await.unwrap().decode::<u8>().unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn wire_116_extra_elements_and_null_headers_are_accepted() {
    let (client, _script, mut peer) = signed_in().await;
    let subscribing = tokio::spawn(async move { client.subscribe("s.*").await.unwrap() });
    peer.answer_subscribe().await;
    let mut messages = subscribing.await.unwrap();
    let targets = r#"[{"pattern":"s.*","target":"x"}]"#;
    let data = format!(r#"["x",0,1,0,{{"_placeholder":true,"num":0}},null,{targets},7]"#);
    peer.deliver("s.*", "s.a", &data, &[0x01]).await;
    let message = messages.recv().await.unwrap();
    assert_eq!((message.subject(), message.headers()), ("s.a", None));
    let data = format!(r#"["x",0,1,0,{{"_placeholder":true,"num":0}},{{"h":1}},{targets}]"#);
    peer.deliver("s.*", "s.b", &data, &[0x01]).await;
    assert_eq!(messages.recv().await.unwrap().headers(), Some(&json!({"h": 1})));
}

#[tokio::test(start_paused = true)]
async fn wire_117_every_info_is_acknowledged_with_nothing() {
    let (client, _script, mut peer) = signed_in().await;
    // The helper checks the acknowledgement; the second `info` compares the subscriptions.
    peer.info(8_000_000).await;
    assert_eq!(client.status().borrow().generation, 1);
    peer.info(8_000_000).await;
}

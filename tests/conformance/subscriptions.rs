//! Items 119 and 120: local subscriptions of one pattern; and what the brief of a reader who does not keep up is.

use std::time::Duration;

use outpost::bus::{Error, SubscribeOptions};
use serde_json::json;

use crate::{script::signed_in, server::Server};

#[tokio::test(start_paused = true)]
async fn wire_119_readers_of_one_pattern_share_a_subscription() {
    let (client, _script, mut peer) = signed_in().await;
    let subscribing = tokio::spawn({
        let client = client.clone();
        async move { (client.subscribe("a").await.unwrap(), client.subscribe("a").await.unwrap()) }
    });
    assert_eq!(peer.answer_subscribe().await, "a");
    let (mut one, mut two) = subscribing.await.unwrap();
    let data = r#"["x",0,1,0,{"_placeholder":true,"num":0}]"#;
    peer.deliver("a", "a", data, &[1]).await;
    assert_eq!(one.recv().await.unwrap().decode::<u8>().unwrap(), 1);
    assert_eq!(two.recv().await.unwrap().decode::<u8>().unwrap(), 1);
    drop(one);
    peer.deliver("a", "a", data, &[2]).await;
    assert_eq!(two.recv().await.unwrap().decode::<u8>().unwrap(), 2);
    drop(two);
    let event = peer.expect("unsubscribe").await;
    assert_eq!((event.id, event.argument), (None, json!({"subject": "a"})));
    // The next thing on the wire is the comparison, nothing else was sent.
    assert_eq!(peer.event().await.name, "subscriptions");
}

#[tokio::test(start_paused = true)]
async fn wire_119_one_subscription_counts_once_at_the_broker() {
    let server = Server::start();
    let client = server.client().await;
    let (mut one, mut two) = (client.subscribe("a").await.unwrap(), client.subscribe("a").await.unwrap());
    assert_eq!(client.publish("a", "x", Default::default()).await.unwrap().count, 1);
    one.recv().await.unwrap();
    two.recv().await.unwrap();
    drop((one, two));
    assert_eq!(client.publish("a", "x", Default::default()).await.unwrap().count, 0);
}

#[tokio::test(start_paused = true)]
async fn wire_120_another_queue_on_the_same_pattern_is_refused() {
    let server = Server::start();
    for client in [server.client().await, server.local()] {
        let _first = client.subscribe_with("a", SubscribeOptions::queue("q")).await.unwrap();
        let error = client.subscribe_with("a", SubscribeOptions::queue("r")).await.unwrap_err();
        assert!(matches!(error, Error::OtherQueue { .. }), "{error:?}");
        client.subscribe_with("a", SubscribeOptions::queue("q")).await.unwrap();
        client.subscribe("a").await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_does_not_keep_up_is_told_and_others_are_not_disturbed() {
    let server = Server::start();
    for client in [server.client().await, server.local()] {
        let slow = SubscribeOptions { max_messages: 3, ..SubscribeOptions::default() };
        let mut slow = client.subscribe_with("a", slow).await.unwrap();
        let mut good = client.subscribe("a").await.unwrap();
        for n in 0..5 {
            client.publish_sync("a", &n, None).unwrap();
        }
        for n in 0..5 {
            assert_eq!(good.recv().await.unwrap().decode::<u32>().unwrap(), n);
        }
        for n in 0..3 {
            assert_eq!(slow.recv().await.unwrap().decode::<u32>().unwrap(), n);
        }
        assert!(matches!(slow.recv().await, Err(Error::SlowReader(_))));
        let count = client.publish("a", &9, Default::default()).await.unwrap().count;
        assert_eq!(count, 1);
        drop(good);
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert_eq!(client.publish("a", &9, Default::default()).await.unwrap().count, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_handle_closes_the_client() {
    let server = Server::start();
    let client = server.client().await;
    assert_eq!(server.broker().peers().len(), 1);
    drop(client);
    while !server.broker().peers().is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

//! Items 121–126: what happens when a connection is lost.

use std::time::Duration;

use outpost::{
    broker::Direction,
    bus::{
        Client, Error, PublishOptions, RequestOptions, State,
        service::{Call, CallOptions, Convention, Methods, ServiceOptions},
    },
    config::{Limits, Secret},
};
use serde_json::json;

use crate::{
    script::{script, signed_in},
    server::{Forbidden, Server, in_time},
};

/// Waits until a client has connected again.
async fn generation(client: &Client, wanted: u64) {
    let mut status = client.status();
    in_time(status.wait_for(|s| s.generation >= wanted && s.state == State::Connected)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn wire_121_subscriptions_work_again_after_a_cut() {
    let server = Server::start();
    let client = server.client().await;
    let mut messages = client.subscribe("a.*").await.unwrap();
    for round in 2..5 {
        server.cut();
        generation(&client, round).await;
        let count = server.local().publish("a.b", &round, PublishOptions::default()).await.unwrap().count;
        assert_eq!(count, 1);
        assert_eq!(in_time(messages.recv()).await.unwrap().decode::<u64>().unwrap(), round);
    }
}

#[tokio::test(start_paused = true)]
async fn wire_121_what_is_published_meanwhile_is_sent_afterwards() {
    let server = Server::start();
    let client = server.client().await;
    let mut messages = client.subscribe("a").await.unwrap();
    server.down();
    let mut status = client.status();
    in_time(status.wait_for(|s| s.state == State::Connecting)).await.unwrap();
    for n in 0..3 {
        client.publish_sync("a", &n, None).unwrap();
    }
    server.up();
    for n in 0..3 {
        assert_eq!(in_time(messages.recv()).await.unwrap().decode::<u32>().unwrap(), n);
    }
}

#[tokio::test(start_paused = true)]
async fn wire_121_pauses_grow_up_to_the_limit() {
    let (mut script, options) = script();
    let client = Client::connect(options).unwrap();
    let mut times = Vec::new();
    for _ in 0..9 {
        script.accept().await.cut();
        times.push(tokio::time::Instant::now());
    }
    let pauses: Vec<f64> = times.windows(2).map(|w| (w[1] - w[0]).as_secs_f64()).collect();
    for (n, pause) in pauses.iter().enumerate() {
        let middle = (0.5 * 2f64.powi(n as i32)).min(15.0);
        assert!((middle * 0.5 - 0.01..=middle * 1.5 + 0.01).contains(pause), "{n}: {pauses:?}");
    }
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn wire_122_after_a_reconnect_missing_subscriptions_go_in_one_array() {
    let (client, mut script, mut peer) = signed_in().await;
    let mut held = Vec::new();
    for pattern in ["a", "b"] {
        let subscribing = tokio::spawn({
            let client = client.clone();
            async move { client.subscribe(pattern).await.unwrap() }
        });
        peer.answer_subscribe().await;
        held.push(subscribing.await.unwrap());
    }
    peer.cut();
    let mut peer = script.accept().await;
    client.publish_sync("early", &1, None).unwrap();
    peer.info(8_000_000).await;
    let event = peer.expect("subscriptions").await;
    assert_eq!(event.argument, json!(null));
    peer.acknowledge(&event, json!([])).await;
    let event = peer.expect("subscribe").await;
    let wishes = event.argument.as_array().unwrap();
    assert_eq!(wishes.len(), 3, "the inbox, a and b");
    assert!(wishes.iter().all(|wish| wish["queue"].is_string()));
    let patterns: Vec<_> = wishes.iter().map(|wish| wish["subject"].clone()).collect();
    // What was published meanwhile comes behind the subscriptions.
    assert_eq!(peer.expect("publish").await.argument[0], json!("early"));
    peer.acknowledge(&event, json!([{"status": "added"}, {"status": "added"}, {"status": "added"}])).await;
    // It looks again until a round finds nothing missing.
    let event = peer.expect("subscriptions").await;
    peer.acknowledge(&event, json!(patterns)).await;
    assert_eq!(client.state(), State::Connected);
}

#[tokio::test(start_paused = true)]
async fn wire_123_patterns_that_nobody_wants_are_unsubscribed() {
    let (client, _script, mut peer) = signed_in().await;
    let event = peer.expect("subscriptions").await;
    let inbox = format!("{}.*", "_INBOX.x");
    peer.acknowledge(&event, json!(["stale.one", inbox, "stale.two"])).await;
    let event = peer.expect("unsubscribe").await;
    assert_eq!(event.argument, json!([{"subject": "stale.one"}, {"subject": inbox}, {"subject": "stale.two"}]));
    // Its own inbox was missing in the list.
    let event = peer.expect("subscribe").await;
    assert!(event.argument[0]["subject"].as_str().unwrap().starts_with("_INBOX.account-A."));
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn wire_124_a_refused_subscription_is_closed_and_others_live() {
    let forbidden = Forbidden::default();
    let server = Server::with(std::sync::Arc::new(forbidden.clone()), Limits::default());
    let client = server.client().await;
    let (mut bad, mut good) = (client.subscribe("bad").await.unwrap(), client.subscribe("good").await.unwrap());
    forbidden.forbid("bad", Direction::Subscribe);
    server.cut();
    let error = in_time(bad.recv()).await.unwrap_err();
    assert!(error.is_code(403), "{error:?}");
    generation(&client, 2).await;
    server.local().publish_sync("good", &1, None).unwrap();
    in_time(good.recv()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn wire_125_requests_work_again_with_the_same_inbox() {
    let server = Server::start();
    let (client, other) = (server.client().await, server.local());
    let mut requests = other.subscribe("svc").await.unwrap();
    let mut inboxes = Vec::new();
    for round in 1..3 {
        generation(&client, round).await;
        let asking = tokio::spawn({
            let client = client.clone();
            async move { client.request("svc", &(), RequestOptions::default()).await.unwrap() }
        });
        let request = requests.recv().await.unwrap();
        inboxes.push(request.reply_subject().unwrap().rsplit_once('.').unwrap().0.to_owned());
        request.respond("ok").await.unwrap();
        asking.await.unwrap();
        server.cut();
        in_time(client.status().wait_for(|s| s.state == State::Connecting || s.generation > round)).await.unwrap();
    }
    assert_eq!(inboxes[0], inboxes[1]);
}

#[tokio::test(start_paused = true)]
async fn wire_126_a_restart_is_survived_by_subscriptions_and_services() {
    let server = Server::start();
    let (host, client) = (server.client().await, server.client().await);
    let mut messages = client.subscribe("news").await.unwrap();
    let methods = || Methods::new().method("twice", |call: Call| async move { Ok(call.arg::<i64>(0)? * 2) });
    let _arrays = methods().serve(&host, "arrays", Convention::MethodArray, ServiceOptions::default()).await.unwrap();
    let _typed = methods().serve(&host, "typed", Convention::Typed, ServiceOptions::default()).await.unwrap();
    server.restart();
    generation(&host, 2).await;
    generation(&client, 2).await;
    assert_eq!(client.call::<i64>("arrays", "twice", &(4,), CallOptions::default()).await.unwrap(), 8);
    assert!(client.ping_direct("typed", Duration::from_secs(5)).await, "direct calls are registered again");
    assert_eq!(client.call_typed::<i64>("typed", "twice", &(4,), CallOptions::default()).await.unwrap(), 8);
    host.publish("news", "x", PublishOptions::default()).await.unwrap();
    in_time(messages.recv()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_unanswered_publish_fails_when_the_connection_is_lost() {
    let (client, _script, mut peer) = signed_in().await;
    let publishing = tokio::spawn(async move { client.publish("s", &1, PublishOptions::default()).await });
    peer.expect("publish").await;
    peer.cut();
    let error = publishing.await.unwrap().unwrap_err();
    assert!(error.to_string().contains("disconnected") && error.code().is_none(), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_is_left_after_the_time_it_announced() {
    let (client, mut script, peer) = signed_in().await;
    let before = tokio::time::Instant::now();
    let mut status = client.status();
    in_time(status.wait_for(|s| s.state == State::Connecting)).await.unwrap();
    assert_eq!(before.elapsed().as_secs(), 45);
    script.accept().await;
    drop(peer);
}

#[tokio::test(start_paused = true)]
async fn a_failed_sign_in_is_told_at_once_and_tried_again() {
    let server = Server::start();
    let options = outpost::bus::ConnectOptions { system_password: Some(Secret::new("wrong")), ..server.options() };
    let client = Client::connect(options.clone()).unwrap();
    let error = in_time(client.connected()).await.unwrap_err();
    assert!(matches!(&error, Error::SignIn { message, .. } if message.contains("invalid")), "{error:?}");
    assert_eq!(client.state(), State::Connecting);
    let once = Client::connect(outpost::bus::ConnectOptions { reconnect: false, ..options }).unwrap();
    in_time(once.connected()).await.unwrap_err();
    in_time(once.closed()).await;
    assert_eq!(once.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn credentials_go_into_the_handshake() {
    let (mut script, options) = script();
    let options = outpost::bus::ConnectOptions {
        token: Some(Secret::new("tok")),
        system_password: Some(Secret::new("p w")),
        browser_id: Some("browser1".into()),
        ..options
    };
    let _client = Client::connect(options).unwrap();
    let peer = script.accept().await;
    assert_eq!(peer.uri.to_string(), "/base/conat/?EIO=4&transport=websocket");
    assert_eq!(peer.headers["cookie"], "sys=p%20w");
    assert_eq!(peer.headers["authorization"], "Bearer tok");
    assert_eq!(peer.connect, r#"40{"bearer":"tok","browser_id":"browser1"}"#);
}

#[tokio::test(start_paused = true)]
async fn received_messages_are_reported_when_they_change() {
    let server = Server::start();
    let client = server.client().await;
    let mut messages = client.subscribe("a").await.unwrap();
    server.local().publish_sync("a", "hello", None).unwrap();
    messages.recv().await.unwrap();
    tokio::time::sleep(Duration::from_secs(46)).await;
    let stats = server.broker().peers()[0].stats();
    assert_eq!(stats["recv"], json!({"messages": 1.0, "bytes": 6.0}));
}

/// A client in process that is cut off by its outbox's bound is back with all its subscriptions.
#[tokio::test(start_paused = true)]
async fn a_client_in_process_survives_being_cut_off() {
    let limits = Limits { outbox_messages: 10, ..Limits::default() };
    let server = Server::with(std::sync::Arc::new(outpost::broker::policy::Open), limits);
    let (client, publisher) = (server.local(), server.local());
    let mut messages = client.subscribe("a").await.unwrap();
    let echo = |call: Call| async move { call.arg::<u32>(0) };
    let methods = Methods::new().method("echo", echo);
    let _service = methods.serve(&client, "typed", Convention::Typed, ServiceOptions::default()).await.unwrap();
    // Nothing is read while this runs.
    for n in 0..20 {
        publisher.publish_sync("a", &n, None).unwrap();
    }
    generation(&client, 2).await;
    publisher.publish_sync("a", &99, None).unwrap();
    while in_time(messages.recv()).await.unwrap().decode::<u32>().unwrap() != 99 {}
    assert!(publisher.ping_direct("typed", Duration::from_secs(5)).await);
    let answer = publisher.call_typed::<u32>("typed", "echo", &(3,), CallOptions::default()).await.unwrap();
    assert_eq!(answer, 3);
}

#[tokio::test(start_paused = true)]
async fn what_waits_to_be_sent_is_bounded() {
    let (_script, options) = script();
    let client = Client::connect(outpost::bus::ConnectOptions { max_waiting: 3, ..options }).unwrap();
    for n in 0..3 {
        client.publish_sync("a", &n, None).unwrap();
    }
    let error = client.publish_sync("a", &3, None).unwrap_err();
    assert!(matches!(error, Error::Full), "{error:?}");
    let options = PublishOptions { timeout: Duration::from_secs(2), ..PublishOptions::default() };
    assert!(client.publish("a", &3, options).await.unwrap_err().is_code(408), "an acknowledged publish waits");
}

//! Items 99–110: requests and responses.

use std::time::Duration;

use outpost::{
    broker::Direction,
    bus::{Code, Error, PublishOptions, RequestManyOptions, RequestOptions, SubscribeOptions},
    config::Limits,
};
use serde_json::{Value, json};

use crate::{
    script::signed_in,
    server::{Forbidden, Server, in_time},
};

fn timeout(ms: u64) -> RequestOptions {
    RequestOptions::timeout(Duration::from_millis(ms))
}

#[tokio::test(start_paused = true)]
async fn wire_099_one_inbox_serves_all_requests() {
    let (client, mut script, mut peer) = signed_in().await;
    let mut inboxes = Vec::new();
    for n in 0..3 {
        let client = client.clone();
        let request = tokio::spawn(async move { client.request("svc", &n, timeout(5000)).await });
        let event = peer.expect("publish").await;
        peer.acknowledge(&event, json!({"count": 1})).await;
        let reply = event.headers()["CN-Reply"].as_str().unwrap().to_owned();
        let inbox = reply.rsplit_once('.').unwrap().0.to_owned();
        let data = r#"["id",0,1,0,{"_placeholder":true,"num":0}]"#;
        peer.deliver(&format!("{inbox}.*"), &reply, data, &[n]).await;
        assert_eq!(request.await.unwrap().unwrap().decode::<u8>().unwrap(), n);
        inboxes.push(inbox);
    }
    assert!(inboxes[0].starts_with("_INBOX.account-A."), "{inboxes:?}");
    assert!(inboxes.iter().all(|inbox| *inbox == inboxes[0]));
    // The comparison three seconds after signing in finds the inbox and nothing else.
    let event = peer.expect("subscriptions").await;
    assert_eq!(event.argument, Value::Null);
    peer.acknowledge(&event, json!([format!("{}.*", inboxes[0])])).await;
    client.close();
    assert_eq!(peer.expect("unsubscribe").await.argument, json!({"subject": format!("{}.*", inboxes[0])}));
    assert_eq!(peer.text().await, "41");
    assert!(peer.is_closed().await);
    drop(script.accept());
}

#[tokio::test(start_paused = true)]
async fn wire_100_each_request_has_its_own_reply_subject_beside_other_headers() {
    let (client, _script, mut peer) = signed_in().await;
    let mut replies = Vec::new();
    for _ in 0..2 {
        let client = client.clone();
        let headers = Some(json!({"q": 1}));
        tokio::spawn(async move { client.request("svc", &(), RequestOptions { headers, ..timeout(5000) }).await });
        let event = peer.expect("publish").await;
        assert_eq!(event.headers()["q"], json!(1));
        assert_eq!(event.headers().as_object().unwrap().len(), 2);
        replies.push(event.headers()["CN-Reply"].as_str().unwrap().to_owned());
    }
    assert_ne!(replies[0], replies[1]);
}

#[tokio::test(start_paused = true)]
async fn wire_101_a_request_to_nobody_fails_at_once() {
    let client = Server::start().client().await;
    let before = tokio::time::Instant::now();
    let error = client.request("nobody", &(), timeout(30_000)).await.unwrap_err();
    assert!(error.is_code(503), "{error:?}");
    assert!(before.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn wire_102_a_silent_listener_times_out() {
    let server = Server::start();
    let (client, other) = (server.client().await, server.client().await);
    let _silent = other.subscribe("silent").await.unwrap();
    let before = tokio::time::Instant::now();
    let error = client.request("silent", &(), timeout(700)).await.unwrap_err();
    assert!(error.is_code(408), "{error:?}");
    assert!(error.to_string().starts_with("timeout - "));
    assert_eq!(before.elapsed().as_millis(), 700);
}

/// A listener that answers every request with these headers.
async fn answering(client: &outpost::bus::Client, subject: &str, headers: Value) {
    let mut requests = client.subscribe(subject).await.unwrap();
    tokio::spawn(async move {
        while let Ok(request) = requests.recv().await {
            request.respond_with(&(), Some(headers.clone()), Duration::from_secs(5)).await.unwrap();
        }
    });
}

#[tokio::test(start_paused = true)]
async fn wire_103_an_error_response_is_raised_with_its_attributes() {
    let server = Server::start();
    let (client, other) = (server.client().await, server.client().await);
    answering(&other, "svc", json!({"error": "boom", "error_attrs": {"code": "EBOOM", "path": "x"}})).await;
    let error = client.request("svc", &(), timeout(5000)).await.unwrap_err();
    assert_eq!((error.to_string().as_str(), error.code()), ("boom", Some(Code::from("EBOOM"))));
    let Error::Failure(failure) = error else { panic!("{error:?}") };
    assert_eq!(failure.attributes.get("path"), Some(&json!("x")));
}

#[tokio::test(start_paused = true)]
async fn wire_104_the_code_header_is_used_without_a_code_among_the_attributes() {
    let server = Server::start();
    let (client, other) = (server.client().await, server.client().await);
    answering(&other, "svc", json!({"error": "x", "error_attrs": {}, "code": 404})).await;
    assert!(client.request("svc", &(), timeout(5000)).await.unwrap_err().is_code(404));
}

#[tokio::test(start_paused = true)]
async fn wire_105_the_first_of_two_responses_wins() {
    let server = Server::start();
    let (client, other) = (server.client().await, server.client().await);
    let mut slow = other.subscribe_with("svc", SubscribeOptions::queue("slow")).await.unwrap();
    let fast_client = server.client().await;
    let mut fast = fast_client.subscribe_with("svc", SubscribeOptions::queue("fast")).await.unwrap();
    let asked = tokio::spawn({
        let client = client.clone();
        async move { client.request("svc", &(), timeout(5000)).await.unwrap().decode::<String>().unwrap() }
    });
    fast.recv().await.unwrap().respond("fast").await.unwrap();
    assert_eq!(asked.await.unwrap(), "fast");
    slow.recv().await.unwrap().respond("slow").await.unwrap();
    // The late response disturbs nothing.
    assert!(client.request("nobody", &(), timeout(1000)).await.unwrap_err().is_code(503));
}

#[tokio::test(start_paused = true)]
async fn wire_106_many_responses_end_with_the_number_or_with_silence() {
    let server = Server::start();
    let (client, other) = (server.client().await, server.client().await);
    let mut requests = other.subscribe("many").await.unwrap();
    tokio::spawn(async move {
        while let Ok(request) = requests.recv().await {
            for n in 0..5 {
                request.respond_sync(&n).unwrap();
            }
        }
    });
    let collect = |options: RequestManyOptions| {
        let client = client.clone();
        async move {
            let responses = client.request_many("many", &(), options).await.unwrap();
            let all = in_time(responses.collect()).await.unwrap();
            all.iter().map(|m| m.decode::<u32>().unwrap()).collect::<Vec<_>>()
        }
    };
    let three = RequestManyOptions { max_messages: Some(3), ..RequestManyOptions::default() };
    assert_eq!(collect(three).await, [0, 1, 2]);
    let before = tokio::time::Instant::now();
    let wait = Some(Duration::from_millis(800));
    let idle = RequestManyOptions { max_wait: wait, ..RequestManyOptions::default() };
    assert_eq!(collect(idle).await, [0, 1, 2, 3, 4]);
    assert_eq!(before.elapsed().as_millis(), 800);
}

#[tokio::test(start_paused = true)]
async fn wire_107_a_request_for_many_to_nobody_fails() {
    let client = Server::start().client().await;
    let error = client.request_many("nobody", &(), RequestManyOptions::default()).await.unwrap_err();
    assert!(error.is_code(503), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn wire_108_a_publish_waits_for_interest() {
    let server = Server::start();
    let (client, other) = (server.client().await, server.client().await);
    let publishing = tokio::spawn(async move {
        let options = PublishOptions { wait_for_interest: true, ..PublishOptions::default() };
        client.publish("later", "x", options).await.unwrap().count
    });
    tokio::time::sleep(Duration::from_secs(3)).await;
    let mut later = other.subscribe("later").await.unwrap();
    assert_eq!(publishing.await.unwrap(), 1);
    assert_eq!(later.recv().await.unwrap().decode::<String>().unwrap(), "x");
}

#[tokio::test(start_paused = true)]
async fn wire_109_responding_to_someone_who_is_gone_times_out() {
    let server = Server::start();
    for other in [server.client().await, server.local()] {
        let client = server.client().await;
        let mut requests = other.subscribe("svc").await.unwrap();
        let asking = tokio::spawn({
            let client = client.clone();
            async move { client.request("svc", &(), timeout(60_000)).await }
        });
        let request = requests.recv().await.unwrap();
        client.close();
        assert!(asking.await.unwrap().is_err());
        in_time(client.closed()).await;
        // The broker sees the end of the connection a little later.
        while other.has_interest(request.reply_subject().unwrap()).await.unwrap() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let before = tokio::time::Instant::now();
        let error = request.respond_with("late", None, Duration::from_millis(500)).await.unwrap_err();
        assert!(error.is_code(408), "{error:?}");
        assert!(error.to_string().contains("timed out"), "{error}");
        assert_eq!(before.elapsed().as_millis(), 500);
    }
}

#[tokio::test(start_paused = true)]
async fn wire_110_a_message_that_is_no_request_cannot_be_answered() {
    let client = Server::start().client().await;
    let mut messages = client.subscribe("a").await.unwrap();
    client.publish_sync("a", "x", None).unwrap();
    let message = messages.recv().await.unwrap();
    assert!(!message.is_request());
    assert_eq!(message.respond("y").await.unwrap().count, 0);
    message.respond_sync("y").unwrap();
}

/// Item 118, and D8: the server's code is reported for the first refusal as well.
#[tokio::test(start_paused = true)]
async fn wire_118_a_refused_subject_is_refused_locally_for_a_minute() {
    let forbidden = Forbidden::default();
    forbidden.forbid("secret", Direction::Publish);
    let server = Server::with(std::sync::Arc::new(forbidden.clone()), Limits::default());
    for client in [server.client().await, server.local()] {
        forbidden.forbid("secret", Direction::Publish);
        let publish = || client.publish("secret", &(), PublishOptions::default());
        let error = publish().await.unwrap_err();
        assert!(error.is_code(403) && error.to_string().contains("permission denied"), "{error:?}");
        assert!(matches!(error, Error::Refused { .. }));
        forbidden.allow("secret");
        let refused = server.broker().counters().refused.get();
        tokio::time::sleep(Duration::from_secs(59)).await;
        let error = publish().await.unwrap_err();
        assert!(matches!(error, Error::Denied(_)) && error.is_code(403), "{error:?}");
        assert!(client.publish_sync("secret", &(), None).unwrap_err().is_code(403));
        assert_eq!(server.broker().counters().refused.get(), refused, "the server was not asked");
        tokio::time::sleep(Duration::from_secs(2)).await;
        // A broker remembers its answer for each connection; what counts is that it was asked.
        let asked = publish().await;
        assert!(!matches!(asked, Err(Error::Denied(_))), "{asked:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn binary_values_of_headers_are_read() {
    let (client, _script, mut peer) = signed_in().await;
    let subscribing = tokio::spawn({
        let client = client.clone();
        async move { client.subscribe("foo.*").await.unwrap() }
    });
    peer.answer_subscribe().await;
    let mut subscription = in_time(subscribing).await.unwrap();
    // As in §21.9.
    let headers = r#"{"blob":{"_placeholder":true,"num":1},"text":"x","num":{"num":1}}"#;
    let data = format!(r#"["id00000008",0,1,0,{{"_placeholder":true,"num":0}},{headers}]"#);
    peer.send(&format!(r#"452-["foo.*",{{"subject":"foo.a","data":{data}}}]"#)).await;
    peer.send_binary(&[0xa2, b'h', b'i']).await;
    peer.send_binary(&[1, 2, 3]).await;
    let message = in_time(subscription.recv()).await.unwrap();
    assert_eq!(message.decode::<String>().unwrap(), "hi");
    assert_eq!(message.header_bytes("blob").unwrap().as_ref(), [1, 2, 3]);
    assert_eq!(message.header_str("text"), Some("x"));
    for other in ["text", "num", "nothing"] {
        assert_eq!(message.header_bytes(other), None, "{other}");
    }
}

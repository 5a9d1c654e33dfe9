//! Items 133–136: system services, as an administrator's client sees them.

use std::time::Duration;

use outpost::{
    bus::{
        State, SubscribeOptions,
        service::{CallManyOptions, CallOptions},
    },
    hub::system,
};
use serde_json::{Value, json};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::server::{Server, in_time};

#[tokio::test(start_paused = true)]
async fn the_interest_of_a_server_can_be_asked_for() {
    let server = Server::start();
    let (tasks, until) = (TaskTracker::new(), CancellationToken::new());
    system::start(&server.local(), &server.broker(), &tasks, until.clone()).await.unwrap();
    let (admin, other) = (server.client().await, server.client().await);
    let options = CallOptions { timeout: Duration::from_secs(5), wait: false };
    let ask = || admin.call::<Value>("sys.conat.default.0", "interestSnapshot", &(), options);
    let before = ask().await.unwrap();
    let _own = admin.subscribe_with("a.*", SubscribeOptions::queue("q")).await.unwrap();
    let shared = other.subscribe_with("a.*", SubscribeOptions::queue("q")).await.unwrap();
    let after = ask().await.unwrap();
    assert_eq!(before["subjects"]["a.*"], Value::Null);
    assert_eq!(after["version"].as_u64().unwrap(), before["version"].as_u64().unwrap() + 2);
    let rooms = after["subjects"]["a.*"]["q"].as_array().unwrap();
    assert!(rooms.is_sorted_by_key(|room| room.as_str()), "{rooms:?}");
    let stats: Value = admin.call("sys.conat.default.0", "stats", &(), options).await.unwrap();
    let mut wanted: Vec<String> =
        stats["0"].as_object().unwrap().keys().map(|sid| format!(r#"{{"id":"{sid}","subject":"a.*"}}"#)).collect();
    wanted.sort();
    assert_eq!(*rooms, wanted);
    drop(shared);
    // An acknowledged operation of the same connection, so that the server has seen the end of the subscription.
    other.has_interest("x").await.unwrap();
    let last = ask().await.unwrap();
    assert_eq!(last["subjects"]["a.*"]["q"].as_array().unwrap().len(), 1);
    let many = CallManyOptions { max_messages: Some(1), ..CallManyOptions::default() };
    let failed = admin.call_many::<Value>("sys.conat.default", "interestSnapshot", &(), many).await.unwrap();
    assert!(failed[0].as_ref().unwrap_err().to_string().contains("wrong service"));
    until.cancel();
}

#[tokio::test(start_paused = true)]
async fn wire_133_to_136_system_services_tell_and_disconnect() {
    let server = Server::start();
    let (tasks, until) = (TaskTracker::new(), CancellationToken::new());
    system::start(&server.local(), &server.broker(), &tasks, until.clone()).await.unwrap();
    let admin = server.client().await;
    let options = CallOptions { timeout: Duration::from_secs(5), wait: false };
    let usage: Value = admin.call("sys.conat.default.0", "usage", &(), options).await.unwrap();
    assert_eq!(usage["0"]["total"], json!(1));
    assert_eq!(usage["0"]["perUser"], json!({r#"{"hub_id":"system"}"#: 1}));
    let stats: Value = admin.call("sys.conat.default", "stats", &(), options).await.unwrap();
    let connections = stats["0"].as_object().unwrap();
    let (sid, own) = connections.iter().next().unwrap();
    for field in ["user", "send", "recv", "subs", "connected", "address"] {
        assert!(own.get(field).is_some(), "{field}: {own}");
    }
    let many = CallManyOptions { max_messages: Some(1), ..CallManyOptions::default() };
    let failed = admin.call_many::<Value>("sys.conat.default", "clusterAddresses", &(), many).await.unwrap();
    assert!(failed[0].as_ref().unwrap_err().to_string().contains("wrong service"));
    let addresses: Value = admin.call("sys.conat.default.0", "clusterAddresses", &(), options).await.unwrap();
    assert_eq!(addresses, json!(["http://localhost:5000"]));
    admin.call::<Value>("sys.conat.default.0", "disconnect", &(sid,), options).await.ok();
    // This client connects again after it was told to go.
    let mut status = admin.status();
    in_time(status.wait_for(|s| s.generation == 2 && s.state == State::Connected)).await.unwrap();
    until.cancel();
    tasks.close();
    in_time(tasks.wait()).await;
}

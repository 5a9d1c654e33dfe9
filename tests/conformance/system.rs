//! Items 133–136: system services, as an administrator's client sees them.

use std::time::Duration;

use outpost::{
    bus::{
        State,
        service::{CallManyOptions, CallOptions},
    },
    hub::system,
};
use serde_json::{Value, json};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::server::{Server, in_time};

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

//! The hub's services over a broker in process.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{clock, status, system};
use crate::{
    broker::{self, Broker, User, policy::Open, sign_in::Anonymous},
    bus::{
        Client,
        service::{CallManyOptions, CallOptions},
    },
    config::Limits,
};

struct Hub {
    broker: Arc<Broker>,
    client: Client,
    tasks: TaskTracker,
    until: CancellationToken,
}

fn hub() -> Hub {
    let broker = Broker::new(broker::Options {
        server_id: "7".into(),
        cluster_name: None,
        address: "http://localhost:5000".into(),
        limits: Limits::default(),
        authenticator: Arc::new(Anonymous),
        policy: Arc::new(Open),
    });
    let client = Client::in_process(&broker, User::system());
    Hub { client, broker, tasks: TaskTracker::new(), until: CancellationToken::new() }
}

impl Hub {
    fn caller(&self) -> Client {
        Client::in_process(&self.broker, User::system())
    }

    async fn end(self) {
        self.until.cancel();
        self.tasks.close();
        tokio::time::timeout(Duration::from_secs(5), self.tasks.wait()).await.unwrap();
    }
}

fn once() -> CallOptions {
    CallOptions { timeout: Duration::from_secs(5), wait: false }
}

#[tokio::test]
async fn wire_132_the_clock_tells_the_time() {
    let hub = hub();
    clock::start(&hub.client, &hub.tasks, hub.until.clone()).await.unwrap();
    let time: f64 = hub.caller().call_api("time.account-1.api", "time", &(), once()).await.unwrap();
    assert!((time - broker::peer::now_ms() as f64).abs() < 200.0);
    hub.end().await;
}

#[tokio::test]
async fn wire_133_system_services_answer_on_both_subjects() {
    let hub = hub();
    system::start(&hub.client, &hub.broker, &hub.tasks, hub.until.clone()).await.unwrap();
    let caller = hub.caller();
    for subject in ["sys.conat.default", "sys.conat.default.7"] {
        assert_eq!(caller.call::<Value>(subject, "stats", &(), once()).await.unwrap(), json!({"7": {}}));
        let usage = json!({"7": {"total": 0, "perUser": {}}});
        assert_eq!(caller.call::<Value>(subject, "usage", &(), once()).await.unwrap(), usage);
        assert_eq!(caller.call::<Value>(subject, "disconnect", &("x",), once()).await.unwrap(), Value::Null);
        assert_eq!(caller.call::<Value>(subject, "disconnect", &(["x"],), once()).await.unwrap(), Value::Null);
    }
    let one = "sys.conat.default.7";
    let addresses: Value = caller.call(one, "clusterAddresses", &(), once()).await.unwrap();
    assert_eq!(addresses, json!(["http://localhost:5000"]));
    let topology: Value = caller.call(one, "clusterTopology", &(), once()).await.unwrap();
    assert_eq!(topology, json!({"default": {"7": "http://localhost:5000"}}));
    let error = caller.call::<Value>(one, "join", &("http://x",), once()).await.unwrap_err();
    assert!(error.to_string().contains("clustering is not part"));
    let options = CallManyOptions { max_messages: Some(1), ..CallManyOptions::default() };
    let results = caller.call_many::<Value>("sys.conat.default", "clusterAddresses", &(), options).await.unwrap();
    assert!(results[0].as_ref().unwrap_err().to_string().contains("wrong service"));
    hub.end().await;
}

#[tokio::test(start_paused = true)]
async fn status_is_published_while_somebody_listens() {
    let hub = hub();
    let facts = status::Facts {
        account_id: "A".into(),
        project_id: "P".into(),
        version: "1".into(),
        started: Instant::now(),
        usage: Box::new(|| status::Usage { rss_bytes: 1, cpu_ms: 2, sessions: 3 }),
    };
    status::start(&hub.client, &hub.broker, facts, &hub.tasks, hub.until.clone()).await.unwrap();
    let caller = hub.caller();
    let mut reports = caller.subscribe("outpost.account-A.status").await.unwrap();
    for _ in 0..3 {
        let report: Value = reports.recv().await.unwrap().decode().unwrap();
        assert_eq!((&report["server_id"], &report["sessions"]), (&json!("7"), &json!(3)));
    }
    drop(reports);
    tokio::time::sleep(Duration::from_secs(5)).await;
    let before = hub.broker.counters().messages_in.get();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(hub.broker.counters().messages_in.get(), before, "nobody listens, nothing is published");

    let api = "outpost.account-A.api";
    let numbers: Value = caller.call(api, "status", &(), once()).await.unwrap();
    assert_eq!(numbers["cpu_ms"], json!(2));
    let flight: Value = caller.call(api, "flight", &(json!({"limit": 2, "filter": "status"}),), once()).await.unwrap();
    assert_eq!(flight["records"].as_array().unwrap().len(), 2);
    let why: Value = caller.call(api, "why", &(json!({"direction": "pub", "subject": "x"}),), once()).await.unwrap();
    assert_eq!(why["allowed"], json!(true));
    let connections: Value = caller.call(api, "connections", &(), once()).await.unwrap();
    assert_eq!(connections, json!([]));
    hub.end().await;
}

//! The data service over a broker in process and a store on disk.

use std::time::Duration;

use serde_json::{Value, json};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{Sources, data_subject, start, tail_subject};
use crate::{
    broker::{self, Broker, User, policy::Open, sign_in::Anonymous},
    bus::{Client, Error, service::CallOptions},
    config::{Durability, Limits},
    hub::blobs::Blobs,
    persist::store::{OpenOptions, Set, Store, StoreOptions, Stream},
    wire::msgpack,
};

struct Lab {
    store: Store,
    client: Client,
    tasks: TaskTracker,
    until: CancellationToken,
    _directory: tempfile::TempDir,
}

async fn lab() -> Lab {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(StoreOptions {
        path: directory.path().join("streams.db"),
        durability: Durability::Full,
        release_grace: Duration::ZERO,
        observer: None,
    })
    .unwrap();
    let broker = Broker::new(broker::Options {
        server_id: "0".into(),
        cluster_name: None,
        address: "http://localhost:5000".into(),
        limits: Limits::default(),
        authenticator: std::sync::Arc::new(Anonymous),
        policy: std::sync::Arc::new(Open),
    });
    let client = Client::in_process(&broker, User::system());
    let (tasks, until) = (TaskTracker::new(), CancellationToken::new());
    let blobs = Some(std::sync::Arc::new(Blobs::open(&store).await.unwrap()));
    start(&client, Sources { store: store.clone(), blobs }, "a", &tasks, until.clone()).await.unwrap();
    Lab { store, client, tasks, until, _directory: directory }
}

impl Lab {
    async fn ask(&self, method: &str, argument: Value) -> Result<rmpv::Value, Error> {
        let options = CallOptions { timeout: Duration::from_secs(20), wait: false };
        self.client.call(&data_subject("a"), method, &(argument,), options).await
    }

    async fn json(&self, method: &str, argument: Value) -> Value {
        msgpack::to_json(&self.ask(method, argument).await.unwrap())
    }

    async fn stream(&self, path: &str) -> Stream {
        self.store.stream(path, OpenOptions::default()).await.unwrap()
    }

    async fn end(self) {
        self.until.cancel();
        self.tasks.close();
        tokio::time::timeout(Duration::from_secs(20), self.tasks.wait()).await.unwrap();
        self.store.close().await;
    }
}

async fn write(stream: &Stream, key: Option<&str>, raw: Vec<u8>) -> u64 {
    let set = Set { key: key.map(Into::into), raw: raw.into(), ..Set::default() };
    stream.set(set).await.unwrap().await.unwrap().seq
}

fn seqs(answer: &Value) -> Vec<u64> {
    answer["messages"].as_array().unwrap().iter().map(|message| message["seq"].as_u64().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn data_streams_are_filtered_sorted_and_paged() {
    let lab = lab().await;
    for (path, count) in [("accounts/a/x", 1), ("projects/p/y", 3), ("projects/p/z", 2)] {
        let stream = lab.stream(path).await;
        for _ in 0..count {
            write(&stream, None, vec![0xc0]).await;
        }
    }
    let page = json!({"sort": "count", "descending": true, "offset": 1, "limit": 1});
    let answer = lab.json("streams", page).await;
    assert_eq!((&answer["total"], &answer["streams"][0]["path"]), (&json!(3), &json!("projects/p/z")));
    assert_eq!(answer["all"], json!({"streams": 3, "count": 6, "bytes": 6}));
    let answer = lab.json("streams", json!({"filter": "PROJECTS"})).await;
    assert_eq!((&answer["total"], answer["streams"].as_array().unwrap().len()), (&json!(2), 2));
    lab.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn data_looking_at_a_stream_never_makes_it() {
    let lab = lab().await;
    for method in ["stream", "messages"] {
        let error = lab.ask(method, json!({"path": "hub/none"})).await.unwrap_err();
        assert!(error.is_code(404), "{method}: {error}");
    }
    let answer = lab.json("streams", json!({})).await;
    assert_eq!(answer["total"], 0);
    let answer = lab.json("blobs", json!({})).await;
    assert_eq!(answer, json!({"total": 0, "messages": []}));
    lab.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn data_messages_are_listed_by_number_key_and_size_with_the_start_of_their_values() {
    let lab = lab().await;
    let stream = lab.stream("hub/list").await;
    write(&stream, Some("b"), vec![1; 10]).await;
    write(&stream, None, vec![2; 3_000_000]).await;
    write(&stream, Some("A"), (0..5000_u32).flat_map(u32::to_le_bytes).collect()).await;
    write(&stream, Some("ab"), vec![4; 4]).await;
    let list = async |query: Value| {
        let mut query = query;
        query["path"] = json!("hub/list");
        lab.json("messages", query).await
    };
    assert_eq!(seqs(&list(json!({})).await), [1, 2, 3, 4]);
    assert_eq!(seqs(&list(json!({"descending": true, "offset": 1, "limit": 2})).await), [3, 2]);
    assert_eq!(seqs(&list(json!({"sort": "key"})).await), [3, 4, 1]);
    assert_eq!(seqs(&list(json!({"sort": "size", "descending": true})).await), [2, 3, 1, 4]);
    let filtered = list(json!({"filter": "a"})).await;
    assert_eq!((seqs(&filtered), &filtered["total"]), (vec![3, 4], &json!(2)));
    assert_eq!(seqs(&list(json!({"filter": "A", "sort": "size"})).await), [4, 3]);
    let error = lab.ask("messages", json!({"path": "hub/list", "sort": "raw"})).await.unwrap_err();
    assert!(error.is_code(400));

    let answer = lab.ask("messages", json!({"path": "hub/list"})).await.unwrap();
    let messages = answer["messages"].as_array().unwrap();
    let raw = |index: usize| match &messages[index]["raw"] {
        rmpv::Value::Binary(bytes) => bytes.clone(),
        other => panic!("{other}"),
    };
    assert_eq!(raw(0), vec![1; 10]);
    assert_eq!(raw(1), vec![2; 1024]);
    assert_eq!(raw(2), (0..256_u32).flat_map(u32::to_le_bytes).collect::<Vec<u8>>());
    assert_eq!(messages[1]["size"].as_u64(), Some(3_000_000));
    assert_eq!(messages[0]["key"].as_str(), Some("b"));
    assert!(messages[1]["key"].is_nil());
    lab.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn data_a_large_value_comes_in_parts() {
    let lab = lab().await;
    let stream = lab.stream("hub/large").await;
    let value: Vec<u8> = (0..300_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    write(&stream, None, value.clone()).await;
    let message = lab.ask("message", json!({"path": "hub/large", "seq": 1})).await.unwrap();
    let rmpv::Value::Binary(first) = &message["raw"] else { panic!("{message}") };
    assert_eq!(first.as_slice(), &value[..256 << 10]);
    let mut whole = Vec::new();
    while whole.len() < value.len() {
        let part = json!({"path": "hub/large", "seq": 1, "offset": whole.len(), "length": 1 << 20});
        let rmpv::Value::Binary(part) = lab.ask("value", part).await.unwrap() else { panic!() };
        assert!(!part.is_empty());
        whole.extend(part);
    }
    assert_eq!(whole, value);
    let beyond = json!({"path": "hub/large", "seq": 1, "offset": u64::MAX, "length": u64::MAX});
    assert_eq!(lab.ask("value", beyond).await.unwrap(), rmpv::Value::Binary(Vec::new()));
    assert!(lab.ask("message", json!({"path": "hub/large", "seq": 2})).await.unwrap().is_nil());
    lab.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn data_deletes_messages_and_blobs() {
    let lab = lab().await;
    let stream = lab.stream("hub/blobs").await;
    let [one, two, three] = ["1", "2", "3"].map(|n| format!("1074662c-1c63-499e-bb9e-b2617d3ad2c{n}"));
    for key in [&one, &two, &three] {
        write(&stream, Some(key), vec![0xc4, 1, 7]).await;
    }
    assert_eq!(lab.json("deleteBlob", json!({"uuid": two})).await, json!(true));
    assert_eq!(lab.json("deleteBlob", json!({"uuid": two})).await, json!(false));
    assert_eq!(lab.json("deleteBlob", json!({"uuid": "nonsense"})).await, json!(false));
    lab.json("delete", json!({"path": "hub/blobs", "seqs": [1]})).await;
    assert_eq!(seqs(&lab.json("blobs", json!({})).await), [3]);
    let error = lab.ask("delete", json!({"path": "hub/blobs", "seqs": vec![1; 1001]})).await.unwrap_err();
    assert!(error.is_code(413));
    lab.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn data_a_stream_is_described() {
    let lab = lab().await;
    let stream = lab.stream("hub/about").await;
    write(&stream, Some("k"), vec![0xc0]).await;
    stream.set_metadata(Some(json!({"title": "t"}))).await.unwrap().await.unwrap();
    let about = lab.json("stream", json!({"path": "hub/about"})).await;
    assert_eq!(about["count"], 1);
    assert_eq!(about["seq"], 1);
    assert_eq!(about["metadata"], json!({"title": "t"}));
    assert_eq!(about["config"]["max_msgs"], -1);
    assert_eq!(about["checkpoints"], json!({}));
    lab.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn data_a_tail_publishes_what_is_written_until_nobody_listens() {
    let lab = lab().await;
    let stream = lab.stream("hub/tail").await;
    write(&stream, None, vec![0xc0]).await;
    let mut heard = lab.client.subscribe(&tail_subject("a", "TOKEN234567")).await.unwrap();
    lab.json("tail", json!({"path": "hub/tail", "token": "TOKEN234567"})).await;
    let seq = write(&stream, Some("k"), vec![0xc3]).await;
    let mut events = Vec::new();
    while events.is_empty() {
        let message = tokio::time::timeout(Duration::from_secs(20), heard.recv()).await.unwrap().unwrap();
        let value: rmpv::Value = message.decode().unwrap();
        events = msgpack::to_json(&value).as_array().unwrap().clone();
    }
    assert_eq!((&events[0]["op"], &events[0]["seq"], &events[0]["key"]), (&json!("set"), &json!(seq), &json!("k")));
    let error = lab.ask("tail", json!({"path": "hub/tail", "token": "a.b.>"})).await.unwrap_err();
    assert!(error.is_code(400));
    drop(heard);
    // The tail finds out when it next publishes; only the service itself is left then.
    let noticed = async {
        while lab.tasks.len() > 1 {
            write(&stream, None, vec![0xc0]).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), noticed).await.unwrap();
    lab.end().await;
}

//! Items 127–132: services.

use std::time::Duration;

use outpost::{
    broker::peer::now_ms,
    bus::{
        Error,
        service::{Call, CallManyOptions, CallOptions, Convention, Methods, ServiceOptions, serve_values},
    },
    hub::clock,
};
use serde_json::{Value, json};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::server::{Server, in_time};

fn arithmetic(instance: u32) -> Methods {
    Methods::new()
        .method("add", |call: Call| async move {
            let (a, b): (i64, i64) = call.args()?;
            Ok(a + b)
        })
        .method("instance", move |_| async move { Ok(instance) })
}

fn once() -> CallOptions {
    CallOptions { timeout: Duration::from_secs(5), wait: false }
}

#[tokio::test(start_paused = true)]
async fn wire_127_a_method_array_service_answers() {
    let server = Server::start();
    let (host, client) = (server.client().await, server.client().await);
    let _service =
        arithmetic(0).serve(&host, "arith.*", Convention::MethodArray, ServiceOptions::default()).await.unwrap();
    assert_eq!(client.call::<i64>("arith.x", "add", &(2, 3), once()).await.unwrap(), 5);
    // As a peer that knows nothing of services sees it.
    let mut answer = client.subscribe("raw.reply").await.unwrap();
    client.publish_sync("arith.x", &json!(["nope", []]), Some(json!({"CN-Reply": "raw.reply"}))).unwrap();
    let answer = in_time(answer.recv()).await.unwrap();
    assert_eq!(&answer.payload()[..], [0xc0]);
    assert!(answer.header_str("error").unwrap().contains("not defined"));
    assert_eq!(answer.header("error_attrs"), Some(&json!({})));
}

#[tokio::test(start_paused = true)]
async fn wire_128_instances_share_calls_or_all_answer() {
    let server = Server::start();
    let client = server.client().await;
    let mut services = Vec::new();
    for n in 0..2 {
        let host = server.client().await;
        let shared = ServiceOptions::default();
        services.push(arithmetic(n).serve(&host, "shared", Convention::MethodArray, shared).await.unwrap());
        let own = ServiceOptions::all();
        services.push(arithmetic(n).serve(&host, "all", Convention::MethodArray, own).await.unwrap());
    }
    let mut seen = [0; 2];
    for _ in 0..100 {
        let n = client.call::<usize>("shared", "instance", &(), once()).await.unwrap();
        seen[n] += 1;
    }
    assert!(seen[0] > 0 && seen[1] > 0 && seen[0] + seen[1] == 100, "{seen:?}");
    let options = CallManyOptions { max_wait: Duration::from_millis(500), ..CallManyOptions::default() };
    let results = client.call_many::<u32>("all", "instance", &(), options).await.unwrap();
    let mut instances: Vec<u32> = results.into_iter().map(Result::unwrap).collect();
    instances.sort_unstable();
    assert_eq!(instances, [0, 1]);
}

#[tokio::test(start_paused = true)]
async fn wire_129_a_named_call_service_answers_ping() {
    let server = Server::start();
    let (host, client) = (server.client().await, server.client().await);
    let never = |_| async { Err::<(), _>(Error::message("not reached")) };
    let _service = serve_values(&host, "named", ServiceOptions::default(), never).await.unwrap();
    assert_eq!(client.call_value::<String>("named", "ping", once()).await.unwrap(), "pong");
    client.wait_for_service("named", Duration::from_secs(60)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn wire_130_a_failing_handler_is_told_in_the_body() {
    let server = Server::start();
    let (host, client) = (server.client().await, server.client().await);
    let fail = |_| async { Err::<(), _>(Error::message("it broke")) };
    let _service = serve_values(&host, "named", ServiceOptions::default(), fail).await.unwrap();
    let error = client.call_value::<Value>("named", &1, once()).await.unwrap_err();
    assert_eq!(error.to_string(), "Error: it broke");
    let body: Value = client.request("named", &1, Default::default()).await.unwrap().decode().unwrap();
    assert_eq!(body, json!({"error": "Error: it broke"}));
}

#[tokio::test(start_paused = true)]
async fn wire_131_a_call_waits_for_its_service() {
    let server = Server::start();
    let (host, client) = (server.client().await, server.client().await);
    let calling = tokio::spawn(async move {
        client.call_value::<u32>("later", &20, CallOptions { timeout: Duration::from_secs(10), wait: true }).await
    });
    tokio::time::sleep(Duration::from_secs(4)).await;
    let double = |message: outpost::bus::Message| async move { Ok(message.decode::<u32>()? * 2) };
    let _service = serve_values(&host, "later", ServiceOptions::default(), double).await.unwrap();
    assert_eq!(in_time(calling).await.unwrap().unwrap(), 40);
}

#[tokio::test]
async fn wire_132_the_time_service_tells_the_time() {
    let server = Server::start();
    let (tasks, until) = (TaskTracker::new(), CancellationToken::new());
    clock::start(&server.local(), &tasks, until.clone()).await.unwrap();
    let client = server.client().await;
    let time: f64 = client.call_api("time.account-A.api", "time", &(), once()).await.unwrap();
    assert!((time - now_ms() as f64).abs() < 200.0);
    until.cancel();
    tasks.close();
    in_time(tasks.wait()).await;
}

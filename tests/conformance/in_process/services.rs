//! Services: items 127–131.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use outpost::bus::{
    Client, Error, RequestOptions,
    service::{Call, CallManyOptions, CallOptions, Convention, Methods, Service, ServiceOptions, serve_values},
};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::harness::{Bus, ms, soon};

const SECOND: Duration = Duration::from_secs(1);

fn once() -> CallOptions {
    CallOptions { timeout: 5 * SECOND, wait: false }
}

#[tokio::test(start_paused = true)]
async fn wire_127_a_method_array_service_answers() {
    let bus = Bus::start();
    let (server, client, mut raw) = (bus.client().await, bus.client().await, bus.raw());
    let methods = Methods::new().method("add", |call: Call| async move {
        let (a, b): (i64, i64) = call.args()?;
        Ok(a + b)
    });
    let _service = methods.serve(&server, "arith.*", Convention::MethodArray, ServiceOptions::default()).await.unwrap();
    let answer = raw.request("arith.one", &json!(["add", [2, 3]]), json!({})).await;
    assert_eq!((answer.value(), answer.frame.headers), (json!(5), None));
    let answer = raw.request("arith.one", &json!(["nope", []]), json!({})).await;
    assert_eq!(answer.value(), Value::Null);
    assert!(answer.header("error").as_str().unwrap().contains("not defined"), "{answer:?}");
    assert!(answer.header("error_attrs").is_object(), "{answer:?}");
    assert_eq!(client.call::<i64>("arith.two", "add", &(40, 2), once()).await.unwrap(), 42);
    let error = client.call::<()>("arith.two", "nope", &(), once()).await.unwrap_err();
    assert!(error.to_string().contains("not defined"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn wire_127_services_without_a_queue_of_their_own_listen_in_queue_0() {
    let bus = Bus::start();
    let (server, client) = (bus.client().await, bus.client().await);
    let _service = named("a", &server, ServiceOptions::default()).await;
    // Whoever listens in queue 0 of the pattern takes calls away from the service; then only one of both gets a message.
    let other = outpost::bus::SubscribeOptions::queue("0");
    let _other = client.subscribe_with("svc", other).await.unwrap();
    assert_eq!(bus.raw().publish("svc", &json!(["who", []]), None), 1);
}

async fn named(name: &'static str, client: &Client, options: ServiceOptions) -> Service {
    let methods = Methods::new().method("who", move |_| async move { Ok(name) });
    methods.serve(client, "svc", Convention::MethodArray, options).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn wire_128_instances_of_a_queue_share_calls() {
    let bus = Bus::start();
    let (a, b, client) = (bus.client().await, bus.client().await, bus.client().await);
    let _a = named("a", &a, ServiceOptions::queue("0")).await;
    let _b = named("b", &b, ServiceOptions::queue("0")).await;
    let mut seen = BTreeSet::new();
    for _ in 0..60 {
        seen.insert(client.call::<String>("svc", "who", &(), once()).await.unwrap());
    }
    assert_eq!(seen, BTreeSet::from(["a".into(), "b".into()]));
    let options = CallManyOptions { max_messages: None, max_wait: SECOND };
    let results = client.call_many::<String>("svc", "who", &(), options).await.unwrap();
    assert_eq!(results.len(), 1, "a call went to both: {results:?}");
}

#[tokio::test(start_paused = true)]
async fn wire_128_instances_of_different_queues_all_answer() {
    let bus = Bus::start();
    let (a, b, c, client) = (bus.client().await, bus.client().await, bus.client().await, bus.client().await);
    let _a = named("a", &a, ServiceOptions::queue("qa")).await;
    let _b = named("b", &b, ServiceOptions::queue("qb")).await;
    let options = CallManyOptions { max_messages: None, max_wait: SECOND };
    let results = client.call_many::<String>("svc", "who", &(), options).await.unwrap();
    let mut names: Vec<_> = results.into_iter().map(Result::unwrap).collect();
    names.sort();
    assert_eq!(names, ["a", "b"]);
    // One that fails is one result like the others.
    let failing = Methods::new().method("who", |_| async { Err::<(), _>(Error::failure("not today", 500)) });
    let _c = failing.serve(&c, "svc", Convention::MethodArray, ServiceOptions::all()).await.unwrap();
    let results = client.call_many::<String>("svc", "who", &(), options).await.unwrap();
    let errors: Vec<_> = results.iter().filter_map(|r| r.as_ref().err()).collect();
    assert_eq!((results.len(), errors.len()), (3, 1));
    assert_eq!(errors[0].to_string(), "not today");
    assert!(errors[0].is_code(500));
}

#[tokio::test(start_paused = true)]
async fn wire_129_a_named_call_service_answers_ping() {
    let bus = Bus::start();
    let (server, client, mut raw) = (bus.client().await, bus.client().await, bus.raw());
    let handled = Arc::new(AtomicUsize::new(0));
    let count = handled.clone();
    let handler = move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        async { Ok("handled") }
    };
    let _service = serve_values(&server, "svc", ServiceOptions::default(), handler).await.unwrap();
    assert_eq!(raw.request("svc", "ping", json!({})).await.value(), "pong");
    client.wait_for_service("svc", SECOND).await.unwrap();
    assert_eq!(handled.load(Ordering::Relaxed), 0);
    // Only that very body is a ping.
    assert_eq!(raw.request("svc", &json!({"name": "ping", "args": []}), json!({})).await.value(), "handled");
    assert_eq!(handled.load(Ordering::Relaxed), 1);
    let error = client.wait_for_service("nobody", 5 * SECOND).await.unwrap_err();
    assert!(error.is_code(408), "{error}");
}

#[tokio::test(start_paused = true)]
async fn wire_130_a_failing_named_call_fails_in_the_body() {
    let bus = Bus::start();
    let (server, client, mut raw) = (bus.client().await, bus.client().await, bus.raw());
    let handler = |_| async { Err::<(), _>(Error::message("boom")) };
    let _service = serve_values(&server, "svc", ServiceOptions::default(), handler).await.unwrap();
    let answer = raw.request("svc", &json!({"name": "x", "args": []}), json!({})).await;
    assert_eq!((answer.value(), answer.header("error")), (json!({"error": "Error: boom"}), Value::Null));
    let error = client.call_value::<()>("svc", &json!({"name": "x"}), once()).await.unwrap_err();
    assert!(error.to_string().contains("boom"), "{error}");
    // A body with an error raises whoever sent it; a falsy one is a result.
    raw.subscribe("other");
    for (body, raised) in
        [(json!({"error": "no"}), true), (json!({"error": ""}), false), (json!({"error": null}), false)]
    {
        let serve = async {
            let request = raw.next().await;
            raw.respond(&request, &body, None);
        };
        let (result, ()) = tokio::join!(client.call_value::<Value>("other", &(), once()), serve);
        assert_eq!(result.is_err(), raised, "{body}: {result:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn wire_131_a_call_waits_for_its_service() {
    let bus = Bus::start();
    let (server, client) = (bus.client().await, bus.client().await);
    let started = Instant::now();
    let call = async {
        let result = client.call_value::<String>("svc", &json!({"name": "x"}), CallOptions::default()).await;
        (result, started.elapsed())
    };
    let serve = async {
        tokio::time::sleep(4 * SECOND).await;
        serve_values(&server, "svc", ServiceOptions::default(), |_| async { Ok("here") }).await.unwrap()
    };
    let ((result, took), service) = tokio::join!(call, serve);
    assert_eq!(result.unwrap(), "here");
    assert!((4 * SECOND..5 * SECOND).contains(&took), "{took:?}");
    soon(service.close()).await;
    // Without the service, or without waiting, it fails.
    let error = client.call_value::<()>("svc", &(), CallOptions { timeout: SECOND, wait: true }).await.unwrap_err();
    assert!(error.is_code(408) || error.is_code(503), "{error}");
    let error = client.request("svc", &(), RequestOptions::timeout(ms(100))).await.unwrap_err();
    assert!(error.is_code(503), "{error}");
}

//! Services over a broker in process.

use std::time::Duration;

use super::*;
use crate::bus::{Client, Code, Error, testing::broker};

fn arithmetic() -> Methods {
    Methods::new()
        .method("add", |call: Call| async move {
            let (a, b): (i64, i64) = call.args()?;
            Ok(a + b)
        })
        .method("who", |call: Call| async move { Ok(call.subject().to_owned()) })
        .method("fail", |_| async { Err::<(), _>(Error::failure("boom", "EBOOM")) })
}

fn two() -> (Client, Client) {
    let broker = broker();
    let client = || Client::in_process(&broker, crate::broker::User::system());
    (client(), client())
}

fn once() -> CallOptions {
    CallOptions { timeout: Duration::from_secs(5), wait: false }
}

#[tokio::test(start_paused = true)]
async fn wire_127_a_method_array_service_answers() {
    let (a, b) = two();
    let service = arithmetic().serve(&a, "arith.*", Convention::MethodArray, ServiceOptions::default()).await.unwrap();
    assert_eq!(b.call::<i64>("arith.one", "add", &(2, 3), once()).await.unwrap(), 5);
    assert_eq!(b.call::<String>("arith.two", "who", &(), once()).await.unwrap(), "arith.two");
    let error = b.call::<()>("arith.one", "nope", &(), once()).await.unwrap_err();
    assert!(error.to_string().contains("not defined"), "{error}");
    let error = b.call::<()>("arith.one", "fail", &(), once()).await.unwrap_err();
    assert_eq!(error.code(), Some(Code::from("EBOOM")));
    service.close().await;
    assert!(b.call::<i64>("arith.one", "add", &(2, 3), once()).await.unwrap_err().is_code(503));
}

#[tokio::test(start_paused = true)]
async fn a_typed_service_is_called_directly_and_by_request() {
    let (a, b) = two();
    let service = arithmetic().serve(&a, "svc", Convention::Typed, ServiceOptions::default()).await.unwrap();
    assert!(b.ping_direct("svc", Duration::from_secs(1)).await);
    assert_eq!(b.call_typed::<i64>("svc", "add", &(2, 3), once()).await.unwrap(), 5);
    let error = b.call_typed::<i64>("svc", "fail", &(), once()).await.unwrap_err();
    assert_eq!((error.to_string().as_str(), error.code()), ("boom", Some(Code::from("EBOOM"))));
    b.wait_for_service("svc", Duration::from_secs(5)).await.unwrap();
    assert_eq!(b.call_api::<i64>("svc", "add", &(2, 3), once()).await.unwrap(), 5);
    service.close().await;
    assert!(!b.ping_direct("svc", Duration::from_secs(1)).await);
}

#[tokio::test(start_paused = true)]
async fn a_busy_service_says_so() {
    let (a, b) = two();
    let options = ServiceOptions { concurrency: 1, ..ServiceOptions::default() };
    let stuck = |_| std::future::pending::<Result<(), Error>>();
    let _service = serve_values(&a, "stuck", options, stuck).await.unwrap();
    let calls = (0..MAX_WAITING + 2).map(|_| b.call_value::<()>("stuck", &1, once()));
    let results = futures_util::future::join_all(calls).await;
    let busy = results.iter().filter(|r| r.as_ref().is_err_and(|e| e.is_code(503))).count();
    let late = results.iter().filter(|r| r.as_ref().is_err_and(|e| e.is_code(408))).count();
    assert_eq!((busy, late), (1, MAX_WAITING + 1));
}

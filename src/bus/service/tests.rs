//! Services over a broker in process.

use std::time::Duration;

use serde::Serialize;
use smallvec::smallvec;

use super::*;
use crate::{
    broker::{
        User,
        rpc::{CallKind, Fields},
    },
    bus::{Client, Code, Error, calls::call_fields, testing::broker},
    wire::msgpack,
};

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
    let client = || Client::in_process(&broker, User::system());
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
async fn wire_170_a_typed_service_answers_untyped_calls_as_method_arrays() {
    let broker = broker();
    let host = Client::in_process(&broker, User::system());
    let _service = arithmetic().serve(&host, "svc", Convention::Typed, ServiceOptions::default()).await.unwrap();
    let mut caller = broker.attach(User::system());
    let mut call = |kind, encoding: u64, body: Vec<u8>| {
        let text = format!(r#""encoding":{encoding},"raw":{{"_placeholder":true,"num":0}}"#).into_bytes();
        let fields = Fields { text, attachments: smallvec![body.into()] };
        caller.call(kind, "svc", Some("sid:1".into()), fields).unwrap()
    };
    for kind in [CallKind::Rpc, CallKind::RpcRaw] {
        let (packed, json) = (msgpack::encode(&("add", [2, 3])).unwrap(), br#"["add",[2,3]]"#.to_vec());
        for (encoding, body) in [(0, packed), (1, json)] {
            let answer = call(kind, encoding, body).await.unwrap();
            assert_eq!(answer.text, br#""encoding":0,"raw":{"_placeholder":true,"num":0}"#);
            assert_eq!(answer.attachments[..], [vec![5]]);
        }
        for (body, error) in [
            (
                msgpack::encode(&("nope", [(); 0])).unwrap(),
                r#"{"error":"method 'nope' is not defined","error_attrs":{}}"#,
            ),
            (msgpack::encode(&("fail", [(); 0])).unwrap(), r#"{"error":"boom","error_attrs":{"code":"EBOOM"}}"#),
            (msgpack::encode(&7).unwrap(), r#"{"error":"malformed call","error_attrs":{"code":400}}"#),
        ] {
            let answer = call(kind, 0, body).await.unwrap();
            let text = String::from_utf8(answer.text).unwrap();
            assert!(text.ends_with(&format!(r#","headers":{error}"#)), "{text}");
            assert_eq!(answer.attachments[..], [vec![0xc0]]);
        }
    }
    let fields = call_fields(msgpack::encode(&Named { name: "fail", args: [(); 0] }).unwrap().into());
    let answer = caller.call(CallKind::FastRpc, "svc", None, fields).unwrap().await.unwrap();
    assert_eq!(answer.text, br#""error":"boom","code":"EBOOM","serviceHandlerMs":0"#);
}

#[derive(Serialize)]
struct Named {
    name: &'static str,
    args: [(); 0],
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

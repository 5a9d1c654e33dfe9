//! Requests and responses: items 99–110.

use std::time::Duration;

use outpost::bus::{Code, Error, PublishOptions, Published, RequestManyOptions, RequestOptions};
use serde_json::json;
use tokio::time::Instant;

use crate::harness::{Bus, ms, soon, until};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn wire_099_the_inbox_is_subscribed_to_once() {
    let bus = Bus::start();
    let client = bus.client().await;
    let mut service = client.subscribe("svc").await.unwrap();
    tokio::spawn(async move {
        while let Ok(request) = service.recv().await {
            request.respond(&1).await.unwrap();
        }
    });
    for _ in 0..5 {
        soon(client.request("svc", &1, RequestOptions::default())).await.unwrap();
    }
    let subscribed = bus.log.subscribed();
    let [inbox, service] = subscribed.as_slice() else { panic!("{subscribed:?}") };
    let tokens: Vec<&str> = inbox.split('.').collect();
    assert!(matches!(tokens[..], ["_INBOX", id, "*"] if id.len() == 10), "{inbox}");
    assert_eq!(service, "svc");
}

#[tokio::test(start_paused = true)]
async fn wire_100_every_request_has_its_own_reply_subject() {
    let bus = Bus::start();
    let client = bus.client().await;
    let mut service = bus.raw();
    service.subscribe("svc");
    let ask = async {
        for n in 0..3 {
            let options = RequestOptions { headers: Some(json!({"mine": n})), ..RequestOptions::default() };
            let answer = soon(client.request("svc", &n, options)).await.unwrap();
            assert_eq!(answer.decode::<i32>().unwrap(), n * 10);
        }
    };
    let serve = async {
        let mut replies = Vec::new();
        for n in 0..3 {
            let request = service.next().await;
            let reply = request.reply().unwrap();
            assert_eq!(request.value(), n);
            assert_eq!(request.frame.headers, Some(json!({"mine": n, "CN-Reply": reply})));
            service.respond(&request, &(n * 10), None);
            replies.push(reply);
        }
        replies
    };
    let ((), mut replies) = tokio::join!(ask, serve);
    let inbox = bus.log.subscribed().into_iter().find(|p| p.starts_with("_INBOX.")).unwrap();
    let prefix = inbox.strip_suffix('*').unwrap();
    for reply in &replies {
        let id = reply.strip_prefix(prefix).expect("a subject in the inbox");
        assert!(!id.is_empty() && !id.contains('.'), "{reply}");
    }
    replies.sort();
    replies.dedup();
    assert_eq!(replies.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn wire_101_a_request_to_nobody_fails_at_once() {
    let bus = Bus::start();
    let client = bus.client().await;
    let started = Instant::now();
    let error = client.request("nobody", &1, RequestOptions::default()).await.unwrap_err();
    assert_eq!(error.code(), Some(Code::Number(503)), "{error}");
    assert!(started.elapsed() < ms(100), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn wire_102_a_request_to_somebody_silent_times_out() {
    let bus = Bus::start();
    let client = bus.client().await;
    let mut silent = bus.raw();
    silent.subscribe("svc");
    let started = Instant::now();
    let error = client.request("svc", &1, RequestOptions::timeout(ms(700))).await.unwrap_err();
    assert_eq!(error.code(), Some(Code::Number(408)), "{error}");
    assert!((ms(700)..ms(750)).contains(&started.elapsed()), "{:?}", started.elapsed());
    // An answer that is late does no harm, neither to this client nor to its next request.
    let late = silent.next().await;
    silent.respond(&late, "late", None);
    let next = client.request("svc", &2, RequestOptions::timeout(SECOND));
    let (answer, ()) = tokio::join!(next, async {
        let request = silent.next().await;
        silent.respond(&request, "in time", None);
    });
    assert_eq!(answer.unwrap().decode::<String>().unwrap(), "in time");
}

/// What a requester gets when the response has these headers.
async fn failure(headers: serde_json::Value) -> Result<(), Error> {
    let bus = Bus::start();
    let client = bus.client().await;
    let mut service = bus.raw();
    service.subscribe("svc");
    let request = client.request("svc", &1, RequestOptions::timeout(SECOND));
    let serve = async {
        let request = service.next().await;
        service.respond(&request, &(), Some(headers));
    };
    tokio::join!(request, serve).0.map(|_| ())
}

#[tokio::test(start_paused = true)]
async fn wire_103_an_error_response_raises_its_text_and_attributes() {
    let attributes = json!({"code": "ENOENT", "errno": -2, "path": "/x", "syscall": "open"});
    let error = failure(json!({"error": "no such file", "error_attrs": attributes, "code": 500})).await.unwrap_err();
    assert_eq!(error.to_string(), "no such file");
    assert_eq!(error.code(), Some(Code::from("ENOENT")));
    let Error::Failure(failure) = error else { panic!("{error:?}") };
    assert_eq!(json!(failure.attributes), json!({"errno": -2, "path": "/x", "syscall": "open"}));
}

#[tokio::test(start_paused = true)]
async fn wire_104_the_code_header_counts_when_attributes_have_none() {
    for attributes in [json!({}), json!({"errno": 1})] {
        let headers = json!({"error": "not there", "error_attrs": attributes, "code": 404});
        let error = failure(headers).await.unwrap_err();
        assert_eq!((error.to_string().as_str(), error.code()), ("not there", Some(Code::Number(404))));
    }
    let error = failure(json!({"error": "plain"})).await.unwrap_err();
    assert_eq!((error.to_string().as_str(), error.code()), ("plain", None));
    failure(json!({"code": 404})).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn wire_105_the_first_of_two_responses_wins() {
    let bus = Bus::start();
    let client = bus.client().await;
    let (mut one, mut two) = (bus.raw(), bus.raw());
    one.subscribe("svc");
    two.subscribe("svc");
    for round in 0..2 {
        let serve = async {
            let (first, second) = (one.next().await, two.next().await);
            assert_eq!(first.reply(), second.reply());
            let (fast, slow) = if round == 0 { (&mut one, &mut two) } else { (&mut two, &mut one) };
            fast.respond(&first, &json!(["first", round]), None);
            slow.respond(&first, &json!(["second", round]), None);
        };
        let (answer, ()) = tokio::join!(client.request("svc", &1, RequestOptions::timeout(SECOND)), serve);
        assert_eq!(answer.unwrap().to_json().unwrap(), json!(["first", round]));
    }
}

#[tokio::test(start_paused = true)]
async fn wire_106_many_responses_come_in_order_until_enough() {
    let bus = Bus::start();
    let client = bus.client().await;
    let mut service = bus.raw();
    service.subscribe("svc");
    let options = RequestManyOptions { max_messages: Some(4), ..RequestManyOptions::default() };
    let responses = client.request_many("svc", &1, options).await.unwrap();
    let request = service.next().await;
    for n in 0..6 {
        service.respond(&request, &n, None);
    }
    let values = |all: Vec<outpost::bus::Message>| all.iter().map(|m| m.decode().unwrap()).collect::<Vec<i32>>();
    assert_eq!(values(soon(responses.collect()).await.unwrap()), [0, 1, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn wire_106_many_responses_end_when_none_came_for_a_while() {
    let bus = Bus::start();
    let client = bus.client().await;
    let mut service = bus.raw();
    service.subscribe("svc");
    let options = RequestManyOptions { max_wait: Some(ms(300)), ..RequestManyOptions::default() };
    let mut responses = client.request_many("svc", &1, options).await.unwrap();
    let started = Instant::now();
    let serve = async {
        let request = service.next().await;
        for n in 0..5 {
            // Each response starts the wait anew, so all of them come although it takes longer than one wait.
            tokio::time::sleep(ms(200)).await;
            service.respond(&request, &n, None);
        }
        tokio::time::sleep(ms(400)).await;
        service.respond(&request, &"too late", None);
    };
    let read = async {
        let mut all: Vec<i32> = Vec::new();
        while let Some(message) = responses.next().await.unwrap() {
            all.push(message.decode().unwrap());
        }
        (all, started.elapsed())
    };
    let ((), (all, took)) = tokio::join!(serve, read);
    assert_eq!(all, [0, 1, 2, 3, 4]);
    assert!((ms(1300)..ms(1350)).contains(&took), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn wire_107_a_request_for_many_to_nobody_fails() {
    let bus = Bus::start();
    let client = bus.client().await;
    let error = client.request_many("nobody", &1, RequestManyOptions::default()).await.unwrap_err();
    assert_eq!(error.code(), Some(Code::Number(503)), "{error}");
}

#[tokio::test(start_paused = true)]
async fn wire_108_a_publish_waits_for_interest() {
    let bus = Bus::start();
    let (client, other) = (bus.client().await, bus.client().await);
    let publishing = tokio::spawn(async move {
        let options = PublishOptions { wait_for_interest: true, headers: Some(json!({"h": 1})), ..Default::default() };
        client.publish("later", "hello", options).await
    });
    until("the wait", || bus.broker.waiting() == 1).await;
    assert!(!publishing.is_finished());
    let mut reader = other.subscribe("later").await.unwrap();
    assert_eq!(soon(publishing).await.unwrap().unwrap().count, 1);
    let message = soon(reader.recv()).await.unwrap();
    assert_eq!((message.decode::<String>().unwrap().as_str(), message.headers()), ("hello", Some(&json!({"h": 1}))));
    assert!(reader.try_recv().unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn wire_109_responding_to_somebody_who_is_gone_times_out() {
    let bus = Bus::start();
    let client = bus.client().await;
    let mut service = client.subscribe("svc").await.unwrap();
    let mut requester = bus.raw();
    requester.ask("svc", &1, json!({}));
    drop(requester);
    let request = soon(service.recv()).await.unwrap();
    let started = Instant::now();
    let error = request.respond_with(&1, None, ms(500)).await.unwrap_err();
    assert_eq!(error.code(), Some(Code::Number(408)));
    assert!(error.to_string().contains("timed out"), "{error}");
    assert!((ms(500)..ms(550)).contains(&started.elapsed()), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn wire_110_a_message_that_is_no_request_cannot_be_answered() {
    let bus = Bus::start();
    let client = bus.client().await;
    let (mut reader, mut tap) = (client.subscribe("news").await.unwrap(), bus.raw());
    tap.subscribe(">");
    tap.publish("news", &1, Some(json!({"other": "header"})));
    assert_eq!(tap.next().await.subject, "news");
    let message = soon(reader.recv()).await.unwrap();
    assert!(!message.is_request());
    assert_eq!(message.respond(&1).await.unwrap(), Published::default());
    assert_eq!(message.respond_error("no", 500).await.unwrap(), Published::default());
    message.respond_sync(&1).unwrap();
    // The tap sees everything; the next thing is what is published last.
    client.publish("last", &1, PublishOptions::default()).await.unwrap();
    assert_eq!(tap.next().await.subject, "last");
}

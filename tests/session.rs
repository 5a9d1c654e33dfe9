//! The broker's session driven frame by frame through an in-memory stream, with hooks of the test's own: what can't be
//! configured from outside the process.

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use futures_util::{SinkExt, StreamExt};
use outpost::{
    broker::{
        Authenticator, Broker, Direction, Handshake, Options, Policy, SignInError, User, Verdict,
        policy::{Open, PolicyError},
        rpc::{CallKind, Fields},
        session::{self, Origin},
        sign_in::Anonymous,
    },
    config::Limits,
};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::DuplexStream;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, protocol::Role},
};
use tokio_util::sync::CancellationToken;

struct Server {
    broker: Arc<Broker>,
    shutdown: CancellationToken,
}

impl Server {
    fn start(policy: impl Policy + 'static, authenticator: impl Authenticator + 'static, limits: Limits) -> Server {
        let broker = Broker::new(Options {
            server_id: "0".into(),
            cluster_name: None,
            address: "http://localhost:5000".into(),
            limits,
            authenticator: Arc::new(authenticator),
            policy: Arc::new(policy),
        });
        Server { broker, shutdown: CancellationToken::new() }
    }

    fn open() -> Server {
        Server::start(Open, Anonymous, Limits::default())
    }

    /// A peer that has received the open packet.
    async fn raw(&self) -> Peer {
        let (near, far) = tokio::io::duplex(1 << 20);
        let origin =
            Origin { headers: http::HeaderMap::new(), query: String::new(), address: Ipv4Addr::LOCALHOST.into() };
        let (broker, shutdown) = (self.broker.clone(), self.shutdown.clone());
        tokio::spawn(session::serve(far, broker, origin, shutdown));
        let ws = WebSocketStream::from_raw_socket(near, Role::Client, None).await;
        let mut peer = Peer { ws };
        assert!(peer.text().await.starts_with(r#"0{"sid":""#));
        peer
    }

    /// A peer that is signed in and has acknowledged `info`.
    async fn peer(&self) -> Peer {
        let mut peer = self.raw().await;
        peer.send("40").await;
        assert!(peer.text().await.starts_with(r#"40{"sid":""#));
        assert!(peer.text().await.starts_with(r#"420["info","#));
        peer.send("430[]").await;
        peer
    }
}

struct Peer {
    ws: WebSocketStream<DuplexStream>,
}

impl Peer {
    async fn send(&mut self, text: &str) {
        self.ws.send(Message::text(text)).await.unwrap();
    }

    async fn send_binary(&mut self, bytes: &[u8]) {
        self.ws.send(Message::binary(bytes.to_vec())).await.unwrap();
    }

    async fn next(&mut self) -> Option<Message> {
        let next = tokio::time::timeout(Duration::from_secs(10), self.ws.next()).await.expect("a message in time");
        next.and_then(Result::ok)
    }

    async fn text(&mut self) -> String {
        match self.next().await {
            Some(Message::Text(text)) => text.to_string(),
            other => panic!("expected text, got {other:?}"),
        }
    }

    async fn binary(&mut self) -> Vec<u8> {
        match self.next().await {
            Some(Message::Binary(bytes)) => bytes.to_vec(),
            other => panic!("expected bytes, got {other:?}"),
        }
    }

    async fn publish(&mut self, ack: &str, subject: &str, payload: &[u8]) {
        self.send(&format!(r#"451-{ack}["publish",["{subject}","id",0,1,0,{{"_placeholder":true,"num":0}}]]"#)).await;
        self.send_binary(payload).await;
    }

    /// Sends what arrives at the server in one piece: texts, those with `#` and a letter at the end as publishes with such a payload.
    async fn send_together(&mut self, messages: &[&str]) {
        for message in messages {
            let (text, payload) = message.split_once('#').unwrap_or((message, ""));
            self.ws.feed(Message::text(text.replace("RAW", r#"{"_placeholder":true,"num":0}"#))).await.unwrap();
            if !payload.is_empty() {
                self.ws.feed(Message::binary(payload.as_bytes().to_vec())).await.unwrap();
            }
        }
        self.ws.flush().await.unwrap();
    }

    /// The next messages, payloads behind `#`, what is the same in all deliveries left out.
    async fn hear(&mut self, count: usize) -> Vec<String> {
        let mut heard = Vec::new();
        for _ in 0..count {
            let mut text = self.text().await;
            if text.starts_with("451-") {
                text = text.replace(r#"{"_placeholder":true,"num":0}"#, "RAW");
                text.push('#');
                text.push_str(&String::from_utf8(self.binary().await).unwrap());
            }
            heard.push(text);
        }
        heard
    }

    async fn is_closed(&mut self) -> bool {
        !matches!(self.next().await, Some(Message::Text(_) | Message::Binary(_)))
    }
}

struct Fixed(Value);

impl Authenticator for Fixed {
    fn sign_in(&self, _: &Handshake) -> Result<User, SignInError> {
        Ok(User::from_json(self.0.clone()))
    }
}

#[tokio::test]
async fn wire_047_what_is_recorded_is_what_is_sent() {
    let server = Server::open();
    let mut a = server.raw().await;
    a.send("40").await;
    a.text().await;
    assert_eq!(a.text().await, r#"420["info",{"id":"0","max_payload":8000000,"user":null}]"#);
    a.send("430[]").await;
    a.send(r#"420["subscribe",{"subject":"foo.*.bar.>","queue":"b7Qe2RtYuI"}]"#).await;
    assert_eq!(a.text().await, r#"430[{"status":"added"}]"#);
    let mut b = server.peer().await;
    b.send(r#"451-7["publish",["foo.a.bar.b","id00000001",0,1,0,{"_placeholder":true,"num":0},{"a":"b"}]]"#).await;
    b.send_binary(b"\xa3xxx").await;
    assert_eq!(b.text().await, r#"437[{"count":1}]"#);
    let expected = r#"451-["foo.*.bar.>",{"subject":"foo.a.bar.b","data":["id00000001",0,1,0,{"_placeholder":true,"num":0},{"a":"b"}]}]"#;
    assert_eq!(a.text().await, expected);
    assert_eq!(a.binary().await, b"\xa3xxx");
}

#[tokio::test]
async fn wire_024_unknown_fields_of_the_user_reach_info() {
    let user = json!({"account_id": "a", "auth_actor": "agent", "nested": {"x": [1, 2]}});
    let server = Server::start(Open, Fixed(user.clone()), Limits::default());
    let mut peer = server.raw().await;
    peer.send("40").await;
    peer.text().await;
    let info: Value = serde_json::from_str(&peer.text().await[3..]).unwrap();
    assert_eq!(info[1]["user"], user);
}

#[derive(Clone, Default)]
struct Recording(Arc<Mutex<Vec<(Direction, String)>>>);

impl Policy for Recording {
    fn decide(&self, _: &User, direction: Direction, subject: &str) -> Result<Verdict, PolicyError> {
        self.0.lock().push((direction, subject.to_owned()));
        if subject.starts_with("broken") {
            return Err(PolicyError("no answer".into()));
        }
        Ok(Verdict { allowed: !subject.starts_with("secret"), rule: "test" })
    }
}

#[tokio::test]
async fn wire_093_the_policy_sees_subjects_and_patterns() {
    let policy = Recording::default();
    let server = Server::start(policy.clone(), Anonymous, Limits::default());
    let mut peer = server.peer().await;
    peer.send(r#"420["subscribe",{"subject":"a.*","queue":"q"}]"#).await;
    peer.text().await;
    peer.publish("1", "a.b", b"\xc0").await;
    assert!(peer.text().await.starts_with("451-"));
    let seen = policy.0.lock().clone();
    assert_eq!(seen, [(Direction::Subscribe, "a.*".into()), (Direction::Publish, "a.b".into())]);
}

#[tokio::test]
async fn wire_094_a_denial_is_announced_before_the_acknowledgement() {
    let server = Server::start(Recording::default(), Anonymous, Limits::default());
    let mut peer = server.peer().await;
    peer.publish("1", "secret.x", b"\xc0").await;
    let message = "permission denied publishing to 'secret.x' from null";
    let event: Value = serde_json::from_str(&peer.text().await[2..]).unwrap();
    assert_eq!(event, json!(["permission", {"message": message, "subject": "secret.x", "type": "pub"}]));
    let ack: Value = serde_json::from_str(&peer.text().await[3..]).unwrap();
    assert_eq!(ack, json!([{"code": 403, "error": format!("Error: {message}")}]));
    peer.send(r#"422["subscribe",[{"subject":"a","queue":"0"},{"subject":"secret.y","queue":"0"}]]"#).await;
    assert!(peer.text().await.contains(r#""type":"sub""#));
    let ack: Value = serde_json::from_str(&peer.text().await[3..]).unwrap();
    assert_eq!(ack[0][0], json!({"status": "added"}));
    assert_eq!(ack[0][1]["code"], 403);
}

#[tokio::test]
async fn wire_097_a_policy_that_fails_refuses_and_nothing_more() {
    let server = Server::start(Recording::default(), Anonymous, Limits::default());
    let mut peer = server.peer().await;
    peer.publish("1", "broken.x", b"\xc0").await;
    assert_eq!(peer.text().await, r#"431[{"error":"Error: no answer"}]"#);
    peer.publish("2", "fine", b"\xc0").await;
    assert_eq!(peer.text().await, r#"432[{"count":0}]"#);
}

struct Slow;

impl Policy for Slow {
    fn decide(&self, _: &User, _: Direction, _: &str) -> Result<Verdict, PolicyError> {
        // A policy answers from memory; one that has to think holds its own connection up, so order can't be lost.
        std::thread::sleep(Duration::from_micros(fastrand::u64(0..300)));
        Ok(Verdict { allowed: true, rule: "slow" })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wire_055_order_is_kept_however_long_the_policy_thinks() {
    let server = Server::start(Slow, Anonymous, Limits::default());
    let mut subscriber = server.peer().await;
    subscriber.send(r#"420["subscribe",{"subject":"s.>","queue":"q"}]"#).await;
    subscriber.text().await;
    let mut publisher = server.peer().await;
    let sending = tokio::spawn(async move {
        for i in 0..1000u32 {
            // A new subject each time, so that no remembered answer helps.
            publisher.publish("", &format!("s.{i}"), &i.to_be_bytes()).await;
        }
        publisher
    });
    for i in 0..1000u32 {
        assert!(subscriber.text().await.starts_with("451-"));
        assert_eq!(subscriber.binary().await, i.to_be_bytes());
    }
    sending.await.unwrap();
}

#[tokio::test]
async fn violations_close_only_the_connection_that_did_it() {
    let server = Server::open();
    let mut witness = server.peer().await;
    for wrong in [
        "2",
        "9",
        "42[",
        "42[1]",
        "499",
        "4599-[]",
        "0{}",
        "42[\"publish\"]x",
        "4é",
        "",
        "40",
        "451-[\"a\"]|text",
        "binary",
        r#"42["stats",{}]|early"#,
    ] {
        let (text, how) = wrong.split_once('|').unwrap_or((wrong, ""));
        let mut peer = if how == "early" { server.raw().await } else { server.peer().await };
        match text {
            "binary" => peer.send_binary(b"x").await,
            text => peer.send(text).await,
        }
        if how == "text" {
            peer.send(r#"42["stats",{}]"#).await;
        }
        assert!(peer.is_closed().await, "{wrong}");
    }
    witness.publish("1", "still.there", b"\xc0").await;
    assert_eq!(witness.text().await, r#"431[{"count":0}]"#);
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    witness.send(&format!(r#"422["stats",{deep}]"#)).await;
    assert!(witness.is_closed().await);
}

#[tokio::test]
async fn wire_058_malformed_arguments_get_code_400() {
    let server = Server::open();
    let mut peer = server.peer().await;
    for event in [
        r#"["publish","notanarray"]"#,
        r#"["publish"]"#,
        r#"["publish",["a"]]"#,
        r#"["publish",["a","id",0,1,0,{"_placeholder":true,"num":3}]]"#,
        r#"["subscribe"]"#,
        r#"["subscribe",7]"#,
        r#"["fast-rpc",7]"#,
        r#"["rpc-raw",{}]"#,
        r#"["wait-for-interest",[]]"#,
    ] {
        peer.send(&format!("425{event}")).await;
        let ack: Value = serde_json::from_str(&peer.text().await[3..]).unwrap();
        assert_eq!(ack[0]["code"], 400, "{event}: {ack}");
    }
}

#[tokio::test]
async fn wire_169_calls_reach_their_service_and_come_back() {
    let server = Server::open();
    let mut service = server.peer().await;
    service.send(r#"420["rpc-service",{"subject":"svc.*","queue":"0"}]"#).await;
    assert_eq!(service.text().await, r#"430[{"status":"added"}]"#);
    let mut caller = server.peer().await;
    let payload = r#""payload":{"raw":{"_placeholder":true,"num":0}}"#;
    caller.send(&format!(r#"451-5["fast-rpc",{{"subject":"svc.a",{payload},"timeout":30000}}]"#)).await;
    caller.send_binary(b"\x01").await;
    let request = service.text().await;
    assert_eq!(request, format!(r#"451-1["fast-rpc-request",{{"subject":"svc.a","pattern":"svc.*",{payload}}}]"#));
    assert_eq!(service.binary().await, b"\x01");
    service.send(r#"461-1[{"raw":{"_placeholder":true,"num":0},"serviceHandlerMs":0}]"#).await;
    service.send_binary(b"\x02").await;
    let answer = caller.text().await;
    let expected = r#"461-5[{"raw":{"_placeholder":true,"num":0},"serviceHandlerMs":0,"count":1,"#;
    assert!(answer.starts_with(expected), "{answer}");
    assert_eq!(caller.binary().await, b"\x02");
    // A service that goes away is noticed at once, with the word that makes clients fall back.
    caller.send(r#"427["rpc",{"subject":"svc.a","encoding":0}]"#).await;
    service.text().await;
    drop(service);
    assert!(caller.text().await.contains("disconnected"));
}

#[tokio::test]
async fn wire_092_nothing_is_left_when_everybody_is_gone() {
    let server = Server::open();
    {
        let mut peer = server.peer().await;
        peer.send(r#"420["subscribe",[{"subject":"a.*","queue":"q"},{"subject":"b.>","queue":"q"}]]"#).await;
        peer.text().await;
        peer.send(r#"421["wait-for-interest",{"subject":"never","timeout":60000}]"#).await;
        peer.send(r#"422["subscriptions",null]"#).await;
        assert_eq!(peer.text().await, r#"432[["a.*","b.>"]]"#);
        assert_eq!(server.broker.peers().len(), 1);
        assert_eq!(server.broker.waiting(), 1);
    }
    let gone = async {
        while server.broker.counters().connections.get() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), gone).await.unwrap();
    assert_eq!(server.broker.counters().subscriptions.get(), 0);
    assert_eq!(server.broker.peers().len(), 0);
    assert_eq!(server.broker.waiting(), 0);
}

#[tokio::test]
async fn a_service_owes_a_bounded_number_of_answers() {
    const MAX_PENDING: usize = 100_000;
    let limits = Limits { outbox_messages: 1 << 20, ..Limits::default() };
    let server = Server::start(Open, Anonymous, limits);
    let mut service = server.peer().await;
    service.send(r#"420["rpc-service",{"subject":"svc","queue":"0"}]"#).await;
    assert_eq!(service.text().await, r#"430[{"status":"added"}]"#);
    let mut caller = server.broker.attach(User::anonymous());
    let mut call = || caller.call(CallKind::FastRpc, "svc", None, Fields::default()).unwrap();
    let mut waiting: Vec<_> = (0..MAX_PENDING).map(|_| call()).collect();
    let one_too_many = call();
    let answer = async {
        tokio::select! {
            answer = one_too_many => answer.unwrap(),
            // The service reads, and never answers.
            () = async { loop { service.text().await; } } => unreachable!(),
        }
    };
    let answer = String::from_utf8(answer.await.text).unwrap();
    assert_eq!(answer, r#""error":"fast-rpc -- service 'svc' is busy","code":503"#);
    // Callers that give up make room. (`info` had the first number.)
    waiting.clear();
    let _next = call();
    let asked = format!(r#"42{}["fast-rpc-request","#, MAX_PENDING + 1);
    while !service.text().await.starts_with(&asked) {}
}

#[tokio::test]
async fn a_close_frame_is_answered_with_one() {
    let server = Server::open();
    for goodbye in [Message::Close(None), Message::text("41"), Message::text("1")] {
        let mut peer = server.peer().await;
        peer.ws.send(goodbye).await.unwrap();
        assert!(matches!(peer.next().await, Some(Message::Close(_))));
    }
}

#[tokio::test(start_paused = true)]
async fn wire_025_info_is_repeated_until_it_is_acknowledged() {
    let server = Server::open();
    let mut peer = server.raw().await;
    peer.send("40").await;
    peer.text().await;
    let started = tokio::time::Instant::now();
    assert!(peer.text().await.starts_with("420["));
    let within = Duration::from_secs(60);
    let second = tokio::time::timeout(within, peer.ws.next()).await.unwrap().unwrap().unwrap().to_string();
    assert!(second.starts_with(r#"421["info","#), "{second}");
    let waited = started.elapsed();
    assert!((10.0..20.0).contains(&waited.as_secs_f64()), "{waited:?}");
    peer.send("431[]").await;
    // Heartbeats only from here on.
    for _ in 0..4 {
        let next = tokio::time::timeout(within, peer.ws.next()).await.unwrap().unwrap().unwrap();
        assert_eq!(next, Message::text("2"));
        peer.send("3").await;
    }
}

#[tokio::test]
async fn wire_055_what_arrives_together_is_handled_in_order() {
    let server = Server::open();
    let mut peer = server.peer().await;
    peer.send_together(&[
        r#"421["subscribe",{"subject":"a.*","queue":"q"}]"#,
        r#"451-2["publish",["a.x","i",0,1,0,RAW]]#1"#,
        r#"451-3["publish",["a.y","i",0,1,0,RAW,{"h":1}]]#2"#,
        r#"451-["publish",["a.y","i",0,1,0,RAW]]#3"#,
        r#"451-4["publish",["b","i",0,1,0,RAW]]#4"#,
        r#"425["subscribe",{"subject":"b","queue":"q"}]"#,
        r#"451-6["publish",["b","i",0,1,0,RAW]]#5"#,
        r#"451-7["publish",["a.\u0078","i",0,1,0,RAW]]#6"#,
        r#"451-8["publish",["a..x","i",0,1,0,RAW]]#7"#,
        r#"451-9["publish",["a.x","i",0,1,0]]#8"#,
        r#"4210["unsubscribe",{"subject":"a.*"}]"#,
        r#"451-11["publish",["a.x","i",0,1,0,RAW]]#9"#,
        r#"451-12["publish",["b","i",0,1,0,RAW]]#0"#,
    ])
    .await;
    let expected = [
        r#"431[{"status":"added"}]"#,
        r#"451-["a.*",{"subject":"a.x","data":["i",0,1,0,RAW]}]#1"#,
        r#"451-["a.*",{"subject":"a.y","data":["i",0,1,0,RAW,{"h":1}]}]#2"#,
        r#"451-["a.*",{"subject":"a.y","data":["i",0,1,0,RAW]}]#3"#,
        r#"432[{"count":1}]"#,
        r#"433[{"count":1}]"#,
        r#"434[{"count":0}]"#,
        r#"435[{"status":"added"}]"#,
        r#"451-["b",{"subject":"b","data":["i",0,1,0,RAW]}]#5"#,
        r#"436[{"count":1}]"#,
        r#"451-["a.*",{"subject":"a.x","data":["i",0,1,0,RAW]}]#6"#,
        r#"437[{"count":1}]"#,
        r#"438[{"error":"Error: invalid subject"}]"#,
        r#"439[{"code":400,"error":"invalid publish payload"}]"#,
        r#"4310[null]"#,
        r#"4311[{"count":0}]"#,
        r#"451-["b",{"subject":"b","data":["i",0,1,0,RAW]}]#0"#,
        r#"4312[{"count":1}]"#,
    ];
    assert_eq!(peer.hear(expected.len()).await, expected);
    let counters = server.broker.counters();
    assert_eq!((counters.messages_in.get(), counters.messages_out.get(), counters.no_interest.get()), (8, 6, 2));
    let (_, records) = server.broker.flight().since(0, 100, "a.");
    let recorded: Vec<_> = records.iter().map(|r| (&*r.subject, r.count, r.headers.len())).collect();
    assert_eq!(recorded, [("a.x", 1, 0), ("a.y", 1, 1), ("a.y", 1, 0), ("a.x", 1, 0), ("a.x", 0, 0)]);
}

#[tokio::test]
async fn wire_074_each_queue_group_gets_what_arrives_together_once() {
    const COUNT: usize = 200;
    let server = Server::open();
    let (mut alone, mut one, mut two) = (server.peer().await, server.peer().await, server.peer().await);
    let mut local = server.broker.attach(User::from_json(json!(null)));
    alone.send_together(&[r#"421["subscribe",{"subject":"t.*","queue":"alone"}]"#]).await;
    alone.hear(1).await;
    let mut publisher = server.peer().await;
    let publish = |from: usize| -> Vec<String> {
        (from..from + COUNT).map(|n| format!(r#"451-["publish",["t.x","i",0,1,0,RAW]]#{n}"#)).collect()
    };
    let numbers = |heard: Vec<String>| -> Vec<usize> {
        heard.iter().map(|text| text.rsplit_once('#').unwrap().1.parse().unwrap()).collect()
    };

    // One reader alone, then beside a group of two and a client in process.
    publisher.send_together(&publish(0).iter().map(String::as_str).collect::<Vec<_>>()).await;
    assert_eq!(numbers(alone.hear(COUNT).await), (0..COUNT).collect::<Vec<_>>());
    for peer in [&mut one, &mut two] {
        peer.send_together(&[r#"421["subscribe",{"subject":"t.*","queue":"both"}]"#]).await;
        peer.hear(1).await;
    }
    local.subscribe("t.*", "local").unwrap();
    publisher.send_together(&publish(0).iter().map(String::as_str).collect::<Vec<_>>()).await;
    publisher.send_together(&[r#"451-9["publish",["t.x","i",0,1,0,RAW]]#999"#]).await;
    assert_eq!(publisher.text().await, r#"439[{"count":3}]"#);
    assert_eq!(numbers(alone.hear(COUNT + 1).await).get(..COUNT), Some(&*(0..COUNT).collect::<Vec<_>>()));
    let mut items = std::collections::VecDeque::new();
    local.outbox().take(&mut items).await.unwrap();
    assert_eq!(items.len(), COUNT + 1);
    for peer in [&mut one, &mut two] {
        peer.send_together(&[r#"423["cluster"]"#]).await;
    }
    let (mut both, mut shares) = (Vec::new(), Vec::new());
    for peer in [&mut one, &mut two] {
        loop {
            let text = peer.hear(1).await;
            if text[0].starts_with("43") {
                break;
            }
            both.extend(numbers(text));
        }
        shares.push(both.len());
    }
    assert!((1..=COUNT).contains(&shares[0]), "either member has some: {shares:?}");
    both.sort_unstable();
    assert_eq!(both, (0..COUNT).chain([999]).collect::<Vec<_>>());
}

#[tokio::test]
async fn small_and_large_messages_keep_their_order() {
    let server = Server::open();
    let mut peer = server.peer().await;
    peer.send_together(&[r#"421["subscribe",{"subject":"a","queue":"q"}]"#]).await;
    peer.hear(1).await;
    let sizes = [1, 40_000, 30_000, 3, 65_535, 65_536, 2, 70_000, 1_000_000, 5, 50_000, 64 << 10];
    let messages: Vec<String> =
        sizes.iter().map(|&size| format!(r#"451-["publish",["a","i",0,1,0,RAW]]#{}"#, "x".repeat(size))).collect();
    peer.send_together(&messages.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let heard = peer.hear(sizes.len()).await;
    let lengths: Vec<usize> = heard.iter().map(|text| text.rsplit_once('#').unwrap().1.len()).collect();
    assert_eq!(lengths, sizes);
}

#[tokio::test]
async fn fragments_pings_and_split_frames_are_understood() {
    use tokio::io::AsyncWriteExt;
    use tokio_tungstenite::tungstenite::protocol::frame::{
        Frame,
        coding::{Data, OpCode},
    };

    let server = Server::open();
    let mut peer = server.peer().await;
    peer.send_together(&[r#"421["subscribe",{"subject":"a","queue":"q"}]"#]).await;
    peer.hear(1).await;
    let head = r#"451-["publish",["a","i",0,1,0,{"_placeholder":true,"num":0}]]"#;
    let (begin, end) = head.split_at(20);
    let frame = |data: &str, kind, last| Message::Frame(Frame::message(data.to_owned(), OpCode::Data(kind), last));
    for message in [
        frame(begin, Data::Text, false),
        Message::Ping("?".into()),
        frame(end, Data::Continue, true),
        frame("pay", Data::Binary, false),
        frame("", Data::Continue, false),
        frame("load", Data::Continue, true),
    ] {
        peer.ws.feed(message).await.unwrap();
    }
    peer.ws.flush().await.unwrap();
    assert_eq!(peer.next().await, Some(Message::Pong("?".into())));
    assert_eq!(peer.hear(1).await[0].rsplit_once('#').unwrap().1, "payload");

    // A frame that comes byte by byte.
    let text = r#"422["cluster"]"#;
    let mut bytes = vec![0x81, 0x80 | text.len() as u8, 1, 2, 3, 4];
    bytes.extend(text.bytes().zip([1, 2, 3, 4].iter().cycle()).map(|(byte, key)| byte ^ key));
    for byte in bytes {
        peer.ws.get_mut().write_all(&[byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert!(peer.text().await.starts_with("432["));
}

//! What messages look like on the wire: items 111–116.

use std::collections::BTreeMap;

use bytes::Bytes;
use outpost::{
    broker::User,
    bus::{MSGPACK, PublishOptions, RequestOptions},
    config::Limits,
    wire::{
        frame::{Fields, Part, Parts, Publication},
        json::Scanner,
        msgpack::Timestamp,
    },
};
use serde::Serialize;
use serde_bytes::ByteBuf;
use serde_json::{Value, json};

use crate::harness::{Bus, Seen, frame, ms, soon};

/// What of a frame tells how a message was split: number, last, size, headers.
fn shape(seen: &Seen) -> (u64, bool, usize, Option<Value>) {
    (seen.frame.seq, seen.frame.done, seen.frame.raw.len(), seen.frame.headers.clone())
}

/// Bytes that differ everywhere, so that chunks in the wrong order are noticed.
fn pattern(len: usize) -> Bytes {
    let mut bytes = Vec::with_capacity(len);
    bytes.extend((0..len.div_ceil(4) as u32).flat_map(u32::to_be_bytes));
    bytes.truncate(len);
    bytes.into()
}

/// Publishes a payload; gives its frames and what a subscriber gets.
async fn published(bus: &Bus, payload: &Bytes, headers: Option<Value>, chunks: usize) -> (Vec<Seen>, Bytes) {
    let (client, mut raw) = (bus.client().await, bus.raw());
    let mut reader = client.subscribe("big").await.unwrap();
    raw.subscribe("big");
    let options = PublishOptions { headers: headers.clone(), ..Default::default() };
    let publish = client.publish_bytes("big", MSGPACK, payload.clone(), options);
    let receive = async {
        let mut frames = Vec::new();
        for _ in 0..chunks {
            frames.push(raw.next().await);
        }
        frames
    };
    let (count, frames, message) = tokio::join!(publish, receive, soon(reader.recv()));
    let message = message.unwrap();
    assert_eq!(count.unwrap().count, 2);
    assert_eq!(message.headers(), headers.as_ref());
    assert!(raw.try_next().is_none());
    assert!(frames.iter().all(|seen| seen.frame.id == frames[0].frame.id));
    (frames, message.payload().clone())
}

#[tokio::test(start_paused = true)]
async fn wire_111_a_large_message_goes_in_chunks_and_arrives_whole() {
    let (bus, payload) = (Bus::start(), pattern(20_000_000));
    let headers = Some(json!({"h": 1}));
    let (frames, arrived) = published(&bus, &payload, headers.clone(), 3).await;
    let shapes: Vec<_> = frames.iter().map(shape).collect();
    let expected = [(0, false, 7_900_000, None), (1, false, 7_900_000, None), (2, true, 4_200_000, headers)];
    assert_eq!(shapes, expected);
    assert!(arrived == payload, "the payload has changed on the way");
}

#[tokio::test(start_paused = true)]
async fn wire_112_the_size_of_chunks_follows_from_max_payload() {
    for (max_payload, size) in [(200_000, 100_000), (50_000, 1000)] {
        let bus = Bus::with(Limits { max_payload, ..Limits::default() });
        let payload = pattern(2 * size + 1);
        let (frames, arrived) = published(&bus, &payload, None, 3).await;
        let shapes: Vec<_> = frames.iter().map(shape).collect();
        assert_eq!(shapes, [(0, false, size, None), (1, false, size, None), (2, true, 1, None)]);
        assert_eq!(arrived, payload);
        // A message that just fits is one frame.
        let (frames, _) = published(&bus, &pattern(size), None, 1).await;
        assert_eq!(shape(&frames[0]), (0, true, size, None));
    }
}

#[tokio::test(start_paused = true)]
async fn wire_113_a_message_with_a_missing_chunk_is_dropped() {
    let bus = Bus::start();
    let (client, mut raw) = (bus.client().await, bus.raw());
    let mut reader = client.subscribe("s").await.unwrap();
    for (id, seq, done, part) in [
        ("broken", 0, false, "\u{a4}"),
        ("whole", 0, false, "a"),
        ("broken", 2, true, "x"),
        ("whole", 1, false, "b"),
        // The rest of a message that was given up is no message either.
        ("broken", 3, true, "y"),
        ("whole", 2, true, "c"),
    ] {
        raw.send("s", frame(id, seq, done, part.to_owned()));
    }
    assert_eq!(soon(reader.recv()).await.unwrap().payload(), "abc");
    raw.publish("s", "after", None);
    assert_eq!(soon(reader.recv()).await.unwrap().decode::<String>().unwrap(), "after");
}

#[tokio::test(start_paused = true)]
async fn wire_113_incomplete_messages_are_forgotten_after_two_to_three_minutes() {
    let bus = Bus::start();
    let (client, mut raw) = (bus.client().await, bus.raw());
    let mut reader = client.subscribe("s").await.unwrap();
    for (id, pause, arrives) in [("slow", 115_000, true), ("too slow", 181_000, false)] {
        raw.send("s", frame(id, 0, false, id.to_owned()));
        // The client has taken the chunk before time goes on.
        raw.publish("s", "between", None);
        assert_eq!(soon(reader.recv()).await.unwrap().decode::<String>().unwrap(), "between");
        tokio::time::sleep(ms(pause)).await;
        raw.send("s", frame(id, 1, true, "!"));
        raw.publish("s", "end", None);
        if arrives {
            assert_eq!(soon(reader.recv()).await.unwrap().payload(), "slow!");
        }
        assert_eq!(soon(reader.recv()).await.unwrap().decode::<String>().unwrap(), "end");
    }
}

#[tokio::test(start_paused = true)]
async fn wire_114_a_message_without_its_start_is_ignored() {
    let bus = Bus::start();
    let (client, mut raw) = (bus.client().await, bus.raw());
    let mut reader = client.subscribe("s").await.unwrap();
    raw.send("s", frame("late", 1, false, "a"));
    raw.send("s", frame("late", 2, true, "b"));
    raw.send("s", frame("later", 1, true, "c"));
    // An id that was ignored can still begin.
    raw.send("s", frame("late", 0, true, "whole"));
    assert_eq!(soon(reader.recv()).await.unwrap().payload(), "whole");
    assert!(reader.try_recv().unwrap().is_none());
}

fn hex(text: &str) -> Bytes {
    hex::decode(text.replace(' ', "")).unwrap().into()
}

#[tokio::test(start_paused = true)]
async fn wire_115_values_become_exactly_the_bytes_of_the_specification() {
    let bus = Bus::start();
    let (client, mut raw) = (bus.client().await, bus.raw());
    raw.subscribe("s");
    #[derive(Serialize)]
    struct Sample {
        a: u8,
        #[serde(skip_serializing_if = "Option::is_none")]
        b: Option<u8>,
        c: Option<u8>,
    }
    #[derive(Serialize)]
    struct Call {
        name: &'static str,
        args: [u8; 0],
    }
    macro_rules! becomes {
        ($($value:expr => $bytes:literal),* $(,)?) => {$(
            client.publish("s", $value, PublishOptions::default()).await.unwrap();
            let seen = raw.next().await;
            assert_eq!((hex::encode(&seen.frame.raw), seen.frame.encoding), (hex::encode(hex($bytes)), 0));
        )*};
    }
    becomes! {
        &() => "c0",
        &None::<u8> => "c0",
        &true => "c3",
        &false => "c2",
        &127 => "7f",
        &128 => "cc 80",
        &-1 => "ff",
        &-33 => "d0 df",
        &65536 => "ce 00 01 00 00",
        &(1u64 << 32) => "cf 00 00 00 01 00 00 00 00",
        &((1u64 << 53) - 1) => "cf 00 1f ff ff ff ff ff ff",
        &1.5 => "cb 3f f8 00 00 00 00 00 00",
        &1e20 => "cb 44 15 af 1d 78 b5 8c 40",
        &f64::NAN => "cb 7f f8 00 00 00 00 00 00",
        "héllo" => "a6 68 c3 a9 6c 6c 6f",
        &[Some(1), None, Some(3)] => "93 01 c0 03",
        &Sample { a: 1, b: None, c: None } => "82 a1 61 01 a1 63 c0",
        &ByteBuf::from([1, 2, 3]) => "c4 03 01 02 03",
        &Timestamp::from_millis(1_700_000_000_000) => "d6 ff 65 53 f1 00",
        &Timestamp::from_millis(1_700_000_000_123) => "d7 ff 1d 53 53 00 65 53 f1 00",
        &Timestamp::from_millis(-1) => "c7 0c ff 3b 8b 87 c0 ff ff ff ff ff ff ff ff",
        &Call { name: "system.ping", args: [] } =>
            "82 a4 6e 61 6d 65 ab 73 79 73 74 65 6d 2e 70 69 6e 67 a4 61 72 67 73 90",
        &1_765_432_100_123u64 => "cf 00 00 01 9b 0b f4 05 1b",
    }
}

#[tokio::test(start_paused = true)]
async fn wire_115_the_bytes_of_the_specification_become_values() {
    let bus = Bus::start();
    let (client, mut raw) = (bus.client().await, bus.raw());
    let mut reader = client.subscribe("s").await.unwrap();
    macro_rules! reads {
        ($($bytes:literal as $type:ty => $value:expr),* $(,)?) => {$(
            raw.send("s", frame("id", 0, true, hex($bytes)));
            let message = soon(reader.recv()).await.unwrap();
            assert_eq!(message.decode::<$type>().unwrap(), $value, $bytes);
        )*};
    }
    reads! {
        "c0" as Option<u8> => None,
        "c3" as bool => true,
        "7f" as u8 => 127,
        "cc 80" as u8 => 128,
        "ff" as i8 => -1,
        "d0 df" as i64 => -33,
        "ce 00 01 00 00" as u32 => 65536,
        "cf 00 00 00 01 00 00 00 00" as u64 => 1 << 32,
        "cf 00 1f ff ff ff ff ff ff" as u64 => (1 << 53) - 1,
        "cb 3f f8 00 00 00 00 00 00" as f64 => 1.5,
        "cb 44 15 af 1d 78 b5 8c 40" as f64 => 1e20,
        "a6 68 c3 a9 6c 6c 6f" as String => "héllo",
        "93 01 c0 03" as [Option<u8>; 3] => [Some(1), None, Some(3)],
        "82 a1 61 01 a1 63 c0" as BTreeMap<String, Option<u8>> =>
            BTreeMap::from([("a".to_owned(), Some(1)), ("c".to_owned(), None)]),
        "c4 03 01 02 03" as ByteBuf => ByteBuf::from([1, 2, 3]),
        "d6 ff 65 53 f1 00" as Timestamp => Timestamp::from_millis(1_700_000_000_000),
        "d7 ff 1d 53 53 00 65 53 f1 00" as Timestamp => Timestamp::from_millis(1_700_000_000_123),
        "c7 0c ff 3b 8b 87 c0 ff ff ff ff ff ff ff ff" as Timestamp => Timestamp::from_millis(-1),
        "82 a4 6e 61 6d 65 ab 73 79 73 74 65 6d 2e 70 69 6e 67 a4 61 72 67 73 90" as Value =>
            json!({"name": "system.ping", "args": []}),
        "cf 00 00 01 9b 0b f4 05 1b" as f64 => 1_765_432_100_123.0,
    }
    raw.send("s", frame("id", 0, true, hex("cb 7f f8 00 00 00 00 00 00")));
    assert!(soon(reader.recv()).await.unwrap().decode::<f64>().unwrap().is_nan());
    raw.send("s", Fields { encoding: 1, ..frame("id", 0, true, r#"{"n":1}"#) });
    assert_eq!(soon(reader.recv()).await.unwrap().decode::<Value>().unwrap(), json!({"n": 1}));
}

#[tokio::test(start_paused = true)]
async fn wire_116_null_headers_are_no_headers() {
    let bus = Bus::start();
    let (client, mut raw) = (bus.client().await, bus.raw());
    let mut reader = client.subscribe("s").await.unwrap();
    for headers in [Some(Value::Null), None] {
        raw.publish("s", &1, headers.clone());
        let message = soon(reader.recv()).await.unwrap();
        assert_eq!(message.headers(), None, "{headers:?}");
        assert!(!message.is_request());
    }
    // A response with null headers is a good response.
    raw.subscribe("svc");
    let serve = async {
        let request = raw.next().await;
        raw.respond(&request, "fine", Some(Value::Null));
    };
    let (answer, ()) = tokio::join!(client.request("svc", &1, RequestOptions::timeout(ms(100))), serve);
    assert_eq!(answer.unwrap().decode::<String>().unwrap(), "fine");
}

#[tokio::test(start_paused = true)]
async fn binary_values_of_headers_are_read() {
    let bus = Bus::start();
    let client = bus.client().await;
    let mut subscription = client.subscribe("foo.*").await.unwrap();
    // As in §21.9; only peers over a wire send such frames.
    let text = r#"["foo.a","id00000008",0,1,0,{"_placeholder":true,"num":0},{"blob":{"_placeholder":true,"num":1}}]"#;
    let parts = Parts::from_iter([Part::Lent(b"\xa2hi"), Part::Lent(b"\x01\x02\x03")]);
    let argument = Scanner::new(text).value().unwrap();
    let frame = Publication::decode(argument, parts).unwrap().keep();
    bus.broker.attach(User::anonymous()).publish("foo.a", frame, None).unwrap();
    let message = soon(subscription.recv()).await.unwrap();
    assert_eq!(message.decode::<String>().unwrap(), "hi");
    assert_eq!(message.header_bytes("blob").unwrap().as_ref(), [1, 2, 3]);
    assert_eq!(message.header_bytes("other"), None);
}

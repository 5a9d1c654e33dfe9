//! What does it cost to read a published frame off the wire, and to write it for the subscribers of a pattern?

#![allow(missing_docs)]

use std::{hint::black_box, sync::Arc, time::Duration};

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use outpost::{
    broker::{
        Outbox,
        delivery::{Delivery, SubjectText},
        sublist::{Member, Sublist},
    },
    wire::{
        engineio,
        frame::{Attachments, Frame},
        json, socketio,
        subject::is_valid_subject,
    },
};

/// A request as clients send it.
const TEXT: &str = r#"451-17["publish",["services.project-00000000.api.read","Hq3mZt7LpK",0,1,0,{"_placeholder":true,"num":0},{"CN-Reply":"_INBOX.account-00000000-1000-4000-8000-000000000001.a1B2c3D4e5.F6g7H8i9J0"}]]"#;

fn decode(text: &Bytes, payload: &Bytes) -> Frame {
    let whole = std::str::from_utf8(text).unwrap_or_default();
    let Ok(engineio::Packet::Message(message)) = engineio::Packet::decode(whole) else { panic!("no message") };
    let packet = socketio::Packet::decode(message).expect("a packet");
    let event = packet.event().expect("an event");
    let argument = event.argument.expect("an argument");
    let attachments = Attachments::from_iter([payload.clone()]);
    let publication = Frame::decode(argument, text, 1 + packet.data_start, attachments).expect("a frame");
    assert!(is_valid_subject(&publication.subject.as_str().expect("a string")));
    publication.frame
}

fn codec(c: &mut Criterion) {
    let mut group = c.benchmark_group("codec");
    group.sample_size(50).measurement_time(Duration::from_secs(3)).warm_up_time(Duration::from_secs(1));
    let list = Sublist::default();
    let (entry, _) = list.insert("services.*.api.>", "0", Member { connection: 0, outbox: Outbox::new(16, 1 << 20) });
    let subject = "services.project-00000000.api.read";
    let mut subject_json = Vec::new();
    json::push_string(&mut subject_json, subject);
    let subject = SubjectText { text: subject.into(), json: subject_json.into() };
    let text = Bytes::from_static(TEXT.as_bytes());
    for bytes in [128, 65_536] {
        let payload = Bytes::from(vec![b'x'; bytes]);
        group.throughput(Throughput::Bytes((text.len() + bytes) as u64));
        group.bench_function(BenchmarkId::new("decode", bytes), |b| b.iter(|| black_box(decode(&text, &payload))));
        let frame = Arc::new(decode(&text, &payload));
        group.bench_function(BenchmarkId::new("encode", bytes), |b| {
            b.iter(|| black_box(Delivery::new(entry.clone(), subject.clone(), frame.clone()).encoded().len()));
        });
    }
    group.finish();
}

criterion_group!(benches, codec);
criterion_main!(benches);

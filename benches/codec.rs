//! What does it cost to read a published frame off the wire, and to write it for the subscribers of a pattern?

#![allow(missing_docs)]

use std::{hint::black_box, sync::Arc, time::Duration};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use outpost::{
    broker::{
        Outbox,
        delivery::{Delivery, SubjectText},
        sublist::{Member, Sublist},
    },
    wire::{
        engineio,
        frame::{Part, Publication},
        json, socketio,
        subject::is_valid_subject,
    },
};

/// A request as clients send it.
const TEXT: &str = r#"451-17["publish",["services.project-00000000.api.read","Hq3mZt7LpK",0,1,0,{"_placeholder":true,"num":0},{"CN-Reply":"_INBOX.account-00000000-1000-4000-8000-000000000001.a1B2c3D4e5.F6g7H8i9J0"}]]"#;

fn decode<'a>(whole: &'a str, payload: &'a [u8]) -> Publication<'a> {
    let Ok(engineio::Packet::Message(message)) = engineio::Packet::decode(whole) else { panic!("no message") };
    let packet = socketio::Packet::decode(message).expect("a packet");
    let publication = Publication::scan(packet.data, Part::Lent(payload)).expect("the usual form");
    assert!(is_valid_subject(&publication.subject.as_str().expect("a string")));
    publication
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
    for bytes in [128, 65_536] {
        let payload = vec![b'x'; bytes];
        group.throughput(Throughput::Bytes((TEXT.len() + bytes) as u64));
        group.bench_function(BenchmarkId::new("decode", bytes), |b| b.iter(|| black_box(decode(TEXT, &payload))));
        let frame = Arc::new(decode(TEXT, &payload).keep());
        group.bench_function(BenchmarkId::new("encode", bytes), |b| {
            b.iter(|| black_box(Delivery::new(entry.clone(), subject.clone(), frame.clone()).encoded().len()));
        });
    }
    group.finish();
}

criterion_group!(benches, codec);
criterion_main!(benches);

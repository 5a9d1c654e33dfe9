//! What does it cost to find the subscribers of a subject, and does that depend on how many others there are?

#![allow(missing_docs)]

use std::{hint::black_box, time::Duration};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use outpost::broker::{
    Outbox,
    sublist::{Member, Sublist},
};

/// Subjects as they are in use: tokens that many share, then one's own.
fn subject(n: usize) -> String {
    format!("services.project-{:08x}.api.{:03}", n / 16, n % 16)
}

/// A table with that many subscriptions: mostly plain subjects, some with wildcards, plus a few that match every subject.
fn table(subscriptions: usize) -> Sublist {
    let list = Sublist::default();
    let outbox = Outbox::new(16, 1 << 20);
    let add = |pattern: &str, connection: usize| {
        list.insert(pattern, "0", Member { connection: connection as u64, outbox: outbox.clone() });
    };
    add("services.*.api.>", 0);
    for n in 1..subscriptions {
        match n % 16 {
            0 => add(&format!("services.project-{:08x}.*.{n}", n / 16), n),
            1 => add(&format!("services.project-{:08x}.files.>", n / 16), n),
            _ => add(&subject(n), n),
        }
    }
    list
}

fn interest(c: &mut Criterion) {
    let mut group = c.benchmark_group("interest");
    group.sample_size(30).measurement_time(Duration::from_secs(3)).warm_up_time(Duration::from_secs(1));
    for subscriptions in [10, 10_000, 1_000_000] {
        let list = table(subscriptions);
        // Many different subjects all over the table, so that the processor's caches do not hold the paths to them.
        let subjects: Vec<String> =
            (0..65_536).map(|n| subject(2 + (n * 7919) % subscriptions.max(16) / 16 * 16)).collect();
        let mut next = 0;
        group.bench_function(BenchmarkId::new("match", subscriptions), |b| {
            b.iter(|| {
                next = (next + 1) % subjects.len();
                black_box(list.matches(&subjects[next]))
            });
        });
        let outbox = Outbox::new(16, 1 << 20);
        group.bench_function(BenchmarkId::new("subscribe and unsubscribe", subscriptions), |b| {
            b.iter(|| {
                next = (next + 1) % subjects.len();
                let (entry, _) =
                    list.insert(&subjects[next], "own", Member { connection: u64::MAX, outbox: outbox.clone() });
                list.remove(&entry, "own", u64::MAX);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, interest);
criterion_main!(benches);

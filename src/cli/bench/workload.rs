//! The loads.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context as _;
use bytes::{Buf as _, Bytes};
use futures_util::{StreamExt as _, TryStreamExt as _, future::try_join_all, stream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::{Args, progress::Progress, report::Measured};
use crate::{
    bus::{Client, RequestOptions, Subscription},
    cli::flags::Flags,
};

/// Messages that may be under way between a publisher and the slowest subscriber, and their bytes.
const WINDOW: usize = 1024;
const WINDOW_BYTES: usize = 32 << 20;
/// How long a single answer may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Payloads begin with the time they were sent: nanoseconds since the start.
const STAMP_BYTES: usize = 8;

/// A subject that no other run uses and that the account may use.
fn subject(client: &Client, name: &str) -> String {
    let user = client.user();
    let owner = user.as_ref().map(|user| user.inbox_prefix()).unwrap_or_default();
    let scope = owner.strip_prefix("_INBOX.").unwrap_or("anybody").to_owned();
    format!("bench.{scope}.{}.{name}", client.id())
}

fn payload(started: Instant, size: usize) -> Bytes {
    let mut bytes = (started.elapsed().as_nanos() as u64).to_be_bytes().to_vec();
    bytes.resize(size.max(STAMP_BYTES), 0x2e);
    Bytes::from(bytes)
}

fn age(started: Instant, mut payload: &[u8]) -> Duration {
    let sent = if payload.len() >= STAMP_BYTES { payload.get_u64() } else { 0 };
    started.elapsed().saturating_sub(Duration::from_nanos(sent))
}

/// One publisher to `subscribers` connections.
pub(super) async fn publish(
    args: &Args,
    flags: Flags,
    subscribers: usize,
    count: u64,
    progress: &Progress,
) -> anyhow::Result<Measured> {
    let publisher = args.bus.connect(flags.clone()).await?;
    let subject = subject(&publisher, "messages");
    let started = Instant::now();
    let taken = Arc::new(Taken::default());
    // A reader says how far it is a few times in each window.
    let window = (WINDOW_BYTES / args.size.max(STAMP_BYTES)).clamp(1, WINDOW) as u64;
    let batch = (window / 16).max(1);
    let mut readers: Vec<JoinHandle<anyhow::Result<Vec<Duration>>>> = Vec::new();
    for number in 0..subscribers {
        let client = args.bus.connect(flags.clone()).await?;
        let subscription = client.subscribe(&subject).await?;
        taken.slots.lock().push(AtomicU64::new(0).into());
        let (taken, counter) = (taken.clone(), progress.counter());
        readers.push(tokio::spawn(read(subscription, number, count, started, taken, batch, counter)));
    }
    progress.expect(count * subscribers as u64);
    let slots = taken.slots.lock().clone();
    let begun = Instant::now();
    for sent in 0..count {
        while sent >= taken.slowest(&slots) + window {
            let moved = taken.moved.notified();
            if sent >= taken.slowest(&slots) + window {
                tokio::time::timeout(PATIENCE, moved).await.context("a subscriber gets nothing any more")?;
            }
        }
        publisher.publish_bytes_sync(&subject, 0, payload(started, args.size), None)?;
        if sent % 64 == 0 {
            tokio::task::yield_now().await;
        }
    }
    let latencies: Vec<Vec<Duration>> = try_join_all(readers).await?.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    let latencies: Vec<Duration> = latencies.into_iter().flatten().collect();
    Ok(Measured { what: "deliveries", count: latencies.len() as u64, took: begun.elapsed(), latencies })
}

/// How far each subscriber is.
#[derive(Default)]
struct Taken {
    slots: parking_lot::Mutex<Vec<Arc<AtomicU64>>>,
    moved: Notify,
}

impl Taken {
    fn slowest(&self, slots: &[Arc<AtomicU64>]) -> u64 {
        slots.iter().map(|slot| slot.load(Ordering::Relaxed)).min().unwrap_or(0)
    }
}

async fn read(
    mut subscription: Subscription,
    number: usize,
    count: u64,
    started: Instant,
    taken: Arc<Taken>,
    batch: u64,
    progress: impl Fn(u64),
) -> anyhow::Result<Vec<Duration>> {
    let slot = taken.slots.lock().get(number).cloned().context("a reader has a slot")?;
    let mut latencies = Vec::with_capacity(usize::try_from(count)?.min(1 << 20));
    for n in 1..=count {
        let next = tokio::time::timeout(PATIENCE, subscription.recv());
        let message = next.await.with_context(|| format!("message {n} of {count} did not arrive"))??;
        latencies.push(age(started, message.payload()));
        slot.store(n, Ordering::Relaxed);
        if n % batch == 0 || n == count {
            taken.moved.notify_waiters();
            progress(if n % batch == 0 { batch } else { n % batch });
        }
    }
    Ok(latencies)
}

/// Requests to a service that gives back what it gets.
pub(super) async fn request(args: &Args, flags: Flags, count: u64, progress: &Progress) -> anyhow::Result<Measured> {
    let service = args.bus.connect(flags.clone()).await?;
    let subject = subject(&service, "echo");
    let mut requests = service.subscribe(&subject).await?;
    let serving = tokio::spawn(async move {
        while let Ok(message) = requests.recv().await {
            // A requester that has gone needs no answer.
            let _ = message.respond_sync(&message.payload().len());
        }
    });
    let client = args.bus.connect(flags).await?;
    progress.expect(count);
    let begun = Instant::now();
    let body = "x".repeat(args.size);
    let latencies: Vec<Duration> = stream::iter(0..count)
        .map(|_| async {
            let sent = Instant::now();
            client.request(&subject, &body, RequestOptions::timeout(PATIENCE)).await?;
            progress.add(1);
            anyhow::Ok(sent.elapsed())
        })
        .buffer_unordered(args.in_flight)
        .try_collect()
        .await?;
    let took = begun.elapsed();
    serving.abort();
    Ok(Measured { what: "requests", count, took, latencies })
}

/// Connections that are opened and kept until all are there.
pub(super) async fn connections(
    args: &Args,
    flags: Flags,
    count: u64,
    progress: &Progress,
) -> anyhow::Result<Measured> {
    progress.expect(count);
    let begun = Instant::now();
    let (mut clients, mut latencies) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let sent = Instant::now();
        clients.push(args.bus.connect(flags.clone()).await?);
        latencies.push(sent.elapsed());
        progress.add(1);
    }
    Ok(Measured { what: "connections", count, took: begun.elapsed(), latencies })
}

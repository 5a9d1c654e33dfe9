//! The workloads. Both servers get the same ones from the same code.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{sync::Notify, task::JoinSet, time::timeout};

use super::{
    client::{Client, Delivery, Kind, Outgoing},
    server::{Programs, Server},
    stats::{self, Latencies},
};

/// Payload of every message; begins with the time it was sent and its number.
pub const PAYLOAD_BYTES: usize = 128;

/// Messages that go out with one system call.
const BATCH: u64 = 64;

/// How far a publisher may be ahead of the slowest subscriber, in messages.
const WINDOW: u64 = 4096;

/// A run without any message for that long has failed.
const STALLED: Duration = Duration::from_secs(20);

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    /// One publisher, that many subscribers, that many messages published.
    Publish { subscribers: u64, messages: u64 },
    /// One requester and one responder; that many requests at a time.
    Request { in_flight: u32, requests: u64 },
    /// That many connections, each of which publishes one message as soon as it may.
    Connections { count: u64 },
    /// Nothing; all services are on.
    Idle,
}

/// What a run of a workload showed. Times of the server are processor time.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Deliveries, responses or connections per second.
    pub per_second: f64,
    /// p50, p99, p99.9 in microseconds.
    pub latency_us: [f64; 3],
    /// The server's processor time per delivery, request or connection.
    pub cpu_us: f64,
    /// The server's resident memory at the end.
    pub rss_mib: f64,
    /// How long the server took to start.
    pub start_up_ms: f64,
    /// Messages that arrived after a later one.
    pub inversions: u64,
    /// Messages that did not arrive.
    pub lost: u64,
    /// Messages that arrived.
    pub arrived: u64,
}

/// Runs a workload on a fresh server.
pub async fn run(kind: Kind, programs: &Programs, workload: Workload) -> io::Result<Outcome> {
    let services = if workload == Workload::Idle { "all" } else { "bus" };
    let server = Server::start(kind, programs, services).await?;
    let outcome = match workload {
        Workload::Publish { subscribers, messages } => {
            // Once to warm up.
            publish(kind, &server, subscribers, (messages / 20).max(1)).await?;
            publish(kind, &server, subscribers, messages).await
        }
        Workload::Request { in_flight, requests } => {
            request(kind, &server, in_flight, (requests / 20).max(1)).await?;
            request(kind, &server, in_flight, requests).await
        }
        Workload::Connections { count } => connections(kind, &server, count).await,
        Workload::Idle => idle(&server).await,
    };
    let start_up_ms = server.start_up.as_secs_f64() * 1e3;
    server.stop().await?;
    Ok(Outcome { start_up_ms, ..outcome? })
}

fn fill(payload: &mut [u8; PAYLOAD_BYTES], epoch: Instant, number: u64) {
    payload[..8].copy_from_slice(&(epoch.elapsed().as_nanos() as u64).to_le_bytes());
    payload[8..16].copy_from_slice(&number.to_le_bytes());
}

fn word(payload: &[u8], at: usize) -> u64 {
    payload.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes)
}

async fn read_or_stall(client: &mut Client, each: impl FnMut(Delivery<'_>, &mut Outgoing)) -> io::Result<()> {
    timeout(STALLED, client.read(each)).await.map_err(|_| io::Error::other("nothing arrives any more"))?
}

struct Subscriber {
    latencies: Latencies,
    inversions: u64,
    finished: Instant,
}

async fn publish(kind: Kind, server: &Server, subscribers: u64, messages: u64) -> io::Result<Outcome> {
    let epoch = Instant::now();
    // How far each subscriber is.
    let progress: Arc<[AtomicU64]> = (0..subscribers).map(|_| AtomicU64::new(0)).collect();
    let moved = Arc::new(Notify::new());
    let mut tasks = JoinSet::new();
    for index in 0..subscribers as usize {
        let mut client = Client::connect(kind, &server.address, None).await?;
        client.subscribe("bench.load.*").await?;
        let (progress, moved) = (progress.clone(), moved.clone());
        // All of one subscriber's latencies, some of many subscribers'.
        let sample = subscribers.min(16);
        tasks.spawn(async move {
            let (mut latencies, mut inversions, mut next) = (Latencies::default(), 0, 0);
            let mut received = 0;
            while received < messages {
                read_or_stall(&mut client, |delivery, _| {
                    let number = word(delivery.payload, 8);
                    inversions += u64::from(number != next);
                    next = number + 1;
                    received += 1;
                    if received % sample == 0 {
                        latencies.add((epoch.elapsed().as_nanos() as u64).saturating_sub(word(delivery.payload, 0)));
                    }
                })
                .await?;
                progress[index].store(received, Ordering::Relaxed);
                moved.notify_one();
            }
            io::Result::Ok(Subscriber { latencies, inversions, finished: Instant::now() })
        });
    }

    let mut publisher = Client::connect(kind, &server.address, None).await?;
    let cpu = stats::cpu_time(server.pid)?;
    let started = Instant::now();
    let mut payload = [b'x'; PAYLOAD_BYTES];
    let mut sent = 0;
    while sent < messages {
        while sent - progress.iter().map(|p| p.load(Ordering::Relaxed)).min().unwrap_or(sent) > WINDOW - BATCH {
            if timeout(STALLED, moved.notified()).await.is_err() {
                break;
            }
        }
        for _ in 0..BATCH.min(messages - sent) {
            fill(&mut payload, epoch, sent);
            publisher.outgoing.publish(b"bench.load.one", None, &payload);
            sent += 1;
        }
        publisher.flush().await?;
    }

    let mut outcome = Outcome::default();
    let mut latencies = Latencies::default();
    let mut finished = started;
    while let Some(subscriber) = tasks.join_next().await {
        let subscriber = subscriber??;
        latencies.merge(subscriber.latencies);
        outcome.inversions += subscriber.inversions;
        finished = finished.max(subscriber.finished);
    }
    let deliveries = (messages * subscribers) as f64;
    outcome.cpu_us = (stats::cpu_time(server.pid)? - cpu).as_secs_f64() * 1e6 / deliveries;
    outcome.per_second = deliveries / (finished - started).as_secs_f64();
    outcome.latency_us = latencies.percentiles();
    outcome.rss_mib = stats::memory_mib(server.pid, "VmRSS")?;
    outcome.arrived = messages * subscribers;
    Ok(outcome)
}

async fn request(kind: Kind, server: &Server, in_flight: u32, requests: u64) -> io::Result<Outcome> {
    let mut responder = Client::connect(kind, &server.address, None).await?;
    responder.subscribe("bench.echo").await?;
    let responder = tokio::spawn(async move {
        loop {
            responder
                .read(|delivery, out| {
                    if let Some(reply) = delivery.reply {
                        out.publish(reply, None, delivery.payload);
                    }
                })
                .await?;
            responder.flush().await?;
        }
        #[allow(unreachable_code)]
        io::Result::Ok(())
    });

    let mut requester = Client::connect(kind, &server.address, None).await?;
    requester.subscribe("_INBOX.bench.*").await?;
    let mut payload = [b'x'; PAYLOAD_BYTES];
    let epoch = Instant::now();
    let cpu = stats::cpu_time(server.pid)?;
    let mut sent = 0;
    let mut ask = |out: &mut Outgoing| {
        fill(&mut payload, epoch, sent);
        out.publish(b"bench.echo", Some(format!("_INBOX.bench.{sent}").as_bytes()), &payload);
        sent += 1;
    };
    for _ in 0..u64::from(in_flight).min(requests) {
        ask(&mut requester.outgoing);
    }
    requester.flush().await?;
    let (mut answered, mut left) = (0, requests.saturating_sub(u64::from(in_flight)));
    let mut latencies = Latencies::default();
    while answered < requests {
        read_or_stall(&mut requester, |delivery, out| {
            latencies.add((epoch.elapsed().as_nanos() as u64).saturating_sub(word(delivery.payload, 0)));
            answered += 1;
            if left > 0 {
                left -= 1;
                ask(out);
            }
        })
        .await?;
        requester.flush().await?;
    }
    let elapsed = epoch.elapsed();
    responder.abort();
    Ok(Outcome {
        per_second: requests as f64 / elapsed.as_secs_f64(),
        cpu_us: (stats::cpu_time(server.pid)? - cpu).as_secs_f64() * 1e6 / requests as f64,
        latency_us: latencies.percentiles(),
        rss_mib: stats::memory_mib(server.pid, "VmRSS")?,
        arrived: requests,
        ..Outcome::default()
    })
}

async fn connections(kind: Kind, server: &Server, count: u64) -> io::Result<Outcome> {
    /// Connections that are being opened at a time.
    const OPENERS: u64 = 20;

    let mut listener = Client::connect(kind, &server.address, None).await?;
    listener.subscribe("bench.hello.*").await?;
    let arrived = Arc::new(AtomicU64::new(0));
    let counter = arrived.clone();
    let listening = tokio::spawn(async move {
        while listener.read(|_, _| _ = counter.fetch_add(1, Ordering::Relaxed)).await.is_ok() {
            let _ = listener.flush().await;
        }
    });

    let cpu = stats::cpu_time(server.pid)?;
    let started = Instant::now();
    let mut openers = JoinSet::new();
    for opener in 0..OPENERS {
        let address = server.address.clone();
        openers.spawn(async move {
            let (mut clients, mut latencies) = (Vec::new(), Latencies::default());
            for _ in 0..(count + opener) / OPENERS {
                let began = Instant::now();
                let early = Some((b"bench.hello.world".as_slice(), [b'x'; PAYLOAD_BYTES]));
                let early = early.as_ref().map(|(subject, payload)| (*subject, payload.as_slice()));
                clients.push(Client::connect(kind, &address, early).await?);
                latencies.add(began.elapsed().as_nanos() as u64);
            }
            io::Result::Ok((clients, latencies))
        });
    }
    let (mut clients, mut latencies) = (Vec::new(), Latencies::default());
    while let Some(opened) = openers.join_next().await {
        let (some, times) = opened??;
        clients.extend(some);
        latencies.merge(times);
    }
    let elapsed = started.elapsed();
    let opened = clients.len() as u64;
    let deadline = Instant::now() + Duration::from_secs(5);
    while arrived.load(Ordering::Relaxed) < opened && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let outcome = Outcome {
        per_second: opened as f64 / elapsed.as_secs_f64(),
        cpu_us: (stats::cpu_time(server.pid)? - cpu).as_secs_f64() * 1e6 / opened as f64,
        latency_us: latencies.percentiles(),
        rss_mib: stats::memory_mib(server.pid, "VmRSS")?,
        arrived: arrived.load(Ordering::Relaxed),
        lost: opened.saturating_sub(arrived.load(Ordering::Relaxed)),
        ..Outcome::default()
    };
    listening.abort();
    Ok(outcome)
}

/// Watches a server that nobody uses: wake-ups per second, memory.
async fn idle(server: &Server) -> io::Result<Outcome> {
    const WATCHED: Duration = Duration::from_secs(10);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let before = stats::wake_ups(server.pid)?;
    tokio::time::sleep(WATCHED).await;
    let after = stats::wake_ups(server.pid)?;
    Ok(Outcome {
        per_second: after.saturating_sub(before) as f64 / WATCHED.as_secs_f64(),
        rss_mib: stats::memory_mib(server.pid, "VmRSS")?,
        ..Outcome::default()
    })
}

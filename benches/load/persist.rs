//! Streams of Outpost beside JetStream's: `make bench` puts the table into the section `persist`.
//!
//! Each column is a server and how sure it is before it acknowledges. Outpost *full* and JetStream with `sync_interval: always`
//! have synced to the disk; Outpost *normal* and JetStream as it comes have written to the kernel.

use std::{
    io,
    time::{Duration, Instant},
};

use tokio::time::timeout;

use super::{
    Args,
    client::Kind,
    report::{Better, Budget, number},
    server::{Programs, Server, Storage},
    stats::{self, Latencies, median},
    stream::{Heard, Stream, checked, each_payload},
};

/// A run without any answer for that long has failed.
const STALLED: Duration = Duration::from_secs(60);
/// Messages that are replayed.
const REPLAYED: u64 = 100_000;
/// Keys of the key-value store.
const KEYS: u64 = 1000;
/// The large store: streams, and messages in each.
const STREAMS: (u64, u16) = (10_000, 100);

/// The columns.
const COLUMNS: [(&str, Kind, Storage); 4] = [
    ("Outpost, full", Kind::Outpost, Storage::Synced),
    ("JetStream, sync always", Kind::Nats, Storage::Synced),
    ("Outpost, normal", Kind::Outpost, Storage::Written),
    ("JetStream, default", Kind::Nats, Storage::Written),
];

/// What a run showed.
#[derive(Clone, Copy, Debug, Default)]
struct Outcome {
    per_second: f64,
    /// p50 and p99 in milliseconds.
    latency_ms: [f64; 2],
    /// The server's processor time per operation.
    cpu_us: f64,
}

#[derive(Clone, Copy, Debug)]
enum Workload {
    Append { in_flight: u64, bytes: usize },
    Set { in_flight: u64 },
    Replay,
    Feed,
}

fn fill(payload: &mut [u8], epoch: Instant) {
    if let Some(begin) = payload.first_chunk_mut() {
        *begin = (epoch.elapsed().as_nanos() as u64).to_le_bytes();
    }
}

fn age(payload: &[u8], epoch: Instant) -> u64 {
    let sent = payload.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    (epoch.elapsed().as_nanos() as u64).saturating_sub(sent)
}

impl Outcome {
    fn new(server: &Server, count: u64, elapsed: Duration, cpu: Duration, latencies: Latencies) -> io::Result<Outcome> {
        let [p50, p99, _] = latencies.percentiles();
        let cpu = stats::cpu_time(server.pid)?.saturating_sub(cpu);
        Ok(Outcome {
            per_second: count as f64 / elapsed.as_secs_f64(),
            latency_ms: [p50 / 1e3, p99 / 1e3],
            cpu_us: cpu.as_secs_f64() * 1e6 / count as f64,
        })
    }
}

/// Appends, so many at a time, until the time is over or there are enough.
async fn append(
    server: &Server,
    stream: &mut Stream,
    in_flight: u64,
    bytes: usize,
    keyed: bool,
    (at_most, enough): (Duration, u64),
) -> io::Result<Outcome> {
    let epoch = Instant::now();
    let cpu = stats::cpu_time(server.pid)?;
    let mut payload = vec![b'x'; bytes];
    let (mut sent, mut answered) = (0, 0);
    let mut asked = std::collections::VecDeque::new();
    let mut latencies = Latencies::default();
    let Stream { client, asking } = stream;
    let mut failed = None;
    for _ in 0..in_flight.min(enough) {
        fill(&mut payload, epoch);
        asking.append(&mut client.outgoing, keyed.then_some(sent % KEYS), &payload);
        asked.push_back(Instant::now());
        sent += 1;
    }
    client.flush().await?;
    while answered < sent && failed.is_none() {
        let read = client.read(|delivery, out| {
            let Heard::Answer(answer) = asking.hear(&delivery, out) else { return };
            failed = failed.take().or_else(|| checked(&delivery, answer).err());
            answered += 1;
            // Answers come in the order of requests.
            latencies.add(asked.pop_front().map_or(0, |at| at.elapsed().as_nanos() as u64));
            if sent < enough && epoch.elapsed() < at_most {
                fill(&mut payload, epoch);
                asking.append(out, keyed.then_some(sent % KEYS), &payload);
                asked.push_back(Instant::now());
                sent += 1;
            }
        });
        timeout(STALLED, read).await.map_err(|_| io::Error::other("nothing is answered any more"))??;
        client.flush().await?;
    }
    if let Some(error) = failed {
        return Err(error);
    }
    Outcome::new(server, answered, epoch.elapsed(), cpu, latencies)
}

async fn replay(kind: Kind, server: &Server, stream: &mut Stream, name: &str) -> io::Result<Outcome> {
    let everything = (Duration::from_secs(600), REPLAYED);
    append(server, stream, 1000, 128, false, everything).await?;
    let mut reader = Stream::open(kind, &server.address, name, false, false).await?;
    let epoch = Instant::now();
    let cpu = stats::cpu_time(server.pid)?;
    let found = count(kind, &mut reader, name, REPLAYED).await?;
    if found != REPLAYED {
        return Err(io::Error::other(format!("{found} of {REPLAYED} messages were replayed")));
    }
    Outcome::new(server, found, epoch.elapsed(), cpu, Latencies::default())
}

/// Replays a stream until its end, or until there were so many messages.
async fn count(kind: Kind, reader: &mut Stream, name: &str, enough: u64) -> io::Result<u64> {
    reader.replay(name).await?;
    let Stream { client, asking } = reader;
    let (mut count, mut ended) = (0, false);
    while !ended && count < enough {
        let read = client.read(|delivery, out| match asking.hear(&delivery, out) {
            Heard::Messages(messages) => each_payload(kind, messages, |_| count += 1),
            Heard::End => ended = true,
            Heard::Answer(_) | Heard::Nothing => {}
        });
        timeout(STALLED, read).await.map_err(|_| io::Error::other("the replay does not go on"))??;
    }
    Ok(count)
}

/// From before a message is sent until another client has it from the feed; one message at a time.
async fn feed(kind: Kind, server: &Server, stream: &mut Stream, name: &str) -> io::Result<Outcome> {
    const MESSAGES: u64 = 100;
    /// Outpost's feed collects for 30 ms behind each event; this is about quiet streams.
    const PAUSE: Duration = Duration::from_millis(50);

    let mut reader = Stream::open(kind, &server.address, name, false, true).await?;
    let epoch = Instant::now();
    let cpu = stats::cpu_time(server.pid)?;
    let mut latencies = Latencies::default();
    let mut payload = vec![b'x'; 128];
    for number in 0..MESSAGES {
        fill(&mut payload, epoch);
        stream.asking.append(&mut stream.client.outgoing, None, &payload);
        stream.answer().await?;
        let mut heard = 0;
        while heard == 0 {
            let Stream { client, asking } = &mut reader;
            let read = client.read(|delivery, out| {
                if let Heard::Messages(messages) = asking.hear(&delivery, out) {
                    each_payload(kind, messages, |payload| {
                        latencies.add(age(payload, epoch));
                        heard += 1;
                    });
                }
            });
            timeout(STALLED, read)
                .await
                .map_err(|_| io::Error::other(format!("message {number} is not in the feed")))??;
            client.flush().await?;
        }
        tokio::time::sleep(PAUSE).await;
    }
    Outcome::new(server, MESSAGES, epoch.elapsed(), cpu, latencies)
}

async fn run(
    kind: Kind,
    storage: Storage,
    programs: &Programs,
    workload: Workload,
    seconds: f64,
) -> io::Result<Outcome> {
    const NAME: &str = "bench";
    let storage = match (workload, kind) {
        // Filling the stream would take minutes, and reading is the same.
        (Workload::Replay, Kind::Nats | Kind::Coalesced) => Storage::Written,
        _ => storage,
    };
    let server = Server::start_with(kind, programs, "persist", storage).await?;
    let keyed = matches!(workload, Workload::Set { .. });
    let mut stream = Stream::open(kind, &server.address, NAME, keyed, false).await?;
    let (warm, time) = (Duration::from_secs_f64(seconds / 10.0), Duration::from_secs_f64(seconds));
    let outcome = match workload {
        Workload::Append { in_flight, bytes } => {
            append(&server, &mut stream, in_flight, bytes, false, (warm, u64::MAX)).await?;
            append(&server, &mut stream, in_flight, bytes, false, (time, u64::MAX)).await
        }
        Workload::Set { in_flight } => {
            append(&server, &mut stream, in_flight, 128, true, (warm, u64::MAX)).await?;
            append(&server, &mut stream, in_flight, 128, true, (time, u64::MAX)).await
        }
        Workload::Replay => replay(kind, &server, &mut stream, NAME).await,
        Workload::Feed => feed(kind, &server, &mut stream, NAME).await,
    };
    server.stop().await?;
    outcome
}

/// A line of the table.
struct Row {
    what: String,
    better: Better,
    budget: Budget,
    values: [Vec<f64>; COLUMNS.len()],
}

/// Measures everything and gives the table.
pub async fn measure(programs: &Programs, args: &Args) -> io::Result<String> {
    let as_peer = Budget { limit: None, as_peer: true };
    let none = Budget { limit: None, as_peer: false };
    let plan = [
        ("append 128 B, 1 in flight", Workload::Append { in_flight: 1, bytes: 128 }, as_peer, none),
        (
            "append 128 B, 64 in flight",
            Workload::Append { in_flight: 64, bytes: 128 },
            Budget { limit: Some(50_000.0), as_peer: true },
            Budget { limit: Some(20.0), as_peer: false },
        ),
        ("append 100 B, 100 in flight", Workload::Append { in_flight: 100, bytes: 100 }, as_peer, none),
        ("append 10 KB, 1 in flight", Workload::Append { in_flight: 1, bytes: 10_000 }, as_peer, none),
        ("append 10 KB, 64 in flight", Workload::Append { in_flight: 64, bytes: 10_000 }, as_peer, none),
        ("append 10 KB, 100 in flight", Workload::Append { in_flight: 100, bytes: 10_000 }, as_peer, none),
        ("set a key of 1000, 64 in flight", Workload::Set { in_flight: 64 }, as_peer, none),
        ("replay of 100 000", Workload::Replay, Budget { limit: Some(300_000.0), as_peer: true }, none),
        ("feed", Workload::Feed, none, none),
    ];
    let mut rows = Vec::new();
    for (name, workload, rate, p99) in plan.into_iter().filter(|(name, ..)| name.contains(&args.only)) {
        let mut outcomes: [Vec<Outcome>; COLUMNS.len()] = Default::default();
        for run_number in 0..args.runs {
            for (column, (title, kind, storage)) in COLUMNS.iter().enumerate() {
                if args.server.is_some_and(|only| only != *kind) {
                    continue;
                }
                let outcome = run(*kind, *storage, programs, workload, 3.0 * args.scale).await?;
                let [p50, p99] = outcome.latency_ms;
                eprintln!(
                    "{name:<32} run {} {title:<22} {:>9.0}/s  server {:>7.2} µs each  p50 {p50:.2} p99 {p99:.2} ms",
                    run_number + 1,
                    outcome.per_second,
                    outcome.cpu_us,
                );
                outcomes[column].push(outcome);
            }
        }
        let mut row = |what: &str, better, budget, value: fn(&Outcome) -> f64| {
            let values = outcomes.each_ref().map(|outcomes| outcomes.iter().map(value).collect());
            rows.push(Row { what: format!("{name}: {what}"), better, budget, values });
        };
        if !matches!(workload, Workload::Feed) {
            row("per second", Better::Higher, rate, |o| o.per_second);
            row("server CPU each, µs", Better::Lower, none, |o| o.cpu_us);
        }
        if !matches!(workload, Workload::Replay) {
            row("p50, ms", Better::Lower, none, |o| o.latency_ms[0]);
            row("p99, ms", Better::Lower, p99, |o| o.latency_ms[1]);
        }
    }
    if "large store".contains(&args.only) {
        rows.extend(large_store(programs, args).await?);
    }
    Ok(table(&rows))
}

/// Start, memory and appends with a million messages in ten thousand streams, beside an empty store.
async fn large_store(programs: &Programs, args: &Args) -> io::Result<Vec<Row>> {
    let (streams, each) = STREAMS;
    let streams = ((streams as f64 * args.scale.min(1.0)) as u64).max(10);
    let mut numbers: Vec<[f64; 3]> = Vec::new();
    for full in [false, true] {
        let mut server = Server::start_with(Kind::Outpost, programs, "persist", Storage::Written).await?;
        if full {
            populate(&server, streams, each).await?;
        }
        // Once more, with what is there now and as sure as by default.
        let started = server.restart(programs, Storage::Synced).await?;
        let memory = stats::memory_mib(server.pid, "VmRSS")?;
        if full {
            // What is not there would be quick as well.
            let last = format!("many/{}", streams - 1);
            let mut reader = Stream::open(Kind::Outpost, &server.address, &last, false, false).await?;
            let found = count(Kind::Outpost, &mut reader, &last, u64::from(each)).await?;
            if found != u64::from(each) {
                return Err(io::Error::other(format!("{found} of {each} messages are in the stream {last}")));
            }
        }
        let mut stream = Stream::open(Kind::Outpost, &server.address, "bench", false, false).await?;
        let time = Duration::from_secs_f64(3.0 * args.scale);
        let outcome = append(&server, &mut stream, 64, 128, false, (time, u64::MAX)).await?;
        numbers.push([started.as_secs_f64() * 1e3, memory, outcome.per_second]);
        eprintln!("large store: {full} {:?}", numbers.last());
        server.stop().await?;
    }
    let messages = streams * u64::from(each);
    let budget = |limit| Budget { limit, as_peer: false };
    let what = [
        ("start to first answer, ms", Better::Lower, [budget(Some(50.0)), budget(Some(150.0))]),
        ("memory, MiB", Better::Lower, [budget(Some(15.0)), budget(None)]),
        ("append 128 B, 64 in flight: per second", Better::Higher, [budget(None), budget(None)]),
    ];
    let mut rows = Vec::new();
    for (index, (what, better, budgets)) in what.into_iter().enumerate() {
        for (numbers, (store, budget)) in numbers
            .iter()
            .zip([("empty".to_owned(), budgets[0]), (format!("{messages} messages in {streams} streams"), budgets[1])])
        {
            let values = [vec![numbers[index]], Vec::new(), Vec::new(), Vec::new()];
            rows.push(Row { what: format!("store {store}: {what}"), better, budget, values });
        }
    }
    Ok(rows)
}

async fn populate(server: &Server, streams: u64, each: u16) -> io::Result<()> {
    const CLIENTS: u64 = 8;
    let mut tasks = tokio::task::JoinSet::new();
    for client in 0..CLIENTS {
        let address = server.address.clone();
        tasks.spawn(async move {
            let payload = [b'x'; 128];
            for number in (client..streams).step_by(CLIENTS as usize) {
                let name = format!("many/{number}");
                let mut stream = Stream::open(Kind::Outpost, &address, &name, false, false).await?;
                stream.asking.append_many(&mut stream.client.outgoing, each, &payload);
                stream.answer().await?;
                stream.close().await?;
            }
            io::Result::Ok(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}

fn table(rows: &[Row]) -> String {
    let mut out = String::from("| |");
    COLUMNS.iter().for_each(|(title, ..)| out.push_str(&format!(" {title} |")));
    out.push_str(" budget | |\n|---|--:|--:|--:|--:|---|---|\n");
    for Row { what, better, budget, values } in rows {
        let [full, synced, normal, written] = values.each_ref().map(|values| median(values.clone()));
        let (full_text, normal_text) = (number(full), number(normal));
        let (synced_text, written_text) = (better.beside(full, synced), better.beside(normal, written));
        let (limit, verdict) = budget.judge(*better, full, &[("1×", better.factor(full, synced))]);
        out.push_str(&format!(
            "| {what} | {full_text} | {synced_text} | {normal_text} | {written_text} | {limit} | {verdict} |\n"
        ));
    }
    out
}

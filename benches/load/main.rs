//! Outpost and nats-server under the same load, over WebSocket, on this machine: `make bench`.
//!
//! Runs of the two alternate, each on a fresh server; the table shows medians. The generator is one program for both; see
//! `client.rs` for all that differs. A request is an acknowledged publish on Outpost and a plain one on NATS, as their clients
//! do it. NATS is measured twice: with a WebSocket message for every published message, and with many in one.

mod client;
mod persist;
mod report;
mod server;
mod socket;
mod stats;
mod stream;
mod workload;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use clap::Parser;

use client::Kind;
use report::{Better, Budget, Row};
use server::Programs;
use workload::{Outcome, Workload};

/// Measures Outpost beside nats-server.
#[derive(Debug, Parser)]
#[command(args_override_self = true)]
struct Args {
    /// The program to measure.
    #[arg(long, env = "OUTPOST_BIN", default_value = "target/release/outpost")]
    outpost: PathBuf,
    /// The peer.
    #[arg(long, env = "NATS_BIN", default_value = "nats-server")]
    nats: PathBuf,
    /// Runs of each workload; the table shows medians.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Makes every workload that much longer or shorter.
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// Only workloads whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
    /// Only this server.
    #[arg(long, value_enum)]
    server: Option<Kind>,
    /// A Markdown file whose section between the markers `load` gets the table.
    #[arg(long)]
    write: Option<PathBuf>,
    /// Instead of messages, measures streams, and writes the section `persist`.
    #[arg(long)]
    persist: bool,
    /// Instead of measuring, puts what Criterion left in this folder into the section `inside` of that file.
    #[arg(long)]
    criterion: Option<PathBuf>,
    /// What cargo passes to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args = Args::parse();
    if let Some(folder) = &args.criterion {
        let table = report::criterion(folder)?;
        println!("{table}");
        if let Some(path) = &args.write {
            report::write_section(path, "inside", &table)?;
        }
        return Ok(());
    }
    raise_descriptor_limit();
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(measure(args))
}

/// Connections need descriptors, here and in the servers, which inherit the limit.
fn raise_descriptor_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

/// Outcomes of all runs of a workload.
#[derive(Default)]
struct Outcomes {
    outpost: Vec<Outcome>,
    nats: Vec<Outcome>,
    coalesced: Vec<Outcome>,
}

impl Outcomes {
    fn row(&self, what: &str, better: Better, budget: Budget, value: impl Fn(&Outcome) -> f64) -> Row {
        let values = |outcomes: &[Outcome]| outcomes.iter().map(&value).collect();
        Row {
            what: what.to_owned(),
            better,
            budget,
            outpost: values(&self.outpost),
            nats: values(&self.nats),
            coalesced: values(&self.coalesced),
        }
    }
}

const NONE: Budget = Budget { limit: None, as_peer: false };

const fn limit(limit: f64) -> Budget {
    Budget { limit: Some(limit), as_peer: false }
}

const fn limit_and_peer(limit: f64) -> Budget {
    Budget { limit: Some(limit), as_peer: true }
}

async fn measure(args: Args) -> Result<(), Box<dyn std::error::Error>> {
    let programs = Programs {
        outpost: fs::canonicalize(&args.outpost).unwrap_or_else(|_| args.outpost.clone()),
        nats: args.nats.clone(),
    };
    if args.persist {
        let text = format!("{}\n{}", machine(&programs, &args), persist::measure(&programs, &args).await?);
        println!("{text}");
        if let Some(path) = &args.write {
            report::write_section(path, "persist", &text)?;
        }
        return Ok(());
    }
    let scaled = |count: u64| ((count as f64 * args.scale) as u64).max(100);
    let plan = [
        ("publish 1→1", Workload::Publish { subscribers: 1, messages: scaled(3_000_000) }),
        ("publish 1→100", Workload::Publish { subscribers: 100, messages: scaled(60_000) }),
        ("request 1 in flight", Workload::Request { in_flight: 1, requests: scaled(60_000) }),
        ("request 100 in flight", Workload::Request { in_flight: 100, requests: scaled(300_000) }),
        ("connections", Workload::Connections { count: scaled(10_000) }),
        ("idle", Workload::Idle),
    ];
    let mut rows = Vec::new();
    let (mut ordered, mut inversions) = (0, 0);
    for (name, workload) in plan.into_iter().filter(|(name, _)| name.contains(&args.only)) {
        let mut outcomes = Outcomes::default();
        for run in 0..args.runs {
            let mut order = vec![Kind::Outpost, Kind::Nats];
            // Elsewhere it makes no difference: there is one message at a time, or none.
            if matches!(workload, Workload::Publish { .. } | Workload::Request { in_flight: 2.., .. }) {
                order.push(Kind::Coalesced);
            }
            if run % 2 == 1 {
                order.reverse();
            }
            for kind in order.into_iter().filter(|kind| args.server.is_none_or(|only| only == *kind)) {
                let outcome = workload::run(kind, &programs, workload).await?;
                let [p50, p99, p999] = outcome.latency_us;
                eprintln!(
                    "{name:<22} run {} {kind:<8?} {:>10.0}/s  server {:>6.2} µs each  p50 {p50:.0} p99 {p99:.0} p99.9 {p999:.0} µs  {:.1} MiB",
                    run + 1,
                    outcome.per_second,
                    outcome.cpu_us,
                    outcome.rss_mib,
                );
                match kind {
                    Kind::Outpost => outcomes.outpost.push(outcome),
                    Kind::Nats => outcomes.nats.push(outcome),
                    Kind::Coalesced => outcomes.coalesced.push(outcome),
                }
            }
        }
        if matches!(workload, Workload::Publish { .. }) {
            ordered += outcomes.outpost.iter().map(|o| o.arrived).sum::<u64>();
            inversions += outcomes.outpost.iter().map(|o| o.inversions).sum::<u64>();
        }
        rows.extend(rows_of(name, workload, &outcomes));
    }
    if ordered > 0 {
        let what = format!("order: inversions in {:.1} million deliveries", ordered as f64 / 1e6);
        rows.push(Row {
            what,
            better: Better::Lower,
            budget: limit(0.0),
            outpost: vec![inversions as f64],
            ..Row::default()
        });
    }
    if args.only.is_empty() {
        let size = fs::metadata(&programs.outpost)?.len() as f64 / f64::from(1 << 20);
        let what = "binary, MiB".to_owned();
        rows.push(Row { what, better: Better::Lower, budget: limit(16.0), outpost: vec![size], ..Row::default() });
    }
    let text = format!("{}\n{}", machine(&programs, &args), report::table(&rows));
    println!("{text}");
    if let Some(path) = &args.write {
        report::write_section(path, "load", &text)?;
        eprintln!("written to {}", path.display());
    }
    Ok(())
}

fn rows_of(name: &str, workload: Workload, outcomes: &Outcomes) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut row = |what: &str, better, budget, value: fn(&Outcome) -> f64| {
        rows.push(outcomes.row(&format!("{name}: {what}"), better, budget, value));
    };
    let latencies = [
        ("p50, µs", (|o| o.latency_us[0]) as fn(&Outcome) -> f64),
        ("p99, µs", |o| o.latency_us[1]),
        ("p99.9, µs", |o| o.latency_us[2]),
    ];
    match workload {
        Workload::Publish { subscribers, .. } => {
            let budget = if subscribers == 1 { 150_000.0 } else { 500_000.0 };
            row("deliveries per second", Better::Higher, limit_and_peer(budget), |o| o.per_second);
            row("server CPU per delivery, µs", Better::Lower, NONE, |o| o.cpu_us);
            for (what, value) in latencies {
                row(&format!("under that load {what}"), Better::Neither, NONE, value);
            }
        }
        Workload::Request { in_flight: 1, .. } => {
            row("requests per second", Better::Higher, Budget { limit: None, as_peer: true }, |o| o.per_second);
            for ((what, value), budget) in latencies.into_iter().zip([limit(100.0), limit(500.0), NONE]) {
                row(what, Better::Lower, budget, value);
            }
            row("server CPU per request, µs", Better::Lower, NONE, |o| o.cpu_us);
        }
        Workload::Request { .. } => {
            row("requests per second", Better::Higher, Budget { limit: None, as_peer: true }, |o| o.per_second);
            row("server CPU per request, µs", Better::Lower, limit(10.0), |o| o.cpu_us);
            for (what, value) in latencies {
                row(what, Better::Lower, NONE, value);
            }
        }
        Workload::Connections { count } => {
            row("opened per second", Better::Higher, NONE, |o| o.per_second);
            row(&format!("memory with {count} open, MiB"), Better::Lower, limit(250.0), |o| o.rss_mib);
            row("messages lost right after connecting", Better::Lower, limit(0.0), |o| o.lost as f64);
        }
        Workload::Idle => {
            row("start to first answer, ms", Better::Lower, limit(50.0), |o| o.start_up_ms);
            row("memory, MiB", Better::Lower, limit(15.0), |o| o.rss_mib);
            row("wake-ups per second", Better::Lower, limit(5.0), |o| o.per_second);
            return rows;
        }
    }
    if !matches!(workload, Workload::Connections { .. }) {
        row("server memory afterwards, MiB", Better::Lower, NONE, |o| o.rss_mib);
    }
    rows
}

/// What was measured where.
fn machine(programs: &Programs, args: &Args) -> String {
    let output = |program: &Path, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output().ok().filter(|output| output.status.success());
        output.map_or_else(|| "unknown".to_owned(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model =
        cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map_or("", |(_, name)| name);
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!(
        "{}, commit {}, beside {}; {cores} cores of {model}, Linux {}; medians of {} runs, payload {} bytes{}.\n",
        output(&programs.outpost, &["--version"]).lines().next().unwrap_or_default(),
        output(Path::new("git"), &["describe", "--always", "--dirty"]),
        output(&programs.nats, &["--version"]).replace(": ", " "),
        kernel.trim(),
        args.runs,
        workload::PAYLOAD_BYTES,
        if args.scale == 1.0 { String::new() } else { format!(", scale {}", args.scale) },
    )
}

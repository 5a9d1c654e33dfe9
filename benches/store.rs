//! How fast the store is: appends that are durable, and reading them back.
//!
//! `cargo bench --bench store [-- <directory>]`; the directory tells which disk is measured, by default the one of
//! `target`. Each line is one question; the settings are in it.

#![allow(clippy::unwrap_used)]

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use outpost::{
    config::Durability,
    persist::store::{OpenOptions, Range, Set, Store, StoreOptions, Stream},
};

const SIZE: usize = 128;
const IN_FLIGHT: usize = 64;
const RUN: Duration = Duration::from_secs(5);

fn main() {
    // Cargo passes `--bench`.
    let disk = std::env::args().skip(1).find(|arg| !arg.starts_with("--"));
    let disk = disk.map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), PathBuf::from);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    fsync_alone(&disk);
    for durability in [Durability::Full, Durability::Normal] {
        runtime.block_on(measure(&disk, durability));
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    println!("memory: {}", status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or("unknown"));
}

/// What the disk itself takes: a write of 20 KiB and its sync.
fn fsync_alone(disk: &Path) {
    use std::{io::Write, os::unix::fs::FileExt};

    let mut file = tempfile::tempfile_in(disk).unwrap();
    let block = vec![1; 20 * 1024];
    for _ in 0..200 {
        file.write_all(&block).unwrap();
    }
    file.sync_all().unwrap();
    let mut times = Vec::new();
    for i in 0..200 {
        let begun = Instant::now();
        file.write_all_at(&block, i * 20 * 1024).unwrap();
        file.sync_data().unwrap();
        times.push(begun.elapsed());
    }
    println!("disk: 20 KiB and fdatasync: {}", spread(&mut times));
}

async fn measure(disk: &Path, durability: Durability) {
    let dir = tempfile::tempdir_in(disk).unwrap();
    let path = dir.path().join("streams.db");
    let store = Store::open(StoreOptions { path, durability, release_grace: Duration::ZERO, observer: None }).unwrap();
    for (what, streams, keys) in [("1 stream", 1, false), ("64 streams", 64, false), ("64 streams, keyed", 64, true)] {
        append(&store, durability, what, streams, keys).await;
    }
    let one = store.stream("hub/single", OpenOptions::default()).await.unwrap();
    let mut times = Vec::new();
    let begun = Instant::now();
    while begun.elapsed() < RUN / 4 {
        times.push(put(&one, 0, false).await);
    }
    println!("{durability:?}: one at a time: {}", spread(&mut times));
    let first = store.stream("hub/1 stream-0", OpenOptions::default()).await.unwrap();
    replay(&first).await;
    drop((first, one));
    let begun = Instant::now();
    store.close().await;
    println!("{durability:?}: close in {:?}", begun.elapsed());
}

async fn put(stream: &Stream, n: usize, keyed: bool) -> Duration {
    let begun = Instant::now();
    let key = keyed.then(|| format!("key-{}", n % 1000).into());
    let set = Set { raw: vec![n as u8; SIZE].into(), key, ..Set::default() };
    stream.set(set).await.unwrap().await.unwrap();
    begun.elapsed()
}

async fn append(store: &Store, durability: Durability, what: &str, streams: usize, keyed: bool) {
    let stats = store.stats();
    let (commits, jobs) = (stats.commits.get(), stats.jobs.get());
    let begun = Instant::now();
    let mut writers = Vec::new();
    for i in 0..IN_FLIGHT {
        let path = format!("hub/{what}-{}", i % streams);
        let stream = store.stream(&path, OpenOptions::default()).await.unwrap();
        writers.push(tokio::spawn(async move {
            let mut times = Vec::new();
            while begun.elapsed() < RUN {
                times.push(put(&stream, times.len(), keyed).await);
            }
            times
        }));
    }
    let mut times = Vec::new();
    for writer in writers {
        times.extend(writer.await.unwrap());
    }
    let rate = times.len() as f64 / begun.elapsed().as_secs_f64();
    let group = (stats.jobs.get() - jobs) as f64 / (stats.commits.get() - commits) as f64;
    println!(
        "{durability:?}: {what}, {SIZE} B, {IN_FLIGHT} in flight: {rate:.0} appends/s, {group:.1} to a commit, {}",
        spread(&mut times)
    );
}

async fn replay(stream: &Stream) {
    let begun = Instant::now();
    let mut pages = stream.range(Range::default()).await.unwrap();
    let mut count = 0_usize;
    loop {
        let page = pages.next(1 << 20).await.unwrap();
        if page.is_empty() {
            break;
        }
        count += page.len();
    }
    let rate = count as f64 / begun.elapsed().as_secs_f64();
    println!("replay of {count} messages: {rate:.0} messages/s");
}

fn spread(times: &mut [Duration]) -> String {
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    format!("p50 {:?}, p99 {:?}, worst {:?}", at(0.5), at(0.99), at(1.0))
}

//! What people see while a measurement runs.

use std::{
    io::{self, IsTerminal as _, Write as _},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{task::JoinHandle, time::interval};

#[derive(Debug, Default)]
struct Counts {
    done: AtomicU64,
    total: AtomicU64,
}

/// A line on standard error that says how far things are, if somebody looks.
pub(super) struct Progress {
    counts: Arc<Counts>,
    painter: Option<JoinHandle<()>>,
}

impl Progress {
    pub fn start() -> Progress {
        let counts = Arc::<Counts>::default();
        let painter = io::stderr().is_terminal().then(|| tokio::spawn(paint(counts.clone())));
        Progress { counts, painter }
    }

    /// How much there is to do.
    pub fn expect(&self, total: u64) {
        self.counts.total.store(total, Ordering::Relaxed);
    }

    /// Some of it is done.
    pub fn add(&self, n: u64) {
        self.counts.done.fetch_add(n, Ordering::Relaxed);
    }

    /// A handle for a task of its own.
    pub fn counter(&self) -> impl Fn(u64) + Send + use<> {
        let counts = self.counts.clone();
        move |n| {
            counts.done.fetch_add(n, Ordering::Relaxed);
        }
    }

    pub fn finish(self) {
        if let Some(painter) = self.painter {
            painter.abort();
            // Somebody who does not look misses nothing.
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

async fn paint(counts: Arc<Counts>) {
    let started = Instant::now();
    let mut ticks = interval(Duration::from_millis(200));
    loop {
        ticks.tick().await;
        let (done, total) = (counts.done.load(Ordering::Relaxed), counts.total.load(Ordering::Relaxed).max(1));
        let rate = done as f64 / started.elapsed().as_secs_f64().max(0.001);
        let _ = write!(io::stderr(), "\r\x1b[K{:3} %  {done} of {total}  {rate:.0}/s", done * 100 / total);
        let _ = io::stderr().flush();
    }
}

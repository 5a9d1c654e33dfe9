//! Signals: stop and reload.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::{mpsc, oneshot},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::config::Config;

/// A second signal after this time means that somebody does not want to wait.
const IMPATIENT_AFTER: Duration = Duration::from_secs(1);

/// New settings for parts that run.
#[derive(Debug)]
pub struct Reload {
    /// The settings: live ones are new, the others as they were.
    pub config: Arc<Config>,
    /// Told when the parts use them and the certificate was read again, or what went wrong.
    pub done: oneshot::Sender<Result<(), String>>,
}

/// What signals ask for.
#[derive(Debug)]
pub struct Signals {
    /// Cancelled by the first SIGTERM, SIGINT or SIGQUIT. Another one a second or more later ends the
    /// process at once.
    pub shutdown: CancellationToken,
    /// One item per SIGHUP; several that come while one waits count as one.
    pub reload: mpsc::Receiver<()>,
}

/// Begins to listen to signals; needs a runtime.
///
/// # Errors
/// When the system refuses.
pub fn listen() -> io::Result<Signals> {
    let end = [signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?, signal(SignalKind::quit())?];
    let hangup = signal(SignalKind::hangup())?;
    let shutdown = CancellationToken::new();
    let (reload_sender, reload) = mpsc::channel(1);
    tokio::spawn(wait(end, hangup, shutdown.clone(), reload_sender));
    Ok(Signals { shutdown, reload })
}

async fn wait(end: [Signal; 3], mut hangup: Signal, shutdown: CancellationToken, reload: mpsc::Sender<()>) {
    let [mut term, mut int, mut quit] = end;
    let mut first = None;
    loop {
        let name = tokio::select! {
            _ = term.recv() => "SIGTERM",
            _ = int.recv() => "SIGINT",
            _ = quit.recv() => "SIGQUIT",
            _ = hangup.recv() => {
                // A full channel holds a reload that has not begun: it will see this change as well.
                let _ = reload.try_send(());
                continue;
            }
        };
        match first {
            None => {
                info!(signal = name, "stopping");
                shutdown.cancel();
                first = Some(Instant::now());
            }
            // Some programs signal a process and then its group, which is one wish said twice.
            Some(at) if at.elapsed() < IMPATIENT_AFTER => {}
            Some(_) => {
                warn!(signal = name, "second signal: leaving at once");
                std::process::exit(1);
            }
        }
    }
}

//! What drives one end of a virtual socket while it is ready: sending, reports, gaps, pings.

use std::{
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::time::Instant;

use super::{
    endpoint::{Endpoint, Role},
    options::{Reason, SocketState},
};
use crate::bus::{Error, State};

/// Shortest period of looking whether anybody listens when pings are off.
const MIN_PROBE: Duration = Duration::from_secs(1);

/// Why the driver has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The socket is closed.
    Closed,
    /// The client of the bus has lost its connection.
    Disconnected,
    /// The peer does not answer.
    Gone,
}

enum Done {
    /// A report or a fetch; what came of it is in the channel.
    Control,
    /// A ping.
    Ping(Result<(), Error>),
}

type Work = FuturesUnordered<Pin<Box<dyn Future<Output = Done> + Send>>>;

/// Runs a socket that is ready, until it isn't. `returning` is true when the way to the peer was lost before; the peer may
/// need some time to come back then.
pub(super) async fn run(endpoint: &Arc<Endpoint>, returning: bool) -> Outcome {
    let options = &endpoint.options;
    let mut status = endpoint.core.status.subscribe();
    let generation = status.borrow_and_update().generation;
    let mut work: Work = FuturesUnordered::new();
    let mut ping_at = Some(Instant::now());
    let mut first_ping = true;
    endpoint.channel.lock().reconnected(Instant::now());
    endpoint.flush();
    loop {
        if endpoint.is_closed() {
            return Outcome::Closed;
        }
        if endpoint.restart.swap(false, Ordering::AcqRel) {
            return Outcome::Gone;
        }
        {
            let status = status.borrow();
            match status.state {
                State::Closed => {
                    endpoint.close(Reason::Bus);
                    return Outcome::Closed;
                }
                State::Connected if status.generation == generation => {}
                _ => return Outcome::Disconnected,
            }
        }
        let now = Instant::now();
        if ping_at.is_some_and(|at| at <= now) {
            ping_at = None;
            let wait = std::mem::take(&mut first_ping) && endpoint.role == Role::Server;
            work.push(ping(endpoint.clone(), wait, returning));
        }
        let deadline = step(endpoint, &mut work, now);
        if endpoint.role == Role::Server && *endpoint.heard.lock() + options.times.silence <= now {
            endpoint.close(Reason::Gone);
            return Outcome::Closed;
        }
        // A client sweeps nobody.
        let silence = (endpoint.role == Role::Server).then(|| *endpoint.heard.lock() + options.times.silence);
        let next = [deadline, ping_at, silence].into_iter().flatten().min();
        tokio::select! {
            () = endpoint.wake.notified() => {}
            Some(done) = work.next(), if !work.is_empty() => match done {
                Done::Control => {}
                Done::Ping(Ok(())) => ping_at = Some(Instant::now() + period(endpoint)),
                // The next round finds out.
                Done::Ping(Err(Error::Disconnected | Error::Closed)) => ping_at = Some(Instant::now() + MIN_PROBE),
                Done::Ping(Err(error)) => {
                    tracing::debug!(subject = endpoint.base, socket = endpoint.id, %error, "the peer of a socket is gone");
                    return Outcome::Gone;
                }
            },
            () = sleep_until(next) => {}
            _ = status.changed() => {}
        }
    }
}

async fn sleep_until(next: Option<Instant>) {
    match next {
        Some(next) => tokio::time::sleep_until(next).await,
        None => std::future::pending().await,
    }
}

/// Time between two pings, or between two looks when pings are off.
fn period(endpoint: &Endpoint) -> Duration {
    let options = &endpoint.options;
    if options.keep_alive.is_zero() { options.keep_alive_timeout.max(MIN_PROBE) } else { options.keep_alive }
}

fn ping(endpoint: Arc<Endpoint>, wait: bool, returning: bool) -> Pin<Box<dyn Future<Output = Done> + Send>> {
    Box::pin(async move {
        let options = &endpoint.options;
        let mut timeout = options.keep_alive_timeout;
        if returning && wait {
            timeout = timeout.max(options.times.grace);
        }
        if !options.keep_alive.is_zero() {
            return Done::Ping(endpoint.clone().ping(timeout, wait).await);
        }
        if endpoint.role == Role::Client {
            return Done::Ping(Ok(()));
        }
        let peer = endpoint.peer.lock().clone();
        let patience = if wait { timeout } else { Duration::ZERO };
        let found = endpoint.core.wait_for_interest(&peer, patience).await;
        if matches!(found, Ok(true)) {
            *endpoint.heard.lock() = Instant::now();
        }
        Done::Ping(match found {
            Ok(true) => Ok(()),
            Ok(false) => Err(Error::NoSubscribers(peer)),
            Err(error) => Err(error),
        })
    })
}

/// Does what is to be done now; tells when to look again.
fn step(endpoint: &Arc<Endpoint>, work: &mut Work, now: Instant) -> Option<Instant> {
    let (report, missing) = {
        let mut channel = endpoint.channel.lock();
        let due = |at: Option<Instant>| at.is_none_or(|at| at <= now);
        let (may_report, may_fetch) = (due(channel.report_after), due(channel.fetch_after));
        let report = if may_report { channel.receiver.start_report() } else { None };
        let missing = if may_fetch { channel.receiver.start_fetch() } else { None };
        (report, missing)
    };
    if let Some(seq) = report {
        let endpoint = endpoint.clone();
        work.push(Box::pin(async move {
            endpoint.report(seq).await;
            Done::Control
        }));
    }
    if let Some(missing) = missing {
        let endpoint = endpoint.clone();
        work.push(Box::pin(async move {
            endpoint.fetch(missing).await;
            Done::Control
        }));
    }
    if let Some(bulk) = endpoint.repeat(now) {
        let endpoint = endpoint.clone();
        work.push(Box::pin(async move {
            endpoint.send_bulk(bulk).await;
            Done::Control
        }));
    }
    let channel = endpoint.channel.lock();
    let fetch = channel.fetch_after.filter(|at| channel.receiver.has_gap() && *at > now);
    let report = channel.report_after.filter(|at| *at > now);
    // While a large message is on its way nothing is repeated.
    let repeat = channel.sender.deadline().filter(|_| !channel.bulk);
    [repeat, fetch, report].into_iter().flatten().min()
}

/// Drives the server's end of a socket until it is closed.
pub(super) async fn drive_server(endpoint: Arc<Endpoint>) {
    let mut returning = false;
    loop {
        endpoint.set_state(SocketState::Ready);
        match run(&endpoint, returning).await {
            Outcome::Closed => break,
            Outcome::Gone => endpoint.close(Reason::Gone),
            Outcome::Disconnected => {
                endpoint.set_state(SocketState::Disconnected);
                wait_connected(&endpoint).await;
                *endpoint.heard.lock() = Instant::now();
                returning = true;
            }
        }
        if endpoint.is_closed() {
            break;
        }
    }
    if *endpoint.reason.lock() != Some(Reason::Peer) {
        endpoint.tell_closed();
    }
}

/// Waits until the client of the bus is connected, or closed, or the socket is.
pub(super) async fn wait_connected(endpoint: &Endpoint) {
    let mut status = endpoint.core.status.subscribe();
    let mut state = endpoint.state.subscribe();
    tokio::select! {
        // An error means that the client is gone, which its state tells as well.
        _ = status.wait_for(|s| s.state != State::Connecting) => {}
        _ = state.wait_for(|s| *s == SocketState::Closed) => {}
    }
}

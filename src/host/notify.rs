//! What we tell systemd. Without systemd every call does nothing.

use std::time::Duration;

use sd_notify::NotifyState;
use tracing::debug;

/// The server answers; `status` is a line for people.
pub fn ready(status: &str) {
    send(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// A line for people about what is going on.
pub fn status(status: &str) {
    send(&[NotifyState::Status(status)]);
}

/// A reload has begun; [`ready`] ends it.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => send(&[NotifyState::Reloading, now]),
        Err(error) => debug!(%error, "no monotonic clock"),
    }
}

/// The server has begun to stop.
pub fn stopping() {
    send(&[NotifyState::Stopping]);
}

/// A sign of life.
pub fn alive() {
    send(&[NotifyState::Watchdog]);
}

/// How often systemd wants a sign of life, halved so that one may be late; `None` when it wants none.
pub fn alive_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|timeout| timeout / 2).filter(|interval| !interval.is_zero())
}

fn send(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        debug!(%error, "systemd was not reached");
    }
}

//! When a connection has been quiet for too long.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

/// "Not now", in place of a time.
const NEVER: u64 = u64::MAX;

/// How long a connection may take for what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// For the head of a request, from its first byte (or from the connection's start).
    pub(super) head: Duration,
    /// Between requests, and for a peer that takes nothing of what we send.
    pub(super) idle: Duration,
}

/// What has happened on a connection; times are milliseconds since its start.
#[derive(Debug)]
pub(super) struct Activity {
    start: Instant,
    last: AtomicU64,
    head_since: AtomicU64,
    blocked_since: AtomicU64,
    in_flight: AtomicUsize,
    served: AtomicBool,
    multiplexed: AtomicBool,
    over: AtomicBool,
}

/// Marks a request that is being answered.
#[derive(Debug)]
pub(super) struct InFlight(Arc<Activity>);

impl Activity {
    pub(super) fn start() -> Arc<Activity> {
        Arc::new(Activity {
            start: Instant::now(),
            last: AtomicU64::new(0),
            head_since: AtomicU64::new(NEVER),
            blocked_since: AtomicU64::new(NEVER),
            in_flight: AtomicUsize::new(0),
            served: AtomicBool::new(false),
            multiplexed: AtomicBool::new(false),
            over: AtomicBool::new(false),
        })
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(NEVER - 1)
    }

    /// Nobody watches any more: the connection was taken over by another protocol.
    pub(super) fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// Bytes came in.
    pub(super) fn read(&self) {
        if self.over.load(Ordering::Relaxed) {
            return;
        }
        let now = self.now();
        self.last.store(now, Ordering::Relaxed);
        if self.in_flight.load(Ordering::Relaxed) == 0 && self.head_since.load(Ordering::Relaxed) == NEVER {
            self.head_since.store(now, Ordering::Relaxed);
        }
    }

    /// Bytes went out.
    pub(super) fn wrote(&self) {
        if self.over.load(Ordering::Relaxed) {
            return;
        }
        self.last.store(self.now(), Ordering::Relaxed);
        self.blocked_since.store(NEVER, Ordering::Relaxed);
    }

    /// The peer takes nothing just now.
    pub(super) fn blocked(&self) {
        if !self.over.load(Ordering::Relaxed) && self.blocked_since.load(Ordering::Relaxed) == NEVER {
            self.blocked_since.store(self.now(), Ordering::Relaxed);
        }
    }

    /// A whole head has come; `multiplexed` when the connection carries many requests at once (HTTP/2).
    pub(super) fn begin(self: &Arc<Self>, multiplexed: bool) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        self.head_since.store(NEVER, Ordering::Relaxed);
        self.served.store(true, Ordering::Relaxed);
        self.multiplexed.fetch_or(multiplexed, Ordering::Relaxed);
        InFlight(self.clone())
    }

    /// How much longer to wait; zero: the connection has been quiet for too long.
    pub(super) fn left(&self, patience: Patience) -> Duration {
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(NEVER);
        let (head, idle) = (millis(patience.head), millis(patience.idle));
        let now = self.now();
        let blocked = self.blocked_since.load(Ordering::Relaxed);
        let head_since = self.head_since.load(Ordering::Relaxed);
        let deadline = if blocked != NEVER {
            blocked.saturating_add(idle)
        } else if self.in_flight.load(Ordering::Relaxed) > 0 {
            // Whoever answers has limits of their own.
            now.saturating_add(idle)
        } else if !self.served.load(Ordering::Relaxed) {
            head
        } else if head_since != NEVER && !self.multiplexed.load(Ordering::Relaxed) {
            head_since.saturating_add(head)
        } else {
            self.last.load(Ordering::Relaxed).saturating_add(idle)
        };
        Duration::from_millis(deadline.saturating_sub(now))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.last.store(self.0.now(), Ordering::Relaxed);
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const PATIENCE: Patience = Patience { head: Duration::from_secs(10), idle: Duration::from_secs(60) };

    async fn after(activity: &Activity, seconds: u64) -> u64 {
        advance(Duration::from_secs(seconds)).await;
        activity.left(PATIENCE).as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_has_to_come_in_time() {
        let activity = Activity::start();
        assert_eq!(after(&activity, 4).await, 6);
        activity.read();
        // Drops do not buy time.
        assert_eq!(after(&activity, 5).await, 1);
        activity.read();
        assert_eq!(after(&activity, 1).await, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn between_requests_there_is_more_time() {
        let activity = Activity::start();
        activity.read();
        let request = activity.begin(false);
        assert_eq!(after(&activity, 500).await, 60);
        drop(request);
        assert_eq!(after(&activity, 59).await, 1);
        activity.read();
        assert_eq!(after(&activity, 9).await, 1);
        assert_eq!(after(&activity, 1).await, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_takes_nothing_is_given_up() {
        let activity = Activity::start();
        let _request = activity.begin(true);
        activity.blocked();
        assert_eq!(after(&activity, 59).await, 1);
        activity.wrote();
        activity.blocked();
        assert_eq!(after(&activity, 59).await, 1);
        activity.blocked();
        assert_eq!(after(&activity, 1).await, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn control_frames_of_http_2_are_not_a_head() {
        let activity = Activity::start();
        drop(activity.begin(true));
        activity.read();
        assert_eq!(after(&activity, 30).await, 30);
    }
}

//! How much may be on its way to one client at a time, over all of its sockets.
//!
//! Answers in bulk wait for a reader that is behind, but each for itself: when a client with hundreds of streams comes back, as many
//! answers would be ready at once, and together overflow what the broker keeps for its connection. So they queue here, by inbox.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What is counted in.
const UNIT_BYTES: usize = 64 << 10;
/// Inboxes from which on one looks for those that are not used any more.
const MIN_SWEEP: usize = 64;

/// A window for each inbox.
#[derive(Debug)]
pub(super) struct Windows {
    inboxes: Mutex<Inboxes>,
    units: u32,
}

#[derive(Debug, Default)]
struct Inboxes {
    open: HashMap<Box<str>, Weak<Semaphore>, RandomState>,
    sweep_at: usize,
}

/// Room in a window, until it is dropped.
#[derive(Debug)]
pub(super) struct Room {
    _permit: Option<OwnedSemaphorePermit>,
    /// Keeps the window known as long as somebody is in it.
    _window: Arc<Semaphore>,
}

impl Windows {
    /// Windows of about so many bytes.
    pub fn new(bytes: usize) -> Windows {
        let units = u32::try_from(bytes / UNIT_BYTES).unwrap_or(u32::MAX).clamp(1, 1 << 20);
        Windows { inboxes: Mutex::default(), units }
    }

    /// Waits for room on the way to a reply subject. What is larger than the window has it alone.
    pub async fn enter(&self, reply: &str, bytes: usize) -> Room {
        let inbox = reply.rsplit_once('.').map_or(reply, |(inbox, _)| inbox);
        let window = self.inboxes.lock().window(inbox, self.units as usize);
        let units = u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX).clamp(1, self.units);
        // It is never closed.
        let permit = window.clone().acquire_many_owned(units).await.ok();
        Room { _permit: permit, _window: window }
    }
}

impl Inboxes {
    fn window(&mut self, inbox: &str, units: usize) -> Arc<Semaphore> {
        if let Some(window) = self.open.get(inbox).and_then(Weak::upgrade) {
            return window;
        }
        if self.open.len() >= self.sweep_at.max(MIN_SWEEP) {
            self.open.retain(|_, window| window.strong_count() > 0);
            self.sweep_at = self.open.len() * 2;
        }
        let window = Arc::new(Semaphore::new(units));
        self.open.insert(inbox.into(), Arc::downgrade(&window));
        window
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn answers_to_one_inbox_wait_for_each_other() {
        let windows = Windows::new(4 * UNIT_BYTES);
        let first = windows.enter("_INBOX.a.1", 3 * UNIT_BYTES).await;
        let _small = windows.enter("_INBOX.a.2", 10).await;
        let mut waiting = Box::pin(windows.enter("_INBOX.a.3", 1));
        assert!(waiting.as_mut().now_or_never().is_none());
        let _other = windows.enter("_INBOX.b.1", 4 * UNIT_BYTES).await;
        drop(first);
        waiting.await;
    }

    #[tokio::test]
    async fn what_is_larger_than_the_window_has_it_alone() {
        let windows = Windows::new(UNIT_BYTES);
        let huge = windows.enter("i.1", usize::MAX).await;
        assert!(windows.enter("i.2", 1).now_or_never().is_none());
        drop(huge);
        windows.enter("i.3", 1).await;
    }

    #[tokio::test]
    async fn unused_windows_are_forgotten() {
        let windows = Windows::new(UNIT_BYTES);
        for n in 0..10_000 {
            windows.enter(&format!("inbox-{n}.1"), 1).await;
        }
        assert!(windows.inboxes.lock().open.len() <= MIN_SWEEP);
    }
}

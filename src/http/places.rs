//! How many connections there may be. Who finds no place waits for one.

use std::{pin::pin, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// Places for connections; the number of them can change.
#[derive(Debug)]
pub(super) struct Places {
    counts: Mutex<Counts>,
    changed: Notify,
}

#[derive(Debug)]
struct Counts {
    /// 0 = no limit.
    limit: usize,
    taken: usize,
}

/// One connection's place; free again when dropped.
#[derive(Debug)]
pub(super) struct Place(Arc<Places>);

impl Places {
    pub(super) fn new(limit: usize) -> Arc<Places> {
        Arc::new(Places { counts: Mutex::new(Counts { limit, taken: 0 }), changed: Notify::new() })
    }

    /// Changes the number of places. With fewer than are taken, nobody new comes in until enough have left.
    pub(super) fn set_limit(&self, limit: usize) {
        self.counts.lock().limit = limit;
        self.changed.notify_waiters();
    }

    /// Waits for a place.
    pub(super) async fn take(self: &Arc<Self>) -> Place {
        let mut changed = pin!(self.changed.notified());
        loop {
            // Registered before the look, so that a change in between is not missed.
            changed.as_mut().enable();
            if let Some(place) = self.try_take() {
                return place;
            }
            changed.as_mut().await;
            changed.set(self.changed.notified());
        }
    }

    fn try_take(self: &Arc<Self>) -> Option<Place> {
        let mut counts = self.counts.lock();
        if counts.limit > 0 && counts.taken >= counts.limit {
            return None;
        }
        counts.taken += 1;
        Some(Place(self.clone()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.counts.lock().taken -= 1;
        self.0.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_place_that_is_left_goes_to_one_who_waits() {
        let places = Places::new(1);
        let first = places.take().await;
        let mut waiting = [Box::pin(places.take()), Box::pin(places.take())];
        assert!(waiting.iter_mut().all(|wait| wait.now_or_never().is_none()));
        drop(first);
        let second = waiting.iter_mut().find_map(|wait| wait.now_or_never()).expect("one comes in");
        assert!(places.try_take().is_none());
        drop(second);
    }

    #[tokio::test]
    async fn the_number_of_places_can_change() {
        let places = Places::new(1);
        let mut taken = vec![places.take().await];
        let mut waiting = Box::pin(places.take());
        assert!(waiting.as_mut().now_or_never().is_none());
        places.set_limit(2);
        taken.push(waiting.await);
        assert!(places.try_take().is_none());
        places.set_limit(0);
        taken.push(places.take().await);
        places.set_limit(2);
        taken.pop();
        assert!(places.try_take().is_none(), "two are still there");
        taken.pop();
        assert!(places.try_take().is_some());
    }
}

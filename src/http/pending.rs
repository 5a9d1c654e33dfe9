//! Transfers that come in several requests: what is known of each, for some time, and of not too many.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{sync::Mutex as Turn, time::Instant};

/// A table of transfers by the name that the client gave.
#[derive(Debug)]
pub(super) struct Pending<T> {
    bounds: Bounds,
    transfers: Mutex<HashMap<String, Transfer<T>>>,
}

/// How many and for how long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Transfers at most.
    pub(super) most: usize,
    /// One of which nothing is heard for so long is dropped.
    pub(super) life: Duration,
    /// One of which nothing is heard for so long makes room for another.
    pub(super) quiet: Duration,
}

#[derive(Debug)]
struct Transfer<T> {
    state: Arc<Turn<T>>,
    heard: Instant,
}

impl<T> Pending<T> {
    pub(super) fn new(bounds: Bounds) -> Pending<T> {
        Pending { bounds, transfers: Mutex::default() }
    }

    /// What is known of a transfer.
    pub(super) fn get(&self, name: &str) -> Option<Arc<Turn<T>>> {
        let mut transfers = self.transfers.lock();
        let transfer = transfers.get_mut(name)?;
        transfer.heard = Instant::now();
        Some(transfer.state.clone())
    }

    /// What is known of a transfer, which begins if nothing is. `None`: there are too many.
    pub(super) fn get_or_begin(&self, name: &str, begin: impl FnOnce() -> T) -> Option<Arc<Turn<T>>> {
        let heard = Instant::now();
        let mut transfers = self.transfers.lock();
        if !transfers.contains_key(name) && transfers.len() >= self.bounds.most {
            let quietest = transfers
                .iter()
                .filter(|(_, transfer)| transfer.heard + self.bounds.quiet <= heard)
                .min_by_key(|(_, transfer)| transfer.heard)
                .map(|(name, _)| name.clone())?;
            transfers.remove(&quietest);
        }
        match transfers.entry(name.to_owned()) {
            Entry::Occupied(mut known) => {
                known.get_mut().heard = heard;
                Some(known.get().state.clone())
            }
            Entry::Vacant(free) => {
                Some(free.insert(Transfer { state: Arc::new(Turn::new(begin())), heard }).state.clone())
            }
        }
    }

    /// Forgets a transfer.
    pub(super) fn remove(&self, name: &str) {
        self.transfers.lock().remove(name);
    }

    /// Forgets those of which nothing was heard for too long.
    pub(super) fn sweep(&self) {
        let now = Instant::now();
        self.transfers.lock().retain(|_, transfer| transfer.heard + self.bounds.life > now);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn table() -> Pending<u8> {
        let second = Duration::from_secs(1);
        Pending::new(Bounds { most: 2, life: 10 * second, quiet: 5 * second })
    }

    async fn value(state: Option<Arc<Turn<u8>>>) -> Option<u8> {
        match state {
            Some(state) => Some(*state.lock().await),
            None => None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_transfer_that_is_quiet_makes_room_and_one_that_is_not_does_not() {
        let table = table();
        assert_eq!(value(table.get_or_begin("a", || 1)).await, Some(1));
        advance(Duration::from_secs(3)).await;
        assert_eq!(value(table.get_or_begin("b", || 2)).await, Some(2));
        assert_eq!(value(table.get_or_begin("c", || 3)).await, None);
        advance(Duration::from_secs(2)).await;
        assert_eq!(value(table.get_or_begin("c", || 3)).await, Some(3));
        assert_eq!(value(table.get("a")).await, None);
        assert_eq!(value(table.get_or_begin("b", || 9)).await, Some(2));
    }

    #[tokio::test(start_paused = true)]
    async fn abandoned_transfers_are_dropped() {
        let table = table();
        table.get_or_begin("a", || 1);
        table.get_or_begin("b", || 2);
        advance(Duration::from_secs(9)).await;
        table.get("b");
        advance(Duration::from_secs(1)).await;
        table.sweep();
        assert_eq!(value(table.get("a")).await, None);
        assert_eq!(value(table.get("b")).await, Some(2));
    }
}

//! How many feeds may be open (hub.md §10.3).

use std::{collections::HashMap, sync::Arc};

use foldhash::fast::RandomState;
use parking_lot::Mutex;

/// Feeds of one account.
pub(super) const PER_ACCOUNT: usize = 1000;
/// Feeds of all accounts.
pub(super) const TOTAL: usize = 50_000;

/// Counts open feeds.
#[derive(Clone, Debug, Default)]
pub(super) struct Quota {
    open: Arc<Mutex<Counts>>,
}

#[derive(Debug, Default)]
struct Counts {
    total: usize,
    accounts: HashMap<String, usize, RandomState>,
}

/// A place among the open feeds, free again when it is dropped.
#[derive(Debug)]
pub(super) struct Slot {
    account_id: String,
    quota: Quota,
}

impl Quota {
    /// Takes a place, if there is one.
    pub(super) fn take(&self, account_id: &str) -> Option<Slot> {
        let mut counts = self.open.lock();
        let own = counts.accounts.get(account_id).copied().unwrap_or(0);
        if own >= PER_ACCOUNT || counts.total >= TOTAL {
            return None;
        }
        counts.total += 1;
        counts.accounts.insert(account_id.to_owned(), own + 1);
        Some(Slot { account_id: account_id.to_owned(), quota: self.clone() })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut counts = self.quota.open.lock();
        counts.total = counts.total.saturating_sub(1);
        if let Some(own) = counts.accounts.get_mut(&self.account_id) {
            *own -= 1;
            if *own == 0 {
                counts.accounts.remove(&self.account_id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_limited_and_become_free_again() {
        let quota = Quota::default();
        let mut slots: Vec<_> = (0..PER_ACCOUNT).map(|_| quota.take("a").unwrap()).collect();
        assert!(quota.take("a").is_none());
        let others: Vec<_> = (0..TOTAL - PER_ACCOUNT).map(|n| quota.take(&n.to_string()).unwrap()).collect();
        assert!(quota.take("b").is_none());
        slots.pop();
        assert!(quota.take("b").is_some());
        drop((slots, others));
        assert_eq!(quota.open.lock().total, 0);
        assert!(quota.open.lock().accounts.is_empty());
    }
}

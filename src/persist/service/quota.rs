//! How many sockets may be open (conat-persist.md §3.5).

use std::{collections::HashMap, sync::Arc};

use foldhash::fast::RandomState;
use parking_lot::Mutex;

use super::refusal::Refusal;

/// Sockets of a scope that are connected, open or not, may be so many times those that may be open.
const CONNECTED_FACTOR: usize = 2;

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    connected: usize,
    open: usize,
}

#[derive(Debug, Default)]
struct Counts {
    scopes: HashMap<Box<str>, Count, RandomState>,
    open: usize,
}

/// Counts sockets.
#[derive(Debug)]
pub(super) struct Quota {
    counts: Mutex<Counts>,
    per_scope: usize,
    total: usize,
}

/// The place of a connected socket; dropping it frees it.
#[derive(Debug)]
pub(super) struct Seat {
    quota: Arc<Quota>,
    scope: Box<str>,
    open: bool,
}

impl Quota {
    /// Lets so many sockets of a scope be open, and so many in total.
    pub fn new(per_scope: usize, total: usize) -> Arc<Quota> {
        Arc::new(Quota { counts: Mutex::default(), per_scope, total })
    }

    /// A place for a socket that has connected, or `None` if its scope has far too many.
    pub fn connect(self: &Arc<Quota>, scope: &str) -> Option<Seat> {
        let mut counts = self.counts.lock();
        let count = counts.scopes.entry(scope.into()).or_default();
        if count.connected >= self.per_scope.saturating_mul(CONNECTED_FACTOR) {
            return None;
        }
        count.connected += 1;
        Some(Seat { quota: self.clone(), scope: scope.into(), open: false })
    }
}

impl Seat {
    /// Counts the socket as open.
    ///
    /// # Errors
    /// Too many are.
    pub fn open(&mut self) -> Result<(), Refusal> {
        let Quota { per_scope, total, .. } = *self.quota;
        let mut counts = self.quota.counts.lock();
        let Counts { scopes, open } = &mut *counts;
        let count = scopes.entry(self.scope.clone()).or_default();
        let full = |whose, most| {
            let text = format!("There is a {whose} limit of {most} persistent storage. Close some and try again.");
            Err(Refusal::with_code(text, 429))
        };
        if count.open >= per_scope {
            return full("per user", per_scope);
        }
        if *open >= total {
            return full("global", total);
        }
        count.open += 1;
        *open += 1;
        self.open = true;
        Ok(())
    }
}

impl Seat {
    /// The socket was counted as open and is not.
    pub fn close(&mut self) {
        if std::mem::take(&mut self.open) {
            let mut counts = self.quota.counts.lock();
            counts.open -= 1;
            if let Some(count) = counts.scopes.get_mut(&self.scope) {
                count.open -= 1;
            }
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.close();
        let mut counts = self.quota.counts.lock();
        let Some(count) = counts.scopes.get_mut(&self.scope) else { return };
        count.connected -= 1;
        if count.connected == 0 {
            counts.scopes.remove(&self.scope);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn persist_018_one_too_many_is_refused_until_another_goes() {
        let quota = Quota::new(2, 3);
        let open = |scope: &str| {
            let mut seat = quota.connect(scope).expect("a place");
            seat.open().map(|()| seat)
        };
        let a = (open("a").unwrap(), open("a").unwrap());
        let refused = open("a").unwrap_err();
        assert!(refused.text().starts_with("Error: There is a per user limit of 2 persistent storage. "));
        assert_eq!(refused.code(), Some(&429.into()));
        let b = open("b").unwrap();
        let refused = open("b").unwrap_err();
        assert!(refused.text().starts_with("Error: There is a global limit of 3 persistent storage. "));
        let (mut closed, other) = a;
        closed.close();
        closed.close();
        assert_eq!(quota.counts.lock().open, 2);
        let again = open("a").unwrap();
        drop((closed, other, b, again));
        assert_eq!(quota.counts.lock().open, 0);
        assert!(quota.counts.lock().scopes.is_empty());
    }

    #[test]
    fn sockets_that_never_open_are_counted_too() {
        let quota = Quota::new(2, 3);
        let seats: Vec<_> = std::iter::from_fn(|| quota.connect("a")).collect();
        assert_eq!(seats.len(), 4);
        assert!(quota.connect("b").is_some());
    }
}

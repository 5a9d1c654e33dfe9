//! Who waits for interest in which subject (conat-wire.md §9).

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::wire::subject;

/// Waits by subject. A wait takes itself out when it is dropped, so a connection that ends leaves none behind (D14).
#[derive(Debug, Default)]
pub struct Waits {
    subjects: Mutex<HashMap<Arc<str>, Arc<Notify>, RandomState>>,
    count: AtomicUsize,
}

/// A place in the waiting room of one subject.
#[derive(Debug)]
pub struct Wait {
    waits: Arc<Waits>,
    subject: Arc<str>,
    notify: Arc<Notify>,
}

impl Waits {
    /// Begins to wait for interest in a subject.
    pub fn enter(self: &Arc<Self>, subject: &str) -> Wait {
        let mut subjects = self.subjects.lock();
        let (subject, notify) = match subjects.get_key_value(subject) {
            Some((subject, notify)) => (subject.clone(), notify.clone()),
            None => {
                let (subject, notify): (Arc<str>, _) = (subject.into(), Arc::<Notify>::default());
                subjects.insert(subject.clone(), notify.clone());
                (subject, notify)
            }
        };
        self.count.fetch_add(1, Ordering::Relaxed);
        Wait { waits: self.clone(), subject, notify }
    }

    /// Wakes everybody who waits for something that a new pattern matches.
    pub fn pattern_added(&self, pattern: &str) {
        if self.count.load(Ordering::Acquire) == 0 {
            return;
        }
        let subjects = self.subjects.lock();
        if let Some(notify) = subjects.get(pattern) {
            notify.notify_waiters();
        } else {
            for (_, notify) in subjects.iter().filter(|(waiting, _)| subject::matches(pattern, waiting)) {
                notify.notify_waiters();
            }
        }
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Wait {
    /// Waits until `has_interest` is true, looking again whenever a pattern that matches appears.
    pub async fn until(self, has_interest: impl Fn(&str) -> bool) {
        loop {
            let notified = self.notify.notified();
            tokio::pin!(notified);
            // Registered before the look, so that a pattern added in between is not missed.
            notified.as_mut().enable();
            if has_interest(&self.subject) {
                return;
            }
            notified.await;
        }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        let mut subjects = self.waits.subjects.lock();
        // Two are left when this is the last wait: the table's and this one's.
        if Arc::strong_count(&self.notify) == 2 {
            subjects.remove(&self.subject);
        }
        self.waits.count.fetch_sub(1, Ordering::Release);
    }
}

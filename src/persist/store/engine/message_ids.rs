//! Which writes were seen already (§8.4).

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use crate::persist::store::message::Assigned;

/// How long a message id is remembered, in ms.
const MEMORY: u64 = 120_000;

/// The message ids of the last two minutes, of all streams. Bounded: the oldest go first.
#[derive(Debug)]
pub(super) struct MessageIds {
    /// By instance and id.
    found: HashMap<(u64, Arc<str>), Assigned>,
    /// In the order in which they came.
    order: VecDeque<(u64, u64, Arc<str>)>,
    /// How many of the last ones belong to the transaction that is under way.
    pending: usize,
    max: usize,
}

impl MessageIds {
    pub fn new(max: usize) -> MessageIds {
        MessageIds { found: HashMap::new(), order: VecDeque::new(), pending: 0, max }
    }

    /// What the write with this id was given, if it is remembered.
    pub fn get(&mut self, instance: u64, id: &Arc<str>, now: u64) -> Option<Assigned> {
        self.expire(now);
        self.found.get(&(instance, id.clone())).copied()
    }

    pub fn add(&mut self, instance: u64, id: &Arc<str>, assigned: Assigned, now: u64) {
        self.found.insert((instance, id.clone()), assigned);
        self.order.push_back((now, instance, id.clone()));
        self.pending += 1;
        if self.order.len() > self.max {
            self.pop_oldest();
        }
    }

    /// The transaction was committed.
    pub fn keep(&mut self) {
        self.pending = 0;
    }

    /// The transaction failed.
    pub fn forget_pending(&mut self) {
        for _ in 0..std::mem::take(&mut self.pending) {
            if let Some((_, instance, id)) = self.order.pop_back() {
                self.found.remove(&(instance, id));
            }
        }
    }

    /// Forgets what is old.
    pub fn expire(&mut self, now: u64) {
        while self.order.front().is_some_and(|(time, ..)| now.saturating_sub(*time) >= MEMORY) {
            self.pop_oldest();
        }
        if self.order.is_empty() && self.order.capacity() > 1024 {
            self.order.shrink_to(0);
            self.found.shrink_to(0);
        }
    }

    /// How long until there is something to forget, in ms.
    pub fn next_expiry(&self, now: u64) -> Option<u64> {
        self.order.front().map(|(time, ..)| time.saturating_add(MEMORY).saturating_sub(now).min(MEMORY))
    }

    fn pop_oldest(&mut self) {
        if let Some((_, instance, id)) = self.order.pop_front() {
            self.found.remove(&(instance, id));
            self.pending = self.pending.min(self.order.len());
        }
    }
}

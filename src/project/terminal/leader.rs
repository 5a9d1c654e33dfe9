//! Whose automatic answers reach the program (§11.4).
//!
//! A terminal emulator answers questions of the program (where is the cursor, what are you) by itself. With several browsers on one
//! session each would answer; only the leader's answers count.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

/// The attached sockets in the order they came; the first is the leader unless it was overtaken.
#[derive(Debug)]
pub(super) struct Leadership {
    members: VecDeque<u64>,
    /// When the leader last sent anything, or became leader.
    active: Instant,
    timeout: Duration,
}

impl Leadership {
    pub(super) fn new(timeout: Duration, now: Instant) -> Self {
        Leadership { members: VecDeque::new(), active: now, timeout }
    }

    /// A socket attached.
    pub(super) fn join(&mut self, member: u64, now: Instant) {
        if self.members.is_empty() {
            self.active = now;
        }
        self.members.push_back(member);
    }

    /// A socket detached; if it led, the next one does.
    pub(super) fn leave(&mut self, member: u64, now: Instant) {
        if self.leads(member) {
            self.active = now;
        }
        self.members.retain(|other| *other != member);
    }

    /// A person typed.
    pub(super) fn typed(&mut self, member: u64, now: Instant) {
        if self.leads(member) {
            self.active = now;
        }
    }

    /// Whether an automatic answer is to be passed on. An idle leader is overtaken by the member that answers.
    pub(super) fn accepts(&mut self, member: u64, now: Instant) -> bool {
        if !self.members.contains(&member) {
            return false;
        }
        if !self.leads(member) {
            if now.duration_since(self.active) < self.timeout {
                return false;
            }
            self.members.retain(|other| *other != member);
            self.members.push_front(member);
        }
        self.active = now;
        true
    }

    fn leads(&self, member: u64) -> bool {
        self.members.front() == Some(&member)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(10);
    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn leader_is_the_first_and_then_the_next() {
        let now = Instant::now();
        let mut leadership = Leadership::new(TIMEOUT, now);
        assert!(!leadership.accepts(1, now), "not a member");
        for member in [1, 2, 3] {
            leadership.join(member, now);
        }
        assert!(leadership.accepts(1, now));
        assert!(!leadership.accepts(2, now));
        leadership.leave(1, now + SECOND);
        assert!(leadership.accepts(2, now + SECOND));
        assert!(!leadership.accepts(3, now + SECOND));
        leadership.leave(3, now + SECOND);
        assert!(leadership.accepts(2, now + SECOND));
    }

    #[test]
    fn leader_that_is_idle_is_overtaken() {
        let now = Instant::now();
        let mut leadership = Leadership::new(TIMEOUT, now);
        leadership.join(1, now);
        leadership.join(2, now);
        leadership.typed(1, now + SECOND * 5);
        leadership.typed(2, now + SECOND * 14);
        assert!(!leadership.accepts(2, now + SECOND * 14));
        assert!(leadership.accepts(2, now + SECOND * 15));
        assert!(!leadership.accepts(1, now + SECOND * 15));
        assert!(leadership.accepts(1, now + SECOND * 25));
    }
}

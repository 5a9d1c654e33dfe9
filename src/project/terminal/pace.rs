//! How fast output is read and sent.

use std::time::Duration;

use tokio::time::Instant;

/// How long a program whose every reader is stalled is held up before its output goes to the history only.
pub(super) const HOLD: Duration = Duration::from_secs(2);

/// How much may be read in one interval while somebody follows: about 12 MiB a second.
const WATCHED_BYTES: usize = 512 << 10;
/// How much may be read in one interval while nobody does: about 3 MiB a second.
const UNWATCHED_BYTES: usize = 128 << 10;

/// Who follows the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Audience {
    /// At least one socket keeps up.
    Follows,
    /// Sockets are attached, but none has taken anything since then.
    Stalled(Instant),
    /// No socket is attached.
    Absent,
}

/// What may be read now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Allowance {
    /// So many bytes.
    Bytes(usize),
    /// Nothing before then.
    Wait(Instant),
}

/// Bounds the reading: a program can't make us work faster than an audience needs, whatever it prints.
#[derive(Debug)]
pub(super) struct ReadPace {
    interval: Duration,
    /// End of the current interval.
    until: Instant,
    /// Bytes read in it.
    used: usize,
}

impl ReadPace {
    pub(super) fn new(interval: Duration, now: Instant) -> Self {
        ReadPace { interval, until: now, used: 0 }
    }

    /// What may be read now.
    pub(super) fn allowance(&mut self, audience: Audience, now: Instant) -> Allowance {
        let limit = match audience {
            Audience::Follows => WATCHED_BYTES,
            Audience::Stalled(since) if now < since + HOLD => return Allowance::Wait(since + HOLD),
            Audience::Stalled(_) | Audience::Absent => UNWATCHED_BYTES,
        };
        if now >= self.until {
            self.until = now + self.interval;
            self.used = 0;
        }
        match limit.checked_sub(self.used) {
            None | Some(0) => Allowance::Wait(self.until),
            Some(left) => Allowance::Bytes(left),
        }
    }

    /// So much was read.
    pub(super) fn spend(&mut self, bytes: usize) {
        self.used += bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_millis(40);

    #[test]
    fn pace_is_bounded_in_each_interval() {
        let now = Instant::now();
        let mut pace = ReadPace::new(INTERVAL, now);
        assert_eq!(pace.allowance(Audience::Follows, now), Allowance::Bytes(WATCHED_BYTES));
        pace.spend(WATCHED_BYTES - 1);
        assert_eq!(pace.allowance(Audience::Follows, now), Allowance::Bytes(1));
        pace.spend(4096);
        assert_eq!(pace.allowance(Audience::Follows, now), Allowance::Wait(now + INTERVAL));
        assert_eq!(pace.allowance(Audience::Follows, now + INTERVAL), Allowance::Bytes(WATCHED_BYTES));
    }

    #[test]
    fn pace_is_slower_when_nobody_looks() {
        let now = Instant::now();
        let mut pace = ReadPace::new(INTERVAL, now);
        assert_eq!(pace.allowance(Audience::Absent, now), Allowance::Bytes(UNWATCHED_BYTES));
        pace.spend(UNWATCHED_BYTES);
        assert_eq!(pace.allowance(Audience::Absent, now), Allowance::Wait(now + INTERVAL));
        assert_eq!(pace.allowance(Audience::Follows, now), Allowance::Bytes(WATCHED_BYTES - UNWATCHED_BYTES));
    }

    #[test]
    fn pace_of_a_stalled_audience_is_nothing_and_then_slow() {
        let now = Instant::now();
        let mut pace = ReadPace::new(INTERVAL, now);
        assert_eq!(pace.allowance(Audience::Stalled(now), now + INTERVAL), Allowance::Wait(now + HOLD));
        assert_eq!(pace.allowance(Audience::Stalled(now), now + HOLD), Allowance::Bytes(UNWATCHED_BYTES));
    }
}

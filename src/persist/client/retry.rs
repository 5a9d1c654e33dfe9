//! Pauses between attempts.

use std::time::Duration;

/// How pauses grow.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// The first pause.
    pub first: Duration,
    /// The longest.
    pub max: Duration,
    /// How much longer each is than the one before.
    pub factor: f64,
    /// By which part of it a pause is shorter or longer at random, so that clients of a server that comes back do not come
    /// at once.
    pub jitter: f64,
}

impl Pace {
    /// From `first` to `max`.
    pub const fn new(first: Duration, max: Duration, factor: f64) -> Pace {
        Pace { first, max, factor, jitter: 0.0 }
    }
}

/// Pauses that grow until they are reset.
#[derive(Debug)]
pub(super) struct Backoff {
    pace: Pace,
    next: Duration,
}

impl Backoff {
    pub fn new(pace: Pace) -> Backoff {
        Backoff { pace, next: pace.first.min(pace.max) }
    }

    /// The pause to make now.
    pub fn step(&mut self) -> Duration {
        let now = self.next;
        self.next = now.mul_f64(self.pace.factor.max(1.0)).min(self.pace.max);
        now.mul_f64(1.0 + self.pace.jitter * (2.0 * fastrand::f64() - 1.0))
    }

    pub fn reset(&mut self) {
        self.next = self.pace.first.min(self.pace.max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn persist_094_pauses_grow_to_a_bound_with_jitter() {
        let pace = super::super::Times::default().reconnect;
        let mut backoff = Backoff::new(pace);
        let mut expected = 1.5f64;
        for _ in 0..12 {
            let pause = backoff.step().as_secs_f64();
            assert!((expected * 0.75..=expected * 1.25).contains(&pause), "{pause} is not about {expected}");
            expected = (expected * 1.8).min(30.0);
        }
        backoff.reset();
        assert!(backoff.step().as_secs_f64() <= 1.5 * 1.25);
    }
}

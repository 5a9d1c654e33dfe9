//! The watchdog: systemd hears that we are alive only while every part answers, not just while some thread runs.

use std::{fmt, future::Future, pin::Pin, time::Duration};

use futures_util::future::join_all;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tracing::warn;

type Answer = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// A question to a part that is answered only if the part does its work.
pub struct Probe {
    name: &'static str,
    ask: Box<dyn Fn() -> Answer + Send + Sync>,
}

impl Probe {
    /// A probe of the part with this name. An error says in words why the part can't do its work.
    pub fn new<F>(name: &'static str, ask: impl Fn() -> F + Send + Sync + 'static) -> Probe
    where
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        Probe { name, ask: Box::new(move || Box::pin(ask())) }
    }

    /// Whether the part answers in time.
    async fn answers(&self, at_most: Duration) -> bool {
        match timeout(at_most, (self.ask)()).await {
            Ok(Ok(())) => return true,
            Ok(Err(error)) => warn!(part = self.name, error, "a part is not well: systemd hears no sign of life"),
            Err(_) => warn!(part = self.name, "a part does not answer: systemd hears no sign of life"),
        }
        false
    }
}

impl fmt::Debug for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Probe").field(&self.name).finish()
    }
}

/// Asks all probes every so often, and calls `alive` when all of them have answered within that time.
pub async fn watch(every: Duration, probes: Vec<Probe>, alive: impl Fn()) {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if join_all(probes.iter().map(|probe| probe.answers(every))).await.into_iter().all(|answered| answered) {
            alive();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::pending,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering::Relaxed},
        },
    };

    use super::*;

    const EVERY: Duration = Duration::from_secs(10);

    /// How often `alive` was called after so many rounds.
    async fn signs(probes: Vec<Probe>, rounds: u32) -> usize {
        let signs = AtomicUsize::new(0);
        let watching = watch(EVERY, probes, || {
            signs.fetch_add(1, Relaxed);
        });
        // A little before the next round would end.
        let _ = timeout(EVERY * rounds - EVERY / 10, watching).await;
        signs.into_inner()
    }

    #[tokio::test(start_paused = true)]
    async fn there_is_a_sign_of_life_while_all_parts_answer() {
        assert_eq!(signs(vec![], 3).await, 3);
        let slow = || async {
            tokio::time::sleep(EVERY * 9 / 10 - EVERY / 100).await;
            Ok(())
        };
        assert_eq!(signs(vec![Probe::new("quick", || async { Ok(()) }), Probe::new("slow", slow)], 3).await, 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_part_that_hangs_or_fails_means_no_sign_of_life() {
        let well = || Probe::new("well", || async { Ok(()) });
        assert_eq!(signs(vec![well(), Probe::new("hangs", pending)], 5).await, 0);
        assert_eq!(signs(vec![well(), Probe::new("fails", || async { Err("no disk".into()) })], 5).await, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_part_that_comes_back_is_heard_again() {
        let asked = Arc::new(AtomicUsize::new(0));
        let probe = Probe::new("sometimes", move || {
            let nth = asked.fetch_add(1, Relaxed);
            async move { if nth == 1 { pending().await } else { Ok(()) } }
        });
        assert_eq!(signs(vec![probe], 5).await, 4);
    }
}

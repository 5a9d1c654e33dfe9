//! Alive and ready. Readiness is the sum of latches: ready when every part has let go of its own.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

/// Hands out latches and knows which are still held.
#[derive(Clone, Debug)]
pub struct Readiness {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    held: Mutex<Vec<&'static str>>,
    count: watch::Sender<usize>,
}

/// Keeps the server from being ready; dropping it means "my part is up".
#[derive(Debug)]
#[must_use = "dropping the latch at once means that the part is ready"]
pub struct Latch {
    name: &'static str,
    shared: Arc<Shared>,
}

impl Readiness {
    /// Ready until somebody asks for a latch.
    pub fn new() -> Readiness {
        Readiness { shared: Arc::new(Shared { held: Mutex::default(), count: watch::Sender::new(0) }) }
    }

    /// A latch for the part `name`.
    pub fn latch(&self, name: &'static str) -> Latch {
        self.shared.change(|held| held.push(name));
        Latch { name, shared: self.shared.clone() }
    }

    /// Whether no latch is held.
    pub fn is_ready(&self) -> bool {
        *self.shared.count.borrow() == 0
    }

    /// The parts that are not up yet.
    pub fn waiting_for(&self) -> Vec<&'static str> {
        self.shared.held.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns when no latch is held.
    pub async fn ready(&self) {
        // The sender lives as long as we do, so this cannot fail.
        let _ = self.shared.count.subscribe().wait_for(|count| *count == 0).await;
    }
}

impl Default for Readiness {
    fn default() -> Readiness {
        Readiness::new()
    }
}

impl Shared {
    fn change(&self, edit: impl FnOnce(&mut Vec<&'static str>)) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        edit(&mut held);
        self.count.send_replace(held.len());
    }
}

impl Drop for Latch {
    fn drop(&mut self) {
        self.shared.change(|held| {
            if let Some(index) = held.iter().position(|name| *name == self.name) {
                held.remove(index);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn ready_when_every_latch_is_gone() {
        let readiness = Readiness::new();
        assert!(readiness.is_ready());
        let (bus, terminal) = (readiness.latch("bus"), readiness.latch("terminal"));
        assert_eq!(readiness.waiting_for(), ["bus", "terminal"]);
        drop(bus);
        assert!(!readiness.is_ready());
        assert_eq!(readiness.waiting_for(), ["terminal"]);
        let waiting = tokio::spawn({
            let readiness = readiness.clone();
            async move { readiness.ready().await }
        });
        drop(terminal);
        waiting.await.unwrap();
        assert!(readiness.is_ready());
    }
}

//! Alive and ready. Readiness is the sum of latches: ready when every part has let go of its own.

use std::{
    fmt,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use tokio::sync::watch;

/// Hands out latches and knows which are still held.
#[derive(Clone, Debug)]
pub struct Readiness {
    shared: Arc<Shared>,
}

struct Shared {
    held: Mutex<Vec<&'static str>>,
    count: watch::Sender<usize>,
    storage: OnceLock<Trouble>,
}

/// Tells the code of what is wrong, while something is.
type Trouble = Box<dyn Fn() -> Option<String> + Send + Sync>;

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("held", &self.held).finish_non_exhaustive()
    }
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
        let shared = Shared { held: Mutex::default(), count: watch::Sender::new(0), storage: OnceLock::new() };
        Readiness { shared: Arc::new(shared) }
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

    /// Asks the storage for the code of its trouble from now on. A server whose disk is full is ready all the same: it reads, and
    /// all that is not about storage works.
    pub fn ask_storage(&self, trouble: impl Fn() -> Option<String> + Send + Sync + 'static) {
        // There is one storage; the first who says so is it.
        let _ = self.shared.storage.set(Box::new(trouble));
    }

    /// The code of the storage's trouble, while it has one.
    pub fn storage_trouble(&self) -> Option<String> {
        self.shared.storage.get().and_then(|trouble| trouble())
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

    #[test]
    fn trouble_with_the_storage_is_told_while_it_lasts() {
        let readiness = Readiness::new();
        assert_eq!(readiness.storage_trouble(), None);
        let (tell, trouble) = watch::channel(None);
        readiness.ask_storage(move || trouble.borrow().clone());
        assert_eq!(readiness.storage_trouble(), None);
        tell.send_replace(Some("SQLITE_FULL".to_owned()));
        assert_eq!(readiness.storage_trouble().as_deref(), Some("SQLITE_FULL"));
        assert!(readiness.is_ready());
        tell.send_replace(None);
        assert_eq!(readiness.storage_trouble(), None);
    }

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

//! Where work on files blocks: on threads of the runtime's pool, a few at a time.

use std::sync::Arc;

use tokio::{sync::Semaphore, task::spawn_blocking};

use super::{Error, Result};

/// A bound on blocking work. More waits its turn; what is given up while waiting is not done.
#[derive(Clone, Debug)]
pub struct Threads {
    permits: Arc<Semaphore>,
}

impl Threads {
    /// At most so many at once.
    pub fn new(most: usize) -> Threads {
        Threads { permits: Arc::new(Semaphore::new(most)) }
    }

    /// Runs `work` and waits for it. When nobody waits any more, work that has begun goes on to its end.
    ///
    /// # Errors
    /// What `work` gives; [`Error::Io`] when it panicked or the server ends.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
        let gone = |_| Error::Io(std::io::ErrorKind::Interrupted.into());
        let permit = self.permits.clone().acquire_owned().await.map_err(|_| gone(()))?;
        spawn_blocking(move || {
            let _permit = permit;
            work()
        })
        .await
        .map_err(|_| gone(()))?
    }

    /// Starts `work` that takes long, unless so many run already.
    pub fn try_start(&self, work: impl FnOnce() + Send + 'static) -> bool {
        let Ok(permit) = self.permits.clone().try_acquire_owned() else { return false };
        // Whoever it works for ends it, by not taking what it gives.
        drop(spawn_blocking(move || {
            let _permit = permit;
            work();
        }));
        true
    }
}

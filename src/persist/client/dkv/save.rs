//! Saving what was written here: values many at a time, deletions one by one (conat-persist.md §12.3).

use std::sync::Arc;

use tokio::{
    sync::mpsc,
    time::{Instant, sleep, sleep_until},
};

use super::{Error, Outcome, Refused, Result, Shared, edits::Pending};
use crate::persist::client::{Assigned, Connection, commands::batch, core::Watched, retry::Backoff};

/// What saves; it does not keep the store open.
pub(super) struct Saver {
    shared: Arc<Shared>,
    core: Watched,
    connection: Connection,
    saved: Option<mpsc::Sender<()>>,
    /// When to ask for messages that should have come.
    ask_at: Option<Instant>,
}

impl Saver {
    pub fn new(shared: &Arc<Shared>, core: &super::CoreStream, saved: Option<mpsc::Sender<()>>) -> Saver {
        let connection = core.connection().clone();
        Saver { shared: shared.clone(), core: core.watched(), connection, saved, ask_at: None }
    }

    pub async fn run(mut self) {
        let closing = self.shared.closing.clone();
        tokio::select! {
            () = self.save() => {}
            () = closing.cancelled() => {}
        }
    }

    async fn save(&mut self) {
        let mut backoff = Backoff::new(self.connection.options().times.save);
        loop {
            let Some(pending) = self.pending() else { return };
            if pending.is_empty() {
                self.rest().await;
                continue;
            }
            let done = match self.write(&pending).await {
                Ok(done) => done,
                // The copy sees that too, and ends.
                Err(_) if self.connection.is_closed() => return,
                Err(error) => {
                    tracing::debug!(path = self.connection.path(), %error, "values were not saved");
                    false
                }
            };
            self.shared.saved.notify_waiters();
            if let Some(saved) = &self.saved {
                // One that waits already is enough.
                let _ = saved.try_send(());
            }
            if done {
                backoff.reset();
            } else {
                sleep(backoff.step()).await;
            }
        }
    }

    /// Waits for something to do.
    async fn rest(&mut self) {
        let ask_at = self.ask_at;
        let ask = async {
            match ask_at {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.shared.wake.notified() => {}
            () = ask => {
                self.ask_at = None;
                self.ask().await;
            }
        }
    }

    /// `None` when the copy is gone.
    fn pending(&self) -> Option<Vec<Pending>> {
        let cas = self.shared.merge.is_some();
        let ttl = self.connection.options().tombstone_ttl;
        self.core.with_newest(|newest| self.shared.edits.lock().pending(cas, ttl, newest))
    }

    /// Writes; tells whether nothing has to be tried again.
    async fn write(&mut self, pending: &[Pending]) -> Result<bool> {
        let (deletions, mut values): (Vec<_>, Vec<_>) = pending.iter().cloned().partition(Pending::deletes);
        let mut done = true;
        while !values.is_empty() {
            let count = batch(values.iter().map(|pending| &pending.write)).max(1);
            let rest = values.split_off(count.min(values.len()));
            let writes: Vec<_> = values.iter().map(|pending| pending.write.clone()).collect();
            let results = self.connection.set_batch(&writes).await?;
            // Each result is that of its own write, whatever became of those before it.
            for (pending, result) in values.iter().zip(results) {
                done &= self.take(pending, result);
            }
            values = rest;
        }
        for pending in &deletions {
            let result = match self.connection.set(pending.write.clone()).await {
                Err(error) if error.is_fatal() || error.is_lost() => return Err(error),
                result => result,
            };
            done &= self.take(pending, result);
        }
        Ok(done)
    }

    /// Takes the result of a write; tells whether it is done with.
    fn take(&mut self, pending: &Pending, result: Result<Assigned>) -> bool {
        let Pending { key, version, write } = pending;
        let edits = &self.shared.edits;
        match result {
            Ok(assigned) => {
                let outcome = self.core.with_newest(|newest| edits.lock().saved(key, *version, assigned, newest(key)));
                if outcome == Some(Outcome::Changed) {
                    self.shared.changes.send(key.clone());
                }
                true
            }
            Err(Error::WrongLastSequence) => {
                edits.lock().overtaken(key, *version, write.previous_seq);
                self.ask_at.get_or_insert(Instant::now() + self.connection.options().times.conflict);
                true
            }
            Err(error @ Error::Rejected(_)) => {
                if edits.lock().refused(key, *version) {
                    self.shared.changes.send(key.clone());
                    self.shared.refusals.send(Refused { key: key.clone(), error });
                }
                true
            }
            Err(error) => {
                tracing::debug!(path = self.connection.path(), %error, "a value was not saved");
                false
            }
        }
    }

    /// Asks for messages that made a write fail and did not come: they may be gone, which nobody tells (§11.3).
    async fn ask(&mut self) {
        let waiting = self.shared.edits.lock().waiting();
        for (key, invalid) in waiting {
            if self.core.with_newest(|newest| newest(&key)) != Some(Some(invalid)) {
                // It has come.
                self.shared.edits.lock().try_again(&key, invalid);
                continue;
            }
            match self.connection.get_key(&key).await {
                Ok(Some(message)) if message.seq > invalid => {}
                Ok(Some(_)) => self.shared.edits.lock().try_again(&key, invalid),
                Ok(None) => {
                    self.core.forget(invalid);
                    self.shared.edits.lock().try_again(&key, invalid);
                }
                Err(error) => {
                    tracing::debug!(path = self.connection.path(), %error, "a value was not asked for");
                }
            }
        }
        if !self.shared.edits.lock().waiting().is_empty() {
            self.ask_at = Some(Instant::now() + self.connection.options().times.conflict);
        }
    }
}

//! Saving what was published: the same messages with the same ids until the server has them (conat-persist.md §12.2).

use std::sync::Arc;

use tokio::sync::mpsc;

use super::{Connection, Error, Rejection, Result, Shared, Write};
use crate::persist::client::{Assigned, retry::Backoff};

/// Saves until the stream is closed.
pub(super) async fn run(shared: Arc<Shared>, connection: Connection, saved: Option<mpsc::Sender<()>>) {
    let saving = async {
        let mut backoff = Backoff::new(connection.options().times.save);
        loop {
            let batch = shared.unsaved.lock().batch();
            if batch.is_empty() {
                shared.wake.notified().await;
                continue;
            }
            let done = match connection.set_batch(&batch).await {
                Ok(results) => shared.take(&batch, results),
                // The stream sees that too, and ends.
                Err(_) if connection.is_closed() => return,
                Err(error) => {
                    tracing::debug!(path = connection.path(), %error, "messages were not saved");
                    false
                }
            };
            shared.saved.notify_waiters();
            if let Some(saved) = &saved {
                // One that waits already is enough.
                let _ = saved.try_send(());
            }
            if done {
                backoff.reset();
            } else {
                tokio::time::sleep(backoff.step()).await;
            }
        }
    };
    tokio::select! {
        () = saving => {}
        () = shared.closing.cancelled() => {}
    }
}

impl Shared {
    /// Takes the results of a batch; tells whether there was none that has to be tried again.
    fn take(&self, batch: &[Write], results: Vec<Result<Assigned>>) -> bool {
        let mut done = true;
        for (write, result) in batch.iter().zip(results) {
            let Some(msg_id) = &write.msg_id else { continue };
            match result {
                Ok(assigned) => self.unsaved.lock().assigned(msg_id, assigned),
                Err(error @ Error::Rejected(_)) => {
                    if self.unsaved.lock().rejected(msg_id, &error) {
                        self.rejections.send(Rejection { msg_id: msg_id.clone(), error });
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "a message was not saved");
                    done = false;
                }
            }
        }
        done
    }
}

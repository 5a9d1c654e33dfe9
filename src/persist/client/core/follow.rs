//! Reading a stream in order, at one's own pace.

use std::sync::{Arc, Weak};

use tokio::sync::watch;

use super::Shared;
use crate::persist::client::Message;

/// Reads messages in order and waits for those to come. It reads the copy itself: nothing is queued for it, and what has been
/// deleted before it came to it is left out.
#[derive(Debug)]
pub struct Follower {
    /// A follower does not keep the stream open.
    shared: Weak<Shared>,
    version: watch::Receiver<u64>,
    after: u64,
}

impl Follower {
    pub(super) fn new(shared: &Arc<Shared>, after: u64) -> Follower {
        Follower { version: shared.version.subscribe(), shared: Arc::downgrade(shared), after }
    }

    /// The next message, or `None` when the stream is closed.
    pub async fn next(&mut self) -> Option<Message> {
        loop {
            self.version.borrow_and_update();
            {
                let shared = self.shared.upgrade()?;
                if let Some(message) = shared.log.lock().after(self.after).cloned() {
                    self.after = message.seq;
                    return Some(message);
                }
                if shared.ended.lock().is_some() {
                    return None;
                }
            }
            // An error means that the stream is gone, which the next look finds out.
            let _ = self.version.changed().await;
        }
    }
}

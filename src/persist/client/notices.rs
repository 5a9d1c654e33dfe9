//! Telling readers that something has changed: bounded, and a reader that does not keep up is told what it has missed.

use parking_lot::Mutex;
use tokio::sync::broadcast;

/// Where notices come from.
#[derive(Debug)]
pub(super) struct Notifier<T> {
    sender: Mutex<Option<broadcast::Sender<T>>>,
}

impl<T: Clone> Notifier<T> {
    pub fn new(bound: usize) -> Notifier<T> {
        Notifier { sender: Mutex::new(Some(broadcast::Sender::new(bound.max(1)))) }
    }

    pub fn send(&self, notice: T) {
        if let Some(sender) = &*self.sender.lock() {
            // It matters to nobody when nobody listens.
            let _ = sender.send(notice);
        }
    }

    pub fn subscribe(&self) -> Notices<T> {
        Notices { receiver: self.sender.lock().as_ref().map(broadcast::Sender::subscribe) }
    }

    /// Readers get what waits, then the end.
    pub fn close(&self) {
        *self.sender.lock() = None;
    }
}

/// What a reader gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice<T> {
    /// A notice.
    Of(T),
    /// The reader was too slow; it has missed so many.
    Missed(u64),
}

/// Notices in order.
#[derive(Debug)]
pub struct Notices<T> {
    receiver: Option<broadcast::Receiver<T>>,
}

impl<T: Clone> Notices<T> {
    /// The next one, or `None` when there will be no more.
    pub async fn next(&mut self) -> Option<Notice<T>> {
        match self.receiver.as_mut()?.recv().await {
            Ok(notice) => Some(Notice::Of(notice)),
            Err(broadcast::error::RecvError::Lagged(n)) => Some(Notice::Missed(n)),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

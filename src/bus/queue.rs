//! A bounded queue between the connection and one reader.
//!
//! It never blocks whoever fills it. When it is full it closes: the reader gets what waits already, then the error. Nothing is
//! lost in the middle of what a reader sees.

use std::collections::VecDeque;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::Error;

#[derive(Debug)]
struct Inner<T> {
    items: VecDeque<(T, usize)>,
    bytes: usize,
    closed: Option<Error>,
}

/// A queue with many writers and one reader.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    inner: Mutex<Inner<T>>,
    ready: Notify,
    max_messages: usize,
    max_bytes: usize,
    name: Box<str>,
}

impl<T> Queue<T> {
    /// An empty queue; `name` is what its error calls it.
    pub fn new(name: &str, max_messages: usize, max_bytes: usize) -> Queue<T> {
        let inner = Inner { items: VecDeque::new(), bytes: 0, closed: None };
        Queue { inner: Mutex::new(inner), ready: Notify::new(), max_messages, max_bytes, name: name.into() }
    }

    /// Adds an item. A single item is always let in when nothing else waits, however large it is. Tells whether the queue
    /// takes more.
    pub fn push(&self, item: T, bytes: usize) -> bool {
        let mut inner = self.inner.lock();
        if inner.closed.is_some() {
            return false;
        }
        let full = inner.items.len() >= self.max_messages || inner.bytes.saturating_add(bytes) > self.max_bytes;
        if full && !inner.items.is_empty() {
            inner.closed = Some(Error::SlowReader(self.name.to_string()));
        } else {
            inner.bytes += bytes;
            inner.items.push_back((item, bytes));
        }
        let open = inner.closed.is_none();
        drop(inner);
        self.ready.notify_one();
        open
    }

    /// Closes the queue; the reader gets what waits already, then the error.
    pub fn close(&self, error: Error) {
        self.inner.lock().closed.get_or_insert(error);
        self.ready.notify_one();
    }

    /// The next item if there is one.
    pub fn try_pop(&self) -> Option<Result<T, Error>> {
        let mut inner = self.inner.lock();
        if let Some((item, bytes)) = inner.items.pop_front() {
            inner.bytes -= bytes;
            return Some(Ok(item));
        }
        inner.closed.clone().map(Err)
    }

    /// The next item, waiting for it.
    pub async fn pop(&self) -> Result<T, Error> {
        loop {
            // A permit is kept when nobody waits, so nothing that is pushed in between is missed.
            if let Some(next) = self.try_pop() {
                return next;
            }
            self.ready.notified().await;
        }
    }

    /// Items and bytes that wait.
    pub fn depth(&self) -> (usize, usize) {
        let inner = self.inner.lock();
        (inner.items.len(), inner.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_queue_gives_what_it_has_and_then_the_error() {
        let queue = Queue::new("a.b", 2, 100);
        assert!(queue.push(1, 10));
        assert!(queue.push(2, 10));
        assert!(!queue.push(3, 10));
        assert!(!queue.push(4, 10));
        assert_eq!(queue.pop().await.unwrap(), 1);
        assert_eq!(queue.pop().await.unwrap(), 2);
        assert!(matches!(queue.pop().await, Err(Error::SlowReader(name)) if name == "a.b"));
    }

    #[tokio::test]
    async fn bytes_count_and_a_large_item_fits_alone() {
        let queue = Queue::new("q", 10, 100);
        assert!(queue.push(1, 1000));
        assert!(!queue.push(2, 1));
        let queue = Queue::new("q", 10, 100);
        assert!(queue.push(1, 60));
        assert_eq!(queue.pop().await.unwrap(), 1);
        assert!(queue.push(2, 60));
        assert_eq!(queue.depth(), (1, 60));
    }
}

//! What waits for one connection to read it: bounded in messages and in bytes.
//!
//! When it is full the reader is a *slow reader*: the outbox closes, what waits is dropped and counted, and the session that
//! owns it ends the connection. Nothing is lost silently and nobody else waits.

use std::{
    collections::VecDeque,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{delivery::Delivery, rpc::RpcCall};

/// Something a connection is to be told.
#[derive(Debug)]
pub enum Item {
    /// A frame somebody published.
    Deliver(Arc<Delivery>),
    /// A call of a service that this connection registered (§20.5).
    Call(Box<RpcCall>),
    /// A refused operation (§7.2).
    Permission(Arc<Refused>),
    /// Frames that somebody published, or acknowledgements, as the bytes of whole WebSocket frames.
    Frames {
        /// The bytes.
        bytes: Bytes,
        /// How many messages that is.
        count: u32,
    },
    /// An answer to an event, already encoded: one text packet and its attachments.
    Packet(super::delivery::Encoded),
    /// Tell the peer that it is disconnected (`41`, §16).
    Disconnect,
}

/// What a `permission` event says.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused {
    /// Text for people.
    pub message: String,
    /// The subject or pattern that was refused.
    pub subject: String,
    /// `pub` or `sub`.
    pub direction: super::Direction,
}

impl Item {
    /// Bytes this item holds, for the bound.
    fn bytes(&self) -> usize {
        const OVERHEAD: usize = 64;
        OVERHEAD
            + match self {
                Item::Deliver(delivery) => delivery.bytes(),
                Item::Call(call) => call.bytes(),
                Item::Packet(packet) => packet.len(),
                Item::Frames { bytes, .. } => bytes.len(),
                Item::Permission(_) | Item::Disconnect => 0,
            }
    }

    /// How many messages this is, for the bound.
    fn messages(&self) -> usize {
        match self {
            Item::Frames { count, .. } => *count as usize,
            _ => 1,
        }
    }
}

/// Why an outbox takes nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// The connection has ended.
    Ended,
    /// The bound was reached.
    SlowReader,
}

#[derive(Debug, Default)]
struct Inner {
    queue: VecDeque<Item>,
    /// Bytes that were pushed and not yet reported as written.
    bytes: usize,
    /// Messages that were pushed and not yet reported as written.
    messages: usize,
    closed: Option<Closed>,
    /// Items that were dropped when the outbox closed, or came later.
    dropped: u64,
    waker: Option<Waker>,
    /// Woken at the end only, for a session that has more to write than its socket takes.
    end_waker: Option<Waker>,
}

impl Inner {
    fn wakers(&mut self) -> impl Iterator<Item = Waker> + use<> {
        [self.waker.take(), self.end_waker.take()].into_iter().flatten()
    }
}

/// A bounded queue with many writers and one reader.
#[derive(Debug)]
pub struct Outbox {
    inner: Mutex<Inner>,
    max_messages: usize,
    max_bytes: usize,
    encoded: bool,
    relieved: Notify,
}

fn count(items: &VecDeque<Item>) -> u64 {
    items.iter().map(|item| item.messages() as u64).sum()
}

/// Above this share of the byte bound, publishers of bulk frames wait for the reader.
const HIGH_WATER_DIVISOR: usize = 4;

impl Outbox {
    /// An empty outbox of a client in process.
    pub fn new(max_messages: usize, max_bytes: usize) -> Arc<Outbox> {
        let (inner, relieved) = (Mutex::default(), Notify::new());
        Arc::new(Outbox { inner, max_messages, max_bytes, encoded: false, relieved })
    }

    /// An empty outbox of a socket, which takes [`Item::Frames`].
    pub fn of_socket(max_messages: usize, max_bytes: usize) -> Arc<Outbox> {
        let (inner, relieved) = (Mutex::default(), Notify::new());
        Arc::new(Outbox { inner, max_messages, max_bytes, encoded: true, relieved })
    }

    /// Whether it takes [`Item::Frames`].
    pub fn is_encoded(&self) -> bool {
        self.encoded
    }

    /// Adds an item.
    ///
    /// # Errors
    /// The outbox is closed; it closes by itself when the item does not fit. A single item is always let in when nothing else
    /// waits, however large it is.
    pub fn push(&self, item: Item) -> Result<(), Closed> {
        let (messages, size) = (item.messages(), item.bytes());
        let mut inner = self.inner.lock();
        if let Some(reason) = inner.closed {
            inner.dropped += messages as u64;
            return Err(reason);
        }
        let too_many = inner.messages + messages > self.max_messages;
        if inner.messages > 0 && (too_many || inner.bytes + size > self.max_bytes) {
            inner.closed = Some(Closed::SlowReader);
            let dropped = std::mem::take(&mut inner.queue);
            inner.dropped += count(&dropped) + messages as u64;
            let wakers = inner.wakers();
            drop(inner);
            drop(dropped);
            self.relieved.notify_waiters();
            wakers.for_each(Waker::wake);
            return Err(Closed::SlowReader);
        }
        inner.bytes += size;
        inner.messages += messages;
        inner.queue.push_back(item);
        let waker = inner.waker.take();
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }

    /// Takes the next items, at most `max_bytes` of them and at least one.
    pub fn poll_take(
        &self,
        cx: &mut Context<'_>,
        max_bytes: usize,
        out: &mut VecDeque<Item>,
    ) -> Poll<Result<(), Closed>> {
        let mut inner = self.inner.lock();
        if inner.queue.is_empty() {
            if let Some(reason) = inner.closed {
                return Poll::Ready(Err(reason));
            }
            inner.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        if inner.bytes <= max_bytes && out.is_empty() {
            std::mem::swap(&mut inner.queue, out);
            return Poll::Ready(Ok(()));
        }
        let mut taken = 0;
        while taken < max_bytes {
            let Some(item) = inner.queue.pop_front() else { break };
            taken += item.bytes();
            out.push_back(item);
        }
        Poll::Ready(Ok(()))
    }

    /// Whether the outbox is closed; ready when it is. What is added meanwhile wakes nobody.
    pub fn poll_closed(&self, cx: &mut Context<'_>) -> Poll<Closed> {
        let mut inner = self.inner.lock();
        match inner.closed {
            Some(reason) => Poll::Ready(reason),
            None => {
                inner.end_waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Takes the next item, waiting for one.
    ///
    /// # Errors
    /// The outbox is closed and empty.
    pub async fn take(&self, out: &mut VecDeque<Item>) -> Result<(), Closed> {
        std::future::poll_fn(|cx| self.poll_take(cx, usize::MAX, out)).await
    }

    /// Reports that items that were taken have left the process, which makes room for others.
    pub fn written(&self, messages: usize, bytes: usize) {
        let mut inner = self.inner.lock();
        inner.messages = inner.messages.saturating_sub(messages);
        let before = inner.bytes;
        inner.bytes = inner.bytes.saturating_sub(bytes);
        let mark = self.max_bytes / HIGH_WATER_DIVISOR;
        let relieved = before > mark && inner.bytes <= mark;
        drop(inner);
        if relieved {
            self.relieved.notify_waiters();
        }
    }

    /// What [`Outbox::written`] has to be told for an item: messages and bytes.
    pub fn size_of(item: &Item) -> (usize, usize) {
        (item.messages(), item.bytes())
    }

    /// Closes the outbox; what waits is dropped.
    pub fn close(&self, reason: Closed) {
        let mut inner = self.inner.lock();
        inner.closed.get_or_insert(reason);
        let dropped = std::mem::take(&mut inner.queue);
        inner.dropped += count(&dropped);
        let wakers = inner.wakers();
        drop(inner);
        drop(dropped);
        self.relieved.notify_waiters();
        wakers.for_each(Waker::wake);
    }

    /// How many items were dropped because the outbox was closed.
    pub fn dropped(&self) -> u64 {
        self.inner.lock().dropped
    }

    /// Messages and bytes that wait.
    pub fn depth(&self) -> (usize, usize) {
        let inner = self.inner.lock();
        (inner.messages, inner.bytes)
    }

    /// Whether publishers of bulk frames should wait.
    pub fn is_congested(&self) -> bool {
        let inner = self.inner.lock();
        inner.closed.is_none() && inner.bytes > self.max_bytes / HIGH_WATER_DIVISOR
    }

    /// Waits until the outbox is no longer congested, or closed, or the time is over.
    pub async fn relief(self: Arc<Self>, at_most: Duration) {
        let wait = async {
            loop {
                let relieved = self.relieved.notified();
                tokio::pin!(relieved);
                // Registered before the check, so that a notification in between is not missed.
                relieved.as_mut().enable();
                if !self.is_congested() {
                    return;
                }
                relieved.await;
            }
        };
        // A reader that takes longer is cut off by its own bounds, not by its publishers.
        let _ = tokio::time::timeout(at_most, wait).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(count: u32, bytes: usize) -> Item {
        Item::Frames { bytes: vec![0; bytes].into(), count }
    }

    #[test]
    fn both_bounds_hold_for_messages_that_come_together() {
        let outbox = Outbox::of_socket(10, 10_000);
        // Whatever comes first is let in.
        assert_eq!(outbox.push(frames(20, 20_000)), Ok(()));
        assert_eq!(outbox.push(frames(1, 1)), Err(Closed::SlowReader));
        assert_eq!((outbox.push(frames(3, 1)), outbox.dropped()), (Err(Closed::SlowReader), 24));

        for (more, fits) in [((4, 10), true), ((5, 10), false), ((1, 9_000), true), ((1, 10_000), false)] {
            let outbox = Outbox::of_socket(10, 10_000);
            outbox.push(frames(6, 600)).unwrap();
            assert_eq!(outbox.push(frames(more.0, more.1)).is_ok(), fits, "{more:?}");
        }
    }
}

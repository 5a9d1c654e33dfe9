//! What waits to be sent over a WebSocket.
//!
//! Two lanes: *control* goes first and always (acknowledgements, heartbeat, comparing subscriptions), *application* goes when
//! the gate is open, which it is while a session is signed in and its subscriptions are on their way. While there is no
//! connection everything waits, up to the bound.

use std::collections::VecDeque;

use bytes::Bytes;
use parking_lot::Mutex;
use smallvec::SmallVec;
use tokio::sync::{Notify, oneshot};

use crate::bus::Error;

/// An acknowledgement as it came.
#[derive(Debug)]
pub(super) struct Acked {
    /// The argument's JSON, `null` if there is none.
    pub text: String,
    pub attachments: SmallVec<[Bytes; 1]>,
}

pub(super) type AckSender = oneshot::Sender<Result<Acked, Error>>;

/// A packet to be sent.
#[derive(Debug)]
pub(super) enum Packet {
    /// A text as it is.
    Raw(String),
    /// An event: the array's JSON.
    Event { body: String, attachments: SmallVec<[Bytes; 1]>, ack: Option<AckSender> },
    /// The answer to an event of the server's.
    Answer { id: u64, body: String, attachments: SmallVec<[Bytes; 1]> },
}

impl Packet {
    fn bytes(&self) -> usize {
        const OVERHEAD: usize = 64;
        let (text, attachments) = match self {
            Packet::Raw(text) => return OVERHEAD + text.len(),
            Packet::Event { body, attachments, .. } | Packet::Answer { body, attachments, .. } => (body, attachments),
        };
        OVERHEAD + text.len() + attachments.iter().map(Bytes::len).sum::<usize>()
    }

    /// Whether nobody waits for what would come of it any more.
    fn is_abandoned(&self) -> bool {
        matches!(self, Packet::Event { ack: Some(ack), .. } if ack.is_closed())
    }
}

#[derive(Debug, Default)]
struct Inner {
    control: VecDeque<Packet>,
    application: VecDeque<Packet>,
    bytes: usize,
    /// Grows whenever a connection is lost.
    session: u64,
    open: bool,
    closed: bool,
}

/// The lanes.
#[derive(Debug)]
pub(super) struct Outgoing {
    inner: Mutex<Inner>,
    ready: Notify,
    room: Notify,
    max_messages: usize,
    max_bytes: usize,
}

impl Outgoing {
    pub fn new(max_messages: usize, max_bytes: usize) -> Outgoing {
        Outgoing { inner: Mutex::default(), ready: Notify::new(), room: Notify::new(), max_messages, max_bytes }
    }

    /// Adds to the control lane; small things that the protocol itself bounds.
    pub fn push_control(&self, packet: Packet) {
        let mut inner = self.inner.lock();
        if !inner.closed {
            inner.control.push_back(packet);
            drop(inner);
            self.ready.notify_one();
        }
    }

    /// Names the present connection for [`Outgoing::push_answer`].
    pub fn session(&self) -> u64 {
        self.inner.lock().session
    }

    /// Adds the answer to something that the server asked on a connection, unless that has gone: acknowledgement ids count
    /// from 0 on each, so on the next one it would answer something else.
    pub fn push_answer(&self, session: u64, packet: Packet) {
        let mut inner = self.inner.lock();
        if !inner.closed && inner.session == session {
            inner.control.push_back(packet);
            drop(inner);
            self.ready.notify_one();
        }
    }

    /// Adds to the application's lane past the bound: subscribes and unsubscribes, which have a bound of their own.
    pub fn push_always(&self, packet: Packet) {
        let mut inner = self.inner.lock();
        if !inner.closed {
            inner.bytes += packet.bytes();
            inner.application.push_back(packet);
            drop(inner);
            self.ready.notify_one();
        }
    }

    /// Adds to the application's lane if there is room. A single packet is always let in.
    pub fn try_push(&self, packet: Packet) -> Result<(), Error> {
        self.offer(packet).map_err(|refused| if refused.is_some() { Error::Full } else { Error::Closed })
    }

    /// Adds to the application's lane, waiting for room.
    pub async fn push(&self, mut packet: Packet) -> Result<(), Error> {
        loop {
            let room = self.room.notified();
            tokio::pin!(room);
            // Registered before the try, so that room made in between is not missed.
            room.as_mut().enable();
            match self.offer(packet) {
                Ok(()) => return Ok(()),
                Err(Some(refused)) => packet = *refused,
                Err(None) => return Err(Error::Closed),
            }
            room.await;
        }
    }

    /// Gives the packet back when it does not fit, nothing when the lanes are closed.
    fn offer(&self, packet: Packet) -> Result<(), Option<Box<Packet>>> {
        let size = packet.bytes();
        let mut inner = self.inner.lock();
        if inner.closed {
            return Err(None);
        }
        let full = inner.application.len() >= self.max_messages || inner.bytes + size > self.max_bytes;
        if full && !inner.application.is_empty() {
            return Err(Some(Box::new(packet)));
        }
        inner.bytes += size;
        inner.application.push_back(packet);
        drop(inner);
        self.ready.notify_one();
        Ok(())
    }

    /// The next packet if there is one to be sent now.
    pub fn try_next(&self) -> Option<Packet> {
        let mut inner = self.inner.lock();
        if let Some(packet) = inner.control.pop_front() {
            return Some(packet);
        }
        if !inner.open {
            return None;
        }
        while let Some(packet) = inner.application.pop_front() {
            inner.bytes -= packet.bytes();
            self.room.notify_waiters();
            if !packet.is_abandoned() {
                return Some(packet);
            }
        }
        None
    }

    /// Waits for a packet; `None` when the lanes are closed and empty.
    pub async fn next(&self) -> Option<Packet> {
        loop {
            // A permit is kept when nobody waits, so nothing that is pushed in between is missed.
            if let Some(packet) = self.try_next() {
                return Some(packet);
            }
            if self.inner.lock().closed {
                return None;
            }
            self.ready.notified().await;
        }
    }

    /// Opens or closes the gate of the application's lane.
    pub fn set_open(&self, open: bool) {
        let mut inner = self.inner.lock();
        inner.open = open;
        if !open {
            // What the old connection was to be told means nothing on the next one.
            inner.session += 1;
            inner.control.clear();
        }
        drop(inner);
        self.ready.notify_one();
    }

    /// Takes nothing more; what is there is still given out.
    pub fn close(&self) {
        let mut inner = self.inner.lock();
        inner.closed = true;
        drop(inner);
        self.ready.notify_one();
        self.room.notify_waiters();
    }

    /// Drops what waits.
    pub fn clear(&self) {
        let mut inner = self.inner.lock();
        let dropped = (std::mem::take(&mut inner.control), std::mem::take(&mut inner.application));
        inner.bytes = 0;
        drop(inner);
        drop(dropped);
        self.room.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(body: &str, ack: Option<AckSender>) -> Packet {
        Packet::Event { body: body.into(), attachments: SmallVec::new(), ack }
    }

    fn body(packet: Option<Packet>) -> Option<String> {
        packet.map(|packet| match packet {
            Packet::Raw(text) => text,
            Packet::Event { body, .. } | Packet::Answer { body, .. } => body,
        })
    }

    #[test]
    fn control_goes_first_and_through_a_closed_gate() {
        let out = Outgoing::new(10, 10_000);
        out.try_push(event("a", None)).unwrap();
        out.push_control(Packet::Raw("c".into()));
        assert_eq!(body(out.try_next()), Some("c".into()));
        assert_eq!(body(out.try_next()), None);
        out.set_open(true);
        assert_eq!(body(out.try_next()), Some("a".into()));
    }

    #[test]
    fn the_bound_holds_and_abandoned_packets_are_not_sent() {
        let out = Outgoing::new(2, 10_000);
        let (sender, receiver) = oneshot::channel();
        out.try_push(event("a", Some(sender))).unwrap();
        out.try_push(event("b", None)).unwrap();
        assert!(matches!(out.try_push(event("c", None)), Err(Error::Full)));
        drop(receiver);
        out.set_open(true);
        assert_eq!(body(out.try_next()), Some("b".into()));
        assert_eq!(out.inner.lock().bytes, 0);
    }

    #[test]
    fn answers_are_for_the_connection_that_was_asked_on() {
        let out = Outgoing::new(10, 10_000);
        out.set_open(true);
        let session = out.session();
        out.push_answer(session, Packet::Raw("in time".into()));
        assert_eq!(body(out.try_next()), Some("in time".into()));
        out.set_open(false);
        out.set_open(true);
        out.push_answer(session, Packet::Raw("too late".into()));
        assert_eq!(body(out.try_next()), None);
        out.push_answer(out.session(), Packet::Raw("again".into()));
        assert_eq!(body(out.try_next()), Some("again".into()));
    }

    #[tokio::test]
    async fn a_publisher_waits_for_room() {
        let out = std::sync::Arc::new(Outgoing::new(1, 10_000));
        out.try_push(event("a", None)).unwrap();
        let waiting = tokio::spawn({
            let out = out.clone();
            async move { out.push(event("b", None)).await }
        });
        tokio::task::yield_now().await;
        out.set_open(true);
        assert_eq!(body(out.next().await), Some("a".into()));
        waiting.await.unwrap().unwrap();
        assert_eq!(body(out.next().await), Some("b".into()));
        out.close();
        assert_eq!(body(out.next().await), None);
    }
}

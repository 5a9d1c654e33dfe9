//! What a client is connected through: the broker in this process, or a WebSocket.

use std::{pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use smallvec::SmallVec;

use super::{Error, local::Local, remote::Remote};
use crate::{
    broker::{Outbox, rpc::Fields as CallFields},
    wire::frame::Fields,
};

pub(super) type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// How long a publisher of bulk data waits for a reader that is behind. The reader is cut off by its own bounds if it takes
/// longer.
const RELIEF_TIMEOUT: Duration = Duration::from_secs(10);

/// A publish that is on its way.
pub(super) enum Ack {
    /// It has been delivered to so many; these readers are behind.
    Delivered(u32, SmallVec<[Arc<Outbox>; 1]>),
    /// The server will tell.
    Pending(BoxFuture<Result<u32, Error>>),
}

impl Ack {
    pub async fn count(self) -> Result<u32, Error> {
        match self {
            Ack::Delivered(count, congested) => {
                for outbox in congested {
                    outbox.relief(RELIEF_TIMEOUT).await;
                }
                Ok(count)
            }
            Ack::Pending(answer) => answer.await,
        }
    }
}

/// A subscribe that is on its way.
pub(super) enum Subscribing {
    /// It is done.
    Done(Result<(), Error>),
    /// The server will tell.
    Pending(BoxFuture<Result<(), Error>>),
}

/// A connection to a broker.
#[derive(Debug)]
pub(super) enum Link {
    /// In this process.
    Local(Box<Local>),
    /// Over a WebSocket.
    Remote(Box<Remote>),
}

impl Link {
    /// The connection over a WebSocket, if it is one.
    pub fn remote(&self) -> Option<&Remote> {
        match self {
            Link::Local(_) => None,
            Link::Remote(remote) => Some(remote),
        }
    }

    pub fn max_payload(&self) -> usize {
        match self {
            Link::Local(local) => local.max_payload(),
            Link::Remote(remote) => remote.max_payload(),
        }
    }

    /// Publishes a frame without acknowledgement.
    pub fn publish_sync(&self, subject: &str, frame: Fields) -> Result<(), Error> {
        match self {
            Link::Local(local) => local.publish(subject, frame).map(|_| ()),
            Link::Remote(remote) => remote.publish_sync(subject, frame),
        }
    }

    /// Starts to publish a frame; the acknowledgement is waited for separately.
    pub async fn publish(
        &self,
        subject: &str,
        frame: Fields,
    ) -> Result<impl Future<Output = Result<u32, Error>>, Error> {
        let ack = match self {
            Link::Local(local) => local.publish(subject, frame)?,
            Link::Remote(remote) => remote.publish(subject, frame).await?,
        };
        Ok(ack.count())
    }

    /// Starts to subscribe.
    pub fn subscribe(&self, pattern: &str, queue: &str) -> Subscribing {
        match self {
            Link::Local(local) => Subscribing::Done(local.subscribe(pattern, queue)),
            Link::Remote(remote) => remote.subscribe(pattern, queue),
        }
    }

    pub fn unsubscribe(&self, pattern: &str) {
        match self {
            Link::Local(local) => local.unsubscribe(pattern),
            Link::Remote(remote) => remote.unsubscribe(pattern),
        }
    }

    /// Whether there was interest in time.
    pub async fn wait_for_interest(&self, subject: &str, timeout: Duration) -> Result<bool, Error> {
        match self {
            Link::Local(local) => local.wait_for_interest(subject, timeout).await,
            Link::Remote(remote) => remote.wait_for_interest(subject, timeout).await,
        }
    }

    /// Registers a service for direct calls (§20.5).
    pub fn register_service(&self, pattern: &str, queue: &str) -> Subscribing {
        match self {
            Link::Local(local) => Subscribing::Done(local.register_service(pattern, queue)),
            Link::Remote(remote) => remote.register_service(pattern, queue),
        }
    }

    pub fn close_service(&self, pattern: &str) {
        match self {
            Link::Local(local) => local.close_service(pattern),
            Link::Remote(remote) => remote.close_service(pattern),
        }
    }

    /// Calls a service directly: the answer's fields, or the error in them.
    pub async fn call(&self, subject: &str, raw: Bytes, timeout: Duration) -> Result<CallFields, Error> {
        match self {
            Link::Local(local) => local.call(subject, raw, timeout).await,
            Link::Remote(remote) => remote.call(subject, raw, timeout).await,
        }
    }

    /// Unsubscribes and disconnects.
    pub fn close(&self, patterns: Vec<Arc<str>>) {
        match self {
            Link::Local(local) => local.close(patterns),
            Link::Remote(remote) => remote.close(patterns),
        }
    }
}

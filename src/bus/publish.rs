//! Publishing: options, results, and frames from payloads (conat-wire.md §§5.5, 6.1, 10.6).

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::try_join_all;
use serde_json::Value;
use tokio::time::Instant;

use super::{Error, core::Core, id::message_id};
use crate::wire::{
    chunk::{chunk_size, split},
    subject::is_valid_subject,
};

/// How long an acknowledged publish or a request may take.
pub const PUBLISH_TIMEOUT: Duration = Duration::from_secs(30);
/// With less time than this left after a wait, a publish is not tried again.
const WORTH_TRYING: Duration = Duration::from_millis(500);

/// How to publish.
#[derive(Clone, Debug)]
pub struct PublishOptions {
    /// Headers; usually an object.
    pub headers: Option<Value>,
    /// How long it may take altogether.
    pub timeout: Duration,
    /// Whether to wait for somebody to be interested when nobody is.
    pub wait_for_interest: bool,
}

impl Default for PublishOptions {
    fn default() -> Self {
        PublishOptions { headers: None, timeout: PUBLISH_TIMEOUT, wait_for_interest: false }
    }
}

/// What came of an acknowledged publish.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// Pairs of pattern and queue group that got the message, the pattern `>` left aside.
    pub count: u32,
    /// Payload bytes.
    pub bytes: usize,
}

impl Core {
    fn frames(
        &self,
        encoding: u64,
        payload: Bytes,
        headers: Option<Value>,
    ) -> impl Iterator<Item = crate::wire::frame::Fields> {
        split(message_id(), encoding, payload, headers, chunk_size(self.max_payload()))
    }

    fn check_publish(&self, subject: &str) -> Result<(), Error> {
        if !is_valid_subject(subject) {
            return Err(Error::InvalidSubject(subject.into()));
        }
        self.check_denied(subject)
    }

    /// Publishes without acknowledgement.
    pub fn publish_sync(
        &self,
        subject: &str,
        encoding: u64,
        payload: Bytes,
        headers: Option<Value>,
    ) -> Result<(), Error> {
        self.check_publish(subject)?;
        for frame in self.frames(encoding, payload, headers) {
            self.link().publish_sync(subject, frame)?;
        }
        Ok(())
    }

    /// Publishes with acknowledgement; the count is the largest over the chunks.
    pub async fn publish(
        &self,
        subject: &str,
        encoding: u64,
        payload: Bytes,
        headers: Option<Value>,
        timeout: Duration,
    ) -> Result<Published, Error> {
        self.check_publish(subject)?;
        let bytes = payload.len();
        let send = async {
            // Over a wire all chunks are on their way before the first acknowledgement is waited for.
            let mut acks = Vec::with_capacity(1);
            let mut count = 0;
            for frame in self.frames(encoding, payload, headers) {
                let ack = self.link().publish(subject, frame).await?;
                // In process nothing is on the way: a chunk lies in the reader's outbox, and the next one waits until there
                // is room, or a message larger than an outbox would cut off whoever asked for it.
                if self.link().remote().is_none() {
                    count = count.max(ack.await?);
                } else {
                    acks.push(ack);
                }
            }
            let counts = try_join_all(acks).await?;
            Ok(Published { count: counts.into_iter().max().unwrap_or(0).max(count), bytes })
        };
        within(timeout, "publish", send).await
    }

    /// Publishes; if nobody is interested, waits for interest and publishes once more (§10.6).
    pub async fn publish_waiting(
        &self,
        subject: &str,
        encoding: u64,
        payload: Bytes,
        headers: Option<Value>,
        timeout: Duration,
    ) -> Result<Published, Error> {
        let deadline = Instant::now() + timeout;
        let left = || deadline.saturating_duration_since(Instant::now());
        let published = self.publish(subject, encoding, payload.clone(), headers.clone(), timeout).await?;
        if published.count > 0 {
            return Ok(published);
        }
        let found = self.wait_for_interest(subject, left()).await?;
        if !found && left().is_zero() {
            return Err(Error::Timeout(format!("waiting for interest in '{subject}'")));
        }
        if left() <= WORTH_TRYING && !found {
            return Ok(published);
        }
        self.publish(subject, encoding, payload, headers, left().max(WORTH_TRYING)).await
    }

    /// Waits for interest; false when there was none in time.
    pub async fn wait_for_interest(&self, subject: &str, timeout: Duration) -> Result<bool, Error> {
        if !is_valid_subject(subject) {
            return Err(Error::InvalidSubject(subject.into()));
        }
        self.link().wait_for_interest(subject, timeout).await
    }
}

/// Limits the time of an operation.
pub(super) async fn within<T>(
    timeout: Duration,
    what: &str,
    operation: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    match tokio::time::timeout(timeout, operation).await {
        Ok(result) => result,
        Err(_) => Err(Error::Timeout(what.into())),
    }
}

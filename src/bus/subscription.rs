//! Reading what is published to a pattern.

use std::{sync::Arc, time::Duration};

use super::{
    Client, Error, Message,
    core::Core,
    link::Subscribing,
    queue::Queue,
    table::{Arrival, Chunk, Joined, ReaderQueue},
};
use crate::{broker::Direction, wire::subject::is_valid_pattern};

/// How long the server may take to confirm a subscription.
const SUBSCRIBE_TIMEOUT: Duration = Duration::from_secs(60);

/// How to subscribe.
#[derive(Clone, Debug)]
pub struct SubscribeOptions {
    /// The queue group; without one, a group of one's own.
    pub queue: Option<String>,
    /// Messages that may wait for the reader.
    pub max_messages: usize,
    /// Bytes that may wait for the reader.
    pub max_bytes: usize,
}

impl Default for SubscribeOptions {
    fn default() -> Self {
        SubscribeOptions { queue: None, max_messages: 16_384, max_bytes: 64 << 20 }
    }
}

impl SubscribeOptions {
    /// A subscription in a queue group.
    pub fn queue(queue: &str) -> SubscribeOptions {
        SubscribeOptions { queue: Some(queue.into()), ..SubscribeOptions::default() }
    }
}

/// A local subscription. Dropping it ends it; the last one of a pattern ends the pattern's subscription on the wire.
///
/// What waits for the reader is bounded. A reader that does not keep up gets what waits already, then
/// [`Error::SlowReader`]; its subscription has ended then.
#[derive(Debug)]
pub struct Subscription {
    client: Client,
    pattern: Arc<str>,
    reader: u64,
    queue: ReaderQueue,
}

impl Subscription {
    /// The next message.
    ///
    /// # Errors
    /// The subscription has ended: closed, refused when it was made anew after a reconnect, or its reader was too slow.
    pub async fn recv(&mut self) -> Result<Message, Error> {
        let delivered = self.queue.pop().await?;
        Ok(Message::new(delivered, self.client.core().clone()))
    }

    /// The next message if there is one already.
    ///
    /// # Errors
    /// See [`Subscription::recv`].
    pub fn try_recv(&mut self) -> Result<Option<Message>, Error> {
        match self.queue.try_pop() {
            Some(next) => Ok(Some(Message::new(next?, self.client.core().clone()))),
            None => Ok(None),
        }
    }

    /// The pattern.
    pub fn pattern(&self) -> &str {
        &self.pattern
    }

    /// The client.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Messages and bytes that wait for the reader.
    pub fn depth(&self) -> (usize, usize) {
        self.queue.depth()
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let core = self.client.core();
        let mut table = core.table.lock();
        if table.leave(&self.pattern, self.reader) {
            core.link().unsubscribe(&self.pattern);
        }
    }
}

/// Makes a subscription; returns when the server has confirmed it.
pub(super) async fn subscribe(
    client: &Client,
    pattern: &str,
    options: SubscribeOptions,
) -> Result<Subscription, Error> {
    let core = client.core();
    if !is_valid_pattern(pattern) {
        return Err(Error::InvalidSubject(pattern.into()));
    }
    core.check_denied_for(Direction::Subscribe, pattern)?;
    let queue = Arc::new(Queue::new(pattern, options.max_messages, options.max_bytes));
    let Joined { reader, mut confirmation, .. } = {
        let mut table = core.table.lock();
        let joined = table.join(pattern, options.queue.as_deref(), queue.clone())?;
        // Within the lock, so that subscribes and unsubscribes of a pattern go out in order.
        let started = joined.new.as_ref().map(|(serial, queue)| (*serial, core.link().subscribe(pattern, queue)));
        match started {
            Some((serial, Subscribing::Done(result))) => table.confirm(pattern, serial, result),
            Some((serial, Subscribing::Pending(answer))) => {
                // A task of its own: this subscription may be shared by others when its first reader is gone.
                let (core, pattern) = (core.clone(), pattern.to_owned());
                core.tasks.clone().spawn(async move {
                    let answer = tokio::time::timeout(SUBSCRIBE_TIMEOUT, answer);
                    let result = tokio::select! {
                        answer = answer => answer.unwrap_or_else(|_| Err(Error::Timeout("subscribe".into()))),
                        () = core.closing.cancelled() => Err(Error::Closed),
                    };
                    // A connection that is lost makes the subscription again when it is back.
                    if !matches!(result, Err(Error::Disconnected)) {
                        core.table.lock().confirm(&pattern, serial, result);
                    }
                });
            }
            None => {}
        }
        joined
    };
    let subscription = Subscription { client: client.clone(), pattern: pattern.into(), reader, queue };
    let confirmed = confirmation.wait_for(Option::is_some).await.map_err(|_| Error::Closed)?.clone();
    confirmed.unwrap_or(Err(Error::Closed))?;
    Ok(subscription)
}

impl Core {
    /// Hands a frame to whoever reads it.
    pub fn deliver(&self, pattern: &str, chunk: Chunk) {
        let mut table = self.table.lock();
        match table.receive(pattern, chunk) {
            Arrival::Nothing => {}
            Arrival::Read { bytes, orphaned } => {
                if orphaned {
                    tracing::warn!(pattern, "the reader of a subscription was too slow and lost it");
                    self.link().unsubscribe(pattern);
                }
                drop(table);
                self.count_received(bytes);
            }
            Arrival::Response(delivered) => {
                drop(table);
                self.count_received(delivered.payload.len());
                self.replies.deliver(delivered);
            }
        }
    }
}

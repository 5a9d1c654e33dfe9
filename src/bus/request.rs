//! Requests and their responses (conat-wire.md §10).

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use foldhash::fast::RandomState;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};

use super::{
    Client, Error, Message,
    core::Core,
    id::random_id,
    message::{Delivered, REPLY, add_header},
    publish::PUBLISH_TIMEOUT,
    queue::Queue,
};

/// Responses that may wait for a reader of many.
const MAX_WAITING: usize = 16_384;
const MAX_WAITING_BYTES: usize = 64 << 20;

/// How to request.
#[derive(Clone, Debug)]
pub struct RequestOptions {
    /// Headers beside `CN-Reply`.
    pub headers: Option<Value>,
    /// How long the response may take.
    pub timeout: Duration,
    /// Whether to wait for somebody to be interested when nobody is.
    pub wait_for_interest: bool,
}

impl Default for RequestOptions {
    fn default() -> Self {
        RequestOptions { headers: None, timeout: PUBLISH_TIMEOUT, wait_for_interest: false }
    }
}

impl RequestOptions {
    /// A request with so much time.
    pub fn timeout(timeout: Duration) -> RequestOptions {
        RequestOptions { timeout, ..RequestOptions::default() }
    }
}

/// How to request when many responses may come.
#[derive(Clone, Debug)]
pub struct RequestManyOptions {
    /// Headers beside `CN-Reply`.
    pub headers: Option<Value>,
    /// Ends after so many responses.
    pub max_messages: Option<usize>,
    /// Ends when no response came for so long.
    pub max_wait: Option<Duration>,
    /// Whether to wait for somebody to be interested when nobody is.
    pub wait_for_interest: bool,
    /// How long the publish may take.
    pub timeout: Duration,
}

impl Default for RequestManyOptions {
    fn default() -> Self {
        RequestManyOptions {
            headers: None,
            max_messages: None,
            max_wait: None,
            wait_for_interest: false,
            timeout: PUBLISH_TIMEOUT,
        }
    }
}

#[derive(Debug)]
enum Waiting {
    One(oneshot::Sender<Delivered>),
    Many(Arc<Queue<Delivered>>),
}

/// Who waits for which response.
#[derive(Debug, Default)]
pub(super) struct Replies {
    /// By reply subject.
    waiting: Mutex<HashMap<Box<str>, Waiting, RandomState>>,
}

/// Takes the entry out when nobody waits any more.
#[derive(Debug)]
struct Place {
    core: Arc<Core>,
    subject: String,
}

impl Replies {
    /// Hands a response to whoever waits for it; others are ignored.
    pub fn deliver(&self, delivered: Delivered) {
        let mut waiting = self.waiting.lock();
        match waiting.get(&*delivered.subject) {
            Some(Waiting::One(_)) => {
                if let Some(Waiting::One(sender)) = waiting.remove(&*delivered.subject) {
                    // Whoever asked may have stopped waiting at this moment.
                    let _ = sender.send(delivered);
                }
            }
            Some(Waiting::Many(queue)) => {
                let bytes = delivered.bytes();
                queue.push(delivered, bytes);
            }
            None => {}
        }
    }

    /// Nobody gets a response any more.
    pub fn close(&self) {
        for (_, waiting) in std::mem::take(&mut *self.waiting.lock()) {
            if let Waiting::Many(queue) = waiting {
                queue.close(Error::Closed);
            }
        }
    }
}

impl Place {
    fn take(core: &Arc<Core>, inbox: &str, waiting: Waiting) -> Place {
        let subject = format!("{inbox}.{}", random_id());
        core.replies.waiting.lock().insert(subject.as_str().into(), waiting);
        Place { core: core.clone(), subject }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.core.replies.waiting.lock().remove(self.subject.as_str());
    }
}

async fn send(
    core: &Core,
    subject: &str,
    payload: Bytes,
    headers: Option<Value>,
    place: &Place,
    timeout: Duration,
    wait: bool,
) -> Result<(), Error> {
    let headers = Some(add_header(headers, REPLY, place.subject.as_str().into()));
    let published = if wait {
        core.publish_waiting(subject, super::message::MSGPACK, payload, headers, timeout).await?
    } else {
        core.publish(subject, super::message::MSGPACK, payload, headers, timeout).await?
    };
    if published.count == 0 { Err(Error::NoSubscribers(subject.into())) } else { Ok(()) }
}

/// Sends a request and waits for the first response.
pub(super) async fn request(
    core: &Arc<Core>,
    subject: &str,
    payload: Bytes,
    options: RequestOptions,
) -> Result<Message, Error> {
    let deadline = Instant::now() + options.timeout;
    let late = || Error::Timeout(format!("request to '{subject}'"));
    let inbox = timeout_at(deadline, core.inbox()).await.map_err(|_| late())??;
    let (sender, response) = oneshot::channel();
    let place = Place::take(core, &inbox, Waiting::One(sender));
    let left = deadline.saturating_duration_since(Instant::now());
    send(core, subject, payload, options.headers, &place, left, options.wait_for_interest).await?;
    let delivered = timeout_at(deadline, response).await.map_err(|_| late())?.map_err(|_| Error::Closed)?;
    if let Some(error) = delivered.headers.as_deref().and_then(Error::from_headers) {
        return Err(error);
    }
    Ok(Message::new(delivered, core.clone()))
}

/// Sends a request to which many responses may come.
pub(super) async fn request_many(
    client: &Client,
    subject: &str,
    payload: Bytes,
    options: RequestManyOptions,
) -> Result<Responses, Error> {
    let core = client.core();
    let deadline = Instant::now() + options.timeout;
    let late = || Error::Timeout(format!("request to '{subject}'"));
    let inbox = timeout_at(deadline, core.inbox()).await.map_err(|_| late())??;
    let queue = Arc::new(Queue::new(subject, MAX_WAITING, MAX_WAITING_BYTES));
    let place = Place::take(core, &inbox, Waiting::Many(queue.clone()));
    let left = deadline.saturating_duration_since(Instant::now());
    send(core, subject, payload, options.headers, &place, left, options.wait_for_interest).await?;
    Ok(Responses {
        client: client.clone(),
        _place: place,
        queue,
        left: options.max_messages,
        max_wait: options.max_wait,
    })
}

/// Responses to one request, in order of arrival. There is no end marker (§10.5): it ends after `max_messages`, after `max_wait`
/// without a response, or when it is dropped.
#[derive(Debug)]
pub struct Responses {
    client: Client,
    _place: Place,
    queue: Arc<Queue<Delivered>>,
    left: Option<usize>,
    max_wait: Option<Duration>,
}

impl Responses {
    /// The next response, or `None` at the end. A response with an `error` header is a response like others; see
    /// [`Error::from_headers`].
    ///
    /// # Errors
    /// The client is closed, or the reader was too slow.
    pub async fn next(&mut self) -> Result<Option<Message>, Error> {
        if self.left == Some(0) {
            return Ok(None);
        }
        let delivered = match self.max_wait {
            Some(wait) => match tokio::time::timeout(wait, self.queue.pop()).await {
                Ok(next) => next?,
                Err(_) => return Ok(None),
            },
            None => self.queue.pop().await?,
        };
        if let Some(left) = &mut self.left {
            *left -= 1;
        }
        Ok(Some(Message::new(delivered, self.client.core().clone())))
    }

    /// All responses until the end.
    ///
    /// # Errors
    /// See [`Responses::next`].
    pub async fn collect(mut self) -> Result<Vec<Message>, Error> {
        let mut all = Vec::new();
        while let Some(message) = self.next().await? {
            all.push(message);
        }
        Ok(all)
    }
}

//! A stream to append to, also while the server is away (conat-persist.md §12.2).

mod save;
mod unsaved;

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use parking_lot::Mutex;
use serde::Serialize;
use serde_json::{Map, Value};
use tokio::{
    sync::{Notify, oneshot},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use self::unsaved::Unsaved;
use super::{
    Assigned, Changes, Connection, CoreStream, Error, Follower, InventoryOptions, Owner, Persist, Result, StreamKind,
    StreamOptions,
    core::Observer,
    inventory::InventoryWriter,
    message::{Message, Write},
    notices::{Notices, Notifier},
};
use crate::bus::random_id;

/// How to publish.
#[derive(Clone, Debug, Default)]
pub struct PublishOptions {
    /// Headers.
    pub headers: Option<Map<String, Value>>,
    /// Time to live; needs `allow_msg_ttl`.
    pub ttl: Option<Duration>,
    /// A checkpoint to be written with it (newer servers): `{name, seq?, time?, data?}`.
    pub checkpoint: Option<Value>,
}

/// A message that was refused for good.
#[derive(Clone, Debug)]
pub struct Rejection {
    /// The id it was published with.
    pub msg_id: Arc<str>,
    /// Why.
    pub error: Error,
}

/// What becomes of a message that was published. Nothing is lost by dropping it.
#[derive(Debug)]
pub struct Receipt {
    msg_id: Arc<str>,
    saved: oneshot::Receiver<Result<Assigned>>,
}

impl Receipt {
    /// The id it was published with.
    pub fn msg_id(&self) -> &str {
        &self.msg_id
    }
}

impl Future for Receipt {
    type Output = Result<Assigned>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<Assigned>> {
        Pin::new(&mut self.saved).poll(context).map(|saved| saved.unwrap_or(Err(Error::Closed)))
    }
}

/// A stream to append to. Cloning it makes another handle; it closes with the last one, and what is not saved by then is lost:
/// see [`DStream::end`].
#[derive(Clone, Debug)]
pub struct DStream {
    guard: Arc<Guard>,
}

#[derive(Debug)]
struct Guard {
    core: CoreStream,
    shared: Arc<Shared>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    inventory: Option<InventoryWriter>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.shared.close(&Error::Closed);
    }
}

#[derive(Debug)]
struct Shared {
    unsaved: Mutex<Unsaved>,
    /// There is something to save.
    wake: Notify,
    /// Something was saved, or has ended.
    saved: Notify,
    rejections: Notifier<Rejection>,
    closing: CancellationToken,
}

impl DStream {
    pub(super) async fn open(persist: &Persist, owner: &Owner, name: &str, options: StreamOptions) -> Result<DStream> {
        DStream::open_with(persist, owner, name, options, None).await
    }

    /// Opens a stream whose sizes are written down for older clients.
    ///
    /// # Errors
    /// See [`Persist::stream`].
    pub async fn open_with(
        persist: &Persist,
        owner: &Owner,
        name: &str,
        options: StreamOptions,
        inventory: Option<InventoryOptions>,
    ) -> Result<DStream> {
        let bounds = persist.options().bounds;
        let shared = Arc::new(Shared {
            unsaved: Mutex::new(Unsaved::new(bounds.unsaved, bounds.unsaved_bytes)),
            wake: Notify::new(),
            saved: Notify::new(),
            rejections: Notifier::new(bounds.notices),
            closing: CancellationToken::new(),
        });
        let observer: Arc<dyn Observer> = shared.clone();
        let core = CoreStream::observed(persist, owner, name, options, Some(observer)).await?;
        let writer = inventory.map(|options| {
            InventoryWriter::start(persist, owner, name, StreamKind::Stream, options, core.connection().clone())
        });
        let writer = writer.transpose()?;
        let saving =
            save::run(shared.clone(), core.connection().clone(), writer.as_ref().map(InventoryWriter::trigger));
        let tasks = Mutex::new(vec![tokio::spawn(saving)]);
        Ok(DStream { guard: Arc::new(Guard { core, shared, tasks, inventory: writer }) })
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.guard.shared
    }

    /// The copy beneath.
    pub fn core(&self) -> &CoreStream {
        &self.guard.core
    }

    /// Appends a message. It is here at once and at the server soon; as long as the server is away it waits.
    ///
    /// # Errors
    /// It can't be encoded, too much is not saved, or the stream is closed.
    pub fn publish<T: Serialize + ?Sized>(&self, value: &T) -> Result<Receipt> {
        self.publish_with(value, PublishOptions::default())
    }

    /// Appends a message with headers or a time to live.
    ///
    /// # Errors
    /// See [`DStream::publish`].
    pub fn publish_with<T: Serialize + ?Sized>(&self, value: &T, options: PublishOptions) -> Result<Receipt> {
        let PublishOptions { headers, ttl, checkpoint } = options;
        let msg_id: Arc<str> = random_id().into();
        let headers = headers.map(Arc::new);
        let write = Write { headers, ttl, checkpoint, msg_id: Some(msg_id.clone()), ..Write::value(value)? };
        if let Some(error) = self.core().error() {
            return Err(error);
        }
        let (sender, saved) = oneshot::channel();
        self.shared().unsaved.lock().push(msg_id.clone(), write, sender)?;
        self.shared().wake.notify_one();
        Ok(Receipt { msg_id, saved })
    }

    /// Messages in order, then those that are not in the stream yet.
    ///
    /// # Errors
    /// A message is no `T`.
    pub fn values<T: serde::de::DeserializeOwned>(&self) -> Result<Vec<T>> {
        let (stored, unsaved) = self.core().messages_and(|| self.shared().unsaved.lock().payloads());
        let mut values = stored.iter().map(Message::value).collect::<Result<Vec<T>>>()?;
        for payload in unsaved {
            values.push(crate::wire::msgpack::decode(&payload)?);
        }
        Ok(values)
    }

    /// Messages that are stored, in order.
    pub fn messages(&self) -> Vec<Message> {
        self.core().messages()
    }

    /// Messages that are not saved yet.
    pub fn unsaved(&self) -> usize {
        self.shared().unsaved.lock().unsaved()
    }

    /// What changes from now on.
    pub fn changes(&self) -> Changes {
        self.core().changes()
    }

    /// Reads the stored messages after a number in order, and goes on with those to come.
    pub fn follow(&self, after: u64) -> Follower {
        self.core().follow(after)
    }

    /// Messages that are refused from now on.
    pub fn rejections(&self) -> Notices<Rejection> {
        self.shared().rejections.subscribe()
    }

    /// Waits until everything is saved or rejected.
    ///
    /// # Errors
    /// The stream has ended before.
    pub async fn save(&self) -> Result<()> {
        loop {
            let saved = self.shared().saved.notified();
            tokio::pin!(saved);
            // Registered before the look, so that nothing in between is missed.
            saved.as_mut().enable();
            if self.unsaved() == 0 {
                return Ok(());
            }
            if let Some(error) = self.core().error() {
                return Err(error);
            }
            saved.await;
        }
    }

    /// Saves and closes; what is not saved in this time is lost.
    ///
    /// # Errors
    /// Something was not saved.
    pub async fn end(&self, at_most: Duration) -> Result<()> {
        let saved = tokio::time::timeout(at_most, self.save()).await;
        self.close().await;
        saved.unwrap_or_else(|_| Err(crate::bus::Error::Timeout("saving".into()).into()))
    }

    /// Closes the stream and waits until its tasks have ended. What is not saved is lost.
    pub async fn close(&self) {
        self.shared().close(&Error::Closed);
        self.core().close().await;
        let tasks = std::mem::take(&mut *self.guard.tasks.lock());
        for task in tasks {
            // A task that panicked has ended as well.
            let _ = task.await;
        }
        if let Some(inventory) = &self.guard.inventory {
            inventory.close().await;
        }
    }
}

impl Shared {
    fn close(&self, error: &Error) {
        self.closing.cancel();
        self.unsaved.lock().close(error);
        self.rejections.close();
        self.saved.notify_waiters();
    }
}

impl Observer for Shared {
    fn stored(&self, message: &Message, msg_id: Option<&str>, _before: Option<&Message>) {
        self.unsaved.lock().stored(message, msg_id);
    }

    fn deleted(&self, seq: u64, _message: Option<&Message>) {
        self.unsaved.lock().deleted(seq);
    }

    fn settle(&self) {
        self.saved.notify_waiters();
    }

    fn closed(&self, error: &Error) {
        self.close(error);
    }
}

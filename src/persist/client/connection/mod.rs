//! The connection to one stream (conat-persist.md §§3, 11): one socket at a time, a new one when it is lost.

mod feed;
mod get_all;
mod live;
mod socket;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use self::{feed::Reader, socket::Live};
pub use self::{
    feed::{Feed, FeedItem},
    get_all::{GetAll, Snapshot},
};
use super::{Error, Owner, Persist, Result, Storage, persist::Inner as Client};
use crate::{
    bus,
    persist::{path::storage_path, service::authorization::authorize},
};

/// Where a connection stands.
#[derive(Clone, Debug)]
pub enum Phase {
    /// There is no socket; one is being made, or will be after a pause.
    Connecting,
    /// There is a socket.
    Live,
    /// Closed for good, and why.
    Closed(Error),
}

#[derive(Clone, Debug)]
enum Stage {
    Connecting,
    Live(Arc<Live>),
    Closed(Error),
}

/// The connection to one stream. Cloning it makes another handle; it closes with the last one.
#[derive(Clone, Debug)]
pub struct Connection {
    guard: Arc<Guard>,
}

#[derive(Debug)]
struct Guard {
    shared: Arc<Shared>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.shared.closing.cancel();
    }
}

#[derive(Debug)]
struct Shared {
    client: Arc<Client>,
    /// Service and scope.
    base: String,
    path: String,
    storage: Storage,
    stage: watch::Sender<Stage>,
    readers: Mutex<Vec<Arc<Reader>>>,
    /// A reader has to catch up.
    behind: Notify,
    closing: CancellationToken,
}

impl Connection {
    /// Starts to connect.
    pub(super) fn open(persist: &Persist, owner: &Owner, name: &str, storage: Storage) -> Result<Connection> {
        let shared = Shared::new(persist, owner, name, storage)?;
        Ok(Connection::start(shared))
    }

    /// Starts to connect, with a feed from the first socket on.
    pub(super) fn open_with_feed(
        persist: &Persist,
        owner: &Owner,
        name: &str,
        storage: Storage,
    ) -> Result<(Connection, Feed)> {
        let shared = Shared::new(persist, owner, name, storage)?;
        // Registered before the task runs, so that the first open message asks for the feed.
        let reader = shared.add_reader();
        let connection = Connection::start(shared);
        Ok((connection.clone(), Feed::new(connection, reader)))
    }

    fn start(shared: Arc<Shared>) -> Connection {
        let task = tokio::spawn(live::drive(shared.clone()));
        Connection { guard: Arc::new(Guard { shared, task: Mutex::new(Some(task)) }) }
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.guard.shared
    }

    /// The storage path.
    pub fn path(&self) -> &str {
        &self.shared().path
    }

    /// The settings of the client it belongs to.
    pub fn options(&self) -> &super::Options {
        &self.shared().client.options
    }

    /// Where it stands.
    pub fn phase(&self) -> Phase {
        match &*self.shared().stage.borrow() {
            Stage::Connecting => Phase::Connecting,
            Stage::Live(_) => Phase::Live,
            Stage::Closed(error) => Phase::Closed(error.clone()),
        }
    }

    /// Whether it is closed for good.
    pub fn is_closed(&self) -> bool {
        matches!(&*self.shared().stage.borrow(), Stage::Closed(_))
    }

    /// Waits until it is closed, and says why.
    pub(super) async fn ended(&self) -> Error {
        let mut stage = self.shared().stage.subscribe();
        match stage.wait_for(|stage| matches!(stage, Stage::Closed(_))).await.as_deref() {
            Ok(Stage::Closed(error)) => error.clone(),
            _ => Error::Closed,
        }
    }

    /// Follows the stream from now on: what changes after this has returned is in the feed.
    ///
    /// # Errors
    /// The connection is closed.
    pub async fn feed(&self) -> Result<Feed> {
        let feed = Feed::new(self.clone(), self.shared().add_reader());
        self.arm().await?;
        Ok(feed)
    }

    /// Sees to it that the socket has its feed on. Newer sockets ask for it when they are opened.
    async fn arm(&self) -> Result<()> {
        let live = self.shared().live(self.options().times.request).await?;
        if live.is_armed() {
            return Ok(());
        }
        match self.request(Bytes::from_static(&[0xc0]), json!({"cmd": "changefeed"}), None).await {
            Ok(_) => {
                live.set_armed();
                Ok(())
            }
            Err(error) if error.is_lost() => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Sends a command and waits for the answer; waits first for the socket to be there. A socket that does not answer is
    /// replaced, and the command sent once more (§11.2): a write has to have a message id.
    ///
    /// # Errors
    /// The server's error, or there was no answer in time on two sockets.
    pub async fn request(&self, payload: Bytes, headers: Value, timeout: Option<Duration>) -> Result<bus::Message> {
        let time = timeout.unwrap_or(self.options().times.request);
        self.twice(time, |live| {
            let (payload, headers) = (payload.clone(), headers.clone());
            async move { live.socket.request_bytes(payload, Some(headers), time).await.map_err(Error::of_request) }
        })
        .await
    }

    /// As [`Connection::request`], but an answer with a number is one even if there is a header `error` in it (§6.4).
    pub(super) async fn request_any(&self, headers: Value) -> Result<bus::Message> {
        let time = self.options().times.request;
        self.twice(time, |live| {
            let (headers, shared) = (headers.clone(), self.shared().clone());
            async move { shared.request_any(&live, headers, time).await }
        })
        .await
    }

    /// Gets all messages of a range (§6.5).
    ///
    /// # Errors
    /// As for [`Connection::request`]; the answer is larger than a copy may be.
    pub async fn get_all(&self, query: GetAll) -> Result<Snapshot> {
        let shared = self.shared().clone();
        self.twice(self.options().times.request, |live| {
            let (query, shared) = (query.clone(), shared.clone());
            async move { shared.get_all(&live, &query).await }
        })
        .await
    }

    async fn twice<T, F: Future<Output = Result<T>>>(
        &self,
        time: Duration,
        attempt: impl Fn(Arc<Live>) -> F,
    ) -> Result<T> {
        let shared = self.shared();
        let live = shared.live(time).await?;
        match attempt(live.clone()).await {
            Err(error) if error.is_lost() => {
                tracing::debug!(path = shared.path, %error, "a persist socket is replaced");
                live.give_up();
                let next = shared.live_after(live.epoch, time).await?;
                attempt(next).await
            }
            answer => answer,
        }
    }

    /// Closes the connection; feeds and requests end.
    pub fn close(&self) {
        self.shared().closing.cancel();
    }

    /// Closes the connection and waits until its task has ended.
    pub async fn closed(&self) {
        self.close();
        let task = self.guard.task.lock().take();
        if let Some(task) = task {
            // A task that panicked has ended as well.
            let _ = task.await;
        }
    }
}

impl Shared {
    fn new(persist: &Persist, owner: &Owner, name: &str, storage: Storage) -> Result<Arc<Shared>> {
        let client = persist.inner().clone();
        let service = &client.options.service;
        let (base, path) = (format!("{service}.{}", owner.scope()), storage_path(owner, name));
        authorize(service, &base, &path)?;
        Ok(Arc::new(Shared {
            base,
            client,
            path,
            storage,
            stage: watch::Sender::new(Stage::Connecting),
            readers: Mutex::default(),
            behind: Notify::new(),
            closing: CancellationToken::new(),
        }))
    }

    fn add_reader(&self) -> Arc<Reader> {
        let bounds = &self.client.options.bounds;
        let reader = Arc::new(Reader::new(&self.path, bounds.feed_items, bounds.feed_bytes));
        if let Stage::Closed(_) = &*self.stage.borrow() {
            reader.queue.close(bus::Error::Closed);
        }
        self.readers.lock().push(reader.clone());
        reader
    }

    fn remove_reader(&self, reader: &Arc<Reader>) {
        self.readers.lock().retain(|other| !Arc::ptr_eq(other, reader));
    }

    async fn live(&self, time: Duration) -> Result<Arc<Live>> {
        self.live_after(0, time).await
    }

    /// Waits for a socket newer than the one with this number.
    async fn live_after(&self, epoch: u64, time: Duration) -> Result<Arc<Live>> {
        let mut stage = self.stage.subscribe();
        let found = stage.wait_for(|stage| match stage {
            Stage::Connecting => false,
            Stage::Live(live) => live.epoch > epoch,
            Stage::Closed(_) => true,
        });
        let late = || bus::Error::Timeout(format!("waiting for the stream '{}'", self.path));
        match timeout(time, found).await.map_err(|_| late())?.as_deref() {
            Ok(Stage::Live(live)) => Ok(live.clone()),
            Ok(Stage::Closed(error)) => Err(error.clone()),
            _ => Err(Error::Closed),
        }
    }

    /// Closes everything, and says why.
    fn finish(&self, error: &Error) {
        self.closing.cancel();
        self.stage.send_if_modified(|stage| {
            let first = !matches!(stage, Stage::Closed(_));
            if first {
                *stage = Stage::Closed(error.clone());
            }
            first
        });
        for reader in self.readers.lock().drain(..) {
            reader.queue.close(bus::Error::Closed);
        }
    }
}

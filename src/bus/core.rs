//! What all handles of one client share: subscriptions, replies, refusals, the connection.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use tokio::{sync::watch, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Error,
    calls::Calls,
    id::random_id,
    link::Link,
    request::Replies,
    status::{State, Status},
    table::Table,
};
use crate::broker::{Direction, User};

/// How long a refusal is remembered (§7.2).
const DENIED_LIFETIME: Duration = Duration::from_secs(60);
/// Refusals remembered at most; beyond that all are forgotten, which only costs a question to the server.
const MAX_DENIED: usize = 10_000;

/// Messages and payload bytes received.
#[derive(Debug, Default)]
pub(super) struct Received {
    pub messages: AtomicU64,
    pub bytes: AtomicU64,
}

/// The client behind its handles. Tasks of the client hold this, never a handle: handles going away close the client.
#[derive(Debug)]
pub(super) struct Core {
    /// A random name of this client; the default id of its socket servers.
    pub id: String,
    pub table: Mutex<Table>,
    pub replies: Replies,
    pub calls: Calls,
    pub received: Received,
    pub status: watch::Sender<Status>,
    /// Cancelled when the client closes; all its tasks end then.
    pub closing: CancellationToken,
    pub tasks: TaskTracker,
    pub user: Mutex<Option<User>>,
    /// Base subjects this client has a socket server on.
    pub socket_servers: Mutex<HashSet<String>>,
    inbox: OnceLock<String>,
    denied: Mutex<HashMap<(Direction, Box<str>), Instant, RandomState>>,
    link: Link,
}

impl Core {
    pub fn new(link: Link) -> Arc<Core> {
        Arc::new(Core {
            id: random_id(),
            table: Mutex::default(),
            replies: Replies::default(),
            calls: Calls::default(),
            received: Received::default(),
            status: watch::Sender::new(Status::default()),
            closing: CancellationToken::new(),
            tasks: TaskTracker::new(),
            user: Mutex::default(),
            socket_servers: Mutex::default(),
            inbox: OnceLock::new(),
            denied: Mutex::default(),
            link,
        })
    }

    pub fn link(&self) -> &Link {
        &self.link
    }

    /// The server's `max_payload`.
    pub fn max_payload(&self) -> usize {
        self.link.max_payload()
    }

    /// Fails if the server refused to publish to this subject a short while ago.
    pub fn check_denied(&self, subject: &str) -> Result<(), Error> {
        self.check_denied_for(Direction::Publish, subject)
    }

    pub fn check_denied_for(&self, direction: Direction, subject: &str) -> Result<(), Error> {
        if self.closing.is_cancelled() {
            return Err(Error::Closed);
        }
        let mut denied = self.denied.lock();
        if denied.is_empty() {
            return Ok(());
        }
        let key = (direction, Box::from(subject));
        match denied.get(&key) {
            Some(at) if at.elapsed() < DENIED_LIFETIME => Err(Error::Denied(subject.into())),
            Some(_) => {
                denied.remove(&key);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// The server has told that something is denied (§7.2).
    pub fn denied(&self, direction: Direction, subject: &str) {
        let mut denied = self.denied.lock();
        if denied.len() >= MAX_DENIED {
            denied.clear();
        }
        denied.insert((direction, subject.into()), Instant::now());
    }

    /// The prefix of reply subjects, once responses can be received.
    pub async fn inbox(&self) -> Result<String, Error> {
        let mut status = self.status.subscribe();
        let ready = status.wait_for(|s| s.inbox || s.error.is_some()).await.map_err(|_| Error::Closed)?;
        match (&ready.error, self.inbox.get()) {
            (Some(error), _) => Err(error.clone()),
            (None, Some(inbox)) => Ok(inbox.clone()),
            (None, None) => Err(Error::Closed),
        }
    }

    /// Chooses the inbox's name the first time; it stays the same for the client's whole life (§10.1).
    pub fn name_inbox(&self, prefix: &str) -> &str {
        self.inbox.get_or_init(|| format!("{prefix}.{}", random_id()))
    }

    /// Counts a message that was received whole.
    pub fn count_received(&self, bytes: usize) {
        self.received.messages.fetch_add(1, Ordering::Relaxed);
        self.received.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// The connection is lost; a new one is on its way.
    pub fn disconnected(&self) {
        self.table.lock().disconnected();
        self.status.send_if_modified(|status| {
            let connected = status.state == State::Connected;
            if connected {
                status.state = State::Connecting;
            }
            connected
        });
    }

    /// Everything is subscribed on a new connection.
    pub fn connected(&self) {
        self.status.send_modify(|status| {
            if status.state != State::Closed {
                status.state = State::Connected;
                status.error = None;
                status.generation += 1;
            }
        });
    }

    /// Closes the client: readers, requests and tasks end.
    pub fn close(&self) {
        self.close_because(&Error::Closed);
    }

    pub fn close_because(&self, error: &Error) {
        let first = self.status.send_if_modified(|status| {
            let first = status.state != State::Closed;
            if first {
                status.state = State::Closed;
                status.error = Some(error.clone());
            }
            first
        });
        if !first {
            return;
        }
        let patterns = self.table.lock().close(error);
        self.replies.close();
        self.calls.close();
        self.link.close(patterns);
        self.closing.cancel();
        self.tasks.close();
    }
}

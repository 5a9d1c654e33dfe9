//! The sockets of one session, and what each of them has got.
//!
//! Every socket has a position in the output. Sending moves it towards the end: the first piece at once, the next ones gathered
//! (§11.4). A socket that takes nothing is *stalled*: it gets no more until everything under way has arrived. If by then too
//! much has come, it goes on with the newest output.

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, join_all},
    stream::{FuturesUnordered, StreamExt},
};
use tokio::time::{Instant, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    leader::Leadership,
    output::{BACKLOG_BYTES, Output},
    pace::Audience,
    peer::{Link, Peer, WriteError},
    request::Notice,
};

/// Largest data message.
const PIECE_BYTES: usize = 512 << 10;
/// What may be under way to one socket.
const WINDOW_BYTES: usize = 1 << 20;
/// With how much of the newest output a socket goes on that has missed some.
const RESUME_BYTES: usize = 64 << 10;
/// At the end: how long a client may take to get the answer to its `spawn`.
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);
/// At the end: how long a client may take to get the last output.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// A socket's place in a session. The socket leaves when it is dropped.
#[derive(Debug)]
pub(super) struct Ticket {
    /// Unique in this session.
    pub key: u64,
    opened: CancellationToken,
    _left: DropGuard,
}

impl Ticket {
    /// A token to cancel when the answer to `spawn` has been sent: from then on data may follow.
    pub(super) fn opened(&self) -> CancellationToken {
        self.opened.clone()
    }
}

/// Something happened to a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// It may get data.
    Opened(u64),
    /// It has got everything that was under way.
    Drained(u64),
    /// It is gone.
    Left(u64),
}

struct Member {
    key: u64,
    link: Link,
    opened: CancellationToken,
    left: CancellationToken,
    /// What comes before has been sent.
    position: u64,
    /// Bytes sent since nothing was under way.
    window: usize,
    stalled: bool,
    /// Nothing is sent before.
    next: Instant,
}

impl Member {
    fn takes_data(&self) -> bool {
        !self.stalled && self.opened.is_cancelled() && !self.left.is_cancelled()
    }
}

/// All sockets of a session.
pub(super) struct Members {
    list: Vec<Member>,
    events: FuturesUnordered<BoxFuture<'static, Event>>,
    leadership: Arc<Mutex<Leadership>>,
    /// Shortest time between two messages to a socket.
    interval: Duration,
    stalled_since: Option<Instant>,
    next_key: u64,
}

impl Members {
    pub(super) fn new(leadership: Arc<Mutex<Leadership>>, interval: Duration) -> Self {
        Members {
            list: Vec::new(),
            events: FuturesUnordered::new(),
            leadership,
            interval,
            stalled_since: None,
            next_key: 1,
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.list.iter().filter(|member| !member.left.is_cancelled()).count()
    }

    /// Whether there ever was one.
    pub(super) fn known(&self) -> bool {
        self.next_key > 1
    }

    /// A socket comes that knows the output up to `position`.
    pub(super) fn attach(&mut self, link: Link, position: u64, now: Instant) -> Ticket {
        let key = self.next_key;
        self.next_key += 1;
        let (opened, left) = (CancellationToken::new(), CancellationToken::new());
        self.events.push(opened.clone().cancelled_owned().map(move |()| Event::Opened(key)).boxed());
        self.events.push(left.clone().cancelled_owned().map(move |()| Event::Left(key)).boxed());
        let ticket = Ticket { key, opened: opened.clone(), _left: left.clone().drop_guard() };
        self.list.push(Member { key, link, opened, left, position, window: 0, stalled: false, next: now });
        self.leadership().join(key, now);
        self.note_stall(now);
        ticket
    }

    /// The next event; never, if there can be none.
    pub(super) async fn event(&mut self) -> Event {
        match self.events.next().await {
            Some(event) => event,
            None => std::future::pending().await,
        }
    }

    /// Takes note of an event.
    pub(super) fn handle(&mut self, event: Event, output: &Output, now: Instant) {
        match event {
            Event::Opened(_) => {}
            Event::Drained(key) => {
                if let Some(member) = self.list.iter_mut().find(|member| member.key == key) {
                    member.stalled = false;
                    member.window = 0;
                    if output.end().saturating_sub(member.position) > BACKLOG_BYTES {
                        member.position = output.near_end(RESUME_BYTES);
                    }
                }
            }
            Event::Left(key) => {
                self.list.retain(|member| {
                    if member.key == key {
                        // Its other event will not be waited for any more.
                        member.opened.cancel();
                    }
                    member.key != key
                });
                self.leadership().leave(key, now);
                self.notify(&Notice::Broadcast { event: "leave".into(), payload: None });
            }
        }
        self.note_stall(now);
    }

    /// Sends what is due.
    pub(super) fn send(&mut self, output: &Output, now: Instant) {
        for member in &mut self.list {
            if !member.takes_data() || member.position >= output.end() || now < member.next {
                continue;
            }
            let (piece, position) = output.piece(member.position, PIECE_BYTES);
            match member.link.peer.write(piece) {
                Ok(()) => {
                    member.position = position;
                    member.window += piece.len();
                    member.next = now + self.interval;
                    member.stalled = member.window >= WINDOW_BYTES;
                }
                Err(WriteError::Full) => member.stalled = true,
                Err(WriteError::Closed) => {
                    // It is about to leave.
                    member.stalled = true;
                    continue;
                }
            }
            if member.stalled {
                let key = member.key;
                self.events.push(member.link.peer.drained().map(move |()| Event::Drained(key)).boxed());
            }
        }
        self.note_stall(now);
    }

    /// When to send next, if there is anything to send.
    pub(super) fn due(&self, output: &Output) -> Option<Instant> {
        let waiting = self.list.iter().filter(|member| member.takes_data() && member.position < output.end());
        waiting.map(|member| member.next).min()
    }

    /// Who follows the output.
    pub(super) fn audience(&self) -> Audience {
        match self.stalled_since {
            _ if self.list.is_empty() => Audience::Absent,
            Some(since) => Audience::Stalled(since),
            None => Audience::Follows,
        }
    }

    /// Tells all sockets something.
    pub(super) fn notify(&self, notice: &Notice) {
        for member in &self.list {
            member.link.notify(notice.clone());
        }
    }

    /// All sockets, to ask them.
    pub(super) fn peers(&self) -> Vec<Arc<dyn Peer>> {
        self.list.iter().filter(|member| !member.left.is_cancelled()).map(|member| member.link.peer.clone()).collect()
    }

    /// The program has ended: the rest of the output to everyone, as far as they take it, and then the news.
    pub(super) async fn farewell(self, output: &Output) {
        join_all(self.list.into_iter().map(|member| async move {
            let left = member.left.clone();
            tokio::select! {
                () = left.cancelled() => {}
                () = deliver_rest(member, output) => {}
            }
        }))
        .await;
    }

    fn note_stall(&mut self, now: Instant) {
        if self.list.iter().all(|member| member.stalled) {
            self.stalled_since.get_or_insert(now);
        } else {
            self.stalled_since = None;
        }
    }

    fn leadership(&self) -> MutexGuard<'_, Leadership> {
        self.leadership.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

async fn deliver_rest(mut member: Member, output: &Output) {
    if timeout(OPEN_TIMEOUT, member.opened.cancelled()).await.is_err() {
        return;
    }
    while member.position < output.end() {
        let (piece, position) = output.piece(member.position, PIECE_BYTES);
        match member.link.peer.write(piece) {
            Ok(()) => member.position = position,
            Err(WriteError::Closed) => return,
            Err(WriteError::Full) => {
                if timeout(DRAIN_TIMEOUT, member.link.peer.drained()).await.is_err() {
                    break;
                }
            }
        }
    }
    // Requests are not ordered with data: a client that got the news first would close its socket and miss the rest.
    let _ = timeout(DRAIN_TIMEOUT, member.link.peer.drained()).await;
    member.link.notify(Notice::Exit);
}

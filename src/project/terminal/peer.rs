//! The border to the virtual sockets: what a session needs of one, and nothing more.

use std::{sync::Arc, time::Duration};

use futures_util::{
    future::{BoxFuture, poll_immediate},
    stream::{BoxStream, FuturesUnordered, StreamExt},
};
use rmpv::Value;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use super::{
    error::Error,
    request::{Answer, Input, Notice, Request},
};

/// How many notices may wait to be sent to one client. More are dropped: a client that takes none misses nothing it would use.
const WAITING_NOTICES: usize = 64;
/// How many notices one client may leave unanswered.
const UNANSWERED_NOTICES: usize = 64;
/// How long a client may take to answer a notice.
const NOTICE_TIMEOUT: Duration = Duration::from_secs(10);

/// Why data was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum WriteError {
    /// Too much is under way.
    #[error("the socket is full")]
    Full,
    /// The client is gone.
    #[error("the socket is closed")]
    Closed,
}

/// The sending half of a client's socket.
pub(super) trait Peer: Send + Sync {
    /// Queues data in order; never waits.
    fn write(&self, text: &str) -> Result<(), WriteError>;
    /// Waits until the client has everything, or is gone.
    fn drained(&self) -> BoxFuture<'static, ()>;
    /// Asks the client. `None` if there is no answer in time. It is sent when the future is first polled.
    fn request(&self, notice: &Notice, timeout: Duration) -> BoxFuture<'static, Option<Value>>;
}

/// Something that came from a client, in order.
pub(super) enum Arrival {
    /// Something was typed.
    Input(Input),
    /// Something is wanted.
    Request(Result<Box<Request>, Error>, Box<dyn Responder>),
    /// Not understood, and nothing that could be answered.
    Noise,
}

/// Takes the answer to one request.
pub(super) trait Responder: Send {
    /// Sends it; done when it is on its way, before anything that is sent to the same client later.
    fn respond(self: Box<Self>, answer: Result<Answer, Error>) -> BoxFuture<'static, ()>;
}

/// What comes from a client until its socket is closed.
pub(super) type Arrivals = BoxStream<'static, Arrival>;

/// A client's socket with a queue of notices, which reach it in order although each waits for an answer.
#[derive(Clone)]
pub(super) struct Link {
    /// The socket.
    pub peer: Arc<dyn Peer>,
    notices: mpsc::Sender<Notice>,
}

impl Link {
    /// The queue is served by a task that ends with the last clone.
    pub(super) fn new(peer: Arc<dyn Peer>, tasks: &TaskTracker) -> Self {
        let (notices, queue) = mpsc::channel(WAITING_NOTICES);
        tasks.spawn(send_notices(peer.clone(), queue));
        Link { peer, notices }
    }

    /// Tells the client something; what it answers doesn't matter.
    pub(super) fn notify(&self, notice: Notice) {
        // A full queue: the client has answered nothing for long, and is about to be found dead.
        let _ = self.notices.try_send(notice);
    }
}

async fn send_notices(peer: Arc<dyn Peer>, mut queue: mpsc::Receiver<Notice>) {
    let mut unanswered = FuturesUnordered::new();
    loop {
        tokio::select! {
            notice = queue.recv(), if unanswered.len() < UNANSWERED_NOTICES => {
                let Some(notice) = notice else { break };
                let mut answer = peer.request(&notice, NOTICE_TIMEOUT);
                // The first poll sends it, so the order is that of the queue.
                if poll_immediate(&mut answer).await.is_none() {
                    unanswered.push(answer);
                }
            }
            Some(_) = unanswered.next(), if !unanswered.is_empty() => {}
        }
    }
}

//! What drives a connection: a socket, its feed, and the next socket (conat-persist.md §11).

use std::{pin::Pin, sync::Arc};

use tokio::time::{Instant, sleep, sleep_until};

use super::{
    Error, Result, Shared, Stage,
    feed::Reader,
    get_all::{GetAll, Snapshot},
    socket::Live,
};
use crate::{
    bus::{
        self,
        socket::{Incoming, SocketState},
    },
    persist::client::{message::Event, records, retry::Backoff},
};

/// The payload of an error (§3.1).
const NIL: &[u8] = &[0xc0];

/// Connects again and again until the connection is closed.
pub(super) async fn drive(shared: Arc<Shared>) {
    let error = tokio::select! {
        error = run(&shared) => error,
        () = shared.closing.cancelled() => Error::Closed,
        () = bus_closed(&shared) => Error::Closed,
    };
    if !matches!(error, Error::Closed) {
        tracing::debug!(path = shared.path, %error, "a persist connection is closed");
    }
    shared.finish(&error);
}

async fn bus_closed(shared: &Shared) {
    let mut status = shared.client.client.status();
    // The state is dropped with the client.
    let _ = status.wait_for(|status| status.state == bus::State::Closed).await;
}

/// Gives the error that ends the connection.
async fn run(shared: &Arc<Shared>) -> Error {
    let times = &shared.client.options.times;
    let mut backoff = Backoff::new(times.reconnect);
    let mut epoch = 0;
    loop {
        let mut status = shared.client.client.status();
        if status.wait_for(|status| status.state != bus::State::Connecting).await.is_err() {
            return Error::Closed;
        }
        let armed = !shared.readers.lock().is_empty();
        match shared.connect(armed).await {
            Ok(socket) => {
                epoch += 1;
                let started = Instant::now();
                let live = Arc::new(Live::new(epoch, socket, armed));
                shared.stage.send_replace(Stage::Live(live.clone()));
                let end = Conversation::new(shared, &live).run().await;
                shared.stage.send_replace(Stage::Connecting);
                live.socket.close();
                if let Err(error) = end {
                    return error;
                }
                tracing::debug!(path = shared.path, reason = ?live.socket.reason(), "a persist socket is lost");
                if started.elapsed() >= times.stable {
                    backoff.reset();
                }
            }
            Err(error) if error.is_fatal() => return error,
            Err(error) => tracing::debug!(path = shared.path, %error, "a persist socket could not be made"),
        }
        shared.client.locator.forget();
        sleep(backoff.step()).await;
    }
}

type CatchUp = Pin<Box<dyn Future<Output = Result<Snapshot>> + Send>>;

/// What goes on while a socket is there.
struct Conversation<'a> {
    shared: &'a Arc<Shared>,
    live: &'a Arc<Live>,
    /// What is under way, and for whom.
    catching: Option<(CatchUp, Vec<Arc<Reader>>)>,
    /// After a failed attempt, not before this time again.
    retry_at: Option<Instant>,
    backoff: Backoff,
    /// Events that came meanwhile.
    waiting: Vec<Event>,
    waiting_bytes: usize,
}

impl<'a> Conversation<'a> {
    fn new(shared: &'a Arc<Shared>, live: &'a Arc<Live>) -> Conversation<'a> {
        let backoff = Backoff::new(shared.client.options.times.catch_up);
        Conversation { shared, live, catching: None, retry_at: None, backoff, waiting: Vec::new(), waiting_bytes: 0 }
    }

    /// Ends without an error when the socket is lost.
    async fn run(mut self) -> Result<()> {
        let mut states = self.live.socket.states();
        loop {
            self.start_catching_up();
            let catching = async {
                match &mut self.catching {
                    Some((catching, _)) => catching.await,
                    None => std::future::pending().await,
                }
            };
            let retry_at = self.retry_at;
            let retry = async {
                match retry_at {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                // What has come is read before the socket's end is looked at: it may say why.
                biased;
                incoming = self.live.socket.recv() => match incoming {
                    None => return Ok(()),
                    Some(Incoming::Data(message)) if message.payload().as_ref() == NIL => return Err(refusal(&message)),
                    Some(Incoming::Data(message)) => if !self.take(&message) {
                        return Ok(());
                    },
                    Some(Incoming::Request(_)) => {}
                },
                snapshot = catching => self.caught_up(snapshot)?,
                () = retry => self.retry_at = None,
                () = self.live.given_up.cancelled() => return Ok(()),
                _ = states.wait_for(|state| *state != SocketState::Ready) => return Ok(()),
                () = self.shared.behind.notified() => {}
            }
        }
    }

    /// Starts a `getAll` for readers that may have missed something while there was no socket.
    fn start_catching_up(&mut self) {
        if self.catching.is_some() || self.retry_at.is_some() {
            return;
        }
        let readers: Vec<_> =
            self.shared.readers.lock().iter().filter(|reader| reader.is_behind(self.live.epoch)).cloned().collect();
        let Some(start) = readers.iter().map(|reader| reader.last()).min() else { return };
        let query = GetAll { start_seq: Some(start).filter(|start| *start > 0), changefeed: true, ..GetAll::default() };
        let (shared, live) = (self.shared.clone(), self.live.clone());
        let catching = async move {
            if !live.is_armed() {
                // Older servers take no notice of the wish in getAll.
                shared.arm_on(&live).await?;
            }
            shared.get_all(&live, &query).await
        };
        self.catching = Some((Box::pin(catching), readers));
    }

    fn caught_up(&mut self, snapshot: Result<Snapshot>) -> Result<()> {
        let Some((_, readers)) = self.catching.take() else { return Ok(()) };
        match snapshot {
            Ok(snapshot) => {
                self.live.set_armed();
                self.backoff.reset();
                let ephemeral = self.shared.storage.ephemeral;
                let snapshot = Arc::new(snapshot);
                for reader in readers {
                    reader.catch_up(&snapshot, ephemeral, self.live.epoch);
                }
                let events = std::mem::take(&mut self.waiting);
                self.waiting_bytes = 0;
                self.shared.publish(events);
            }
            Err(error) if error.is_fatal() => return Err(error),
            Err(error) => {
                tracing::debug!(path = self.shared.path, %error, "a stream could not catch up");
                self.retry_at = Some(Instant::now() + self.backoff.step());
            }
        }
        Ok(())
    }

    /// Takes a frame of the feed; tells whether the socket is of any use still.
    fn take(&mut self, message: &bus::Message) -> bool {
        let events = match records::events(message.payload()) {
            Ok(events) => events,
            Err(error) => {
                tracing::debug!(path = self.shared.path, %error, "a frame of a change feed makes no sense");
                return false;
            }
        };
        if self.catching.is_none() && self.retry_at.is_none() {
            self.shared.publish(events);
            return true;
        }
        self.waiting_bytes += events.iter().map(Event::bytes).sum::<usize>();
        self.waiting.extend(events);
        self.waiting_bytes <= self.shared.client.options.bounds.feed_bytes
    }
}

/// The error that closes a connection: the open was refused (§3.1).
fn refusal(message: &bus::Message) -> Error {
    let error = message.headers().and_then(bus::Error::from_headers);
    Error::of_request(error.unwrap_or_else(|| bus::Error::message("the server closed the stream")))
}

//! The time until a socket's stream is open, or has failed to open (conat-persist.md §§3.1, 3.4).

use std::{collections::VecDeque, sync::Arc, time::Duration};

use futures_util::{FutureExt, future::BoxFuture};
use serde_json::Value;
use tokio::time::{Instant, sleep_until, timeout};

use super::{
    Shared, authorization::authorize, connection::Connection, counters::Counted, quota::Seat, records, refusal::Refusal,
};
use crate::{
    bus::{
        MSGPACK, Message,
        socket::{Incoming, Socket},
    },
    persist::store::{OpenOptions, Stream},
};

/// How long a request waits for the stream to open, unless it says otherwise.
const WAIT: Duration = Duration::from_secs(30);
/// At most.
const MAX_WAIT: Duration = Duration::from_secs(600);
/// Requests and bytes that may wait for the stream to open.
const MAX_PARKED: (usize, usize) = (1000, 64 << 20);
/// Largest open message.
const MAX_OPEN_BYTES: usize = 64 << 10;
/// A socket on which no stream was opened, or failed to open, is closed after so long. Clients close theirs earlier.
const IDLE: Duration = Duration::from_secs(60);

/// What the first message asks for.
struct Opening {
    path: String,
    ephemeral: bool,
    changefeed: bool,
}

/// The life of a socket.
pub(super) async fn serve(socket: Socket, mut seat: Seat, shared: Arc<Shared>) {
    let mut parked = Parked::default();
    let opened = match wait(&socket, &mut seat, &shared, &mut parked).await {
        Some(opened) => opened,
        None => return,
    };
    match opened {
        Ok((stream, changefeed)) => {
            let _counted = Counted::new(&shared.counters, |counters| &counters.open);
            let requests = parked.requests.into_iter().map(|(_, request)| request).collect();
            Connection::new(socket, stream, shared.clone(), changefeed).run(requests).await;
        }
        Err(refusal) => {
            shared.counters.refused_opens.add(1);
            // The one message without payload that clients understand.
            if socket.write_bytes(MSGPACK, records::nil(), Some(refusal.to_headers())).is_err() {
                return;
            }
            // Whoever waits any more is not left waiting.
            let refused = timeout(IDLE, refuse(&socket, &shared, parked, &refusal.again())).await;
            tracing::debug!(closed = refused.is_ok(), "a socket that failed to open has ended");
        }
    }
    // The quota is free when the stream is.
    drop(seat);
}

/// Reads until the stream is open or has failed to; `None` when the socket ends first.
async fn wait(
    socket: &Socket,
    seat: &mut Seat,
    shared: &Arc<Shared>,
    parked: &mut Parked,
) -> Option<Result<(Stream, bool), Refusal>> {
    let give_up = Instant::now() + IDLE;
    let mut opening: Option<BoxFuture<'_, Result<(Stream, bool), Refusal>>> = None;
    let mut seat = Some(seat);
    loop {
        let is_opening = opening.is_some();
        let opened = async {
            match opening.as_mut() {
                Some(opening) => opening.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            opened = opened => return Some(opened),
            incoming = socket.recv() => match incoming? {
                Incoming::Data(message) => if let Some(seat) = seat.take() {
                    opening = Some(open(message, socket, seat, shared).boxed());
                },
                Incoming::Request(request) => parked.push(request, shared),
            },
            () = sleep_until(parked.next_deadline().unwrap_or(give_up)), if !parked.requests.is_empty() => {
                parked.expire(shared);
            }
            () = sleep_until(give_up), if !is_opening => return None,
        }
    }
}

/// Answers every request with why the open failed, until the socket closes.
async fn refuse(socket: &Socket, shared: &Shared, parked: Parked, refusal: &Refusal) {
    for (_, request) in parked.requests {
        shared.refuse(request.reply_subject().unwrap_or_default(), refusal);
    }
    while let Some(incoming) = socket.recv().await {
        if let Incoming::Request(request) = incoming {
            shared.refuse(request.reply_subject().unwrap_or_default(), refusal);
        }
    }
}

async fn open(message: Message, socket: &Socket, seat: &mut Seat, shared: &Shared) -> Result<(Stream, bool), Refusal> {
    let Opening { path, ephemeral, changefeed } = read(&message)?;
    let subject = format!("{}.server.{}.{}", socket.subject(), shared.options.server_id, socket.id());
    authorize(&shared.options.name, &subject, &path)?;
    seat.open()?;
    match shared.store.stream(&path, OpenOptions { ephemeral }).await {
        Ok(stream) => Ok((stream, changefeed)),
        Err(error) => {
            seat.close();
            Err(error.into())
        }
    }
}

/// Reads the open message. Whatever else it says is ignored: how streams are kept is not the client's affair (§3.2).
fn read(message: &Message) -> Result<Opening, Refusal> {
    let wrong = || Refusal::new("the first message of a socket must name the storage to open");
    if message.payload().len() > MAX_OPEN_BYTES {
        return Err(wrong());
    }
    let open = message.to_json().map_err(|_| wrong())?;
    let storage = open.get("storage").ok_or_else(wrong)?;
    let path = storage.get("path").and_then(Value::as_str).ok_or_else(wrong)?;
    let flag = |value: Option<&Value>| value.is_some_and(|value| !matches!(value, Value::Null | Value::Bool(false)));
    Ok(Opening {
        path: path.into(),
        ephemeral: flag(storage.get("ephemeral")),
        changefeed: flag(open.get("changefeed")),
    })
}

/// Requests that wait for the stream to open, oldest first.
#[derive(Default)]
struct Parked {
    requests: VecDeque<((Instant, Duration), Message)>,
    bytes: usize,
}

impl Parked {
    fn push(&mut self, request: Message, shared: &Shared) {
        let (most, most_bytes) = MAX_PARKED;
        if self.requests.len() >= most || self.bytes > most_bytes {
            let refusal = Refusal::with_code("too many requests wait for the stream to open", 503);
            return shared.refuse(request.reply_subject().unwrap_or_default(), &refusal);
        }
        let wanted = request.header("timeout").and_then(Value::as_f64).filter(|ms| *ms > 0.0);
        let wait = wanted.map_or(WAIT, |ms| Duration::from_secs_f64(ms.min(MAX_WAIT.as_millis() as f64) / 1000.0));
        self.bytes += request.payload().len();
        self.requests.push_back(((Instant::now() + wait, wait), request));
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.requests.iter().map(|((deadline, _), _)| *deadline).min()
    }

    fn expire(&mut self, shared: &Shared) {
        let now = Instant::now();
        let bytes = &mut self.bytes;
        self.requests.retain(|((deadline, wait), request)| {
            let keep = *deadline > now;
            if !keep {
                *bytes -= request.payload().len();
                let ms = wait.as_millis();
                let text = format!("once: timeout of {ms}ms waiting for \"stream-initialized\"");
                shared.refuse(request.reply_subject().unwrap_or_default(), &Refusal::with_code(text, 408));
            }
            keep
        });
    }
}

//! Changefeeds on the bus: one virtual socket each (hub.md §§10.1–10.3).

use std::{sync::Arc, time::Duration};

use serde::Deserialize;
use serde_json::{Value, json};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Feed,
    quota::{Quota, Slot, TOTAL},
};
use crate::{
    bus::{
        Client, MSGPACK, Message, Result,
        socket::{Incoming, Socket, SocketError, SocketOptions, SocketServer},
    },
    hub::{
        database::Database,
        identity::account_of,
        query::{self, Actor, Request, value::plain},
    },
};

/// The base subject; the second token says whose feeds these are.
pub const BASE: &str = "changefeeds.*";

/// Silence before a client is pinged, and how long it may take to answer (§10.1).
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(45), Duration::from_secs(15));
/// Bytes that may wait for the acknowledgement of one client: the largest first result, and some changes.
const SOCKET_BYTES: usize = 32 << 20;
/// How long a client has to acknowledge an error before its socket is closed all the same.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// Sockets beyond the quota that may be open while they are told so.
const OVERFLOW: usize = 1024;
/// Pause before the service begins anew.
const PAUSE: Duration = Duration::from_secs(1);
/// The quota's code.
const TOO_MANY: i64 = 429;

/// Starts the service; it can be reached when this returns. Its tasks end when `until` is cancelled.
///
/// # Errors
/// The bus refuses.
pub async fn start(
    client: &Client,
    database: Database,
    project_id: &str,
    tasks: &TaskTracker,
    until: CancellationToken,
) -> Result<()> {
    let server = listen(client).await?;
    let service = Service { database, project_id: project_id.to_owned(), quota: Quota::default() };
    tasks.spawn(run(client.clone(), server, Arc::new(service), tasks.clone(), until));
    Ok(())
}

async fn listen(client: &Client) -> Result<SocketServer> {
    let options = SocketOptions {
        keep_alive: KEEP_ALIVE.0,
        keep_alive_timeout: KEEP_ALIVE.1,
        queue_bytes: SOCKET_BYTES,
        max_sockets: TOTAL + OVERFLOW,
        ..SocketOptions::default()
    };
    client.socket_listen(BASE, options).await
}

/// Serves until it is told to end, also when the bus takes the subscription away because too much came at once.
async fn run(
    client: Client,
    mut server: SocketServer,
    service: Arc<Service>,
    tasks: TaskTracker,
    until: CancellationToken,
) {
    loop {
        tokio::select! {
            () = accept(&mut server, &service, &tasks, &until) => {}
            () = until.cancelled() => return server.close().await,
        }
        drop(server);
        tracing::warn!("the bus has ended the changefeeds; they begin anew");
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = until.cancelled() => return,
        }
        server = match listen(&client).await {
            Ok(server) => server,
            Err(error) => return tracing::error!(%error, "there are no changefeeds any more"),
        };
    }
}

/// Takes sockets until the server is closed.
async fn accept(server: &mut SocketServer, service: &Arc<Service>, tasks: &TaskTracker, until: &CancellationToken) {
    while let Some(socket) = server.accept().await {
        let (service, until) = (service.clone(), until.clone());
        tasks.spawn(async move {
            tokio::select! {
                () = service.serve(&socket) => {}
                () = until.cancelled() => {}
            }
        });
    }
}

/// What clients send, once.
#[derive(Deserialize)]
struct Wish {
    query: Value,
    #[serde(default)]
    options: Option<Value>,
}

/// Why a feed ends, in words for its client.
struct Refusal {
    error: String,
    code: Option<i64>,
}

impl From<query::Error> for Refusal {
    fn from(error: query::Error) -> Self {
        Refusal { error: error.to_string(), code: None }
    }
}

impl Refusal {
    fn new(error: impl Into<String>) -> Refusal {
        Refusal { error: error.into(), code: None }
    }
}

struct Service {
    database: Database,
    project_id: String,
    quota: Quota,
}

impl Service {
    /// The life of a socket.
    async fn serve(&self, socket: &Socket) {
        match self.feed(socket).await {
            Ok(()) => socket.close(),
            Err(refusal) => refuse(socket, refusal).await,
        }
    }

    async fn feed(&self, socket: &Socket) -> Result<(), Refusal> {
        let (account_id, _slot) = self.admit(socket)?;
        let Some(wish) = next(socket).await else { return Ok(()) };
        let wish: Wish = serde_json::from_value(read(&wish)?).map_err(|_| Refusal::new("invalid query"))?;
        let actor = Actor { account_id, project_id: self.project_id.clone(), is_project: false };
        let query = Request::read_feed(wish.query, wish.options, &actor)?;
        let mut feed = self.database.feed(query).await?;
        write(socket, std::mem::take(&mut feed.first))?;
        follow(socket, &mut feed).await
    }

    fn admit(&self, socket: &Socket) -> Result<(String, Slot), Refusal> {
        let subject = socket.subject();
        let account_id = match account_of(subject.split('.').nth(1).unwrap_or_default()) {
            Some(Ok(account_id)) => account_id,
            Some(Err(text)) => return Err(Refusal::new(format!("invalid account_id -- '{text}'"))),
            None => return Err(Refusal::new("only accounts may have changefeeds")),
        };
        let slot = self
            .quota
            .take(account_id)
            .ok_or_else(|| Refusal { error: "there are too many open changefeeds".into(), code: Some(TOO_MANY) })?;
        Ok((account_id.to_owned(), slot))
    }
}

/// Brings changes to the client until it closes the socket or asks for something else.
async fn follow(socket: &Socket, feed: &mut Feed) -> Result<(), Refusal> {
    loop {
        tokio::select! {
            change = feed.next() => match change {
                Some(change) => write(socket, change)?,
                None => return Err(Refusal::new("the changefeed was cut off; open another")),
            },
            message = next(socket) => match message {
                Some(_) => return Err(Refusal::new("exactly one query per connection")),
                None => return Ok(()),
            },
        }
    }
}

/// The next message of the client; requests are none of its business.
async fn next(socket: &Socket) -> Option<Message> {
    loop {
        match socket.recv().await? {
            Incoming::Data(message) => return Some(message),
            Incoming::Request(message) => {
                if let Err(error) = message.respond_error("changefeeds answer no requests", 400).await {
                    tracing::debug!(%error, "a request on a changefeed was not answered");
                }
            }
        }
    }
}

fn read(message: &Message) -> Result<Value, Refusal> {
    message.to_json().map(plain).map_err(|_| Refusal::new("invalid query"))
}

fn write(socket: &Socket, payload: bytes::Bytes) -> Result<(), Refusal> {
    match socket.write_bytes(MSGPACK, payload, None) {
        // When it is closed, reading from it tells.
        Ok(()) | Err(SocketError::Closed) => Ok(()),
        Err(_) => {
            tracing::warn!(subject = socket.subject(), "a changefeed was cut off: its client does not read");
            Err(Refusal::new("the reader of the changefeed is too slow"))
        }
    }
}

/// Tells the client why, and closes the socket.
async fn refuse(socket: &Socket, Refusal { error, code }: Refusal) {
    let mut words = json!({ "error": error });
    if let Some(code) = code {
        words["code"] = code.into();
    }
    // A socket that is full or closed gets no last words.
    if socket.write(&words, None).is_ok() {
        let _ = tokio::time::timeout(LAST_WORDS, socket.drained()).await;
    }
    socket.close();
}

//! An open socket: requests in order of arrival, and what becomes of them (conat-persist.md §6).

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use serde_json::Value;
use tokio::task::JoinSet;

use super::{
    Shared,
    changefeed::{self, BOUNDS},
    counters::Counted,
    records,
    refusal::Refusal,
    replay::{self, Replay},
    request::{self, Body, Command, GetAll, Read, Wanted},
    writing::Writes,
};
use crate::{
    bus::{
        Message, PublishOptions,
        socket::{Incoming, Socket},
    },
    persist::store::{Stored, Stream},
};

/// Answers in bulk that may be sent at a time.
const MAX_BULK: usize = 8;
/// From this size on an answer is sent in bulk, as fast as its reader reads.
const BULK_BYTES: usize = 256 << 10;

/// A socket whose stream is open.
pub(super) struct Connection {
    socket: Socket,
    stream: Stream,
    shared: Arc<Shared>,
    writes: Writes,
    /// Answers in bulk; they end with the connection.
    bulk: JoinSet<()>,
    /// The changefeed, if it is armed; it ends with the connection.
    feed: JoinSet<()>,
}

impl Connection {
    /// Takes over an open stream.
    pub fn new(socket: Socket, stream: Stream, shared: Arc<Shared>, changefeed: bool) -> Connection {
        let mut connection = Connection {
            socket,
            stream,
            shared,
            writes: Writes::default(),
            bulk: JoinSet::new(),
            feed: JoinSet::new(),
        };
        if changefeed {
            connection.arm();
        }
        connection
    }

    /// Serves until the socket closes, beginning with what came before the stream was open.
    pub async fn run(mut self, parked: VecDeque<Message>) {
        for request in parked {
            self.handle(request).await;
        }
        loop {
            tokio::select! {
                biased;
                () = self.writes.answer_next(&self.shared), if !self.writes.is_empty() => {}
                incoming = self.socket.recv(), if self.writes.has_room() => match incoming {
                    Some(Incoming::Request(request)) => self.handle(request).await,
                    // Only the first message opens.
                    Some(Incoming::Data(_)) => {}
                    None => break,
                },
                Some(_) = self.bulk.join_next(), if !self.bulk.is_empty() => {}
            }
        }
        // What was begun is carried out; whoever still listens hears of it.
        self.writes.settle(&self.shared).await;
    }

    async fn handle(&mut self, request: Message) {
        self.shared.counters.requests.add(1);
        let reply = request.reply_subject().unwrap_or_default();
        let body = Body { encoding: request.encoding(), payload: request.payload() };
        let refused = match request::parse(request.headers(), body) {
            Ok(Command::Write(write)) => {
                self.writes.begin(&self.stream, write, reply, request.payload().len()).await.err()
            }
            Ok(Command::Read(Read::GetAll(wanted))) => self.replay(wanted, reply).await.err(),
            Ok(Command::Read(read)) => self.read(read, reply).await.err(),
            Err(refusal) => Some(refusal),
        };
        match refused {
            // An error of `getAll` is its first frame, and its last.
            Some(refusal) if request.header_str("cmd") == Some("getAll") => {
                self.shared.counters.failures.add(1);
                self.shared.answer_with(reply, records::nil(), Some(replay::failure(&refusal)));
            }
            Some(refusal) => self.shared.refuse(reply, &refusal),
            None => {}
        }
    }

    /// Hears of every change from now on, once.
    fn arm(&mut self) {
        if self.feed.is_empty() {
            let feed = self.stream.feed(BOUNDS);
            self.feed.spawn(changefeed::run(self.socket.clone(), feed, self.shared.counters.clone()));
        }
    }

    async fn read(&mut self, read: Read, reply: &str) -> Result<(), Refusal> {
        // These two look at nothing.
        match read {
            Read::Changefeed => {
                self.arm();
                return self.answer(reply, records::encoded("created"));
            }
            Read::ServerId => return self.answer(reply, records::encoded(&self.shared.options.server_id)),
            _ => {}
        }
        self.writes.settle(&self.shared).await;
        match read {
            Read::Get(wanted) => return self.get(wanted, reply).await,
            Read::Keys => {
                let keys = self.stream.keys().await?;
                self.answer_in_bulk(reply, 0, records::encoded(&keys), None).await;
            }
            Read::Inventory => {
                let inventory = self.stream.inventory().await?;
                self.answer(reply, records::inventory(inventory))?;
            }
            Read::Metadata => {
                let metadata = self.stream.metadata().await?;
                self.answer(reply, metadata.map_or_else(records::nil, |value| records::encoded_json(&value)))?;
            }
            Read::Checkpoints => {
                let checkpoints = self.stream.checkpoints().await?;
                self.answer(reply, records::encoded_json(&records::checkpoints_json(&checkpoints)))?;
            }
            Read::GetAll(_) | Read::Changefeed | Read::ServerId => {}
        }
        Ok(())
    }

    async fn get(&mut self, wanted: Option<Wanted>, reply: &str) -> Result<(), Refusal> {
        let found = match wanted {
            Some(wanted) => self.stream.get(wanted.into()).await?,
            None => None,
        };
        let Some(stored) = found else {
            // Without headers, by which clients tell it from a hit (§5.2).
            return self.answer(reply, records::nil());
        };
        let headers = records::headers_of(&stored);
        let Stored { encoding, raw, .. } = stored;
        self.answer_in_bulk(reply, encoding.into(), raw, Some(headers)).await;
        Ok(())
    }

    async fn replay(&mut self, wanted: GetAll, reply: &str) -> Result<(), Refusal> {
        if wanted.changefeed {
            self.arm();
        }
        self.writes.settle(&self.shared).await;
        let replay = Replay::begin(&self.stream, &wanted).await?;
        let (shared, reply) = (self.shared.clone(), reply.into());
        self.in_bulk(async move {
            let _counted = Counted::new(&shared.counters, |counters| &counters.replays);
            replay.send(shared, reply).await;
        })
        .await;
        Ok(())
    }

    fn answer(&self, reply: &str, payload: Bytes) -> Result<(), Refusal> {
        self.shared.answer(reply, payload);
        Ok(())
    }

    /// Answers with what may be large.
    async fn answer_in_bulk(&mut self, reply: &str, encoding: u64, payload: Bytes, headers: Option<Value>) {
        let shared = self.shared.clone();
        if payload.len() < BULK_BYTES {
            if let Err(error) = shared.client.publish_bytes_sync(reply, encoding, payload, headers) {
                tracing::debug!(%error, "an answer was not sent");
            }
            return;
        }
        let reply: Box<str> = reply.into();
        self.in_bulk(async move {
            let _room = shared.windows.enter(&reply, payload.len()).await;
            let options = PublishOptions { headers, ..PublishOptions::default() };
            if let Err(error) = shared.client.publish_bytes(&reply, encoding, payload, options).await {
                tracing::debug!(%error, "an answer was not sent");
            }
        })
        .await;
    }

    /// Runs something beside the requests that follow, when not too much does already.
    async fn in_bulk(&mut self, work: impl Future<Output = ()> + Send + 'static) {
        while self.bulk.len() >= MAX_BULK {
            self.bulk.join_next().await;
        }
        self.bulk.spawn(work);
    }
}

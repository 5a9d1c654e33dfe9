//! Streams, stores and blobs for the server's own page.
//!
//! `outpost.account-<id>.data` answers questions, with what was asked as one object; live messages of a stream go to
//! `outpost.account-<id>.tail.<token>`. The second token is the account's, so the account may use both. Whoever may, sees every
//! stream of the server: there is one account, and it owns them all.
//!
//! | method | asks for | answer |
//! |---|---|---|
//! | `streams` | `{filter, sort, descending, offset, limit}` | `{total, streams, all: {streams, count, bytes}}` |
//! | `stream` | `{path}` | inventory, configuration, metadata, checkpoints |
//! | `messages` | `{path, filter, sort, descending, offset, limit}` | `{total, messages}`, each with the start of its value |
//! | `message` | `{path, seq}` | the message, with up to 256 KiB of its value; nil when it is not there |
//! | `value` | `{path, seq, offset, length}` | a part of the value |
//! | `delete` | `{path, seqs}` | the numbers that were deleted |
//! | `tail` | `{path, token}` | nothing; see [`tail_subject`] |
//! | `blobs` | `{sort, descending, offset, limit}` | `{total, messages}` as above |
//! | `deleteBlob` | `{uuid}` | whether it was there |

mod record;
mod tail;
#[cfg(test)]
mod tests;

use std::{future::Future, sync::Arc};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    record::{Part, Record, Records},
    tail::Tails,
};
use crate::{
    bus::{
        Client, Error, Result,
        service::{Call, Convention, Methods, ServiceOptions},
    },
    hub::blobs::{self, Blobs, Identifier},
    persist::store::{self, Deletion, ListOrder, ListQuery, Selector, Store, Stream, SummaryQuery},
};

/// Rows of one answer, at most.
const MAX_ROWS: u64 = 500;
/// Bytes of a value in a list.
const HEAD_BYTES: usize = 1024;
/// Bytes of a value that come with its message.
const VALUE_BYTES: usize = 256 << 10;
/// Bytes of a value in one part.
const PART_BYTES: usize = 4 << 20;
/// Messages that one call deletes, at most.
const MAX_DELETED: usize = 1000;
/// Questions that are worked on at a time: people ask few, and each may read a lot.
const CONCURRENCY: usize = 8;

/// Where questions are answered.
pub fn data_subject(account_id: &str) -> String {
    format!("outpost.account-{account_id}.data")
}

/// Where the live messages of a tail go: arrays of `{op: "set", …}`, `{op: "delete", seqs}`, `{op: "skipped", count}`. An
/// empty one only asks whether anybody still listens.
pub fn tail_subject(account_id: &str, token: &str) -> String {
    format!("outpost.account-{account_id}.tail.{token}")
}

/// What the service looks at.
#[derive(Clone, Debug)]
pub struct Sources {
    /// Streams and stores.
    pub store: Store,
    /// Blobs, if there are any.
    pub blobs: Option<Arc<Blobs>>,
}

/// Starts the service; it can be reached when this returns. Its tasks end when `until` is cancelled.
///
/// # Errors
/// The bus refuses the subscription.
pub async fn start(
    client: &Client,
    sources: Sources,
    account_id: &str,
    tasks: &TaskTracker,
    until: CancellationToken,
) -> Result<()> {
    let tails = Tails::new(client.clone(), account_id, tasks.clone(), until.clone());
    let Sources { store, blobs } = sources;
    let data = Arc::new(Data { store, blobs, tails });
    let methods = Methods::new()
        .method("streams", data.method(Data::streams))
        .method("stream", data.method(Data::stream))
        .method("messages", data.method(Data::messages))
        .method("message", data.method(Data::message))
        .method("value", data.method(Data::value))
        .method("delete", data.method(Data::delete))
        .method("tail", data.method(Data::tail))
        .method("blobs", data.method(Data::blobs))
        .method("deleteBlob", data.method(Data::delete_blob));
    let options = ServiceOptions { concurrency: CONCURRENCY, ..ServiceOptions::default() };
    let service = methods.serve(client, &data_subject(account_id), Convention::MethodArray, options).await?;
    tasks.spawn(service.run(until));
    Ok(())
}

struct Data {
    store: Store,
    blobs: Option<Arc<Blobs>>,
    tails: Tails,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ListArgs {
    path: String,
    filter: String,
    sort: String,
    descending: bool,
    offset: u64,
    limit: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct PathArgs {
    path: String,
}

#[derive(Debug, Deserialize)]
struct MessageArgs {
    path: String,
    seq: u64,
}

#[derive(Debug, Deserialize)]
struct ValueArgs {
    path: String,
    seq: u64,
    offset: usize,
    length: usize,
}

#[derive(Debug, Deserialize)]
struct DeleteArgs {
    path: String,
    seqs: Vec<u64>,
}

#[derive(Debug, Deserialize)]
struct TailArgs {
    path: String,
    token: String,
}

#[derive(Debug, Deserialize)]
struct BlobArgs {
    uuid: String,
}

impl Data {
    fn method<A, T, F>(
        self: &Arc<Self>,
        method: impl Fn(Arc<Data>, A) -> F + Clone + Send + Sync + 'static,
    ) -> impl Fn(Call) -> std::pin::Pin<Box<dyn Future<Output = Result<T>> + Send>> + Send + Sync + 'static
    where
        A: DeserializeOwned + Send,
        T: Serialize,
        F: Future<Output = Result<T>> + Send,
    {
        let data = self.clone();
        move |call| {
            let (data, method) = (data.clone(), method.clone());
            Box::pin(async move { method(data, call.arg(0)?).await })
        }
    }

    /// The stream, if there is one: looking at one must not make it.
    async fn find(&self, path: &str) -> Result<Stream> {
        let found = self.store.existing(path).await.map_err(failure)?;
        found.ok_or_else(|| Error::failure("there is no such stream", 404))
    }

    async fn streams(self: Arc<Self>, args: ListArgs) -> Result<Value> {
        let ListArgs { filter, sort, descending, offset, limit, .. } = args;
        let sort = if sort.is_empty() { "path".into() } else { sort };
        let query = SummaryQuery { filter, sort, descending, offset, limit: rows(limit) };
        let found = self.store.summaries(query).await.map_err(failure)?;
        let streams: Vec<Value> = found
            .streams
            .iter()
            .map(|stream| {
                json!({
                    "path": stream.path,
                    "count": stream.count,
                    "bytes": stream.bytes,
                    "changed": stream.changed,
                    "ephemeral": stream.ephemeral,
                })
            })
            .collect();
        let all = self.store.totals().await.map_err(failure)?;
        let all = json!({"streams": all.streams, "count": all.count, "bytes": all.bytes});
        Ok(json!({"total": found.total, "streams": streams, "all": all}))
    }

    async fn stream(self: Arc<Self>, args: PathArgs) -> Result<Value> {
        let stream = self.find(&args.path).await?;
        let config = stream.configure(Map::new()).await.map_err(failure)?.await.map_err(failure)?;
        let inventory = stream.inventory().await.map_err(failure)?;
        let checkpoints = stream.checkpoints().await.map_err(failure)?;
        let checkpoints: Map<String, Value> = checkpoints
            .into_iter()
            .map(|(name, point)| (name, json!({"seq": point.seq, "time": point.time, "data": point.data})))
            .collect();
        Ok(json!({
            "path": stream.path(),
            "ephemeral": stream.is_ephemeral(),
            "count": inventory.count,
            "bytes": inventory.bytes,
            "seq": inventory.seq,
            "limits": inventory.limits,
            "config": config,
            "metadata": stream.metadata().await.map_err(failure)?,
            "checkpoints": checkpoints,
        }))
    }

    async fn messages(self: Arc<Self>, args: ListArgs) -> Result<Records> {
        let stream = self.find(&args.path).await?;
        list(&stream, args).await
    }

    async fn message(self: Arc<Self>, args: MessageArgs) -> Result<Option<Record>> {
        let found = self.find(&args.path).await?.get(Selector::Seq(args.seq)).await.map_err(failure)?;
        Ok(found.map(|stored| Record::of(&stored, VALUE_BYTES)))
    }

    async fn value(self: Arc<Self>, args: ValueArgs) -> Result<Part> {
        let ValueArgs { path, seq, offset, length } = args;
        let found = self.find(&path).await?.get(Selector::Seq(seq)).await.map_err(failure)?;
        let raw = found.ok_or_else(|| Error::failure("this message is no longer there", 404))?.raw;
        let start = offset.min(raw.len());
        let end = start.saturating_add(length.min(PART_BYTES)).min(raw.len());
        Ok(Part(raw.slice(start..end)))
    }

    async fn delete(self: Arc<Self>, args: DeleteArgs) -> Result<Vec<u64>> {
        if args.seqs.len() > MAX_DELETED {
            return Err(Error::failure(format!("at most {MAX_DELETED} messages at a time"), 413));
        }
        let stream = self.find(&args.path).await?;
        stream.delete(Deletion::These(args.seqs)).await.map_err(failure)?.await.map_err(failure)
    }

    async fn tail(self: Arc<Self>, args: TailArgs) -> Result<()> {
        let stream = self.find(&args.path).await?;
        self.tails.start(stream, &args.token)
    }

    async fn blobs(self: Arc<Self>, args: ListArgs) -> Result<Records> {
        match self.blobs {
            Some(_) => list(&self.find(blobs::STORAGE_PATH).await?, args).await,
            None => Err(Error::failure("this server keeps no blobs", 404)),
        }
    }

    async fn delete_blob(self: Arc<Self>, args: BlobArgs) -> Result<bool> {
        let (Some(blobs), Some(id)) = (&self.blobs, Identifier::parse(&args.uuid)) else { return Ok(false) };
        blobs.delete(&id).await.map_err(|error| Error::message(error.to_string()))
    }
}

async fn list(stream: &Stream, args: ListArgs) -> Result<Records> {
    let ListArgs { filter, sort, descending, offset, limit, .. } = args;
    let order = match sort.as_str() {
        "" | "seq" | "time" => ListOrder::Seq,
        "key" => ListOrder::Key,
        "size" => ListOrder::Size,
        _ => return Err(Error::failure("sort must be 'seq', 'key' or 'size'", 400)),
    };
    let query = ListQuery { filter, order, descending, offset, limit: rows(limit), head: HEAD_BYTES };
    Ok(Records::of(stream.list(query).await.map_err(failure)?))
}

fn rows(limit: Option<u64>) -> u64 {
    limit.unwrap_or(50).min(MAX_ROWS)
}

/// An error of the store as the page is told.
fn failure(error: store::Error) -> Error {
    match error.code() {
        Some(code) => Error::failure(error.to_string(), code),
        None => Error::message(error.to_string()),
    }
}

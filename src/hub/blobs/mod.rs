//! Blobs: pictures and attachments of documents, immutable, named by what is in them (hub.md §5).
//!
//! They are entries of a key-value store of the hub: key = identifier, value = the bytes.

mod identifier;
mod recent;
#[cfg(test)]
mod tests;
mod value;
mod verify;

use bytes::Bytes;
use serde_json::{Map, Value, json};
use thiserror::Error;
use tokio::{
    sync::{OnceCell, Semaphore},
    time::Instant,
};

use crate::persist::store::{self, Deletion, OpenOptions, Range, Selector, Set, Store, Stored, Stream};
pub use identifier::Identifier;
use recent::Recent;
pub use value::Draft;
pub use verify::{Findings, verify};

/// Where blobs are in the store. No client of the bus gets there.
pub const STORAGE_PATH: &str = "hub/blobs";
/// The largest blob.
pub const LARGEST_BYTES: usize = 25_000_000;
/// The header that tells how long a blob was to live.
const TTL_HEADER: &str = "ttl";
/// Blobs that are read at once.
const MOST_READS: usize = 2;
/// Bytes of a page when many blobs are looked at.
const PAGE_BYTES: usize = 1 << 20;

/// What goes wrong with blobs.
#[derive(Clone, Debug, Error)]
pub enum Error {
    /// The store.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The server ends.
    #[error("the server ends")]
    Ending,
}

/// What an operation on blobs gives.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A blob in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// Its identifier.
    pub id: Identifier,
    /// Its place in the order of storing.
    pub seq: u64,
    /// Bytes.
    pub size: u64,
    /// When it was stored, in ms since the epoch.
    pub time: u64,
    /// How long it lives from then on, in ms.
    pub ttl: Option<u64>,
}

/// All blobs.
#[derive(Debug)]
pub struct Blobs {
    stream: Stream,
    recent: Recent,
    allows_ttl: OnceCell<()>,
    /// A blob that is read is in memory as a whole: a few at a time.
    reading: Semaphore,
}

impl Blobs {
    /// Opens them.
    ///
    /// # Errors
    /// The store.
    pub async fn open(store: &Store) -> Result<Blobs> {
        let stream = store.stream(STORAGE_PATH, OpenOptions::default()).await?;
        Ok(Blobs {
            stream,
            recent: Recent::default(),
            allows_ttl: OnceCell::new(),
            reading: Semaphore::new(MOST_READS),
        })
    }

    /// The content of a blob.
    ///
    /// # Errors
    /// The store.
    pub async fn get(&self, id: &Identifier) -> Result<Option<Bytes>> {
        if let Some(content) = self.recent.get(id) {
            return Ok(Some(content));
        }
        let _turn = self.reading.acquire().await.map_err(|_| Error::Ending)?;
        let read = Instant::now();
        let content = self.stored(id).await?.and_then(|stored| value::content(&stored.raw));
        if let Some(content) = &content {
            self.recent.put(id, content, read);
        }
        Ok(content)
    }

    async fn stored(&self, id: &Identifier) -> Result<Option<Stored>> {
        Ok(self.stream.get(Selector::Key(id.key())).await?)
    }

    /// Stores a blob; it is on the disk when this returns. `ttl` is in ms. A blob that is there already keeps the longer of
    /// the two lives.
    ///
    /// # Errors
    /// The store.
    pub async fn put(&self, id: &Identifier, draft: Draft, ttl: Option<u64>) -> Result<()> {
        let raw = draft.into_value();
        if let Some(stored) = self.stored(id).await?
            && stored.raw == raw
            && outlives(&stored, ttl)
        {
            return Ok(());
        }
        let headers = match ttl {
            Some(ttl) => {
                self.allows_ttl.get_or_try_init(|| self.allow_ttl()).await?;
                Some(json!({ TTL_HEADER: ttl }).to_string().into())
            }
            None => None,
        };
        let set = Set { encoding: 0, raw, headers, key: Some(id.key()), ttl, ..Set::default() };
        self.stream.set(set).await?.await?;
        Ok(())
    }

    async fn allow_ttl(&self) -> Result<()> {
        let fields = Map::from_iter([("allow_msg_ttl".to_owned(), Value::Bool(true))]);
        self.stream.configure(fields).await?.await?;
        Ok(())
    }

    /// Deletes a blob; gives whether there was one.
    ///
    /// # Errors
    /// The store.
    pub async fn delete(&self, id: &Identifier) -> Result<bool> {
        let Some(stored) = self.stored(id).await? else { return Ok(false) };
        let deleted = self.stream.delete(Deletion::One(stored.seq)).await?.await?;
        self.recent.remove(id);
        Ok(!deleted.is_empty())
    }

    /// At most `limit` blobs behind a place in the order of storing; 0 is the beginning.
    ///
    /// # Errors
    /// The store.
    pub async fn list(&self, after: u64, limit: usize) -> Result<Vec<About>> {
        let start = Some(after.saturating_add(1));
        let mut pages = self.stream.range(Range { start, ..Range::default() }).await?;
        let mut list = Vec::new();
        while list.len() < limit {
            let page = pages.next(PAGE_BYTES).await?;
            if page.is_empty() {
                break;
            }
            list.extend(page.iter().filter_map(about));
        }
        list.truncate(limit);
        Ok(list)
    }
}

fn about(stored: &Stored) -> Option<About> {
    let content = value::content(&stored.raw)?;
    Some(About {
        id: Identifier::parse(stored.key.as_deref()?)?,
        seq: stored.seq,
        size: content.len() as u64,
        time: stored.time,
        ttl: ttl(stored),
    })
}

fn ttl(stored: &Stored) -> Option<u64> {
    let headers: Value = serde_json::from_str(stored.headers.as_deref()?).ok()?;
    headers.get(TTL_HEADER)?.as_u64()
}

/// Whether a stored blob lives at least as long as one that would be stored now.
fn outlives(stored: &Stored, wanted: Option<u64>) -> bool {
    match (ttl(stored), wanted) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(ttl), Some(wanted)) => {
            stored.time.saturating_add(ttl) >= crate::broker::peer::now_ms().saturating_add(wanted)
        }
    }
}

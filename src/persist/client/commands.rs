//! The commands of a stream (conat-persist.md §6).

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::{
    Assigned, Connection, Deletion, Inventory, Result,
    message::{Message, Write},
    records,
};
use crate::bus::random_id;

/// Writes of one request, at most.
pub(super) const BATCH: usize = 500;
/// Bytes of one request, about; a single write may be larger.
const BATCH_BYTES: usize = 8_000_000;

fn nil() -> Bytes {
    Bytes::from_static(&[0xc0])
}

/// How many of the writes go into the next request.
pub(super) fn batch<'a>(writes: impl IntoIterator<Item = &'a Write>) -> usize {
    let (mut count, mut bytes) = (0, 0);
    for write in writes.into_iter().take(BATCH) {
        bytes += write.bytes();
        if count > 0 && bytes > BATCH_BYTES {
            break;
        }
        count += 1;
    }
    count
}

/// Without an id a write that is repeated because its answer was lost would be there twice.
fn with_id(mut write: Write) -> Write {
    write.msg_id.get_or_insert_with(|| random_id().into());
    write
}

impl Connection {
    /// Stores a message.
    ///
    /// # Errors
    /// The server refuses it, or can't be reached.
    pub async fn set(&self, write: Write) -> Result<Assigned> {
        let write = with_id(write);
        let answer = self.request(write.payload.clone(), records::set_headers(&write), None).await?;
        records::assigned(answer.payload())
    }

    /// Stores messages in order, 500 at most in a request. Each may fail by itself.
    ///
    /// # Errors
    /// A request failed; what went before it is stored.
    pub async fn set_many(&self, writes: Vec<Write>) -> Result<Vec<Result<Assigned>>> {
        let writes: Vec<Write> = writes.into_iter().map(with_id).collect();
        let mut results = Vec::with_capacity(writes.len());
        let mut rest = writes.as_slice();
        while !rest.is_empty() {
            let (now, later) = rest.split_at(batch(rest).max(1));
            results.extend(self.set_batch(now).await?);
            rest = later;
        }
        Ok(results)
    }

    /// Stores messages with one request.
    pub(super) async fn set_batch(&self, writes: &[Write]) -> Result<Vec<Result<Assigned>>> {
        let answer = self.request(records::set_many(writes)?, json!({"cmd": "setMany"}), None).await?;
        records::results(answer.payload(), writes.len())
    }

    /// One message by its number.
    ///
    /// # Errors
    /// The server can't be reached.
    pub async fn get(&self, seq: u64) -> Result<Option<Message>> {
        self.get_by(json!({"cmd": "get", "seq": seq})).await
    }

    /// The message of a key; a tombstone is a message.
    ///
    /// # Errors
    /// The server can't be reached.
    pub async fn get_key(&self, key: &str) -> Result<Option<Message>> {
        self.get_by(json!({"cmd": "get", "key": key})).await
    }

    async fn get_by(&self, headers: Value) -> Result<Option<Message>> {
        Ok(records::got(&self.request_any(headers).await?))
    }

    /// The keys, those of tombstones included.
    ///
    /// # Errors
    /// The server can't be reached.
    pub async fn keys(&self) -> Result<Vec<String>> {
        Ok(self.request(nil(), json!({"cmd": "keys"}), None).await?.decode()?)
    }

    /// Deletes messages; gives their numbers as §6.3 says.
    ///
    /// # Errors
    /// The server can't be reached.
    pub async fn delete(&self, deletion: &Deletion) -> Result<Vec<u64>> {
        let headers = match deletion {
            Deletion::All => json!({"cmd": "delete", "all": true}),
            Deletion::UpTo(seq) => json!({"cmd": "delete", "last_seq": seq}),
            Deletion::One(seq) => json!({"cmd": "delete", "seq": seq}),
            Deletion::These(seqs) => json!({"cmd": "delete", "seqs": seqs}),
            Deletion::Nothing => return Ok(Vec::new()),
        };
        records::deleted(self.request(nil(), headers, None).await?.payload())
    }

    /// Sets fields of the configuration, enforces the limits, and gives the whole configuration.
    ///
    /// # Errors
    /// The server can't be reached.
    pub async fn configure(&self, fields: &Map<String, Value>) -> Result<Map<String, Value>> {
        let headers = json!({"cmd": "config", "config": fields});
        Ok(self.request(nil(), headers, None).await?.decode()?)
    }

    /// What the stream holds.
    ///
    /// # Errors
    /// The server can't be reached.
    pub async fn inventory(&self) -> Result<Inventory> {
        records::inventory(self.request(nil(), json!({"cmd": "inventory"}), None).await?.payload())
    }

    /// The server's id.
    ///
    /// # Errors
    /// The server can't be reached.
    pub async fn server_id(&self) -> Result<String> {
        Ok(self.request(nil(), json!({"cmd": "serverId"}), None).await?.decode()?)
    }
}

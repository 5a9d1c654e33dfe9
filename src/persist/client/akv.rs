//! A key-value store without a copy: one request for each operation (conat-persist.md §12.5).

use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use super::{
    Assigned, Connection, Inventory, Result,
    dkv::SetOptions,
    message::{Message, Write},
};

/// A key-value store without a copy.
#[derive(Clone, Debug)]
pub struct Akv {
    connection: Connection,
}

impl Akv {
    pub(super) fn new(connection: Connection) -> Akv {
        Akv { connection }
    }

    /// Its connection.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The value of a key; deleted keys have none.
    ///
    /// # Errors
    /// The server can't be reached, or the value is no `T`.
    pub async fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        self.message(key).await?.map(|message| message.value()).transpose()
    }

    /// The message of a key, with its number, time and headers; deleted keys have none.
    ///
    /// # Errors
    /// The server can't be reached.
    pub async fn message(&self, key: &str) -> Result<Option<Message>> {
        Ok(self.connection.get_key(key).await?.filter(|message| !message.is_tombstone()))
    }

    /// Sets a value.
    ///
    /// # Errors
    /// The server refuses it, or can't be reached.
    pub async fn set<T: Serialize + ?Sized>(&self, key: &str, value: &T) -> Result<Assigned> {
        self.set_with(key, value, SetOptions::default(), None).await
    }

    /// Sets a value with headers or a time to live; with `previous_seq` only if the key's message still has this number.
    ///
    /// # Errors
    /// The server refuses it, or can't be reached.
    pub async fn set_with<T: Serialize + ?Sized>(
        &self,
        key: &str,
        value: &T,
        options: SetOptions,
        previous_seq: Option<u64>,
    ) -> Result<Assigned> {
        let SetOptions { headers, ttl } = options;
        let headers = headers.map(std::sync::Arc::new);
        let write = Write { headers, ttl, previous_seq, ..Write::value(value)?.key(key) };
        let assigned = self.connection.set(write).await?;
        if ttl.is_some() {
            let mut fields = Map::new();
            fields.insert("allow_msg_ttl".into(), true.into());
            self.connection.configure(&fields).await?;
        }
        Ok(assigned)
    }

    /// Deletes a key. The tombstone stays: only stores with a copy know which keys there are.
    ///
    /// # Errors
    /// The server refuses it, or can't be reached.
    pub async fn delete(&self, key: &str) -> Result<Assigned> {
        self.connection.set(Write::tombstone(key, None)).await
    }

    /// The keys, those of deleted ones included.
    ///
    /// # Errors
    /// The server can't be reached.
    pub async fn keys(&self) -> Result<Vec<String>> {
        self.connection.keys().await
    }

    /// Sets fields of the configuration, and gives the whole.
    ///
    /// # Errors
    /// The server can't be reached.
    pub async fn configure(&self, fields: &Map<String, Value>) -> Result<Map<String, Value>> {
        self.connection.configure(fields).await
    }

    /// What the store holds.
    ///
    /// # Errors
    /// The server can't be reached.
    pub async fn inventory(&self) -> Result<Inventory> {
        self.connection.inventory().await
    }

    /// Closes the store and waits until its task has ended.
    pub async fn close(&self) {
        self.connection.closed().await;
    }
}

//! The list of an owner's streams that older clients keep (conat-persist.md §12.6). Off unless asked for.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use tokio::{sync::mpsc, task::JoinHandle, time::sleep};

use super::{Akv, Connection, Inventory, Owner, Persist, Result, Storage};

/// The store that holds the list.
pub const NAME: &str = "CoCalc-Inventory";

/// What a stream is used as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamKind {
    /// A key-value store.
    Kv,
    /// A stream.
    Stream,
}

/// How the list is kept.
#[derive(Clone, Debug)]
pub struct InventoryOptions {
    /// Any description.
    pub desc: Option<Value>,
    /// Time between a write and the update.
    pub delay: Duration,
    /// Shortest time between two updates.
    pub period: Duration,
}

impl Default for InventoryOptions {
    fn default() -> Self {
        InventoryOptions { desc: None, delay: Duration::from_millis(500), period: Duration::from_secs(90) }
    }
}

/// The key of a stream in the list: name, then type.
pub fn key(name: &str, kind: StreamKind) -> String {
    let kind = match kind {
        StreamKind::Kv => "kv",
        StreamKind::Stream => "stream",
    };
    format!("{{\"name\":{},\"type\":\"{kind}\"}}", Value::from(name))
}

/// The value of a stream in the list. `earlier` is the one that was there before.
fn value(inventory: &Inventory, earlier: Option<&Map<String, Value>>, desc: Option<&Value>, now: u64) -> Value {
    let earlier = |name: &str| earlier.and_then(|earlier| earlier.get(name)).cloned();
    let mut value = json!({
        "last": now,
        "created": earlier("created").unwrap_or_else(|| now.into()),
        "bytes": inventory.bytes,
        "count": inventory.count,
        "limits": inventory.limits,
        "seq": inventory.seq,
    });
    if let Some(desc) = desc.cloned().or_else(|| earlier("desc")) {
        value["desc"] = desc;
    }
    value
}

/// What keeps the entry of one stream. It ends when the stream does.
#[derive(Debug)]
pub(super) struct InventoryWriter {
    trigger: mpsc::Sender<()>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for InventoryWriter {
    fn drop(&mut self) {
        if let Some(task) = &*self.task.lock() {
            task.abort();
        }
    }
}

impl InventoryWriter {
    pub fn start(
        persist: &Persist,
        owner: &Owner,
        name: &str,
        kind: StreamKind,
        options: InventoryOptions,
        connection: Connection,
    ) -> Result<InventoryWriter> {
        let list = persist.akv(owner, NAME, Storage::default())?;
        let (trigger, written) = mpsc::channel(1);
        let task = tokio::spawn(run(list, key(name, kind), options, connection, written));
        Ok(InventoryWriter { trigger, task: Mutex::new(Some(task)) })
    }

    /// What tells that something was written.
    pub fn trigger(&self) -> mpsc::Sender<()> {
        self.trigger.clone()
    }

    pub async fn close(&self) {
        let task = self.task.lock().take();
        if let Some(task) = task {
            task.abort();
            // It was told to end.
            let _ = task.await;
        }
    }
}

async fn run(
    list: Akv,
    key: String,
    options: InventoryOptions,
    connection: Connection,
    mut written: mpsc::Receiver<()>,
) {
    while written.recv().await.is_some() {
        sleep(options.delay).await;
        if let Err(error) = update(&list, &key, &options, &connection).await {
            tracing::debug!(path = connection.path(), %error, "the inventory was not updated");
        }
        sleep(options.period).await;
    }
}

async fn update(list: &Akv, key: &str, options: &InventoryOptions, connection: &Connection) -> Result<()> {
    let inventory = connection.inventory().await?;
    let earlier: Option<Map<String, Value>> = list.get(key).await.unwrap_or_default();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = u64::try_from(now.as_millis()).unwrap_or_default();
    list.set(key, &value(&inventory, earlier.as_ref(), options.desc.as_ref(), now)).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn persist_108_the_key_names_the_stream_then_its_kind() {
        assert_eq!(key("a\"b", StreamKind::Kv), r#"{"name":"a\"b","type":"kv"}"#);
        assert_eq!(key("x", StreamKind::Stream), r#"{"name":"x","type":"stream"}"#);
    }

    #[test]
    fn persist_108_the_value_keeps_when_it_was_created() {
        let inventory = Inventory { bytes: 40, count: 2, seq: 3, ..Inventory::default() };
        let first = value(&inventory, None, None, 5);
        assert_eq!(first, json!({"last": 5, "created": 5, "bytes": 40, "count": 2, "limits": {}, "seq": 3}));
        let second = value(&inventory, first.as_object(), Some(&json!("mine")), 9);
        assert_eq!((&second["created"], &second["last"], &second["desc"]), (&json!(5), &json!(9), &json!("mine")));
        assert_eq!(value(&inventory, second.as_object(), None, 10)["desc"], "mine");
    }
}

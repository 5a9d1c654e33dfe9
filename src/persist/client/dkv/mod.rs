//! A key-value store: read and written locally at once, saved and merged in the background (conat-persist.md §12.3).

mod compare;
mod edits;
mod save;

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use parking_lot::Mutex;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use tokio::{sync::Notify, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use self::edits::{Edits, Outcome};
use super::{
    CoreStream, Error, InventoryOptions, Owner, Persist, Result, StreamKind, StreamOptions,
    core::Observer,
    inventory::InventoryWriter,
    message::Message,
    notices::{Notices, Notifier},
};
use crate::wire::msgpack;

/// A key was changed here and elsewhere at the same time. Deleted or absent values are `None`.
#[derive(Clone, Debug, PartialEq)]
pub struct Conflict {
    /// The key.
    pub key: Arc<str>,
    /// What both started from.
    pub prev: Option<rmpv::Value>,
    /// What was written here.
    pub local: Option<rmpv::Value>,
    /// What was written elsewhere.
    pub remote: Option<rmpv::Value>,
}

type MergeError = Box<dyn std::error::Error + Send + Sync>;
type MergeFunction = dyn Fn(&Conflict) -> Result<Option<rmpv::Value>, MergeError> + Send + Sync;

/// How conflicts are resolved. With such a function, no write replaces what its writer has not seen.
#[derive(Clone)]
pub struct Merge(Arc<MergeFunction>);

impl Merge {
    /// Resolves by a function; after an error the local value stays.
    pub fn new(merge: impl Fn(&Conflict) -> Result<Option<rmpv::Value>, MergeError> + Send + Sync + 'static) -> Merge {
        Merge(Arc::new(merge))
    }

    /// The local value stays.
    pub fn keep_local() -> Merge {
        Merge::new(|conflict| Ok(conflict.local.clone()))
    }
}

impl fmt::Debug for Merge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Merge")
    }
}

/// How to open a key-value store.
#[derive(Clone, Debug, Default)]
pub struct DkvOptions {
    /// The stream beneath.
    pub stream: StreamOptions,
    /// How conflicts are resolved. Without it the last writer wins.
    pub merge: Option<Merge>,
    /// Whether the store's sizes are written down for older clients.
    pub inventory: Option<InventoryOptions>,
}

/// How to set a value.
#[derive(Clone, Debug, Default)]
pub struct SetOptions {
    /// Headers.
    pub headers: Option<Map<String, Value>>,
    /// Time to live.
    pub ttl: Option<Duration>,
}

/// A write that was refused for good; the key has its old value again.
#[derive(Clone, Debug)]
pub struct Refused {
    /// The key.
    pub key: Arc<str>,
    /// Why.
    pub error: Error,
}

/// A key-value store. Cloning it makes another handle; it closes with the last one, and what is not saved by then is lost: see
/// [`Dkv::end`].
#[derive(Clone, Debug)]
pub struct Dkv {
    guard: Arc<Guard>,
}

#[derive(Debug)]
struct Guard {
    core: CoreStream,
    shared: Arc<Shared>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    inventory: Option<InventoryWriter>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.shared.close();
    }
}

#[derive(Debug)]
struct Shared {
    edits: Mutex<Edits>,
    merge: Option<Merge>,
    /// There is something to save.
    wake: Notify,
    /// Something was saved, or has ended.
    saved: Notify,
    changes: Notifier<Arc<str>>,
    refusals: Notifier<Refused>,
    closing: CancellationToken,
}

/// What a store's user sees of a key.
enum Seen {
    /// Written here and not come back yet.
    Edited(Option<bytes::Bytes>),
    /// As it is stored.
    Stored(Option<Message>),
}

impl Dkv {
    pub(super) async fn open(persist: &Persist, owner: &Owner, name: &str, options: DkvOptions) -> Result<Dkv> {
        let DkvOptions { mut stream, merge, inventory } = options;
        // Tombstones have to go some day.
        stream.config.insert("allow_msg_ttl".into(), true.into());
        let bounds = persist.options().bounds;
        let shared = Arc::new(Shared {
            edits: Mutex::new(Edits::new(bounds.unsaved, bounds.unsaved_bytes)),
            merge,
            wake: Notify::new(),
            saved: Notify::new(),
            changes: Notifier::new(bounds.notices),
            refusals: Notifier::new(bounds.notices),
            closing: CancellationToken::new(),
        });
        let observer: Arc<dyn Observer> = shared.clone();
        let core = CoreStream::observed(persist, owner, name, stream, Some(observer)).await?;
        let writer = inventory.map(|options| {
            InventoryWriter::start(persist, owner, name, StreamKind::Kv, options, core.connection().clone())
        });
        let writer = writer.transpose()?;
        let saver = save::Saver::new(&shared, &core, writer.as_ref().map(InventoryWriter::trigger));
        let tasks = Mutex::new(vec![tokio::spawn(saver.run())]);
        Ok(Dkv { guard: Arc::new(Guard { core, shared, tasks, inventory: writer }) })
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.guard.shared
    }

    /// The copy beneath.
    pub fn core(&self) -> &CoreStream {
        &self.guard.core
    }

    fn look(&self, key: &str) -> Seen {
        // An edit leaves only after its message has come, so a key is always in one of the two.
        match self.shared().edits.lock().value(key) {
            Some(value) => Seen::Edited(value),
            None => Seen::Stored(self.core().get_key(key)),
        }
    }

    /// The value of a key.
    ///
    /// # Errors
    /// It is no `T`.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        match self.look(key) {
            Seen::Edited(value) => Ok(value.map(|raw| msgpack::decode(&raw)).transpose()?),
            Seen::Stored(message) => message.map(|message| message.value()).transpose(),
        }
    }

    /// Whether a key is there.
    pub fn has(&self, key: &str) -> bool {
        match self.look(key) {
            Seen::Edited(value) => value.is_some(),
            Seen::Stored(message) => message.is_some(),
        }
    }

    /// The message of a key as it is stored: its number, time and headers.
    pub fn message(&self, key: &str) -> Option<Message> {
        self.core().get_key(key)
    }

    /// The keys, in order.
    pub fn keys(&self) -> Vec<Arc<str>> {
        let (stored, edited) = self.core().keys_and(|| self.shared().edits.lock().present());
        let mut keys: std::collections::BTreeSet<Arc<str>> = stored.into_iter().collect();
        for (key, present) in edited {
            if present {
                keys.insert(key);
            } else {
                keys.remove(&key);
            }
        }
        keys.into_iter().collect()
    }

    /// All keys with their values.
    ///
    /// # Errors
    /// A value is no `T`.
    pub fn all<T: DeserializeOwned>(&self) -> Result<BTreeMap<Arc<str>, T>> {
        let mut all = BTreeMap::new();
        for key in self.keys() {
            if let Some(value) = self.get(&key)? {
                all.insert(key, value);
            }
        }
        Ok(all)
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.keys().len()
    }

    /// Whether there are no keys.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sets a value. It is here at once and at the server soon; as long as the server is away it waits.
    ///
    /// # Errors
    /// It can't be encoded, too much is not saved, or the store is closed.
    pub fn set<T: Serialize + ?Sized>(&self, key: &str, value: &T) -> Result<()> {
        self.set_with(key, value, SetOptions::default())
    }

    /// Sets a value with headers or a time to live.
    ///
    /// # Errors
    /// See [`Dkv::set`].
    pub fn set_with<T: Serialize + ?Sized>(&self, key: &str, value: &T, options: SetOptions) -> Result<()> {
        let value = msgpack::encode(value)?.into();
        self.edit(key, Some(value), options)
    }

    /// Deletes a key; does nothing when it is not there.
    ///
    /// # Errors
    /// Too much is not saved, or the store is closed.
    pub fn delete(&self, key: &str) -> Result<()> {
        if !self.has(key) {
            return Ok(());
        }
        let ttl = Some(self.core().connection().options().tombstone_ttl);
        self.edit(key, None, SetOptions { headers: None, ttl })
    }

    /// Deletes all keys.
    ///
    /// # Errors
    /// See [`Dkv::delete`].
    pub fn clear(&self) -> Result<()> {
        self.keys().iter().try_for_each(|key| self.delete(key))
    }

    fn edit(&self, key: &str, value: Option<bytes::Bytes>, options: SetOptions) -> Result<()> {
        if let Some(error) = self.core().error() {
            return Err(error);
        }
        let key: Arc<str> = key.into();
        self.shared().edits.lock().edit(&key, value, options.headers.map(Arc::new), options.ttl)?;
        self.shared().changes.send(key);
        self.shared().wake.notify_one();
        Ok(())
    }

    /// Keys whose values change from now on, here or elsewhere. Look at the values themselves; after
    /// [`super::Notice::Missed`] look at all of them.
    pub fn changes(&self) -> Notices<Arc<str>> {
        self.shared().changes.subscribe()
    }

    /// Writes that are refused from now on.
    pub fn refusals(&self) -> Notices<Refused> {
        self.shared().refusals.subscribe()
    }

    /// Keys whose values are not saved.
    pub fn unsaved(&self) -> Vec<Arc<str>> {
        self.shared().edits.lock().unsaved()
    }

    /// Whether everything that was written here is saved and has come back.
    pub fn is_stable(&self) -> bool {
        self.shared().edits.lock().is_empty()
    }

    /// Waits until everything is saved or refused.
    ///
    /// # Errors
    /// The store has ended before.
    pub async fn save(&self) -> Result<()> {
        self.wait(|edits| edits.unsaved().is_empty()).await
    }

    /// Waits until everything is saved and has come back.
    ///
    /// # Errors
    /// The store has ended before.
    pub async fn stable(&self) -> Result<()> {
        self.wait(Edits::is_empty).await
    }

    async fn wait(&self, done: impl Fn(&Edits) -> bool) -> Result<()> {
        loop {
            let saved = self.shared().saved.notified();
            tokio::pin!(saved);
            // Registered before the look, so that nothing in between is missed.
            saved.as_mut().enable();
            if done(&self.shared().edits.lock()) {
                return Ok(());
            }
            if let Some(error) = self.core().error() {
                return Err(error);
            }
            saved.await;
        }
    }

    /// Saves and closes; what is not saved in this time is lost.
    ///
    /// # Errors
    /// Something was not saved.
    pub async fn end(&self, at_most: Duration) -> Result<()> {
        let saved = tokio::time::timeout(at_most, self.save()).await;
        self.close().await;
        saved.unwrap_or_else(|_| Err(crate::bus::Error::Timeout("saving".into()).into()))
    }

    /// Closes the store and waits until its tasks have ended. What is not saved is lost.
    pub async fn close(&self) {
        self.shared().close();
        self.core().close().await;
        let tasks = std::mem::take(&mut *self.guard.tasks.lock());
        for task in tasks {
            // A task that panicked has ended as well.
            let _ = task.await;
        }
        if let Some(inventory) = &self.guard.inventory {
            inventory.close().await;
        }
    }
}

impl Shared {
    fn close(&self) {
        self.closing.cancel();
        self.changes.close();
        self.refusals.close();
        self.saved.notify_waiters();
    }

    /// What comes of a conflict.
    fn resolve(&self, conflict: &Conflict) -> Option<rmpv::Value> {
        let Some(Merge(merge)) = &self.merge else { return conflict.local.clone() };
        merge(conflict).unwrap_or_else(|error| {
            tracing::debug!(%error, "a conflict could not be resolved; the local value stays");
            conflict.local.clone()
        })
    }
}

impl Observer for Shared {
    fn stored(&self, message: &Message, msg_id: Option<&str>, before: Option<&Message>) {
        let mut edits = self.edits.lock();
        if let Some(key) = &message.key
            && edits.stored(key, message, msg_id, before) == Outcome::Changed
        {
            self.changes.send(key.clone());
        }
        edits.passed(message.seq).into_iter().for_each(|key| self.changes.send(key));
    }

    fn deleted(&self, seq: u64, message: Option<&Message>) {
        if let Some(key) = message.and_then(|message| message.key.as_ref()) {
            self.changes.send(key.clone());
        }
        self.edits.lock().deleted(seq).into_iter().for_each(|key| self.changes.send(key));
    }

    fn settle(&self) {
        loop {
            let Some((conflict, ticket)) = self.edits.lock().next_conflict() else { break };
            let result = self.resolve(&conflict);
            let outcome = self.edits.lock().resolved(&conflict, ticket, result.as_ref());
            if outcome == Outcome::Changed {
                self.changes.send(conflict.key);
            }
        }
        // What waited for a change may be saved now, or has come back.
        self.wake.notify_one();
        self.saved.notify_waiters();
    }

    fn closed(&self, _error: &Error) {
        self.close();
    }
}

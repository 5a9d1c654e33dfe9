//! The store, and which streams of it are open.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};

use super::{
    Error, Result,
    checkpointer::Wal,
    engine::Engine,
    health::{Health, Reporter, Suspicion},
    instance::Instance,
    options::{Clock, OpenOptions, StoreOptions, Tuning},
    pages::Snapshots,
    queue::Queue,
    reader::{Readers, Source},
    schema::SCHEMA,
    stats::Stats,
    stream::{Lease, Stream},
    work::{Message, Work},
    writer::Writer,
};
use crate::persist::sqlite;

/// Paths are limited by whoever knows the rules for them (§2.3); this only keeps a mistake from getting into the database.
const MAX_PATH_BYTES: usize = 64 * 1024;

/// An open stream and those who have it.
#[derive(Debug)]
struct Entry {
    instance: Arc<Instance>,
    leases: usize,
    /// How often the last lease has ended: tells one end from the next.
    ends: u64,
}

/// All that the handles of a store share.
#[derive(Debug)]
pub(super) struct Registry {
    open: Mutex<HashMap<Arc<str>, Entry>>,
    serial: AtomicU64,
    disk: Arc<Queue>,
    /// The writer of what is in memory only, once it is needed.
    memory: Mutex<Option<Arc<Queue>>>,
    readers: Arc<Readers>,
    snapshots: Arc<Snapshots>,
    health: watch::Receiver<Health>,
    stats: Arc<Stats>,
    options: StoreOptions,
    tuning: Tuning,
}

impl Registry {
    pub fn clock(&self) -> &Clock {
        &self.tuning.clock
    }

    pub fn snapshots(&self) -> &Arc<Snapshots> {
        &self.snapshots
    }

    pub fn readers(&self) -> &Arc<Readers> {
        &self.readers
    }

    /// Whether anybody has a stream open, or had it a short while ago.
    pub fn is_open(&self, path: &str) -> bool {
        self.open.lock().contains_key(path)
    }

    /// Where ephemeral streams are read, if there ever were any.
    pub fn memory(&self) -> Option<Source> {
        self.memory.lock().clone().map(Source::Memory)
    }

    /// A lease on a stream, which begins to exist with the first one.
    fn enter(self: &Arc<Self>, path: &str, options: OpenOptions) -> Result<Lease> {
        let mut open = self.open.lock();
        let ephemeral = open.get(path).map_or(options.ephemeral, |entry| entry.instance.ephemeral);
        let (queue, source) = if ephemeral {
            let queue = self.memory_queue()?;
            (queue.clone(), Source::Memory(queue))
        } else {
            (self.disk.clone(), Source::Disk(self.readers.clone()))
        };
        let instance = match open.get_mut(path) {
            Some(entry) => {
                entry.leases += 1;
                entry.instance.clone()
            }
            None => {
                let path: Arc<str> = path.into();
                let serial = self.serial.fetch_add(1, Ordering::Relaxed);
                let instance = Arc::new(Instance::new(serial, path.clone(), ephemeral));
                open.insert(path, Entry { instance: instance.clone(), leases: 1, ends: 0 });
                self.stats.open_streams.add(1);
                instance
            }
        };
        Ok(Lease { registry: self.clone(), instance, queue, source })
    }

    /// A lease has ended. After the last one the writer is told, behind all that was written before.
    pub fn leave(&self, instance: &Arc<Instance>, queue: &Queue) {
        let mut open = self.open.lock();
        let Some(entry) = open.get_mut(&instance.path) else { return };
        entry.leases = entry.leases.saturating_sub(1);
        if entry.leases == 0 {
            entry.ends += 1;
            // When the store is closed there is nobody left to tell.
            let _ = queue.send(Message::Idle(instance.clone(), entry.ends));
        }
    }

    /// Takes an instance out, unless it was opened again since.
    pub fn release(&self, instance: &Arc<Instance>, end: u64) -> bool {
        let mut open = self.open.lock();
        let idle = open
            .get(&instance.path)
            .is_some_and(|entry| Arc::ptr_eq(&entry.instance, instance) && entry.leases == 0 && entry.ends == end);
        if idle {
            open.remove(&instance.path);
            self.stats.open_streams.sub(1);
        }
        idle
    }

    /// The queue of the writer of what is in memory only; starts it when it is first needed.
    fn memory_queue(self: &Arc<Self>) -> Result<Arc<Queue>> {
        let mut memory = self.memory.lock();
        if let Some(queue) = &*memory {
            return Ok(queue.clone());
        }
        let connection = sqlite::open_in_memory(&SCHEMA, self.tuning.ephemeral_bytes)?;
        let (queue, inbox) = Queue::new(&self.tuning);
        let writer = Writer {
            engine: Engine::new(connection, &self.tuning),
            inbox,
            registry: Arc::downgrade(self),
            stats: self.stats.clone(),
            reporter: None,
            wal: None,
            observer: None,
            release_grace: self.options.release_grace,
            group_writes: self.tuning.group_writes,
            group_bytes: self.tuning.group_bytes,
        };
        start("store-memory", writer)?;
        Ok(memory.insert(Arc::new(queue)).clone())
    }
}

fn start(name: &str, writer: Writer) -> Result<()> {
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || writer.run());
    thread.map(drop).map_err(|error| Error::Storage { code: "EAGAIN".to_owned(), message: error.to_string() })
}

/// All streams. Cloning it makes another handle.
#[derive(Clone, Debug)]
pub struct Store {
    registry: Arc<Registry>,
}

impl Store {
    /// Opens the store; blocks.
    ///
    /// # Errors
    /// The database can't be opened or made.
    pub fn open(options: StoreOptions) -> Result<Store, sqlite::Error> {
        Store::open_with(options, Tuning::default())
    }

    /// Opens the store with other bounds than usual; blocks.
    ///
    /// # Errors
    /// The database can't be opened or made.
    pub fn open_with(options: StoreOptions, tuning: Tuning) -> Result<Store, sqlite::Error> {
        let path = options.path.clone();
        let opened = sqlite::open_mending(&path, &SCHEMA, options.durability, super::schema::mend)?;
        let wrap = |source| sqlite::Error::Sqlite { path: path.clone(), source };
        let mut connection = opened.connection;
        let stats = Arc::new(Stats::default());
        let suspicion = Arc::new(Suspicion::new(path.clone()));
        let snapshots = Arc::new(Snapshots::new(tuning.snapshots, tuning.snapshot_life, stats.clone()));
        let wal = Wal::new(&mut connection, path.clone(), &tuning, Arc::downgrade(&snapshots), stats.clone());
        let wal = wal.map_err(wrap)?;
        let (sender, health) = watch::channel(Health { refusing: None, recovery: opened.recovery });
        let (queue, inbox) = Queue::new(&tuning);
        let registry = Arc::new(Registry {
            open: Mutex::default(),
            serial: AtomicU64::new(1),
            disk: Arc::new(queue),
            memory: Mutex::default(),
            readers: Arc::new(Readers::new(path.clone(), tuning.reads, suspicion.clone(), stats.clone())),
            snapshots,
            health,
            stats: stats.clone(),
            options,
            tuning: tuning.clone(),
        });
        let writer = Writer {
            engine: Engine::new(connection, &tuning),
            inbox,
            registry: Arc::downgrade(&registry),
            stats,
            reporter: Some(Reporter { health: sender, suspicion }),
            wal: Some(wal),
            observer: registry.options.observer.clone(),
            release_grace: registry.options.release_grace,
            group_writes: tuning.group_writes,
            group_bytes: tuning.group_bytes,
        };
        start("store-writer", writer).map_err(|error| {
            let source = std::io::Error::other(error.to_string());
            sqlite::Error::Io { path, source }
        })?;
        Ok(Store { registry })
    }

    /// Opens a stream, making it when it is not there. Its limits are enforced (§8.7).
    ///
    /// # Errors
    /// The disk, or the store is closed.
    pub async fn stream(&self, path: &str, options: OpenOptions) -> Result<Stream> {
        if path.len() > MAX_PATH_BYTES {
            return Err(Error::Invalid("the path is too long".to_owned()));
        }
        let stream = Stream::from(self.registry.enter(path, options)?);
        let lease = stream.lease();
        if !lease.instance.ready.load(Ordering::Acquire) {
            if let Some(observer) = self.registry.options.observer.as_ref().filter(|_| !lease.instance.ephemeral) {
                // Where it is says what is there, which the observer may want to know.
                lease.queue.push(&lease.instance, Work::Load).await?.await.map_err(|_| Error::Closed)??;
                lease.instance.announced.get_or_init(|| observer.opening(&stream)).await;
            }
            let answer = lease.queue.push(&lease.instance, Work::Open).await?;
            answer.await.map_err(|_| Error::Closed)??;
        }
        Ok(stream)
    }

    /// Asks the writer for a sign of life: it comes after everything that was begun before, and writes nothing.
    ///
    /// # Errors
    /// The store is closed.
    pub async fn probe(&self) -> Result<()> {
        let (answer, answered) = oneshot::channel();
        let read = Box::new(move |_: &rusqlite::Connection| {
            // Who does not wait any more needs no answer.
            let _ = answer.send(());
        });
        self.registry.disk.send(Message::Read(read))?;
        answered.await.map_err(|_| Error::Closed)
    }

    /// Whether writes succeed, and what became of a damaged database.
    pub fn health(&self) -> watch::Receiver<Health> {
        self.registry.health.clone()
    }

    /// Counters.
    pub fn stats(&self) -> Arc<Stats> {
        self.registry.stats.clone()
    }

    pub(super) fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// Writes what waits and closes the database.
    pub async fn close(&self) {
        let registry = &self.registry;
        let memory = registry.memory.lock().clone();
        registry.snapshots.close();
        registry.readers.close().await;
        for queue in [Some(registry.disk.clone()), memory].into_iter().flatten() {
            let (stopped, done) = oneshot::channel();
            // An error means that it was closed before.
            if queue.send(Message::Stop(stopped)).is_ok() {
                let _ = done.await;
            }
            queue.close();
        }
        let open: Vec<Arc<Instance>> = registry.open.lock().values().map(|entry| entry.instance.clone()).collect();
        for instance in open {
            instance.close();
        }
    }
}

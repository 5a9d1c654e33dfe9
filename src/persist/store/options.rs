//! Settings of a store.

use std::{
    fmt,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::Observer;
use crate::config::Durability;

/// Settings of a store.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// `streams.db`.
    pub path: PathBuf,
    /// When a write is acknowledged.
    pub durability: Durability,
    /// How long an instance stays after its last handle (§17.1 #16).
    pub release_grace: Duration,
    /// Who hears which streams change.
    pub observer: Option<Arc<dyn Observer>>,
}

/// How to open a stream.
#[derive(Clone, Copy, Debug, Default)]
pub struct OpenOptions {
    /// Keep it in memory only (§8.9). Ignored when the stream is open already.
    pub ephemeral: bool,
}

/// Where the time comes from.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> u64 + Send + Sync>);

impl Clock {
    /// A clock that gives ms since the epoch.
    pub fn new(now: impl Fn() -> u64 + Send + Sync + 'static) -> Clock {
        Clock(Arc::new(now))
    }

    /// The machine's clock.
    pub fn system() -> Clock {
        Clock::new(|| SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64))
    }

    /// Ms since the epoch.
    pub fn now(&self) -> u64 {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

/// The bounds of a store. The defaults are for every machine; tests have others.
#[derive(Clone, Debug)]
pub struct Tuning {
    /// Where the time comes from.
    pub clock: Clock,
    /// Bytes of writes that have a place in the writer's queue, each with 512 bytes for itself. A single larger write is let
    /// in when the queue is empty, so this or the largest write is what the queue holds in memory.
    pub queue_bytes: u32,
    /// Bytes of writes that wait for a place; more are refused with [`super::Error::Busy`].
    pub waiting_bytes: u64,
    /// Writes in a transaction at most.
    pub group_writes: usize,
    /// Bytes of writes in a transaction at most, unless a single one is larger.
    pub group_bytes: usize,
    /// Memory for all ephemeral streams together.
    pub ephemeral_bytes: u64,
    /// Message ids that are remembered at most, of all streams together; the oldest are forgotten first.
    pub message_ids: usize,
    /// Reads that are carried out at the same time.
    pub reads: usize,
    /// Snapshots that are held at the same time by readers of ranges.
    pub snapshots: usize,
    /// How long a snapshot is held for a reader that does not go on.
    pub snapshot_life: Duration,
    /// Pages of the write-ahead log after which they are copied into the database.
    pub wal_pages: i32,
    /// Pages of the write-ahead log after which snapshots are taken from the readers that hold them longest.
    pub wal_pages_max: i32,
}

impl Default for Tuning {
    fn default() -> Tuning {
        Tuning {
            clock: Clock::system(),
            queue_bytes: 16 << 20,
            waiting_bytes: 128 << 20,
            group_writes: 1024,
            group_bytes: 4 << 20,
            ephemeral_bytes: 256 << 20,
            message_ids: 100_000,
            reads: 4,
            snapshots: 16,
            snapshot_life: Duration::from_secs(60),
            wal_pages: 4096,
            wal_pages_max: 64 * 1024,
        }
    }
}

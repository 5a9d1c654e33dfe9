//! Reading ranges, page by page, from one snapshot (§§6.5, 17.3).
//!
//! A snapshot is a read transaction that is held open, for which the write-ahead log has to be kept. So there is a bound on
//! their number, and one whose reader does not go on is taken away. Most ranges are small: they are read at once and hold
//! nothing.
//!
//! Ephemeral streams have no snapshots: what was deleted or replaced between two pages is left out of the later one. A reader
//! with a feed from before comes to the same end, because the feed tells it.

use std::{
    collections::VecDeque,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension};
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    Error, Result,
    engine::{read_checkpoints, read_metadata, rows},
    message::{Checkpoints, Stored},
    reader::{Readers, Source},
    row::{COLUMNS, Found},
    schema::{MAX_SEQ, row_id, seq_of},
    stats::Stats,
    stream::Lease,
};

/// Bytes that are read at once, before a snapshot is held.
const FIRST_PAGE: usize = 128 * 1024;
/// What a message counts for itself.
const MESSAGE_COST: usize = 64;
/// How often whoever waits for a snapshot looks for one to take away.
const REAP_INTERVAL: Duration = Duration::from_secs(1);

/// Which messages (§§6.5, 17.3).
#[derive(Clone, Debug, Default)]
pub struct Range {
    /// The first number, inclusive.
    pub start: Option<u64>,
    /// The last number, inclusive.
    pub end: Option<u64>,
    /// A checkpoint whose number is a lower bound too, if there is such a checkpoint.
    pub start_checkpoint: Option<String>,
}

/// The messages of a range, page by page, from one snapshot.
#[derive(Debug)]
pub struct Pages {
    /// `max(effective lower bound, oldest retained)`, if either is known.
    pub effective_start: Option<u64>,
    /// The smallest stored number.
    pub oldest: Option<u64>,
    /// The largest stored number.
    pub newest: Option<u64>,
    /// The checkpoints at the snapshot.
    pub checkpoints: Checkpoints,
    /// The metadata at the snapshot.
    pub metadata: Option<Value>,
    /// Messages that were read already.
    ready: VecDeque<Stored>,
    /// The row ids that are left.
    rest: Option<(i64, i64)>,
    place: Place,
    /// Keeps the stream open.
    _lease: Arc<Lease>,
}

/// Where the rest is read.
#[derive(Debug)]
enum Place {
    Nowhere,
    Snapshot(Arc<Readers>, Arc<Snapshot>),
    Live(Source),
}

impl Pages {
    /// The next messages, about `bytes` of payload at most, but one at least; empty at the end.
    ///
    /// # Errors
    /// The disk, or the snapshot was taken away because the reader did not go on.
    pub async fn next(&mut self, bytes: usize) -> Result<Vec<Stored>> {
        if self.ready.is_empty() {
            self.read_on(bytes).await?;
        }
        let mut total = 0_usize;
        let fits = self.ready.iter().position(|stored| {
            let full = total > 0 && total.saturating_add(cost(stored)) > bytes;
            total = total.saturating_add(cost(stored));
            full
        });
        let count = fits.unwrap_or(self.ready.len());
        Ok(self.ready.drain(..count).collect())
    }

    async fn read_on(&mut self, bytes: usize) -> Result<()> {
        let Some((from, to)) = self.rest else { return Ok(()) };
        let page = match &self.place {
            Place::Nowhere => return Ok(()),
            Place::Live(source) => source.read(move |connection| Page::read(connection, from, to, bytes)).await?,
            Place::Snapshot(readers, snapshot) => {
                let snapshot = snapshot.clone();
                readers.run(move |_| snapshot.read(|connection| Page::read(connection, from, to, bytes))).await?
            }
        };
        self.rest = page.rest;
        self.ready = page.messages.into();
        if self.rest.is_none() {
            self.place = Place::Nowhere;
        }
        Ok(())
    }
}

fn cost(stored: &Stored) -> usize {
    stored.raw.len() + stored.headers.as_ref().map_or(0, |text| text.len()) + MESSAGE_COST
}

/// Some messages, and the row ids that are left.
struct Page {
    messages: Vec<Stored>,
    rest: Option<(i64, i64)>,
}

impl Page {
    fn read(connection: &Connection, from: i64, to: i64, bytes: usize) -> rusqlite::Result<Page> {
        let mut page = Page { messages: Vec::new(), rest: None };
        let sql = format!("SELECT {COLUMNS} FROM messages WHERE id >= ?1 AND id <= ?2 ORDER BY id");
        let mut select = connection.prepare_cached(&sql)?;
        let mut found = select.query([from, to])?;
        let mut total = 0_usize;
        while let Some(row) = found.next()? {
            if total >= bytes.max(1) {
                page.rest = Some((row.get(0)?, to));
                break;
            }
            let message = Found::read(connection, row)?.stored;
            total = total.saturating_add(cost(&message));
            page.messages.push(message);
        }
        Ok(page)
    }
}

/// What is known of a range before its messages, and its first page.
struct Head {
    effective_start: Option<u64>,
    oldest: Option<u64>,
    newest: Option<u64>,
    checkpoints: Checkpoints,
    metadata: Option<Value>,
    page: Page,
}

impl Head {
    fn read(connection: &Connection, stream: i64, range: &Range) -> rusqlite::Result<Head> {
        let (first, last) = rows(stream);
        let end_of = |order: &str| -> rusqlite::Result<Option<u64>> {
            let sql = format!("SELECT id FROM messages WHERE id >= ?1 AND id <= ?2 ORDER BY id {order} LIMIT 1");
            connection.prepare_cached(&sql)?.query_row([first, last], |row| row.get(0).map(seq_of)).optional()
        };
        let (oldest, newest) = (end_of("ASC")?, end_of("DESC")?);
        let checkpoints = read_checkpoints(connection, stream)?;
        let named = range.start_checkpoint.as_ref().and_then(|name| checkpoints.get(name));
        let bound = range.start.max(named.map(|checkpoint| checkpoint.seq));
        // What comes later is not asked for, even where there is no snapshot to keep it out.
        let to = range.end.unwrap_or(MAX_SEQ).min(newest.unwrap_or(0));
        let from = bound.unwrap_or(0);
        let page = if from > to || from > MAX_SEQ {
            Page { messages: Vec::new(), rest: None }
        } else {
            Page::read(connection, row_id(stream, from), row_id(stream, to), FIRST_PAGE)?
        };
        let metadata = read_metadata(connection, stream)?;
        Ok(Head { effective_start: bound.max(oldest), oldest, newest, checkpoints, metadata, page })
    }

    /// That of a stream of which there is nothing.
    fn empty(range: &Range) -> Head {
        Head {
            effective_start: range.start,
            oldest: None,
            newest: None,
            checkpoints: Checkpoints::default(),
            metadata: None,
            page: Page { messages: Vec::new(), rest: None },
        }
    }

    fn into_pages(self, place: Place, lease: Arc<Lease>) -> Pages {
        Pages {
            effective_start: self.effective_start,
            oldest: self.oldest,
            newest: self.newest,
            checkpoints: self.checkpoints,
            metadata: self.metadata,
            rest: self.page.rest,
            ready: self.page.messages.into(),
            place,
            _lease: lease,
        }
    }
}

/// Begins to read a range.
pub(super) async fn range(lease: Arc<Lease>, snapshots: &Arc<Snapshots>, range: Range) -> Result<Pages> {
    let Some(stream) = lease.instance.row() else {
        return Ok(Head::empty(&range).into_pages(Place::Nowhere, lease));
    };
    match &lease.source {
        source @ Source::Memory(_) => {
            let head = source.read(move |connection| Head::read(connection, stream, &range)).await?;
            let place = if head.page.rest.is_some() { Place::Live(source.clone()) } else { Place::Nowhere };
            Ok(head.into_pages(place, lease))
        }
        Source::Disk(readers) => {
            let (head, place) = snapshots.begin(readers, stream, range).await?;
            Ok(head.into_pages(place, lease))
        }
    }
}

/// A read transaction that is held open.
#[derive(Debug)]
pub(super) struct Snapshot {
    held: Mutex<Option<Held>>,
    readers: Arc<Readers>,
    begun: Instant,
    /// When its reader last went on.
    used: Mutex<Instant>,
}

#[derive(Debug)]
struct Held {
    connection: Connection,
    _slot: OwnedSemaphorePermit,
}

impl Snapshot {
    fn read<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T> {
        let held = self.held.lock();
        let Some(held) = held.as_ref() else {
            let message = "the reader of a range took too long".to_owned();
            return Err(Error::Storage { code: "ETIMEDOUT".to_owned(), message });
        };
        *self.used.lock() = Instant::now();
        read(&held.connection).map_err(|error| self.readers.failed(error))
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        if let Some(held) = self.held.get_mut().take() {
            self.readers.put(held.connection);
        }
    }
}

/// All snapshots that are held.
#[derive(Debug)]
pub(super) struct Snapshots {
    slots: Arc<Semaphore>,
    live: Mutex<Vec<Weak<Snapshot>>>,
    life: Duration,
    stats: Arc<Stats>,
}

impl Snapshots {
    pub fn new(most: usize, life: Duration, stats: Arc<Stats>) -> Snapshots {
        Snapshots { slots: Arc::new(Semaphore::new(most.max(1))), live: Mutex::default(), life, stats }
    }

    /// Reads the first page and, if there is more, holds on to the snapshot it came from.
    async fn begin(self: &Arc<Self>, readers: &Arc<Readers>, stream: i64, range: Range) -> Result<(Head, Place)> {
        let mut slot = self.slots.clone().try_acquire_owned().ok();
        loop {
            let (snapshots, wanted) = (self.clone(), range.clone());
            let begun = readers.run(move |readers| snapshots.begin_blocking(readers, stream, &wanted, slot)).await?;
            match begun {
                Begun::Whole(head) => return Ok((head, Place::Nowhere)),
                Begun::Held(head, held) => {
                    let snapshot = self.keep(readers, held);
                    return Ok((head, Place::Snapshot(readers.clone(), snapshot)));
                }
                // It is large, and others hold all the snapshots there may be.
                Begun::NoSlot => slot = Some(self.slot().await?),
            }
        }
    }

    fn begin_blocking(
        &self,
        readers: &Readers,
        stream: i64,
        range: &Range,
        slot: Option<OwnedSemaphorePermit>,
    ) -> Result<Begun> {
        let connection = readers.take()?;
        let read = || {
            connection.prepare_cached("BEGIN")?.execute([])?;
            Head::read(&connection, stream, range)
        };
        match read() {
            Ok(head) if head.page.rest.is_none() => {
                readers.put(connection);
                Ok(Begun::Whole(head))
            }
            Ok(head) => match slot {
                Some(slot) => Ok(Begun::Held(head, Held { connection, _slot: slot })),
                None => {
                    readers.put(connection);
                    Ok(Begun::NoSlot)
                }
            },
            Err(error) => {
                readers.put(connection);
                Err(readers.failed(error))
            }
        }
    }

    fn keep(&self, readers: &Arc<Readers>, held: Held) -> Arc<Snapshot> {
        let now = Instant::now();
        let held = Mutex::new(Some(held));
        let snapshot = Arc::new(Snapshot { held, readers: readers.clone(), begun: now, used: Mutex::new(now) });
        let mut live = self.live.lock();
        live.retain(|snapshot| snapshot.strong_count() > 0);
        live.push(Arc::downgrade(&snapshot));
        snapshot
    }

    async fn slot(&self) -> Result<OwnedSemaphorePermit> {
        loop {
            self.reap(false);
            let wait = tokio::time::timeout(REAP_INTERVAL, self.slots.clone().acquire_owned());
            if let Ok(slot) = wait.await {
                return slot.map_err(|_| Error::Closed);
            }
        }
    }

    /// Takes snapshots away from readers that do not go on; with `force` also from those that do, but take long.
    pub fn reap(&self, force: bool) {
        self.take_away(|snapshot| {
            snapshot.used.lock().elapsed() > self.life || (force && snapshot.begun.elapsed() > self.life)
        });
    }

    /// Takes all snapshots away and gives no more.
    pub fn close(&self) {
        self.slots.close();
        self.take_away(|_| true);
    }

    fn take_away(&self, which: impl Fn(&Snapshot) -> bool) {
        let live: Vec<Arc<Snapshot>> = self.live.lock().iter().filter_map(Weak::upgrade).collect();
        for snapshot in live.iter().filter(|snapshot| which(snapshot)) {
            // One that is being read right now goes on.
            if let Some(held) = snapshot.held.try_lock().and_then(|mut held| held.take()) {
                self.stats.lost_snapshots.add(1);
                snapshot.readers.put(held.connection);
            }
        }
    }
}

enum Begun {
    Whole(Head),
    Held(Head, Held),
    NoSlot,
}

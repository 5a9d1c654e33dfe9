//! Copying the write-ahead log into the database, beside the writer.
//!
//! SQLite would do it within a commit, which then waits for the disk many times over. Instead a thread with a connection of
//! its own copies most of it while writing goes on; the writer only copies what came in meanwhile, after which SQLite begins
//! the log anew.

use std::{
    path::PathBuf,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicI32, Ordering},
        mpsc::{self, Receiver, SyncSender},
    },
    thread::JoinHandle,
};

use rusqlite::{Connection, DEFAULT_NAME, hooks::Wal as Log, wal::CheckpointMode};

use super::{options::Tuning, pages::Snapshots, stats::Stats};
use crate::persist::sqlite;

/// The writer's side of it.
#[derive(Debug)]
pub(super) struct Wal {
    /// Pages in the log after the last commit.
    pages: Arc<AtomicI32>,
    /// Pages at which the log is to be copied again.
    next: i32,
    step: i32,
    /// The thread is at work.
    busy: Arc<AtomicBool>,
    /// The thread has copied what there was.
    copied: Arc<AtomicBool>,
    nudge: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
    stats: Arc<Stats>,
}

impl Wal {
    /// Takes the copying from SQLite.
    ///
    /// # Errors
    /// SQLite says no.
    pub fn new(
        connection: &mut Connection,
        path: PathBuf,
        tuning: &Tuning,
        snapshots: Weak<Snapshots>,
        stats: Arc<Stats>,
    ) -> rusqlite::Result<Wal> {
        let pages = Arc::new(AtomicI32::new(0));
        let seen = pages.clone();
        connection.wal_hook(Some(move |_: &mut Log, pages| {
            seen.store(pages, Ordering::Relaxed);
            Ok(())
        }))?;
        let (busy, copied) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (nudge, nudged) = mpsc::sync_channel(1);
        let worker = Worker {
            path,
            busy: busy.clone(),
            copied: copied.clone(),
            pages: pages.clone(),
            pages_max: tuning.wal_pages_max,
            snapshots,
            stats: stats.clone(),
        };
        let thread = std::thread::Builder::new().name("store-wal".to_owned()).spawn(move || worker.run(&nudged)).ok();
        let step = tuning.wal_pages.max(1);
        Ok(Wal { pages, next: step, step, busy, copied, nudge: Some(nudge), thread, stats })
    }

    /// Looks at the log after a commit.
    pub fn after_commit(&mut self, connection: &Connection) {
        let pages = self.pages.load(Ordering::Relaxed);
        if pages < self.step {
            // Small still, or begun anew because nothing was written while it was copied.
            self.next = self.step;
            self.copied.store(false, Ordering::Release);
            return;
        }
        if self.copied.swap(false, Ordering::AcqRel) {
            match connection.wal_checkpoint_v2(DEFAULT_NAME, CheckpointMode::PASSIVE) {
                Ok(_) => self.stats.checkpoints.add(1),
                Err(error) => tracing::warn!(%error, "the write-ahead log could not be copied"),
            }
            // Should a reader hold it up, the log goes on growing until the next try.
            self.next = pages.saturating_add(self.step);
        } else if pages >= self.next && !self.busy.swap(true, Ordering::AcqRel) {
            self.next = pages.saturating_add(self.step);
            if let Some(nudge) = &self.nudge {
                let _ = nudge.try_send(());
            }
        }
    }

    /// Ends the thread and copies what is left.
    pub fn close(mut self, connection: &Connection) {
        self.nudge = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        if let Err(error) = connection.wal_checkpoint_v2(DEFAULT_NAME, CheckpointMode::TRUNCATE) {
            tracing::warn!(%error, "the write-ahead log could not be copied at the end");
        }
    }
}

/// The thread's side of it.
struct Worker {
    path: PathBuf,
    busy: Arc<AtomicBool>,
    copied: Arc<AtomicBool>,
    pages: Arc<AtomicI32>,
    pages_max: i32,
    snapshots: Weak<Snapshots>,
    stats: Arc<Stats>,
}

impl Worker {
    fn run(&self, nudged: &Receiver<()>) {
        let mut connection = None;
        while nudged.recv().is_ok() {
            if let Some(snapshots) = self.snapshots.upgrade() {
                // They keep the log from beginning anew. Beyond the bound, even a reader that goes on has to make way.
                let force = self.pages.load(Ordering::Relaxed) > self.pages_max;
                snapshots.reap(force);
            }
            match self.copy(&mut connection) {
                Ok(()) => {
                    self.stats.checkpoints.add(1);
                    self.copied.store(true, Ordering::Release);
                }
                Err(error) => tracing::warn!(%error, "the write-ahead log could not be copied"),
            }
            self.busy.store(false, Ordering::Release);
        }
    }

    fn copy(&self, connection: &mut Option<Connection>) -> rusqlite::Result<()> {
        if connection.is_none() {
            *connection = Some(sqlite::connect_for_checkpoints(&self.path)?);
        }
        if let Some(connection) = connection {
            connection.wal_checkpoint_v2(DEFAULT_NAME, CheckpointMode::PASSIVE)?;
        }
        Ok(())
    }
}

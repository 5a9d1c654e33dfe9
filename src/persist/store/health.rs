//! Whether the store takes writes.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::SystemTime,
};

use tokio::sync::watch;

use super::error::code_name;
use crate::persist::sqlite::{self, Recovery};

/// How the store is.
#[derive(Clone, Debug, Default)]
pub struct Health {
    /// Set while writes fail: the last one did.
    pub refusing: Option<Refusing>,
    /// Set when the database was damaged at the start and had to be set aside.
    pub recovery: Option<Recovery>,
}

/// Why writes fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusing {
    /// The code, as writers see it.
    pub code: String,
    /// What SQLite says.
    pub message: String,
    /// Since when.
    pub since: SystemTime,
}

/// Sees to it that a database that turns out to be damaged is looked through at the next start.
#[derive(Debug)]
pub(super) struct Suspicion {
    path: PathBuf,
    raised: AtomicBool,
}

impl Suspicion {
    pub fn new(path: PathBuf) -> Suspicion {
        Suspicion { path, raised: AtomicBool::new(false) }
    }

    /// Looks at an error that SQLite gave.
    pub fn raise(&self, error: &rusqlite::Error) {
        if sqlite::is_damage(error) && !self.raised.swap(true, Ordering::Relaxed) {
            tracing::error!(%error, "the store is damaged; it will be looked through at the next start");
            if let Err(error) = sqlite::mark_suspect(&self.path) {
                tracing::warn!(%error, "the damage could not be noted");
            }
        }
    }
}

/// Says how the store is; logs when that changes.
#[derive(Debug)]
pub(super) struct Reporter {
    pub health: watch::Sender<Health>,
    pub suspicion: Arc<Suspicion>,
}

impl Reporter {
    /// Writes succeed.
    pub fn well(&self) {
        // Looked at after every transaction, hence the cheap way first.
        if self.health.borrow().refusing.is_some() {
            tracing::info!("the store takes writes again");
            self.health.send_modify(|health| health.refusing = None);
        }
    }

    /// A write failed.
    pub fn failed(&self, error: &rusqlite::Error) {
        self.suspicion.raise(error);
        let code = code_name(error);
        if self.health.borrow().refusing.as_ref().is_some_and(|refusing| refusing.code == code) {
            return;
        }
        tracing::error!(code, %error, "the store refuses writes");
        self.health.send_modify(|health| {
            let since = health.refusing.take().map_or_else(SystemTime::now, |earlier| earlier.since);
            health.refusing = Some(Refusing { code: code.to_owned(), message: error.to_string(), since });
        });
    }
}

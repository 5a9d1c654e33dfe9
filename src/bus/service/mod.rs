//! Services and their callers: the three conventions on top of requests (conat-wire.md §§15, 20.12).
//!
//! | [`Convention`] | request | failure | also |
//! |---|---|---|---|
//! | `MethodArray` | `[name, [arg…]]` | headers | |
//! | `Api` | `{name, args}` | headers | |
//! | `Typed` | `{name, args}` | body `{error}` | `"ping"` → `"pong"`; direct calls |
//! | [`serve_values`] | any value | body `{error}` | `"ping"` → `"pong"` |
//!
//! A service works on a bounded number of requests at a time and keeps a bounded number waiting; what comes beyond that is
//! told that the service is busy (503).

mod caller;
mod direct;
mod location;
mod methods;
mod runner;
#[cfg(test)]
mod tests;

use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

pub use self::{
    caller::{CallManyOptions, CallOptions},
    location::Location,
    methods::{Call, Convention, Methods},
    runner::serve_values,
};

/// Requests a service works on at a time, unless told otherwise.
pub const CONCURRENCY: usize = 128;
/// Requests that may wait for a service.
pub const MAX_WAITING: usize = 1024;

/// How a service listens.
#[derive(Clone, Debug)]
pub struct ServiceOptions {
    /// The queue group; `None` means one of its own, so that every instance answers.
    pub queue: Option<String>,
    /// Requests to work on at a time; 1 means one after the other.
    pub concurrency: usize,
}

impl Default for ServiceOptions {
    fn default() -> Self {
        ServiceOptions { queue: Some("0".into()), concurrency: CONCURRENCY }
    }
}

impl ServiceOptions {
    /// Every instance answers (`all`).
    pub fn all() -> ServiceOptions {
        ServiceOptions { queue: None, ..ServiceOptions::default() }
    }

    /// A queue group.
    pub fn queue(queue: &str) -> ServiceOptions {
        ServiceOptions { queue: Some(queue.into()), ..ServiceOptions::default() }
    }
}

/// A service that runs. Dropping it ends it.
#[derive(Debug)]
pub struct Service {
    tasks: Vec<JoinHandle<()>>,
    closing: CancellationToken,
    _guard: DropGuard,
}

impl Service {
    fn new() -> Service {
        let closing = CancellationToken::new();
        Service { tasks: Vec::new(), _guard: closing.clone().drop_guard(), closing }
    }

    /// Ends the service; requests that are worked on are dropped. Returns when it has unsubscribed.
    pub async fn close(mut self) {
        self.closing.cancel();
        for task in self.tasks.drain(..) {
            // A task that panicked has ended as well.
            let _ = task.await;
        }
    }

    /// Keeps the service until `until` is cancelled.
    pub async fn run(self, until: CancellationToken) {
        until.cancelled().await;
        self.close().await;
    }
}

//! Blobs over HTTP (hub.md §§5.2, 5.3).

mod download;
mod refusal;
mod spool;
mod upload;

use std::{path::PathBuf, sync::Arc, time::Duration};

use axum::{
    Router,
    routing::{get, post},
};
use tokio::{sync::Semaphore, time::interval};
use tokio_util::sync::CancellationToken;

use super::{
    pending::{Bounds, Pending},
    reply,
};
use crate::{
    hub::blobs::{Blobs, LARGEST_BYTES},
    project::files::Threads,
};
use refusal::Refusal;
use spool::Spool;

/// Reads and writes of spools at once.
const MOST_READS_AND_WRITES: usize = 4;
/// Requests that upload at once.
const MOST_UPLOADS: usize = 32;
/// Uploads in several requests. On the disk they have at most 25 MB each.
const TRANSFERS: Bounds = Bounds { most: 16, life: Duration::from_secs(30 * 60), quiet: Duration::from_secs(2 * 60) };
/// Uploads in several requests that are complete: the answer to the last piece may have been lost.
const FINISHED: Bounds = Bounds { most: 64, life: Duration::from_secs(30 * 60), quiet: Duration::ZERO };
/// Large blobs that are sent from the disk because there is no memory for them.
const MOST_SPOOLED: usize = 64;
/// How often abandoned uploads are looked for.
const SWEEP: Duration = Duration::from_secs(60);
/// Memory for blobs on their way into the store, and again for large ones on their way out, in KiB: the largest has to fit.
const MEMORY_KIB: usize = 32 << 10;
const _: () = assert!(LARGEST_BYTES / 1024 < MEMORY_KIB);

/// The routes of blobs, and what they need.
pub struct BlobRoutes {
    blobs: Arc<Blobs>,
    spools: PathBuf,
    threads: Threads,
    slots: Semaphore,
    transfers: Pending<upload::Transfer>,
    finished: Pending<upload::Transfer>,
    storing: Semaphore,
    sending: Arc<Semaphore>,
    spooling: Semaphore,
    spooled: Arc<Semaphore>,
}

impl BlobRoutes {
    /// What does not fit into memory while it comes in is kept in files without a name in `spools`.
    pub fn new(blobs: Arc<Blobs>, spools: PathBuf) -> Arc<BlobRoutes> {
        Arc::new(BlobRoutes {
            blobs,
            spools,
            threads: Threads::new(MOST_READS_AND_WRITES),
            slots: Semaphore::new(MOST_UPLOADS),
            transfers: Pending::new(TRANSFERS),
            finished: Pending::new(FINISHED),
            storing: Semaphore::new(MEMORY_KIB),
            sending: Arc::new(Semaphore::new(MEMORY_KIB)),
            spooling: Semaphore::new(1),
            spooled: Arc::new(Semaphore::new(MOST_SPOOLED)),
        })
    }

    /// The routes.
    pub fn router(self: &Arc<BlobRoutes>) -> Router {
        Router::new()
            .route("/blobs", post(upload::upload).get(|| async { reply::not_found() }))
            .route("/blobs/", get(|| async { reply::not_found() }))
            .route("/blobs/{*name}", get(download::download))
            .with_state(self.clone())
    }

    /// Drops abandoned uploads until `until` is cancelled.
    pub async fn tend(self: Arc<BlobRoutes>, until: CancellationToken) {
        let mut sweep = interval(SWEEP);
        while until.run_until_cancelled(sweep.tick()).await.is_some() {
            self.transfers.sweep();
            self.finished.sweep();
        }
    }
}

/// Content of so many bytes, in the units of the semaphores.
fn kib(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX)
}

//! Routes of parts that answer over HTTP, and what tends to them.

use std::sync::Arc;

use axum::Router;
use tokio::task::spawn_blocking;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    config::{Config, Service},
    http::{BlobRoutes, Files},
    hub::blobs::Blobs,
};

/// The routes of all parts that are switched on. Their tasks end with `end`.
pub(super) async fn routes(
    config: &Config,
    blobs: Option<Arc<Blobs>>,
    tasks: &TaskTracker,
    end: &CancellationToken,
) -> Router {
    let mut router = Router::new();
    if let Some(blobs) = blobs {
        let blobs = BlobRoutes::new(blobs, config.paths.data.join("spool"));
        router = router.merge(blobs.router());
        tasks.spawn(blobs.tend(end.clone()));
    }
    if config.runs(Service::Files) {
        let config = config.clone();
        if let Ok(files) = spawn_blocking(move || Files::open(&config)).await {
            router = router.merge(files.router());
            tasks.spawn(files.tend(end.clone()));
        }
    }
    router
}

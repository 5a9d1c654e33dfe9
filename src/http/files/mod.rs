//! The project's files over HTTP: download, folders as archives, upload (hub.md §§6.1, 6.2).

mod download;
mod folder;
mod refusal;
mod upload;

use std::{path::PathBuf, sync::Arc, time::Duration};

use axum::{
    Router,
    routing::{get, post},
};
use http::Uri;
use tokio::{sync::Semaphore, time::interval};
use tokio_util::sync::CancellationToken;

use super::{
    pending::{Bounds, Pending},
    query,
};
use crate::{
    config::Config,
    project::files::{Home, Partials, Threads},
};
use refusal::Refusal;

/// Reads and writes at once, all requests together.
const MOST_READS_AND_WRITES: usize = 8;
/// Archives that are packed at once; each has a thread for as long as its client takes it.
const MOST_ARCHIVES: usize = 4;
/// Requests that upload at once.
const MOST_UPLOADS: usize = 64;
/// Uploads in several requests.
const TRANSFERS: Bounds = Bounds { most: 64, life: Duration::from_secs(6 * 3600), quiet: Duration::from_secs(15 * 60) };
/// Uploads in several requests that are complete: the answer to the last piece may have been lost.
const FINISHED: Bounds = Bounds { most: 256, life: Duration::from_secs(3600), quiet: Duration::ZERO };
/// How often abandoned uploads are looked for.
const SWEEP: Duration = Duration::from_secs(60);

/// The files of the project.
pub struct Files {
    home: Home,
    partials: Partials,
    project_id: String,
    compute_server_id: String,
    threads: Threads,
    archives: Threads,
    slots: Semaphore,
    transfers: Pending<upload::Transfer>,
    finished: Pending<upload::Transfer>,
}

impl Files {
    /// Removes what uploads of an earlier run left; blocks.
    pub fn open(config: &Config) -> Arc<Files> {
        Arc::new(Files {
            home: Home::new(config.paths.home.clone(), config.files),
            partials: Partials::open(records(config)),
            project_id: config.identity.project_id.clone(),
            compute_server_id: config.identity.compute_server_id.to_string(),
            threads: Threads::new(MOST_READS_AND_WRITES),
            archives: Threads::new(MOST_ARCHIVES),
            slots: Semaphore::new(MOST_UPLOADS),
            transfers: Pending::new(TRANSFERS),
            finished: Pending::new(FINISHED),
        })
    }

    /// The routes.
    pub fn router(self: &Arc<Files>) -> Router {
        let project = &self.project_id;
        Router::new()
            .route(&format!("/{project}/files"), get(download::download))
            .route(&format!("/{project}/files/"), get(download::download))
            .route(&format!("/{project}/files/{{*path}}"), get(download::download))
            .route("/upload", post(upload::upload).get(upload::progress))
            .with_state(self.clone())
    }

    /// Drops abandoned uploads until `until` is cancelled.
    pub async fn tend(self: Arc<Files>, until: CancellationToken) {
        let mut sweep = interval(SWEEP);
        while until.run_until_cancelled(sweep.tick()).await.is_some() {
            self.transfers.sweep();
            self.finished.sweep();
        }
    }

    /// Whether the compute server of this number is this one; the parameter has another name in each request.
    fn check_server(&self, uri: &Uri, parameter: &str) -> Result<(), Refusal> {
        match query::get(uri, parameter) {
            Some(id) if !id.is_empty() && id != "0" && id != self.compute_server_id => Err(Refusal::UnknownServer),
            _ => Ok(()),
        }
    }
}

fn records(config: &Config) -> PathBuf {
    config.paths.data.join("uploads")
}

//! Streams and key-value stores: the store in this process, and the service that puts it on the bus.

use std::sync::Arc;

use parking_lot::Mutex;
use thiserror::Error;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{
    broker::{Broker, User},
    bus::{self, Client},
    config::{
        self, Config, Limits,
        secrets::{self, SecretsError},
    },
    http::metrics,
    persist::{
        archive::{Archive, ArchiveOptions},
        service::{Service, ServiceOptions},
        sqlite,
        store::{Observer, SCHEMA, Store, StoreOptions},
    },
};

/// What the store is called in the data directory.
const FILE: &str = SCHEMA.name;

/// Why streams can't be offered.
#[derive(Debug, Error)]
pub enum Error {
    /// The data directory can't be made.
    #[error(transparent)]
    Directory(#[from] SecretsError),
    /// The store can't be opened.
    #[error("streams can't be kept: {0}")]
    Store(#[from] sqlite::Error),
    /// The bus refuses the service.
    #[error("streams can't be offered on the bus: {0}")]
    Bus(#[from] bus::Error),
    /// The store could not be opened to its end.
    #[error("the store was not opened: {0}")]
    Panicked(#[from] tokio::task::JoinError),
}

/// The task that makes copies.
struct Copying {
    end: CancellationToken,
    task: Mutex<Option<JoinHandle<()>>>,
}

/// The store and its service.
pub(super) struct Streams {
    archive: Option<Copying>,
    /// Its own, so that what waits for others never waits for streams.
    client: Client,
    service: Option<Service>,
    store: Store,
}

impl Streams {
    /// Opens the store, which the hub needs too, and offers it if that is wanted. When this returns, clients find it.
    pub(super) async fn start(
        config: &Config,
        broker: &Arc<Broker>,
        until: CancellationToken,
    ) -> Result<Streams, Error> {
        let archive = archive(config).map(Arc::new);
        let store = open(config, archive.clone()).await?;
        let client = Client::in_process(broker, User::system());
        let service = match config.runs(config::Service::Persist) {
            true => Some(Service::start(&client, store.clone(), options(&config.limits), until).await?),
            false => None,
        };
        // Its end comes after that of the service, which may still write.
        let archive = archive.map(|archive| {
            let end = CancellationToken::new();
            Copying { end: end.clone(), task: Mutex::new(Some(tokio::spawn(archive.run(end)))) }
        });
        Ok(Streams { archive, client, service, store })
    }

    /// The store.
    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    /// What the service and the store count.
    pub(super) fn metrics(&self) -> metrics::Streams {
        let health = self.store.health();
        metrics::Streams {
            service: self.service.as_ref().map(Service::counters).unwrap_or_default(),
            store: self.store.stats(),
            refuses: Box::new(move || health.borrow().refusing.is_some()),
        }
    }

    /// Why the store refuses writes, while it does.
    pub(super) fn trouble(&self) -> impl Fn() -> Option<String> + Send + Sync + use<> {
        let health = self.store.health();
        move || health.borrow().refusing.as_ref().map(|refusing| refusing.code.clone())
    }

    /// Waits until the service has ended, and closes the store.
    pub(super) async fn stopped(&self) {
        if let Some(service) = &self.service {
            service.stopped().await;
        }
        self.client.close();
        if let Some(Copying { end, task }) = &self.archive {
            end.cancel();
            let task = task.lock().take();
            if let Some(Err(error)) = futures_util::future::OptionFuture::from(task).await {
                tracing::warn!(%error, "not all copies of streams were made");
            }
        }
        self.store.close().await;
    }
}

/// Opens the store, which may take its time after a crash, or when the disk is slow.
async fn open(config: &Config, archive: Option<Arc<Archive>>) -> Result<Store, Error> {
    let directory = config.paths.data.clone();
    let options = StoreOptions {
        path: directory.join(FILE),
        durability: config.durability,
        release_grace: config.limits.stream_grace,
        observer: archive.map(|archive| archive as Arc<dyn Observer>),
    };
    tokio::task::spawn_blocking(move || {
        secrets::private_directory(&directory)?;
        Ok(Store::open(options)?)
    })
    .await?
}

/// The keeper of copies, if there are to be any.
fn archive(config: &Config) -> Option<Archive> {
    let (data, copies) = (&config.paths.data, &config.copies);
    (copies.archive.is_some() || copies.backup.is_some()).then(|| {
        Archive::new(ArchiveOptions {
            streams: data.join(FILE),
            archive: copies.archive.clone(),
            backup: copies.backup.clone(),
            interval: copies.interval,
            scratch: data.clone(),
        })
    })
}

fn options(limits: &Limits) -> ServiceOptions {
    // As everywhere, 0 is no limit.
    let most = |limit: usize| if limit == 0 { usize::MAX } else { limit };
    ServiceOptions {
        max_sockets: most(limits.open_streams),
        max_sockets_per_scope: most(limits.open_streams_per_owner),
        window_bytes: limits.outbox_bytes / 2,
        ..ServiceOptions::default()
    }
}

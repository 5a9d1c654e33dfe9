//! What runs on the bus in this process: each part is a client like any other.

use std::{ffi::OsStr, sync::Arc, time::Duration};

use thiserror::Error;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::streams::{self, Streams};
use crate::{
    broker::{Broker, User},
    bus::{self, Client},
    config::{Config, Service},
    host::{environment, process},
    hub::{
        api,
        blobs::Blobs,
        clock, data,
        database::{self, Database},
        feeds,
        settings::Live,
        status::{self, Facts, Usage},
        system,
    },
    project::terminal::{self, TerminalOptions},
};

/// Why a service can't be offered.
#[derive(Debug, Error)]
pub enum Error {
    /// The bus refuses.
    #[error("a service can't be offered on the bus: {0}")]
    Bus(#[from] bus::Error),
    /// Streams need a database.
    #[error(transparent)]
    Streams(#[from] streams::Error),
    /// The hub's database can't be used.
    #[error(transparent)]
    Database(#[from] database::Error),
    /// Terminals need a place of their own.
    #[error(transparent)]
    Terminal(#[from] terminal::Error),
}

/// The parts that run.
pub(super) struct Services {
    client: Client,
    streams: Option<Streams>,
    database: Option<Database>,
    terminals: Option<Arc<terminal::Service>>,
    tasks: TaskTracker,
    end: CancellationToken,
}

impl Services {
    /// Starts all parts that are switched on. When this returns, clients find them.
    pub(super) async fn start(config: &Config, broker: &Arc<Broker>) -> Result<Services, Error> {
        let client = Client::in_process(broker, User::system());
        let (tasks, end) = (TaskTracker::new(), CancellationToken::new());
        if config.system_password.is_some() {
            system::start(&client, broker, &tasks, end.clone()).await?;
        }
        if config.runs(Service::Time) {
            clock::start(&client, &tasks, end.clone()).await?;
        }
        let streams = match config.runs(Service::Persist) || config.runs(Service::Hub) {
            true => Some(Streams::start(config, broker, end.clone()).await?),
            false => None,
        };
        let database = if config.runs(Service::Hub) {
            let database = open_database(config).await?;
            let identity = config.identity.clone();
            feeds::service::start(&client, database.clone(), &identity.project_id, &tasks, end.clone()).await?;
            api::start(&client, database.clone(), identity, config.paths.home.clone(), &tasks, end.clone()).await?;
            Some(database)
        } else {
            None
        };
        let terminals = if config.runs(Service::Terminal) {
            let started = terminal::Service::start(&client, terminal_options(config), end.clone()).await?;
            Some(Arc::new(started))
        } else {
            None
        };
        if config.runs(Service::Status) {
            status::start(&client, broker, facts(config, terminals.clone()), &tasks, end.clone()).await?;
        }
        tasks.close();
        Ok(Services { client, streams, database, terminals, tasks, end })
    }

    /// Shows the page what is stored, if there is a store and the page is served.
    pub(super) async fn show_data(&self, config: &Config, blobs: Option<Arc<Blobs>>) -> Result<(), Error> {
        let Some(streams) = self.streams.as_ref().filter(|_| config.runs(Service::Status)) else { return Ok(()) };
        let sources = data::Sources { store: streams.store().clone(), blobs };
        data::start(&self.client, sources, &config.identity.account_id, &self.tasks, self.end.clone()).await?;
        Ok(())
    }

    /// Streams, if they are switched on.
    pub(super) fn streams(&self) -> Option<&Streams> {
        self.streams.as_ref()
    }

    /// The settings of the site; without a hub they stay at their defaults.
    pub(super) fn settings(&self) -> Live {
        self.database.as_ref().map(|database| database.settings().clone()).unwrap_or_default()
    }

    /// The client that the parts share.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Ends all parts and waits for them, for a while.
    pub(super) async fn stop(self, at_most: Duration) {
        self.end.cancel();
        let ended = async {
            let terminals = async {
                if let Some(terminals) = &self.terminals {
                    terminals.stopped().await;
                }
            };
            let streams = async {
                if let Some(streams) = &self.streams {
                    streams.stopped().await;
                }
            };
            tokio::join!(terminals, streams, self.tasks.wait());
            // The tasks ask it until they end.
            if let Some(database) = &self.database {
                database.close().await;
            }
        };
        if tokio::time::timeout(at_most, ended).await.is_err() {
            tracing::warn!("some services did not end in time");
        }
        self.client.close();
    }
}

/// Opening reads and writes the disk, so the runtime must not do it.
async fn open_database(config: &Config) -> Result<Database, database::Error> {
    let options = database::Options {
        data: config.paths.data.clone(),
        durability: config.durability,
        identity: config.identity.clone(),
    };
    let opened = tokio::task::spawn_blocking(move || Database::open(&options)).await;
    let (database, recovery) =
        opened.unwrap_or_else(|panicked| Err(database::Error::Thread(std::io::Error::other(panicked))))?;
    if let Some(recovery) = recovery {
        let set_aside = recovery.set_aside.display();
        tracing::error!(%set_aside, saved = recovery.saved, finding = recovery.finding, "hub.db was damaged");
    }
    Ok(database)
}

fn terminal_options(config: &Config) -> TerminalOptions {
    let environment = environment::for_children();
    let variable = |name: &str| environment.get(OsStr::new(name))?.to_str().map(str::to_owned);
    TerminalOptions {
        limits: terminal::Limits::from_environment(variable),
        project_id: config.identity.project_id.clone(),
        home: config.paths.home.clone(),
        control_root: config.paths.data.join("terminal"),
        environment,
    }
}

fn facts(config: &Config, terminals: Option<Arc<terminal::Service>>) -> Facts {
    Facts {
        account_id: config.identity.account_id.clone(),
        project_id: config.identity.project_id.clone(),
        version: env!("CARGO_PKG_VERSION").into(),
        started: process::started().0,
        usage: Box::new(move || Usage {
            rss_bytes: process::rss_bytes(),
            cpu_ms: process::cpu_ms(),
            sessions: terminals.as_ref().map_or(0, |terminals| terminals.sessions() as u64),
        }),
    }
}

//! What runs on the bus in this process: each part is a client like any other.

use std::{ffi::OsStr, sync::Arc, time::Duration};

use thiserror::Error;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    broker::{Broker, User},
    bus::{self, Client},
    config::{Config, Service},
    host::{environment, process},
    hub::{
        clock,
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
    /// Terminals need a place of their own.
    #[error(transparent)]
    Terminal(#[from] terminal::Error),
}

/// The parts that run.
pub(super) struct Services {
    client: Client,
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
        Ok(Services { client, terminals, tasks, end })
    }

    /// The client that the parts share.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Ends all parts and waits for them, for a while.
    pub(super) async fn stop(self, at_most: Duration) {
        self.end.cancel();
        let ended = async {
            if let Some(terminals) = &self.terminals {
                terminals.stopped().await;
            }
            self.tasks.wait().await;
        };
        if tokio::time::timeout(at_most, ended).await.is_err() {
            tracing::warn!("some services did not end in time");
        }
        self.client.close();
    }
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

//! Puts the parts together and owns shutdown; the only place that knows all floors.
//!
//! [`App::build`] makes everything that can fail, [`App::run`] serves until it is told to stop. Services are subscribed before
//! the first connection is accepted, so nobody comes too early.

mod customize;
mod probes;
mod routes;
mod services;
mod streams;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use thiserror::Error;
use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    broker::{self, Broker, User, policy},
    config::{Config, DRAIN_TIMEOUT, PolicyKind, Service},
    host::{addresses::addresses, listen::Listeners, signals::Reload, watchdog::Probe},
    http::{self, BrokerEndpoint, LiteAuthenticator, LiteUsers, Metrics, Readiness, SignIn, Tls},
    hub::{
        blobs::{self, Blobs},
        database,
    },
    persist::{sqlite::Schema, store},
};

use self::{customize::Configuration, services::Services};

/// The databases of a data directory.
pub const DATABASES: &[&Schema] = &[&database::SCHEMA, &store::SCHEMA];

/// Part of [`DRAIN_TIMEOUT`] that services have after the last connection has gone.
const SERVICES_TIMEOUT: Duration = Duration::from_secs(2);

/// Why the server cannot start.
#[derive(Debug, Error)]
pub enum Error {
    /// No random numbers for the sign-in.
    #[error("no random numbers: {0}")]
    Random(#[from] http::sign_in::RandomError),
    /// The certificate can be neither read nor made.
    #[error(transparent)]
    Tls(#[from] http::tls::Error),
    /// The port, or the page.
    #[error(transparent)]
    Http(#[from] http::Error),
    /// A service can't be offered on the bus.
    #[error(transparent)]
    Services(#[from] services::Error),
    /// The blobs can't be opened.
    #[error(transparent)]
    Blobs(#[from] blobs::Error),
}

/// A server that is ready to run.
pub struct App {
    broker: Arc<Broker>,
    http: http::Server,
    tls: Option<Arc<Tls>>,
    sign_in: Arc<SignIn>,
    sessions: TaskTracker,
    end_sessions: CancellationToken,
    services: Services,
    tending: TaskTracker,
    end_tending: CancellationToken,
    readiness: Readiness,
}

impl App {
    /// Builds all parts on listeners that are bound already. The secrets in `config` are the effective ones. Needs to be
    /// called on the runtime.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn build(config: Config, listeners: Listeners) -> Result<App, Error> {
        let tls = if config.listen.tls {
            Some(Arc::new(Tls::open(config.paths.tls.clone(), &config.listen.host, &addresses())?))
        } else {
            None
        };
        let sign_in = Arc::new(SignIn::new(config.auth_token.clone())?);
        let broker = Broker::new(broker::Options {
            server_id: config.identity.server_id.clone(),
            cluster_name: config.identity.cluster_name.clone(),
            address: own_address(&config, listeners.port),
            limits: config.limits.clone(),
            authenticator: Arc::new(LiteAuthenticator::new(sign_in.clone(), users(&config, listeners.exposed))),
            policy: policy::for_config(&config),
        });
        let readiness = Readiness::new();
        let starting = readiness.latch("services");
        let sessions = TaskTracker::new();
        let end_sessions = CancellationToken::new();
        let services = Services::start(&config, &broker).await?;
        let blobs = match services.streams().filter(|_| config.runs(Service::Hub)) {
            Some(streams) => Some(Arc::new(Blobs::open(streams.store()).await?)),
            None => None,
        };
        services.show_data(&config, blobs.clone()).await?;
        let (tending, end_tending) = (TaskTracker::new(), CancellationToken::new());
        let routes = routes::routes(&config, blobs, &tending, &end_tending).await;
        tending.close();
        let bus = Arc::new(BrokerEndpoint::new(broker.clone(), sessions.clone(), end_sessions.clone()));
        let customize = Arc::new(Configuration { settings: services.settings(), identity: config.identity.clone() });
        let mut metrics = Metrics::new(broker.counters().clone());
        metrics.add(http::metrics::Queues(broker.clone()));
        if let Some(streams) = services.streams() {
            metrics.add(streams.metrics());
            readiness.ask_storage(streams.trouble());
        }
        let parts = http::Parts {
            listeners: listeners.sockets,
            tls: tls.clone(),
            sign_in: sign_in.clone(),
            bus,
            readiness: readiness.clone(),
            metrics,
            customize,
            routes: Some(routes),
        };
        let http = http::Server::build(http::Settings::from_config(&config), parts)?;
        drop(starting);
        Ok(App { broker, http, tls, sign_in, sessions, end_sessions, services, tending, end_tending, readiness })
    }

    /// Where the server listens.
    pub fn addresses(&self) -> &[SocketAddr] {
        self.http.addresses()
    }

    /// The broker, for tests and for clients in process.
    pub fn broker(&self) -> &Arc<Broker> {
        &self.broker
    }

    /// Whether all parts are up.
    pub fn readiness(&self) -> &Readiness {
        &self.readiness
    }

    /// The certificate, to be read again on reload.
    pub fn tls(&self) -> Option<&Arc<Tls>> {
        self.tls.as_ref()
    }

    /// What has to answer for the server to be well.
    pub fn probes(&self) -> Vec<Probe> {
        let streams = self.services.streams().map(|streams| probes::streams(streams.store()));
        [probes::bus(self.services.client())].into_iter().chain(streams).collect()
    }

    /// Serves until `shutdown`, then drains: no new connections, requests finish, sessions close, services end. New settings
    /// come through `reloads`.
    ///
    /// # Errors
    /// None at present; what can fail has failed in [`App::build`].
    pub async fn run(self, shutdown: CancellationToken, mut reloads: mpsc::Receiver<Reload>) -> Result<(), Error> {
        let live = Live {
            broker: self.broker.clone(),
            http: self.http.live().clone(),
            sign_in: self.sign_in.clone(),
            tls: self.tls.clone(),
        };
        let reload = async {
            while let Some(Some(reload)) = shutdown.run_until_cancelled(reloads.recv()).await {
                let applied = live.apply(&reload.config).map_err(|error| error.to_string());
                // Who asked may have gone.
                let _ = reload.done.send(applied);
            }
        };
        let sessions = self.sessions.clone();
        let end_sessions = self.end_sessions.clone();
        let drain_sessions = async {
            shutdown.cancelled().await;
            end_sessions.cancel();
            sessions.close();
            if tokio::time::timeout(DRAIN_TIMEOUT - SERVICES_TIMEOUT, sessions.wait()).await.is_err() {
                tracing::warn!(sessions = sessions.len(), "some connections did not close in time");
            }
        };
        tokio::join!(self.http.run(shutdown.clone()), drain_sessions, reload);
        self.end_tending.cancel();
        self.tending.wait().await;
        self.services.stop(SERVICES_TIMEOUT).await;
        Ok(())
    }
}

/// The parts that new settings concern.
struct Live {
    broker: Arc<Broker>,
    http: Arc<http::Live>,
    sign_in: Arc<SignIn>,
    tls: Option<Arc<Tls>>,
}

impl Live {
    fn apply(&self, config: &Config) -> Result<(), Error> {
        self.broker.set_limits(config.limits.clone());
        self.http.set_limits(config.limits.clone());
        self.http.set_metrics_token(config.metrics_token.clone());
        if let Some(tls) = &self.tls {
            tls.reload();
        }
        Ok(self.sign_in.set_token(config.auth_token.clone())?)
    }
}

fn users(config: &Config, exposed: bool) -> LiteUsers {
    LiteUsers {
        visitor: match config.policy {
            PolicyKind::Open => User::anonymous(),
            PolicyKind::Lite => User::account(&config.identity.account_id),
        },
        open: !exposed || config.allow_unauthenticated,
        system_password: config.system_password.clone(),
        project_secret: config.project_secret.clone(),
        base_path: config.listen.base_path.clone(),
    }
}

/// The server's own address as §16 of conat-wire.md spells it.
fn own_address(config: &Config, port: u16) -> String {
    let scheme = if config.listen.tls || port == 443 { "https" } else { "http" };
    format!("{scheme}://localhost:{port}{}", config.listen.base_path)
}

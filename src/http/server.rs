//! The server: listeners, the accept loop, limits, the end.

use std::{io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use axum::Router;
use http::HeaderValue;
use thiserror::Error;
use tokio::{
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    BusEndpoint, Customize, Live,
    connection::{self, Shared},
    health::Readiness,
    metrics::{Metrics, Requests},
    origin::Rules,
    page::{self, Page},
    pipeline::Pipeline,
    places::Place,
    routes::{Context, Routes},
    sign_in::SignIn,
    tls::Tls,
};
use crate::config::{Config, DRAIN_TIMEOUT, Identity, Limits, Secret};

/// The shortest and the longest pause after `accept` failed, for example because there are no descriptors left.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(1));

/// Why the server cannot be built.
#[derive(Debug, Error)]
pub enum Error {
    /// A listener cannot be used.
    #[error("a listener cannot be used: {0}")]
    Listener(#[from] io::Error),
    /// The frontend cannot be served.
    #[error(transparent)]
    Page(#[from] page::Error),
}

/// What of the settings concerns HTTP.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Limits and times.
    pub limits: Limits,
    /// Host the server was told to listen on.
    pub host: String,
    /// Path prefix: empty, or `/x`.
    pub base_path: String,
    /// Who this server is.
    pub identity: Identity,
    /// Serve this directory instead of the embedded page.
    pub static_dir: Option<PathBuf>,
    /// Opens `/metrics` and nothing else.
    pub metrics_token: Option<Secret>,
    /// Without a token, answer to any host name even on loopback.
    pub any_host: bool,
    /// How long connections may take to finish at shutdown.
    pub drain: Duration,
}

impl Settings {
    /// Picks them out of all settings.
    pub fn from_config(config: &Config) -> Settings {
        Settings {
            limits: config.limits.clone(),
            host: config.listen.host.clone(),
            base_path: config.listen.base_path.clone(),
            identity: config.identity.clone(),
            static_dir: config.paths.static_dir.clone(),
            metrics_token: config.metrics_token.clone(),
            any_host: config.allow_unauthenticated,
            drain: DRAIN_TIMEOUT,
        }
    }
}

/// What other floors contribute.
pub struct Parts {
    /// Where to accept; bound, in any mode.
    pub listeners: Vec<std::net::TcpListener>,
    /// Encrypts everything when present.
    pub tls: Option<Arc<Tls>>,
    /// The door.
    pub sign_in: Arc<SignIn>,
    /// Takes what comes to `<base>/conat/`.
    pub bus: Arc<dyn BusEndpoint>,
    /// Whether everything is up, for `/readyz`.
    pub readiness: Readiness,
    /// What `/metrics` shows; the server adds its own numbers.
    pub metrics: Metrics,
    /// What frontends start from.
    pub customize: Arc<dyn Customize>,
    /// Routes of other parts, behind the sign-in.
    pub routes: Option<Router>,
}

/// A server that is ready to run.
pub struct Server {
    listeners: Vec<TcpListener>,
    addresses: Vec<SocketAddr>,
    shared: Arc<Shared>,
    drain: Duration,
}

impl Server {
    /// Puts the parts together. Needs to be called on the runtime.
    ///
    /// # Errors
    /// [`enum@Error`] when a listener or the frontend cannot be used.
    pub fn build(settings: Settings, parts: Parts) -> Result<Server, Error> {
        let Settings { limits, host, base_path, identity, static_dir, metrics_token, any_host, drain } = settings;
        let page = match &static_dir {
            Some(directory) => Page::directory(directory)?,
            None => Page::embedded(),
        };
        let listeners = parts.listeners.into_iter().map(adopt).collect::<io::Result<Vec<_>>>()?;
        let addresses = listeners.iter().map(TcpListener::local_addr).collect::<io::Result<Vec<_>>>()?;
        let requests = Arc::new(Requests::default());
        let mut metrics = parts.metrics;
        metrics.add(requests.clone());
        let own_page = page.is_own();
        let context = Context {
            page,
            customize: parts.customize,
            account_cookie: account_cookie(&identity.account_id, &base_path),
            metrics,
            project_id: identity.project_id.clone(),
        };
        let live = Arc::new(Live::new(limits, metrics_token));
        let pipeline = Pipeline {
            live: live.clone(),
            base_path,
            rules: Rules { listen_host: host, any_host },
            sign_in: parts.sign_in,
            bus: parts.bus,
            routes: Routes::new(context, parts.readiness, parts.routes),
            own_page,
            requests: requests.clone(),
        };
        let shared = Shared {
            pipeline,
            live,
            tls: parts.tls,
            requests,
            drain: CancellationToken::new(),
            cut: CancellationToken::new(),
        };
        Ok(Server { listeners, addresses, shared: Arc::new(shared), drain })
    }

    /// What can be changed while the server runs.
    pub fn live(&self) -> &Arc<Live> {
        &self.shared.live
    }

    /// Where the server listens.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Serves until `shutdown`; then stops accepting, lets requests finish, and cuts what is left after a while.
    /// Upgraded connections belong to whoever took them.
    pub async fn run(self, shutdown: CancellationToken) {
        let connections = TaskTracker::new();
        let accepting = TaskTracker::new();
        for listener in self.listeners {
            accepting.spawn(accept(listener, self.shared.clone(), connections.clone(), shutdown.clone()));
        }
        if let Some(tls) = self.shared.tls.clone() {
            let stop = shutdown.clone();
            accepting.spawn(async move { tls.keep_fresh(&stop).await });
        }
        accepting.close();
        shutdown.cancelled().await;
        accepting.wait().await;
        self.shared.drain.cancel();
        connections.close();
        if timeout(self.drain, connections.wait()).await.is_err() {
            tracing::warn!(connections = connections.len(), "cutting connections that did not finish in time");
            self.shared.cut.cancel();
            connections.wait().await;
        }
    }
}

/// The cookie from which the reference's frontend knows its account before it is connected, so that its first changefeeds are
/// the right ones (hub.md §10.3). It opens nothing, and scripts must see it.
fn account_cookie(account_id: &str, base_path: &str) -> Option<HeaderValue> {
    let path = if base_path.is_empty() { "/" } else { base_path };
    HeaderValue::try_from(format!("account_id={account_id}; Path={path}; SameSite=Lax")).ok()
}

fn adopt(listener: std::net::TcpListener) -> io::Result<TcpListener> {
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

/// Accepts until told to stop. A connection that finds no place waits for one, and those after it in the system's queue.
async fn accept(listener: TcpListener, shared: Arc<Shared>, connections: TaskTracker, stop: CancellationToken) {
    let mut pause = BACK_OFF.0;
    while let Some(accepted) = stop.run_until_cancelled(accept_one(&listener, &shared.live)).await {
        match accepted {
            Ok((stream, peer, place)) => {
                pause = BACK_OFF.0;
                connections.spawn(connection::serve(shared.clone(), stream, Some(peer.ip()), place));
            }
            Err(error) if is_about_one_peer(&error) => tracing::debug!(%error, "accept"),
            Err(error) => {
                tracing::warn!(%error, pause_ms = pause.as_millis() as u64, "no connections can be accepted just now");
                stop.run_until_cancelled(sleep(pause)).await;
                pause = (pause * 2).min(BACK_OFF.1);
            }
        }
    }
}

async fn accept_one(listener: &TcpListener, live: &Live) -> io::Result<(TcpStream, SocketAddr, Place)> {
    let (stream, peer) = listener.accept().await?;
    // Not before there is somebody for it: listeners that keep places for nobody starve each other.
    Ok((stream, peer, live.places().take().await))
}

/// Errors that say nothing about the next connection.
fn is_about_one_peer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}

//! Starting and ending the terminal service.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Limits, connection,
    control::ControlRoot,
    environment::Places,
    registry::Registry,
    session::Surroundings,
    socket::{self, SocketPeer},
};
use crate::{
    bus::{
        self, Client,
        socket::{SocketOptions, SocketServer},
    },
    host::environment::Environment,
};

/// Time between two pings to a client, and how long it may take to answer (§11).
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// What may wait on the way to or from one client.
const SOCKET_BYTES: usize = 16 << 20;

/// Where terminals live and what their programs get.
#[derive(Clone, Debug)]
pub struct TerminalOptions {
    /// The project whose terminals these are.
    pub project_id: String,
    /// The project's files.
    pub home: PathBuf,
    /// A directory of this server alone, for control directories and the `open` command.
    pub control_root: PathBuf,
    /// What programs inherit: [`for_children`](crate::host::environment::for_children).
    pub environment: Environment,
    /// Limits and times.
    pub limits: Limits,
}

/// Why terminals can't be offered.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The place for control directories can't be made.
    #[error("{} can't hold the terminals' control directories: {source}", path.display())]
    ControlRoot {
        /// Where it should be.
        path: PathBuf,
        /// Why it can't.
        source: io::Error,
    },
    /// The bus refuses the service.
    #[error("terminals can't be offered on the bus: {0}")]
    Bus(#[from] bus::Error),
}

/// The terminal service of one project.
pub struct Service {
    registry: Arc<Registry>,
    tasks: TaskTracker,
}

impl Service {
    /// Begins to serve `terminal.project-{project_id}.0`. When this returns, clients find it.
    ///
    /// `shutdown` ends it: programs are ended within two seconds, clients are told that their sockets are closed.
    ///
    /// # Errors
    /// The control directories can't be made, or the bus refuses.
    pub async fn start(
        client: &Client,
        options: TerminalOptions,
        shutdown: CancellationToken,
    ) -> Result<Service, Error> {
        let base = format!("terminal.project-{}.0", options.project_id);
        let tasks = TaskTracker::new();
        let registry = prepare(options, tasks.clone(), shutdown).await?;
        let socket_options = SocketOptions {
            keep_alive: KEEP_ALIVE,
            keep_alive_timeout: KEEP_ALIVE,
            queue_bytes: SOCKET_BYTES,
            ..SocketOptions::default()
        };
        let server = client.socket_listen(&base, socket_options).await?;
        tasks.spawn(accept(server, registry.clone()));
        tasks.close();
        Ok(Service { registry, tasks })
    }

    /// How many sessions run now.
    pub fn sessions(&self) -> usize {
        self.registry.running()
    }

    /// Waits until everything has ended after `shutdown`.
    pub async fn stopped(&self) {
        self.tasks.wait().await;
    }
}

async fn accept(mut server: SocketServer, registry: Arc<Registry>) {
    let shutdown = registry.surroundings().shutdown.clone();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = server.accept() => match accepted {
                Some(accepted) => {
                    let peer = Arc::new(SocketPeer(accepted.clone()));
                    let arrivals = socket::arrivals(accepted);
                    registry.surroundings().tasks.spawn(connection::serve(registry.clone(), peer, arrivals));
                }
                None => {
                    tracing::warn!("the bus has ended the terminal service");
                    return;
                }
            },
        }
    }
    server.close().await;
}

/// Makes what sessions need, without any yet.
pub(super) async fn prepare(
    options: TerminalOptions,
    tasks: TaskTracker,
    shutdown: CancellationToken,
) -> Result<Arc<Registry>, Error> {
    let TerminalOptions { project_id: _, home, control_root, environment, limits } = options;
    let path = control_root.clone();
    let prepared = tokio::task::spawn_blocking(move || {
        let control = ControlRoot::prepare(&control_root, &home)?;
        let real_home = real(&home);
        Ok((Places { bin: control.bin.clone(), home, real_home }, control))
    });
    let (places, control) = prepared
        .await
        .unwrap_or_else(|panicked| Err(io::Error::other(panicked)))
        .map_err(|source| Error::ControlRoot { path, source })?;
    Ok(Registry::new(Arc::new(Surroundings { places, control, environment, limits, tasks, shutdown })))
}

fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

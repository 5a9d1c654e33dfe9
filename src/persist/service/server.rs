//! Starting and ending the service.

use std::{sync::Arc, time::Duration};

use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{Counters, Shared, balancer, opening, quota::Quota, window::Windows};
use crate::{
    bus::{
        self, Client,
        socket::{SocketOptions, SocketServer},
    },
    persist::store::Store,
};

/// Time between two looks whether a client still listens. Neither generation of clients needs pings (§17.2), and until it is
/// noticed that a client has gone, its sockets count.
const PROBE: Duration = Duration::from_secs(10);
/// Frames and bytes that a changefeed may have under way.
const FEED_WINDOW: (usize, usize) = (1000, 8 << 20);
/// Requests and bytes that may wait for a socket's task.
const INCOMING: (usize, usize) = (16_384, 128 << 20);
/// Requests and bytes of all sockets that may wait to be handed to them.
const SERVER_QUEUE: (usize, usize) = (131_072, 256 << 20);
/// Pause after the server was lost.
const PAUSE: Duration = Duration::from_secs(1);

/// What a service is called, and what it lets others do.
#[derive(Clone, Debug)]
pub struct ServiceOptions {
    /// First segment of its subjects.
    pub name: String,
    /// Which of several servers it is.
    pub server_id: String,
    /// Open sockets in total.
    pub max_sockets: usize,
    /// Open sockets of one scope.
    pub max_sockets_per_scope: usize,
    /// Bytes of answers in bulk that may be on their way to one client.
    pub window_bytes: usize,
}

impl Default for ServiceOptions {
    fn default() -> ServiceOptions {
        ServiceOptions {
            name: "persist".into(),
            server_id: "0".into(),
            max_sockets: 10_000,
            max_sockets_per_scope: 500,
            window_bytes: 32 << 20,
        }
    }
}

/// A store on the bus.
pub struct Service {
    shared: Arc<Shared>,
    tasks: TaskTracker,
}

impl Service {
    /// Begins to serve a store. When this returns, clients find it.
    ///
    /// `until` ends it: sockets are closed, their clients are told.
    ///
    /// # Errors
    /// The bus refuses the subscriptions.
    pub async fn start(
        client: &Client,
        store: Store,
        options: ServiceOptions,
        until: CancellationToken,
    ) -> bus::Result<Service> {
        let shared = Arc::new(Shared {
            client: client.clone(),
            store,
            quota: Quota::new(options.max_sockets_per_scope, options.max_sockets),
            windows: Windows::new(options.window_bytes),
            options,
            counters: Arc::default(),
            until,
        });
        let tasks = TaskTracker::new();
        let server = listen(&shared).await?;
        // Clients ask the balancer first, so it comes last.
        let asked = balancer::listen(&shared).await?;
        tasks.spawn(balancer::serve(shared.clone(), asked));
        tasks.spawn(serve(server, shared.clone(), tasks.clone()));
        tasks.close();
        Ok(Service { shared, tasks })
    }

    /// What it counts.
    pub fn counters(&self) -> Arc<Counters> {
        self.shared.counters.clone()
    }

    /// Waits until everything has ended after `until`.
    pub async fn stopped(&self) {
        self.tasks.wait().await;
    }
}

async fn listen(shared: &Shared) -> bus::Result<SocketServer> {
    let ServiceOptions { name, server_id, max_sockets, .. } = &shared.options;
    let (queue_size, queue_bytes) = FEED_WINDOW;
    let options = SocketOptions {
        keep_alive: Duration::ZERO,
        keep_alive_timeout: PROBE,
        queue_size,
        queue_bytes,
        incoming: Some(INCOMING),
        server_queue: SERVER_QUEUE,
        server_id: Some(server_id.clone()),
        // Those beyond the quota get as far as hearing that there are too many.
        max_sockets: max_sockets.saturating_mul(2),
        ..SocketOptions::default()
    };
    shared.client.socket_listen(&format!("{name}.*"), options).await
}

async fn serve(mut server: SocketServer, shared: Arc<Shared>, tasks: TaskTracker) {
    loop {
        match shared.until.run_until_cancelled(server.accept()).await {
            None => break,
            Some(Some(socket)) => {
                let scope = socket.subject().split('.').nth(1).unwrap_or_default();
                match shared.quota.connect(scope) {
                    Some(seat) => drop(tasks.spawn(opening::serve(socket, seat, shared.clone()))),
                    None => tracing::warn!(scope, "a socket was closed: too many of its scope are connected"),
                }
            }
            Some(None) => {
                tracing::warn!("the bus has ended the persist service; it starts again");
                drop(server);
                match listen_again(&shared).await {
                    Some(again) => server = again,
                    None => return,
                }
            }
        }
    }
    server.close().await;
}

/// Listens as soon as the bus lets us, unless the service ends first.
async fn listen_again(shared: &Shared) -> Option<SocketServer> {
    loop {
        shared.until.run_until_cancelled(tokio::time::sleep(PAUSE)).await?;
        match listen(shared).await {
            Ok(server) => return Some(server),
            Err(bus::Error::Closed) => return None,
            Err(error) => tracing::debug!(%error, "the persist service can't listen"),
        }
    }
}

//! A broker that clients reach through streams in memory, and that can be cut off and restarted.

use std::{collections::BTreeMap, io, net::Ipv4Addr, sync::Arc, time::Duration};

use outpost::{
    broker::{
        self, Authenticator, Broker, Direction, Handshake, Policy, SignInError, User, Verdict,
        policy::{Open, PolicyError},
        session::{self, Origin},
    },
    bus::{Client, ConnectOptions, Connector},
    config::{Limits, Secret},
};
use parking_lot::Mutex;
use tokio::io::DuplexStream;
use tokio_util::sync::CancellationToken;

/// Takes the cookie `sys` for the system account, everybody else is an account.
struct Cookies;

impl Authenticator for Cookies {
    fn sign_in(&self, handshake: &Handshake) -> Result<User, SignInError> {
        let cookie = handshake.headers.get("cookie").and_then(|c| c.to_str().ok()).unwrap_or_default();
        match cookie.split_once("sys=") {
            None => Ok(User::account("A")),
            Some((_, "pw")) => Ok(User::system()),
            Some(_) => Err(SignInError { message: "invalid system password".into(), code: None }),
        }
    }
}

/// Allows everything but what is named here.
#[derive(Clone, Default)]
pub struct Forbidden(Arc<Mutex<BTreeMap<String, Direction>>>);

impl Forbidden {
    pub fn forbid(&self, subject: &str, direction: Direction) {
        self.0.lock().insert(subject.into(), direction);
    }

    pub fn allow(&self, subject: &str) {
        self.0.lock().remove(subject);
    }
}

impl Policy for Forbidden {
    fn decide(&self, _: &User, direction: Direction, subject: &str) -> Result<Verdict, PolicyError> {
        let refused = self.0.lock().get(subject) == Some(&direction);
        Ok(Verdict { allowed: !refused, rule: "test" })
    }
}

struct Running {
    broker: Arc<Broker>,
    /// Cancelled to cut all connections.
    connections: CancellationToken,
}

/// A server; its broker is replaced when it restarts.
#[derive(Clone)]
pub struct Server {
    running: Arc<Mutex<Option<Running>>>,
    policy: Arc<dyn Policy>,
    limits: Limits,
}

impl Server {
    pub fn start() -> Server {
        Server::with(Arc::new(Open), Limits::default())
    }

    pub fn with(policy: Arc<dyn Policy>, limits: Limits) -> Server {
        let server = Server { running: Arc::default(), policy, limits };
        server.up();
        server
    }

    /// Starts a new broker.
    pub fn up(&self) {
        let broker = Broker::new(broker::Options {
            server_id: "0".into(),
            cluster_name: None,
            address: "http://localhost:5000".into(),
            limits: self.limits.clone(),
            authenticator: Arc::new(Cookies),
            policy: self.policy.clone(),
        });
        *self.running.lock() = Some(Running { broker, connections: CancellationToken::new() });
    }

    /// Ends the broker with all connections; new ones are refused.
    pub fn down(&self) {
        if let Some(running) = self.running.lock().take() {
            running.connections.cancel();
        }
    }

    pub fn restart(&self) {
        self.down();
        self.up();
    }

    /// Cuts all connections; the broker goes on.
    pub fn cut(&self) {
        if let Some(running) = &mut *self.running.lock() {
            std::mem::take(&mut running.connections).cancel();
        }
    }

    pub fn broker(&self) -> Arc<Broker> {
        self.running.lock().as_ref().expect("the server is up").broker.clone()
    }

    /// A stream to the server, to be upgraded to a WebSocket.
    pub fn open(&self) -> io::Result<DuplexStream> {
        let running = self.running.lock();
        let Some(Running { broker, connections }) = &*running else {
            return Err(io::ErrorKind::ConnectionRefused.into());
        };
        let (broker, connections) = (broker.clone(), connections.clone());
        let (near, far) = tokio::io::duplex(1 << 20);
        tokio::spawn(async move {
            let mut headers = http::HeaderMap::new();
            #[expect(clippy::result_large_err, reason = "the type is the library's")]
            let copy = |request: &http::Request<()>, response| {
                headers = request.headers().clone();
                Ok(response)
            };
            let Ok(ws) = tokio_tungstenite::accept_hdr_async(far, copy).await else { return };
            let origin = Origin { headers, query: String::new(), address: Ipv4Addr::LOCALHOST.into() };
            // Dropped when it is cut, as if the network had gone.
            tokio::select! {
                () = session::serve(ws.into_inner(), broker, origin, CancellationToken::new()) => {}
                () = connections.cancelled() => {}
            }
        });
        Ok(near)
    }

    /// Options of a client that reaches this server.
    pub fn options(&self) -> ConnectOptions {
        let server = self.clone();
        let connector = Connector::new(move || std::future::ready(server.open()));
        ConnectOptions {
            connector: Some(connector),
            system_password: Some(Secret::new("pw")),
            ..ConnectOptions::new("http://server")
        }
    }

    /// A connected client of the system account.
    pub async fn client(&self) -> Client {
        self.client_with(self.options()).await
    }

    pub async fn client_with(&self, options: ConnectOptions) -> Client {
        let client = Client::connect(options).unwrap();
        in_time(client.connected()).await.unwrap();
        client
    }

    /// A client in process.
    pub fn local(&self) -> Client {
        Client::in_process(&self.broker(), User::system())
    }
}

/// Waits for something that has to come within some time, paused or not.
pub async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(120), future).await.expect("in time")
}

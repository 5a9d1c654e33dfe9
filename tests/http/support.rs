//! Starts servers and asks them things.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::Router;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header::HOST, request::Builder};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use outpost::{
    broker::Counters,
    config::{Identity, Limits, Secret},
    http::{Body, BusEndpoint, Customize, Metrics, Parts, Peer, Readiness, Server, Settings, SignIn, Tls},
    hub::settings::customize,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
};
use tokio_util::sync::{CancellationToken, DropGuard};

pub const ACCOUNT: &str = "00000000-1000-4000-8000-000000000001";
pub const PROJECT: &str = "00000000-1000-4000-8000-000000000000";
pub const TOKEN: &str = "s3cret-token";

/// The configuration document of a server whose settings are all defaults.
pub struct Fresh(pub Identity);

impl Customize for Fresh {
    fn document(&self) -> Bytes {
        customize::document(&Default::default(), &self.0).to_string().into()
    }
}

/// What a test wants to be different.
#[derive(Default)]
pub struct Plan {
    pub token: Option<&'static str>,
    pub base_path: &'static str,
    pub static_dir: Option<std::path::PathBuf>,
    pub limits: Limits,
    pub metrics_token: Option<&'static str>,
    pub tls: Option<Arc<Tls>>,
    pub routes: Option<Router>,
    pub host: Option<&'static str>,
}

/// A running server; ends when dropped.
pub struct Site {
    pub address: SocketAddr,
    pub readiness: Readiness,
    pub bus: Arc<Echo>,
    pub shutdown: CancellationToken,
    pub running: JoinHandle<()>,
    _guard: DropGuard,
}

impl Plan {
    pub fn with_token() -> Plan {
        Plan { token: Some(TOKEN), ..Plan::default() }
    }

    pub fn settings(&self) -> Settings {
        Settings {
            limits: self.limits.clone(),
            host: self.host.unwrap_or("localhost").into(),
            base_path: self.base_path.into(),
            identity: Identity {
                account_id: ACCOUNT.into(),
                project_id: PROJECT.into(),
                compute_server_id: 0,
                username: "user".into(),
                server_id: "0".into(),
                cluster_name: None,
            },
            static_dir: self.static_dir.clone(),
            metrics_token: self.metrics_token.map(Secret::new),
            any_host: false,
            drain: Duration::from_secs(5),
        }
    }

    pub fn start(self) -> Site {
        self.start_with(|_| {})
    }

    pub fn start_with(self, change: impl FnOnce(&mut Settings)) -> Site {
        let mut settings = self.settings();
        change(&mut settings);
        let bus = Arc::new(Echo::default());
        let readiness = Readiness::new();
        let parts = Parts {
            listeners: vec![std::net::TcpListener::bind("127.0.0.1:0").unwrap()],
            tls: self.tls,
            sign_in: Arc::new(SignIn::new(self.token.map(Secret::new)).unwrap()),
            bus: bus.clone(),
            readiness: readiness.clone(),
            metrics: Metrics::new(Arc::new(Counters::default())),
            customize: Arc::new(Fresh(settings.identity.clone())),
            routes: self.routes,
        };
        let server = Server::build(settings, parts).unwrap();
        let address = server.addresses()[0];
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(server.run(shutdown.clone()));
        Site { address, readiness, bus, _guard: shutdown.clone().drop_guard(), shutdown, running }
    }
}

/// What came back.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Reply {
    pub async fn of(response: Response<Incoming>) -> Reply {
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Reply { status: head.status.as_u16(), headers: head.headers, body }
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// `name=value` of every cookie that was set.
    pub fn cookies(&self) -> Vec<String> {
        let values = self.headers.get_all("set-cookie").iter();
        values.map(|value| value.to_str().unwrap().split(';').next().unwrap().to_owned()).collect()
    }
}

impl Site {
    pub fn host(&self) -> String {
        format!("localhost:{}", self.address.port())
    }

    pub fn request(&self, method: &str, target: &str) -> Builder {
        Request::builder().method(method).uri(target).header(HOST, self.host())
    }

    pub async fn send(&self, request: Request<Full<Bytes>>) -> Reply {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        let connection = tokio::spawn(connection);
        let reply = Reply::of(sender.send_request(request).await.unwrap()).await;
        drop(sender);
        let _ = connection.await;
        reply
    }

    pub async fn ask(&self, method: &str, target: &str, headers: &[(&str, &str)]) -> Reply {
        let builder =
            headers.iter().fold(self.request(method, target), |builder, (name, value)| builder.header(*name, *value));
        self.send(builder.body(Full::default()).unwrap()).await
    }

    pub async fn get(&self, target: &str) -> Reply {
        self.ask("GET", target, &[]).await
    }

    /// A cookie that opens the door, as `name=value`.
    pub async fn cookie(&self) -> String {
        self.get(&format!("/?auth_token={TOKEN}")).await.cookies().remove(0)
    }

    /// Sends bytes as they are and reads until the server closes.
    pub async fn raw(&self, bytes: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(bytes.as_bytes()).await.unwrap();
        read_to_end(&mut stream).await
    }
}

/// Reads until the end; a reset counts as one.
pub async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut text)).await.expect("closed in time");
    String::from_utf8_lossy(&text).into_owned()
}

/// Stands in for the broker: remembers who came, and echoes on upgraded connections.
#[derive(Default)]
pub struct Echo {
    pub seen: Mutex<Vec<(String, Peer)>>,
}

impl BusEndpoint for Echo {
    fn upgrade(&self, mut request: Request<Incoming>, peer: Peer) -> Response<Body> {
        self.seen.lock().unwrap().push((request.uri().to_string(), peer));
        let mut response = Response::new(Body::empty());
        if request.headers().contains_key("upgrade") {
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            response.headers_mut().insert("connection", "upgrade".parse().unwrap());
            response.headers_mut().insert("upgrade", "websocket".parse().unwrap());
            let upgraded = hyper::upgrade::on(&mut request);
            tokio::spawn(async move {
                let (mut read, mut write) = tokio::io::split(TokioIo::new(upgraded.await.unwrap()));
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
        }
        response
    }
}

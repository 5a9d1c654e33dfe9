//! A terminal service on a broker of its own, and clients that write down what they get.

use std::{
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use outpost::{
    broker::{Broker, Options, User, policy::Lite, sign_in::Anonymous},
    bus::{
        Client, Subscription,
        socket::{Incoming, SocketOptions},
    },
    config::{DEFAULT_ACCOUNT_ID, DEFAULT_PROJECT_ID, Limits as BusLimits},
    host::{environment, pty::DEFAULT_PATH},
    project::terminal::{Limits, Service, TerminalOptions},
};
use serde_json::{Value, json};
use tokio::{sync::watch, time::timeout};
use tokio_util::sync::CancellationToken;

/// Far more than anything here takes.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// What a client keeps of the data when it was told to forget it.
const KEPT_BYTES: usize = 64 << 10;

/// A broker, a home and the service.
pub struct Lab {
    home: tempfile::TempDir,
    _data: tempfile::TempDir,
    broker: Arc<Broker>,
    service: Service,
    shutdown: CancellationToken,
    _client: Client,
}

impl Lab {
    /// Starts everything; `variables` are those of the server.
    pub async fn start(variables: Value) -> Lab {
        let broker = Broker::new(Options {
            server_id: "0".into(),
            cluster_name: None,
            address: "http://localhost".into(),
            limits: BusLimits::default(),
            authenticator: Arc::new(Anonymous),
            policy: Arc::new(Lite { account_id: DEFAULT_ACCOUNT_ID.into(), project_id: DEFAULT_PROJECT_ID.into() }),
        });
        let client = Client::in_process(&broker, User::project(DEFAULT_PROJECT_ID));
        let (home, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let shutdown = CancellationToken::new();
        let server = [("PATH", DEFAULT_PATH), ("AUTH_TOKEN", "secret"), ("PORT", "5000"), ("DATA", "/data")];
        let options = TerminalOptions {
            project_id: DEFAULT_PROJECT_ID.into(),
            home: home.path().canonicalize().unwrap(),
            control_root: data.path().join("terminals"),
            environment: environment::clean(server.map(|(name, value)| (name.into(), value.into()))),
            limits: Limits::from_environment(|name| variables[name].as_str().map(str::to_owned)),
        };
        let service = Service::start(&client, options, shutdown.clone()).await.unwrap();
        Lab { home, _data: data, broker, service, shutdown, _client: client }
    }

    /// The project's files.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// A new client with a socket.
    pub async fn socket(&self) -> Socket {
        let socket = self.deaf_socket().await;
        socket.listen();
        socket
    }

    /// A new client with a socket that is not read from until [`Socket::listen`].
    pub async fn deaf_socket(&self) -> Socket {
        let client = Client::in_process(&self.broker, User::account(DEFAULT_ACCOUNT_ID));
        let base = format!("terminal.project-{DEFAULT_PROJECT_ID}.0");
        let socket = client.socket_connect(&base, SocketOptions::default()).unwrap();
        timeout(DEADLINE, socket.ready()).await.unwrap().unwrap();
        let log = Arc::new(watch::Sender::new(Log::default()));
        let size = Arc::new(Mutex::new(SizeAnswer::Rows(24, 80)));
        Socket { socket, log, size, _client: client }
    }

    /// Everything that goes over the bus.
    pub async fn tap(&self) -> Tap {
        let client = Client::in_process(&self.broker, User::system());
        Tap(client.subscribe(">").await.unwrap())
    }

    /// Waits for a file in the home.
    pub async fn until_file(&self, name: &str) {
        let path = self.home().join(name);
        let wait = async {
            while !path.exists() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(DEADLINE, wait).await.unwrap();
    }

    /// Ends the service and waits for it.
    pub async fn stop(self) {
        self.shutdown.cancel();
        timeout(DEADLINE, self.service.stopped()).await.unwrap();
        assert_eq!(self.service.sessions(), 0);
    }
}

/// All messages, in order.
pub struct Tap(Subscription);

impl Tap {
    /// The payloads up to the one that is wanted.
    pub async fn seen_until(mut self, wanted: impl Fn(&Value) -> bool) -> Vec<Value> {
        let mut seen = Vec::new();
        let wait = async {
            while seen.last().is_none_or(|body| !wanted(body)) {
                seen.push(self.0.recv().await.unwrap().to_json().unwrap());
            }
        };
        timeout(DEADLINE, wait).await.unwrap();
        seen
    }
}

#[derive(Clone, Copy)]
enum SizeAnswer {
    Rows(u16, u16),
    Hidden,
    Never,
}

#[derive(Default)]
struct Log {
    /// Data messages as they came.
    messages: Vec<Value>,
    /// Their text.
    data: String,
    /// Its length, with what was forgotten.
    received: usize,
    /// Requests of the server, each with the length of the data that came before.
    asked: Vec<(Value, usize)>,
    /// Whether only the newest data is kept.
    forgetful: bool,
}

async fn write_down(socket: outpost::bus::socket::Socket, log: Arc<watch::Sender<Log>>, size: Arc<Mutex<SizeAnswer>>) {
    while let Some(incoming) = socket.recv().await {
        match incoming {
            Incoming::Data(message) => log.send_modify(|log| {
                let body = message.to_json().unwrap();
                log.data.push_str(body.as_str().unwrap_or_default());
                log.received += body.as_str().unwrap_or_default().len();
                if log.forgetful {
                    let cut = log.data.len().saturating_sub(KEPT_BYTES);
                    log.data.drain(..log.data.ceil_char_boundary(cut));
                } else {
                    log.messages.push(body);
                }
            }),
            Incoming::Request(message) => {
                let body = message.to_json().unwrap();
                let answer = match (body["cmd"].as_str(), *size.lock().unwrap()) {
                    (Some("size"), SizeAnswer::Rows(rows, cols)) => json!({"rows": rows, "cols": cols}),
                    (Some("size"), SizeAnswer::Never) => continue,
                    _ => Value::Null,
                };
                log.send_modify(|log| log.asked.push((body, log.data.len())));
                // The server may be gone.
                let _ = message.respond(&answer).await;
            }
        }
    }
}

/// A client's socket.
pub struct Socket {
    socket: outpost::bus::socket::Socket,
    log: Arc<watch::Sender<Log>>,
    size: Arc<Mutex<SizeAnswer>>,
    _client: Client,
}

impl Socket {
    /// Begins to read.
    pub fn listen(&self) {
        tokio::spawn(write_down(self.socket.clone(), self.log.clone(), self.size.clone()));
    }

    /// How much data has come.
    pub fn received(&self) -> usize {
        self.log.borrow().received
    }

    /// The answer to a request, or the error.
    pub async fn request(&self, request: Value) -> Result<Value, String> {
        let answer = self.socket.request(&request, DEADLINE).await.map_err(|error| error.to_string())?;
        match outpost::bus::Error::from_headers(answer.headers().unwrap_or(&Value::Null)) {
            Some(error) => Err(error.to_string()),
            None => Ok(answer.to_json().unwrap()),
        }
    }

    /// Sends data.
    pub async fn send(&self, data: Value) {
        self.socket.write(&data, None).unwrap();
    }

    /// Closes the socket as a browser does that goes away.
    pub async fn close(self) {
        self.socket.end().await;
    }

    /// How to answer `size`; nothing: as a hidden client.
    pub fn answer_size(&self, size: Option<(u16, u16)>) {
        *self.size.lock().unwrap() = size.map_or(SizeAnswer::Hidden, |(rows, cols)| SizeAnswer::Rows(rows, cols));
    }

    /// Leaves `size` without an answer.
    pub fn never_answer(&self) {
        *self.size.lock().unwrap() = SizeAnswer::Never;
    }

    /// Keeps only the newest data from now on.
    pub fn forget_data(&self) {
        self.log.send_modify(|log| log.forgetful = true);
    }

    /// All data so far.
    pub fn data(&self) -> String {
        self.log.borrow().data.clone()
    }

    /// The data messages so far.
    pub fn messages(&self) -> Vec<Value> {
        self.log.borrow().messages.clone()
    }

    /// Waits until what came is as wanted.
    pub async fn until(&self, what: &str, wanted: impl Fn(&Self) -> bool) {
        let mut changes = self.log.subscribe();
        let wait = async {
            while !wanted(self) {
                changes.changed().await.unwrap();
            }
        };
        if timeout(DEADLINE, wait).await.is_err() {
            let log = self.log.borrow();
            let tail = log.data.get(log.data.floor_char_boundary(log.data.len().saturating_sub(500))..);
            panic!("no {what:?}; data ends in {tail:?}; asked {:?}", log.asked);
        }
    }

    /// Waits for text in the data.
    pub async fn until_data(&self, wanted: &str) {
        self.until(wanted, |socket| socket.log.borrow().data.contains(wanted)).await;
    }

    /// Waits for a request of the server.
    pub async fn until_asked(&self, wanted: &Value) {
        self.until(&wanted.to_string(), |socket| socket.log.borrow().asked.iter().any(|(asked, _)| asked == wanted))
            .await;
    }

    /// Waits for a request of the server; all data before it.
    pub async fn data_before(&self, wanted: &Value) -> String {
        self.until_asked(wanted).await;
        let log = self.log.borrow();
        let length = log.asked.iter().find(|(asked, _)| asked == wanted).map(|(_, length)| *length).unwrap();
        log.data[..length].to_owned()
    }
}

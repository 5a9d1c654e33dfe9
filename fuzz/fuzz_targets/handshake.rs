//! What a peer sends before it is known, and what follows an upgrade, over a socket to a real server.
//!
//! Input: the bytes of an HTTP connection. Some text in it is replaced to get through doors that a fuzzer would not find:
//! `@UP@` by the headers of a WebSocket upgrade, `@OK@` by a cookie that signs in.

#![no_main]

use std::{
    cell::RefCell,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use libfuzzer_sys::{Corpus, fuzz_target};
use outpost::{
    broker::{Broker, Counters, Options, User, policy::Lite},
    config::{Identity, Limits, Secret},
    http::{BrokerEndpoint, LiteAuthenticator, LiteUsers, Metrics, Parts, Readiness, Server, Settings, SignIn},
    wire::engineio,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpSocket,
    runtime::Runtime,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

const TOKEN: &str = "s3cret-token";
/// Verifies against [`TOKEN`] in one round.
const COOKIE: &str = "cocalc-lite-auth=sha512%240123456789abcdef0123456789abcdef%241%24b4ab9ee60d2b0abfae4d388d2c4b969fb14184b0813c5e31bb9aaeb79ea04b4b983b7ca53ef0cfc918087f3284b57551b2b632113fb9bc016ddd240673d59616";
const UPGRADE: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

struct Rig {
    runtime: Runtime,
    address: SocketAddr,
    broker: Arc<Broker>,
    sessions: TaskTracker,
    /// Clients come from many addresses, so that neither failed sign-ins nor closed connections add up.
    clients: u32,
}

impl Rig {
    fn new() -> Rig {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let account = "00000000-1000-4000-8000-000000000001";
        let project = "00000000-1000-4000-8000-000000000000";
        let sign_in = Arc::new(SignIn::new(Some(Secret::new(TOKEN))).expect("random bytes"));
        let users = LiteUsers {
            visitor: User::account(account),
            open: false,
            system_password: Some(Secret::new("system-password")),
            project_secret: Some(Secret::new("project-secret")),
            base_path: String::new(),
        };
        let limits = Limits { http_header_timeout: Duration::from_secs(2), ..Limits::default() };
        let broker = Broker::new(Options {
            server_id: "0".into(),
            cluster_name: None,
            address: "http://localhost".into(),
            limits: limits.clone(),
            authenticator: Arc::new(LiteAuthenticator::new(sign_in.clone(), users)),
            policy: Arc::new(Lite { account_id: account.into(), project_id: project.into() }),
        });
        let sessions = TaskTracker::new();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        let settings = Settings {
            limits,
            host: "localhost".into(),
            base_path: String::new(),
            identity: Identity {
                account_id: account.into(),
                project_id: project.into(),
                compute_server_id: 0,
                username: "fuzz".into(),
                server_id: "0".into(),
                cluster_name: None,
            },
            static_dir: None,
            metrics_token: Some(Secret::new("metrics-token")),
            any_host: false,
            drain: Duration::from_secs(1),
        };
        let parts = Parts {
            listeners: vec![listener],
            tls: None,
            sign_in,
            bus: Arc::new(BrokerEndpoint::new(broker.clone(), sessions.clone(), CancellationToken::new())),
            readiness: Readiness::new(),
            metrics: Metrics::new(Arc::new(Counters::default())),
            routes: None,
        };
        let server = runtime.block_on(async { Server::build(settings, parts) }).expect("a server");
        runtime.spawn(server.run(CancellationToken::new()));
        Rig { runtime, address, broker, sessions, clients: 0 }
    }

    fn send(&mut self, bytes: &[u8]) {
        self.clients = self.clients.wrapping_add(1);
        let [_, a, b, c] = self.clients.to_be_bytes();
        let client = SocketAddr::from(([127, a, b, c.max(2)], 0));
        let answer = self.runtime.block_on(async {
            let socket = TcpSocket::new_v4().expect("a socket");
            socket.bind(client).expect("loopback addresses");
            let mut stream = socket.connect(self.address).await.expect("the server accepts");
            let mut answer = Vec::new();
            let _ = stream.write_all(bytes).await;
            let _ = stream.shutdown().await;
            let read = stream.read_to_end(&mut answer);
            let in_time = tokio::time::timeout(Duration::from_secs(8), read).await;
            assert!(in_time.is_ok(), "the server keeps a connection that has ended");
            answer
        });
        if !answer.is_empty() && !answer.starts_with(b"\0") {
            // HTTP/1, or HTTP/2's first frame.
            assert!(answer.starts_with(b"HTTP/1.") || answer.get(3) == Some(&4), "what is that: {answer:?}");
        }
        let text = String::from_utf8_lossy(&answer);
        let status = text.split(' ').nth(1).unwrap_or_default();
        assert_ne!(status, "500", "{text}");
        for secret in [TOKEN, "system-password", "project-secret", "metrics-token"] {
            let sent = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(sent || !text.contains(secret), "a secret gets out: {text}");
        }
        // Sessions end with their connections, and nothing of them stays.
        let sessions = self.sessions.clone();
        self.runtime.block_on(async move {
            for _ in 0..5000 {
                if sessions.is_empty() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            panic!("a session outlives its connection");
        });
        assert_eq!(self.broker.counters().connections.get(), 0);
        assert_eq!(self.broker.counters().subscriptions.get(), 0);
    }
}

thread_local! {
    static RIG: RefCell<Rig> = RefCell::new(Rig::new());
}

fn replace(data: &[u8], name: &[u8], value: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len());
    let mut rest = data;
    while let Some(at) = rest.windows(name.len()).position(|window| window == name) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(value.as_bytes());
        rest = &rest[at + name.len()..];
    }
    out.extend_from_slice(rest);
    out
}

fuzz_target!(|data: &[u8]| -> Corpus {
    if let Ok(text) = std::str::from_utf8(data) {
        let (method, query) = text.split_once('\n').unwrap_or(("GET", text));
        for is_upgrade in [false, true] {
            match engineio::check_handshake(method, query, is_upgrade) {
                Ok(()) => assert!(is_upgrade && method == "GET" && query.contains("transport=websocket")),
                Err(error) => assert!(serde_json::from_str::<serde_json::Value>(&error.body()).is_ok()),
            }
        }
    }
    // Many rounds of hashing are allowed, and slow.
    if data.windows(7).any(|window| window.iter().all(u8::is_ascii_digit)) {
        return Corpus::Reject;
    }
    let bytes = replace(&replace(data, b"@UP@", UPGRADE), b"@OK@", COOKIE);
    RIG.with_borrow_mut(|rig| rig.send(&bytes));
    Corpus::Keep
});

//! SIGHUP: what changes while the server runs, and what does not.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
};

use nix::sys::signal::Signal;
use outpost::{
    bus::{Client, ConnectOptions, Error, PublishOptions},
    config::Secret,
};

use crate::harness::{DEADLINE, Home, Server, text, until};

const SCOPE: &str = "account-00000000-1000-4000-8000-000000000001";

/// A server with a settings file.
struct Site {
    home: Home,
    file: PathBuf,
    server: Server,
}

impl Site {
    fn start(settings: &str) -> Site {
        let home = Home::new();
        fs::create_dir(home.data()).unwrap();
        let file = home.data().join("outpost.toml");
        fs::write(&file, settings).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let server = home.serve(&[]);
        Site { home, file, server }
    }

    fn logged(&self, what: &str) -> usize {
        self.server.log().matches(what).count()
    }

    /// Changes the settings file and waits until the server has read it and says so.
    fn reload(&self, settings: &str, says: &str) {
        let before = self.logged(says);
        fs::write(&self.file, settings).unwrap();
        self.server.signal(Signal::SIGHUP);
        until(says, || (self.logged(says) > before).then_some(()));
    }

    fn connect(&self) -> TcpStream {
        let port = self.home.info().unwrap()["port"].as_u64().unwrap();
        let stream = TcpStream::connect(("localhost", u16::try_from(port).unwrap())).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream
    }

    /// The status of an answer.
    fn ask(&self, request_line: &str, headers: &str) -> u16 {
        let mut stream = self.connect();
        ask(&mut stream, request_line, headers)
    }

    fn status(&self, path: &str, token: &str) -> u16 {
        self.ask(&format!("GET {path}"), &format!("Authorization: Bearer {token}\r\n"))
    }

    fn client(&self, token: Option<&str>) -> Client {
        let port = self.home.info().unwrap()["port"].as_u64().unwrap();
        let mut options = ConnectOptions::new(format!("http://localhost:{port}"));
        options.token = token.map(Secret::new);
        options.reconnect = false;
        Client::connect(options).unwrap()
    }
}

fn ask(stream: &mut TcpStream, request_line: &str, headers: &str) -> u16 {
    write!(stream, "{request_line} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n").unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    line.split(' ').nth(1).unwrap_or_else(|| panic!("no answer: {line:?}")).parse().unwrap()
}

#[test]
fn what_can_change_changes_and_the_rest_is_named() {
    let mut site = Site::start("log = \"info\"\n");
    site.reload("log = \"debug\"\nmax_connections = 3\nserver_id = \"x\"\n", "reloaded");
    assert_eq!(site.logged("changed settings settings=\"max_connections, log\""), 1, "{}", site.server.log());
    assert_eq!(site.logged("wait for a restart settings=\"server_id\""), 1);
    site.reload("log = \"loud\"=\n", "bad settings: they stay as they were");
    assert_eq!(site.server.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_hold_for_connections_that_are_open_where_they_can() {
    // The inbox is one of them.
    let site = Site::start("max_subscriptions_per_client = 2\n");
    let client = site.client(None);
    client.connected().await.unwrap();
    let _first = client.subscribe(&format!("a.{SCOPE}")).await.unwrap();
    let second = format!("b.{SCOPE}");
    assert!(matches!(client.subscribe(&second).await, Err(Error::Refused { .. })));
    site.reload("max_subscriptions_per_client = 3\n", "reloaded");
    client.subscribe(&second).await.unwrap();

    let body = "Content-Length: 5000\r\nExpect: 100-continue\r\nOrigin: http://localhost\r\n";
    site.reload("http_body_bytes = \"4000B\"\n", "reloaded");
    assert_eq!(site.ask("POST /x", body), 413);
    site.reload("", "reloaded");
    assert_ne!(site.ask("POST /x", body), 413);
}

#[test]
fn new_connections_are_told_new_limits() {
    let site = Site::start("");
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";
    site.reload("max_payload = \"1MiB\"\nping_interval = \"7s\"\nping_timeout = \"3s\"\n", "reloaded");
    let mut stream = site.connect();
    write!(
        stream,
        "GET /conat/?EIO=4&transport=websocket HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost\r\n{upgrade}\r\n"
    )
    .unwrap();
    let mut seen = Vec::new();
    let wanted = r#""upgrades":[],"pingInterval":7000,"pingTimeout":3000,"maxPayload":1048576}"#;
    while !text(&seen).contains(wanted) {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap_or_else(|error| panic!("{error}: {}", text(&seen)));
        seen.push(byte[0]);
    }
}

#[test]
fn who_waits_for_a_place_comes_in_when_there_are_more() {
    let site = Site::start("http_connections = 1\n");
    let mut first = site.connect();
    assert_eq!(ask(&mut first, "GET /healthz", ""), 200);
    let mut second = site.connect();
    write!(second, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    site.reload("http_connections = 2\n", "reloaded");
    let mut line = String::new();
    BufReader::new(second).read_line(&mut line).unwrap();
    assert!(line.contains(" 200 "), "{line}");
    drop(first);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_token_is_asked_for_from_now_on_and_nobody_is_thrown_out() {
    let site = Site::start("auth_token = \"0ld-s3cret\"\nmetrics_token = \"0ld-m3trics\"\n");
    assert_eq!((site.status("/customize", "0ld-s3cret"), site.status("/metrics", "0ld-m3trics")), (200, 200));
    let client = site.client(Some("0ld-s3cret"));
    client.connected().await.unwrap();

    site.reload("auth_token = \"n3w-s3cret\"\nmetrics_token = \"n3w-m3trics\"\n", "reloaded");
    assert_ne!(site.status("/customize", "0ld-s3cret"), 200);
    assert_ne!(site.status("/metrics", "0ld-m3trics"), 200);
    assert_eq!((site.status("/customize", "n3w-s3cret"), site.status("/metrics", "n3w-m3trics")), (200, 200));
    assert!(site.client(Some("0ld-s3cret")).connected().await.is_err());
    site.client(Some("n3w-s3cret")).connected().await.unwrap();
    // Whoever is in stays in.
    client.publish(&format!("x.{SCOPE}"), &1, PublishOptions::default()).await.unwrap();

    until("the new URL", || site.logged("the access token is another one now").checked_sub(1));
    let url = text(&site.home.run(&[], &["token"]).stdout);
    assert!(url.trim_end().ends_with("?auth_token=n3w-s3cret"), "{url}");
    let info = fs::metadata(site.home.data().join("connection-info.json")).unwrap();
    assert_eq!(info.permissions().mode() & 0o777, 0o600);
    assert!(!site.server.log().contains("s3cret") && !site.server.log().contains("m3trics"));
}

#[test]
fn a_random_token_stays_when_something_else_changes() {
    let site = Site::start("auth_token = \"1\"\n");
    let url = site.home.info().unwrap()["url"].clone();
    site.reload("auth_token = \"1\"\nmax_connections = 5\n", "reloaded");
    site.reload("auth_token = \"1\"\n", "reloaded");
    assert_eq!(site.logged("the access token is another one now"), 0);
    assert_eq!(site.home.info().unwrap()["url"], url);
}

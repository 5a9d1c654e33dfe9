//! `<base>/conat/` and the hook behind it.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{Plan, Site, read_to_end};

/// Sends an upgrade request with more header lines and reads the head of the answer.
async fn upgrade(site: &Site, path: &str, more: &str) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(site.address).await.unwrap();
    let host = site.host();
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{more}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    (stream, String::from_utf8(head).unwrap())
}

#[tokio::test]
async fn the_bus_signs_in_by_itself() {
    let site = Plan::with_token().start();
    let (mut stream, head) = upgrade(&site, "/conat/?EIO=4&transport=websocket", "").await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    stream.write_all(b"hello").await.unwrap();
    let mut echo = [0; 5];
    stream.read_exact(&mut echo).await.unwrap();
    assert_eq!(&echo, b"hello");
    let seen = site.bus.seen.lock().unwrap().clone();
    assert_eq!(seen[0].0, "/conat/?EIO=4&transport=websocket");
    assert!(seen[0].1.address.unwrap().is_loopback() && !seen[0].1.tls);
    let (_, head) = upgrade(&site, "/conat", "").await;
    assert!(head.starts_with("HTTP/1.1 401"), "{head}");
}

#[tokio::test]
async fn without_a_token_the_origin_has_to_match() {
    let site = Plan::default().start();
    let own = format!("Origin: http://{}\r\n", site.host());
    for (more, status) in
        [("", 101), (own.as_str(), 101), ("Origin: http://evil.example\r\n", 403), ("Origin: null\r\n", 403)]
    {
        let (mut stream, head) = upgrade(&site, "/conat/", more).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{more}: {head}");
        if status == 403 {
            stream.shutdown().await.unwrap();
            assert!(read_to_end(&mut stream).await.contains("another origin"));
        }
    }
    let guarded = Plan::with_token().start();
    // A cookie comes along with whatever page asks.
    let (_, head) = upgrade(&guarded, "/conat/", "Origin: http://evil.example\r\nCookie: a=b\r\n").await;
    assert!(head.starts_with("HTTP/1.1 403"), "{head}");
    let own = format!("Origin: http://{}\r\nCookie: a=b\r\n", guarded.host());
    assert!(upgrade(&guarded, "/conat/", &own).await.1.starts_with("HTTP/1.1 101"));
    let (_, head) = upgrade(&guarded, "/conat/", "Origin: http://proxy.example\r\n").await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
}

#[tokio::test]
async fn wire_002_the_base_path_moves_the_bus() {
    let site = Plan { base_path: "/x", ..Plan::default() }.start();
    assert!(upgrade(&site, "/x/conat/", "").await.1.starts_with("HTTP/1.1 101"));
    assert!(upgrade(&site, "/conat/", "").await.1.starts_with("HTTP/1.1 404"));
}

#[tokio::test]
async fn the_address_behind_a_local_proxy_is_told() {
    let site = Plan::default().start();
    upgrade(&site, "/conat/", "X-Forwarded-For: 192.0.2.9, 10.0.0.1\r\nX-Forwarded-Proto: https\r\n").await;
    let peer = site.bus.seen.lock().unwrap()[0].1;
    assert_eq!((peer.address.unwrap().to_string().as_str(), peer.tls), ("192.0.2.9", true));
}

#[tokio::test]
async fn upgraded_connections_keep_their_place_and_outlive_idle_times() {
    let mut plan = Plan::default();
    plan.limits.http_connections = 1;
    plan.limits.http_idle_timeout = Duration::from_millis(500);
    plan.limits.http_header_timeout = Duration::from_millis(500);
    let site = plan.start();
    let (mut first, head) = upgrade(&site, "/conat/", "").await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    // The second one is not served while the first is there.
    let mut second = tokio::spawn({
        let address = site.address;
        let host = site.host();
        async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let request = format!("GET /healthz HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            read_to_end(&mut stream).await
        }
    });
    assert!(tokio::time::timeout(Duration::from_millis(1500), &mut second).await.is_err());
    first.write_all(b"still").await.unwrap();
    let mut echo = [0; 5];
    first.read_exact(&mut echo).await.unwrap();
    drop(first);
    assert!(second.await.unwrap().starts_with("HTTP/1.1 200"));
}

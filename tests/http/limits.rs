//! Every limit, from the outside.

use std::time::{Duration, Instant};

use axum::{Router, body::Bytes, routing::post};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::sleep,
};

use crate::support::{Plan, Reply, Site, read_to_end};

const SHORT: Duration = Duration::from_millis(300);

fn upload(limit: usize, patience: Duration) -> Site {
    let routes = Router::new().route("/upload", post(|body: Bytes| async move { body.len().to_string() }));
    let mut plan = Plan { routes: Some(routes), ..Plan::default() };
    plan.limits.http_body_bytes = limit;
    plan.limits.http_idle_timeout = patience;
    plan.start()
}

fn hasty() -> Site {
    let mut plan = Plan::default();
    plan.limits.http_header_timeout = SHORT;
    plan.start()
}

#[tokio::test]
async fn a_head_that_drips_is_cut_off() {
    let site = hasty();
    let start = Instant::now();
    let mut stream = TcpStream::connect(site.address).await.unwrap();
    let (mut read, mut write) = stream.split();
    let drip = async {
        for byte in b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" {
            if write.write_all(&[*byte]).await.is_err() {
                break;
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    let mut answer = Vec::new();
    tokio::select! {
        () = drip => panic!("the server waited for the whole head"),
        _ = read.read_to_end(&mut answer) => {}
    }
    assert!(start.elapsed() < Duration::from_secs(3));
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed() {
    let site = hasty();
    let mut stream = TcpStream::connect(site.address).await.unwrap();
    assert_eq!(read_to_end(&mut stream).await, "");
    // Also one that begins like HTTP/2 and stops.
    let mut stream = TcpStream::connect(site.address).await.unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n").await.unwrap();
    read_to_end(&mut stream).await;
}

#[tokio::test]
async fn idle_connections_are_closed_and_have_their_own_time() {
    let mut plan = Plan::default();
    plan.limits.http_header_timeout = Duration::from_millis(500);
    plan.limits.http_idle_timeout = Duration::from_millis(2000);
    let site = plan.start();
    let mut stream = TcpStream::connect(site.address).await.unwrap();
    let request = format!("GET /healthz HTTP/1.1\r\nHost: {}\r\n\r\n", site.host());
    stream.write_all(request.as_bytes()).await.unwrap();
    // Longer than a head may take, shorter than a connection may be idle.
    sleep(Duration::from_millis(1000)).await;
    stream.write_all(request.as_bytes()).await.unwrap();
    let start = Instant::now();
    let text = read_to_end(&mut stream).await;
    assert_eq!(text.matches("HTTP/1.1 200").count(), 2, "{text}");
    assert!(start.elapsed() >= Duration::from_millis(1500));
}

#[tokio::test]
async fn big_heads_are_431() {
    let site = Plan::default().start();
    let host = site.host();
    let long = format!("GET / HTTP/1.1\r\nHost: {host}\r\nX-Long: {}\r\n\r\n", "a".repeat(64 << 10));
    assert!(site.raw(&long).await.starts_with("HTTP/1.1 431"));
    let many: String = (0..150).map(|n| format!("X-{n}: 1\r\n")).collect();
    assert!(site.raw(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n{many}\r\n")).await.starts_with("HTTP/1.1 431"));
    let fits = format!(
        "GET /healthz HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nX-Long: {}\r\n\r\n",
        "a".repeat(20 << 10)
    );
    assert!(site.raw(&fits).await.starts_with("HTTP/1.1 200"));
    assert!(site.raw("nonsense\r\n\r\n").await.starts_with("HTTP/1.1 400"));
}

#[tokio::test]
async fn big_bodies_are_413() {
    let site = upload(1000, Duration::from_secs(10));
    let send = |size: usize| site.send(site.request("POST", "/upload").body(Full::from(vec![b'x'; size])).unwrap());
    assert_eq!(send(1000).await.text(), "1000");
    let refused = send(1001).await;
    assert_eq!((refused.status, refused.header("connection")), (413, "close"));
    // Nothing announces the size of a chunked body.
    let host = site.host();
    let chunk = format!("258\r\n{}\r\n", "x".repeat(600));
    let request =
        format!("POST /upload HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}{chunk}0\r\n\r\n");
    assert!(site.raw(&request).await.starts_with("HTTP/1.1 413"));
}

#[tokio::test]
async fn a_body_that_stalls_is_given_up() {
    let site = upload(1000, SHORT);
    let request = format!("POST /upload HTTP/1.1\r\nHost: {}\r\nContent-Length: 100\r\n\r\nhalf", site.host());
    let answer = site.raw(&request).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
}

#[tokio::test]
async fn http_2_works_as_well() {
    let site = Plan::with_token().start();
    let stream = TcpStream::connect(site.address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let uri = format!("http://{}/?auth_token={}", site.host(), crate::support::TOKEN);
    let request = http::Request::get(uri).body(Full::<Bytes>::default()).unwrap();
    let reply = Reply::of(sender.send_request(request).await.unwrap()).await;
    assert_eq!(reply.status, 303);
    // The host comes from the target there.
    assert!(reply.cookies()[1].starts_with(&format!("cocalc-lite-auth-localhost_{}=", site.address.port())));
}

#[tokio::test]
async fn shutdown_lets_requests_finish_and_closes_the_rest() {
    let routes = Router::new().route(
        "/slow",
        axum::routing::get(|| async {
            sleep(Duration::from_millis(600)).await;
            "whole"
        }),
    );
    let site = Plan { routes: Some(routes), ..Plan::default() }.start();
    let mut idle = TcpStream::connect(site.address).await.unwrap();
    let request = format!("GET /healthz HTTP/1.1\r\nHost: {}\r\n\r\n", site.host());
    idle.write_all(request.as_bytes()).await.unwrap();
    let mut first = [0; 12];
    idle.read_exact(&mut first).await.unwrap();
    let stream = TcpStream::connect(site.address).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let slow = tokio::spawn(sender.send_request(site.request("GET", "/slow").body(Full::<Bytes>::default()).unwrap()));
    sleep(Duration::from_millis(200)).await;
    site.shutdown.cancel();
    let response = slow.await.unwrap().unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "whole");
    read_to_end(&mut idle).await;
    tokio::time::timeout(Duration::from_secs(3), site.running).await.expect("ends in time").unwrap();
    assert!(TcpStream::connect(site.address).await.is_err());
}

#[tokio::test]
async fn a_request_that_never_ends_is_cut_at_the_deadline() {
    let routes = Router::new().route("/never", axum::routing::get(std::future::pending::<&'static str>));
    let plan = Plan { routes: Some(routes), ..Plan::default() };
    let site = plan.start_with(|settings| settings.drain = SHORT);
    let mut stream = TcpStream::connect(site.address).await.unwrap();
    stream.write_all(format!("GET /never HTTP/1.1\r\nHost: {}\r\n\r\n", site.host()).as_bytes()).await.unwrap();
    sleep(Duration::from_millis(100)).await;
    site.shutdown.cancel();
    tokio::time::timeout(Duration::from_secs(3), site.running).await.expect("ends in time").unwrap();
    assert_eq!(read_to_end(&mut stream).await, "");
}

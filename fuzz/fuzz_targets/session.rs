//! A signed-in client that sends anything: the server answers or ends the session, and nothing of it stays behind.
//!
//! Input: WebSocket messages, each with one byte before it (its lowest bit says binary, the second one which of two clients
//! sends it) and the line `\n--\n` after it. Time stands still while anything goes on, so that waits end at once.

#![no_main]

use std::{cell::RefCell, net::Ipv4Addr, sync::Arc, time::Duration};

use futures_util::{SinkExt, StreamExt, stream::SplitSink};
use libfuzzer_sys::fuzz_target;
use outpost::{
    broker::{
        Broker, Options,
        policy::Open,
        session::{self, Origin},
        sign_in::Anonymous,
    },
    config::Limits,
};
use tokio::{io::DuplexStream, runtime::Runtime, task::JoinHandle};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, protocol::Role},
};
use tokio_util::sync::CancellationToken;

type Sender = SplitSink<WebSocketStream<DuplexStream>, Message>;

struct Client {
    sender: Sender,
    reading: JoinHandle<()>,
    serving: JoinHandle<()>,
}

async fn connect(broker: &Arc<Broker>) -> Client {
    let (near, far) = tokio::io::duplex(1 << 20);
    let origin = Origin { headers: http::HeaderMap::new(), query: String::new(), address: Ipv4Addr::LOCALHOST.into() };
    let shutdown = CancellationToken::new();
    let serving = tokio::spawn(session::serve(far, broker.clone(), origin, shutdown));
    let ws = WebSocketStream::from_raw_socket(near, Role::Client, None).await;
    let (sender, mut receiver) = ws.split();
    let reading = tokio::spawn(async move {
        // Whatever the server says has to be what a stock client can read.
        let mut attachments = 0;
        while let Some(Ok(message)) = receiver.next().await {
            match message {
                Message::Text(text) => {
                    assert_eq!(attachments, 0, "an attachment is missing before {text}");
                    if let Some(packet) = text.strip_prefix('4') {
                        attachments = check(packet);
                    }
                }
                Message::Binary(_) => {
                    assert!(attachments > 0, "an attachment too many");
                    attachments -= 1;
                }
                _ => {}
            }
        }
    });
    Client { sender, reading, serving }
}

/// Checks a socket.io packet and returns how many attachments it announces.
fn check(packet: &str) -> usize {
    let (kind, rest) = packet.split_at(1);
    let (count, rest) = match (kind, rest.split_once('-')) {
        ("5" | "6", Some((count, rest))) => (count.parse().expect("a count"), rest),
        ("5" | "6", None) => panic!("no count in {packet}"),
        _ => (0, rest),
    };
    let json = if rest.starts_with('/') { rest.split_once(',').map_or("", |(_, json)| json) } else { rest };
    let json = json.trim_start_matches(|c: char| c.is_ascii_digit());
    if !json.is_empty() {
        serde_json::from_str::<serde::de::IgnoredAny>(json).unwrap_or_else(|error| panic!("{error} in {packet}"));
    }
    count
}

async fn run(data: &[u8]) {
    let limits = Limits {
        max_payload: 100_000,
        max_subscriptions_per_client: 50,
        outbox_bytes: 1 << 20,
        outbox_messages: 1000,
        ..Limits::default()
    };
    let broker = Broker::new(Options {
        server_id: "0".into(),
        cluster_name: None,
        address: "http://localhost".into(),
        limits,
        authenticator: Arc::new(Anonymous),
        policy: Arc::new(Open),
    });
    let mut clients = [connect(&broker).await, connect(&broker).await];
    for client in &mut clients {
        let _ = client.sender.send(Message::text("40")).await;
        let _ = client.sender.send(Message::text("430[]")).await;
    }
    let mut rest = data;
    while let Some((&head, message)) = rest.split_first() {
        let end = message.windows(4).position(|window| window == b"\n--\n");
        let (body, next) = end.map_or((message, &[][..]), |end| (&message[..end], &message[end + 4..]));
        rest = next;
        let message = match std::str::from_utf8(body) {
            Ok(text) if head & 1 == 0 => Message::text(text),
            _ => Message::binary(body.to_vec()),
        };
        let sender = &mut clients[usize::from(head >> 1 & 1)].sender;
        let _ = sender.send(message).await;
        for _ in 0..4 {
            tokio::task::yield_now().await;
        }
    }
    for client in clients {
        let Client { mut sender, reading, serving } = client;
        let _ = sender.close().await;
        drop(sender);
        serving.await.expect("the session does not panic");
        reading.await.expect("the client understands the server");
    }
    let counters = broker.counters();
    assert_eq!(counters.connections.get(), 0);
    assert_eq!(counters.subscriptions.get(), 0, "subscriptions stay behind");
}

thread_local! {
    static RUNTIME: RefCell<Runtime> = RefCell::new(
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime")
    );
}

fuzz_target!(|data: &[u8]| {
    RUNTIME.with_borrow(|runtime| {
        runtime.block_on(async {
            let in_time = tokio::time::timeout(Duration::from_secs(3600), run(data)).await;
            assert!(in_time.is_ok(), "a session does not end");
        });
    });
});

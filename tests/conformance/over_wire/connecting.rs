//! Before the first connection, and after a restart on a real port: items 112 and 126.

use std::time::Duration;

use outpost::bus::{
    Client, ConnectOptions, MSGPACK, PublishOptions,
    service::{Call, CallOptions, Convention, Methods, ServiceOptions},
};
use tokio::net::TcpListener;

use crate::harness::{Bus, Packet, Way, ms, soon, until};

/// Waits until a client is connected for the n-th time.
async fn connected(client: &Client, generation: u64) {
    let mut status = client.status();
    let wanted = |s: &outpost::bus::Status| s.generation >= generation && s.state == outpost::bus::State::Connected;
    soon(status.wait_for(wanted)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn wire_112_before_info_a_payload_of_a_million_bytes_is_assumed() {
    let bus = Bus::start();
    let way = Way::to(&bus);
    let client = Client::connect(way.options()).unwrap();
    // Not connected yet, so nobody has told how large a message may be.
    client.publish_bytes_sync("big", MSGPACK, vec![7; 900_001].into(), None).unwrap();
    soon(client.connected()).await.unwrap();
    client.publish_bytes("big", MSGPACK, vec![7; 900_001].into(), PublishOptions::default()).await.unwrap();
    let sizes = |p: &Packet| p.argument("publish").map(|_| p.attachments[0].len());
    let sizes: Vec<_> = way.packets().iter().filter(|p| p.from_client).filter_map(sizes).collect();
    assert_eq!(sizes, [900_000, 1, 900_001]);
}

#[tokio::test]
async fn wire_126_a_restart_on_the_same_port_is_survived() {
    let bus = Bus::start();
    let way = Way::to(&bus);
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let serving = tokio::spawn({
        let way = way.clone();
        async move { way.serve(listener).await }
    });
    let options = || ConnectOptions {
        reconnect_min: ms(20),
        reconnect_max: ms(100),
        ..ConnectOptions::new(format!("http://127.0.0.1:{port}"))
    };
    let (host, client) = (Client::connect(options()).unwrap(), Client::connect(options()).unwrap());
    soon(host.connected()).await.unwrap();
    soon(client.connected()).await.unwrap();
    let methods = || {
        Methods::new().method("add", |call: Call| async move {
            let (a, b): (i64, i64) = call.args()?;
            Ok(a + b)
        })
    };
    let _array = methods().serve(&host, "arith", Convention::MethodArray, ServiceOptions::default()).await.unwrap();
    let _typed = methods().serve(&host, "typed", Convention::Typed, ServiceOptions::default()).await.unwrap();
    let mut reader = client.subscribe("news").await.unwrap();
    let all_work = async |reader: &mut outpost::bus::Subscription| {
        let call = CallOptions { timeout: Duration::from_secs(20), wait: true };
        assert_eq!(client.call::<i64>("arith", "add", &(2, 3), call).await.unwrap(), 5);
        assert_eq!(client.call_typed::<i64>("typed", "add", &(20, 3), call).await.unwrap(), 23);
        assert!(client.ping_direct("typed", Duration::from_secs(20)).await);
        let options = PublishOptions { wait_for_interest: true, ..Default::default() };
        assert_eq!(host.publish("news", "hello", options).await.unwrap().count, 1);
        assert_eq!(soon(reader.recv()).await.unwrap().decode::<String>().unwrap(), "hello");
    };
    all_work(&mut reader).await;
    way.lead_to(None);
    soon(serving).await.unwrap();
    // The port is free now; for a while nobody is there.
    until("the loss is noticed", || [&host, &client].iter().all(|c| c.state() == outpost::bus::State::Connecting))
        .await;
    let second = Bus::start();
    way.lead_to(Some(&second));
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    tokio::spawn(async move { way.serve(listener).await });
    connected(&host, 2).await;
    connected(&client, 2).await;
    all_work(&mut reader).await;
    assert_eq!(bus.broker.peers().len(), 0);
    assert_eq!(second.broker.peers().len(), 2);
}

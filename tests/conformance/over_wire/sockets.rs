//! Virtual sockets over a way that loses things: items 143 and 146.

use outpost::bus::{
    Client, State,
    socket::{Incoming, Socket, SocketOptions, SocketServer, SocketState},
};
use serde_json::{Value, json};

use crate::harness::{Bus, Way, ms, soon, until};

async fn data(socket: &Socket) -> Value {
    match soon(socket.recv()).await {
        Some(Incoming::Data(message)) => message.decode().unwrap(),
        other => panic!("expected data, got {other:?}; closed: {:?}", socket.reason()),
    }
}

struct Pair {
    _clients: [Client; 2],
    _server: SocketServer,
    /// The two ends: the client's and the server's.
    ends: [Socket; 2],
}

async fn pair(way: &Way) -> Pair {
    let clients = [way.client().await, way.client().await];
    let mut server = clients[0].socket_listen("base", SocketOptions::default()).await.unwrap();
    let client = clients[1].socket_connect("base", SocketOptions::default()).unwrap();
    let accepted = soon(server.accept()).await.unwrap();
    soon(client.ready()).await.unwrap();
    Pair { _clients: clients, _server: server, ends: [client, accepted] }
}

#[tokio::test(start_paused = true)]
async fn wire_143_what_gets_lost_on_the_way_is_fetched() {
    for (from, to) in [(0, 1), (1, 0)] {
        let bus = Bus::start();
        let way = Way::to(&bus);
        let pair = pair(&way).await;
        let mut lost = 0;
        way.lose(move |packet| {
            let loses = packet.header("CN-SocketSeq") == 2 && lost == 0;
            lost += usize::from(loses);
            loses
        });
        let (writer, reader) = (&pair.ends[from], &pair.ends[to]);
        for n in 1..=3 {
            writer.write(&json!([n, "text"]), Some(json!({"h": n}))).unwrap();
        }
        for n in 1..=3 {
            assert_eq!(data(reader).await, json!([n, "text"]));
        }
        soon(writer.drained()).await;
        let packets = way.packets();
        let body = |p: &crate::harness::Packet| {
            (p.header("CN-SocketCmd") == "socket")
                .then(|| outpost::wire::msgpack::decode_value(&p.attachments[0]).unwrap())
        };
        let asked = packets.iter().filter(|p| p.from_client).filter_map(body);
        let missing: Vec<_> = asked
            .map(|body| outpost::wire::msgpack::to_json(&body))
            .filter_map(|body| body.pointer("/socket/missing").cloned())
            .collect();
        assert_eq!(missing, [json!([2])]);
        // Each went over the wire as data once.
        let sent: Vec<_> = packets.iter().filter(|p| p.from_client).map(|p| p.header("CN-SocketSeq")).collect();
        assert_eq!(sent.into_iter().filter(|seq| !seq.is_null()).collect::<Vec<_>>(), [1, 2, 3]);
    }
}

#[tokio::test(start_paused = true)]
async fn wire_143_the_last_message_is_repeated_when_it_gets_lost() {
    for (from, to) in [(0, 1), (1, 0)] {
        let bus = Bus::start();
        let way = Way::to(&bus);
        let pair = pair(&way).await;
        let mut seen = 0;
        way.lose(move |packet| {
            seen += usize::from(packet.header("CN-SocketSeq") == 1);
            packet.header("CN-SocketSeq") == 1 && seen <= 2
        });
        let (writer, reader) = (&pair.ends[from], &pair.ends[to]);
        writer.write("only", None).unwrap();
        assert_eq!(data(reader).await, "only");
        soon(writer.drained()).await;
        assert_eq!(reader.state(), SocketState::Ready);
    }
}

#[tokio::test(start_paused = true)]
async fn wire_141_a_report_that_fails_is_made_again_but_not_at_once() {
    let bus = Bus::start();
    let ways = [Way::to(&bus), Way::to(&bus)];
    let (host, other) = (ways[0].client().await, ways[1].client().await);
    let mut server = host.socket_listen("base", SocketOptions::default()).await.unwrap();
    let client = other.socket_connect("base", SocketOptions::default()).unwrap();
    let accepted = soon(server.accept()).await.unwrap();
    soon(client.ready()).await.unwrap();
    accepted.write("last words", None).unwrap();
    until("it has arrived", || ways[1].packets().iter().any(|p| p.text.contains(r#""CN-SocketSeq":1"#))).await;
    // The server is away for a while, so reports fail at once: nobody listens.
    ways[0].lead_to(None);
    until("the server is away", || host.state() == State::Connecting).await;
    assert_eq!(data(&client).await, "last words");
    tokio::time::sleep(ms(5000)).await;
    let reports = ways[1].sent(0, "publish").iter().filter(|frame| frame[6]["CN-SocketCmd"] == "socket").count();
    assert!((3..=8).contains(&reports), "{reports} reports in five seconds");
    ways[0].lead_to(Some(&bus));
    soon(accepted.drained()).await;
}

#[tokio::test(start_paused = true)]
async fn wire_146_restarting_the_server_loses_nothing() {
    let first = Bus::start();
    let way = Way::to(&first);
    let pair = pair(&way).await;
    let [client, server] = &pair.ends;
    for round in 0..4 {
        let restarted = Bus::start();
        for n in 0..50 {
            client.write(&json!([round, "up", n]), None).unwrap();
            server.write(&json!([round, "down", n]), None).unwrap();
            if n == 25 {
                // Some are on their way, some are written while nobody is there.
                tokio::time::sleep(ms(round / 2)).await;
                way.lead_to(if round % 2 == 0 { None } else { Some(&restarted) });
            }
        }
        tokio::time::sleep(ms(1000 * round)).await;
        way.lead_to(Some(&restarted));
        for n in 0..50 {
            assert_eq!(data(server).await, json!([round, "up", n]));
            assert_eq!(data(client).await, json!([round, "down", n]));
        }
        soon(client.drained()).await;
        soon(server.drained()).await;
    }
    assert_eq!((client.state(), server.state()), (SocketState::Ready, SocketState::Ready));
    assert!(way.connections() >= 10, "{}", way.connections());
}

#[tokio::test(start_paused = true)]
async fn wire_146_a_cut_of_one_side_loses_nothing() {
    for side in [0, 1] {
        let bus = Bus::start();
        // Each side has a way of its own, so that one can be cut alone.
        let ways = [Way::to(&bus), Way::to(&bus)];
        let (host, other) = (ways[0].client().await, ways[1].client().await);
        let mut server = host.socket_listen("base", SocketOptions::default()).await.unwrap();
        let client = other.socket_connect("base", SocketOptions::default()).unwrap();
        let accepted = soon(server.accept()).await.unwrap();
        soon(client.ready()).await.unwrap();
        for n in 0..60 {
            client.write(&json!(["up", n]), None).unwrap();
            accepted.write(&json!(["down", n]), None).unwrap();
            if n % 20 == 10 {
                tokio::time::sleep(ms(n)).await;
                ways[side].cut();
            }
        }
        for n in 0..60 {
            assert_eq!(data(&accepted).await, json!(["up", n]));
            assert_eq!(data(&client).await, json!(["down", n]));
        }
        soon(client.drained()).await;
        soon(accepted.drained()).await;
    }
}

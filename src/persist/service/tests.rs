//! The service over a broker in process, with our own client.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    broker::{self, Broker, User, policy::Open, sign_in::Anonymous},
    bus::{
        Message, RequestOptions,
        socket::{Choice, Incoming, Socket, SocketOptions},
    },
    config::{Durability, Limits},
    persist::store::StoreOptions,
};

const ACCOUNT: &str = "00000000-1000-4000-8000-000000000001";
const SOON: Duration = Duration::from_secs(20);

struct Fixture {
    broker: Arc<Broker>,
    service: Service,
    store: Store,
    until: CancellationToken,
    _dir: tempfile::TempDir,
}

impl Fixture {
    async fn start(options: ServiceOptions) -> Fixture {
        let broker = Broker::new(broker::Options {
            server_id: "0".into(),
            cluster_name: None,
            address: "http://localhost:5000".into(),
            limits: Limits::default(),
            authenticator: Arc::new(Anonymous),
            policy: Arc::new(Open),
        });
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("streams.db");
        let durability = Durability::Normal;
        let store =
            Store::open(StoreOptions { path, durability, release_grace: Duration::ZERO, observer: None }).unwrap();
        let (client, until) = (Client::in_process(&broker, User::system()), CancellationToken::new());
        let service = Service::start(&client, store.clone(), options, until.clone()).await.unwrap();
        Fixture { broker, service, store, until, _dir: dir }
    }

    fn client(&self) -> Client {
        Client::in_process(&self.broker, User::system())
    }

    async fn end(self) {
        self.until.cancel();
        tokio::time::timeout(SOON, self.service.stopped()).await.expect("the service ends");
        self.store.close().await;
    }
}

fn open(client: &Client, base: &str, path: &str) -> Socket {
    let choice = Choice::Ask(format!("{base}.id"));
    let socket = client.socket_connect(base, SocketOptions { choice, ..SocketOptions::default() }).unwrap();
    socket.write(&json!({"storage": {"path": path}}), None).unwrap();
    socket
}

async fn ask(socket: &Socket, headers: Value, payload: &Value) -> Result<Message, crate::bus::Error> {
    socket.request_with(payload, Some(headers), SOON).await
}

#[tokio::test]
async fn persist_001_persist_028_name_and_id_are_parameters() {
    let name = "persist:default:0";
    let options = ServiceOptions { name: name.into(), server_id: "7".into(), ..ServiceOptions::default() };
    let fixture = Fixture::start(options).await;
    let client = fixture.client();
    let id = client.request(&format!("{name}.hub.id"), &(), RequestOptions::timeout(SOON)).await.unwrap();
    assert_eq!(id.decode::<String>().unwrap(), "7");
    assert!(!client.has_interest("persist.hub.id").await.unwrap());
    assert!(client.has_interest(&format!("{name}.hub.server.7.x")).await.unwrap());
    let account = format!("{name}.account-{ACCOUNT}");
    for (base, path) in [(format!("{name}.hub"), "any".to_owned()), (account.clone(), format!("accounts/{ACCOUNT}/x"))]
    {
        let socket = open(&client, &base, &path);
        let stored = ask(&socket, json!({"cmd": "set"}), &json!("x")).await.unwrap().to_json().unwrap();
        assert_eq!(stored["seq"], 1);
        let server_id = ask(&socket, json!({"cmd": "serverId"}), &Value::Null).await.unwrap();
        assert_eq!(server_id.decode::<String>().unwrap(), "7");
    }
    let refused = open(&client, &account, "any");
    let error = ask(&refused, json!({"cmd": "inventory"}), &Value::Null).await.unwrap_err();
    assert!(error.is_code(403) && error.to_string().contains(&format!("subject '{account}.server.7.")), "{error}");
    fixture.end().await;
}

#[tokio::test]
async fn sockets_end_with_the_service_and_hear_of_it() {
    let fixture = Fixture::start(ServiceOptions::default()).await;
    let client = fixture.client();
    let socket = open(&client, "persist.hub", "x");
    ask(&socket, json!({"cmd": "changefeed"}), &Value::Null).await.unwrap();
    assert_eq!(fixture.service.counters().open.get(), 1);
    ask(&socket, json!({"cmd": "set"}), &json!("x")).await.unwrap();
    assert!(matches!(socket.recv().await, Some(Incoming::Data(_))));
    let counters = fixture.service.counters();
    fixture.end().await;
    tokio::time::timeout(SOON, socket.closed()).await.expect("the socket is closed");
    assert_eq!((counters.open.get(), counters.replays.get()), (0, 0));
}

#[tokio::test]
async fn writes_that_were_begun_are_carried_out_when_the_socket_goes() {
    let fixture = Fixture::start(ServiceOptions::default()).await;
    let client = fixture.client();
    let socket = open(&client, "persist.hub", "x");
    ask(&socket, json!({"cmd": "inventory"}), &Value::Null).await.unwrap();
    let writes = (0..500).map(|n| {
        let socket = socket.clone();
        async move { ask(&socket, json!({"cmd": "set"}), &json!(n)).await.map(|_| ()) }
    });
    let writes = tokio::task::unconstrained(futures_util::future::join_all(writes));
    tokio::pin!(writes);
    // All are on their way now, in order; nobody waits for them.
    assert!(futures_util::poll!(&mut writes).is_pending());
    socket.close();
    let stream = fixture.store.stream("x", Default::default()).await.unwrap();
    let all_there = async {
        while stream.inventory().await.unwrap().count < 500 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, all_there).await.expect("all writes are there");
    fixture.end().await;
}

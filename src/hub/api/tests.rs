//! The API and the changefeeds over a broker in process.

use std::time::Duration;

use serde_json::{Value, json};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::*;
use crate::{
    broker::{self, Broker, User, peer::now_ms, policy::Open, sign_in::Anonymous},
    bus::{
        service::CallOptions,
        socket::{Incoming, Reason, Socket, SocketOptions, SocketState},
    },
    config::{DEFAULT_ACCOUNT_ID, DEFAULT_PROJECT_ID, Durability, Limits},
    hub::{database, feeds, query},
};

struct Hub {
    broker: Arc<Broker>,
    database: Database,
    tasks: TaskTracker,
    until: CancellationToken,
    _data: tempfile::TempDir,
}

async fn hub() -> Hub {
    let broker = Broker::new(broker::Options {
        server_id: "0".into(),
        cluster_name: None,
        address: "http://localhost:5000".into(),
        limits: Limits::default(),
        authenticator: Arc::new(Anonymous),
        policy: Arc::new(Open),
    });
    let data = tempfile::tempdir().unwrap();
    let identity = Identity {
        account_id: DEFAULT_ACCOUNT_ID.into(),
        project_id: DEFAULT_PROJECT_ID.into(),
        compute_server_id: 0,
        username: "user".into(),
        server_id: "0".into(),
        cluster_name: None,
    };
    let options =
        database::Options { data: data.path().to_owned(), durability: Durability::Full, identity: identity.clone() };
    let (database, _) = Database::open(&options).unwrap();
    let (tasks, until) = (TaskTracker::new(), CancellationToken::new());
    let client = Client::in_process(&broker, User::system());
    let home = data.path().to_owned();
    start(&client, database.clone(), identity, home, &tasks, until.clone()).await.unwrap();
    feeds::service::start(&client, database.clone(), DEFAULT_PROJECT_ID, &tasks, until.clone()).await.unwrap();
    Hub { broker, database, tasks, until, _data: data }
}

impl Hub {
    fn client(&self) -> Client {
        Client::in_process(&self.broker, User::system())
    }

    async fn call(&self, subject: &str, name: &str, args: Value) -> Result<Value> {
        let args = args.as_array().unwrap().clone();
        let options = CallOptions { timeout: Duration::from_secs(10), wait: false };
        self.client().call_api(subject, name, args.as_slice(), options).await
    }

    async fn end(self) {
        self.until.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.database.close().await;
    }
}

fn account_api() -> String {
    format!("hub.account.{DEFAULT_ACCOUNT_ID}.api")
}

fn project_api() -> String {
    format!("hub.project.{DEFAULT_PROJECT_ID}.api")
}

#[tokio::test]
async fn who_calls_is_told_by_the_subject() {
    let hub = hub().await;
    let query = json!([{"query": {"project_log": {"id": "x", "event": {}}}, "account_id": "forged"}]);
    let row = hub.call(&account_api(), "db.userQuery", query.clone()).await.unwrap();
    assert_eq!(row["project_log"]["account_id"], DEFAULT_ACCOUNT_ID);
    let row = hub.call(&project_api(), "db.userQuery", query.clone()).await.unwrap();
    assert_eq!(row["project_log"]["account_id"], DEFAULT_ACCOUNT_ID, "the project acts for the account");
    let settings = json!([{"query": {"site_settings": [{"name": null, "value": null}]}}]);
    assert!(hub.call(&project_api(), "db.userQuery", settings.clone()).await.is_err(), "there are keys in it");
    assert!(hub.call(&account_api(), "db.userQuery", settings).await.is_ok());
    for stranger in ["hub.account.undefined.api", "hub.project.11111111-1000-4000-8000-000000000009.api", "hub.x.y.api"]
    {
        let error = hub.call(stranger, "db.userQuery", query.clone()).await.unwrap_err();
        assert!(error.is_code(403), "{stranger}: {error}");
    }
    let error = hub.call(&project_api(), "projects.getDiskQuota", json!([{}])).await.unwrap_err();
    assert_eq!(error.to_string(), "user must be signed in");
    let error = hub.call(&account_api(), "projects.getSshKeys", json!([{}])).await.unwrap_err();
    assert_eq!(error.to_string(), "must be a project");
    hub.end().await;
}

#[tokio::test]
async fn functions_answer() {
    let hub = hub().await;
    let quota = hub.call(&account_api(), "projects.getDiskQuota", json!([{}])).await.unwrap();
    assert!(quota["used"].as_u64().unwrap() <= quota["size"].as_u64().unwrap(), "{quota}");
    let now = hub.call("hub.x.y.api", "system.ping", json!([])).await.unwrap()["now"].as_u64().unwrap();
    assert!(now.abs_diff(now_ms()) < 60_000);
    for (name, args, expected) in [
        ("system.logClientError", json!([{"event": "e", "error": "x"}]), json!(null)),
        ("system.webappError", json!([null]), json!(null)),
        ("system.userTracking", json!([{"event": "e", "value": {}}]), json!(null)),
        ("system.userSearch", json!([{"query": "x"}]), json!([])),
        ("system.manageApiKeys", json!([{"action": "get"}]), json!([])),
        ("system.getCustomize", json!([["version", "kucalc"]]), json!({"version": {"min_project": 0}})),
        ("system.getCustomize", json!([["kucalc"]]), json!({})),
        ("projects.start", json!([{"project_id": "x"}]), json!(null)),
        ("projects.stop", json!([{"project_id": "x"}]), json!(null)),
        ("projects.updateAuthorizedKeysOnHost", json!([{"project_id": "x"}]), json!(null)),
        ("projects.getBackups", json!([{"project_id": "x"}]), json!([])),
        ("purchases.getBalance", json!([]), json!(0)),
        ("purchases.getMinBalance", json!([]), json!(0)),
    ] {
        assert_eq!(hub.call(&account_api(), name, args).await.unwrap(), expected, "{name}");
    }
    for (name, args) in [("system.manageApiKeys", json!([{"action": "create"}])), ("hosts.listHosts", json!([]))] {
        let error = hub.call(&account_api(), name, args).await.unwrap_err();
        assert_eq!(error.to_string(), format!("not implemented function '{name}'"));
        assert!(error.is_code(404));
    }
    hub.end().await;
}

#[tokio::test]
async fn tabs_are_listed_while_they_are_open() {
    let hub = hub().await;
    let report =
        json!([{"browser_id": "b", "url": "u", "open_projects": [{"project_id": "P", "open_files": ["f", 1]}, 7]}]);
    let told = hub.call(&account_api(), "system.upsertBrowserSession", report).await.unwrap();
    assert_eq!(told["browser_id"], "b");
    let list = hub.call(&account_api(), "system.listBrowserSessions", json!([{}])).await.unwrap();
    let expected = json!([{
        "browser_id": "b", "url": "u", "stale": false, "created_at": told["created_at"], "updated_at": told["updated_at"],
        "open_projects": [{"project_id": "P", "open_files": ["f"]}],
    }]);
    assert_eq!(list, expected);
    for removed in [true, false] {
        let answer =
            hub.call(&account_api(), "system.removeBrowserSession", json!([{"browser_id": "b"}])).await.unwrap();
        assert_eq!(answer, json!({ "removed": removed }));
    }
    assert!(hub.call(&account_api(), "system.upsertBrowserSession", json!([{}])).await.is_err());
    hub.end().await;
}

fn feed(client: &Client, subject: &str, query: &Value) -> Socket {
    let options = SocketOptions {
        keep_alive: Duration::from_secs(90),
        keep_alive_timeout: Duration::from_secs(15),
        reconnect: false,
        ..SocketOptions::default()
    };
    let socket = client.socket_connect(subject, options).unwrap();
    socket.write(query, None).unwrap();
    socket
}

async fn next(socket: &Socket) -> Option<Value> {
    match socket.recv().await? {
        Incoming::Data(message) => Some(message.decode().unwrap()),
        Incoming::Request(_) => panic!("feeds ask nothing"),
    }
}

#[tokio::test]
async fn a_client_of_ours_follows_a_feed() {
    let hub = hub().await;
    let client = hub.client();
    let query = json!({"query": {"accounts": [{"first_name": null}]}, "options": []});
    let socket = feed(&client, &format!("changefeeds.account-{DEFAULT_ACCOUNT_ID}"), &query);
    let row = |name: &str| json!({"account_id": DEFAULT_ACCOUNT_ID, "first_name": name});
    assert_eq!(next(&socket).await.unwrap(), json!({"update": {"accounts": [row("")]}}));
    let set = json!([{"query": {"accounts": {"first_name": "Grace"}}}]);
    hub.call(&account_api(), "db.userQuery", set).await.unwrap();
    assert_eq!(next(&socket).await.unwrap(), json!({"update": {"action": "update", "new_val": row("Grace")}}));
    hub.end().await;
    assert_eq!(next(&socket).await, None);
    assert_eq!(socket.reason(), Some(Reason::Peer));
}

#[tokio::test]
async fn a_reader_that_does_not_read_is_cut_off_and_others_are_not() {
    let hub = hub().await;
    let subject = format!("changefeeds.account-{DEFAULT_ACCOUNT_ID}");
    let query = json!({"query": {"file_use": [{"path": null}]}});
    let (idle_client, busy_client) = (hub.client(), hub.client());
    let (idle, busy) = (feed(&idle_client, &subject, &query), feed(&busy_client, &subject, &query));
    for socket in [&idle, &busy] {
        assert_eq!(next(socket).await.unwrap(), json!({"update": {"file_use": []}}));
    }
    let actor = api_actor();
    for round in 0..24 {
        let set = |n: usize| json!({"file_use": {"id": (round * 50 + n).to_string(), "path": "x"}});
        let sets = (0..50).map(|n| query::Request::read(set(n), None, &actor).unwrap());
        let sets = sets.map(|request| hub.database.query(request, actor.clone()));
        futures_util::future::try_join_all(sets).await.unwrap();
        for _ in 0..50 {
            assert_eq!(next(&busy).await.unwrap()["update"]["action"], "insert");
        }
    }
    idle.closed().await;
    assert_ne!(busy.state(), SocketState::Closed);
    hub.end().await;
}

fn api_actor() -> Actor {
    Actor { account_id: DEFAULT_ACCOUNT_ID.into(), project_id: DEFAULT_PROJECT_ID.into(), is_project: false }
}

#[tokio::test(start_paused = true)]
async fn hub_109_a_client_that_vanishes_is_dropped() {
    let hub = hub().await;
    let client = hub.client();
    let query = json!({"query": {"accounts": [{"first_name": null}]}});
    let subject = format!("changefeeds.account-{DEFAULT_ACCOUNT_ID}");
    let mut sockets = Vec::new();
    for _ in 0..1000 {
        let socket = feed(&client, &subject, &query);
        assert!(next(&socket).await.unwrap()["update"].is_object());
        sockets.push(socket);
    }
    let late = hub.client();
    assert_eq!(next(&feed(&late, &subject, &query)).await.unwrap()["code"], 429);
    client.close();
    let gone = tokio::time::Instant::now();
    loop {
        if next(&feed(&late, &subject, &query)).await.unwrap().get("update").is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert!(gone.elapsed() < Duration::from_secs(75), "clients that vanished still have their places");
    }
    hub.end().await;
}

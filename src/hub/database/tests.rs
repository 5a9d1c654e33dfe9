//! The database over a real file, without the bus.

use std::{os::unix::fs::PermissionsExt as _, path::Path};

use rusqlite::Connection;
use serde_json::{Value, json};

use super::*;
use crate::{
    config::{DEFAULT_ACCOUNT_ID, DEFAULT_PROJECT_ID},
    wire::msgpack,
};

fn options(data: &Path) -> Options {
    Options {
        data: data.to_owned(),
        durability: Durability::Full,
        identity: Identity {
            account_id: DEFAULT_ACCOUNT_ID.into(),
            project_id: DEFAULT_PROJECT_ID.into(),
            compute_server_id: 0,
            username: "user".into(),
            server_id: "0".into(),
            cluster_name: None,
        },
    }
}

fn actor() -> Actor {
    Actor { account_id: DEFAULT_ACCOUNT_ID.into(), project_id: DEFAULT_PROJECT_ID.into(), is_project: false }
}

async fn ask(database: &Database, query: Value, options: Value) -> Result<Value, query::Error> {
    database.query(Request::read(query, Some(options), &actor())?, actor()).await
}

async fn feed(database: &Database, query: Value) -> Feed {
    database.feed(Request::read_feed(query, None, &actor()).unwrap()).await.unwrap()
}

fn decoded(message: &[u8]) -> Value {
    msgpack::decode(message).unwrap()
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// A file as the reference leaves it (§8.8): no schema version, a table of the agent's beside ours, and mentions filed under a
/// key whose time is `{}`.
fn reference(data: &Path) -> Connection {
    let connection = Connection::open(data.join("hub.db")).unwrap();
    connection
        .execute_batch(
            r#"PRAGMA journal_mode = WAL;
            CREATE TABLE data (table_name TEXT NOT NULL, pk TEXT NOT NULL, row TEXT NOT NULL, updated_at INTEGER NOT NULL,
                PRIMARY KEY (table_name, pk));
            CREATE INDEX data_by_time ON data (table_name, updated_at);
            CREATE TABLE acp_queue (project_id TEXT NOT NULL, path TEXT NOT NULL, message_date TEXT NOT NULL,
                seq INTEGER NOT NULL, payload TEXT NOT NULL, created_at INTEGER NOT NULL,
                PRIMARY KEY (project_id, path, message_date, seq));
            INSERT INTO acp_queue VALUES ('p', 'a.chat', 't', 1, '{}', 5);
            INSERT INTO data VALUES ('accounts', '{"account_id":"00000000-1000-4000-8000-000000000001"}',
                '{"account_id":"00000000-1000-4000-8000-000000000001","email_address":"user@cocalc.com","first_name":"Ada",'
                || '"other_settings":{"a":1}}', 1765735401117);
            INSERT INTO data VALUES ('mentions',
                '{"time":{},"project_id":"00000000-1000-4000-8000-000000000000","path":"talk.chat","target":"T"}',
                '{"time":"2025-12-14T18:04:00.000Z","project_id":"00000000-1000-4000-8000-000000000000",'
                || '"path":"talk.chat","target":"T","description":"old"}', 1765735401117);
            INSERT INTO data VALUES ('server_settings', '{"name":"openai_enabled"}',
                '{"name":"openai_enabled","value":"yes"}', 1765735401117);
            INSERT INTO data VALUES ('file_use', '{"id":"broken"}', 'no json', 1);"#,
        )
        .unwrap();
    connection
}

#[tokio::test]
async fn hub_008_a_file_of_the_reference_is_read_and_kept() {
    let data = tempfile::tempdir().unwrap();
    drop(reference(data.path()));
    std::fs::set_permissions(data.path().join("hub.db"), std::fs::Permissions::from_mode(0o644)).unwrap();
    let (database, recovery) = Database::open(&options(data.path())).unwrap();
    assert_eq!(recovery, None);
    assert!(database.settings().get().is_on("openai_enabled"));
    let query = json!({"accounts": {"account_id": null, "first_name": null, "email_address": null}});
    let account = ask(&database, query, json!([])).await.unwrap();
    assert_eq!(account["accounts"]["first_name"], "Ada");
    let query = json!({"accounts": {"other_settings": {"b": 2}}});
    let row = ask(&database, query, json!([])).await.unwrap();
    assert_eq!(row["accounts"]["other_settings"], json!({"a": 1, "b": 2}));
    assert_eq!(
        (&row["accounts"]["first_name"], &row["accounts"]["email_address"]),
        (&json!("Ada"), &json!("user@cocalc.com"))
    );
    assert_eq!(ask(&database, json!({"file_use": [{"id": null}]}), json!([])).await.unwrap(), json!({"file_use": []}));
    database.close().await;
    let connection = Connection::open(data.path().join("hub.db")).unwrap();
    let row: String = connection
        .query_row("SELECT row FROM data WHERE pk = ?", [format!(r#"{{"account_id":"{DEFAULT_ACCOUNT_ID}"}}"#)], |r| {
            r.get(0)
        })
        .unwrap();
    assert_eq!(serde_json::from_str::<Value>(&row).unwrap()["other_settings"], json!({"a": 1, "b": 2}));
    let count = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(count("SELECT count(*) FROM acp_queue"), 1);
    assert_eq!(count("SELECT count(*) FROM data WHERE table_name = 'projects'"), 1);
    assert_eq!(mode(&data.path().join("hub.db")), 0o600);
}

#[tokio::test]
async fn hub_094_mentions_that_differ_in_time_are_two_rows_also_in_old_files() {
    let data = tempfile::tempdir().unwrap();
    drop(reference(data.path()));
    let (database, _) = Database::open(&options(data.path())).unwrap();
    let mention = |time: &str, text: &str| json!({"mentions": {"time": time, "project_id": DEFAULT_PROJECT_ID, "path": "talk.chat", "target": "T", "description": text}});
    let list = json!({"mentions": [{"time": null, "description": null}]});
    ask(&database, mention("2025-12-14T18:05:00.000Z", "new"), json!([])).await.unwrap();
    let texts = |result: Value| -> Vec<String> {
        let rows = result["mentions"].as_array().unwrap().clone();
        rows.iter().map(|row| row["description"].as_str().unwrap().to_owned()).collect()
    };
    let mut all = texts(ask(&database, list.clone(), json!([])).await.unwrap());
    all.sort();
    assert_eq!(all, ["new", "old"]);
    // The old row is found under its old key, and gets a new one when it is written.
    ask(&database, mention("2025-12-14T18:04:00.000Z", "older"), json!([])).await.unwrap();
    let all = texts(ask(&database, list, json!([])).await.unwrap());
    assert_eq!(all, ["older", "new"]);
    let gone = ask(&database, mention("2025-12-14T18:04:00.000Z", "x"), json!([{"delete": true}])).await.unwrap();
    assert_eq!(gone["mentions"]["description"], "older");
    database.close().await;
}

#[tokio::test]
async fn a_new_file_is_private_and_has_its_two_rows() {
    let data = tempfile::tempdir().unwrap();
    let inside = data.path().join("new");
    let (database, _) = Database::open(&options(&inside)).unwrap();
    let both = json!([{"accounts": {"email_address": null}}, {"projects": [{"title": null, "state": null}]}]);
    let rows = ask(&database, both, json!([])).await.unwrap();
    assert_eq!(rows[0]["accounts"], json!({"account_id": DEFAULT_ACCOUNT_ID, "email_address": "user@cocalc.com"}));
    let project = json!({"project_id": DEFAULT_PROJECT_ID, "title": "CoCalc Lite", "state": {"state": "running"}});
    assert_eq!(rows[1]["projects"], json!([project]));
    assert_eq!(mode(&inside), 0o700);
    for file in ["hub.db", "hub.db-wal", "hub.db-shm"] {
        assert_eq!(mode(&inside.join(file)), 0o600, "{file}");
    }
    database.close().await;
    assert_eq!(ask(&database, json!({"news": [{"id": null}]}), json!([])).await, Err(query::Error::Closed));
}

#[tokio::test]
async fn feeds_have_no_gap_and_no_overlap() {
    let data = tempfile::tempdir().unwrap();
    let (database, _) = Database::open(&options(data.path())).unwrap();
    let writer = {
        let database = database.clone();
        tokio::spawn(async move {
            for n in 0..300 {
                let query = json!({"file_use": {"id": n.to_string(), "path": "x"}});
                ask(&database, query, json!([])).await.unwrap();
            }
        })
    };
    let mut feeds = Vec::new();
    while !writer.is_finished() {
        feeds.push(feed(&database, json!({"file_use": [{"id": null}]})).await);
        tokio::task::yield_now().await;
    }
    writer.await.unwrap();
    assert!(feeds.len() > 1);
    for feed in &mut feeds {
        let first = decoded(&feed.first)["update"]["file_use"].as_array().unwrap().len();
        for n in first..300 {
            let change = decoded(&feed.next().await.unwrap());
            assert_eq!(change["update"], json!({"action": "insert", "new_val": {"id": n.to_string()}}));
        }
    }
    database.close().await;
    assert!(feeds[0].next().await.is_none(), "a closed database ends its feeds");
}

#[tokio::test]
async fn a_change_that_cannot_be_committed_is_told_to_nobody() {
    let data = tempfile::tempdir().unwrap();
    let (database, _) = Database::open(&options(data.path())).unwrap();
    let mut feed = feed(&database, json!({"site_settings": [{"name": null, "value": null}]})).await;
    let other = Connection::open(data.path().join("hub.db")).unwrap();
    other.execute_batch("CREATE TRIGGER no BEFORE INSERT ON data WHEN NEW.row LIKE '%poison%' BEGIN SELECT RAISE(ABORT, 'no'); END;").unwrap();
    let set = |value: &str| json!({"site_settings": {"name": "site_name", "value": value}});
    let sets: Vec<_> = ["a", "poison", "b"].iter().map(|value| ask(&database, set(value), json!([]))).collect();
    let results = futures_util::future::join_all(sets).await;
    let failed: Vec<_> = results.iter().map(Result::is_err).collect();
    assert_eq!(failed, [false, true, false]);
    assert_eq!(database.settings().get().text("site_name").unwrap(), "b");
    for value in ["a", "b"] {
        assert_eq!(decoded(&feed.next().await.unwrap())["update"]["new_val"]["value"], value);
    }
    database.close().await;
    assert!(feed.next().await.is_none());
}

#[tokio::test]
async fn limits_and_orders_are_applied() {
    let data = tempfile::tempdir().unwrap();
    let (database, _) = Database::open(&options(data.path())).unwrap();
    for (id, time) in [("a", 2), ("b", 3), ("c", 1)] {
        ask(&database, json!({"project_log": {"id": id, "time": time}}), json!([])).await.unwrap();
    }
    let list = json!({"project_log": [{"id": null}]});
    let ids = |result: Value| -> Vec<String> {
        let rows = result["project_log"].as_array().unwrap().clone();
        rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
    };
    for (options, expected) in [
        (json!([{"order_by": "-time"}, {"limit": 2}]), vec!["b", "a"]),
        (json!([{"order_by": "time", "limit": 1}]), vec!["c"]),
        (json!([{"limit": 0}]), vec![]),
        (json!([{"limit": 2}]), vec!["a", "b"]),
    ] {
        assert_eq!(ids(ask(&database, list.clone(), options.clone()).await.unwrap()), expected, "{options}");
    }
    database.close().await;
}

#[tokio::test]
async fn what_is_too_large_is_refused() {
    let data = tempfile::tempdir().unwrap();
    let (database, _) = Database::open(&options(data.path())).unwrap();
    let entry = |id: &str, bytes: usize| json!({"project_log": {"id": id, "event": {"text": "x".repeat(bytes)}}});
    let error = ask(&database, entry("a", 3 << 20), json!([])).await.unwrap_err();
    assert_eq!(error, query::Error::RowTooLarge("project_log"));
    for n in 0..14 {
        ask(&database, entry(&n.to_string(), (2 << 20) - 1000), json!([])).await.unwrap();
    }
    let list = json!({"project_log": [{"id": null, "event": null}]});
    let error = ask(&database, list.clone(), json!([])).await.unwrap_err();
    assert_eq!(error, query::Error::ResultTooLarge("project_log"));
    assert!(ask(&database, list, json!([{"limit": 3}])).await.is_ok());
    database.close().await;
}

#[tokio::test]
async fn the_account_and_the_project_stay() {
    let data = tempfile::tempdir().unwrap();
    let (database, _) = Database::open(&options(data.path())).unwrap();
    for query in [
        json!({"accounts": {"account_id": DEFAULT_ACCOUNT_ID}}),
        json!({"projects_all": {}}),
        json!({"news": {"id": 1}}),
    ] {
        let error = ask(&database, query, json!([{"set": true}, {"delete": true}])).await.unwrap_err();
        assert!(matches!(error, query::Error::NotDeletable(_)), "{error}");
    }
    database.close().await;
}

use std::fs;

use rusqlite::{Connection, params};
use serde_json::json;

use super::*;
use crate::persist::store::{Adopted, Checkpoint, Checkpoints, Header, Stored};

/// A file as the older revision leaves it (§9.2): times in seconds, a compressed row, a counter beyond the rows, a write-ahead
/// log that is not yet checkpointed.
fn reference_file(path: &std::path::Path) -> Connection {
    let connection = Connection::open(path).unwrap();
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL;
             CREATE TABLE messages (seq INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT UNIQUE, time INTEGER NOT NULL,
                 headers TEXT, compress NUMBER, encoding NUMBER, raw BLOB, size NUMBER, ttl NUMBER);
             CREATE TABLE config (field TEXT PRIMARY KEY, value TEXT NOT NULL);
             INSERT INTO config VALUES ('max_msgs', '7'), ('discard_policy', 'new'), ('allow_msg_ttl', 'true'),
                 ('desc', '{\"a\":1}');",
        )
        .unwrap();
    let insert = "INSERT INTO messages (seq, key, time, headers, compress, encoding, raw, size, ttl)
                  VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
    let packed = hex::decode("28b52ffd60d0064d00001078780100cbff000b").unwrap();
    for (seq, key, time, headers, compress, raw, ttl) in [
        (2, None, 1_795_345_740.686, Some(r#"{ "b" : 1, "a": [2] }"#), 0, vec![0xa2, 0x68, 0x69], None),
        (3, Some("k"), 1_795_345_741.0, Some("null"), 1, packed, Some(1500)),
        (5, Some(""), 1_795_345_742.25, None, 0, vec![0xc0], None),
    ] {
        connection.execute(insert, params![seq, key, time, headers, compress, 0, raw, 1, ttl]).unwrap();
    }
    connection.execute("UPDATE sqlite_sequence SET seq = 9 WHERE name = 'messages'", []).unwrap();
    connection
}

fn rows(file: &ReferenceFile) -> Vec<Adopted> {
    let mut rows = Vec::new();
    file.rows(|row| {
        rows.push(row.unwrap());
        true
    })
    .unwrap();
    rows
}

#[test]
fn persist_092_a_database_of_the_reference_is_read_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let writer = reference_file(&path);
    let before: Vec<_> = ["a.db", "a.db-wal"].map(|name| fs::read(folder.path().join(name)).unwrap()).into();
    let file = ReferenceFile::open(&path, folder.path()).unwrap();
    assert_eq!(file.count().unwrap(), 3);
    let header = file.header().unwrap();
    assert_eq!(header.last_seq, 9, "the counter, not the last row");
    let config = json!({"max_msgs": 7, "discard_policy": "new", "allow_msg_ttl": true, "desc": {"a": 1}});
    assert_eq!(json!(header.config), config);
    assert_eq!(header.metadata, None);
    assert!(header.checkpoints.is_empty());
    let rows = rows(&file);
    assert_eq!(rows[0].stored.time, 1_795_345_740_686);
    assert_eq!(rows[0].stored.headers.as_deref(), Some(r#"{"a":[2],"b":1}"#));
    assert_eq!(rows[0].stored.key, None);
    assert_eq!(rows[1].stored.raw, vec![b'x'; 2000]);
    assert_eq!((rows[1].ttl, rows[1].stored.headers.as_deref()), (Some(1500), None));
    assert_eq!((rows[2].stored.key.as_deref(), rows[2].stored.time), (Some(""), 1_795_345_742_250));
    drop(file);
    let after: Vec<_> = ["a.db", "a.db-wal"].map(|name| fs::read(folder.path().join(name)).unwrap()).into();
    assert_eq!(before, after, "the source is untouched");
    drop(writer);
}

#[test]
fn a_closed_database_is_read_without_a_copy() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("with % and ? in its name.db");
    drop(reference_file(&path));
    let file = ReferenceFile::open(&path, std::path::Path::new("/nowhere")).unwrap();
    assert_eq!(rows(&file).len(), 3);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing was put beside it");
}

#[test]
fn what_was_written_is_what_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/er/b.db");
    let header = Header {
        last_seq: 40,
        config: json!({"max_age": 5, "desc": "text", "discard_policy": "old"}).as_object().unwrap().clone(),
        metadata: Some(json!({"users": ["x"]})),
        checkpoints: Checkpoints::from([("c".into(), Checkpoint { seq: 3, time: 1_000, data: Some(json!(1)) })]),
    };
    let stored = |seq, key: Option<&str>, raw: Vec<u8>| Stored {
        seq,
        time: 1_795_345_740_687,
        key: key.map(Into::into),
        encoding: 1,
        raw: raw.into(),
        headers: Some(r#"{"h":"é"}"#.into()),
    };
    let written = [
        Adopted { stored: stored(3, Some("k"), vec![7; 5000]), ttl: None },
        Adopted { stored: stored(8, None, vec![1]), ttl: Some(9) },
    ];
    // What an earlier, aborted attempt left.
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(folder.path().join("deep/er/b.db.new"), "half").unwrap();
    let writer = Writer::begin(&path, &header).unwrap();
    written.iter().for_each(|row| writer.add(row).unwrap());
    writer.finish().unwrap();
    let file = ReferenceFile::open(&path, folder.path()).unwrap();
    assert_eq!(rows(&file), written);
    assert_eq!(file.header().unwrap(), header);
    let size: i64 = Connection::open(&path)
        .unwrap()
        .query_row("SELECT size FROM messages WHERE seq = 3", [], |row| row.get(0))
        .unwrap();
    assert_eq!(size, 5000 + 1 + 9, "UTF-16 units");
    assert!(fs::metadata(&path).unwrap().len() < 60_000);
}

#[test]
fn damaged_rows_and_files_are_told_apart_from_good_ones() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let connection = reference_file(&path);
    connection.execute("UPDATE messages SET raw = x'00010203' WHERE seq = 3", []).unwrap();
    drop(connection);
    let file = ReferenceFile::open(&path, folder.path()).unwrap();
    let mut seen = Vec::new();
    file.rows(|row| {
        seen.push(row.map(|row| row.stored.seq).map_err(|error| error.to_string()));
        true
    })
    .unwrap();
    assert_eq!((&seen[0], &seen[2]), (&Ok(2), &Ok(5)));
    assert!(seen[1].as_ref().unwrap_err().contains("message 3: its payload can't be unpacked"), "{seen:?}");

    fs::write(folder.path().join("b.db"), "no database, but long enough to have a header of its own").unwrap();
    assert!(matches!(ReferenceFile::open(&folder.path().join("b.db"), folder.path()), Err(Error::Sqlite { .. })));
    drop(Connection::open(folder.path().join("c.db")).map(|c| c.execute_batch("CREATE TABLE x(y)")));
    assert!(matches!(ReferenceFile::open(&folder.path().join("c.db"), folder.path()), Err(Error::NotAStream(_))));
}

#[test]
fn the_walk_finds_streams_and_tells_what_it_cannot_take() {
    use std::os::unix::ffi::OsStrExt as _;
    let folder = tempfile::tempdir().unwrap();
    let make = |name: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    };
    for name in
        ["projects/p/patches:1.db", "projects/p/patches:1.db-wal", "hub/blobs.db", "hub/readme.txt", "hub/.db.db"]
    {
        make(name);
    }
    std::os::unix::fs::symlink("/", folder.path().join("root.db")).unwrap();
    fs::write(folder.path().join(std::ffi::OsStr::from_bytes(b"\xff.db")), "").unwrap();
    let mut problems = Vec::new();
    let found = walk(folder.path(), |_, problem| problems.push(problem.to_owned()));
    let paths: Vec<_> = found.iter().map(|found| found.storage_path.as_str()).collect();
    assert_eq!(paths, ["hub/.db", "hub/blobs", "projects/p/patches:1"]);
    assert_eq!(problems, ["its name is not UTF-8"]);
}

mod adopting {
    use std::time::Duration;

    use super::*;
    use crate::{
        config::Durability,
        persist::store::{OpenOptions, Range, Selector, Set, Store, StoreOptions, Stream},
    };

    fn store(folder: &std::path::Path) -> Store {
        let path = folder.join("streams.db");
        Store::open(StoreOptions {
            path,
            durability: Durability::Normal,
            release_grace: Duration::ZERO,
            observer: None,
        })
        .unwrap()
    }

    async fn open(store: &Store, path: &str) -> Stream {
        store.stream(path, OpenOptions::default()).await.unwrap()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_file_becomes_a_stream_that_goes_on_where_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.db");
        drop(reference_file(&file));
        let store = store(folder.path());
        let stream = open(&store, "hub/a").await;
        let outcome = adopt(&stream, file.clone(), folder.path()).await.unwrap();
        assert_eq!(outcome, Outcome::Taken { messages: 3, bytes: 2004, refused: vec![] });
        let pages = stream.range(Range::default()).await.unwrap().next(usize::MAX).await.unwrap();
        let read = rows(&ReferenceFile::open(&file, folder.path()).unwrap());
        assert_eq!(pages, read.into_iter().map(|row| row.stored).collect::<Vec<_>>());
        let keyed = stream.get(Selector::Key("".into())).await.unwrap().unwrap();
        assert_eq!(keyed.seq, 5);
        let limits = stream.configure(json!({"discard_policy": "old"}).as_object().unwrap().clone());
        assert_eq!(limits.await.unwrap().await.unwrap()["max_msgs"], 7);
        let next = stream.set(Set { raw: vec![0xc0].into(), ..Set::default() }).await.unwrap().await.unwrap();
        assert_eq!(next.seq, 10, "numbers are never used again");
        let again = adopt(&stream, file, folder.path()).await.unwrap();
        assert_eq!(again, Outcome::Present);
        store.close().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_adoption_that_was_cut_off_is_continued() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.db");
        drop(reference_file(&file));
        let store = store(folder.path());
        let stream = open(&store, "hub/a").await;
        let first = rows(&ReferenceFile::open(&file, folder.path()).unwrap()).remove(0);
        assert_eq!(stream.adopt(vec![first.clone()]).await.unwrap().await.unwrap(), 1);
        assert_eq!(stream.changed().await.unwrap(), Some(0));
        let outcome = adopt(&stream, file, folder.path()).await.unwrap();
        assert_eq!(outcome, Outcome::Taken { messages: 2, bytes: 2004, refused: vec![] });
        assert!(stream.changed().await.unwrap().unwrap() > 0);
        assert_eq!(stream.inventory().await.unwrap().count, 3);
        let error = stream.adopt(vec![first]).await.unwrap().await.unwrap_err();
        assert_eq!(error.to_string(), "the stream is here already");
        store.close().await;
    }
}

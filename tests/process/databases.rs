//! Backup, restore, check, compact and import, with the real program.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
};

use outpost::{
    config::Durability,
    hub::blobs::Identifier,
    persist::store::{OpenOptions, Range, Selector, Set, Store, StoreOptions},
};
use rusqlite::Connection;

use crate::harness::{Home, text};

fn store(data: &Path) -> Store {
    let options = StoreOptions {
        path: data.join("streams.db"),
        durability: Durability::Normal,
        release_grace: std::time::Duration::ZERO,
        observer: None,
    };
    Store::open(options).unwrap()
}

/// What streams hold, as path → payloads.
type Streams = BTreeMap<String, Vec<Vec<u8>>>;

/// Stores messages, with the key that is given to each.
fn fill(data: &Path, messages: &[(&str, Option<&str>, &[u8])]) {
    fs::create_dir_all(data).unwrap();
    runtime().block_on(async {
        let store = store(data);
        for (path, key, raw) in messages {
            let stream = store.stream(path, OpenOptions::default()).await.unwrap();
            let set = Set { raw: raw.to_vec().into(), key: key.map(Into::into), ..Set::default() };
            stream.set(set).await.unwrap().await.unwrap();
        }
        store.close().await;
    });
}

fn contents(data: &Path, paths: &[&str]) -> Streams {
    runtime().block_on(async {
        let store = store(data);
        let mut streams = Streams::new();
        for path in paths {
            let stream = store.stream(path, OpenOptions::default()).await.unwrap();
            let messages = stream.range(Range::default()).await.unwrap().next(usize::MAX).await.unwrap();
            streams.insert((*path).to_owned(), messages.iter().map(|message| message.raw.to_vec()).collect());
        }
        store.close().await;
        streams
    })
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

/// Every file below a folder with its content.
fn tree(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            match entry.file_type().unwrap().is_dir() {
                true => folders.push(entry.path()),
                false => drop(files.insert(entry.path(), fs::read(entry.path()).unwrap())),
            }
        }
    }
    files
}

#[test]
fn a_backup_of_a_running_server_is_restored_after_a_look() {
    let home = Home::new();
    fill(&home.data(), &[("hub/a", None, b"one"), ("projects/p/x", Some("k"), b"two")]);
    let mut server = home.serve(&[]);
    let file = home.path().join("lab.backup");
    let name = file.to_str().unwrap();
    let made = home.run(&[], &["backup", name]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    let report = text(&made.stdout);
    assert!(report.contains("hub.db") && report.contains("streams.db") && report.contains(name), "{report}");
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&file).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let again = home.run(&[], &["backup", name]);
    assert!(text(&again.stderr).contains("there is a file already"), "{}", text(&again.stderr));

    let refused = home.run(&[], &["restore", name]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains(&format!("in use by process {}", server.child.id())));
    assert_eq!(server.stop(), Some(0));

    fill(&home.data(), &[("hub/a", None, b"later")]);
    let restored = home.run(&[], &["restore", name]);
    assert!(restored.status.success(), "{}", text(&restored.stderr));
    let report = text(&restored.stdout);
    let kept = report.lines().find_map(|line| line.strip_prefix("what was there before is now ")).unwrap();
    assert!(Path::new(kept).is_file(), "{report}");
    let expected =
        Streams::from([("hub/a".into(), vec![b"one".to_vec()]), ("projects/p/x".into(), vec![b"two".to_vec()])]);
    assert_eq!(contents(&home.data(), &["hub/a", "projects/p/x"]), expected);
    let mut server = home.serve(&[]);
    assert_eq!(server.stop(), Some(0));
    let names: Vec<_> = fs::read_dir(home.data()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!names.iter().any(|name| name.to_string_lossy().starts_with(".restore")), "{names:?}");
}

#[test]
fn what_is_no_good_backup_is_refused_and_changes_nothing() {
    let home = Home::new();
    fill(&home.data(), &[("hub/a", None, &[7; 5000])]);
    let file = home.path().join("lab.backup");
    let name = file.to_str().unwrap();
    assert!(home.run(&[], &["backup", name]).status.success());
    let before = tree(&home.data());
    let good = fs::read(&file).unwrap();
    let attempt = |content: &[u8]| {
        fs::write(&file, content).unwrap();
        let output = home.run(&[], &["restore", name]);
        assert_eq!(output.status.code(), Some(1), "{}", text(&output.stdout));
        let mut after = tree(&home.data());
        // The lock's file stays, with the number of whoever came last.
        after.retain(|path, _| !path.ends_with("lock"));
        assert_eq!(after, before);
        text(&output.stderr)
    };
    assert!(attempt(b"no backup at all").contains("not a backup"));
    let mut flipped = good.clone();
    // In the middle of what is packed, before the directory at the end.
    let middle = flipped.len() * 3 / 4;
    for byte in &mut flipped[middle..middle + 16] {
        *byte ^= 0xff;
    }
    let message = attempt(&flipped);
    assert!(message.contains("damaged") || message.contains("not a backup"), "{message}");
    assert!(attempt(&good[..good.len() / 2]).contains("not a backup"));
    let elsewhere = home.run(&[], &["restore", "/nowhere/lab.backup"]);
    assert!(text(&elsewhere.stderr).contains("/nowhere/lab.backup"), "{}", text(&elsewhere.stderr));
}

#[test]
fn a_check_finds_damaged_blobs_and_databases() {
    let home = Home::new();
    let nothing = home.run(&[], &["db", "check"]);
    assert!(text(&nothing.stderr).contains("no database is there"), "{}", text(&nothing.stderr));
    let blob = |content: &[u8]| [&[0xc4, u8::try_from(content.len()).unwrap()], content].concat();
    let (good, bad) = (Identifier::of(b"good").to_string(), Identifier::of(b"bad").to_string());
    fill(&home.data(), &[("hub/blobs", Some(&good), &blob(b"good"))]);
    let server = home.serve(&[]);
    let checked = home.run(&[], &["db", "check"]);
    assert!(checked.status.success(), "{}{}", text(&checked.stdout), text(&checked.stderr));
    assert!(text(&checked.stdout).contains("1 good, 0 damaged"), "{}", text(&checked.stdout));
    drop(server);

    fill(&home.data(), &[("hub/blobs", Some(&bad), &blob(b"something else"))]);
    let checked = home.run(&[], &["db", "check"]);
    assert_eq!(checked.status.code(), Some(1));
    let report = text(&checked.stdout);
    assert!(report.contains("1 good, 1 damaged") && report.contains(&bad) && !report.contains(&good), "{report}");

    let path = home.data().join("streams.db");
    let mut content = fs::read(&path).unwrap();
    let page = content.len() / 2 / 4096 * 4096;
    content[page..page + 4096].fill(0xab);
    fs::write(&path, content).unwrap();
    let checked = home.run(&[], &["db", "check"]);
    assert_eq!(checked.status.code(), Some(1));
    assert!(text(&checked.stdout).contains("DAMAGED"), "{}", text(&checked.stdout));
}

#[test]
fn compacting_gives_space_back_but_not_below_a_server() {
    let home = Home::new();
    let mut random = fastrand::Rng::with_seed(1);
    let noise: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(900_000).collect();
    fill(&home.data(), &[("hub/a", Some("k"), &noise), ("hub/a", Some("k"), b"small")]);
    let server = home.serve(&[]);
    let refused = home.run(&[], &["db", "compact"]);
    assert!(text(&refused.stderr).contains("in use by process"), "{}", text(&refused.stderr));
    drop(server);
    let before = fs::metadata(home.data().join("streams.db")).unwrap().len();
    let compacted = home.run(&[], &["db", "compact"]);
    assert!(compacted.status.success(), "{}", text(&compacted.stderr));
    let after = fs::metadata(home.data().join("streams.db")).unwrap().len();
    assert!(after < before / 2, "{before} → {after}");
    assert_eq!(contents(&home.data(), &["hub/a"])["hub/a"], [b"small".to_vec()]);
}

/// A data directory as the reference leaves it (conat-persist.md §9.2, hub.md §8.8).
fn reference(folder: &Path) {
    let stream = |path: &str, rows: &[(i64, Option<&str>, f64, &[u8])]| {
        let file = folder.join("sync").join(format!("{path}.db"));
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        let connection = Connection::open(file).unwrap();
        connection
            .execute_batch(
                "CREATE TABLE messages (seq INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT UNIQUE, time INTEGER NOT NULL,
                     headers TEXT, compress NUMBER, encoding NUMBER, raw BLOB, size NUMBER, ttl NUMBER);
                 CREATE TABLE config (field TEXT PRIMARY KEY, value TEXT NOT NULL);
                 INSERT INTO config VALUES ('allow_msg_ttl', 'true');",
            )
            .unwrap();
        for (seq, key, time, raw) in rows {
            let insert = "INSERT INTO messages (seq, key, time, compress, encoding, raw) VALUES (?1, ?2, ?3, 0, 0, ?4)";
            connection.execute(insert, rusqlite::params![seq, key, time, raw]).unwrap();
        }
    };
    stream("projects/p/patches:1", &[(1, None, 1_700_000_000.5, b"\xa1a"), (4, None, 1_700_000_001.0, b"\xa1b")]);
    stream("hub/blobs", &[(2, Some("86f7e437-faa5-4a7f-8e15-d1ddcb9eaeae"), 1_700_000_000.0, b"\xc4\x01a")]);
    fs::write(folder.join("sync/hub/broken.db"), "no database").unwrap();
    let hub = Connection::open(folder.join("hub.db")).unwrap();
    hub.execute_batch(
        r#"CREATE TABLE data (table_name TEXT NOT NULL, pk TEXT NOT NULL, row TEXT NOT NULL, updated_at INTEGER NOT NULL,
               PRIMARY KEY (table_name, pk));
           INSERT INTO data VALUES ('accounts', '{"account_id":"00000000-1000-4000-8000-000000000001"}',
               '{"account_id":"00000000-1000-4000-8000-000000000001","first_name":"Ada"}', 5);
           INSERT INTO data VALUES ('server_settings', '{"name":"site_name"}', '{"name":"site_name","value":"My Lab"}', 5);"#,
    )
    .unwrap();
}

#[test]
fn persist_092_an_existing_installation_is_taken_over_and_left_alone() {
    let home = Home::new();
    let from = home.path().join("cocalc-lite");
    reference(&from);
    let before = tree(&from);
    let import = |arguments: &[&str]| home.run(&[], &[&["import"], arguments].concat());
    let output = import(&[from.to_str().unwrap()]);
    let report = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "something could not be taken: {report}{}", text(&output.stderr));
    assert!(report.contains("took 2 rows"), "{report}");
    assert!(report.contains("took 2 streams with 3 messages, 7 bytes"), "{report}");
    assert!(report.contains("could not take 1:") && report.contains("broken.db"), "{report}");
    assert_eq!(tree(&from), before, "the source is untouched");

    runtime().block_on(async {
        let store = store(&home.data());
        let stream = store.stream("projects/p/patches:1", OpenOptions::default()).await.unwrap();
        let first = stream.get(Selector::Seq(1)).await.unwrap().unwrap();
        assert_eq!((first.time, &first.raw[..]), (1_700_000_000_500, &b"\xa1a"[..]));
        assert_eq!(stream.inventory().await.unwrap().limits["allow_msg_ttl"], true);
        store.close().await;
    });
    let again = text(&import(&[from.to_str().unwrap()]).stdout);
    assert!(again.contains("took 0 rows of user data and settings (2 are here already)"), "{again}");
    assert!(again.contains("took 0 streams with 0 messages, 0 bytes (2 streams are here already)"), "{again}");

    let server = home.serve(&[]);
    let address = server.url.trim_start_matches("http://").trim_end_matches('/').to_owned();
    let get = |path: &str| {
        let mut stream = TcpStream::connect(&address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    assert!(get("/blobs/a.txt?uuid=86f7e437-faa5-4a7f-8e15-d1ddcb9eaeae").ends_with("\r\n\r\na"));
    assert!(get("/customize").contains("My Lab"));
}

#[test]
fn an_import_says_what_it_needs() {
    let home = Home::new();
    let output = home.run(&[], &["import", "/tmp"]);
    assert_eq!(output.status.code(), Some(1));
    let message = text(&output.stderr);
    assert!(message.contains("neither hub.db nor sync/ is there"), "{message}");
    assert!(!home.data().exists(), "nothing was made");
}

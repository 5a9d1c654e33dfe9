use serde_json::json;

use super::*;
use crate::{
    config::Durability,
    persist::{
        reference::ReferenceFile,
        store::{OpenOptions, Set, Store, StoreOptions},
    },
};

/// A data directory with a store and its copies.
struct Lab {
    folder: tempfile::TempDir,
}

struct Running {
    store: Store,
    archive: Arc<Archive>,
    end: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Lab {
    fn new() -> Lab {
        let lab = Lab { folder: tempfile::tempdir().unwrap() };
        fs::create_dir(lab.path("data")).unwrap();
        lab
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn start(&self, interval: Duration) -> Running {
        let archive = Arc::new(Archive::new(ArchiveOptions {
            streams: self.path("data/streams.db"),
            archive: Some(self.path("archive")),
            backup: Some(self.path("backup")),
            interval,
            scratch: self.path("data"),
        }));
        let store = Store::open(StoreOptions {
            path: self.path("data/streams.db"),
            durability: Durability::Normal,
            release_grace: Duration::ZERO,
            observer: Some(archive.clone()),
        });
        let end = CancellationToken::new();
        let task = tokio::spawn(archive.clone().run(end.clone()));
        Running { store: store.unwrap(), archive, end, task }
    }
}

impl Running {
    async fn open(&self, path: &str) -> Stream {
        self.store.stream(path, OpenOptions::default()).await.unwrap()
    }

    async fn stop(self) {
        self.end.cancel();
        self.task.await.unwrap();
        self.store.close().await;
    }

    /// Waits until nothing is due at once.
    async fn settled(&self) {
        let is_settled = || self.archive.next_due().is_none_or(|(_, when)| when > Instant::now());
        tokio::time::timeout(Duration::from_secs(20), async {
            while !is_settled() {
                tokio::task::yield_now().await;
            }
        })
        .await
        .unwrap();
    }
}

async fn append(stream: &Stream, text: &str) -> u64 {
    let raw = crate::wire::msgpack::encode(text).unwrap().into();
    stream.set(Set { raw, ..Set::default() }).await.unwrap().await.unwrap().seq
}

/// The payloads in a file, once there are so many.
async fn texts(file: &Path, count: usize) -> Vec<String> {
    let read = || {
        let mut texts = Vec::new();
        let file = ReferenceFile::open(file, Path::new("/nowhere")).ok()?;
        file.rows(|row| {
            texts.push(crate::wire::msgpack::decode(&row.unwrap().stored.raw).unwrap());
            true
        })
        .ok()?;
        Some(texts).filter(|texts| texts.len() == count)
    };
    tokio::time::timeout(Duration::from_secs(20), async {
        loop {
            if let Some(texts) = read() {
                return texts;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap_or_else(|_| panic!("no {count} messages in {}", file.display()))
}

#[tokio::test(flavor = "multi_thread")]
async fn persist_091_the_archive_follows_and_the_backup_is_written_on_close_and_never_read() {
    let lab = Lab::new();
    let (archived, backup) = (lab.path("archive/hub/a.db"), lab.path("backup/hub/a.db"));
    let running = lab.start(Duration::ZERO);
    let stream = running.open("hub/a").await;
    append(&stream, "one").await;
    assert_eq!(texts(&archived, 1).await, ["one"]);
    append(&stream, "two").await;
    assert_eq!(texts(&archived, 2).await, ["one", "two"]);
    assert!(!backup.exists(), "the stream is open");
    drop(stream);
    assert_eq!(texts(&backup, 2).await, ["one", "two"]);
    running.stop().await;

    fs::remove_dir_all(lab.path("data")).unwrap();
    fs::remove_dir_all(lab.path("archive")).unwrap();
    fs::create_dir(lab.path("data")).unwrap();
    let running = lab.start(Duration::ZERO);
    assert_eq!(running.open("hub/a").await.changed().await.unwrap(), None, "a backup is not an archive");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn persist_091_within_the_interval_and_on_close_one_copy_is_enough() {
    let lab = Lab::new();
    let archived = lab.path("archive/hub/a.db");
    let running = lab.start(Duration::from_secs(3600));
    let stream = running.open("hub/a").await;
    append(&stream, "one").await;
    texts(&archived, 1).await;
    append(&stream, "two").await;
    running.settled().await;
    assert_eq!(texts(&archived, 1).await, ["one"], "not before its time");
    running.stop().await;
    assert_eq!(texts(&archived, 2).await, ["one", "two"], "but in the end");
}

#[tokio::test(flavor = "multi_thread")]
async fn persist_090_an_archive_that_is_newer_or_alone_is_used_on_open() {
    let lab = Lab::new();
    let archived = lab.path("archive/projects/p/x.db");
    let running = lab.start(Duration::ZERO);
    let stream = running.open("projects/p/x").await;
    append(&stream, "one").await;
    append(&stream, "two").await;
    let limits = json!({"max_msgs": 9}).as_object().unwrap().clone();
    stream.configure(limits).await.unwrap().await.unwrap();
    drop(stream);
    running.stop().await;

    // Alone: the data directory is gone.
    fs::remove_dir_all(lab.path("data")).unwrap();
    fs::create_dir(lab.path("data")).unwrap();
    let running = lab.start(Duration::ZERO);
    let stream = running.open("projects/p/x").await;
    assert_eq!(stream.inventory().await.unwrap().limits, *json!({"max_msgs": 9}).as_object().unwrap());
    assert_eq!(append(&stream, "three").await, 3, "numbers go on");
    drop(stream);
    running.stop().await;

    // Not newer: ours is used.
    let running = lab.start(Duration::ZERO);
    assert_eq!(running.open("projects/p/x").await.inventory().await.unwrap().count, 3);
    running.stop().await;

    // Newer: somebody else has written it.
    let header = crate::persist::store::Header { last_seq: 41, ..Default::default() };
    Writer::begin(&archived, &header).unwrap().finish().unwrap();
    let soon = SystemTime::now() + Duration::from_secs(5);
    fs::OpenOptions::new().write(true).open(&archived).unwrap().set_modified(soon).unwrap();
    let running = lab.start(Duration::ZERO);
    let stream = running.open("projects/p/x").await;
    assert_eq!(stream.inventory().await.unwrap().count, 0);
    assert_eq!(append(&stream, "new").await, 42);
    drop(stream);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn persist_093_a_copy_that_fails_fails_no_request() {
    let lab = Lab::new();
    // A file stands where the folders should be made.
    fs::write(lab.path("archive"), "").unwrap();
    fs::write(lab.path("backup"), "").unwrap();
    let running = lab.start(Duration::ZERO);
    let stream = running.open("hub/a").await;
    assert_eq!(append(&stream, "one").await, 1);
    running.settled().await;
    // And a file that is no stream.
    fs::remove_file(lab.path("archive")).unwrap();
    fs::create_dir_all(lab.path("archive/hub")).unwrap();
    fs::write(lab.path("archive/hub/b.db"), "this is no database at all, whatever its name may say").unwrap();
    assert_eq!(append(&running.open("hub/b").await, "one").await, 1);
    assert_eq!(append(&stream, "two").await, 2);
    assert_eq!(texts(&lab.path("archive/hub/a.db"), 2).await, ["one", "two"], "with the next change it is made up for");
    let long = format!("hub/{}", "x".repeat(300));
    assert_eq!(append(&running.open(&long).await, "no file has such a name").await, 1);
    running.settled().await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ephemeral_streams_have_no_copies() {
    let lab = Lab::new();
    let running = lab.start(Duration::ZERO);
    let stream = running.store.stream("hub/e", OpenOptions { ephemeral: true }).await.unwrap();
    append(&stream, "one").await;
    drop(stream);
    append(&running.open("hub/a").await, "one").await;
    texts(&lab.path("backup/hub/a.db"), 1).await;
    running.stop().await;
    assert!(!lab.path("archive/hub/e.db").exists() && !lab.path("backup/hub/e.db").exists());
}

//! Opening, releasing and closing; ephemeral streams.

use super::*;
use crate::persist::store::work::Message;

#[tokio::test]
async fn persist_020_reopening_right_after_the_last_close_sees_everything() {
    let fixture = Fixture::new();
    for n in 1..=100 {
        let stream = fixture.stream("hub/a").await;
        assert_eq!(stream.inventory().await.unwrap().count, n - 1);
        // Nobody waits for the commit.
        drop(stream.set(message("x")).await.unwrap());
        drop(stream);
        assert_eq!(fixture.stream("hub/a").await.put(message("y")).await.unwrap().seq, 2 * n);
        fixture.stream("hub/a").await.remove(Deletion::One(2 * n)).await;
    }
}

#[tokio::test]
async fn persist_053_config_metadata_and_checkpoints_survive_a_restart() {
    let mut fixture = Fixture::new();
    let stream = fixture.stream("hub/a").await;
    stream.config(serde_json::json!({"max_msgs": 7})).await.unwrap();
    stream.set_metadata(Some(serde_json::json!({"a": null}))).await.unwrap().await.unwrap();
    let checkpoint = NewCheckpoint { name: "c".into(), seq: Some(5), time: Some(6), data: Some(Value::Null) };
    stream.set_checkpoint(checkpoint).await.unwrap().await.unwrap();
    drop(stream);
    fixture.restart().await;
    let stream = fixture.stream("hub/a").await;
    assert_eq!(stream.config(serde_json::json!({})).await.unwrap()["max_msgs"], 7);
    assert_eq!(stream.metadata().await.unwrap(), Some(serde_json::json!({"a": null})));
    assert_eq!((stream.checkpoints().await.unwrap()["c"].seq, stream.checkpoints().await.unwrap()["c"].time), (5, 6));
}

#[tokio::test]
async fn opening_and_reading_writes_nothing() {
    let fixture = Fixture::new();
    let stream = fixture.stream("hub/a").await;
    assert!(stream.all().await.is_empty() && stream.keys().await.unwrap().is_empty());
    assert_eq!(stream.metadata().await.unwrap(), None);
    assert_eq!(fixture.store.totals().await.unwrap(), Totals::default());
}

#[tokio::test]
async fn persist_087_ephemeral_data_end_with_the_last_handle() {
    let fixture = Fixture::new();
    let stream = fixture.ephemeral("hub/e").await;
    let config = |max: i64| serde_json::json!({ "max_bytes": max });
    assert_eq!(stream.config(serde_json::json!({})).await.unwrap()["max_bytes"], 64_000_000);
    assert_eq!(stream.config(config(64_000_001)).await.unwrap()["max_bytes"], 64_000_000);
    assert_eq!(stream.inventory().await.unwrap().limits["max_bytes"], 64_000_001);
    assert_eq!(stream.config(config(1000)).await.unwrap()["max_bytes"], 1000);
    stream.put(keyed("k", "x")).await.unwrap();
    let other = stream.clone();
    drop(stream);
    assert_eq!(other.seqs().await, [1]);
    let mut feed = other.feed(BOUNDS);
    drop(other);
    assert_eq!(feed.next().await.unwrap_err(), FeedEnd::Closed);
    let stream = fixture.ephemeral("hub/e").await;
    assert!(stream.keys().await.unwrap().is_empty());
    assert_eq!(stream.put(message("x")).await.unwrap().seq, 1);
    assert_eq!(stream.config(serde_json::json!({})).await.unwrap()["max_bytes"], 64_000_000);
}

#[tokio::test]
async fn persist_088_first_opener_decides_whether_it_is_ephemeral() {
    let fixture = Fixture::new();
    let stream = fixture.ephemeral("hub/a").await;
    stream.put(message("x")).await.unwrap();
    let other = fixture.stream("hub/a").await;
    assert!(other.is_ephemeral() && other.path() == "hub/a");
    assert_eq!(other.seqs().await, [1]);
    drop((stream, other));
    fixture.released().await;
    let stream = fixture.stream("hub/a").await;
    assert!(!stream.is_ephemeral() && stream.seqs().await.is_empty());
}

#[tokio::test]
async fn persist_128_ephemeral_data_survive_within_the_grace() {
    let dir = tempfile::tempdir().unwrap();
    let hour = Duration::from_secs(3600);
    let store = Store::open(StoreOptions { release_grace: hour, ..options(dir.path(), Durability::Full) }).unwrap();
    let options = OpenOptions { ephemeral: true };
    let set = Set { msg_id: Some("id".into()), ..message("x") };
    store.stream("hub/e", options).await.unwrap().put(set.clone()).await.unwrap();
    let stream = store.stream("hub/e", OpenOptions::default()).await.unwrap();
    assert_eq!(stream.put(set).await.unwrap().seq, 1, "the ids are known, too");
    assert_eq!(stream.seqs().await, [1]);
}

#[tokio::test]
async fn ephemeral_memory_is_bounded_for_all_together() {
    let fixture = Fixture::with(|tuning| tuning.ephemeral_bytes = 1 << 20);
    let (one, other) = (fixture.ephemeral("hub/one").await, fixture.ephemeral("hub/other").await);
    let mut stored = 0;
    let error = loop {
        match one.put(message(basics::noise(10_000))).await {
            Ok(assigned) => stored = assigned.seq,
            Err(error) => break error,
        }
    };
    assert_eq!(error.code(), Some("ENOSPC".into()));
    assert!((50..105).contains(&stored), "{stored}");
    assert!(fixture.store.health().borrow().refusing.is_none(), "the disk has nothing to do with it");
    assert!(other.put(message(basics::noise(10_000))).await.is_err());
    assert_eq!(one.seqs().await.len() as u64, stored);
    drop(one);
    while fixture.store.stats().open_streams.get() > 1 {
        tokio::task::yield_now().await;
    }
    assert_eq!(other.put(message(basics::noise(10_000))).await.unwrap().seq, 1);
}

#[tokio::test]
async fn closed_store_says_so() {
    let fixture = Fixture::new();
    let (stream, ephemeral) = (fixture.stream("hub/a").await, fixture.ephemeral("hub/e").await);
    let mut feed = stream.feed(BOUNDS);
    let pending = stream.set(message("x")).await.unwrap();
    fixture.store.close().await;
    assert_eq!(pending.await.unwrap().seq, 1, "what was begun is finished");
    assert!(matches!(feed.next().await, Ok(event) if matches!(event.change, Change::Set { .. })));
    assert_eq!(feed.next().await.unwrap_err(), FeedEnd::Closed);
    for stream in [stream, ephemeral] {
        assert!(matches!(stream.put(message("x")).await, Err(Error::Closed)));
        assert!(matches!(stream.range(Range::default()).await, Err(Error::Closed)) || stream.is_ephemeral());
    }
    assert!(matches!(fixture.store.stream("hub/b", OpenOptions::default()).await, Err(Error::Closed)));
    fixture.store.close().await;
    let files = std::fs::read_dir(fixture.dir.path()).unwrap().count();
    assert_eq!(files, 1, "nothing but the database is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn too_much_that_waits_is_refused_and_the_rest_goes_on() {
    let fixture = Fixture::with(|tuning| {
        tuning.queue_bytes = 10_000;
        tuning.waiting_bytes = 20_000;
    });
    let stream = fixture.stream("hub/a").await;
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let hold = Message::Read(Box::new(move |_| {
        let _ = wait.recv();
    }));
    stream.lease.queue.send(hold).unwrap();
    let first = stream.set(message(vec![1; 9000])).await.unwrap();
    let waiting: Vec<_> = (0..2).map(|_| Box::pin(stream.set(message(vec![2; 9000])))).collect();
    let mut waiting = futures_util::future::join_all(waiting);
    assert!(futures_util::poll!(&mut waiting).is_pending());
    assert!(matches!(stream.set(message(vec![3; 9000])).await, Err(Error::Busy)));
    go.send(()).unwrap();
    assert_eq!(first.await.unwrap().seq, 1);
    for (pending, seq) in waiting.await.into_iter().zip(2..) {
        assert_eq!(pending.unwrap().await.unwrap().seq, seq);
    }
}

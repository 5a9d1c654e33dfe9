//! Feeds: order, completeness, slowness.

use std::collections::BTreeSet;

use super::*;

const WRITERS: u8 = 8;
const EACH: u64 = 200;

/// Writers that write at the same time; each payload tells its writer and its place.
fn start_writers(stream: &Stream) -> Vec<tokio::task::JoinHandle<()>> {
    let writer = |name: u8| {
        let stream = stream.clone();
        tokio::spawn(async move {
            let mut pending = Vec::new();
            for n in 0..EACH {
                pending.push(stream.set(message([&[name][..], &n.to_be_bytes()].concat())).await.unwrap());
            }
            let mut last = 0;
            for pending in pending {
                let seq = pending.await.unwrap().seq;
                assert!(seq > last, "a writer's messages keep their order");
                last = seq;
            }
        })
    };
    (0..WRITERS).map(writer).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn persist_060_061_feed_has_every_message_once_and_in_order() {
    let fixture = Fixture::new();
    let stream = fixture.stream("hub/a").await;
    let mut feed = stream.feed(BOUNDS);
    for writer in start_writers(&stream) {
        writer.await.unwrap();
    }
    let mut next = [0_u64; WRITERS as usize];
    for expected in 1..=u64::from(WRITERS) * EACH {
        let event = feed.next().await.unwrap();
        let Change::Set { stored, .. } = &event.change else { panic!("{event:?}") };
        assert_eq!(stored.seq, expected);
        let (name, place) = stored.raw.split_first().unwrap();
        let next = &mut next[*name as usize];
        assert_eq!(u64::from_be_bytes(place.try_into().unwrap()), *next);
        *next += 1;
    }
    assert!(feed.try_next().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn persist_069_feed_and_later_snapshot_miss_nothing() {
    let fixture = Fixture::new();
    for stream in [fixture.stream("hub/a").await, fixture.ephemeral("hub/e").await] {
        let writers = start_writers(&stream);
        while stream.inventory().await.unwrap().count < 100 {
            tokio::task::yield_now().await;
        }
        let mut feed = stream.feed(BOUNDS);
        let mut seen: BTreeSet<u64> = stream.seqs().await.into_iter().collect();
        assert_eq!(seen.len() as u64, *seen.last().unwrap(), "a snapshot has no gaps");
        for writer in writers {
            writer.await.unwrap();
        }
        while let Some(event) = feed.try_next() {
            let Change::Set { stored, .. } = &event.change else { panic!("{event:?}") };
            seen.insert(stored.seq);
        }
        assert_eq!(seen, (1..=u64::from(WRITERS) * EACH).collect());
    }
}

#[tokio::test]
async fn persist_062_063_064_066_events_tell_what_happened_before_the_answer() {
    let fixture = Fixture::new();
    let stream = fixture.stream("hub/a").await;
    let mut feed = stream.feed(BOUNDS);
    let checkpoint = NewCheckpoint { name: "c".into(), seq: None, time: None, data: None };
    let set = Set { msg_id: Some("id".into()), checkpoint: Some(checkpoint), ..keyed("k", "x") };
    stream.put(set.clone()).await.unwrap();
    let event = feed.try_next().unwrap();
    let Change::Set { stored, msg_id: Some(id) } = &event.change else { panic!("{event:?}") };
    assert_eq!((stored.seq, &**id, &stored.raw[..]), (1, "id", &b"x"[..]));
    assert_eq!(heard(&mut feed), [r#"checkpoints ["c"]"#]);
    // Seen already: no event. Replaced: no event for what is gone.
    stream.put(set).await.unwrap();
    stream.put(keyed("k", "y")).await.unwrap();
    stream.remove(Deletion::Nothing).await;
    stream.remove(Deletion::One(1)).await;
    assert_eq!(heard(&mut feed), ["set 2", "delete []", "delete []"]);
    assert_eq!(stream.checkpoints().await.unwrap()["c"].seq, 1, "replacement leaves checkpoints");
}

#[tokio::test]
async fn persist_070_slow_reader_loses_its_feed_and_nobody_else_anything() {
    let fixture = Fixture::new();
    let stream = fixture.stream("hub/a").await;
    let mut few = stream.feed(FeedBounds { events: 3, bytes: usize::MAX });
    let mut small = stream.feed(FeedBounds { events: usize::MAX, bytes: 1000 });
    let mut good = stream.feed(BOUNDS);
    for _ in 0..10 {
        stream.put(message(vec![1; 400])).await.unwrap();
    }
    assert_eq!(few.next().await.unwrap_err(), FeedEnd::Slow);
    assert_eq!(small.next().await.unwrap_err(), FeedEnd::Slow);
    assert_eq!(heard(&mut good).len(), 10);
    assert_eq!(fixture.store.stats().slow_feeds.get(), 2);
    // One event goes through whatever its size.
    let mut small = stream.feed(FeedBounds { events: 1, bytes: 1 });
    stream.put(message(vec![1; 4000])).await.unwrap();
    assert_eq!(heard(&mut small), ["set 11"]);
}

#[tokio::test]
async fn feed_without_reader_is_dropped_and_not_called_slow() {
    let fixture = Fixture::new();
    let stream = fixture.stream("hub/a").await;
    drop(stream.feed(FeedBounds { events: 1, bytes: 1 }));
    for _ in 0..3 {
        stream.put(message("x")).await.unwrap();
    }
    assert_eq!(fixture.store.stats().slow_feeds.get(), 0);
}

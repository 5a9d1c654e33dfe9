//! Storing, reading and deleting, one by one.

use super::*;

#[tokio::test]
async fn persist_037_038_071_first_number_is_one_and_none_is_used_again() {
    let mut fixture = Fixture::new();
    let stream = fixture.stream("hub/a").await;
    assert_eq!(stream.put(keyed("", "x")).await.unwrap(), Assigned { seq: 1, time: START });
    assert_eq!(stream.get(Selector::Key("".into())).await.unwrap().unwrap().raw, "x");
    assert_eq!(stream.put(message("y")).await.unwrap().seq, 2);
    assert_eq!(stream.remove(Deletion::All).await, [1, 2]);
    assert_eq!(stream.inventory().await.unwrap(), Inventory::default());
    drop(stream);
    fixture.restart().await;
    assert_eq!(fixture.stream("hub/a").await.put(message("z")).await.unwrap().seq, 3);
}

#[tokio::test]
async fn persist_048_049_124_deletions_and_what_they_answer() {
    let fixture = Fixture::new();
    let stream = fixture.stream("hub/a").await;
    assert_eq!(stream.remove(Deletion::These(vec![7])).await, [7]);
    for n in 0..6 {
        stream.put(message(vec![n])).await.unwrap();
    }
    let checkpoint = |name: &str, seq| NewCheckpoint { name: name.into(), seq: Some(seq), time: None, data: None };
    for (name, seq) in [("two", 2), ("four", 4), ("far", 99)] {
        stream.set_checkpoint(checkpoint(name, seq)).await.unwrap().await.unwrap();
    }
    let names = || async { stream.checkpoints().await.unwrap().into_keys().collect::<Vec<_>>() };
    assert_eq!(stream.remove(Deletion::One(9)).await, [0_u64; 0]);
    assert_eq!(stream.remove(Deletion::Nothing).await, [0_u64; 0]);
    assert_eq!(stream.remove(Deletion::One(2)).await, [2]);
    assert_eq!(names().await, ["far", "four"]);
    assert_eq!(stream.remove(Deletion::These(vec![5, 77, 4])).await, [5, 77, 4]);
    assert_eq!(names().await, ["far"]);
    assert_eq!(stream.remove(Deletion::UpTo(3)).await, [1, 3]);
    assert_eq!(stream.remove(Deletion::UpTo(u64::MAX)).await, [6]);
    assert_eq!(names().await, ["far"]);
    stream.remove(Deletion::All).await;
    assert!(names().await.is_empty());
}

#[tokio::test]
async fn persist_073_compare_and_set_refuses_what_is_no_number() {
    let fixture = Fixture::new();
    let stream = fixture.stream("hub/a").await;
    let cas = |previous| Set { previous_seq: Some(previous), ..keyed("k", "v") };
    for hopeless in [0, 1, u64::MAX] {
        let error = stream.put(cas(hopeless)).await.unwrap_err();
        assert_eq!(error.code(), Some("wrong-last-sequence".into()));
    }
    stream.put(keyed("k", "v")).await.unwrap();
    assert!(stream.put(cas(0)).await.is_err());
    assert_eq!(stream.put(cas(1)).await.unwrap().seq, 2);
    let unkeyed = Set { previous_seq: Some(9), ..message("v") };
    assert_eq!(stream.put(unkeyed).await.unwrap().seq, 3);
}

#[tokio::test]
async fn persist_017_074_message_ids_are_shared_for_two_minutes() {
    let fixture = Fixture::new();
    let (one, other) = (fixture.stream("hub/a").await, fixture.stream("hub/a").await);
    let set = |raw: &'static str| Set { msg_id: Some("id".into()), ..message(raw) };
    let first = one.put(set("x")).await.unwrap();
    fixture.advance(119_999);
    assert_eq!(other.put(set("y")).await.unwrap(), first);
    fixture.advance(1);
    assert_eq!(other.put(set("y")).await.unwrap().seq, 2);
    // Another stream has its own.
    assert_eq!(fixture.stream("hub/b").await.put(set("z")).await.unwrap().seq, 1);
    assert_eq!(one.seqs().await, [1, 2]);
}

#[tokio::test]
async fn message_ids_are_bounded_and_the_oldest_go_first() {
    let fixture = Fixture::with(|tuning| tuning.message_ids = 3);
    let stream = fixture.stream("hub/a").await;
    let set = |id: u64| Set { msg_id: Some(id.to_string().into()), ..message("x") };
    for id in 1..=4 {
        stream.put(set(id)).await.unwrap();
    }
    assert_eq!(stream.put(set(2)).await.unwrap().seq, 2, "still known");
    assert_eq!(stream.put(set(1)).await.unwrap().seq, 5, "forgotten");
}

#[tokio::test]
async fn persist_017_039_elements_of_a_batch_fail_alone() {
    let fixture = Fixture::new();
    let stream = fixture.stream("hub/a").await;
    let sets = vec![
        Set { msg_id: Some("id".into()), ..message("x") },
        Set { previous_seq: Some(5), ..keyed("k", "x") },
        Set { msg_id: Some("id".into()), ..message("y") },
        keyed("k", "y"),
    ];
    let results = stream.set_many(sets).await.unwrap().await.unwrap();
    let seqs: Vec<Option<u64>> = results.into_iter().map(|result| result.ok().map(|assigned| assigned.seq)).collect();
    assert_eq!(seqs, [Some(1), None, Some(1), Some(2)]);
}

#[tokio::test]
async fn persist_030_payloads_and_texts_come_back_as_they_were() {
    let fixture = Fixture::new();
    let stream = fixture.stream("hub/a").await;
    for (i, length) in [0, 1, 1024, 1025, 70_000].into_iter().enumerate() {
        for (j, raw) in [vec![7; length], noise(length)].into_iter().enumerate() {
            let set = Set {
                encoding: j as u8,
                headers: Some(r#"{"é":"😀"}"#.into()),
                key: Some(format!("{i}-{j}-\u{0}-€").into()),
                ..message(raw.clone())
            };
            let key = set.key.clone().unwrap();
            stream.put(set.clone()).await.unwrap();
            let stored = stream.get(Selector::Key(key)).await.unwrap().unwrap();
            assert_eq!((stored.raw, stored.encoding), (raw.into(), j as u8));
            assert_eq!((stored.headers, stored.key), (set.headers, set.key));
        }
    }
    assert!(fixture.store.totals().await.unwrap().bytes > 70_000 * 2);
}

#[tokio::test]
async fn summaries_are_filtered_sorted_and_paged() {
    let fixture = Fixture::new();
    for (path, count) in [("hub/a", 3), ("hub/B", 1), ("projects/c", 2)] {
        let stream = fixture.stream(path).await;
        for _ in 0..count {
            stream.put(message("x")).await.unwrap();
        }
    }
    let ephemeral = fixture.ephemeral("hub/e").await;
    ephemeral.put(message("xx")).await.unwrap();
    let list = |filter: &str, sort: &str, descending, offset, limit| {
        let query = SummaryQuery { filter: filter.into(), sort: sort.into(), descending, offset, limit };
        let store = fixture.store.clone();
        async move {
            let found = store.summaries(query).await.unwrap();
            (found.total, found.streams.into_iter().map(|stream| stream.path).collect::<Vec<_>>())
        }
    };
    assert_eq!(list("HUB/", "count", true, 0, 9).await, (3, vec!["hub/a".into(), "hub/B".into(), "hub/e".into()]));
    assert_eq!(list("", "path", false, 1, 2).await, (4, vec!["hub/a".into(), "hub/e".into()]));
    assert_eq!(list("", "bytes", false, 9, 2).await, (4, vec![]));
    assert_eq!(fixture.store.totals().await.unwrap(), Totals { streams: 4, count: 7, bytes: 8 });
}

/// Bytes that do not compress.
pub(super) fn noise(length: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(length as u64);
    std::iter::repeat_with(|| random.u8(..)).take(length).collect()
}

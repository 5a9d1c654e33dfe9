//! Limits: the consequences that §§8.6, 8.7 and 17.5 name.

use serde_json::json;

use super::*;

async fn limited(fixture: &Fixture, config: Value) -> (Stream, Feed) {
    let stream = fixture.stream("hub/limited").await;
    stream.config(config).await.unwrap();
    let feed = stream.feed(BOUNDS);
    (stream, feed)
}

fn rejection<T: std::fmt::Debug>(result: Result<T>) -> String {
    let error = result.unwrap_err();
    assert_eq!(error.code(), Some("reject".into()));
    error.to_string()
}

#[tokio::test]
async fn persist_077_oldest_goes_before_the_new_one_is_told() {
    let fixture = Fixture::new();
    let (stream, mut feed) = limited(&fixture, json!({"max_msgs": 2})).await;
    for _ in 0..3 {
        stream.put(message("x")).await.unwrap();
    }
    assert_eq!(heard(&mut feed), ["set 1", "set 2", "delete [1]", "set 3"]);
    assert_eq!(stream.seqs().await, [2, 3]);
}

#[tokio::test]
async fn persist_078_079_no_messages_allowed_keeps_the_last_and_full_means_full_for_keys_too() {
    let fixture = Fixture::new();
    let (stream, mut feed) = limited(&fixture, json!({"max_msgs": 0})).await;
    stream.put(message("x")).await.unwrap();
    stream.put(message("y")).await.unwrap();
    assert_eq!(stream.seqs().await, [2]);
    stream.config(json!({})).await.unwrap();
    assert!(stream.seqs().await.is_empty());
    stream.config(json!({"max_msgs": 2})).await.unwrap();
    stream.put(message("z")).await.unwrap();
    stream.put(keyed("k", "1")).await.unwrap();
    heard(&mut feed);
    stream.put(keyed("k", "2")).await.unwrap();
    assert_eq!(heard(&mut feed), ["delete [3]", "set 5"]);
    assert_eq!(stream.seqs().await, [5]);
    stream.put(message("w")).await.unwrap();
    stream.config(json!({"discard_policy": "new"})).await.unwrap();
    assert_eq!(rejection(stream.put(keyed("k", "3")).await), "max_msgs limit reached");
}

#[tokio::test]
async fn persist_080_age_counts_at_the_next_write_or_config() {
    let fixture = Fixture::new();
    let stream = fixture.stream("hub/limited").await;
    // Stored before there was an age.
    stream.put(message("x")).await.unwrap();
    stream.config(json!({"max_age": 1000})).await.unwrap();
    stream.put(message("y")).await.unwrap();
    fixture.advance(1000);
    assert_eq!(stream.seqs().await, [1, 2]);
    let mut feed = stream.feed(BOUNDS);
    stream.put(message("z")).await.unwrap();
    assert_eq!(heard(&mut feed), ["delete [1, 2]", "set 3"]);
    fixture.advance(1000);
    stream.config(json!({})).await.unwrap();
    assert!(stream.seqs().await.is_empty());
}

#[tokio::test]
async fn persist_081_bytes_evict_until_it_fits_and_too_much_empties() {
    let fixture = Fixture::new();
    let (stream, mut feed) = limited(&fixture, json!({"max_bytes": 10})).await;
    for raw in ["aaaa", "bbbb", "cccc"] {
        stream.put(message(raw)).await.unwrap();
    }
    assert_eq!(stream.seqs().await, [2, 3]);
    stream.put(message("a message that is too large")).await.unwrap();
    assert_eq!(heard(&mut feed), ["set 1", "set 2", "delete [1]", "set 3", "delete [2, 3]", "set 4"]);
    assert_eq!(stream.seqs().await, [4]);
    stream.config(json!({})).await.unwrap();
    assert!(stream.seqs().await.is_empty());
}

#[tokio::test]
async fn persist_082_policy_new_rejects_and_deletes_nothing() {
    let fixture = Fixture::new();
    let (stream, mut feed) = limited(&fixture, json!({"discard_policy": "new", "max_bytes": 10})).await;
    stream.put(message("aaaa")).await.unwrap();
    stream.put(message("bbbb")).await.unwrap();
    assert_eq!(rejection(stream.put(message("ccc")).await), "max_bytes limit reached");
    stream.put(message("cc")).await.unwrap();
    stream.config(json!({"max_bytes": 1, "max_msgs": 1})).await.unwrap();
    assert_eq!(stream.seqs().await, [1, 2, 3]);
    assert_eq!(rejection(stream.put(message("d")).await), "max_msgs limit reached");
    assert_eq!(heard(&mut feed), ["set 1", "set 2", "set 3"]);
}

#[tokio::test]
async fn persist_065_083_126_a_rejected_write_changes_nothing() {
    let fixture = Fixture::new();
    let (stream, mut feed) =
        limited(&fixture, json!({"max_msg_size": 5, "max_msgs": 1, "max_age": 10, "allow_msg_ttl": true})).await;
    stream.put(Set { ttl: Some(1), ..message("x") }).await.unwrap();
    fixture.advance(100);
    assert_eq!(rejection(stream.put(message("123456")).await), "max_msg_size of 5 bytes exceeded");
    assert_eq!(stream.seqs().await, [1]);
    assert_eq!(heard(&mut feed), ["set 1"]);
    assert_eq!(stream.put(message("12345")).await.unwrap().seq, 2);
}

#[tokio::test]
async fn persist_084_085_rates_count_what_is_stored() {
    let fixture = Fixture::new();
    let (stream, _) = limited(&fixture, json!({"max_msgs_per_second": 3})).await;
    for _ in 0..4 {
        stream.put(message("x")).await.unwrap();
    }
    assert_eq!(rejection(stream.put(message("x")).await), "max_msgs_per_second exceeded");
    // Deleted ones do not count.
    stream.remove(Deletion::UpTo(2)).await;
    stream.put(message("x")).await.unwrap();
    fixture.advance(1001);
    stream.config(json!({"max_msgs_per_second": -1, "max_bytes_per_second": 9})).await.unwrap();
    stream.put(message("123456789")).await.unwrap();
    stream.put(message("1")).await.unwrap();
    assert_eq!(rejection(stream.put(message("1")).await), "max_bytes_per_second exceeded");
    // After a restart the last second counts as well.
    fixture.advance(1000);
    assert!(stream.put(message("1")).await.is_err());
    fixture.advance(1);
    stream.put(message("1")).await.unwrap();
}

#[tokio::test]
async fn persist_084_rates_hold_when_the_clock_goes_back() {
    let fixture = Fixture::new();
    let (stream, _) = limited(&fixture, json!({"max_msgs_per_second": 1})).await;
    for _ in 0..2 {
        stream.put(message("x")).await.unwrap();
    }
    // Far enough for them not to count, and back to where they do.
    fixture.advance(1500);
    stream.put(message("x")).await.unwrap();
    fixture.set_clock(START + 1000);
    assert_eq!(rejection(stream.put(message("x")).await), "max_msgs_per_second exceeded");
    fixture.set_clock(START - 5000);
    assert_eq!(rejection(stream.put(message("x")).await), "max_msgs_per_second exceeded");
}

#[tokio::test]
async fn persist_075_076_time_to_live_needs_permission_and_is_exact() {
    let fixture = Fixture::new();
    let stream = fixture.stream("hub/a").await;
    stream.put(Set { ttl: Some(500), ..keyed("k", "x") }).await.unwrap();
    stream.put(Set { ttl: Some(u64::MAX), ..message("y") }).await.unwrap();
    stream.put(Set { ttl: Some(0), ..message("z") }).await.unwrap();
    fixture.advance(600);
    assert!(stream.get(Selector::Seq(1)).await.unwrap().is_some());
    fixture.set_clock(START);
    stream.config(json!({"allow_msg_ttl": 1})).await.unwrap();
    fixture.advance(499);
    assert!(stream.get(Selector::Key("k".into())).await.unwrap().is_some());
    fixture.advance(1);
    assert!(stream.get(Selector::Key("k".into())).await.unwrap().is_none());
    assert_eq!(stream.seqs().await, [1, 2, 3], "not purged yet");
    stream.config(json!({})).await.unwrap();
    assert_eq!(stream.seqs().await, [2, 3]);
    assert!(stream.keys().await.unwrap().is_empty());
}

#[tokio::test]
async fn persist_086_limits_are_enforced_on_open() {
    let fixture = Fixture::new();
    let (stream, _) = limited(&fixture, json!({"max_age": 1000})).await;
    stream.put(message("x")).await.unwrap();
    drop(stream);
    fixture.released().await;
    fixture.advance(5000);
    assert!(fixture.stream("hub/limited").await.seqs().await.is_empty());
}

#[tokio::test]
async fn persist_052_054_config_takes_what_is_like_a_number() {
    let fixture = Fixture::new();
    let stream = fixture.stream("hub/a").await;
    let config = json!({"max_msgs": 3.9, "max_age": "250", "discard_policy": "x", "allow_msg_ttl": "yes", "desc": [1],
        "max_bytes": null, "what": 1});
    let all = stream.config(config).await.unwrap();
    assert_eq!(all.len(), 10);
    assert_eq!(
        (&all["max_msgs"], &all["max_age"], &all["discard_policy"], &all["allow_msg_ttl"], &all["max_bytes"]),
        (&json!(3), &json!(250), &json!("old"), &json!(true), &json!(-1))
    );
    let stored = fields(json!({"max_msgs": 3, "max_age": 250, "allow_msg_ttl": true, "desc": [1]}));
    assert_eq!(stream.inventory().await.unwrap().limits, stored);
    for bad in [json!({"max_msgs": "many"}), json!({"max_msgs": []}), json!({"desc": "x".repeat(2 << 20)})] {
        assert!(matches!(stream.config(bad).await, Err(Error::Invalid(_))));
    }
    assert_eq!(stream.config(json!({"max_bytes": 1e300})).await.unwrap()["max_bytes"], json!((1_i64 << 53) - 1));
}

#[tokio::test]
async fn persist_125_required_headers_are_strict() {
    let fixture = Fixture::new();
    let stream = fixture.stream("hub/a").await;
    stream.config(json!({"required_headers": {"epoch": 1}})).await.unwrap();
    let with = |headers: &str| Set { headers: Some(headers.into()), ..message("x") };
    for wrong in [message("x"), with(r#"{"epoch":"1"}"#), with(r#"{"epoch":true}"#), with(r#"{"epoch":[1]}"#)] {
        assert_eq!(rejection(stream.put(wrong).await), "required header mismatch for 'epoch'");
    }
    stream.put(with(r#"{"epoch":1.0,"more":2}"#)).await.unwrap();
    stream.config(json!({"required_headers": null})).await.unwrap();
    assert!(stream.put(message("x")).await.is_err());
    stream.config(json!({"required_headers": {"o": {}}})).await.unwrap();
    assert!(stream.put(with(r#"{"o":{}}"#)).await.is_err(), "objects never match");
    stream.config(json!({"required_headers": {}})).await.unwrap();
    assert_eq!(stream.put(message("x")).await.unwrap().seq, 2);
}

#[tokio::test]
async fn many_messages_go_at_once() {
    let fixture = Fixture::new();
    let stream = fixture.stream("hub/a").await;
    for _ in 0..10 {
        let sets = (0..1000).map(|n| keyed(&format!("{n}"), "x")).chain((0..1000).map(|_| message("y"))).collect();
        stream.set_many(sets).await.unwrap().await.unwrap();
    }
    assert_eq!(stream.inventory().await.unwrap().count, 11_000);
    let mut feed = stream.feed(BOUNDS);
    stream.config(json!({"max_msgs": 5})).await.unwrap();
    let told = feed.try_next().unwrap();
    let Change::Delete(seqs) = &told.change else { panic!("{told:?}") };
    assert!(seqs.len() == 10_995 && seqs.is_sorted());
    assert_eq!(stream.seqs().await, [19_996, 19_997, 19_998, 19_999, 20_000]);
    assert!(stream.keys().await.unwrap().is_empty());
}

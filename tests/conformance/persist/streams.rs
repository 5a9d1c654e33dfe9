//! Streams to append to: items 96 and 101; streams without a copy; the list of streams: item 108.

use std::time::Duration;

use outpost::persist::client::{
    DkvOptions, Error, Event, InventoryOptions, Notice, PublishOptions, Storage, StreamOptions, Write,
};
use serde_json::{Value, json};

use super::{Lab, commands, project, values};
use crate::harness::{ms, soon, until};

#[tokio::test]
async fn persist_101_batches_have_500_messages_at_most() {
    let lab = Lab::start().await;
    let (persist, way) = lab.persist_over_way().await;
    let direct = persist.astream(&project(), "a", Storage::default()).unwrap();
    let writes = (0..1200).map(|n| Write::value(&n).unwrap()).collect();
    let results = soon(direct.push(writes)).await.unwrap();
    let seqs: Vec<u64> = results.into_iter().map(|result| result.unwrap().seq).collect();
    assert_eq!(seqs, (1..=1200).collect::<Vec<_>>());
    let sizes = |from: usize| -> Vec<usize> {
        commands(&way, "setMany").iter().skip(from).map(|(_, ops)| ops.as_array().unwrap().len()).collect()
    };
    assert_eq!(sizes(0), [500, 500, 200]);
    // So it is with what waits to be saved.
    let stream = soon(persist.dstream(&project(), "b", StreamOptions::default())).await.unwrap();
    for n in 0..1200 {
        drop(stream.publish(&n).unwrap());
    }
    soon(stream.save()).await.unwrap();
    assert!(sizes(3).iter().all(|size| *size <= 500) && sizes(3).iter().sum::<usize>() == 1200, "{:?}", sizes(3));
    let store = soon(persist.dkv(&project(), "c", DkvOptions::default())).await.unwrap();
    let before = sizes(0).len();
    for n in 0..1200 {
        store.set(&n.to_string(), &n).unwrap();
    }
    soon(store.stable()).await.unwrap();
    assert!(sizes(before).iter().all(|size| *size <= 500), "{:?}", sizes(before));
    assert_eq!(store.len(), 1200);
}

#[tokio::test]
async fn persist_096_rejected_messages_are_never_tried_again() {
    let lab = Lab::start().await;
    let (persist, way) = lab.persist_over_way().await;
    let config = json!({"max_msg_size": 20}).as_object().unwrap().clone();
    let options = StreamOptions { config: config.clone(), ..StreamOptions::default() };
    let stream = soon(persist.dstream(&project(), "x", options.clone())).await.unwrap();
    let mut rejections = stream.rejections();
    let receipts =
        [stream.publish("good").unwrap(), stream.publish(&"x".repeat(50)).unwrap(), stream.publish("fine").unwrap()];
    let [good, bad, fine] = receipts;
    let id = bad.msg_id().to_owned();
    assert!(soon(good).await.is_ok());
    let error = soon(bad).await.unwrap_err();
    assert!(matches!(&error, Error::Rejected(text) if text.contains("max_msg_size")), "{error:?}");
    assert!(soon(fine).await.is_ok());
    let Some(Notice::Of(rejection)) = soon(rejections.next()).await else { panic!("no event") };
    assert_eq!(*rejection.msg_id, *id);
    soon(stream.save()).await.unwrap();
    until("they are here", || stream.core().len() == 2).await;
    assert_eq!(stream.values::<String>().unwrap(), ["good", "fine"]);
    let times = commands(&way, "setMany").iter().filter(|(_, ops)| ops.to_string().contains(&id)).count();
    assert_eq!(times, 1);
    // The same in a store: the key has its old value again.
    let store =
        soon(persist.dkv(&project(), "y", DkvOptions { stream: options, ..DkvOptions::default() })).await.unwrap();
    store.set("k", &1).unwrap();
    soon(store.stable()).await.unwrap();
    let mut refusals = store.refusals();
    store.set("k", &"x".repeat(50)).unwrap();
    let Some(Notice::Of(refused)) = soon(refusals.next()).await else { panic!("no event") };
    assert_eq!(&*refused.key, "k");
    assert_eq!(store.get::<u8>("k").unwrap(), Some(1));
    assert!(store.is_stable());
}

#[tokio::test]
async fn messages_have_headers_and_a_time_to_live() {
    let lab = Lab::start().await;
    let persist = lab.persist().await;
    let config = json!({"allow_msg_ttl": true}).as_object().unwrap().clone();
    let options = StreamOptions { config, ..StreamOptions::default() };
    let stream = soon(persist.dstream(&project(), "x", options)).await.unwrap();
    let headers = json!({"h": [1, null, {"x": "y"}]}).as_object().unwrap().clone();
    let publish = PublishOptions { headers: Some(headers.clone()), ..PublishOptions::default() };
    soon(stream.publish_with(&json!({"a": 1}), publish).unwrap()).await.unwrap();
    let short = PublishOptions { ttl: Some(ms(1)), ..PublishOptions::default() };
    let gone = soon(stream.publish_with("gone", short).unwrap()).await.unwrap();
    let message = soon(stream.follow(0).next()).await.unwrap();
    assert_eq!(message.headers.as_deref(), Some(&headers));
    // Limits are enforced by any write or configuration.
    let connection = stream.core().connection();
    loop {
        soon(connection.configure(&Default::default())).await.unwrap();
        if soon(connection.get(gone.seq)).await.unwrap().is_none() {
            break;
        }
    }
    until("it is gone here too", || stream.core().len() == 1).await;
}

#[tokio::test]
async fn a_header_named_error_does_not_hide_a_message() {
    let lab = Lab::start().await;
    let direct = lab.persist().await.akv(&project(), "x", Storage::default()).unwrap();
    let headers = json!({"error": "user's", "code": 5}).as_object().unwrap().clone();
    let options = outpost::persist::client::SetOptions { headers: Some(headers.clone()), ..Default::default() };
    soon(direct.set_with("k", "value", options, None)).await.unwrap();
    let message = soon(direct.message("k")).await.unwrap().unwrap();
    assert_eq!((message.value::<String>().unwrap(), message.headers.as_deref()), ("value".into(), Some(&headers)));
    assert!(soon(direct.message("nothing")).await.unwrap().is_none());
}

#[tokio::test]
async fn several_feeds_of_a_stream_share_its_socket() {
    let lab = Lab::start().await;
    let (persist, way) = lab.persist_over_way().await;
    let direct = persist.astream(&project(), "x", Storage::default()).unwrap();
    soon(direct.publish("before")).await.unwrap();
    let mut feeds = [soon(direct.changes()).await.unwrap(), soon(direct.changes()).await.unwrap()];
    soon(direct.publish("after")).await.unwrap();
    let deleted = soon(direct.delete(&outpost::persist::client::Deletion::One(1))).await.unwrap();
    assert_eq!(deleted, [1]);
    for feed in &mut feeds {
        let event = soon(feed.next()).await.unwrap();
        assert!(matches!(&event, Event::Set { message, .. } if message.seq == 2), "{event:?}");
        assert_eq!(soon(feed.next()).await.unwrap(), Event::Delete(vec![1]));
    }
    assert_eq!(super::opens(&way).len(), 1);
    let range = soon(direct.range(Some(1), Some(5))).await.unwrap();
    assert_eq!(values(&range), [json!("after")]);
    assert_eq!(soon(direct.inventory()).await.unwrap().count, 1);
}

#[tokio::test]
async fn persist_108_the_list_of_streams_is_kept_when_asked_for() {
    let lab = Lab::start().await;
    let persist = lab.persist().await;
    let options = InventoryOptions { desc: Some(json!("mine")), delay: ms(1), period: ms(1) };
    let options = DkvOptions { inventory: Some(options), ..DkvOptions::default() };
    let store = soon(persist.dkv(&project(), "my store", options)).await.unwrap();
    store.set("a", &1).unwrap();
    soon(store.stable()).await.unwrap();
    let list = persist.akv(&project(), "CoCalc-Inventory", Storage::default()).unwrap();
    let key = r#"{"name":"my store","type":"kv"}"#;
    let entry: Value = loop {
        if let Some(entry) = soon(list.get::<Value>(key)).await.unwrap() {
            break entry;
        }
    };
    let mut names: Vec<&String> = entry.as_object().unwrap().keys().collect();
    names.sort();
    assert_eq!(names, ["bytes", "count", "created", "desc", "last", "limits", "seq"]);
    assert_eq!((&entry["desc"], &entry["count"], &entry["seq"]), (&json!("mine"), &json!(1), &json!(1)));
    assert_eq!(entry["limits"], json!({"allow_msg_ttl": true}));
    // Nobody keeps it unless asked to.
    let other = soon(persist.dkv(&project(), "other", DkvOptions::default())).await.unwrap();
    other.set("a", &1).unwrap();
    soon(other.end(Duration::from_secs(60))).await.unwrap();
    assert_eq!(soon(list.keys()).await.unwrap(), [key]);
}

#[tokio::test]
async fn a_reader_of_a_feed_that_is_too_slow_loses_its_place_and_nobody_else_does() {
    let lab = Lab::start().await;
    let mut settings = super::options();
    settings.bounds.feed_items = 4;
    let persist = outpost::persist::client::Persist::with(&lab.bus.client().await, settings);
    let direct = persist.astream(&project(), "x", Storage::default()).unwrap();
    let mut slow = soon(direct.changes()).await.unwrap();
    let mut quick = soon(direct.changes()).await.unwrap();
    // One after the other, so that each comes in a frame of its own.
    for n in 1..=20u64 {
        soon(direct.publish(&n)).await.unwrap();
        let event = soon(quick.next()).await.unwrap();
        assert!(matches!(&event, Event::Set { message, .. } if message.seq == n), "{event:?}");
    }
    let mut seen = 0;
    let error = loop {
        match soon(slow.next()).await {
            Ok(_) => seen += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::Slow), "{error:?}");
    assert_eq!(seen, 4);
}

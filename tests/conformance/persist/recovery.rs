//! Lost sockets and lost answers: items 94, 95, 99, 100.

use std::time::Duration;

use outpost::persist::{
    client::{Change, Error, Event, HistoryGap, Notice, Owner, Persist, Storage, StreamOptions, Write},
    service::ServiceOptions,
};
use serde_json::{Value, json};

use super::{Lab, Switch, commands, delivered, impatient, is_feed_frame, open, opens, options, project, values};
use crate::harness::{Way, soon, until};

#[tokio::test]
async fn persist_094_a_lost_socket_is_replaced_by_a_new_one() {
    let lab = Lab::start().await;
    let (persist, way) = lab.persist_over_way().await;
    let stream = soon(persist.stream(&project(), "x", StreamOptions::default())).await.unwrap();
    let direct = persist.akv(&project(), "x", Storage::default()).unwrap();
    soon(direct.set("k", &1)).await.unwrap();
    way.cut();
    until("both are back", || opens(&way).len() == 4).await;
    soon(stream.set(Write::value("after").unwrap())).await.unwrap();
    assert_eq!(soon(direct.get::<u8>("k")).await.unwrap(), Some(1));
    let opens = opens(&way);
    let mut subjects: Vec<&String> = opens.iter().map(|(subject, _)| subject).collect();
    subjects.sort();
    subjects.dedup();
    assert_eq!(subjects.len(), 4, "each socket has its own id: {opens:?}");
    // Only who follows asks for the feed.
    let mut feeds: Vec<bool> = opens.iter().map(|(_, open)| open["changefeed"].as_bool().unwrap()).collect();
    feeds.sort_unstable();
    assert_eq!(feeds, [false, false, true, true]);
    // The server was found anew: what was known of it is forgotten with the socket.
    assert!(super::requests(&way).iter().filter(|(subject, ..)| subject.ends_with(".id")).count() >= 2);
}

#[tokio::test]
async fn persist_095_what_was_missed_is_caught_up_with_from_the_last_message_on() {
    let lab = Lab::start().await;
    let (persist, way) = lab.persist_over_way().await;
    let other = lab.persist().await.astream(&project(), "x", Storage::default()).unwrap();
    let stream = soon(persist.stream(&project(), "x", StreamOptions::default())).await.unwrap();
    let mut follower = stream.follow(0);
    for n in 1..=3u64 {
        soon(other.publish(&n)).await.unwrap();
        assert_eq!(soon(follower.next()).await.unwrap().seq, n);
    }
    way.lead_to(None);
    for n in 4..=6u64 {
        soon(other.publish(&n)).await.unwrap();
    }
    way.lead_to(Some(&lab.bus));
    for n in 4..=6u64 {
        assert_eq!(soon(follower.next()).await.unwrap().value::<u64>().unwrap(), n);
    }
    let (headers, _) = commands(&way, "getAll").pop().unwrap();
    assert_eq!((&headers["start_seq"], &headers["end_seq"]), (&json!(3), &Value::Null));
    assert_eq!(headers["changefeed"], true);
}

#[tokio::test]
async fn persist_095_everything_arrives_once_and_in_order_however_often_the_socket_is_lost() {
    const COUNT: u64 = 1500;
    let lab = Lab::start().await;
    let (persist, way) = lab.persist_over_way().await;
    let other = lab.persist().await.astream(&project(), "x", Storage::default()).unwrap();
    let stream = soon(persist.stream(&project(), "x", StreamOptions::default())).await.unwrap();
    let direct = persist.astream(&project(), "x", Storage::default()).unwrap();
    let mut feed = soon(direct.changes()).await.unwrap();
    let writing = tokio::spawn(async move {
        for first in (1..=COUNT).step_by(10) {
            let writes = (first..first + 10).map(|n| Write::value(&n).unwrap()).collect();
            soon(other.push(writes)).await.unwrap();
        }
    });
    let mut follower = stream.follow(0);
    for n in 1..=COUNT {
        let message = soon(follower.next()).await.unwrap();
        assert_eq!((message.seq, message.value::<u64>().unwrap()), (n, n));
        let event = soon(feed.next()).await.unwrap();
        let Event::Set { message, .. } = event else { panic!("{event:?}") };
        assert_eq!(message.seq, n);
        if n % 150 == 75 {
            way.cut();
        }
    }
    soon(writing).await.unwrap();
    assert_eq!(stream.len(), COUNT as usize);
    // Never the whole of it again.
    let starts = commands(&way, "getAll");
    assert!(starts.iter().skip(1).all(|(headers, _)| headers["start_seq"] != json!(0)), "{starts:?}");
}

#[tokio::test]
async fn persist_095_deletions_by_limits_while_away_are_noticed() {
    let lab = Lab::start().await;
    let (persist, way) = lab.persist_over_way().await;
    let other = lab.persist().await.astream(&project(), "x", Storage::default()).unwrap();
    let stream = soon(persist.stream(&project(), "x", StreamOptions::default())).await.unwrap();
    let write = async |count: u64| {
        let writes = (0..count).map(|n| Write::value(&n).unwrap()).collect();
        soon(other.push(writes)).await.unwrap();
    };
    write(5).await;
    until("they are here", || stream.len() == 5).await;
    let mut changes = stream.changes();
    way.lead_to(None);
    write(10).await;
    soon(other.configure(json!({"max_msgs": 4}).as_object().unwrap())).await.unwrap();
    way.lead_to(Some(&lab.bus));
    until("it has caught up", || stream.newest_seq() == 15 && stream.len() == 4).await;
    let expected = HistoryGap { requested: 6, effective: 12 };
    assert_eq!((stream.history_gap(), soon(changes.next()).await), (Some(expected), Some(Change::Gap(expected))));
}

#[tokio::test]
async fn persist_099_a_publish_whose_answer_is_lost_is_repeated_with_the_same_id() {
    let lab = Lab::start().await;
    let way = Way::to(&lab.bus);
    let persist = Persist::with(&way.client().await, impatient());
    let stream = soon(persist.dstream(&project(), "x", StreamOptions::default())).await.unwrap();
    let mut lost = 0;
    // Two answers of setMany are lost, so that the request fails on both sockets; so are the feed's frames meanwhile, which would
    // tell the same.
    way.lose(move |packet| {
        if lost == 2 {
            return false;
        }
        let is_answer = delivered(packet).is_some_and(|(subject, headers)| {
            subject.starts_with("_INBOX") && headers == json!({}) && packet.attachments[0].first() == Some(&0x93)
        });
        lost += i32::from(is_answer);
        is_answer || is_feed_frame(packet)
    });
    let receipts: Vec<_> = (1..=3).map(|n| stream.publish(&n).unwrap()).collect();
    assert_eq!((stream.unsaved(), stream.values::<u8>().unwrap()), (3, vec![1, 2, 3]));
    for (n, receipt) in (1..=3).zip(receipts) {
        assert_eq!(soon(receipt).await.unwrap().seq, n);
    }
    soon(stream.save()).await.unwrap();
    let sent: Vec<_> = commands(&way, "setMany").into_iter().map(|(_, payload)| payload).collect();
    assert!(sent.len() >= 2, "{sent:?}");
    let ids = |payload: &Value| -> Vec<String> {
        payload.as_array().unwrap().iter().map(|op| op["msgID"].as_str().unwrap().into()).collect()
    };
    assert!(sent.iter().all(|payload| ids(payload) == ids(&sent[0])), "{sent:?}");
    until("they are here", || stream.core().len() == 3).await;
    assert_eq!(values(&stream.messages()), [json!(1), json!(2), json!(3)]);
    let stored = soon(lab.persist().await.stream(&project(), "x", StreamOptions::default())).await.unwrap();
    assert_eq!(stored.len(), 3);
}

#[tokio::test]
async fn persist_099_what_is_published_while_the_server_is_away_is_saved_later() {
    let lab = Lab::start().await;
    let mut settings = options();
    settings.bounds.unsaved = 100;
    let persist = Persist::with(&lab.bus.client().await, settings);
    let stream = soon(persist.dstream(&project(), "x", StreamOptions::default())).await.unwrap();
    lab.stop().await;
    for n in 0..100 {
        drop(stream.publish(&n).unwrap());
    }
    // No more than the bound.
    assert!(matches!(stream.publish(&100), Err(Error::Full)));
    assert_eq!(stream.values::<u64>().unwrap(), (0..100).collect::<Vec<_>>());
    lab.serve(ServiceOptions::default()).await;
    soon(stream.save()).await.unwrap();
    until("they are here", || stream.core().len() == 100).await;
    assert_eq!(stream.values::<u64>().unwrap(), (0..100).collect::<Vec<_>>());
    assert_eq!(stream.unsaved(), 0);
}

#[tokio::test]
async fn a_stream_in_memory_that_begins_anew_is_loaded_anew() {
    let lab = Lab::start().await;
    let persist = lab.persist().await;
    let storage = Storage { ephemeral: true, ..Storage::default() };
    let options = StreamOptions { storage, ..StreamOptions::default() };
    let stream = soon(persist.stream(&Owner::Hub, "x", options)).await.unwrap();
    for n in 1..=5 {
        soon(stream.set(Write::value(&n).unwrap())).await.unwrap();
    }
    until("they are here", || stream.len() == 5).await;
    let mut changes = stream.changes();
    // Another store, as after a restart of the server's process.
    lab.stop().await;
    let dir = tempfile::TempDir::new().unwrap();
    lab.serve_store(open(dir.path()), ServiceOptions::default()).await;
    soon(stream.set(Write::value("new").unwrap())).await.unwrap();
    until("it is here", || values(&stream.messages()) == [json!("new")]).await;
    assert_eq!(soon(changes.next()).await, Some(Change::Restarted));
    soon(stream.set(Write::value("newer").unwrap())).await.unwrap();
    until("it is here", || stream.len() == 2).await;
}

#[tokio::test]
async fn a_frame_that_is_lost_is_repeated_by_the_socket_not_loaded() {
    let lab = Lab::start().await;
    let (persist, way) = lab.persist_over_way().await;
    let other = lab.persist().await.astream(&project(), "x", Storage::default()).unwrap();
    let stream = soon(persist.stream(&project(), "x", StreamOptions::default())).await.unwrap();
    let losing = Switch::default();
    losing.set(true);
    let switch = losing.clone();
    way.lose(move |packet| switch.get() && is_feed_frame(packet));
    soon(other.publish(&1)).await.unwrap();
    until("a frame is lost", || way.packets().iter().any(is_feed_frame)).await;
    losing.set(false);
    assert_eq!(soon(stream.follow(0).next()).await.unwrap().seq, 1);
    assert_eq!((commands(&way, "getAll").len(), opens(&way).len()), (1, 1));
}

#[tokio::test]
async fn a_reader_of_notices_that_is_too_slow_is_told_so() {
    let lab = Lab::start().await;
    let mut settings = options();
    settings.bounds.notices = 8;
    let persist = Persist::with(&lab.bus.client().await, settings);
    let store = soon(persist.dkv(&project(), "x", Default::default())).await.unwrap();
    let (mut notices, mut changes) = (store.changes(), store.core().changes());
    for n in 0..50 {
        store.set(&n.to_string(), &n).unwrap();
    }
    soon(store.stable()).await.unwrap();
    let Some(Notice::Missed(missed)) = soon(notices.next()).await else { panic!("nothing was missed") };
    assert!(missed >= 42, "{missed}");
    assert!(matches!(soon(changes.next()).await, Some(Change::Missed(_))));
    // It goes on with the newest.
    let mut last = None;
    while let Ok(Some(Notice::Of(key))) = tokio::time::timeout(Duration::ZERO, notices.next()).await {
        last = Some(key);
    }
    assert_eq!(last.as_deref(), Some("49"));
}

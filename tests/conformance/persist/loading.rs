//! Finding the server, opening, loading: items 6–8, 29, 36, 94 (its first half), 97, 98, 100, 129.

use outpost::{
    bus::random_id,
    persist::{
        client::{Connection, Deletion, Error, Owner, Persist, Phase, Storage, StreamOptions, Write},
        service::ServiceOptions,
    },
    wire::msgpack::Timestamp,
};
use serde_json::json;

use super::{ACCOUNT, Lab, PROJECT, commands, delivered, impatient, opens, options, project, requests, values};
use crate::harness::{Way, soon, until};

async fn fill(persist: &Persist, owner: &Owner, name: &str, count: usize) -> Connection {
    let connection = persist.connection(owner, name, Storage::default()).unwrap();
    let writes = (1..=count).map(|n| Write::value(&json!(n)).unwrap()).collect();
    for result in soon(connection.set_many(writes)).await.unwrap() {
        result.unwrap();
    }
    connection
}

#[tokio::test]
async fn persist_006_the_server_is_looked_up_by_service_and_scope_and_remembered() {
    let lab = Lab::start().await;
    let (persist, way) = lab.persist_over_way().await;
    for (owner, name) in [(project(), "a"), (project(), "b"), (Owner::Hub, "c")] {
        soon(persist.stream(&owner, name, StreamOptions::default())).await.unwrap();
    }
    let asked: Vec<String> =
        requests(&way).into_iter().map(|(subject, ..)| subject).filter(|subject| subject.ends_with(".id")).collect();
    assert_eq!(asked, [format!("persist.project-{PROJECT}.id"), "persist.hub.id".into()]);
}

#[tokio::test]
async fn persist_008_the_open_message_names_the_path_and_the_subject_its_owner() {
    let lab = Lab::start().await;
    let (persist, way) = lab.persist_over_way().await;
    for owner in [Owner::Account(ACCOUNT.into()), project(), Owner::Hub] {
        soon(persist.stream(&owner, "jupyter:a//b/../ü \"x\".ipynb", StreamOptions::default())).await.unwrap();
    }
    let rest = "jupyter:a/ü \"x\".ipynb";
    let expected = [
        (format!("persist.account-{ACCOUNT}.server.0."), format!("accounts/{ACCOUNT}/{rest}")),
        (format!("persist.project-{PROJECT}.server.0."), format!("projects/{PROJECT}/{rest}")),
        ("persist.hub.server.0.".into(), format!("hub/{rest}")),
    ];
    let opens = opens(&way);
    assert_eq!(opens.len(), 3);
    for ((subject, open), (prefix, path)) in opens.iter().zip(expected) {
        assert!(subject.starts_with(&prefix), "{subject}");
        assert_eq!(*open, json!({"storage": {"path": path, "ephemeral": false}, "changefeed": true}));
    }
}

#[tokio::test]
async fn persist_029_paths_are_checked_before_anything_is_sent() {
    let lab = Lab::start().await;
    let (persist, way) = lab.persist_over_way().await;
    let before = requests(&way).len();
    for name in ["../x", "", "x/", "a\0b", "../../accounts/x/y", &"x".repeat(4000)] {
        let refused = persist.connection(&project(), name, Storage::default()).map(drop);
        let error = refused.expect_err(name);
        assert!(matches!(error, Error::Path(_)) && error.is_fatal(), "{name:?}: {error:?}");
        assert!(error.to_string().contains("permission denied"), "{error}");
    }
    let error = persist.connection(&Owner::Project("nobody".into()), "x", Storage::default()).map(drop).unwrap_err();
    assert_eq!(error.code().unwrap(), 403);
    assert_eq!(requests(&way).len(), before);
}

#[tokio::test]
async fn persist_036_dates_and_times_come_back() {
    let lab = Lab::start().await;
    let persist = lab.persist().await;
    let store = soon(persist.dkv(&project(), "dates", Default::default())).await.unwrap();
    let date = Timestamp::from_millis(1_795_345_740_686);
    store.set("when", &date).unwrap();
    soon(store.stable()).await.unwrap();
    assert_eq!(store.get::<Timestamp>("when").unwrap(), Some(date));
    let time = store.message("when").unwrap().time;
    assert!(time > 1_700_000_000_000, "{time} is no time in ms");
    let direct = soon(persist.akv(&project(), "dates", Storage::default()).unwrap().message("when")).await.unwrap();
    assert_eq!(direct.unwrap().time, time);
}

#[tokio::test]
async fn persist_096_streams_wait_for_a_server_that_is_not_there_yet() {
    let lab = Lab::without_service();
    let (persist, way) = lab.persist_over_way().await;
    let opening = tokio::spawn(async move { persist.stream(&project(), "x", StreamOptions::default()).await });
    let asked = || requests(&way).iter().filter(|(subject, ..)| subject.ends_with(".id")).count();
    until("it asks again", || asked() >= 2).await;
    lab.serve(ServiceOptions::default()).await;
    let stream = soon(opening).await.unwrap().unwrap();
    soon(stream.set(Write::value("hi").unwrap())).await.unwrap();
    assert_eq!(values(&[soon(stream.follow(0).next()).await.unwrap()]), [json!("hi")]);
}

#[tokio::test]
async fn persist_096_what_is_denied_is_not_tried_again() {
    let lab = Lab::start().await;
    let settings = outpost::persist::client::Options { service: "secret".into(), ..options() };
    let persist = Persist::with(&lab.bus.client().await, settings);
    let error = soon(persist.stream(&Owner::Hub, "x", StreamOptions::default())).await.map(drop).unwrap_err();
    assert_eq!(error.code().unwrap(), 403, "{error}");
    assert_eq!(lab.bus.log.asked_to_publish("secret.hub.id"), 1);
}

#[tokio::test]
async fn persist_100_an_error_frame_closes_the_object_with_its_error() {
    let lab = Lab::without_service();
    lab.serve(ServiceOptions { max_sockets_per_scope: 1, ..ServiceOptions::default() }).await;
    let (persist, way) = lab.persist_over_way().await;
    let first = soon(persist.stream(&project(), "a", StreamOptions::default())).await.unwrap();
    // 429 is fatal: the object is closed and nothing is tried again.
    let second = persist.connection(&project(), "b", Storage::default()).unwrap();
    let mut feed = match soon(second.feed()).await {
        Ok(feed) => feed,
        Err(error) => {
            assert_eq!(error.code().unwrap(), 429, "{error}");
            assert!(matches!(second.phase(), Phase::Closed(_)));
            return;
        }
    };
    let error = soon(feed.next()).await.unwrap_err();
    assert_eq!(error.code().unwrap(), 429, "{error}");
    assert!(error.to_string().contains("limit"), "{error}");
    let Phase::Closed(error) = second.phase() else { panic!("{:?}", second.phase()) };
    assert_eq!(error.code().unwrap(), 429);
    let error = soon(second.inventory()).await.unwrap_err();
    assert_eq!(error.code().unwrap(), 429);
    // A structure does not open either.
    let error = soon(persist.stream(&project(), "c", StreamOptions::default())).await.map(drop).unwrap_err();
    assert_eq!(error.code().unwrap(), 429);
    assert_eq!(opens(&way).len(), 3);
    assert!(first.error().is_none());
}

#[tokio::test]
async fn persist_097_an_answer_that_is_not_complete_is_no_answer() {
    // The first frame, then the final one.
    for lost in [0, 1] {
        let lab = Lab::start().await;
        fill(&lab.persist().await, &project(), "x", 10).await;
        let way = Way::to(&lab.bus);
        let persist = Persist::with(&way.client().await, impatient());
        let mut left = 1;
        way.lose(move |packet| {
            let is = delivered(packet)
                .is_some_and(|(subject, headers)| subject.starts_with("_INBOX") && headers["seq"] == json!(lost));
            let loses = is && left > 0;
            left -= i32::from(loses);
            loses
        });
        let stream = soon(persist.stream(&project(), "x", StreamOptions::default())).await.unwrap();
        assert_eq!(stream.len(), 10, "frame {lost} was lost");
        assert_eq!(commands(&way, "getAll").len(), 2);
        // The socket was replaced in between.
        let opens = opens(&way);
        assert_eq!(opens.len(), 2);
        assert_ne!(opens[0].0, opens[1].0);
    }
}

#[tokio::test]
async fn persist_098_numbers_that_are_gone_are_asked_for_once() {
    let lab = Lab::start().await;
    let other = fill(&lab.persist().await, &project(), "x", 20).await;
    soon(other.delete(&Deletion::All)).await.unwrap();
    let (persist, way) = lab.persist_over_way().await;
    let stream = soon(persist.stream(&project(), "x", StreamOptions::default())).await.unwrap();
    let mut follower = stream.follow(0);
    for n in 21..=23 {
        soon(other.set(Write::value(&n).unwrap())).await.unwrap();
        let message = soon(follower.next()).await.unwrap();
        assert_eq!((message.seq, message.value::<u64>().unwrap()), (n, n));
    }
    let ranges: Vec<_> = commands(&way, "getAll")
        .into_iter()
        .map(|(headers, _)| (headers["start_seq"].clone(), headers["end_seq"].clone()))
        .collect();
    assert_eq!(ranges, [(json!(0), json!(null)), (json!(1), json!(20))]);
}

#[tokio::test]
async fn persist_129_a_gap_in_the_history_is_reported() {
    let lab = Lab::start().await;
    let persist = lab.persist().await;
    let other = fill(&persist, &project(), "x", 10).await;
    soon(other.delete(&Deletion::UpTo(5))).await.unwrap();
    let open = async |start_seq| {
        let options = StreamOptions { start_seq, ..StreamOptions::default() };
        soon(persist.stream(&project(), "x", options)).await.unwrap()
    };
    let gap = open(3).await.history_gap().unwrap();
    assert_eq!((gap.requested, gap.effective), (3, 6));
    for start in [0, 6, 8] {
        assert_eq!(open(start).await.history_gap(), None, "from {start}");
    }
}

#[tokio::test]
async fn older_messages_are_loaded_on_demand() {
    let lab = Lab::start().await;
    let (persist, way) = lab.persist_over_way().await;
    fill(&persist, &project(), "x", 10).await;
    let options = StreamOptions { start_seq: 8, ..StreamOptions::default() };
    let stream = soon(persist.stream(&project(), "x", options)).await.unwrap();
    assert_eq!(stream.len(), 3);
    assert_eq!(soon(stream.load_older(4)).await.unwrap(), 4);
    assert_eq!(values(&stream.messages()), (4..=10).map(|n| json!(n)).collect::<Vec<_>>());
    assert_eq!(soon(stream.load_older(0)).await.unwrap(), 3);
    assert_eq!(soon(stream.load_older(0)).await.unwrap(), 0);
    assert_eq!(stream.len(), 10);
    let (headers, _) = commands(&way, "getAll").pop().unwrap();
    assert_eq!((&headers["start_seq"], &headers["end_seq"]), (&json!(0), &json!(3)));
}

#[tokio::test]
async fn one_request_loads_a_stream() {
    let lab = Lab::start().await;
    let (persist, way) = lab.persist_over_way().await;
    let config = json!({"max_msgs": 100}).as_object().unwrap().clone();
    let open = async || {
        let options = StreamOptions { config: config.clone(), ..StreamOptions::default() };
        soon(persist.stream(&project(), "x", options)).await.unwrap()
    };
    assert_eq!(open().await.config()["max_msgs"], 100);
    // The second time the configuration is as it should be, which the answer tells.
    assert_eq!(open().await.config()["max_msgs"], 100);
    assert_eq!((commands(&way, "getAll").len(), commands(&way, "config").len()), (2, 1));
    assert_eq!(commands(&way, "changefeed").len(), 0);
    let (headers, _) = commands(&way, "getAll").remove(0);
    assert_eq!((&headers["start_seq"], &headers["changefeed"]), (&json!(0), &json!(true)));
}

#[tokio::test]
async fn a_stream_that_is_too_large_does_not_open() {
    let lab = Lab::start().await;
    fill(&lab.persist().await, &project(), "x", 100).await;
    let mut settings = options();
    settings.bounds.copy_bytes = 2000;
    let persist = Persist::with(&lab.bus.client().await, settings);
    let error = soon(persist.stream(&project(), "x", StreamOptions::default())).await.map(drop).unwrap_err();
    assert!(matches!(error, Error::TooLarge(2000)), "{error}");
}

#[tokio::test]
async fn closing_leaves_nothing_behind() {
    let lab = Lab::start().await;
    let client = lab.bus.client().await;
    let persist = Persist::with(&client, options());
    let before = lab.bus.subscriptions();
    let name = random_id();
    let stream = soon(persist.dstream(&project(), &name, StreamOptions::default())).await.unwrap();
    let store = soon(persist.dkv(&project(), &name, Default::default())).await.unwrap();
    let direct = persist.akv(&project(), &name, Storage::default()).unwrap();
    store.set("a", &1).unwrap();
    soon(stream.publish(&1).unwrap()).await.unwrap();
    soon(direct.get::<u8>("a")).await.unwrap();
    assert_eq!(lab.bus.subscriptions(), before + 3);
    let mut follower = stream.follow(100);
    soon(stream.close()).await;
    soon(store.close()).await;
    soon(direct.close()).await;
    assert!(soon(follower.next()).await.is_none());
    assert!(matches!(stream.publish(&1), Err(Error::Closed)));
    assert!(matches!(store.set("a", &1), Err(Error::Closed)));
    until("the sockets are gone", || lab.bus.subscriptions() == before).await;
    // A handle that is dropped closes as well.
    let stream = soon(persist.stream(&project(), &name, StreamOptions::default())).await.unwrap();
    drop(stream);
    until("the socket is gone", || lab.bus.subscriptions() == before).await;
    // So does a client of the bus that closes.
    let stream = soon(persist.stream(&project(), &name, StreamOptions::default())).await.unwrap();
    client.close();
    soon(stream.ended()).await;
}

#[tokio::test]
async fn a_stream_larger_than_what_may_wait_for_a_reader_is_loaded_whole() {
    const COUNT: usize = 80;
    let lab = Lab::start().await;
    let persist = lab.persist().await;
    let other = persist.connection(&project(), "x", Storage::default()).unwrap();
    // More than 64 MiB in all, which is what responses may wait.
    let text = "x".repeat(1 << 20);
    for n in 0..COUNT {
        soon(other.set(Write::value(&(n, &text)).unwrap())).await.unwrap();
    }
    let stream = soon(persist.stream(&project(), "x", StreamOptions::default())).await.unwrap();
    assert_eq!(stream.len(), COUNT);
    assert!(stream.bytes() > COUNT << 20);
    let last = stream.get(COUNT as u64).unwrap().value::<(usize, String)>().unwrap();
    assert_eq!((last.0, last.1.len()), (COUNT - 1, text.len()));
}

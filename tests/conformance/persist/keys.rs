//! Key-value stores: items 102–105 and 107.

use std::{collections::BTreeMap, sync::Arc};

use outpost::persist::client::{Conflict, Deletion, Dkv, DkvOptions, Merge, Notice, Persist, SetOptions, Storage};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::{Lab, Switch, commands, is_feed_frame, opens, project};
use crate::harness::{Way, ms, soon, until};

async fn store(persist: &Persist, name: &str) -> Dkv {
    soon(persist.dkv(&project(), name, DkvOptions::default())).await.unwrap()
}

/// A merge function that writes down what it is asked.
#[derive(Clone, Default)]
struct Asked(Arc<Mutex<Vec<Conflict>>>);

impl Asked {
    fn store_options(&self, resolve: impl Fn(&Conflict) -> Option<rmpv::Value> + Send + Sync + 'static) -> DkvOptions {
        let asked = self.clone();
        let merge = Merge::new(move |conflict| {
            asked.0.lock().push(conflict.clone());
            Ok(resolve(conflict))
        });
        DkvOptions { merge: Some(merge), ..DkvOptions::default() }
    }

    fn take(&self) -> Vec<Conflict> {
        std::mem::take(&mut *self.0.lock())
    }
}

#[tokio::test]
async fn persist_102_a_deleted_key_is_a_tombstone_and_absent_for_readers() {
    let lab = Lab::start().await;
    let (persist, way) = lab.persist_over_way().await;
    let (here, there) = (store(&persist, "x").await, store(&lab.persist().await, "x").await);
    for key in ["a", "b"] {
        here.set(key, &1).unwrap();
    }
    soon(here.stable()).await.unwrap();
    until("they are there", || there.len() == 2).await;
    let mut changes = there.changes();
    here.delete("b").unwrap();
    assert_eq!((here.has("b"), here.get::<u8>("b").unwrap(), here.keys()), (false, None, vec!["a".into()]));
    soon(here.stable()).await.unwrap();
    assert_eq!(soon(changes.next()).await, Some(Notice::Of("b".into())));
    assert_eq!((there.has("b"), there.get::<u8>("b").unwrap(), there.len()), (false, None, 1));
    let sent = commands(&way, "set");
    let (headers, payload) = sent.first().unwrap();
    assert_eq!((&headers["key"], &headers["ttl"], payload), (&json!("b"), &json!(604_800_000), &Value::Null));
    assert_eq!(headers["headers"], json!({"CN-Tombstone": true}));
    // Deleting what is not there writes nothing.
    here.delete("nothing").unwrap();
    soon(here.stable()).await.unwrap();
    assert_eq!(commands(&way, "set").len(), 1);
    // A store that is opened later sees the same; null is a value like others.
    here.set("null", &()).unwrap();
    soon(here.stable()).await.unwrap();
    let late = store(&persist, "x").await;
    let all: BTreeMap<Arc<str>, Value> = late.all().unwrap();
    assert_eq!(all, BTreeMap::from([("a".into(), json!(1)), ("null".into(), Value::Null)]));
    here.clear().unwrap();
    soon(here.stable()).await.unwrap();
    until("all is gone", || there.is_empty() && late.is_empty()).await;
}

#[tokio::test]
async fn persist_103_messages_may_have_a_time_to_live() {
    let lab = Lab::start().await;
    let store = store(&lab.persist().await, "x").await;
    let config = soon(store.core().connection().configure(&Default::default())).await.unwrap();
    assert_eq!(config["allow_msg_ttl"], true);
    store.set_with("k", &1, SetOptions { ttl: Some(ms(1)), ..SetOptions::default() }).unwrap();
    soon(store.save()).await.unwrap();
    loop {
        soon(store.core().connection().configure(&Default::default())).await.unwrap();
        if soon(store.core().inventory()).await.unwrap().count == 0 {
            break;
        }
    }
    until("it is gone here too", || !store.has("k")).await;
}

#[tokio::test]
async fn persist_104_a_write_that_was_overtaken_is_merged_and_saved() {
    let lab = Lab::start().await;
    let way = Way::to(&lab.bus);
    let persist = Persist::with(&way.client().await, super::options());
    let asked = Asked::default();
    // The union of both, with what both started from removed where one side has removed it: here simply both.
    let options = asked.store_options(|conflict| {
        let text = |value: &Option<rmpv::Value>| value.as_ref().and_then(|v| v.as_str()).unwrap_or_default().to_owned();
        Some(format!("{}+{}", text(&conflict.local), text(&conflict.remote)).into())
    });
    let here = soon(persist.dkv(&project(), "x", options)).await.unwrap();
    let there = store(&lab.persist().await, "x").await;
    for key in ["a", "b", "c"] {
        here.set(key, "base").unwrap();
    }
    soon(here.stable()).await.unwrap();
    until("they are there", || there.len() == 3).await;
    // What happens there is not seen here for a while.
    let losing = Switch::default();
    losing.set(true);
    let switch = losing.clone();
    way.lose(move |packet| switch.get() && is_feed_frame(packet));
    there.set("b", "remote").unwrap();
    soon(there.save()).await.unwrap();
    for key in ["a", "b", "c"] {
        here.set(key, "local").unwrap();
    }
    // The others of the batch are saved; the one in the middle has been overtaken.
    until("the others are saved", || here.unsaved() == ["b".into()]).await;
    assert_eq!((here.get::<String>("b").unwrap().unwrap(), asked.take()), ("local".into(), vec![]));
    losing.set(false);
    soon(here.stable()).await.unwrap();
    let conflict = Conflict {
        key: "b".into(),
        prev: Some("base".into()),
        local: Some("local".into()),
        remote: Some("remote".into()),
    };
    assert_eq!(asked.take(), [conflict]);
    until("it is there", || there.get::<String>("b").unwrap().unwrap() == "local+remote").await;
    assert_eq!(here.get::<String>("b").unwrap().unwrap(), "local+remote");
    assert_eq!(there.get::<String>("c").unwrap().unwrap(), "local");
    // Every write said which message it replaces, and none was tried twice with the same wrong number.
    let writes: Vec<Value> =
        commands(&way, "setMany").into_iter().flat_map(|(_, ops)| ops.as_array().unwrap().clone()).collect();
    let of_b: Vec<Value> = writes.iter().filter(|op| op["key"] == "b").map(|op| op["previousSeq"].clone()).collect();
    assert_eq!(of_b, [Value::Null, json!(2), json!(4)]);
    let of_a: Vec<Value> = writes.iter().filter(|op| op["key"] == "a").map(|op| op["previousSeq"].clone()).collect();
    assert_eq!(of_a, [Value::Null, json!(1)]);
}

#[tokio::test]
async fn persist_104_the_local_value_stays_by_default() {
    let lab = Lab::start().await;
    for merge in [None, Some(Merge::keep_local()), Some(Merge::new(|_| Err("no".into())))] {
        let (persist, way) = lab.persist_over_way().await;
        let name = outpost::bus::random_id();
        let here = soon(persist.dkv(&project(), &name, DkvOptions { merge, ..DkvOptions::default() })).await.unwrap();
        let there = store(&lab.persist().await, &name).await;
        here.set("k", "base").unwrap();
        soon(here.stable()).await.unwrap();
        until("it is there", || there.has("k")).await;
        way.lead_to(None);
        here.set("k", "local").unwrap();
        there.set("k", "remote").unwrap();
        soon(there.stable()).await.unwrap();
        assert_eq!(here.get::<String>("k").unwrap().unwrap(), "local");
        way.lead_to(Some(&lab.bus));
        soon(here.stable()).await.unwrap();
        until("it is there", || there.get::<String>("k").unwrap().unwrap() == "local").await;
        assert_eq!(here.get::<String>("k").unwrap().unwrap(), "local");
    }
}

#[tokio::test]
async fn persist_104_the_remote_value_may_be_taken_and_deletions_conflict_too() {
    let lab = Lab::start().await;
    let (persist, way) = lab.persist_over_way().await;
    let asked = Asked::default();
    let options = asked.store_options(|conflict| conflict.remote.clone());
    let here = soon(persist.dkv(&project(), "x", options)).await.unwrap();
    let there = store(&lab.persist().await, "x").await;
    for key in ["set", "deleted here", "deleted there"] {
        here.set(key, &0).unwrap();
    }
    soon(here.stable()).await.unwrap();
    until("they are there", || there.len() == 3).await;
    way.lead_to(None);
    here.set("set", &1).unwrap();
    there.set("set", &2).unwrap();
    here.delete("deleted here").unwrap();
    there.set("deleted here", &2).unwrap();
    here.set("deleted there", &1).unwrap();
    there.delete("deleted there").unwrap();
    soon(there.stable()).await.unwrap();
    way.lead_to(Some(&lab.bus));
    soon(here.stable()).await.unwrap();
    let all: BTreeMap<Arc<str>, u8> = here.all().unwrap();
    assert_eq!(all, BTreeMap::from([("set".into(), 2), ("deleted here".into(), 2)]));
    let mut conflicts = asked.take();
    conflicts.sort_by(|a, b| a.key.cmp(&b.key));
    let sides: Vec<_> = conflicts.into_iter().map(|c| (c.local, c.remote)).collect();
    let value = |n: u8| Some(rmpv::Value::from(n));
    assert_eq!(sides, [(None, value(2)), (value(1), None), (value(1), value(2))]);
}

#[tokio::test]
async fn persist_104_a_key_whose_message_has_vanished_can_be_written() {
    let lab = Lab::start().await;
    let (persist, way) = lab.persist_over_way().await;
    let options = DkvOptions { merge: Some(Merge::keep_local()), ..DkvOptions::default() };
    let here = soon(persist.dkv(&project(), "x", options)).await.unwrap();
    for key in ["first", "k", "last"] {
        here.set(key, &1).unwrap();
    }
    soon(here.stable()).await.unwrap();
    // It is deleted without a trace while this client is away.
    way.lead_to(None);
    let other = lab.persist().await.connection(&project(), "x", Storage::default()).unwrap();
    soon(other.delete(&Deletion::One(2))).await.unwrap();
    way.lead_to(Some(&lab.bus));
    here.set("k", &2).unwrap();
    soon(here.stable()).await.unwrap();
    assert_eq!(soon(other.get_key("k")).await.unwrap().unwrap().value::<u8>().unwrap(), 2);
}

#[tokio::test]
async fn persist_104_many_writers_who_merge_lose_nothing() {
    let lab = Lab::start().await;
    let union = |conflict: &Conflict| {
        let items =
            |value: &Option<rmpv::Value>| value.as_ref().and_then(|v| v.as_array().cloned()).unwrap_or_default();
        let mut all = items(&conflict.remote);
        all.extend(items(&conflict.local).into_iter().filter(|item| !items(&conflict.remote).contains(item)));
        Some(rmpv::Value::Array(all))
    };
    let mut stores = Vec::new();
    for _ in 0..3 {
        let options = DkvOptions { merge: Some(Merge::new(move |c| Ok(union(c)))), ..DkvOptions::default() };
        stores.push(soon(lab.persist().await.dkv(&project(), "x", options)).await.unwrap());
    }
    stores[0].set("items", &[(); 0]).unwrap();
    for store in &stores {
        until("it is there", || store.has("items")).await;
        soon(store.stable()).await.unwrap();
    }
    let working = stores.iter().cloned().enumerate().map(|(writer, store)| {
        tokio::spawn(async move {
            for n in 0..20 {
                let mut items: Vec<(usize, u8)> = store.get("items").unwrap().unwrap();
                items.push((writer, n));
                store.set("items", &items).unwrap();
                soon(store.stable()).await.unwrap();
            }
        })
    });
    for work in working.collect::<Vec<_>>() {
        work.await.unwrap();
    }
    for store in &stores {
        let count = || store.get::<Vec<(usize, u8)>>("items").unwrap().unwrap().len();
        until("all is there", || count() == 60).await;
    }
}

#[tokio::test]
async fn persist_105_a_value_that_comes_back_is_saved() {
    let lab = Lab::start().await;
    let (persist, way) = lab.persist_over_way().await;
    let here = store(&persist, "x").await;
    here.set("k", &json!({"a": 1, "b": [1.0, "x"]})).unwrap();
    assert!(!here.is_stable());
    soon(here.stable()).await.unwrap();
    assert_eq!((here.unsaved().len(), commands(&way, "setMany").len()), (0, 1));
    // The echo is lost with the socket: it comes back without its id, and is known by its value.
    let losing = Switch::default();
    losing.set(true);
    let switch = losing.clone();
    way.lose(move |packet| switch.get() && is_feed_frame(packet));
    here.set("k", &json!({"a": 2})).unwrap();
    soon(here.save()).await.unwrap();
    assert!(!here.is_stable());
    losing.set(false);
    way.cut();
    soon(here.stable()).await.unwrap();
    assert_eq!((commands(&way, "setMany").len(), here.get::<Value>("k").unwrap()), (2, Some(json!({"a": 2}))));
    // The other side has written the same.
    let there = store(&lab.persist().await, "x").await;
    way.lead_to(None);
    here.set("k", &json!({"b": 1, "a": 3})).unwrap();
    there.set("k", &json!({"a": 3, "b": 1.0})).unwrap();
    soon(there.stable()).await.unwrap();
    let sockets = opens(&way).len();
    way.lead_to(Some(&lab.bus));
    soon(here.stable()).await.unwrap();
    assert!(opens(&way).len() > sockets);
    assert_eq!(here.get::<Value>("k").unwrap().unwrap()["a"], 3);
}

#[tokio::test]
async fn persist_105_a_newer_value_stands_when_an_older_one_comes_back() {
    let lab = Lab::start().await;
    let persist = lab.persist().await;
    let asked = Asked::default();
    let here = soon(persist.dkv(&project(), "x", asked.store_options(|c| c.local.clone()))).await.unwrap();
    for n in 0..200 {
        here.set("k", &n).unwrap();
        tokio::task::yield_now().await;
        assert_eq!(here.get::<u32>("k").unwrap(), Some(n));
    }
    soon(here.stable()).await.unwrap();
    // Nobody else has written, so there was no conflict.
    assert_eq!((here.get::<u32>("k").unwrap(), asked.take()), (Some(199), vec![]));
}

#[tokio::test]
async fn persist_107_a_store_without_a_copy_reads_tombstones_as_absent() {
    let lab = Lab::start().await;
    let (persist, way) = lab.persist_over_way().await;
    let direct = persist.akv(&project(), "x", Storage::default()).unwrap();
    soon(direct.set("a", &json!({"x": 1}))).await.unwrap();
    soon(direct.set("null", &())).await.unwrap();
    assert_eq!(soon(direct.get::<Value>("a")).await.unwrap(), Some(json!({"x": 1})));
    assert_eq!(soon(direct.get::<Value>("null")).await.unwrap(), Some(Value::Null));
    assert_eq!(soon(direct.get::<Value>("nothing")).await.unwrap(), None);
    soon(direct.delete("a")).await.unwrap();
    assert_eq!(soon(direct.get::<Value>("a")).await.unwrap(), None);
    let (headers, payload) = commands(&way, "set").pop().unwrap();
    assert_eq!(
        (&headers["headers"], &headers["ttl"], payload),
        (&json!({"CN-Tombstone": true}), &Value::Null, Value::Null)
    );
    let mut keys = soon(direct.keys()).await.unwrap();
    keys.sort();
    assert_eq!(keys, ["a", "null"]);
    // Compare-and-set.
    let seq = soon(direct.set("cas", &1)).await.unwrap().seq;
    let set = async |n: u8, seq| soon(direct.set_with("cas", &n, SetOptions::default(), Some(seq))).await;
    set(2, seq).await.unwrap();
    assert_eq!(set(3, seq).await.unwrap_err().code().unwrap(), *"wrong-last-sequence");
    // A time to live turns it on for the whole store.
    let options = SetOptions { ttl: Some(ms(60_000)), ..SetOptions::default() };
    soon(direct.set_with("t", &1, options, None)).await.unwrap();
    assert_eq!(soon(direct.configure(&Default::default())).await.unwrap()["allow_msg_ttl"], true);
    // The open message has nothing that older servers would not know.
    assert_eq!(opens(&way)[0].1["changefeed"], false);
}

#[tokio::test]
async fn persist_105_a_value_that_vanished_before_it_came_back_is_not_waited_for() {
    let lab = Lab::start().await;
    let (persist, way) = lab.persist_over_way().await;
    let here = store(&persist, "x").await;
    way.lose(is_feed_frame);
    here.set("k", &1).unwrap();
    soon(here.save()).await.unwrap();
    way.lead_to(None);
    let other = lab.persist().await.connection(&project(), "x", Storage::default()).unwrap();
    soon(other.delete(&Deletion::One(1))).await.unwrap();
    soon(other.set(outpost::persist::client::Write::value(&2).unwrap().key("other"))).await.unwrap();
    way.lose(|_| false);
    way.lead_to(Some(&lab.bus));
    soon(here.stable()).await.unwrap();
    assert_eq!(here.keys(), ["other".into()]);
}

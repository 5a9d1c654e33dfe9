//! Stores of objects: item 106.

use std::collections::BTreeMap;

use outpost::persist::client::{Dko, DkvOptions, Notice, Persist, Storage};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Lab, commands, opens, project};
use crate::harness::{soon, until};

async fn objects(persist: &Persist) -> Dko {
    soon(persist.dko(&project(), "table", DkvOptions::default())).await.unwrap()
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Row {
    f: u8,
    g: String,
}

#[tokio::test]
async fn persist_106_objects_are_stored_field_by_field() {
    let lab = Lab::start().await;
    let (persist, way) = lab.persist_over_way().await;
    let here = objects(&persist).await;
    assert!(opens(&way)[0].1["storage"]["path"].as_str().unwrap().ends_with("/__dko__table"));
    let row = Row { f: 1, g: "x".into() };
    here.set("k", &row).unwrap();
    assert_eq!(here.get_as::<Row>("k").unwrap(), Some(row));
    soon(here.save()).await.unwrap();
    let stored = persist.akv(&project(), "__dko__table", Storage::default()).unwrap();
    let mut keys = soon(stored.keys()).await.unwrap();
    keys.sort();
    assert_eq!(keys, [r#"["k","f"]"#, r#"["k","g"]"#, "k"]);
    assert_eq!(soon(stored.get::<Value>("k")).await.unwrap(), Some(json!(["f", "g"])));
    assert_eq!(soon(stored.get::<Value>(r#"["k","g"]"#)).await.unwrap(), Some(json!("x")));
    // Only what has changed is written.
    let written = || -> Vec<Value> {
        let all = commands(&way, "setMany").into_iter().flat_map(|(_, ops)| ops.as_array().unwrap().clone());
        all.map(|op| op["key"].clone()).collect()
    };
    let before = written().len();
    here.set("k", &Row { f: 2, g: "x".into() }).unwrap();
    soon(here.save()).await.unwrap();
    assert_eq!(written()[before..], [json!(r#"["k","f"]"#)]);
    here.set("k", &json!({"f": 2})).unwrap();
    soon(here.save()).await.unwrap();
    assert_eq!(written()[before + 1..], [json!("k")]);
    assert_eq!(here.get("k").unwrap().unwrap(), BTreeMap::from([("f".into(), 2.into())]));
    assert_eq!(here.get_field::<String>("k", "g").unwrap(), None);
}

#[tokio::test]
async fn persist_106_objects_are_seen_changed_and_deleted_elsewhere() {
    let lab = Lab::start().await;
    let (here, there) = (objects(&lab.persist().await).await, objects(&lab.persist().await).await);
    let mut changes = there.changes();
    here.set("k", &json!({"f": 1, "g": [1]})).unwrap();
    here.set("[odd", &json!({})).unwrap();
    soon(here.save()).await.unwrap();
    until("they are there", || there.all().unwrap() == here.all().unwrap()).await;
    assert_eq!(there.keys(), ["[odd".into(), "k".into()]);
    assert_eq!(there.get_field::<u8>("k", "f").unwrap(), Some(1));
    assert!(matches!(soon(changes.next()).await, Some(Notice::Of(key)) if &*key == "k"));
    here.delete("k").unwrap();
    assert!(!here.has("k"));
    soon(here.save()).await.unwrap();
    until("it is gone there", || there.keys() == ["[odd".into()]).await;
    // The fields that it listed are gone as well.
    until("so are its fields", || there.dkv().keys() == ["[odd".into()]).await;
    assert!(here.set("x", &5).is_err());
}

//! Reading rows: filter, projection, defaults (hub.md §8.3).

use std::cmp::Ordering;

use serde_json::Value;

use super::{Order, Query};
use crate::hub::schema::Row;

/// Whether a row is asked for: it equals every value of the pattern that is not null.
pub fn matches(query: &Query, row: &Row) -> bool {
    let wanted = query.pattern.iter().filter(|(_, value)| !value.is_null());
    let mut compared = wanted.map(|(name, value)| row.get(name).is_some_and(|found| equal(found, value)));
    compared.all(|is_equal| is_equal)
}

/// Deep equality, in which `1` is `1.0`.
fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| equal(a, b)))
        }
        (a, b) => a == b,
    }
}

/// What the client gets of a row: the fields it named and the primary key, with defaults. Fields that may not be read and
/// fields nobody knows are absent.
pub fn project(query: &Query, row: &Row) -> Row {
    let table = query.table;
    let named = query.pattern.keys().map(String::as_str).filter(|name| !table.is_key(name));
    let readable = named.filter(|name| table.field(name).is_some_and(|field| field.readable));
    let mut projected = Row::new();
    for name in table.key.iter().copied().chain(readable) {
        let found = row.get(name);
        let value = match (found, table.defaults().get(name)) {
            (None | Some(Value::Null), Some(default)) => default.clone(),
            (Some(Value::Object(found)), Some(Value::Object(default))) => Value::Object(filled(found, default)),
            (Some(found), _) => found.clone(),
            (None, None) => continue,
        };
        projected.insert(name.to_owned(), value);
    }
    projected
}

/// An object with its missing and null keys taken from the default.
fn filled(found: &Row, default: &Row) -> Row {
    let mut filled = found.clone();
    for (key, value) in default {
        let place = filled.entry(key.clone()).or_insert(Value::Null);
        if place.is_null() {
            place.clone_from(value);
        }
    }
    filled
}

/// Puts rows in order and cuts off what is beyond the limit.
pub fn arrange(order: &Order, rows: &mut Vec<Row>) {
    if let Some((name, greatest_first)) = &order.by {
        rows.sort_by(|a, b| {
            let ordering = compare(a.get(name), b.get(name));
            if *greatest_first { ordering.reverse() } else { ordering }
        });
    }
    if let Some(limit) = order.limit {
        rows.truncate(limit);
    }
}

/// Numbers before texts, texts before everything else, what is missing last.
fn compare(a: Option<&Value>, b: Option<&Value>) -> Ordering {
    let rank = |value: Option<&Value>| match value {
        Some(Value::Number(_)) => 0,
        Some(Value::String(_)) => 1,
        Some(Value::Null) | None => 3,
        Some(_) => 2,
    };
    match (a, b) {
        (Some(Value::Number(a)), Some(Value::Number(b))) => {
            a.as_f64().unwrap_or_default().total_cmp(&b.as_f64().unwrap_or_default())
        }
        (Some(Value::String(a)), Some(Value::String(b))) => a.cmp(b),
        (a, b) => rank(a).cmp(&rank(b)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::hub::{
        query::{Action, Actor, Request},
        schema::Table,
    };

    fn get(table: &str, pattern: Value) -> Query {
        let actor = Actor { account_id: "A".into(), project_id: "P".into(), is_project: false };
        match Request::read(json!({table: [pattern]}), None, &actor).unwrap() {
            Request::One(query) => query,
            Request::Many(_) => unreachable!(),
        }
    }

    fn row(value: Value) -> Row {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn hub_086_only_what_was_asked_for() {
        let query = get("accounts", json!({"first_name": null, "nonsense": null, "sign_up_usage_intent": null}));
        let stored = row(json!({"account_id": "A", "first_name": "F", "last_name": "L", "sign_up_usage_intent": "x"}));
        assert_eq!(Value::from(project(&query, &stored)), json!({"account_id": "A", "first_name": "F"}));
    }

    #[test]
    fn hub_087_and_088_defaults() {
        let query = get(
            "accounts",
            json!({"font_size": null, "autosave": null, "other_settings": null, "unlisted": null, "name": null, "first_name": null}),
        );
        let stored = row(json!({
            "account_id": "A", "font_size": null, "autosave": 0, "unlisted": false, "first_name": "",
            "other_settings": {"katex": false, "page_size": null, "mine": {"x": null}},
        }));
        let got = Value::from(project(&query, &stored));
        assert_eq!(got["font_size"], 14);
        assert_eq!((&got["autosave"], &got["unlisted"], &got["first_name"]), (&json!(0), &json!(false), &json!("")));
        assert_eq!(got.get("name"), None);
        let settings = got["other_settings"].as_object().unwrap();
        let expected =
            [("katex", json!(false)), ("page_size", json!(500)), ("mine", json!({"x": null})), ("i18n", json!("en"))];
        for (name, value) in expected {
            assert_eq!(settings[name], value, "{name}");
        }
        assert_eq!(
            settings.len(),
            Table::find("accounts").unwrap().defaults()["other_settings"].as_object().unwrap().len() + 1
        );
    }

    #[test]
    fn hub_089_filters_compare_deeply() {
        let stored = row(json!({"id": "x", "event": {"a": [1, {"b": 2.0}]}, "time": "t"}));
        for (pattern, expected) in [
            (json!({"id": null}), true),
            (json!({"id": "x", "time": null}), true),
            (json!({"event": {"a": [1.0, {"b": 2}]}}), true),
            (json!({"event": {"a": [1]}}), false),
            (json!({"project_id": "P"}), false),
            (json!({"id": "y"}), false),
        ] {
            assert_eq!(matches(&get("project_log", pattern.clone()), &stored), expected, "{pattern}");
        }
    }

    #[test]
    fn rows_are_arranged() {
        let rows = |values: &[Value]| -> Vec<Row> { values.iter().map(|v| row(json!({"t": v}))).collect() };
        let order = |greatest_first, limit| Order { by: Some(("t".into(), greatest_first)), limit };
        let mut list = rows(&[json!("b"), json!(null), json!(2), json!("a"), json!(10)]);
        arrange(&order(false, None), &mut list);
        assert_eq!(list, rows(&[json!(2), json!(10), json!("a"), json!("b"), json!(null)]));
        arrange(&order(true, Some(2)), &mut list);
        assert_eq!(list, rows(&[json!(null), json!("b")]));
    }

    fn settings() -> impl Strategy<Value = Row> {
        let value =
            prop_oneof![Just(Value::Null), any::<bool>().prop_map(Value::from), any::<i32>().prop_map(Value::from)];
        proptest::collection::btree_map("[a-c]|katex|page_size|i18n", value, 0..6)
            .prop_map(|map| map.into_iter().collect())
    }

    proptest! {
        /// What is stored and not null is never touched; what is filled comes from the default.
        #[test]
        fn filling_keeps_what_is_stored(found in settings()) {
            let default = Table::find("accounts").unwrap().defaults()["other_settings"].as_object().unwrap();
            let full = filled(&found, default);
            for (key, value) in &full {
                let kept = found.get(key).filter(|value| !value.is_null());
                prop_assert_eq!(Some(value), kept.or(default.get(key)).or(found.get(key)));
            }
            prop_assert!(default.keys().chain(found.keys()).all(|key| full.contains_key(key)));
            prop_assert_eq!(filled(&full, default), full, "filling twice is filling once");
        }

        /// A projection has the key and nothing that was not named.
        #[test]
        fn projections_have_no_more_fields_than_named(
            stored in settings(), names in proptest::collection::vec("first_name|tags|name|x|account_id|groups", 0..5)
        ) {
            let mut stored = stored;
            stored.insert("account_id".into(), "A".into());
            stored.insert("tags".into(), json!([1]));
            let pattern: Row = names.iter().map(|name| (name.clone(), Value::Null)).collect();
            let query = get("accounts", pattern.clone().into());
            prop_assert!(matches!(query.action, Action::Get(_)));
            let got = project(&query, &stored);
            prop_assert!(got.keys().all(|key| key == "account_id" || pattern.contains_key(key)));
            prop_assert_eq!(&got["account_id"], "A");
        }
    }
}

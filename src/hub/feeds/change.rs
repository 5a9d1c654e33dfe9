//! What a feed is to hear of a change (hub.md §10.4).

use serde_json::{Value, json};

use crate::hub::{
    query::{Query, get},
    schema::Row,
};

/// The message about a change, or `None` when the feed does not see it. A row that begins to match is inserted, one that no
/// longer matches is deleted.
pub(super) fn message(query: &Query, old: Option<&Row>, new: Option<&Row>) -> Option<Value> {
    let seen = |row: Option<&Row>| row.filter(|row| get::matches(query, row)).map(|row| get::project(query, row));
    let change = match (seen(old), seen(new)) {
        (None, None) => return None,
        (None, Some(new)) => json!({"action": "insert", "new_val": new}),
        (Some(old), Some(new)) if old == new => return None,
        (Some(_), Some(new)) => json!({"action": "update", "new_val": new}),
        (Some(old), None) => {
            let key: Row = old.into_iter().filter(|(name, _)| query.table.is_key(name)).collect();
            json!({"action": "delete", "old_val": key})
        }
    };
    Some(json!({ "update": change }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::hub::query::{Actor, Request};

    fn feed(table: &str, pattern: Value) -> Query {
        let actor = Actor { account_id: "A".into(), project_id: "P".into(), is_project: false };
        Request::read_feed(json!({table: [pattern]}), None, &actor).unwrap()
    }

    fn row(value: Value) -> Row {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn hub_105_rows_come_and_go_with_the_filter() {
        let query = feed("project_log", json!({"project_id": "P", "event": null}));
        let inside = row(json!({"id": "i", "project_id": "P", "event": {"a": 1}, "time": "t"}));
        let outside = row(json!({"id": "i", "project_id": "Q", "event": {"a": 1}}));
        let whole = json!({"id": "i", "project_id": "P", "event": {"a": 1}});
        let insert = json!({"update": {"action": "insert", "new_val": whole}});
        let delete = json!({"update": {"action": "delete", "old_val": {"id": "i"}}});
        assert_eq!(message(&query, None, Some(&inside)), Some(insert.clone()));
        assert_eq!(message(&query, Some(&outside), Some(&inside)), Some(insert));
        assert_eq!(message(&query, Some(&inside), Some(&outside)), Some(delete.clone()));
        assert_eq!(message(&query, Some(&inside), None), Some(delete));
        assert_eq!(message(&query, Some(&outside), None), None);
        assert_eq!(message(&query, Some(&outside), Some(&outside)), None);
        let mut later = inside.clone();
        later.insert("time".into(), "later".into());
        assert_eq!(message(&query, Some(&inside), Some(&later)), None, "nothing that was asked for has changed");
    }

    #[test]
    fn hub_103_changes_have_defaults_and_no_other_fields() {
        let query = feed("accounts", json!({"account_id": null, "first_name": null, "other_settings": null}));
        let old = row(json!({"account_id": "A", "other_settings": {"katex": true}}));
        let new = row(json!({"account_id": "A", "other_settings": {"katex": false}, "last_name": "L"}));
        let change = message(&query, Some(&old), Some(&new)).unwrap();
        let value = change["update"]["new_val"].as_object().unwrap();
        assert_eq!(value.keys().collect::<Vec<_>>(), ["account_id", "first_name", "other_settings"]);
        assert_eq!((&value["first_name"], &value["other_settings"]["katex"]), (&json!(""), &json!(false)));
        assert_eq!(value["other_settings"]["i18n"], "en");
    }

    proptest! {
        /// A client that follows a feed has at any time what a get would give it.
        #[test]
        fn following_changes_is_asking_again(
            states in proptest::collection::vec(proptest::option::of((0u8..2, 0u8..3, any::<bool>())), 1..12)
        ) {
            let query = feed("file_use", json!({"id": null, "path": "0", "users": null}));
            let (mut stored, mut copy): (Option<Row>, Option<Row>) = (None, None);
            for state in states {
                let next = state.map(|(path, users, edited)| {
                    row(json!({"id": "i", "path": path.to_string(), "users": users, "last_edited": edited}))
                });
                if let Some(message) = message(&query, stored.as_ref(), next.as_ref()) {
                    let update = &message["update"];
                    match update["action"].as_str().unwrap() {
                        "insert" => copy = Some(row(update["new_val"].clone())),
                        "update" => copy.as_mut().unwrap().extend(row(update["new_val"].clone())),
                        _ => copy = None,
                    }
                }
                stored = next;
                let asked = stored.as_ref().filter(|row| get::matches(&query, row)).map(|row| get::project(&query, row));
                prop_assert_eq!(&copy, &asked);
            }
        }
    }
}

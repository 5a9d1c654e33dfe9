//! Writing rows: filling, checks, merging (hub.md §8.4).

use serde_json::Value;

use super::{Actor, Error, Query, error};
use crate::hub::{
    schema::{Row, Set, Table},
    settings::Settings,
};

/// Adds the key's parts that the caller's identity gives: what is left to look the row up with.
pub fn fill_key(query: &Query, actor: &Actor) -> Row {
    let mut pattern = query.pattern.clone();
    let table = query.table;
    fill(table, &mut pattern, actor, |name| table.is_key(name));
    pattern
}

fn fill(table: &Table, row: &mut Row, actor: &Actor, concerns: impl Fn(&str) -> bool) {
    for field in table.fields.iter().filter(|field| concerns(field.name)) {
        let own = match field.set {
            Set::OwnAccount => &actor.account_id,
            Set::OwnProject => &actor.project_id,
            Set::No | Set::Yes => continue,
        };
        if row.get(field.name).is_none_or(Value::is_null) {
            row.insert(field.name.to_owned(), own.as_str().into());
        }
    }
}

/// Refuses what clients may not set. A value that is stored already may be sent along.
///
/// # Errors
/// See [`Error`].
pub fn check(table: &'static Table, pattern: &Row, old: Option<&Row>, actor: &Actor) -> Result<(), Error> {
    for (name, value) in pattern {
        let Some(field) = table.field(name) else {
            return Err(Error::UnknownField(table.name, error::name(name)));
        };
        let stored = old.and_then(|old| old.get(name)).unwrap_or(&Value::Null);
        let is_own = |own: &str| value.as_str() == Some(own) || value == stored;
        match field.set {
            Set::Yes => {}
            // The account's name on a log entry is for whoever writes it; an account's row is its own.
            Set::OwnAccount if !table.is_key(name) || is_own(&actor.account_id) => {}
            Set::OwnProject if is_own(&actor.project_id) => {}
            Set::No if value == stored => {}
            Set::No => return Err(Error::NotSettable(table.name, name.clone())),
            Set::OwnAccount | Set::OwnProject => return Err(Error::NotOwn(table.name, name.clone())),
        }
        if field.setting && !value.as_str().is_some_and(Settings::is_known) {
            return Err(Error::UnknownSetting(error::name(value.as_str().unwrap_or_default())));
        }
    }
    Ok(())
}

/// The row that comes of a set.
pub fn merge(table: &Table, old: Option<&Row>, pattern: &Row, actor: &Actor) -> Row {
    let mut row = old.cloned().unwrap_or_default();
    for (name, value) in pattern {
        let field = table.field(name);
        let place = row.entry(name.clone()).or_insert(Value::Null);
        merge_value(place, value, field.map_or(1, |field| field.depth));
        if let (Value::String(text), Some(max)) = (place, field.and_then(|field| field.max_chars))
            && let Some((end, _)) = text.char_indices().nth(max)
        {
            text.truncate(end);
        }
    }
    fill(table, &mut row, actor, |_| true);
    row
}

/// Merges objects down to a depth; below it, and where one of both is no object, the new value replaces the old one. Inside an
/// object that is merged, null removes a key.
fn merge_value(place: &mut Value, new: &Value, depth: usize) {
    let Value::Object(new) = new else {
        place.clone_from(new);
        return;
    };
    if depth == 0 {
        *place = Value::Object(new.clone());
        return;
    }
    if !place.is_object() {
        *place = Value::Object(Row::new());
    }
    let Value::Object(map) = place else { return };
    for (key, value) in new {
        if value.is_null() {
            map.remove(key);
        } else {
            merge_value(map.entry(key.clone()).or_insert(Value::Null), value, depth - 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn actor() -> Actor {
        Actor { account_id: "A".into(), project_id: "P".into(), is_project: false }
    }

    fn row(value: Value) -> Row {
        value.as_object().unwrap().clone()
    }

    fn merged(table: &str, old: Value, new: Value) -> Value {
        let old = old.as_object();
        Value::from(merge(Table::find(table).unwrap(), old, &row(new), &actor()))
    }

    fn checked(table: &str, old: Value, new: Value) -> Result<(), Error> {
        check(Table::find(table).unwrap(), &row(new), old.as_object(), &actor())
    }

    #[test]
    fn hub_079_objects_are_merged_one_level_deep() {
        let first = json!({"account_id": "A", "other_settings": {"a": 1}});
        let second = merged("accounts", first, json!({"other_settings": {"b": {"x": 1}}}));
        assert_eq!(second["other_settings"], json!({"a": 1, "b": {"x": 1}}));
        let third = merged("accounts", second, json!({"other_settings": {"b": {"y": 1}}}));
        assert_eq!(third["other_settings"], json!({"a": 1, "b": {"y": 1}}));
        let list = merged("accounts", third, json!({"other_settings": [1], "tags": ["x"]}));
        assert_eq!((&list["other_settings"], &list["tags"]), (&json!([1]), &json!(["x"])));
    }

    #[test]
    fn hub_097_null_in_an_object_removes_a_key() {
        let old = json!({"account_id": "A", "ssh_keys": {"fp": {"value": "k"}, "other": {}}});
        assert_eq!(merged("accounts", old, json!({"ssh_keys": {"fp": null}}))["ssh_keys"], json!({"other": {}}));
        assert_eq!(merged("accounts", json!(null), json!({"ssh_keys": {"fp": null}}))["ssh_keys"], json!({}));
        assert_eq!(merged("accounts", json!({"name": "n"}), json!({"name": null}))["name"], json!(null));
    }

    #[test]
    fn marks_of_a_file_are_merged_deeper() {
        let old = json!({"id": "i", "project_id": "P", "users": {"A": {"open": "1"}, "B": {"edit": "2"}}});
        let new = merged("file_use", old, json!({"users": {"A": {"edit": "3"}, "B": null}}));
        assert_eq!(new["users"], json!({"A": {"open": "1", "edit": "3"}}));
    }

    #[test]
    fn hub_084_own_ids_are_filled_in() {
        let entry = merged("project_log", json!(null), json!({"id": "i", "event": {}}));
        assert_eq!(entry, json!({"id": "i", "event": {}, "account_id": "A", "project_id": "P"}));
        let kept = merged("project_log", json!({"id": "i", "account_id": "B", "project_id": "Q"}), json!({"id": "i"}));
        assert_eq!(kept, json!({"id": "i", "account_id": "B", "project_id": "Q"}));
    }

    #[test]
    fn names_are_clipped() {
        let long = "ä".repeat(300);
        assert_eq!(merged("accounts", json!(null), json!({"first_name": long}))["first_name"], "ä".repeat(254));
        assert_eq!(merged("accounts", json!(null), json!({"name": long}))["name"], long);
    }

    #[test]
    fn what_may_be_set() {
        let none = json!(null);
        let settings = json!({"account_id": "A", "editor_settings": {"theme": "x"}, "font_size": 3, "tags": null});
        assert_eq!(checked("accounts", none.clone(), settings), Ok(()));
        let balance = json!({"account_id": "A", "balance": 1});
        assert_eq!(checked("accounts", none.clone(), balance), Err(Error::NotSettable("accounts", "balance".into())));
        let same = json!({"account_id": "A", "email_address": "e"});
        assert_eq!(checked("accounts", same.clone(), same.clone()), Ok(()));
        assert!(checked("accounts", none.clone(), same).is_err());
        let other = json!({"account_id": "B"});
        assert_eq!(checked("accounts", none.clone(), other), Err(Error::NotOwn("accounts", "account_id".into())));
        let log = |project: &str| json!({"id": "i", "project_id": project, "account_id": "B"});
        assert_eq!(checked("project_log", none.clone(), log("P")), Ok(()));
        assert_eq!(
            checked("project_log", none.clone(), log("Q")),
            Err(Error::NotOwn("project_log", "project_id".into()))
        );
        assert!(matches!(checked("news", none.clone(), json!({"id": 1})), Err(Error::NotSettable(..))));
        assert!(matches!(checked("accounts", none.clone(), json!({"x": 1})), Err(Error::UnknownField(..))));
        assert_eq!(checked("site_settings", none.clone(), json!({"name": "openai_enabled", "value": "yes"})), Ok(()));
        let unknown = checked("site_settings", none, json!({"name": "root_password", "value": "x"}));
        assert_eq!(unknown, Err(Error::UnknownSetting("root_password".into())));
    }

    fn value(depth: u32) -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![Just(Value::Null), any::<u8>().prop_map(Value::from), Just(json!("t"))];
        leaf.prop_recursive(depth, 24, 3, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                proptest::collection::btree_map("[a-c]", inner, 0..3)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// Merging twice is merging once, and what was not mentioned stays.
        #[test]
        fn merging_is_idempotent_and_local(old in value(3), new in value(3), depth in 0usize..3) {
            let mut once = old.clone();
            merge_value(&mut once, &new, depth);
            let mut twice = once.clone();
            merge_value(&mut twice, &new, depth);
            prop_assert_eq!(&once, &twice);
            if let (Value::Object(old), Value::Object(new), Value::Object(once), true) = (&old, &new, &once, depth > 0) {
                prop_assert!(old.iter().all(|(key, value)| new.contains_key(key) || once.get(key) == Some(value)));
                prop_assert!(new.iter().all(|(key, value)| once.contains_key(key) != value.is_null()));
            }
        }
    }
}

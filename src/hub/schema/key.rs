//! Primary keys as the text the database files rows under (hub.md §8.8).

use serde_json::Value;

use super::{Row, Table};

/// The compact JSON text of an object that holds the key's fields in the order of the schema.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(pub String);

/// The key of a row, or `None` when a part of it is missing.
pub fn key(table: &Table, row: &Row) -> Option<Key> {
    write(table, row, |_, value| value)
}

/// The key under which the reference files the row when a time came as a date object: it writes such a part as `{}`. `None`
/// for tables without times in the key.
pub fn collapsed_key(table: &Table, row: &Row) -> Option<Key> {
    static EMPTY: std::sync::LazyLock<Value> = std::sync::LazyLock::new(|| Value::Object(Row::new()));
    if !table.key.iter().any(|name| is_time(table, name)) {
        return None;
    }
    write(table, row, |name, value| if is_time(table, name) { &EMPTY } else { value })
}

fn is_time(table: &Table, name: &str) -> bool {
    table.field(name).is_some_and(|field| field.time)
}

fn write<'a>(table: &Table, row: &'a Row, part: impl Fn(&'static str, &'a Value) -> &'a Value) -> Option<Key> {
    let mut text = String::from("{");
    for name in table.key {
        let value = row.get(*name).filter(|value| !value.is_null())?;
        if text.len() > 1 {
            text.push(',');
        }
        // A map sorts its keys, as the reference does for parts that are objects.
        text.push_str(&format!("{}:{}", Value::from(*name), part(name, value)));
    }
    text.push('}');
    Some(Key(text))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn row(value: Value) -> Row {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn keys_are_written_as_the_reference_writes_them() {
        let accounts = Table::find("accounts").unwrap();
        let found = key(accounts, &row(json!({"first_name": "A", "account_id": "x\"y\n"}))).unwrap();
        assert_eq!(found.0, r#"{"account_id":"x\"y\n"}"#);
        assert_eq!(key(accounts, &row(json!({"account_id": null}))), None);
        assert_eq!(collapsed_key(accounts, &row(json!({"account_id": "x"}))), None);
        let news = Table::find("news").unwrap();
        assert_eq!(key(news, &row(json!({"id": {"b": 1, "a": 7}}))).unwrap().0, r#"{"id":{"a":7,"b":1}}"#);
    }

    #[test]
    fn times_collapse_in_old_keys_only() {
        let mentions = Table::find("mentions").unwrap();
        let mention = row(json!({"target": "t", "path": "p", "time": "2025-12-14T18:04:00.000Z", "project_id": "q"}));
        let text = r#"{"time":"2025-12-14T18:04:00.000Z","project_id":"q","path":"p","target":"t"}"#;
        assert_eq!(key(mentions, &mention).unwrap().0, text);
        let text = r#"{"time":{},"project_id":"q","path":"p","target":"t"}"#;
        assert_eq!(collapsed_key(mentions, &mention).unwrap().0, text);
    }
}

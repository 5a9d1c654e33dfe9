//! Messages of streams and stores as lines of text.

use serde_json::{Value, json};

use super::subscribe::plain;
use crate::persist::client::Message;

fn value(message: &Message) -> Value {
    message.to_json().unwrap_or_else(|error| json!({"undecodable": error.to_string()}))
}

fn time(message: &Message) -> Option<jiff::Timestamp> {
    i64::try_from(message.time).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok())
}

/// Everything about a message, as JSON. Of a deleted key there is no value.
pub(super) fn json_line(message: &Message) -> String {
    let mut record = json!({"seq": message.seq, "time": time(message).map(|time| time.to_string())});
    if let Some(key) = &message.key {
        record["key"] = (**key).into();
    }
    if message.is_tombstone() {
        record["deleted"] = true.into();
    } else {
        record["value"] = value(message);
        if let Some(headers) = &message.headers {
            record["headers"] = Value::Object((**headers).clone());
        }
    }
    format!("{record}\n")
}

/// The value alone.
pub(super) fn value_line(message: &Message) -> String {
    format!("{}\n", plain(&value(message)))
}

/// Key and value.
pub(super) fn key_line(message: &Message) -> String {
    let key = message.key.as_deref().unwrap_or_default();
    if message.is_tombstone() { format!("{key} (deleted)\n") } else { format!("{key} {}\n", plain(&value(message))) }
}

/// Number, time, key, headers, value.
pub(super) fn line(message: &Message) -> String {
    let time = time(message).map_or_else(|| "-".to_owned(), |time| time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string());
    let key = message.key.as_ref().map(|key| format!(" {key}")).unwrap_or_default();
    let headers = message.headers.as_ref().map(|headers| format!(" {}", json!(**headers))).unwrap_or_default();
    format!("{} {time}{key}{headers} {}\n", message.seq, plain(&value(message)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn message(key: Option<&str>, headers: Option<Value>) -> Message {
        Message {
            seq: 7,
            time: 1_795_345_740_686,
            key: key.map(Arc::from),
            encoding: 1,
            raw: r#"{"a":[1]}"#.into(),
            headers: headers.map(|headers| Arc::new(headers.as_object().unwrap().clone())),
        }
    }

    #[test]
    fn lines_say_what_there_is() {
        let plain = message(None, None);
        assert_eq!(line(&plain), "7 2026-11-22T11:09:00.686Z {\"a\":[1]}\n");
        assert_eq!(value_line(&plain), "{\"a\":[1]}\n");
        let full = message(Some("k"), Some(json!({"h": 1})));
        assert_eq!(line(&full), "7 2026-11-22T11:09:00.686Z k {\"h\":1} {\"a\":[1]}\n");
        let record: Value = serde_json::from_str(&json_line(&full)).unwrap();
        let time = "2026-11-22T11:09:00.686Z";
        assert_eq!(record, json!({"seq": 7, "time": time, "key": "k", "headers": {"h": 1}, "value": {"a": [1]}}));
        let gone = message(Some("k"), Some(json!({"CN-Tombstone": true})));
        assert_eq!(key_line(&gone), "k (deleted)\n");
        let record: Value = serde_json::from_str(&json_line(&gone)).unwrap();
        assert_eq!(record, json!({"seq": 7, "time": time, "key": "k", "deleted": true}));
    }
}

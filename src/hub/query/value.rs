//! Values as the database holds them: JSON as JavaScript would write it.

use serde_json::Value;

use crate::wire::msgpack::Timestamp;

/// Integers up to here are exact in JavaScript.
const MAX_SAFE: f64 = 9_007_199_254_740_992.0;

/// What a client sent, with integral numbers as integers. Dates are text already.
pub fn plain(value: Value) -> Value {
    match value {
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() <= MAX_SAFE => (float as i64).into(),
            _ => Value::Number(number),
        },
        Value::Array(items) => items.into_iter().map(plain).collect(),
        Value::Object(map) => Value::Object(map.into_iter().map(|(key, value)| (key, plain(value))).collect()),
        other => other,
    }
}

/// Whether any leaf is null, at any depth.
pub fn has_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.iter().any(has_null),
        Value::Object(map) => map.values().any(has_null),
        _ => false,
    }
}

/// Now, as it is stored.
pub fn now() -> String {
    Timestamp::now().to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::wire::msgpack;

    #[test]
    fn hub_096_dates_become_text() {
        let value = |sent: &[u8]| plain(msgpack::to_json(&msgpack::decode_value(sent).unwrap()));
        let sent = msgpack::encode(&(Timestamp::from_millis(1_765_735_401_117), 24.0, 0.5, -0.0)).unwrap();
        let value_of_dates = value(&sent);
        assert_eq!(value_of_dates, json!(["2025-12-14T18:03:21.117Z", 24, 0.5, 0]));
        let whole = msgpack::encode(&Timestamp::from_millis(1_765_735_401_000)).unwrap();
        assert_eq!(value(&whole), json!("2025-12-14T18:03:21.000Z"));
    }

    #[test]
    fn nulls_are_found_at_any_depth() {
        assert!(has_null(&json!({"a": [{"b": null}]})));
        assert!(!has_null(&json!({"a": [{"b": 0}], "c": {}})));
    }
}

//! Whether two values are the same to JavaScript: numbers by value, members of maps in any order.

use bytes::Bytes;
use rmpv::Value;

use crate::{persist::client::Message, wire::msgpack};

fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Integer(_) | Value::F32(_) | Value::F64(_), Value::Integer(_) | Value::F32(_) | Value::F64(_)) => {
            match (a.as_u64().zip(b.as_u64()), a.as_i64().zip(b.as_i64())) {
                (Some((a, b)), _) => a == b,
                (_, Some((a, b))) => a == b,
                _ => a.as_f64() == b.as_f64(),
            }
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Map(a), Value::Map(b)) => {
            let member = |key: &Value| b.iter().find(|(other, _)| other == key).map(|(_, value)| value);
            // Members are usually in the same order.
            let in_order = || a.iter().zip(b).all(|((k, v), (l, w))| k == l && same(v, w));
            a.len() == b.len()
                && (in_order() || a.iter().all(|(key, value)| member(key).is_some_and(|other| same(value, other))))
        }
        (a, b) => a == b,
    }
}

/// Whether two decoded values are the same; `None` is a key that is not there.
pub(super) fn same_values(a: Option<&Value>, b: Option<&Value>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => same(a, b),
        (a, b) => a.is_none() && b.is_none(),
    }
}

/// The value of an encoded payload, nil if it is malformed.
pub(super) fn decoded(raw: &Bytes) -> Value {
    msgpack::decode_value(raw).unwrap_or(Value::Nil)
}

/// The value of a message; `None` if it says that its key is deleted.
pub(super) fn value_of(message: &Message) -> Option<Value> {
    if message.is_tombstone() { None } else { Some(message.value().unwrap_or(Value::Nil)) }
}

/// Whether a message holds this value.
pub(super) fn holds(message: &Message, value: Option<&Bytes>) -> bool {
    match value {
        Some(raw) if !message.is_tombstone() => {
            (message.encoding == crate::bus::MSGPACK && message.raw == *raw)
                || same_values(value_of(message).as_ref(), Some(&decoded(raw)))
        }
        value => value.is_none() && message.is_tombstone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn persist_105_values_are_compared_as_javascript_would() {
        let map = |members: &[(&str, Value)]| {
            Value::Map(members.iter().map(|(key, value)| ((*key).into(), value.clone())).collect())
        };
        let a = map(&[("x", 1.into()), ("y", Value::Array(vec![2.0.into()]))]);
        let b = map(&[("y", Value::Array(vec![2.into()])), ("x", 1.0.into())]);
        assert!(same(&a, &b));
        assert!(!same(&a, &map(&[("x", 1.into()), ("z", Value::Nil)])));
        assert!(!same(&1.into(), &"1".into()));
        assert!(!same(&Value::Array(vec![]), &Value::Array(vec![Value::Nil])));
        assert!(same(&(-1).into(), &(-1.0).into()));
        assert!(!same_values(None, Some(&Value::Nil)));
    }
}

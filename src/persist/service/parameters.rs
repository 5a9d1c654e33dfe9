//! Reading parameters leniently (conat-persist.md §§5.2, 5.3): null is absent, integers may be written as floats. The same rules
//! hold for headers, which are JSON, and for operations, which are MessagePack.

use std::sync::Arc;

use rmpv::ValueRef;
use serde_json::{Map, Value};

use super::refusal::Refusal;
use crate::{persist::store::NewCheckpoint, wire::msgpack};

/// Integers up to here are exact in JavaScript.
const MAX_SAFE: f64 = 9_007_199_254_740_992.0;

/// A sequence number that no message has. It fits into what SQLite calls an integer.
pub(super) const NO_SEQ: u64 = i64::MAX as u64;

/// A map of parameters.
pub(super) trait Parameters {
    /// A string that may be missing.
    fn text(&self, name: &str) -> Result<Option<Arc<str>>, Refusal>;
    /// A number that may be missing.
    fn number(&self, name: &str) -> Result<Option<f64>, Refusal>;
    /// Anything that may be missing, as JSON.
    fn json(&self, name: &str) -> Option<Value>;

    /// A sequence number to compare with; one that can't be is [`NO_SEQ`].
    fn seq(&self, name: &str) -> Result<Option<u64>, Refusal> {
        Ok(self.number(name)?.map(seq_of))
    }

    /// A time in ms; fractions are cut off.
    fn millis(&self, name: &str) -> Result<Option<u64>, Refusal> {
        Ok(self.number(name)?.map(|ms| ms.clamp(0.0, MAX_SAFE) as u64))
    }

    /// The user's headers as compact JSON.
    fn headers(&self) -> Result<Option<Arc<str>>, Refusal> {
        match self.json("headers") {
            None => Ok(None),
            Some(headers @ Value::Object(_)) => Ok(Some(headers.to_string().into())),
            Some(_) => Err(Refusal::new("headers must be an object")),
        }
    }

    /// A checkpoint to write with a message.
    fn checkpoint(&self) -> Result<Option<NewCheckpoint>, Refusal> {
        match self.json("checkpoint") {
            None => Ok(None),
            Some(Value::Object(map)) => checkpoint_of(&map).map(Some),
            Some(_) => Err(Refusal::new("checkpoint must be an object")),
        }
    }
}

/// A number taken for a sequence number.
pub(super) fn seq_of(number: f64) -> u64 {
    if number.fract() == 0.0 && (0.0..=MAX_SAFE).contains(&number) { number as u64 } else { NO_SEQ }
}

/// A checkpoint in JSON.
pub(super) fn checkpoint_of(map: &Map<String, Value>) -> Result<NewCheckpoint, Refusal> {
    let Some(Value::String(name)) = map.get("name") else { return Err(Refusal::new("a checkpoint needs a name")) };
    Ok(NewCheckpoint { name: name.clone(), seq: map.seq("seq")?, time: map.millis("time")?, data: map.json("data") })
}

fn wrong(name: &str, kind: &str) -> Refusal {
    Refusal::new(format!("{name} must be a {kind}"))
}

impl Parameters for Map<String, Value> {
    fn text(&self, name: &str) -> Result<Option<Arc<str>>, Refusal> {
        match self.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str().into())),
            Some(_) => Err(wrong(name, "string")),
        }
    }

    fn number(&self, name: &str) -> Result<Option<f64>, Refusal> {
        match self.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => value.as_f64().map(Some).ok_or_else(|| wrong(name, "number")),
        }
    }

    fn json(&self, name: &str) -> Option<Value> {
        self.get(name).filter(|value| !value.is_null()).cloned()
    }
}

/// The members of a MessagePack map.
pub(super) struct Members<'a>(pub &'a [(ValueRef<'a>, ValueRef<'a>)]);

impl<'a> Members<'a> {
    /// A member that is there and not nil.
    pub fn get(&self, name: &str) -> Option<&'a ValueRef<'a>> {
        let found = self.0.iter().find(|(key, _)| matches!(key, ValueRef::String(key) if key.as_str() == Some(name)));
        found.map(|(_, value)| value).filter(|value| !matches!(value, ValueRef::Nil))
    }
}

impl Parameters for Members<'_> {
    fn text(&self, name: &str) -> Result<Option<Arc<str>>, Refusal> {
        match self.get(name) {
            None => Ok(None),
            Some(ValueRef::String(text)) => {
                text.as_str().map(|text| Some(text.into())).ok_or_else(|| wrong(name, "string"))
            }
            Some(_) => Err(wrong(name, "string")),
        }
    }

    fn number(&self, name: &str) -> Result<Option<f64>, Refusal> {
        self.get(name).map(|value| number_of(value).ok_or_else(|| wrong(name, "number"))).transpose()
    }

    fn json(&self, name: &str) -> Option<Value> {
        Some(msgpack::to_json(&self.get(name)?.to_owned()))
    }
}

/// A number of any width.
pub(super) fn number_of(value: &ValueRef<'_>) -> Option<f64> {
    match value {
        ValueRef::Integer(number) => number.as_f64(),
        ValueRef::F32(number) => Some(f64::from(*number)),
        ValueRef::F64(number) => Some(*number),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn persist_034_persist_035_null_is_absent_and_integral_floats_are_integers() {
        let headers =
            map(json!({"a": null, "n": 3.0, "m": 3, "x": 1.5, "neg": -1, "big": 1e300, "s": "", "o": {"k": 1}}));
        assert_eq!(headers.text("a"), Ok(None));
        assert_eq!(headers.text("missing"), Ok(None));
        assert_eq!(headers.text("s").unwrap().as_deref(), Some(""));
        assert!(headers.text("n").is_err() && headers.number("s").is_err());
        assert_eq!((headers.seq("n"), headers.seq("m")), (Ok(Some(3)), Ok(Some(3))));
        for name in ["x", "neg", "big"] {
            assert_eq!(headers.seq(name), Ok(Some(NO_SEQ)), "{name}");
        }
        assert_eq!((headers.millis("x"), headers.millis("neg")), (Ok(Some(1)), Ok(Some(0))));
        assert_eq!(headers.json("o"), Some(json!({"k": 1})));
        assert_eq!(headers.json("a"), None);
    }

    #[test]
    fn checkpoints_need_a_name() {
        assert!(checkpoint_of(&map(json!({"seq": 1}))).is_err());
        let full =
            checkpoint_of(&map(json!({"name": "n", "seq": 2.0, "time": 5, "data": {"a": 1}, "more": 1}))).unwrap();
        let expected = NewCheckpoint { name: "n".into(), seq: Some(2), time: Some(5), data: Some(json!({"a": 1})) };
        assert_eq!(full, expected);
        assert_eq!(checkpoint_of(&map(json!({"name": "n", "seq": null}))).unwrap().seq, None);
    }
}

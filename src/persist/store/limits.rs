//! The configuration of a stream (§8.6).

use serde_json::{Map, Value};

use super::{Error, Result, message::Set};

/// What ephemeral streams may hold at most (§8.9).
pub(super) const EPHEMERAL_MAX_BYTES: i64 = 64_000_000;

/// Configuration texts are kept in memory, so they are limited.
const MAX_CONFIG_BYTES: usize = 1 << 20;

/// The largest integer that all clients can represent.
const MAX_SAFE: i64 = (1 << 53) - 1;

/// The configuration of a stream.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Limits {
    pub max_msgs: i64,
    pub max_age: i64,
    pub max_bytes: i64,
    pub max_msg_size: i64,
    pub max_bytes_per_second: i64,
    pub max_msgs_per_second: i64,
    /// `discard_policy` is `new`: what is new is rejected, instead of what is old deleted.
    pub discard_new: bool,
    pub allow_msg_ttl: bool,
    pub required_headers: Value,
    pub desc: Value,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            max_msgs: -1,
            max_age: 0,
            max_bytes: -1,
            max_msg_size: -1,
            max_bytes_per_second: -1,
            max_msgs_per_second: -1,
            discard_new: false,
            allow_msg_ttl: false,
            required_headers: Value::Null,
            desc: Value::Null,
        }
    }
}

impl Limits {
    /// The limits whose text is stored. A text that can't be read, which only damage can cause, stands for the defaults.
    pub fn from_text(text: &str) -> Limits {
        let fields = serde_json::from_str(text).unwrap_or_default();
        Limits::default().with(&fields).unwrap_or_default()
    }

    /// The text to store.
    pub fn to_text(&self) -> String {
        Value::Object(self.differing()).to_string()
    }

    /// These limits with some fields set. Null and unknown members are ignored.
    pub fn with(&self, fields: &Map<String, Value>) -> Result<Limits> {
        let mut limits = self.clone();
        for (name, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
            match name.as_str() {
                "max_msgs" => limits.max_msgs = integer(name, value)?,
                "max_age" => limits.max_age = integer(name, value)?,
                "max_bytes" => limits.max_bytes = integer(name, value)?,
                "max_msg_size" => limits.max_msg_size = integer(name, value)?,
                "max_bytes_per_second" => limits.max_bytes_per_second = integer(name, value)?,
                "max_msgs_per_second" => limits.max_msgs_per_second = integer(name, value)?,
                "discard_policy" => limits.discard_new = value == "new",
                "allow_msg_ttl" => limits.allow_msg_ttl = is_truthy(value),
                "required_headers" => limits.required_headers = value.clone(),
                "desc" => limits.desc = value.clone(),
                _ => {}
            }
        }
        if limits.to_text().len() > MAX_CONFIG_BYTES {
            return Err(Error::Invalid(format!("a configuration may have {MAX_CONFIG_BYTES} bytes at most")));
        }
        Ok(limits)
    }

    /// All fields.
    fn fields(&self) -> [(&'static str, Value); 10] {
        [
            ("max_msgs", self.max_msgs.into()),
            ("max_age", self.max_age.into()),
            ("max_bytes", self.max_bytes.into()),
            ("max_msg_size", self.max_msg_size.into()),
            ("max_bytes_per_second", self.max_bytes_per_second.into()),
            ("max_msgs_per_second", self.max_msgs_per_second.into()),
            ("discard_policy", if self.discard_new { "new" } else { "old" }.into()),
            ("allow_msg_ttl", self.allow_msg_ttl.into()),
            ("required_headers", self.required_headers.clone()),
            ("desc", self.desc.clone()),
        ]
    }

    /// Fields that differ from the default, as they are stored.
    pub fn differing(&self) -> Map<String, Value> {
        let defaults = Limits::default().fields();
        let differs = self.fields().into_iter().zip(defaults).filter(|(own, default)| own.1 != default.1);
        differs.map(|((name, value), _)| (name.to_owned(), value)).collect()
    }

    /// All fields with the values that have an effect.
    pub fn effective(&self, ephemeral: bool) -> Map<String, Value> {
        let mut limits = self.clone();
        limits.max_bytes = self.max_bytes(ephemeral);
        limits.fields().into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// `max_bytes` with the cap on ephemeral streams.
    pub fn max_bytes(&self, ephemeral: bool) -> i64 {
        if ephemeral && (self.max_bytes <= 0 || self.max_bytes > EPHEMERAL_MAX_BYTES) {
            EPHEMERAL_MAX_BYTES
        } else {
            self.max_bytes
        }
    }

    /// Whether messages per second or bytes per second are limited.
    pub fn limit_rate(&self) -> bool {
        self.max_msgs_per_second > 0 || self.max_bytes_per_second > 0
    }

    /// Whether a message has the headers that it must have (§17.5).
    pub fn check_headers(&self, set: &Set) -> Result<()> {
        let Some(required) = self.required_headers.as_object().filter(|required| !required.is_empty()) else {
            return Ok(());
        };
        let headers: Map<String, Value> =
            set.headers.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        let missing =
            required.iter().find(|(name, value)| !headers.get(*name).is_some_and(|own| strictly_equal(own, value)));
        match missing {
            Some((name, _)) => Err(Error::Rejected(format!("required header mismatch for '{name}'"))),
            None => Ok(()),
        }
    }
}

/// Equality of primitive values as JavaScript's `===` has it: all numbers are floats, objects are never equal.
fn strictly_equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (Value::Array(_) | Value::Object(_), _) => false,
        _ => a == b,
    }
}

/// An integer: fractions are cut off, numeric texts are accepted.
fn integer(name: &str, value: &Value) -> Result<i64> {
    let number = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse::<f64>().ok().filter(|number| number.is_finite()),
        _ => None,
    };
    let number = number.ok_or_else(|| Error::Invalid(format!("{name} must be an integer")))?;
    // The cast saturates and cuts off.
    Ok((number as i64).clamp(-MAX_SAFE, MAX_SAFE))
}

/// Truth as JavaScript has it.
fn is_truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(truth) => *truth,
        Value::Number(number) => number.as_f64().is_some_and(|number| number != 0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(_) | Value::Object(_) => true,
    }
}

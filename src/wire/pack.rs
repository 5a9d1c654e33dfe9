//! MessagePack written piece by piece into a buffer, for records that are too many for a detour over values
//! (conat-persist.md §5).
//!
//! Everything is written in its shortest form, as [`msgpack`](super::msgpack) does.

use std::fmt;

use rmp::encode;
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

/// Integers up to here are exact in JavaScript.
const MAX_SAFE: f64 = 9_007_199_254_740_992.0;

/// Largest length that fits into the first byte of an array or map.
const MAX_FIX: usize = 15;

/// A number from 0 on. Writing into a buffer cannot fail, here and below.
pub fn push_uint(out: &mut Vec<u8>, number: u64) {
    let _ = encode::write_uint(out, number);
}

/// A string.
pub fn push_str(out: &mut Vec<u8>, text: &str) {
    let _ = encode::write_str_len(out, length(text.len()));
    out.extend_from_slice(text.as_bytes());
}

/// Bytes.
pub fn push_bin(out: &mut Vec<u8>, bytes: &[u8]) {
    let _ = encode::write_bin_len(out, length(bytes.len()));
    out.extend_from_slice(bytes);
}

/// Nothing.
pub fn push_nil(out: &mut Vec<u8>) {
    let _ = encode::write_nil(out);
}

/// The head of an array of so many elements.
pub fn push_array_len(out: &mut Vec<u8>, elements: usize) {
    let _ = encode::write_array_len(out, length(elements));
}

/// The head of a map of so many members.
pub fn push_map_len(out: &mut Vec<u8>, members: usize) {
    let _ = encode::write_map_len(out, length(members));
}

/// What is longer could not be held in memory in the first place.
fn length(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

/// A JSON text as the value it stands for; nil when it is none.
pub fn push_json_text(out: &mut Vec<u8>, text: &str) {
    let start = out.len();
    let mut source = serde_json::Deserializer::from_str(text);
    if Packer(out).deserialize(&mut source).and_then(|()| source.end()).is_err() {
        out.truncate(start);
        push_nil(out);
    }
}

/// A JSON value.
pub fn push_json(out: &mut Vec<u8>, value: &serde_json::Value) {
    // A value that is there already has nothing that could fail.
    let _ = Packer(out).deserialize(value);
}

/// Writes whatever a deserializer reads.
struct Packer<'a>(&'a mut Vec<u8>);

impl Packer<'_> {
    /// Writes the head of what begins at `at`, now that its length is known. One byte was left for it.
    fn close(self, at: usize, len: usize, head: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = Vec::with_capacity(5);
        head(&mut bytes);
        if len <= MAX_FIX {
            if let (Some(place), Some(byte)) = (self.0.get_mut(at), bytes.first()) {
                *place = *byte;
            }
        } else {
            self.0.splice(at..=at, bytes);
        }
    }
}

impl<'de> DeserializeSeed<'de> for Packer<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Packer<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        push_nil(self.0);
        Ok(())
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<(), E> {
        let _ = encode::write_bool(self.0, value);
        Ok(())
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<(), E> {
        push_uint(self.0, value);
        Ok(())
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<(), E> {
        let _ = encode::write_sint(self.0, value);
        Ok(())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<(), E> {
        let integral = value.fract() == 0.0 && value.abs() <= MAX_SAFE && !(value == 0.0 && value.is_sign_negative());
        if integral {
            return self.visit_i64(value as i64);
        }
        let _ = encode::write_f64(self.0, value);
        Ok(())
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<(), E> {
        push_str(self.0, value);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        let (at, mut len) = (self.0.len(), 0);
        self.0.push(0);
        while elements.next_element_seed(Packer(self.0))?.is_some() {
            len += 1;
        }
        self.close(at, len, |head| push_array_len(head, len));
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let (at, mut len) = (self.0.len(), 0);
        self.0.push(0);
        while members.next_key_seed(Packer(self.0))?.is_some() {
            members.next_value_seed(Packer(self.0))?;
            len += 1;
        }
        self.close(at, len, |head| push_map_len(head, len));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::wire::msgpack;

    fn packed(text: &str) -> Vec<u8> {
        let mut out = Vec::new();
        push_json_text(&mut out, text);
        out
    }

    #[test]
    fn json_is_packed_as_a_value_would_be() {
        let long: Vec<u32> = (0..40).collect();
        let wide: serde_json::Map<_, _> = (0..20).map(|n| (format!("k{n:02}"), json!([n, {"n": -n}]))).collect();
        for value in [
            json!({"CN-Tombstone": true, "x": 1, "y": -70_000, "z": 1.5, "s": "é€😀", "n": null, "e": {}, "a": []}),
            json!(long),
            json!(wide),
            json!("text"),
            json!(u64::MAX),
        ] {
            let expected = msgpack::encode(&value).unwrap();
            assert_eq!(packed(&value.to_string()), expected, "{value}");
            let mut out = Vec::new();
            push_json(&mut out, &value);
            assert_eq!(out, expected, "{value}");
        }
    }

    #[test]
    fn integral_floats_are_integers() {
        assert_eq!(packed("[1.0,1e3,-2.0,0.5]"), [0x94, 1, 0xcd, 3, 0xe8, 0xfe, 0xcb, 0x3f, 0xe0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn what_is_no_json_is_nil() {
        for text in ["", "{", "{\"a\":1}x", "[1,", &"[".repeat(100_000)] {
            assert_eq!(packed(text), [0xc0], "{text:.20}");
        }
    }
}

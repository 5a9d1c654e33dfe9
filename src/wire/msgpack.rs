//! The MessagePack profile of payloads (conat-wire.md §5.3).
//!
//! Structs are maps, integers take the fewest bytes, bytes are `bin` (through `serde_bytes`), dates are [`Timestamp`]. A field
//! that JavaScript would call undefined has to be left out with `skip_serializing_if`. JavaScript has one type of number, so
//! decoding takes an integral float for an integer and the other way round.
//!
//! Integers beyond ±2^53 lose precision at JavaScript peers, and `f32` is written as it is although no reference peer does so.

use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rmpv::Value;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, DeserializeOwned},
};
use serde_bytes::ByteBuf;
use thiserror::Error;

/// Deepest nesting of arrays and maps that is decoded; payloads come from anybody and decoders recurse.
pub const MAX_DEPTH: u16 = 128;

/// Integers up to here are exact in JavaScript.
const MAX_SAFE: f64 = 9_007_199_254_740_992.0;

/// The extension type of dates.
const TIMESTAMP_TYPE: i8 = -1;

/// Why a value could not be encoded or decoded.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Error {
    /// The value cannot be expressed.
    #[error("cannot encode as MessagePack: {0}")]
    Encode(String),
    /// The bytes are not MessagePack, or nested too deeply.
    #[error("malformed MessagePack: {0}")]
    Malformed(String),
    /// Something follows the value.
    #[error("malformed MessagePack: {0} bytes after the value")]
    Trailing(usize),
    /// A map has a key that is neither a string nor an integer.
    #[error("malformed MessagePack: a key is not a string")]
    Key,
    /// The value is not what was asked for.
    #[error("unexpected payload: {0}")]
    Unexpected(String),
}

/// Encodes a value.
///
/// # Errors
/// The value's `Serialize` fails.
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, Error> {
    let mut out = Vec::with_capacity(64);
    let mut serializer = rmp_serde::Serializer::new(&mut out).with_struct_map();
    value.serialize(&mut serializer).map_err(|e| Error::Encode(e.to_string()))?;
    Ok(out)
}

/// Decodes exactly one value into whatever it is.
///
/// # Errors
/// The bytes are malformed, or something follows the value.
pub fn decode_value(mut bytes: &[u8]) -> Result<Value, Error> {
    let value = rmpv::decode::read_value_with_max_depth(&mut bytes, MAX_DEPTH.into())
        .map_err(|e| Error::Malformed(e.to_string()))?;
    if bytes.is_empty() { Ok(value) } else { Err(Error::Trailing(bytes.len())) }
}

/// Decodes exactly one value.
///
/// # Errors
/// The bytes are malformed, or the value is not a `T`.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    let value = normal(decode_value(bytes)?)?;
    rmpv::ext::from_value(value).map_err(|e| Error::Unexpected(e.to_string()))
}

/// Takes a decoded value for a `T`.
///
/// # Errors
/// The value is not a `T`.
pub fn from_value<T: DeserializeOwned>(value: Value) -> Result<T, Error> {
    rmpv::ext::from_value(normal(value)?).map_err(|e| Error::Unexpected(e.to_string()))
}

/// Integral floats become integers and integer keys strings, as if JavaScript had written the value.
fn normal(value: Value) -> Result<Value, Error> {
    Ok(match value {
        Value::F32(float) => normal_float(f64::from(float)),
        Value::F64(float) => normal_float(float),
        Value::Array(items) => Value::Array(items.into_iter().map(normal).collect::<Result<_, _>>()?),
        Value::Map(fields) => Value::Map(
            fields
                .into_iter()
                .map(|(key, value)| {
                    let key = match key {
                        Value::Integer(n) => Value::from(n.to_string()),
                        key @ Value::String(_) => key,
                        _ => return Err(Error::Key),
                    };
                    Ok((key, normal(value)?))
                })
                .collect::<Result<_, _>>()?,
        ),
        other => other,
    })
}

fn normal_float(float: f64) -> Value {
    if float.fract() != 0.0 || float.abs() > MAX_SAFE || (float == 0.0 && float.is_sign_negative()) {
        return Value::F64(float);
    }
    if float < 0.0 { Value::from(float as i64) } else { Value::from(float as u64) }
}

/// A number as JavaScript would write it.
fn json_number(float: f64) -> serde_json::Value {
    match normal_float(float) {
        Value::Integer(n) => n.as_u64().map_or_else(|| n.as_i64().into(), Into::into),
        _ => float.into(),
    }
}

/// A decoded value as JSON, for people: bytes become base64, dates ISO 8601.
pub fn to_json(value: &Value) -> serde_json::Value {
    use base64::Engine as _;
    use serde_json::Value as Json;
    match value {
        Value::Nil => Json::Null,
        Value::Boolean(b) => (*b).into(),
        Value::Integer(n) => match (n.as_u64(), n.as_i64()) {
            (Some(n), _) => n.into(),
            (_, Some(n)) => n.into(),
            _ => Json::Null,
        },
        Value::F32(n) => json_number(f64::from(*n)),
        Value::F64(n) => json_number(*n),
        Value::String(text) => String::from_utf8_lossy(text.as_bytes()).into(),
        Value::Binary(bytes) => base64::engine::general_purpose::STANDARD.encode(bytes).into(),
        Value::Array(items) => items.iter().map(to_json).collect(),
        Value::Map(fields) => {
            let key = |key: &Value| key.as_str().map_or_else(|| key.to_string(), str::to_owned);
            fields.iter().map(|(k, v)| (key(k), to_json(v))).collect::<serde_json::Map<_, _>>().into()
        }
        Value::Ext(TIMESTAMP_TYPE, data) => match Timestamp::from_ext(data) {
            Some(timestamp) => timestamp.to_string().into(),
            None => Json::Null,
        },
        Value::Ext(_, data) => base64::engine::general_purpose::STANDARD.encode(data).into(),
    }
}

/// A date: what JavaScript's `Date` becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    seconds: i64,
    nanos: u32,
}

impl Timestamp {
    /// So many milliseconds since the epoch.
    pub fn from_millis(millis: i64) -> Timestamp {
        Timestamp { seconds: millis.div_euclid(1000), nanos: (millis.rem_euclid(1000) * 1_000_000) as u32 }
    }

    /// Milliseconds since the epoch.
    pub fn as_millis(&self) -> i64 {
        self.seconds.saturating_mul(1000).saturating_add(i64::from(self.nanos / 1_000_000))
    }

    /// Now, to the millisecond.
    pub fn now() -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Timestamp::from_millis(since.as_millis() as i64)
    }

    fn to_ext(self) -> Vec<u8> {
        match (self.nanos, u64::try_from(self.seconds)) {
            (0, Ok(seconds)) if seconds <= u64::from(u32::MAX) => (seconds as u32).to_be_bytes().to_vec(),
            (nanos, Ok(seconds)) if seconds < 1 << 34 => ((u64::from(nanos) << 34) | seconds).to_be_bytes().to_vec(),
            (nanos, _) => [&nanos.to_be_bytes()[..], &self.seconds.to_be_bytes()[..]].concat(),
        }
    }

    fn from_ext(data: &[u8]) -> Option<Timestamp> {
        let (seconds, nanos) = match data.len() {
            4 => (i64::from(u32::from_be_bytes(data.try_into().ok()?)), 0),
            8 => {
                let both = u64::from_be_bytes(data.try_into().ok()?);
                ((both & ((1 << 34) - 1)) as i64, (both >> 34) as u32)
            }
            12 => {
                let (nanos, seconds) = data.split_at(4);
                (i64::from_be_bytes(seconds.try_into().ok()?), u32::from_be_bytes(nanos.try_into().ok()?))
            }
            _ => return None,
        };
        (nanos < 1_000_000_000).then_some(Timestamp { seconds, nanos })
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.as_millis()) {
            Ok(time) => write!(f, "{time:.3}"),
            // Years that no calendar here knows.
            Err(_) => write!(f, "{} ms", self.as_millis()),
        }
    }
}

/// Serializes as the name says when the format knows extensions: `rmp_serde` looks at the struct's name.
#[derive(Serialize, Deserialize)]
#[serde(rename = "_ExtStruct")]
struct Ext((i8, ByteBuf));

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return serializer.collect_str(self);
        }
        Ext((TIMESTAMP_TYPE, ByteBuf::from(self.to_ext()))).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    /// Takes the extension, and what JSON makes of a date: an ISO 8601 string, or milliseconds.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Timestamp;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a date")
            }

            fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Timestamp, D::Error> {
                match <(i8, ByteBuf)>::deserialize(deserializer)? {
                    (TIMESTAMP_TYPE, data) => {
                        Timestamp::from_ext(&data).ok_or_else(|| de::Error::custom("malformed date"))
                    }
                    (other, _) => Err(de::Error::custom(format!("extension type {other} is no date"))),
                }
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Timestamp, E> {
                let time: jiff::Timestamp = text.parse().map_err(|_| de::Error::custom("malformed date"))?;
                Ok(Timestamp::from_millis(time.as_millisecond()))
            }

            fn visit_i64<E: de::Error>(self, millis: i64) -> Result<Timestamp, E> {
                Ok(Timestamp::from_millis(millis))
            }

            fn visit_u64<E: de::Error>(self, millis: u64) -> Result<Timestamp, E> {
                i64::try_from(millis).map(Timestamp::from_millis).map_err(|_| de::Error::custom("date out of range"))
            }

            fn visit_f64<E: de::Error>(self, millis: f64) -> Result<Timestamp, E> {
                Ok(Timestamp::from_millis(millis as i64))
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn hex(value: &(impl Serialize + ?Sized)) -> String {
        hex::encode(encode(value).unwrap())
    }

    #[derive(Serialize)]
    struct Sample {
        a: u8,
        #[serde(skip_serializing_if = "Option::is_none")]
        b: Option<u8>,
        c: Option<u8>,
    }

    /// Item 115: the samples of §21.10.
    #[test]
    fn wire_115_encodes_the_samples_of_the_specification() {
        assert_eq!(hex(&()), "c0");
        assert_eq!(hex(&true), "c3");
        assert_eq!(hex(&127), "7f");
        assert_eq!(hex(&128), "cc80");
        assert_eq!(hex(&-1), "ff");
        assert_eq!(hex(&-33), "d0df");
        assert_eq!(hex(&65536), "ce00010000");
        assert_eq!(hex(&(1u64 << 32)), "cf0000000100000000");
        assert_eq!(hex(&((1u64 << 53) - 1)), "cf001fffffffffffff");
        assert_eq!(hex(&1.5), "cb3ff8000000000000");
        assert_eq!(hex(&1e20), "cb4415af1d78b58c40");
        assert_eq!(hex(&f64::NAN), "cb7ff8000000000000");
        assert_eq!(hex("héllo"), "a668c3a96c6c6f");
        assert_eq!(hex(&[Some(1), None, Some(3)]), "9301c003");
        assert_eq!(hex(&Sample { a: 1, b: None, c: None }), "82a16101a163c0");
        assert_eq!(hex(&ByteBuf::from([1, 2, 3])), "c403010203");
        assert_eq!(hex(&Timestamp::from_millis(1_700_000_000_000)), "d6ff6553f100");
        assert_eq!(hex(&Timestamp::from_millis(1_700_000_000_123)), "d7ff1d5353006553f100");
        assert_eq!(hex(&Timestamp::from_millis(-1)), "c70cff3b8b87c0ffffffffffffffff");
        assert_eq!(hex(&1_765_432_100_123u64), "cf0000019b0bf4051b");
        #[derive(Serialize)]
        struct Call {
            name: &'static str,
            args: [u8; 0],
        }
        let ping = Call { name: "system.ping", args: [] };
        assert_eq!(hex(&ping), "82a46e616d65ab73797374656d2e70696e67a46172677390");
    }

    #[test]
    fn wire_115_decodes_the_samples_of_the_specification() {
        fn from<T: DeserializeOwned>(text: &str) -> T {
            decode(&hex::decode(text).unwrap()).unwrap()
        }
        assert_eq!(from::<Option<u8>>("c0"), None);
        assert!(from::<bool>("c3"));
        assert_eq!(from::<i64>("d0df"), -33);
        assert_eq!(from::<u64>("cf001fffffffffffff"), (1 << 53) - 1);
        assert_eq!(from::<f64>("cb3ff8000000000000"), 1.5);
        assert_eq!(from::<f64>("cb4415af1d78b58c40"), 1e20);
        assert!(from::<f64>("cb7ff8000000000000").is_nan());
        assert_eq!(from::<String>("a668c3a96c6c6f"), "héllo");
        assert_eq!(from::<serde_json::Value>("9301c003"), json!([1, null, 3]));
        assert_eq!(from::<serde_json::Value>("82a16101a163c0"), json!({"a": 1, "c": null}));
        assert_eq!(from::<ByteBuf>("c403010203"), ByteBuf::from([1, 2, 3]));
        for (text, millis) in [
            ("d6ff6553f100", 1_700_000_000_000),
            ("d7ff1d5353006553f100", 1_700_000_000_123),
            ("c70cff3b8b87c0ffffffffffffffff", -1),
        ] {
            assert_eq!(from::<Timestamp>(text).as_millis(), millis);
        }
    }

    #[test]
    fn integers_and_floats_are_interchangeable() {
        assert_eq!(decode::<u16>(&encode(&24.0).unwrap()).unwrap(), 24);
        assert_eq!(decode::<i64>(&encode(&-24.0).unwrap()).unwrap(), -24);
        assert_eq!(decode::<f64>(&encode(&24).unwrap()).unwrap(), 24.0);
        assert_eq!(decode::<u16>(&[0xca, 0x41, 0xc0, 0, 0]).unwrap(), 24);
        assert!(decode::<u16>(&encode(&24.5).unwrap()).is_err());
        assert!(decode::<u64>(&encode(&1e300).unwrap()).is_err());
        assert!(decode::<u8>(&encode(&-1).unwrap()).is_err());
    }

    #[test]
    fn keys_become_strings_or_are_refused() {
        assert_eq!(decode::<serde_json::Value>(&[0x81, 0x01, 0x02]).unwrap(), json!({"1": 2}));
        assert_eq!(decode::<serde_json::Value>(&[0x81, 0xc0, 0x02]), Err(Error::Key));
    }

    #[test]
    fn hostile_bytes_are_refused() {
        assert_eq!(decode::<u8>(&[1, 2]), Err(Error::Trailing(1)));
        assert!(decode::<u8>(&[]).is_err());
        assert!(decode_value(&[0xdd, 0xff, 0xff, 0xff, 0xff]).is_err());
        assert!(decode_value(&[0xc6, 0xff, 0xff, 0xff, 0xff, 1]).is_err());
        assert!(decode_value(&[0x91; 100_000]).is_err());
    }

    #[test]
    fn dates_are_read_from_json_too() {
        let date: Timestamp = serde_json::from_str("\"2023-11-14T22:13:20.123Z\"").unwrap();
        assert_eq!(date.as_millis(), 1_700_000_000_123);
        assert_eq!(serde_json::to_string(&date).unwrap(), "\"2023-11-14T22:13:20.123Z\"");
        assert_eq!(decode::<Timestamp>(&encode(&5.0).unwrap()).unwrap().as_millis(), 5);
    }

    proptest! {
        #[test]
        fn any_bytes_are_decoded_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = decode::<serde_json::Value>(&bytes);
            if let Ok(value) = decode_value(&bytes) {
                to_json(&value);
            }
        }

        #[test]
        fn dates_survive(millis in -62_135_596_800_000i64..253_402_300_799_000) {
            let date = Timestamp::from_millis(millis);
            prop_assert_eq!(decode::<Timestamp>(&encode(&date).unwrap()).unwrap(), date);
        }
    }
}

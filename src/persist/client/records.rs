//! Records on the wire (conat-persist.md §§5, 6, 7): lenient in what is read, exact in what is written.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::{Map, Value, json};

use super::{
    Assigned, Error, Inventory, Result,
    message::{Event, Message, Write},
};
use crate::{
    bus::{self, Code},
    wire::msgpack,
};

/// A number as JavaScript writes it: any width, also as a float; fractions are rounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Number(pub u64);

impl Number {
    /// A number in a JSON value.
    pub fn of(value: &Value) -> Option<u64> {
        value.as_u64().or_else(|| value.as_f64().and_then(whole))
    }
}

fn whole(float: f64) -> Option<u64> {
    (0.0..1e19).contains(&float).then(|| float.round() as u64)
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Number, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = Number;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a number that is not negative")
            }

            fn visit_u64<E: de::Error>(self, n: u64) -> Result<Number, E> {
                Ok(Number(n))
            }

            fn visit_i64<E: de::Error>(self, n: i64) -> Result<Number, E> {
                u64::try_from(n).map(Number).map_err(|_| E::custom("a negative number"))
            }

            fn visit_f64<E: de::Error>(self, float: f64) -> Result<Number, E> {
                whole(float).map(Number).ok_or_else(|| E::custom("a number out of range"))
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

/// A stored message or an event, whatever is there of it.
#[derive(Deserialize)]
struct Record<'a> {
    #[serde(default)]
    op: Option<&'a str>,
    #[serde(default)]
    seq: Option<Number>,
    #[serde(default)]
    time: Option<Number>,
    #[serde(default)]
    key: Option<&'a str>,
    #[serde(default)]
    encoding: Option<Number>,
    #[serde(default, borrow)]
    raw: Option<&'a serde_bytes::Bytes>,
    #[serde(default)]
    headers: Option<rmpv::Value>,
    #[serde(default, rename = "msgID")]
    msg_id: Option<&'a str>,
    #[serde(default)]
    seqs: Option<Vec<Number>>,
}

fn decode<'a, T: Deserialize<'a>>(payload: &'a [u8]) -> Result<T> {
    let mut deserializer = rmp_serde::Deserializer::from_read_ref(payload);
    deserializer.set_max_depth(msgpack::MAX_DEPTH.into());
    T::deserialize(&mut deserializer).map_err(|error| Error::Answer(error.to_string()))
}

/// Headers from MessagePack may hold what JSON can't; it becomes text (§18.25).
fn headers(value: Option<rmpv::Value>) -> Option<Arc<Map<String, Value>>> {
    match msgpack::to_json(&value?) {
        Value::Object(map) if !map.is_empty() => Some(Arc::new(map)),
        _ => None,
    }
}

impl Record<'_> {
    fn into_message(self) -> Option<Message> {
        Some(Message {
            seq: self.seq?.0,
            time: self.time.map_or(0, |time| time.0),
            key: self.key.map(Arc::from),
            encoding: self.encoding.map_or(0, |encoding| encoding.0),
            raw: Bytes::copy_from_slice(self.raw?),
            headers: headers(self.headers),
        })
    }

    fn into_event(self) -> Option<Event> {
        if self.op == Some("delete") {
            return Some(Event::Delete(self.seqs?.into_iter().map(|seq| seq.0).collect()));
        }
        // Metadata and checkpoints have no number.
        let msg_id = self.msg_id.map(Box::from);
        Some(Event::Set { message: self.into_message()?, msg_id })
    }
}

/// The messages of a frame of `getAll`.
pub(super) fn messages(payload: &[u8]) -> Result<Vec<Message>> {
    let records: Vec<Record<'_>> = decode(payload)?;
    let malformed = || Error::Answer("a message without number or payload".into());
    records.into_iter().map(|record| record.into_message().ok_or_else(malformed)).collect()
}

/// The events of a frame of a feed; kinds nobody knows are left out.
pub(super) fn events(payload: &[u8]) -> Result<Vec<Event>> {
    let records: Vec<Record<'_>> = decode(payload)?;
    Ok(records.into_iter().filter_map(Record::into_event).collect())
}

/// The message a `get` has found, or `None` (§6.4). Headers of the user's named `error` do not matter when there is a number.
pub(super) fn got(answer: &bus::Message) -> Option<Message> {
    let mut headers = answer.headers()?.as_object()?.clone();
    let seq = Number::of(&headers.remove("seq")?)?;
    let time = headers.remove("time").as_ref().and_then(Number::of).unwrap_or_default();
    let key = headers.remove("key").and_then(|key| key.as_str().map(Arc::from));
    let headers = (!headers.is_empty()).then(|| Arc::new(headers));
    Some(Message { seq, time, key, encoding: answer.encoding(), raw: answer.payload().clone(), headers })
}

#[derive(Deserialize)]
struct SetResult {
    #[serde(default)]
    seq: Option<Number>,
    #[serde(default)]
    time: Option<Number>,
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    code: Option<Value>,
}

impl SetResult {
    fn read(self) -> Result<Assigned> {
        if let Some(error) = self.error {
            return Err(Error::of_result(error, self.code.as_ref().and_then(Code::from_json)));
        }
        let seq = self.seq.ok_or_else(|| Error::Answer("a write without number".into()))?.0;
        Ok(Assigned { seq, time: self.time.map_or(0, |time| time.0) })
    }
}

/// The answer of `set`.
pub(super) fn assigned(payload: &[u8]) -> Result<Assigned> {
    decode::<SetResult>(payload)?.read()
}

/// The answer of `setMany`: one result for each of `count` writes.
pub(super) fn results(payload: &[u8], count: usize) -> Result<Vec<Result<Assigned>>> {
    let results: Vec<SetResult> = decode(payload)?;
    if results.len() != count {
        return Err(Error::Answer(format!("{} results of {count} writes", results.len())));
    }
    Ok(results.into_iter().map(SetResult::read).collect())
}

/// The answer of `delete`.
pub(super) fn deleted(payload: &[u8]) -> Result<Vec<u64>> {
    #[derive(Deserialize)]
    struct Deleted {
        seqs: Vec<Number>,
    }
    Ok(decode::<Deleted>(payload)?.seqs.into_iter().map(|seq| seq.0).collect())
}

/// The answer of `inventory`.
pub(super) fn inventory(payload: &[u8]) -> Result<Inventory> {
    #[derive(Deserialize)]
    struct Answer {
        bytes: Number,
        count: Number,
        seq: Number,
        #[serde(default)]
        limits: Map<String, Value>,
    }
    let Answer { bytes, count, seq, limits } = decode(payload)?;
    Ok(Inventory { bytes: bytes.0, count: count.0, seq: seq.0, limits })
}

/// A write as an element of `setMany`.
#[derive(Serialize)]
struct SetOp<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(rename = "messageData")]
    message: MessageData<'a>,
    #[serde(rename = "previousSeq", skip_serializing_if = "Option::is_none")]
    previous_seq: Option<u64>,
    #[serde(rename = "msgID", skip_serializing_if = "Option::is_none")]
    msg_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    checkpoint: Option<&'a Value>,
}

#[derive(Serialize)]
struct MessageData<'a> {
    encoding: u64,
    raw: &'a serde_bytes::Bytes,
    #[serde(skip_serializing_if = "Option::is_none")]
    headers: Option<&'a Map<String, Value>>,
}

impl<'a> From<&'a Write> for SetOp<'a> {
    fn from(write: &'a Write) -> Self {
        SetOp {
            key: write.key.as_deref(),
            message: MessageData {
                encoding: bus::MSGPACK,
                raw: serde_bytes::Bytes::new(&write.payload),
                headers: write.headers.as_deref(),
            },
            previous_seq: write.previous_seq,
            msg_id: write.msg_id.as_deref(),
            ttl: write.ttl_ms(),
            checkpoint: write.checkpoint.as_ref(),
        }
    }
}

/// The payload of `setMany`.
pub(super) fn set_many(writes: &[Write]) -> Result<Bytes> {
    Ok(msgpack::encode(&writes.iter().map(SetOp::from).collect::<Vec<_>>())?.into())
}

/// The headers of `set`; the payload is the message itself.
pub(super) fn set_headers(write: &Write) -> Value {
    let mut headers = json!({"cmd": "set"});
    let mut add = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            headers[name] = value;
        }
    };
    add("headers", write.headers.as_ref().map(|headers| Value::Object(headers.as_ref().clone())));
    add("key", write.key.as_deref().map(Value::from));
    add("ttl", write.ttl_ms().map(Value::from));
    add("previousSeq", write.previous_seq.map(Value::from));
    add("msgID", write.msg_id.as_deref().map(Value::from));
    add("checkpoint", write.checkpoint.clone());
    headers
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn bytes(text: &str) -> Vec<u8> {
        hex::decode(text.replace([' ', '\n'], "")).unwrap()
    }

    #[test]
    fn set_many_is_encoded_as_recorded() {
        // §19.4, a key-value store with compare-and-set, and a stream with headers, id and ttl.
        let cas = Write::value(&json!({"x": 2})).unwrap().key("a").previous_seq(1);
        let recorded = "91 83 a36b6579 a161 ab6d65737361676544617461 82 a8656e636f64696e67 00 a3726177 c404 81a17802
            ab70726576696f7573536571 01";
        assert_eq!(set_many(&[cas]).unwrap(), bytes(recorded));
        let headers = json!({"h": 1}).as_object().unwrap().clone();
        let mut write = Write::value(&json!({"m": 1})).unwrap().headers(headers).ttl(Duration::from_secs(5));
        write.msg_id = Some("jXEiUNt0si".into());
        let recorded = "91 83 ab6d65737361676544617461 83 a8656e636f64696e67 00 a3726177 c404 81a16d01
            a768656164657273 81a16801 a56d73674944 aa6a584569554e7430736 9 a374746c cd1388";
        assert_eq!(set_many(&[write]).unwrap(), bytes(recorded));
    }

    #[test]
    fn set_has_its_parameters_in_the_headers() {
        let write = Write::value(&json!({"a": 1})).unwrap().key("k1").ttl(Duration::from_secs(1));
        assert_eq!(set_headers(&write), json!({"cmd": "set", "key": "k1", "ttl": 1000}));
        let tombstone = Write::tombstone("a", Some(Duration::from_millis(604_800_000)));
        let recorded = json!({"headers": {"CN-Tombstone": true}, "cmd": "set", "key": "a", "ttl": 604_800_000});
        assert_eq!((set_headers(&tombstone), tombstone.payload.as_ref()), (recorded, &[0xc0][..]));
    }

    #[test]
    fn results_tell_numbers_and_errors_apart() {
        // §19.4.
        let recorded = "92 82 a474696d65 cf000001a202f1f40f a3736571 04 82 a56572726f72
            ba4572726f723a2077726f6e67206c6173742073657175656e6365 a4636f6465 b377726f6e672d6c6173742d73657175656e6365";
        let results = results(&bytes(recorded), 2).unwrap();
        assert_eq!(*results[0].as_ref().unwrap(), Assigned { seq: 4, time: 1_795_345_740_815 });
        assert!(matches!(results[1], Err(Error::WrongLastSequence)));
        assert!(super::results(&bytes("90"), 1).is_err());
    }

    #[test]
    fn persist_034_floats_are_taken_for_integers() {
        // {time: 1795345740686.0, seq: 1.0}, as floats.
        let floats = bytes("82 a474696d65 cb427a202f1f38e000 a3736571 cb3ff0000000000000");
        assert_eq!(assigned(&floats).unwrap(), Assigned { seq: 1, time: 1_795_345_740_686 });
        let event = bytes(
            "91 85 a3736571 cb4014000000000000 a474696d65 cf000001a202f1f40f a8656e636f64696e67 cb0000000000000000 a3726177
            c40102 a36b6579 c0",
        );
        let events = events(&event).unwrap();
        let [Event::Set { message, msg_id: None }] = events.as_slice() else { panic!("{events:?}") };
        assert_eq!((message.seq, message.encoding, message.key.clone()), (5, 0, None));
    }

    #[test]
    fn persist_036_dates_are_decoded_and_times_rounded() {
        // raw is the date of §19.11; time has rounding noise: 1795345740686.0002.
        let recorded = bytes("91 83 a3736571 01 a474696d65 cb427a202f1f38e001 a3726177 c40a d7ffa38e1e006b02cd4c");
        let message = messages(&recorded).unwrap().remove(0);
        assert_eq!(message.time, 1_795_345_740_686);
        let date: msgpack::Timestamp = message.value().unwrap();
        assert_eq!(date.as_millis(), 1_795_345_740_686);
    }

    #[test]
    fn events_are_read_as_recorded() {
        // §19.7: a message and a deletion, then checkpoints and metadata, which are for others.
        let recorded = "95 85 a3736571 05 a474696d65 cf000001a202f1f40f a8656e636f64696e67 00 a3726177 c40102
            a768656164657273 81a17801 82 a26f70 a664656c657465 a473657173 920103
            82 a26f70 ab636865636b706f696e7473 ab636865636b706f696e7473 81 a26370 83 a3736571 02 a474696d65
            cf000001a202f5e860 a464617461 81 a770617463684964 a170
            82 a26f70 a86d65746164617461 a86d65746164617461 c0
            86 a3736571 06 a474696d65 cf000001a202f4ff26 a36b6579 a161 a8656e636f64696e67 00 a3726177 c401c0
            a768656164657273 81 ac434e2d546f6d6273746f6e65 c3";
        let events = events(&bytes(recorded)).unwrap();
        let [Event::Set { message, .. }, Event::Delete(seqs), Event::Set { message: last, .. }] = events.as_slice()
        else {
            panic!("{events:?}")
        };
        assert_eq!((message.seq, message.header("x"), message.value::<u8>().unwrap()), (5, Some(&json!(1)), 2));
        assert_eq!(*seqs, [1, 3]);
        assert!(last.is_tombstone() && !message.is_tombstone());
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(messages(&[0x91, 0x80]).is_err());
        assert!(messages(&[0xdd, 0xff, 0xff, 0xff, 0xff]).is_err());
        assert!(events(&[0x91; 100_000]).is_err());
        assert!(assigned(&bytes("81 a3736571 ff")).is_err());
    }
}

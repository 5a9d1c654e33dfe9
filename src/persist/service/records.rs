//! Records as they go over the wire (conat-persist.md §5.5), written straight into the buffer of the answer or frame.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::refusal::Refusal;
use crate::{
    bus::Code,
    persist::store::{Assigned, Change, Checkpoint, Checkpoints, Event, Inventory, Stored},
    wire::{
        msgpack,
        pack::{push_array_len, push_bin, push_json, push_json_text, push_map_len, push_nil, push_str, push_uint},
    },
};

/// Bytes of a record beside its payload, headers, key and id; for the size of buffers.
const RECORD_BYTES: usize = 64;

/// A payload of nothing.
pub(super) fn nil() -> Bytes {
    Bytes::from_static(&[0xc0])
}

/// Any value. What is encoded here are numbers, texts and JSON, which can't fail.
pub(super) fn encoded<T: serde::Serialize + ?Sized>(value: &T) -> Bytes {
    msgpack::encode(value).map_or_else(|_| nil(), Bytes::from)
}

/// A JSON value.
pub(super) fn encoded_json(value: &Value) -> Bytes {
    let mut out = Vec::with_capacity(RECORD_BYTES);
    push_json(&mut out, value);
    out.into()
}

fn size_of(stored: &Stored) -> usize {
    RECORD_BYTES
        + stored.raw.len()
        + stored.headers.as_ref().map_or(0, |headers| headers.len())
        + stored.key.as_ref().map_or(0, |key| key.len())
}

fn push_stored(out: &mut Vec<u8>, stored: &Stored, msg_id: Option<&str>) {
    let Stored { seq, time, key, encoding, raw, headers } = stored;
    let members = 4 + usize::from(key.is_some()) + usize::from(headers.is_some()) + usize::from(msg_id.is_some());
    push_map_len(out, members);
    push_str(out, "seq");
    push_uint(out, *seq);
    push_str(out, "time");
    push_uint(out, *time);
    if let Some(key) = key {
        push_str(out, "key");
        push_str(out, key);
    }
    push_str(out, "encoding");
    push_uint(out, u64::from(*encoding));
    push_str(out, "raw");
    push_bin(out, raw);
    if let Some(headers) = headers {
        push_str(out, "headers");
        push_json_text(out, headers);
    }
    if let Some(id) = msg_id {
        push_str(out, "msgID");
        push_str(out, id);
    }
}

/// The messages of a frame of `getAll`.
pub(super) fn page(messages: &[Stored]) -> Bytes {
    let mut out = Vec::with_capacity(8 + messages.iter().map(size_of).sum::<usize>());
    push_array_len(&mut out, messages.len());
    for stored in messages {
        push_stored(&mut out, stored, None);
    }
    out.into()
}

/// An event, encoded by the first socket that needs it.
pub(super) fn event(event: &Event) -> &Bytes {
    event.encoded.get_or_init(|| {
        let mut out = Vec::with_capacity(match &event.change {
            Change::Set { stored, .. } => size_of(stored),
            _ => RECORD_BYTES,
        });
        match &event.change {
            Change::Set { stored, msg_id } => push_stored(&mut out, stored, msg_id.as_deref()),
            Change::Delete(seqs) => {
                push_map_len(&mut out, 2);
                push_str(&mut out, "op");
                push_str(&mut out, "delete");
                push_str(&mut out, "seqs");
                push_seqs(&mut out, seqs);
            }
            Change::Metadata(metadata) => {
                push_map_len(&mut out, 2);
                push_str(&mut out, "op");
                push_str(&mut out, "metadata");
                push_str(&mut out, "metadata");
                push_optional(&mut out, metadata.as_ref());
            }
            Change::Checkpoints(checkpoints) => {
                push_map_len(&mut out, 2);
                push_str(&mut out, "op");
                push_str(&mut out, "checkpoints");
                push_str(&mut out, "checkpoints");
                push_json(&mut out, &checkpoints_json(checkpoints));
            }
        }
        out.into()
    })
}

fn push_optional(out: &mut Vec<u8>, value: Option<&Value>) {
    match value {
        Some(value) => push_json(out, value),
        None => push_nil(out),
    }
}

fn push_seqs(out: &mut Vec<u8>, seqs: &[u64]) {
    push_array_len(out, seqs.len());
    seqs.iter().for_each(|seq| push_uint(out, *seq));
}

fn push_assigned(out: &mut Vec<u8>, assigned: Assigned) {
    push_map_len(out, 2);
    push_str(out, "time");
    push_uint(out, assigned.time);
    push_str(out, "seq");
    push_uint(out, assigned.seq);
}

/// What `set` answers.
pub(super) fn assigned(assigned: Assigned) -> Bytes {
    let mut out = Vec::with_capacity(24);
    push_assigned(&mut out, assigned);
    out.into()
}

/// What `setMany` answers.
pub(super) fn results(results: &[Result<Assigned, Refusal>]) -> Bytes {
    let mut out = Vec::with_capacity(8 + results.len() * 24);
    push_array_len(&mut out, results.len());
    for result in results {
        match result {
            Ok(assigned) => push_assigned(&mut out, *assigned),
            Err(refusal) => {
                push_map_len(&mut out, 1 + usize::from(refusal.code().is_some()));
                push_str(&mut out, "error");
                push_str(&mut out, refusal.text());
                match refusal.code() {
                    Some(Code::Text(code)) => {
                        push_str(&mut out, "code");
                        push_str(&mut out, code);
                    }
                    Some(Code::Number(code)) => {
                        push_str(&mut out, "code");
                        push_json(&mut out, &(*code).into());
                    }
                    None => {}
                }
            }
        }
    }
    out.into()
}

/// What `delete` answers.
pub(super) fn deleted(seqs: &[u64]) -> Bytes {
    let mut out = Vec::with_capacity(16 + seqs.len() * 9);
    push_map_len(&mut out, 1);
    push_str(&mut out, "seqs");
    push_seqs(&mut out, seqs);
    out.into()
}

/// What `inventory` answers.
pub(super) fn inventory(inventory: Inventory) -> Bytes {
    let Inventory { bytes, count, seq, limits } = inventory;
    encoded_json(&json!({"bytes": bytes, "count": count, "limits": limits, "seq": seq}))
}

/// A checkpoint as JSON.
pub(super) fn checkpoint_json(checkpoint: &Checkpoint) -> Value {
    let Checkpoint { seq, time, data } = checkpoint;
    match data {
        Some(data) => json!({"seq": seq, "time": time, "data": data}),
        None => json!({"seq": seq, "time": time}),
    }
}

/// All checkpoints as JSON.
pub(super) fn checkpoints_json(checkpoints: &Checkpoints) -> Value {
    checkpoints
        .iter()
        .map(|(name, checkpoint)| (name.clone(), checkpoint_json(checkpoint)))
        .collect::<Map<_, _>>()
        .into()
}

/// The headers that go with a message in the answer to `get`: its own, and what the store knows of it (§6.4).
pub(super) fn headers_of(stored: &Stored) -> Value {
    let own = stored.headers.as_deref().and_then(|text| serde_json::from_str::<Map<String, Value>>(text).ok());
    let mut headers = own.unwrap_or_default();
    headers.insert("seq".into(), stored.seq.into());
    headers.insert("time".into(), stored.time.into());
    if let Some(key) = &stored.key {
        headers.insert("key".into(), key.as_ref().into());
    }
    headers.into()
}

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;

    use super::*;
    use crate::persist::store;

    const TIME: u64 = 1_795_345_740_686;

    fn stored(seq: u64, key: Option<&str>, raw: &'static [u8], headers: Option<&str>) -> Stored {
        let raw = Bytes::from_static(raw);
        Stored { seq, time: TIME, key: key.map(Into::into), encoding: 0, raw, headers: headers.map(Into::into) }
    }

    fn hex_of(bytes: &[u8]) -> String {
        hex::encode(bytes)
    }

    fn encoded_event(change: Change) -> String {
        hex_of(event(&Event { change, encoded: OnceLock::new() }))
    }

    /// The samples of §§19.3–19.7.
    #[test]
    fn persist_031_persist_033_records_are_encoded_as_in_the_specification() {
        let results = [Ok(Assigned { time: TIME, seq: 4 }), Err(store::Error::WrongLastSequence.into())];
        assert_eq!(hex_of(&assigned(Assigned { time: TIME, seq: 1 })), "82a474696d65cf000001a202f1f38ea373657101");
        assert_eq!(
            hex_of(&super::results(&results)),
            "9282a474696d65cf000001a202f1f38ea37365710482a56572726f72ba4572726f723a2077726f6e67206c617374207365717565\
             6e6365a4636f6465b377726f6e672d6c6173742d73657175656e6365"
        );
        let page = page(&[
            stored(1, None, &[0xa2, 0x68, 0x69], Some(r#"{"foo":"bar"}"#)),
            stored(2, Some("k1"), &[0x81, 0xa1, 0x61, 0x01], None),
        ]);
        assert_eq!(
            hex_of(&page),
            "9285a373657101a474696d65cf000001a202f1f38ea8656e636f64696e6700a3726177c403a26869a76865616465727381a3666f6f\
             a3626172\
             85a373657102a474696d65cf000001a202f1f38ea36b6579a26b31a8656e636f64696e6700a3726177c40481a16101"
        );
        assert_eq!(hex_of(&deleted(&[1, 2])), "81a473657173920102");
    }

    #[test]
    fn events_are_encoded_as_in_the_specification() {
        let tombstone = stored(3, Some("a"), &[0xc0], Some(r#"{"CN-Tombstone":true}"#));
        assert_eq!(
            encoded_event(Change::Set { stored: tombstone, msg_id: Some("jX".into()) }),
            "87a373657103a474696d65cf000001a202f1f38ea36b6579a161a8656e636f64696e6700a3726177c401c0\
             a76865616465727381ac434e2d546f6d6273746f6e65c3a56d73674944a26a58"
        );
        assert_eq!(encoded_event(Change::Delete(vec![1, 3])), "82a26f70a664656c657465a473657173920103");
        assert_eq!(encoded_event(Change::Metadata(None)), "82a26f70a86d65746164617461a86d65746164617461c0");
        let data = Some(json!({"patchId": "p"}));
        let checkpoints = Checkpoints::from([("cp".into(), Checkpoint { seq: 2, time: TIME, data })]);
        let expected = msgpack::encode(&json!({
            "checkpoints": {"cp": {"data": {"patchId": "p"}, "seq": 2, "time": TIME}},
            "op": "checkpoints",
        }));
        let value = |bytes: &[u8]| msgpack::decode::<Value>(bytes).unwrap();
        let encoded = encoded_event(Change::Checkpoints(checkpoints));
        assert_eq!(value(&hex::decode(encoded).unwrap()), value(&expected.unwrap()));
    }

    #[test]
    fn persist_042_headers_of_the_store_win() {
        let message = stored(7, Some("k"), &[0xc0], Some(r#"{"seq":"mine","foo":"bar","key":1}"#));
        assert_eq!(headers_of(&message), json!({"foo": "bar", "seq": 7, "time": TIME, "key": "k"}));
        assert_eq!(headers_of(&stored(7, None, &[0xc0], None)), json!({"seq": 7, "time": TIME}));
    }
}

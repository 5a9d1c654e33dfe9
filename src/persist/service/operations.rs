//! The operations of `setMany` (conat-persist.md §6.2). Payloads stay where they arrived: each is a slice of the request's bytes.

use bytes::Bytes;
use rmpv::ValueRef;

use super::{
    parameters::{Members, Parameters, number_of},
    refusal::Refusal,
};
use crate::{persist::store::Set, wire::msgpack::MAX_DEPTH};

/// Operations in one request. Clients send 500 at most; each costs more in memory than on the wire.
const MAX_OPERATIONS: usize = 50_000;

/// Reads the operations; one that is malformed fails by itself.
///
/// # Errors
/// The payload is no array of operations.
pub(super) fn decode(payload: &Bytes) -> Result<Vec<Result<Set, Refusal>>, Refusal> {
    let malformed = || Refusal::new("setMany requires an array of operations");
    let mut rest: &[u8] = payload;
    let read = rmpv::decode::read_value_ref_with_max_depth(&mut rest, MAX_DEPTH.into());
    match read.map_err(|_| malformed())? {
        ValueRef::Array(operations) if rest.is_empty() => {
            if operations.len() > MAX_OPERATIONS {
                return Err(Refusal::new(format!("setMany takes at most {MAX_OPERATIONS} operations")));
            }
            Ok(operations.iter().map(|operation| set_of(operation, payload)).collect())
        }
        _ => Err(malformed()),
    }
}

fn set_of(operation: &ValueRef<'_>, payload: &Bytes) -> Result<Set, Refusal> {
    let ValueRef::Map(members) = operation else { return Err(Refusal::new("an operation must be an object")) };
    let members = Members(members);
    let Some(ValueRef::Map(data)) = members.get("messageData") else {
        return Err(Refusal::new("an operation needs messageData"));
    };
    let data = Members(data);
    let Some(ValueRef::Binary(raw)) = data.get("raw") else { return Err(Refusal::new("messageData needs raw bytes")) };
    let encoding = data.get("encoding").map_or(Some(0.0), number_of);
    Ok(Set {
        encoding: encoding_of(encoding)?,
        raw: payload.slice_ref(raw),
        headers: data.headers()?,
        key: members.text("key")?,
        ttl: members.millis("ttl")?,
        previous_seq: members.seq("previousSeq")?,
        msg_id: members.text("msgID")?,
        checkpoint: members.checkpoint()?,
    })
}

/// The encoding of a payload: MessagePack or JSON.
pub(super) fn encoding_of(number: Option<f64>) -> Result<u8, Refusal> {
    match number {
        Some(0.0) => Ok(0),
        Some(1.0) => Ok(1),
        _ => Err(Refusal::new("unknown encoding")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::wire::msgpack::{Timestamp, encode};

    fn bytes(text: &str) -> Bytes {
        hex::decode(text).unwrap().into()
    }

    /// As observed: two good operations around one whose CAS fails later.
    #[test]
    fn persist_039_operations_are_read_in_order_and_not_copied() {
        let payload = bytes(
            "9382a36b6579a161ab6d6573736167654461746182a8656e636f64696e6700a3726177c4010183a36b6579a26b31ab707265\
             76696f7573536571cd03e7ab6d6573736167654461746182a8656e636f64696e6700a3726177c4010281ab6d657373616765446174\
             6183a8656e636f64696e6700a3726177c40103a76865616465727381a17801",
        );
        let sets: Vec<Set> = decode(&payload).unwrap().into_iter().map(Result::unwrap).collect();
        let plain = |raw: &'static [u8]| Set { raw: Bytes::from_static(raw), ..Set::default() };
        assert_eq!(
            sets,
            [
                Set { key: Some("a".into()), ..plain(&[1]) },
                Set { key: Some("k1".into()), previous_seq: Some(999), ..plain(&[2]) },
                Set { headers: Some(r#"{"x":1}"#.into()), ..plain(&[3]) },
            ]
        );
        let inside = payload.as_ptr_range();
        assert!(sets.iter().all(|set| inside.contains(&set.raw.as_ptr())));
    }

    #[derive(serde::Serialize)]
    struct Operation<T: serde::Serialize> {
        #[serde(rename = "messageData")]
        data: Data,
        #[serde(rename = "previousSeq")]
        previous_seq: Option<f64>,
        ttl: f64,
        key: T,
        checkpoint: Option<serde_json::Value>,
    }

    #[derive(serde::Serialize)]
    struct Data {
        encoding: f64,
        raw: serde_bytes::ByteBuf,
        headers: Option<Headers>,
    }

    #[derive(serde::Serialize)]
    struct Headers {
        when: Timestamp,
        n: f64,
    }

    fn operation<T: serde::Serialize>(key: T, encoding: f64) -> Operation<T> {
        let headers = Some(Headers { when: Timestamp::from_millis(0), n: 2.0 });
        let raw = serde_bytes::ByteBuf::from([7]);
        let checkpoint = Some(json!({"name": "c", "data": [1]}));
        Operation { data: Data { encoding, raw, headers }, previous_seq: Some(3.0), ttl: 5000.0, key, checkpoint }
    }

    #[test]
    fn persist_034_floats_dates_and_nil_are_understood() {
        let payload = encode(&[operation(None::<u8>, 1.0)]).unwrap().into();
        let set = decode(&payload).unwrap().remove(0).unwrap();
        assert_eq!((set.encoding, set.ttl, set.previous_seq, set.key), (1, Some(5000), Some(3), None));
        assert_eq!(set.headers.as_deref(), Some(r#"{"n":2,"when":"1970-01-01T00:00:00.000Z"}"#));
        let checkpoint = set.checkpoint.unwrap();
        assert_eq!((checkpoint.name.as_str(), checkpoint.seq, checkpoint.data), ("c", None, Some(json!([1]))));
    }

    #[test]
    fn persist_039_a_malformed_operation_fails_by_itself() {
        let good = encode(&operation("k", 0.0)).unwrap();
        let bad = [
            encode(&operation(7, 0.0)).unwrap(),
            encode(&operation("k", 2.0)).unwrap(),
            encode(&json!({"messageData": {"encoding": 0}})).unwrap(),
            encode(&json!({"messageData": 1})).unwrap(),
            encode(&json!(null)).unwrap(),
        ];
        for bad in bad {
            let payload = [&[0x93][..], &good, &bad, &good].concat().into();
            let shape: Vec<bool> = decode(&payload).unwrap().iter().map(Result::is_ok).collect();
            assert_eq!(shape, [true, false, true]);
        }
    }

    #[test]
    fn what_is_no_array_is_refused() {
        for hostile in ["", "c0", "81a16101", "9101ff", "dd7fffffff", "dd7fffffffc0", "91c6ffffffff00"] {
            assert!(decode(&bytes(hostile)).is_err(), "{hostile}");
        }
        assert!(decode(&Bytes::from(vec![0x91; 100_000])).is_err());
        assert!(decode(&Bytes::from([&[0xdc, 0xff, 0xff][..], &[0xc0; 0xffff]].concat())).is_err());
        assert_eq!(decode(&bytes("90")).unwrap(), []);
    }
}

//! Requests as they come over the wire (conat-persist.md §§6, 17.3–17.5).

use bytes::Bytes;
use serde_json::{Map, Value};

use super::{
    operations::{self, encoding_of},
    parameters::{NO_SEQ, Parameters, checkpoint_of, seq_of},
    refusal::Refusal,
};
use crate::{
    persist::store::{Deletion, NewCheckpoint, Range, Selector, Set},
    wire::msgpack,
};

/// What is asked for.
#[derive(Debug, PartialEq)]
pub(super) enum Command {
    /// Something that changes the stream; carried out in order.
    Write(Write),
    /// Something that looks at the stream; sees all writes before it.
    Read(Read),
}

/// A change.
#[derive(Debug, PartialEq)]
pub(super) enum Write {
    /// `set`
    Set(Set),
    /// `setMany`; what is malformed has failed already.
    SetMany(Vec<Result<Set, Refusal>>),
    /// `delete`
    Delete(Deletion),
    /// `config`, which enforces the limits even when it sets nothing.
    Configure(Map<String, Value>),
    /// `setMetadata`
    SetMetadata(Option<Value>),
    /// `patchMetadata`
    PatchMetadata(Option<Value>),
    /// `setCheckpoint`
    SetCheckpoint(NewCheckpoint),
    /// `deleteCheckpoint`
    DeleteCheckpoint(String),
}

/// A look.
#[derive(Debug, PartialEq)]
pub(super) enum Read {
    /// `get`; nothing selected is a miss.
    Get(Option<Wanted>),
    /// `getAll`
    GetAll(GetAll),
    /// `keys`
    Keys,
    /// `inventory`
    Inventory,
    /// `metadata`
    Metadata,
    /// `checkpoints`
    Checkpoints,
    /// `changefeed`
    Changefeed,
    /// `serverId`
    ServerId,
}

/// Which message `get` wants.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// By number.
    Seq(u64),
    /// By key.
    Key(std::sync::Arc<str>),
}

impl From<Wanted> for Selector {
    fn from(wanted: Wanted) -> Selector {
        match wanted {
            Wanted::Seq(seq) => Selector::Seq(seq),
            Wanted::Key(key) => Selector::Key(key),
        }
    }
}

/// Parameters of `getAll`.
#[derive(Debug, Default, PartialEq)]
pub(super) struct GetAll {
    /// Inclusive.
    pub start: Option<u64>,
    /// Inclusive.
    pub end: Option<u64>,
    /// A further lower bound.
    pub start_checkpoint: Option<String>,
    /// Arm the feed first.
    pub changefeed: bool,
    /// Tell the configuration.
    pub config: bool,
    /// Tell the metadata.
    pub metadata: bool,
    /// Tell the checkpoints.
    pub checkpoints: bool,
}

impl GetAll {
    /// The messages that are wanted.
    pub fn range(&self) -> Range {
        Range { start: self.start, end: self.end, start_checkpoint: self.start_checkpoint.clone() }
    }
}

/// A request's payload, and how it is encoded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Body<'a> {
    /// 0 MessagePack, 1 JSON.
    pub encoding: u64,
    /// The bytes.
    pub payload: &'a Bytes,
}

impl Body<'_> {
    /// The payload as JSON; nil is nothing.
    pub fn json(&self) -> Result<Option<Value>, Refusal> {
        let malformed = || Refusal::new("malformed payload");
        let value = match self.encoding {
            0 => msgpack::to_json(&msgpack::decode_value(self.payload).map_err(|_| malformed())?),
            1 => serde_json::from_slice(self.payload).map_err(|_| malformed())?,
            _ => return Err(Refusal::new("unknown encoding")),
        };
        Ok(Some(value).filter(|value| !value.is_null()))
    }
}

/// Reads a request.
///
/// # Errors
/// It makes no sense, or is refused whatever it says.
pub(super) fn parse(headers: Option<&Value>, body: Body<'_>) -> Result<Command, Refusal> {
    let none = Map::new();
    let headers = headers.and_then(Value::as_object).unwrap_or(&none);
    let command = match headers.get("cmd") {
        Some(Value::String(command)) => command.as_str(),
        Some(other) => return Err(Refusal::unknown_command(&other.to_string())),
        None => return Err(Refusal::unknown_command("undefined")),
    };
    Ok(match command {
        "set" => Command::Write(Write::Set(set(headers, body)?)),
        "setMany" => Command::Write(Write::SetMany(operations::decode(body.payload)?)),
        "delete" => Command::Write(Write::Delete(deletion(headers)?)),
        "config" => Command::Write(Write::Configure(match headers.json("config") {
            None => Map::new(),
            Some(Value::Object(fields)) => fields,
            Some(_) => return Err(Refusal::new("config must be an object")),
        })),
        "setMetadata" => Command::Write(Write::SetMetadata(body.json()?)),
        "patchMetadata" => Command::Write(Write::PatchMetadata(body.json()?)),
        "setCheckpoint" => Command::Write(Write::SetCheckpoint(checkpoint(body)?)),
        "deleteCheckpoint" => match headers.get("name") {
            Some(Value::String(name)) => Command::Write(Write::DeleteCheckpoint(name.clone())),
            _ => return Err(Refusal::new("deleteCheckpoint requires name")),
        },
        "get" => Command::Read(Read::Get(wanted(headers)?)),
        "getAll" => Command::Read(Read::GetAll(get_all(headers)?)),
        "keys" => Command::Read(Read::Keys),
        "inventory" => Command::Read(Read::Inventory),
        "metadata" => Command::Read(Read::Metadata),
        "checkpoints" => Command::Read(Read::Checkpoints),
        "changefeed" => Command::Read(Read::Changefeed),
        "serverId" => Command::Read(Read::ServerId),
        "sqlite" => return Err(Refusal::new("sqlite command not currently supported")),
        // The name comes from outside, and may be long.
        other => return Err(Refusal::unknown_command(&other.chars().take(100).collect::<String>())),
    })
}

fn set(headers: &Map<String, Value>, body: Body<'_>) -> Result<Set, Refusal> {
    Ok(Set {
        encoding: encoding_of(Some(body.encoding as f64))?,
        raw: body.payload.clone(),
        headers: headers.headers()?,
        key: headers.text("key")?,
        ttl: headers.millis("ttl")?,
        previous_seq: headers.seq("previousSeq")?,
        msg_id: headers.text("msgID")?,
        checkpoint: headers.checkpoint()?,
    })
}

/// Whether JavaScript would call a value true.
fn is_truthy(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null | Value::Bool(false)) => false,
        Some(Value::Number(number)) => number.as_f64() != Some(0.0),
        Some(Value::String(text)) => !text.is_empty(),
        Some(_) => true,
    }
}

fn deletion(headers: &Map<String, Value>) -> Result<Deletion, Refusal> {
    let selected = |name: &str| is_truthy(headers.get(name));
    if selected("all") {
        return Ok(Deletion::All);
    }
    if selected("last_seq") {
        let last = headers.number("last_seq")?.unwrap_or_default();
        return Ok(Deletion::UpTo((last.max(0.0) as u64).min(NO_SEQ)));
    }
    if selected("seq") {
        return Ok(Deletion::One(headers.seq("seq")?.unwrap_or(NO_SEQ)));
    }
    if !selected("seqs") {
        return Ok(Deletion::Nothing);
    }
    let wrong = || Refusal::new("seqs must be an array of numbers");
    let seqs = headers.get("seqs").and_then(Value::as_array).ok_or_else(wrong)?;
    seqs.iter().map(|seq| seq.as_f64().map(seq_of).ok_or_else(wrong)).collect::<Result<_, _>>().map(Deletion::These)
}

fn wanted(headers: &Map<String, Value>) -> Result<Option<Wanted>, Refusal> {
    if is_truthy(headers.get("seq")) {
        return Ok(headers.seq("seq")?.map(Wanted::Seq));
    }
    Ok(headers.text("key")?.map(Wanted::Key))
}

fn get_all(headers: &Map<String, Value>) -> Result<GetAll, Refusal> {
    // Between two numbers there is nothing, so a fraction means the next number on the inner side.
    let bound = |number: f64| (number.max(0.0) as u64).min(NO_SEQ);
    let flag = |name: &str| is_truthy(headers.get(name));
    let end = headers.number("end_seq")?;
    Ok(GetAll {
        start: headers.number("start_seq")?.map(|start| bound(start.ceil())),
        // Nothing comes before number 1.
        end: end.map(|end| bound(end.floor())),
        start_checkpoint: headers.text("start_checkpoint")?.map(|name| name.to_string()),
        changefeed: flag("changefeed"),
        config: flag("includeConfig"),
        metadata: flag("includeMetadata"),
        checkpoints: flag("includeCheckpoints"),
    })
}

fn checkpoint(body: Body<'_>) -> Result<NewCheckpoint, Refusal> {
    let Some(Value::Object(map)) = body.json()? else { return Err(Refusal::new("setCheckpoint requires name")) };
    let checkpoint = checkpoint_of(&map)?;
    if checkpoint.seq.is_none() {
        return Err(Refusal::new("setCheckpoint requires seq"));
    }
    Ok(checkpoint)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(headers: Value) -> Result<Command, Refusal> {
        parse(Some(&headers), Body { encoding: 0, payload: &Bytes::from_static(&[0xc0]) })
    }

    fn deletion(selectors: Value) -> Deletion {
        let mut headers = selectors;
        headers["cmd"] = "delete".into();
        match read(headers).unwrap() {
            Command::Write(Write::Delete(deletion)) => deletion,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn persist_048_selectors_have_a_precedence_and_false_ones_do_not_count() {
        let all = json!({"all": true, "last_seq": 1, "seq": 2, "seqs": [3]});
        assert_eq!(deletion(all), Deletion::All);
        assert_eq!(deletion(json!({"all": false, "last_seq": 7.0, "seq": 2, "seqs": [3]})), Deletion::UpTo(7));
        assert_eq!(deletion(json!({"all": null, "last_seq": 0, "seq": 2, "seqs": [3]})), Deletion::One(2));
        assert_eq!(deletion(json!({"seq": 0, "seqs": [3, 4.0, 99]})), Deletion::These(vec![3, 4, 99]));
        assert_eq!(deletion(json!({"seqs": []})), Deletion::These(vec![]));
        assert_eq!(deletion(json!({})), Deletion::Nothing);
        assert!(read(json!({"cmd": "delete", "seqs": "x"})).is_err());
        assert!(read(json!({"cmd": "delete", "seqs": [null]})).is_err());
    }

    #[test]
    fn persist_041_a_number_wins_over_a_key() {
        let get = |headers: Value| match read(headers).unwrap() {
            Command::Read(Read::Get(wanted)) => wanted,
            other => panic!("{other:?}"),
        };
        assert_eq!(get(json!({"cmd": "get", "seq": 2, "key": "k"})), Some(Wanted::Seq(2)));
        assert_eq!(get(json!({"cmd": "get", "seq": 0, "key": ""})), Some(Wanted::Key("".into())));
        assert_eq!(get(json!({"cmd": "get", "seq": null, "key": null})), None);
        assert_eq!(get(json!({"cmd": "get", "seq": -1})), Some(Wanted::Seq(NO_SEQ)));
    }

    #[test]
    fn persist_045_bounds_of_a_range_are_inclusive() {
        let range = |headers: Value| match read(headers).unwrap() {
            Command::Read(Read::GetAll(all)) => (all.start, all.end),
            other => panic!("{other:?}"),
        };
        assert_eq!(range(json!({"cmd": "getAll", "start_seq": 0, "timeout": 15000})), (Some(0), None));
        assert_eq!(range(json!({"cmd": "getAll", "start_seq": 2.5, "end_seq": 3.5})), (Some(3), Some(3)));
        assert_eq!(range(json!({"cmd": "getAll", "start_seq": -5, "end_seq": 1e300})), (Some(0), Some(NO_SEQ)));
        assert_eq!(range(json!({"cmd": "getAll", "start_seq": null})), (None, None));
        assert!(read(json!({"cmd": "getAll", "start_seq": "1"})).is_err());
    }

    #[test]
    fn persist_058_persist_059_what_is_unknown_or_forbidden_is_refused() {
        assert_eq!(read(json!({"cmd": "bogus"})), Err(Refusal::unknown_command("bogus")));
        assert_eq!(read(json!({})), Err(Refusal::unknown_command("undefined")));
        let sqlite = read(json!({"cmd": "sqlite", "statement": "select 1"})).unwrap_err();
        assert_eq!((sqlite.text(), sqlite.code()), ("Error: sqlite command not currently supported", None));
    }

    #[test]
    fn persist_124_a_checkpoint_needs_a_number() {
        let set = |value: Value| {
            let payload = msgpack::encode(&value).unwrap().into();
            parse(Some(&json!({"cmd": "setCheckpoint"})), Body { encoding: 0, payload: &payload })
        };
        assert_eq!(set(json!({"name": "x"})), Err(Refusal::new("setCheckpoint requires seq")));
        assert!(set(json!(null)).is_err());
        assert!(set(json!({"name": "x", "seq": 3})).is_ok());
    }
}

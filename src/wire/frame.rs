//! One published frame: a message, or one chunk of it (conat-wire.md §5).
//!
//! The broker forwards everything behind the subject untouched, so a frame that came over a socket keeps its JSON as text. A
//! frame made in process keeps its fields; each form is made from the other when somebody asks for it.

use std::sync::OnceLock;

use bytes::Bytes;
use serde_json::Value;
use smallvec::SmallVec;
use thiserror::Error;

use super::{
    json::{self, Raw, Scanner},
    socketio,
};

/// Binary parts of a packet, in order of their number.
pub type Attachments = SmallVec<[Bytes; 1]>;

/// A binary part of a packet that was just read.
#[derive(Clone, Debug)]
pub enum Part<'a> {
    /// It lies in a buffer that others are going to use.
    Lent(&'a [u8]),
    /// It is one's own.
    Kept(Bytes),
}

impl Part<'_> {
    /// The bytes, to keep.
    pub fn keep(self) -> Bytes {
        match self {
            Part::Lent(bytes) => Bytes::copy_from_slice(bytes),
            Part::Kept(bytes) => bytes,
        }
    }
}

impl std::ops::Deref for Part<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Part::Lent(bytes) => bytes,
            Part::Kept(bytes) => bytes,
        }
    }
}

/// Binary parts of a packet that was just read, in order of their number.
pub type Parts<'a> = SmallVec<[Part<'a>; 1]>;

/// Binary parts, to keep.
pub fn keep(parts: Parts<'_>) -> Attachments {
    parts.into_iter().map(Part::keep).collect()
}

/// Why the argument of `publish` is no frame; all of these are answered with code 400 (D10).
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Error {
    /// The argument is not an array, or has fewer than six elements.
    #[error("invalid publish payload")]
    Shape,
    /// Placeholders and attachments do not fit each other.
    #[error("invalid publish payload: attachments do not match their placeholders")]
    Attachments,
}

/// The fields of a frame, as a client of the bus sees them.
#[derive(Clone, Debug, PartialEq)]
pub struct Fields {
    /// Message id, the same for all chunks of a message.
    pub id: String,
    /// Chunk number from 0.
    pub seq: u64,
    /// Whether this is the last chunk.
    pub done: bool,
    /// How the payload is encoded: 0 MessagePack, 1 JSON.
    pub encoding: u64,
    /// The chunk's bytes.
    pub raw: Bytes,
    /// Headers, on the last chunk only.
    pub headers: Option<Value>,
}

/// A frame in one of its two forms, or both.
#[derive(Debug)]
pub struct Frame {
    /// `id, seq, done, encoding, raw[, headers]` as JSON text without the brackets; UTF-8.
    text: OnceLock<Bytes>,
    fields: OnceLock<Option<Fields>>,
    attachments: Attachments,
    id: Box<str>,
    whole: bool,
    done: bool,
    encoding: Option<u64>,
    bytes: usize,
}

/// `publish`'s argument taken apart, where it was read.
#[derive(Clone, Debug)]
pub struct Publication<'a> {
    /// The subject as it was written, any JSON value.
    pub subject: Raw<'a>,
    /// `id, seq, done, encoding, raw[, headers]` as it was written.
    pub text: &'a str,
    /// The headers' JSON, for the flight recorder.
    pub headers: Option<Raw<'a>>,
    /// How the payload is encoded, if that is a number (§5.3).
    pub encoding: Option<u64>,
    /// Binary parts, the payload first.
    pub parts: Parts<'a>,
    /// What chunks of one message have in common; empty for a whole message.
    id: &'a str,
    done: bool,
}

/// Index of the raw bytes in the array of `publish`.
const RAW_INDEX: usize = 5;
/// What stands for the payload in JSON.
const PLACEHOLDER: &str = r#"{"_placeholder":true,"num":0}"#;
/// Index of the headers in the array of `publish`. What follows is cluster forwarding, which is honoured from nobody.
const HEADERS_INDEX: usize = 6;

impl<'a> Publication<'a> {
    /// Takes the argument of `publish` apart.
    ///
    /// # Errors
    /// The argument is no frame.
    pub fn decode(argument: Raw<'a>, mut parts: Parts<'a>) -> Result<Publication<'a>, Error> {
        let elements: SmallVec<[Raw<'a>; 8]> =
            argument.elements().ok_or(Error::Shape)?.take(HEADERS_INDEX + 2).collect();
        let at = |index: usize| elements.get(index).copied();
        let (Some(subject), Some(id), Some(seq), Some(done), Some(raw)) = (at(0), at(1), at(2), at(3), at(RAW_INDEX))
        else {
            return Err(Error::Shape);
        };
        let forwarded = at(HEADERS_INDEX + 1).is_some();
        // A forwarded frame without headers has null in their place (§5.1).
        let headers = at(HEADERS_INDEX).filter(|h| !(forwarded && h.is_null()));
        let last = headers.unwrap_or(raw);
        let text = argument.text().get(id.start()..last.end()).ok_or(Error::Shape)?;

        // The usual frame has one attachment, the payload, and nothing else that looks like a placeholder.
        let usual = parts.len() == 1
            && raw.text() == PLACEHOLDER
            && !forwarded
            && elements.iter().enumerate().all(|(i, e)| i == RAW_INDEX || !e.may_hold_placeholder());
        if !usual {
            let kept = format!("[{text}]");
            let kept = Scanner::new(&kept).value().map_err(|_| Error::Shape)?;
            if forwarded {
                // Attachments of what is dropped come last in the numbering.
                let tree: Value = serde_json::from_str(kept.text()).map_err(|_| Error::Attachments)?;
                parts.truncate(socketio::count_placeholders(&tree));
            }
            if !socketio::placeholders_are_sound(kept, parts.len()) {
                return Err(Error::Attachments);
            }
        }
        let done = done.is_truthy();
        let id = if done && seq.text() == "0" { "" } else { id.text() };
        Ok(Publication { subject, text, headers, encoding: at(4).and_then(|e| e.as_u64()), parts, id, done })
    }

    /// Takes the JSON of a whole `publish` event apart in one go, if it is written as the stock clients write a message in one
    /// frame; its payload is the only attachment. Anything else, well formed or not, is left to [`Publication::decode`].
    pub fn scan(data: &'a str, payload: Part<'a>) -> Option<Publication<'a>> {
        let mut scanner = Scanner::new(data);
        if !scanner.skip(r#"["publish",["#) {
            return None;
        }
        let subject = scanner.string_value().ok()?;
        if !scanner.skip(",") {
            return None;
        }
        let id = scanner.string_value().ok()?;
        if subject.may_hold_placeholder() || id.may_hold_placeholder() || !scanner.skip(",0,1,") {
            return None;
        }
        let encoding = if scanner.skip("0,") {
            0
        } else if scanner.skip("1,") {
            1
        } else {
            return None;
        };
        if !scanner.skip(PLACEHOLDER) {
            return None;
        }
        let mut end = scanner.at();
        let mut headers = None;
        if scanner.skip(",") {
            let value = scanner.value().ok()?;
            if value.may_hold_placeholder() {
                return None;
            }
            end = value.end();
            headers = Some(value);
        }
        if !scanner.skip("]]") || scanner.at() != data.len() {
            return None;
        }
        let text = data.get(id.start()..end)?;
        let parts = Parts::from_iter([payload]);
        Some(Publication { subject, text, headers, encoding: Some(encoding), parts, id: "", done: true })
    }

    /// Payload bytes.
    pub fn bytes(&self) -> usize {
        self.parts.first().map_or(0, |payload| payload.len())
    }

    /// Whether this is the last chunk of its message.
    pub fn is_last(&self) -> bool {
        self.done
    }

    /// The frame, to keep.
    pub fn keep(self) -> Frame {
        Frame {
            bytes: self.bytes(),
            text: OnceLock::from(Bytes::copy_from_slice(self.text.as_bytes())),
            fields: OnceLock::new(),
            whole: self.id.is_empty(),
            id: self.id.into(),
            done: self.done,
            encoding: self.encoding,
            attachments: keep(self.parts),
        }
    }
}

impl Frame {
    /// Makes a frame in process. Null headers are none, as everywhere (§5.2).
    pub fn new(mut fields: Fields) -> Frame {
        fields.headers = fields.headers.filter(|headers| !headers.is_null());
        let whole = fields.done && fields.seq == 0;
        Frame {
            text: OnceLock::new(),
            attachments: SmallVec::from_iter([fields.raw.clone()]),
            id: if whole { Box::default() } else { fields.id.as_str().into() },
            whole,
            done: fields.done,
            encoding: Some(fields.encoding),
            bytes: fields.raw.len(),
            fields: OnceLock::from(Some(fields)),
        }
    }

    /// `id, seq, done, encoding, raw[, headers]` as JSON text without brackets.
    pub fn text(&self) -> &Bytes {
        self.text.get_or_init(|| {
            let mut out = Vec::with_capacity(96);
            // A frame without text was made from fields.
            if let Some(Some(fields)) = self.fields.get() {
                json::push_string(&mut out, &fields.id);
                let (seq, done, encoding) = (fields.seq, u8::from(fields.done), fields.encoding);
                out.extend_from_slice(
                    format!(r#",{seq},{done},{encoding},{{"_placeholder":true,"num":0}}"#).as_bytes(),
                );
                if let Some(headers) = &fields.headers {
                    out.push(b',');
                    out.extend_from_slice(headers.to_string().as_bytes());
                }
            }
            Bytes::from(out)
        })
    }

    /// The fields, or `None` if a client could make nothing of the frame (the broker forwards such frames all the same).
    pub fn fields(&self) -> Option<&Fields> {
        self.fields.get_or_init(|| self.decode_fields()).as_ref()
    }

    fn decode_fields(&self) -> Option<Fields> {
        let text = format!("[{}]", std::str::from_utf8(self.text()).ok()?);
        let array = Scanner::new(&text).value().ok()?;
        let mut elements = array.elements()?;
        let id = elements.next()?.as_str()?.into_owned();
        let seq = elements.next()?.as_u64()?;
        let done = elements.next()?.is_truthy();
        let encoding = elements.next()?.as_u64()?;
        if !elements.next()?.is_object() {
            return None;
        }
        let raw = self.attachments.first()?.clone();
        let headers = match elements.next() {
            Some(headers) if !headers.is_null() => Some(serde_json::from_str(headers.text()).ok()?),
            _ => None,
        };
        Some(Fields { id, seq, done, encoding, raw, headers })
    }

    /// The binary parts, the payload first.
    pub fn attachments(&self) -> &[Bytes] {
        &self.attachments
    }

    /// How the payload is encoded, if that is a number (§5.3).
    pub fn encoding(&self) -> Option<u64> {
        self.encoding
    }

    /// Payload bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether this one frame is a whole message.
    pub fn is_whole(&self) -> bool {
        self.whole
    }

    /// Whether this is the last chunk of its message.
    pub fn is_last(&self) -> bool {
        self.done
    }

    /// What chunks of one message have in common; empty for a whole message.
    pub fn chunk_key(&self) -> &str {
        &self.id
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn decode(text: &str, attachments: &[&'static [u8]]) -> Result<(String, Frame), Error> {
        let raw = Scanner::new(text).value().unwrap();
        let parts = attachments.iter().map(|b| Part::Lent(b)).collect();
        Publication::decode(raw, parts).map(|p| (p.subject.as_str().unwrap().into_owned(), p.keep()))
    }

    #[test]
    fn keeps_what_follows_the_subject_as_it_was_written() {
        let text = r#"["foo.a", "id1",0,1,0,{"_placeholder":true,"num":0},{"n":1.50}]"#;
        let (subject, frame) = decode(text, &[b"\xc0"]).unwrap();
        assert_eq!(subject, "foo.a");
        assert_eq!(frame.text(), r#""id1",0,1,0,{"_placeholder":true,"num":0},{"n":1.50}"#);
        let fields = frame.fields().unwrap();
        assert_eq!((fields.id.as_str(), fields.seq, fields.done, fields.encoding), ("id1", 0, true, 0));
        assert_eq!(fields.headers, Some(json!({"n": 1.5})));
        assert!(frame.is_whole());
    }

    #[test]
    fn cluster_targets_are_stripped_with_their_attachments() {
        let text = r#"["s","i",0,1,0,{"_placeholder":true,"num":0},null,[{"pattern":"x","target":{"_placeholder":true,"num":1}}]]"#;
        let (_, frame) = decode(text, &[b"a", b"b"]).unwrap();
        assert_eq!(frame.text(), r#""i",0,1,0,{"_placeholder":true,"num":0}"#);
        assert_eq!(frame.attachments().len(), 1);
    }

    #[test]
    fn false_placeholders_are_refused() {
        let frame = |headers: &str, attachments| {
            decode(&format!(r#"["s","i",0,1,0,{{"_placeholder":true,"num":0}},{headers}]"#), attachments).map(|_| ())
        };
        assert_eq!(frame(r#"{"x":{"_placeholder":true,"num":1}}"#, &[b"a", b"b"]), Ok(()));
        assert_eq!(frame(r#"{"x":{"_placeholder":true,"num":3}}"#, &[b"a", b"b"]), Err(Error::Attachments));
        assert_eq!(frame(r#"{"x":{"_placeholder":true,"num":1}}"#, &[b"a"]), Err(Error::Attachments));
        assert_eq!(frame("{}", &[b"a", b"b"]), Err(Error::Attachments));
        assert_eq!(decode(r#"["s","i",0,1]"#, &[]).map(|_| ()), Err(Error::Shape));
    }

    /// Checks that [`Publication::scan`] either leaves an event alone or says the same as the long way.
    fn scans_alike(data: &str) -> bool {
        let Some(quick) = Publication::scan(data, Part::Lent(b"\xc0")) else { return false };
        let text = format!("2{data}");
        let event = socketio::Packet::decode(&text).unwrap().event().unwrap();
        assert_eq!(event.name.text(), "\"publish\"");
        let long = Publication::decode(event.argument.unwrap(), Parts::from_iter([Part::Lent(b"\xc0")])).unwrap();
        assert_eq!((quick.subject.text(), quick.text), (long.subject.text(), long.text), "{data}");
        assert_eq!(quick.headers.map(|h| h.text()), long.headers.map(|h| h.text()));
        assert_eq!((quick.encoding, quick.id, quick.done), (long.encoding, long.id, long.done));
        true
    }

    #[test]
    fn the_usual_frame_is_taken_apart_in_one_go() {
        const RAW: &str = r#"{"_placeholder":true,"num":0}"#;
        let usual = |text: &str| scans_alike(&text.replace("RAW", RAW));
        assert!(usual(r#"["publish",["a.b","id1",0,1,0,RAW]]"#));
        assert!(usual(r#"["publish",["a\n\u1234 \"","",0,1,1,RAW,{"CN-Reply": "x","n":[1.50,{}]}]]"#));
        assert!(usual(r#"["publish",["é","id1",0,1,0,RAW,null]]"#));
        for other in [
            r#"["publish",["a","id",0,0,0,RAW]]"#,
            r#"["publish",["a","id",1,1,0,RAW]]"#,
            r#"["publish",["a","id",0,1,2,RAW]]"#,
            r#"["publish",["a","id",0,1,0,null]]"#,
            r#"["publish",["a","id",0,1,0,RAW,{"a":RAW}]]"#,
            r#"["publish",["a","id",0,1,0,RAW,{"\u005fplaceholder":true}]]"#,
            r#"["publish",["_placeholder","id",0,1,0,RAW]]"#,
            r#"["publish",["a","id",0,1,0,RAW,{},[]]]"#,
            r#"["publish",["a","id",0,1,0,RAW,{}]] "#,
            r#"["publish",["a","id",0,1,0,RAW],1]"#,
            r#"["publish",["a","id",0,1,0,RAW,}]]"#,
            r#"["publish",[1,"id",0,1,0,RAW]]"#,
            r#"["publish",["a"#,
            r#"["publishes",["a","id",0,1,0,RAW]]"#,
        ] {
            assert!(!usual(other), "{other}");
        }
    }

    #[test]
    fn both_forms_say_the_same() {
        let fields = Fields {
            id: "abc".into(),
            seq: 2,
            done: false,
            encoding: 1,
            raw: Bytes::from_static(b"{}"),
            headers: Some(json!({"a": "b"})),
        };
        let made = Frame::new(fields.clone());
        let text = format!("[\"s\",{}]", std::str::from_utf8(made.text()).unwrap());
        let (_, read) = decode(&text, &[b"{}"]).unwrap();
        assert_eq!(read.fields(), Some(&fields));
        assert_eq!((read.chunk_key(), made.chunk_key()), ("\"abc\"", "abc"));
    }
}

//! A frame on its way to the subscribers of one pattern, encoded once for all of them (conat-wire.md §5.2).

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use smallvec::SmallVec;

use super::sublist::Entry;
use crate::wire::{
    frame::{Frame, Part},
    socketio::MAX_ATTACHMENTS,
    websocket::{self, Opcode},
};

/// Attachments up to this size are copied behind the text; larger ones are sent from where they are.
const INLINE_BYTES: usize = 4096;

/// Takes the bytes of packets.
pub trait Sink {
    /// Where small pieces go.
    fn buffer(&mut self) -> &mut Vec<u8>;
    /// Takes a large piece behind what is in the buffer.
    fn push(&mut self, bytes: Bytes);
}

struct Chunks {
    out: Vec<u8>,
    chunks: SmallVec<[Bytes; 1]>,
}

impl Sink for Chunks {
    fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    fn push(&mut self, bytes: Bytes) {
        self.chunks.push(Bytes::from(std::mem::take(&mut self.out)));
        self.chunks.push(bytes);
    }
}

/// Writes the WebSocket frames of a packet whose text is `len` bytes long and produced by `write`.
fn write_packet(sink: &mut impl Sink, len: usize, write: impl FnOnce(&mut Vec<u8>), attachments: &[Bytes]) {
    let out = sink.buffer();
    websocket::push_head(out, Opcode::Text, len);
    let start = out.len();
    write(out);
    debug_assert_eq!(out.len() - start, len, "the length was announced in the frame's head");
    for attachment in attachments {
        let out = sink.buffer();
        websocket::push_head(out, Opcode::Binary, attachment.len());
        if attachment.len() <= INLINE_BYTES {
            out.extend_from_slice(attachment);
        } else {
            sink.push(attachment.clone());
        }
    }
}

/// A socket.io packet as the bytes of its WebSocket frames: text and attachments, one uninterrupted group (§2.5).
#[derive(Clone, Debug, Default)]
pub struct Encoded {
    chunks: SmallVec<[Bytes; 1]>,
    len: usize,
}

impl Encoded {
    /// Encodes a packet. Its text message is `len` bytes long and produced by `write`.
    pub fn new(len: usize, write: impl FnOnce(&mut Vec<u8>), attachments: &[Bytes]) -> Encoded {
        let frame = |len: usize| websocket::head_len(len) + if len <= INLINE_BYTES { len } else { 0 };
        let capacity = websocket::head_len(len) + len + attachments.iter().map(|a| frame(a.len())).sum::<usize>();
        let mut sink = Chunks { out: Vec::with_capacity(capacity), chunks: SmallVec::new() };
        write_packet(&mut sink, len, write, attachments);
        let Chunks { out, mut chunks } = sink;
        if !out.is_empty() {
            chunks.push(Bytes::from(out));
        }
        let len = chunks.iter().map(Bytes::len).sum();
        Encoded { chunks, len }
    }

    /// Encodes a packet whose text is there already.
    pub fn from_text(text: &str, attachments: &[Bytes]) -> Encoded {
        Encoded::new(text.len(), |out| out.extend_from_slice(text.as_bytes()), attachments)
    }

    /// Writes the packet.
    pub fn write(&self, sink: &mut impl Sink) {
        for chunk in &self.chunks {
            if chunk.len() <= INLINE_BYTES {
                sink.buffer().extend_from_slice(chunk);
            } else {
                sink.push(chunk.clone());
            }
        }
    }

    /// How many bytes that is.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// Writes a frame for the subscribers of a pattern: its event, then its parts. Pattern and subject are JSON strings.
pub fn push(out: &mut Vec<u8>, pattern: &[u8], subject: &[u8], text: &[u8], parts: &[Part<'_>]) {
    let event = event(parts.len(), pattern, subject, text);
    let len = event.iter().map(|part| part.len()).sum();
    let frame = |len: usize| websocket::head_len(len) + len;
    out.reserve(frame(len) + parts.iter().map(|part| frame(part.len())).sum::<usize>());
    websocket::push_head(out, Opcode::Text, len);
    event.iter().for_each(|part| out.extend_from_slice(part));
    for part in parts {
        websocket::push_head(out, Opcode::Binary, part.len());
        out.extend_from_slice(part);
    }
}

/// Writes the acknowledgement of a publish.
pub fn push_count(out: &mut Vec<u8>, id: u64, count: u32) {
    let (mut id_text, mut count_text) = (itoa::Buffer::new(), itoa::Buffer::new());
    let parts = ["43", id_text.format(id), r#"[{"count":"#, count_text.format(count), "}]"];
    websocket::push_head(out, Opcode::Text, parts.iter().map(|part| part.len()).sum());
    parts.iter().for_each(|part| out.extend_from_slice(part.as_bytes()));
}

/// The beginning of an event with so many attachments.
fn prefix(attachments: usize) -> &'static str {
    // More are refused when they are read.
    const PREFIXES: [&str; MAX_ATTACHMENTS + 1] =
        ["42[", "451-[", "452-[", "453-[", "454-[", "455-[", "456-[", "457-[", "458-[", "459-[", "4510-["];
    PREFIXES.get(attachments).copied().unwrap_or_default()
}

/// The pieces of the event that delivers a frame.
fn event<'a>(attachments: usize, pattern: &'a [u8], subject: &'a [u8], text: &'a [u8]) -> [&'a [u8]; 7] {
    [prefix(attachments).as_bytes(), pattern, br#",{"subject":"#, subject, br#","data":["#, text, b"]}]"]
}

/// A subject with its JSON form.
#[derive(Clone, Debug)]
pub struct SubjectText {
    /// The subject.
    pub text: Arc<str>,
    /// The subject as a JSON string.
    pub json: Arc<[u8]>,
}

/// A frame for the subscribers of one pattern.
#[derive(Debug)]
pub struct Delivery {
    entry: Arc<Entry>,
    subject: SubjectText,
    frame: Arc<Frame>,
    encoded: OnceLock<Encoded>,
}

impl Delivery {
    /// Addresses a frame to a pattern's subscribers.
    pub fn new(entry: Arc<Entry>, subject: SubjectText, frame: Arc<Frame>) -> Delivery {
        Delivery { entry, subject, frame, encoded: OnceLock::new() }
    }

    /// The pattern it was subscribed with: the event's name.
    pub fn pattern(&self) -> &Arc<str> {
        self.entry.pattern()
    }

    /// The subject it was published to.
    pub fn subject(&self) -> &Arc<str> {
        &self.subject.text
    }

    /// What was published.
    pub fn frame(&self) -> &Arc<Frame> {
        &self.frame
    }

    /// Bytes that wait while this delivery does.
    pub fn bytes(&self) -> usize {
        self.frame.text().len() + self.frame.attachments().iter().map(Bytes::len).sum::<usize>()
    }

    /// The packet, encoded when the first socket asks for it.
    pub fn encoded(&self) -> &Encoded {
        self.encoded.get_or_init(|| self.with_text(|len, write| Encoded::new(len, write, self.frame.attachments())))
    }

    /// Writes the packet. If nobody else is going to need it, it is not kept.
    pub fn write(self: Arc<Self>, sink: &mut impl Sink) {
        if Arc::strong_count(&self) == 1 && self.encoded.get().is_none() {
            self.with_text(|len, write| write_packet(sink, len, write, self.frame.attachments()));
        } else {
            self.encoded().write(sink);
        }
    }

    fn with_text<R>(&self, then: impl FnOnce(usize, &dyn Fn(&mut Vec<u8>)) -> R) -> R {
        let (count, data) = (self.frame.attachments().len(), self.frame.text());
        let parts = event(count, self.entry.json(), &self.subject.json, data);
        let len = parts.iter().map(|part| part.len()).sum();
        then(len, &|out| parts.iter().for_each(|part| out.extend_from_slice(part)))
    }
}

//! A frame on its way to the subscribers of one pattern, encoded once for all of them (conat-wire.md §5.2).

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use smallvec::SmallVec;

use super::sublist::Entry;
use crate::wire::{
    frame::Frame,
    websocket::{self, MAX_HEAD_BYTES, Opcode},
};

/// Attachments up to this size are copied behind the text; larger ones are sent from where they are.
const INLINE_BYTES: usize = 4096;

/// A socket.io packet as the bytes of its WebSocket frames: text and attachments, one uninterrupted group (§2.5).
#[derive(Clone, Debug, Default)]
pub struct Encoded {
    chunks: SmallVec<[Bytes; 1]>,
    len: usize,
}

impl Encoded {
    /// Encodes a packet. `text` is the whole text message, `len` of its bytes are produced by `write`.
    pub fn new(len: usize, write: impl FnOnce(&mut Vec<u8>), attachments: &[Bytes]) -> Encoded {
        let inline: usize = attachments.iter().filter(|a| a.len() <= INLINE_BYTES).map(Bytes::len).sum();
        let mut out = Vec::with_capacity(len + inline + MAX_HEAD_BYTES * (attachments.len() + 1));
        websocket::push_head(&mut out, Opcode::Text, len);
        let start = out.len();
        write(&mut out);
        debug_assert_eq!(out.len() - start, len, "the length was announced in the frame's head");
        let mut chunks = SmallVec::new();
        for attachment in attachments {
            websocket::push_head(&mut out, Opcode::Binary, attachment.len());
            if attachment.len() <= INLINE_BYTES {
                out.extend_from_slice(attachment);
            } else {
                chunks.push(Bytes::from(std::mem::take(&mut out)));
                chunks.push(attachment.clone());
            }
        }
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

    /// The bytes, in order.
    pub fn chunks(&self) -> &[Bytes] {
        &self.chunks
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
        self.encoded.get_or_init(|| {
            let (pattern, subject, data) = (self.entry.json(), &self.subject.json, self.frame.text());
            let attachments = self.frame.attachments();
            let count = attachments.len();
            let prefix = if count == 0 { "42[".to_owned() } else { format!("45{count}-[") };
            let parts: [&[u8]; 7] =
                [prefix.as_bytes(), pattern, br#",{"subject":"#, subject, br#","data":["#, data, b"]}]"];
            let len = parts.iter().map(|part| part.len()).sum();
            Encoded::new(len, |out| parts.iter().for_each(|part| out.extend_from_slice(part)), attachments)
        })
    }
}

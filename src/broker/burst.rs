//! What a connection publishes in one go: encoded once for all readers, and handed over together.
//!
//! A busy publisher's messages arrive many at a time. As long as they go to the readers of the same pattern they are put behind
//! each other, down to the bytes of the WebSocket frames, so that queues are locked and readers woken once for all of them.
//! Nothing waits: what was read together is handed over before anything else is read.

use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;

use super::{
    delivery,
    flight::{MAX_TARGETS, Record},
    outbox::{Item, Outbox},
    route::{Source, header_names},
    sublist::Entry,
    tally::Moment,
};
use crate::wire::frame::{Part, Publication};

/// Bytes that are handed over at once at the latest.
const MAX_BYTES: usize = 64 << 10;

/// Encoded messages and answers of one connection that nobody has got yet.
#[derive(Debug, Default)]
pub struct Burst {
    /// The pattern whose readers get it; `None` if nobody does.
    to: Option<Arc<Entry>>,
    bytes: Vec<u8>,
    /// How long the last one was, which this one may become as well.
    last_len: usize,
    /// Frames in it.
    frames: u32,
    /// Frames that are the last of their message.
    messages: u32,
    payload_bytes: usize,
    /// Events to acknowledge when it is known how many heard them.
    asking: Vec<u64>,
    records: Vec<Note>,
    /// Acknowledgements, encoded.
    answers: Vec<u8>,
    answered: u32,
}

/// What the flight recorder is going to be told of some frames in a row that are alike.
#[derive(Debug)]
struct Note {
    subject: Arc<str>,
    bytes: usize,
    headers: SmallVec<[Box<str>; 2]>,
    encoding: Option<u64>,
    times: u32,
}

impl Burst {
    /// Whether a frame may become part of a burst at all.
    pub fn suits(publication: &Publication<'_>) -> bool {
        publication.parts.iter().all(|part| matches!(part, Part::Lent(_)))
            && publication.parts.iter().map(|part| part.len()).sum::<usize>() < MAX_BYTES
    }

    /// Whether a frame to these readers can be added to what is there.
    pub fn takes(&self, to: Option<&Arc<Entry>>, publication: &Publication<'_>) -> bool {
        let len = publication.parts.iter().map(|part| part.len()).sum::<usize>();
        let same = match (to, &self.to) {
            (None, None) => true,
            (Some(to), Some(mine)) => Arc::ptr_eq(to, mine),
            _ => false,
        };
        self.frames == 0 || same && self.bytes.len() + len <= MAX_BYTES
    }

    /// Adds a frame. Its subject has to be a JSON string without escapes.
    pub fn add(
        &mut self,
        to: Option<&Arc<Entry>>,
        subject: &Arc<str>,
        publication: &Publication<'_>,
        ask: Option<u64>,
        recorded: bool,
    ) {
        if self.frames == 0 {
            self.to = to.cloned();
        }
        if let Some(entry) = to {
            if self.bytes.is_empty() {
                self.bytes.reserve(self.last_len);
            }
            let (pattern, subject) = (entry.json(), publication.subject.text().as_bytes());
            delivery::push(&mut self.bytes, pattern, subject, publication.text.as_bytes(), &publication.parts);
        }
        self.frames += 1;
        self.messages += u32::from(publication.is_last());
        self.payload_bytes += publication.bytes();
        self.asking.extend(ask);
        if recorded {
            self.note(subject, publication);
        }
    }

    fn note(&mut self, subject: &Arc<str>, publication: &Publication<'_>) {
        let (bytes, encoding) = (publication.bytes(), publication.encoding);
        if let (Some(last), None) = (self.records.last_mut(), publication.headers)
            && Arc::ptr_eq(&last.subject, subject)
            && (last.bytes, last.encoding, last.headers.is_empty()) == (bytes, encoding, true)
        {
            last.times += 1;
        } else {
            let headers = header_names(publication.headers);
            self.records.push(Note { subject: subject.clone(), bytes, headers, encoding, times: 1 });
        }
    }

    /// Acknowledges an event behind those before it.
    pub fn answer(&mut self, id: u64, count: u32) {
        delivery::push_count(&mut self.answers, id, count);
        self.answered += 1;
    }

    /// Hands the frames over, but no acknowledgements yet unless their reader is one of those that get frames.
    pub fn flush(&mut self, moment: &mut Moment, from: &mut Source<'_>) {
        if self.frames == 0 {
            return;
        }
        let frames = std::mem::take(&mut self.frames);
        self.last_len = self.bytes.len();
        let bytes = Bytes::from(std::mem::take(&mut self.bytes).into_boxed_slice());
        let to = self.to.take();
        let mut targets: SmallVec<[(Arc<str>, u64); 2]> = SmallVec::new();
        let mut delivered = 0;
        if let Some(entry) = &to {
            for group in entry.groups().values() {
                // There was one member in each group when this began. Whoever came meanwhile may be late for it.
                let Some(member) = group.get(from.random.usize(..group.len().max(1))) else { continue };
                if member.connection == from.peer.id {
                    self.push_answers(&from.peer.outbox);
                }
                let item = Item::Frames { bytes: bytes.clone(), count: frames };
                if !member.outbox.is_encoded() || member.outbox.push(item).is_err() {
                    continue;
                }
                delivered += 1;
                if targets.len() < MAX_TARGETS {
                    targets.push((entry.pattern().clone(), member.connection));
                }
            }
        }
        let heard = if to.is_some_and(|entry| entry.is_tap()) { 0 } else { delivered };
        let took = moment.lap();
        from.tally.frames(frames, self.messages, std::mem::take(&mut self.payload_bytes), delivered, heard, took);
        self.messages = 0;
        for id in std::mem::take(&mut self.asking) {
            self.answer(id, heard);
        }
        if !self.records.is_empty() {
            let to: Arc<[(Arc<str>, u64)]> = targets.into_vec().into();
            let micros = took.as_micros().try_into().unwrap_or(u32::MAX);
            from.broker.flight().extend(self.records.drain(..).map(|note| Record {
                number: 0,
                times: note.times,
                time: moment.epoch_ms,
                subject: note.subject,
                bytes: note.bytes as u64,
                headers: note.headers,
                encoding: note.encoding,
                from: from.peer.id,
                to: to.clone(),
                count: heard,
                micros,
            }));
        }
    }

    /// Hands everything over.
    pub fn hand_over(&mut self, moment: &mut Moment, from: &mut Source<'_>) {
        self.flush(moment, from);
        self.push_answers(&from.peer.outbox);
        // An idle connection keeps nothing.
        self.records.shrink_to(0);
    }

    fn push_answers(&mut self, outbox: &Outbox) {
        let count = std::mem::take(&mut self.answered);
        if count > 0 {
            let bytes = std::mem::take(&mut self.answers).into_boxed_slice().into();
            // If there is no room the outbox closes and the next round ends the session.
            let _ = outbox.push(Item::Frames { bytes, count });
        }
    }
}

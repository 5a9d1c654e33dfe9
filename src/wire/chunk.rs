//! Large messages: splitting into frames and putting them together again (conat-wire.md §§5.5–5.6).

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use foldhash::fast::RandomState;
use serde_json::Value;

use super::frame::Fields;

/// Room that is left for headers in a WebSocket message.
const HEADER_BUDGET: usize = 100_000;
/// Smallest chunk.
const MIN_CHUNK_BYTES: usize = 1000;
/// What `max_payload` is taken for before the server has told.
pub const DEFAULT_MAX_PAYLOAD: usize = 1_000_000;
/// An incomplete message is forgotten after this time.
pub const LIFETIME: Duration = Duration::from_secs(120);
/// How often one looks for incomplete messages that are too old.
pub const SWEEP_INTERVAL: Duration = Duration::from_secs(60);

/// The size of chunks for a server's `max_payload`.
pub fn chunk_size(max_payload: usize) -> usize {
    max_payload.saturating_sub(HEADER_BUDGET).max(MIN_CHUNK_BYTES)
}

/// Splits a message into frames of at most `size` payload bytes. An empty payload is one empty frame.
pub fn split(
    id: String,
    encoding: u64,
    payload: Bytes,
    headers: Option<Value>,
    size: usize,
) -> impl Iterator<Item = Fields> {
    let size = size.max(1);
    let (mut rest, mut headers, mut seq, mut finished) = (payload, headers, 0, false);
    std::iter::from_fn(move || {
        if finished {
            return None;
        }
        let raw = rest.split_to(size.min(rest.len()));
        finished = rest.is_empty();
        let headers = if finished { headers.take() } else { None };
        let frame = Fields { id: id.clone(), seq, done: finished, encoding, raw, headers };
        seq += 1;
        Some(frame)
    })
}

#[derive(Debug)]
struct Partial {
    chunks: Vec<Bytes>,
    bytes: usize,
    next: u64,
    started: Instant,
}

/// Puts messages of one subscription together. Bounded in messages and bytes: when it is full, the oldest incomplete message
/// is dropped, as if its next chunk had been lost.
#[derive(Debug)]
pub struct Assembler {
    partial: HashMap<Box<str>, Partial, RandomState>,
    bytes: usize,
    max_messages: usize,
    max_bytes: usize,
}

impl Default for Assembler {
    /// Room for 1024 incomplete messages and 256 MiB.
    fn default() -> Self {
        Assembler::new(1024, 256 << 20)
    }
}

impl Assembler {
    /// An assembler with room for so many incomplete messages and bytes.
    pub fn new(max_messages: usize, max_bytes: usize) -> Assembler {
        Assembler { partial: HashMap::default(), bytes: 0, max_messages, max_bytes }
    }

    /// Takes a chunk; gives the whole payload when it was the last one. A chunk whose predecessor is missing takes the whole
    /// message with it.
    pub fn add(&mut self, id: &str, seq: u64, done: bool, raw: Bytes, now: Instant) -> Option<Bytes> {
        if !self.partial.is_empty()
            && let Some(partial) = self.partial.get(id)
        {
            if partial.next != seq {
                self.drop_partial(&Box::from(id));
                return None;
            }
        } else if seq != 0 {
            return None;
        } else if done {
            return Some(raw);
        }
        if done {
            return self.finish(id, raw);
        }
        self.bytes += raw.len();
        let partial = self.partial.entry(id.into()).or_insert_with(|| Partial {
            chunks: Vec::new(),
            bytes: 0,
            next: 0,
            started: now,
        });
        partial.bytes += raw.len();
        partial.next += 1;
        partial.chunks.push(raw);
        while self.partial.len() > self.max_messages || self.bytes > self.max_bytes {
            let Some(oldest) = self.partial.iter().min_by_key(|(_, p)| p.started).map(|(id, _)| id.clone()) else {
                break;
            };
            self.drop_partial(&oldest);
        }
        None
    }

    fn finish(&mut self, id: &str, last: Bytes) -> Option<Bytes> {
        let partial = self.partial.remove(id)?;
        self.bytes -= partial.bytes;
        let mut whole = BytesMut::with_capacity(partial.bytes + last.len());
        for chunk in &partial.chunks {
            whole.extend_from_slice(chunk);
        }
        whole.extend_from_slice(&last);
        Some(whole.freeze())
    }

    fn drop_partial(&mut self, id: &str) {
        if let Some(partial) = self.partial.remove(id) {
            self.bytes -= partial.bytes;
        }
    }

    /// Forgets messages whose first chunk is older than [`LIFETIME`].
    pub fn expire(&mut self, now: Instant) {
        let bytes = &mut self.bytes;
        self.partial.retain(|_, partial| {
            let keep = now.saturating_duration_since(partial.started) <= LIFETIME;
            if !keep {
                *bytes -= partial.bytes;
            }
            keep
        });
    }

    /// Forgets everything, after the connection was lost.
    pub fn clear(&mut self) {
        self.partial.clear();
        self.bytes = 0;
    }

    /// How many messages are incomplete, and their bytes.
    pub fn pending(&self) -> (usize, usize) {
        (self.partial.len(), self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn wire_112_chunk_sizes_follow_the_rule() {
        assert_eq!(chunk_size(8_000_000), 7_900_000);
        assert_eq!(chunk_size(200_000), 100_000);
        assert_eq!(chunk_size(50_000), 1000);
        assert_eq!(chunk_size(DEFAULT_MAX_PAYLOAD), 900_000);
    }

    fn frames(payload: &'static [u8], size: usize) -> Vec<Fields> {
        split("i".into(), 0, Bytes::from_static(payload), Some(json!({"h": 1})), size).collect()
    }

    #[test]
    fn only_the_last_chunk_is_done_and_has_headers() {
        let frames = frames(b"\xaaabcdefghij", 5);
        let shape: Vec<_> = frames.iter().map(|f| (f.seq, f.done, f.raw.len(), f.headers.is_some())).collect();
        assert_eq!(shape, [(0, false, 5, false), (1, false, 5, false), (2, true, 1, true)]);
    }

    #[test]
    fn a_message_that_fits_is_one_frame() {
        assert_eq!(frames(b"12345", 5).len(), 1);
        assert_eq!(frames(b"", 5).len(), 1);
    }

    #[test]
    fn wire_113_a_gap_drops_the_message_and_nothing_else() {
        let now = Instant::now();
        let (mut all, mut assembler) = (frames(b"0123456789", 3), Assembler::default());
        all.remove(1);
        for f in all {
            assert_eq!(assembler.add(&f.id, f.seq, f.done, f.raw, now), None);
        }
        assert_eq!(assembler.pending(), (0, 0));
        assert_eq!(assembler.add("j", 0, true, Bytes::from_static(b"x"), now).unwrap(), "x");
    }

    #[test]
    fn wire_113_incomplete_messages_are_forgotten_after_two_minutes() {
        let (now, mut assembler) = (Instant::now(), Assembler::default());
        assembler.add("a", 0, false, Bytes::from_static(b"x"), now);
        assembler.expire(now + LIFETIME);
        assert_eq!(assembler.pending(), (1, 1));
        assembler.expire(now + LIFETIME + Duration::from_millis(1));
        assert_eq!(assembler.pending(), (0, 0));
    }

    #[test]
    fn wire_114_a_message_without_its_beginning_is_ignored() {
        let (now, mut assembler) = (Instant::now(), Assembler::default());
        assert_eq!(assembler.add("a", 1, true, Bytes::from_static(b"x"), now), None);
        assert_eq!(assembler.add("a", 1, false, Bytes::from_static(b"x"), now), None);
        assert_eq!(assembler.pending(), (0, 0));
    }

    #[test]
    fn the_oldest_message_goes_when_there_is_no_room() {
        let (now, mut assembler) = (Instant::now(), Assembler::new(2, 100));
        for (i, id) in ["a", "b", "c"].into_iter().enumerate() {
            assembler.add(id, 0, false, Bytes::from_static(b"x"), now + Duration::from_secs(i as u64));
        }
        assert_eq!(assembler.pending(), (2, 2));
        assert_eq!(assembler.add("a", 1, true, Bytes::from_static(b"y"), now), None);
        assert_eq!(assembler.add("b", 1, true, Bytes::from_static(b"y"), now).unwrap(), "xy");
        assembler.add("d", 0, false, Bytes::from(vec![0; 200]), now);
        assert!(assembler.pending().1 <= 100);
    }

    proptest! {
        /// Whatever is interleaved, lost or repeated: what comes out is what went in, or nothing.
        #[test]
        fn messages_come_out_whole_or_not_at_all(
            sizes in proptest::collection::vec(1usize..40, 1..5),
            size in 1usize..9,
            lost in proptest::collection::vec(any::<bool>(), 64),
            order in any::<u64>(),
        ) {
            let payload = |i: usize| Bytes::from(vec![i as u8; sizes[i]]);
            let mut queues: Vec<Vec<Fields>> = (0..sizes.len())
                .map(|i| split(i.to_string(), 0, payload(i), None, size).collect::<Vec<_>>())
                .collect();
            let (mut assembler, mut random) = (Assembler::default(), fastrand::Rng::with_seed(order));
            let now = Instant::now();
            let (mut n, mut whole, mut out) = (0, vec![true; sizes.len()], vec![None; sizes.len()]);
            while queues.iter().any(|q| !q.is_empty()) {
                let i = random.usize(..queues.len());
                if queues[i].is_empty() { continue }
                let f = queues[i].remove(0);
                n += 1;
                if lost.get(n).copied().unwrap_or_default() && n % 5 == 0 {
                    whole[i] = false;
                    continue;
                }
                if let Some(message) = assembler.add(&f.id, f.seq, f.done, f.raw, now) {
                    out[i] = Some(message);
                }
            }
            for i in 0..sizes.len() {
                prop_assert_eq!(out[i].is_some(), whole[i]);
                if let Some(message) = &out[i] {
                    prop_assert_eq!(message, &payload(i));
                }
            }
        }
    }
}

//! What a connection has counted but not yet told the server: shared counters are touched once per batch of events.

use std::time::{Duration, Instant};

use super::{
    Counters,
    peer::{Peer, now_ms},
    stats::{BUCKETS_MICROS, Histogram},
};

/// A point in time, on both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// For durations.
    pub instant: Instant,
    /// For people: ms since the epoch.
    pub epoch_ms: u64,
}

impl Moment {
    /// Looks at both clocks.
    pub fn now() -> Moment {
        Moment { instant: Instant::now(), epoch_ms: now_ms() }
    }

    /// The time since this moment, which moves on to now. The date is left as it is.
    pub fn lap(&mut self) -> Duration {
        let now = Instant::now();
        now.duration_since(std::mem::replace(&mut self.instant, now))
    }
}

/// Counts of a connection since they were last settled.
#[derive(Debug, Default)]
pub struct Tally {
    frames: u64,
    messages: u64,
    bytes_in: u64,
    messages_out: u64,
    bytes_out: u64,
    no_interest: u64,
    route_buckets: [u64; BUCKETS_MICROS.len() + 1],
    route_time: Duration,
}

impl Tally {
    /// Counts frames that went to `delivered` outboxes each, of which `heard` count. `messages` of them were the last of their
    /// message. All together have so many bytes; each took that long.
    pub fn frames(&mut self, frames: u32, messages: u32, bytes: usize, delivered: u32, heard: u32, took: Duration) {
        let (frames, delivered) = (u64::from(frames), u64::from(delivered));
        self.frames += frames;
        self.messages += u64::from(messages);
        self.bytes_in += bytes as u64;
        self.messages_out += delivered * frames;
        self.bytes_out += delivered * bytes as u64;
        self.no_interest += if heard == 0 { frames } else { 0 };
        if let Some(bucket) = self.route_buckets.get_mut(Histogram::bucket(took)) {
            *bucket += frames;
        }
        self.route_time += took.saturating_mul(frames.try_into().unwrap_or(u32::MAX));
    }

    /// Adds everything to the counters of the server and of the connection.
    pub fn settle(&mut self, counters: &Counters, peer: &Peer) {
        if self.frames == 0 {
            return;
        }
        let tally = std::mem::take(self);
        counters.messages_in.add(tally.frames);
        counters.bytes_in.add(tally.bytes_in);
        counters.messages_out.add(tally.messages_out);
        counters.bytes_out.add(tally.bytes_out);
        counters.no_interest.add(tally.no_interest);
        counters.route_time.add(&tally.route_buckets, tally.route_time);
        peer.sent_messages.add(tally.messages);
        peer.sent_bytes.add(tally.bytes_in);
    }
}

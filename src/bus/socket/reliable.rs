//! Order and reliability of one direction each: sequence numbers, acknowledgements, gaps, repeats (conat-wire.md §17.6).
//!
//! No I/O and no clock: what time it is comes from outside.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use bytes::Bytes;
use serde_json::Value;
use tokio::time::Instant;

/// Sequence numbers of one request for what is missing, at most.
const MAX_MISSING: usize = 1000;
/// A gap larger than this is no gap but nonsense.
const MAX_GAP: u64 = 100_000;

/// A slow way to a peer.
const SLOW_WAY_BYTES_PER_SECOND: usize = 1 << 20;

/// A delay that grows each time it is used.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    next: Duration,
    max: Duration,
}

impl Backoff {
    /// Starts with `first`, grows by 1.3 up to `max`.
    pub fn new(first: Duration, max: Duration) -> Backoff {
        Backoff { next: first.min(max), max }
    }

    /// The delay to use now.
    pub fn step(&mut self) -> Duration {
        let now = self.next;
        self.next = now.mul_f64(1.3).min(self.max);
        now
    }
}

/// A message that was written and is not yet acknowledged.
#[derive(Clone, Debug, PartialEq)]
pub struct Sent {
    /// Its number, from 1.
    pub seq: u64,
    /// How the payload is encoded.
    pub encoding: u64,
    /// The payload.
    pub payload: Bytes,
    /// The application's headers.
    pub headers: Option<Value>,
}

/// How often a sender repeats its newest message.
#[derive(Clone, Copy, Debug)]
pub struct Repeat {
    /// After it was sent.
    pub first: Duration,
    /// The second time; grows by 1.3.
    pub next: Duration,
    /// At most.
    pub max: Duration,
}

/// The sending half: keeps everything until it is acknowledged.
#[derive(Debug)]
pub struct Sender {
    unacknowledged: VecDeque<Sent>,
    /// Number of the last message that was written.
    last: u64,
    /// Number of the last message that was sent at least once.
    sent: u64,
    bytes: usize,
    max_messages: usize,
    max_bytes: usize,
    repeat: Repeat,
    timer: Option<(Instant, Backoff)>,
}

/// Too many messages are not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// The peer speaks of messages that were never sent: it belongs to another conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeverSent;

impl Sender {
    /// A sender that holds so many messages and bytes.
    pub fn new(max_messages: usize, max_bytes: usize, repeat: Repeat) -> Sender {
        Sender {
            unacknowledged: VecDeque::new(),
            last: 0,
            sent: 0,
            bytes: 0,
            max_messages,
            max_bytes,
            repeat,
            timer: None,
        }
    }

    /// Adds a message and gives its number.
    ///
    /// # Errors
    /// There is no room. A single message is always let in.
    pub fn push(&mut self, encoding: u64, payload: Bytes, headers: Option<Value>) -> Result<u64, Full> {
        let full = self.unacknowledged.len() >= self.max_messages || self.bytes + payload.len() > self.max_bytes;
        if full && !self.unacknowledged.is_empty() {
            return Err(Full);
        }
        self.last += 1;
        self.bytes += payload.len();
        self.unacknowledged.push_back(Sent { seq: self.last, encoding, payload, headers });
        Ok(self.last)
    }

    fn get(&self, seq: u64) -> Option<&Sent> {
        let first = self.unacknowledged.front()?.seq;
        self.unacknowledged.get(usize::try_from(seq.checked_sub(first)?).ok()?)
    }

    /// The oldest message that was never sent.
    pub fn unsent(&self) -> Option<&Sent> {
        self.get(self.sent + 1)
    }

    /// The message that [`Sender::unsent`] gave has been sent.
    pub fn mark_sent(&mut self, now: Instant) {
        self.sent += 1;
        let backoff = Backoff::new(self.repeat.next, self.repeat.max);
        self.timer = Some((now + self.repeat.first + self.way(), backoff));
    }

    /// Forgets what the peer has. Tells whether anything is left.
    ///
    /// # Errors
    /// The number is beyond what was sent.
    pub fn acknowledge(&mut self, seq: u64) -> Result<bool, NeverSent> {
        if seq > self.sent {
            return Err(NeverSent);
        }
        while let Some(front) = self.unacknowledged.front()
            && front.seq <= seq
        {
            self.bytes -= front.payload.len();
            self.unacknowledged.pop_front();
        }
        if self.newest_sent().is_none() {
            self.timer = None;
        }
        Ok(!self.unacknowledged.is_empty())
    }

    /// Messages with these numbers, or `None` if one of them is gone.
    pub fn find(&self, seqs: &[u64]) -> Option<Vec<&Sent>> {
        seqs.iter().map(|seq| self.get(*seq)).collect()
    }

    fn newest_sent(&self) -> Option<&Sent> {
        self.get(self.sent)
    }

    /// When the newest message is to be repeated.
    pub fn deadline(&self) -> Option<Instant> {
        self.timer.map(|(at, _)| at)
    }

    /// The newest message, if it is time to repeat it.
    pub fn repeat(&mut self, now: Instant) -> Option<&Sent> {
        let way = self.way();
        let (at, backoff) = self.timer.as_mut()?;
        if *at > now {
            return None;
        }
        *at = now + backoff.step() + way;
        self.newest_sent()
    }

    /// How long what is not acknowledged may be on its way: large messages must not be repeated while they still are.
    fn way(&self) -> Duration {
        Duration::from_secs((self.bytes / SLOW_WAY_BYTES_PER_SECOND) as u64)
    }

    /// The way to the peer is back: the newest message is repeated at once.
    pub fn reconnected(&mut self, now: Instant) {
        if self.newest_sent().is_some() {
            self.timer = Some((now, Backoff::new(self.repeat.next, self.repeat.max)));
        }
    }

    /// Whether everything is acknowledged.
    pub fn is_drained(&self) -> bool {
        self.unacknowledged.is_empty()
    }

    /// Messages that are not acknowledged.
    pub fn pending(&self) -> usize {
        self.unacknowledged.len()
    }

    /// Whether anything was ever sent.
    pub fn has_sent(&self) -> bool {
        self.sent > 0
    }
}

/// What became of a message that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// It was next, or is kept until those before it are there.
    Kept,
    /// It is here already.
    Duplicate,
    /// Its number makes no sense, or more is early than there is room for.
    Bad,
}

/// The receiving half: brings messages into order.
#[derive(Debug)]
pub struct Receiver<T> {
    next: u64,
    early: BTreeMap<u64, T>,
    max_early: usize,
    fetching: bool,
    /// Number of the last message that the application has taken.
    taken: u64,
    reported: u64,
    reporting: bool,
}

impl<T> Receiver<T> {
    /// A receiver that keeps so many messages that came too early.
    pub fn new(max_early: usize) -> Receiver<T> {
        Receiver {
            next: 1,
            early: BTreeMap::new(),
            max_early,
            fetching: false,
            taken: 0,
            reported: 0,
            reporting: false,
        }
    }

    /// Takes a message; `deliver` gets what is in order now.
    pub fn receive(&mut self, seq: u64, item: T, mut deliver: impl FnMut(u64, T)) -> Arrival {
        if seq == 0 || seq > self.next.saturating_add(MAX_GAP) {
            return Arrival::Bad;
        }
        if seq < self.next || self.early.contains_key(&seq) {
            // The report of it may have been lost.
            if seq < self.next {
                self.reported = self.reported.min(self.taken.saturating_sub(1));
            }
            return Arrival::Duplicate;
        }
        if seq > self.next {
            if self.early.len() >= self.max_early {
                return Arrival::Bad;
            }
            self.early.insert(seq, item);
            return Arrival::Kept;
        }
        deliver(seq, item);
        self.next += 1;
        while let Some(item) = self.early.remove(&self.next) {
            deliver(self.next, item);
            self.next += 1;
        }
        Arrival::Kept
    }

    /// What has to be fetched now; then a fetch is under way until [`Receiver::fetched`].
    pub fn start_fetch(&mut self) -> Option<Vec<u64>> {
        if self.fetching {
            return None;
        }
        let last = *self.early.last_key_value()?.0;
        let missing: Vec<u64> =
            (self.next..last).filter(|seq| !self.early.contains_key(seq)).take(MAX_MISSING).collect();
        if missing.is_empty() {
            return None;
        }
        self.fetching = true;
        Some(missing)
    }

    /// A fetch has ended, well or not.
    pub fn fetched(&mut self) {
        self.fetching = false;
    }

    /// Whether messages are missing.
    pub fn has_gap(&self) -> bool {
        !self.early.is_empty()
    }

    /// The application has taken a message.
    pub fn take(&mut self, seq: u64) {
        self.taken = self.taken.max(seq);
    }

    /// The number to report now; then a report is under way until [`Receiver::reported`].
    pub fn start_report(&mut self) -> Option<u64> {
        if self.reporting || self.reported >= self.taken {
            return None;
        }
        self.reporting = true;
        Some(self.taken)
    }

    /// A report has ended; a later one covers it if it failed.
    pub fn reported(&mut self, seq: u64, ok: bool) {
        self.reporting = false;
        if ok {
            self.reported = self.reported.max(seq);
        }
    }

    /// The way to the peer is back: what was under way on the lost one has ended with it.
    pub fn reconnected(&mut self) {
        self.fetching = false;
        self.reporting = false;
    }

    /// Whether nothing has ever been received.
    pub fn is_fresh(&self) -> bool {
        self.next == 1 && self.early.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const REPEAT: Repeat =
        Repeat { first: Duration::from_millis(500), next: Duration::from_millis(650), max: Duration::from_secs(15) };

    fn sender(max: usize) -> Sender {
        Sender::new(max, 1 << 20, REPEAT)
    }

    fn push(sender: &mut Sender, n: u8) -> Result<u64, Full> {
        sender.push(0, Bytes::copy_from_slice(&[n]), None)
    }

    #[test]
    fn wire_142_a_full_sender_refuses_until_acknowledged() {
        let (mut sender, now) = (sender(2), Instant::now());
        assert_eq!((push(&mut sender, 1), push(&mut sender, 2), push(&mut sender, 3)), (Ok(1), Ok(2), Err(Full)));
        sender.mark_sent(now);
        sender.mark_sent(now);
        assert_eq!(sender.acknowledge(1), Ok(true));
        assert_eq!(push(&mut sender, 3), Ok(3));
        assert_eq!(sender.acknowledge(3), Err(NeverSent));
    }

    #[test]
    fn the_newest_message_is_repeated_with_growing_pauses() {
        let (mut sender, now) = (sender(9), Instant::now());
        push(&mut sender, 1).unwrap();
        push(&mut sender, 2).unwrap();
        sender.mark_sent(now);
        assert_eq!(sender.repeat(now + Duration::from_millis(499)), None);
        assert_eq!(sender.repeat(now + Duration::from_millis(500)).unwrap().seq, 1);
        assert_eq!(sender.deadline(), Some(now + Duration::from_millis(1150)));
        sender.mark_sent(now);
        sender.reconnected(now);
        assert_eq!(sender.repeat(now).unwrap().seq, 2);
        sender.acknowledge(2).unwrap();
        assert_eq!(sender.deadline(), None);
    }

    #[test]
    fn wire_145_what_is_gone_cannot_be_found() {
        let (mut sender, now) = (sender(9), Instant::now());
        for n in 1..=3 {
            push(&mut sender, n).unwrap();
            sender.mark_sent(now);
        }
        sender.acknowledge(1).unwrap();
        assert!(sender.find(&[1, 2]).is_none());
        let found: Vec<u64> = sender.find(&[3, 2]).unwrap().iter().map(|s| s.seq).collect();
        assert_eq!(found, [3, 2]);
    }

    #[test]
    fn wire_143_a_gap_is_fetched_and_order_kept() {
        let (mut receiver, mut got) = (Receiver::new(10), Vec::new());
        receiver.receive(1, 'a', |_, c| got.push(c));
        receiver.receive(3, 'c', |_, c| got.push(c));
        assert_eq!(receiver.start_fetch(), Some(vec![2]));
        assert_eq!(receiver.start_fetch(), None);
        receiver.receive(2, 'b', |_, c| got.push(c));
        receiver.fetched();
        assert_eq!(got, ['a', 'b', 'c']);
        assert_eq!(receiver.start_fetch(), None);
        assert!(!receiver.has_gap());
    }

    #[test]
    fn wire_144_a_duplicate_is_ignored_and_reported_again() {
        let (mut receiver, mut got) = (Receiver::new(10), Vec::new());
        receiver.receive(1, 'a', |_, c| got.push(c));
        receiver.take(1);
        assert_eq!(receiver.start_report(), Some(1));
        receiver.reported(1, true);
        assert_eq!(receiver.start_report(), None);
        assert_eq!(receiver.receive(1, 'a', |_, c| got.push(c)), Arrival::Duplicate);
        assert_eq!(receiver.start_report(), Some(1));
        assert_eq!(got, ['a']);
    }

    #[test]
    fn what_was_under_way_when_the_connection_was_lost_is_done_again() {
        let mut receiver = Receiver::new(10);
        receiver.receive(1, (), |_, ()| ());
        receiver.receive(3, (), |_, ()| ());
        receiver.take(1);
        assert_eq!((receiver.start_report(), receiver.start_fetch()), (Some(1), Some(vec![2])));
        assert_eq!((receiver.start_report(), receiver.start_fetch()), (None, None));
        receiver.reconnected();
        assert_eq!((receiver.start_report(), receiver.start_fetch()), (Some(1), Some(vec![2])));
    }

    #[test]
    fn nonsense_is_bad() {
        let mut receiver = Receiver::new(1);
        assert_eq!(receiver.receive(0, (), |_, ()| ()), Arrival::Bad);
        assert_eq!(receiver.receive(u64::MAX, (), |_, ()| ()), Arrival::Bad);
        assert_eq!(receiver.receive(3, (), |_, ()| ()), Arrival::Kept);
        assert_eq!(receiver.receive(4, (), |_, ()| ()), Arrival::Bad);
    }

    proptest! {
        /// Over a way that loses, repeats and reorders, everything arrives once and in order.
        #[test]
        fn wire_143_everything_arrives_once_and_in_order(count in 1u64..60, seed in any::<u64>()) {
            let mut random = fastrand::Rng::with_seed(seed);
            let (mut sender, mut receiver) = (sender(16), Receiver::new(100));
            let (mut now, mut written, mut got) = (Instant::now(), 0, Vec::new());
            let mut way: Vec<Sent> = Vec::new();
            let mut rounds = 0;
            while got.len() < count as usize || !sender.is_drained() {
                rounds += 1;
                prop_assert!(rounds < 20_000, "no progress");
                while written < count && random.bool() && push(&mut sender, written as u8).is_ok() {
                    written += 1;
                }
                while let Some(sent) = sender.unsent().cloned() {
                    sender.mark_sent(now);
                    if random.u8(..10) < 7 { way.push(sent.clone()) }
                    if random.u8(..10) < 2 { way.push(sent) }
                }
                now += Duration::from_millis(random.u64(..2000));
                if let Some(sent) = sender.repeat(now) { way.push(sent.clone()) }
                random.shuffle(&mut way);
                for _ in 0..random.usize(..=way.len()) {
                    let sent = way.pop().unwrap();
                    let arrival = receiver.receive(sent.seq, sent, |_, sent: Sent| got.push(sent));
                    prop_assert_ne!(arrival, Arrival::Bad);
                }
                if let Some(missing) = receiver.start_fetch() {
                    if random.bool() {
                        let found: Vec<Sent> = sender.find(&missing).expect("not acknowledged").into_iter().cloned().collect();
                        for sent in found {
                            receiver.receive(sent.seq, sent, |_, sent| got.push(sent));
                        }
                    }
                    receiver.fetched();
                }
                receiver.take(got.len() as u64);
                if let Some(seq) = receiver.start_report() {
                    let ok = random.bool();
                    if ok || random.bool() { sender.acknowledge(seq).unwrap(); }
                    receiver.reported(seq, ok);
                }
            }
            let numbers: Vec<u64> = got.iter().map(|sent| sent.seq).collect();
            prop_assert_eq!(numbers, (1..=count).collect::<Vec<_>>());
        }
    }
}

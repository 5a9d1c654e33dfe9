//! From a subject to outboxes: validity, policy and interest, remembered per connection (conat-wire.md §8).

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use foldhash::fast::RandomState;
use smallvec::SmallVec;

use super::{
    Broker, Direction, Refusal,
    connection::Published,
    delivery::{Delivery, SubjectText},
    flight::{MAX_TARGETS, Record},
    outbox::Item,
    peer::Peer,
    sublist::{Entry, Group, Matches, Member},
    tally::{Moment, Tally},
};
use crate::wire::{
    frame::Frame,
    json::{self, Raw},
    subject,
};

/// Subjects a connection remembers; beyond that it starts anew.
const MAX_REMEMBERED: usize = 256;
/// Chunked messages of one connection that may be under way at a time.
const MAX_CHUNKED: usize = 64;
/// Longest id of a chunked message that is remembered; those of clients have ten characters.
const MAX_KEY_BYTES: usize = 1024;
/// After this time a chunked message is forgotten (§5.6).
const CHUNKED_LIFETIME: Duration = Duration::from_secs(120);
/// From this payload size on, publishers wait for readers that are behind.
const BULK_BYTES: usize = 64 << 10;

/// A connection's memory of where its messages go.
#[derive(Debug, Default)]
pub struct Router {
    remembered: HashMap<Box<str>, Destination, RandomState>,
    /// The destination of a subject that is used once, such as a reply subject.
    once: Option<Destination>,
    chunked: Chunked,
}

#[derive(Debug)]
struct Destination {
    subject: SubjectText,
    generation: u64,
    matches: Matches,
    allowed: Result<(), Refusal>,
}

/// The connection a frame comes from.
pub struct Source<'a> {
    /// The broker.
    pub broker: &'a Broker,
    /// The connection.
    pub peer: &'a Peer,
    /// Its dice.
    pub random: &'a mut fastrand::Rng,
    /// Its counts.
    pub tally: &'a mut Tally,
}

/// A destination with more than one pattern, or with readers that are not alike.
#[derive(Clone, Copy, Debug)]
pub struct NotPlain;

/// A destination ready to be delivered to.
pub struct Route<'a> {
    destination: &'a Destination,
    chunked: &'a mut Chunked,
}

impl Router {
    /// Looks a subject up. A refusal is remembered like a destination.
    pub fn route<'a>(&'a mut self, broker: &Broker, peer: &Peer, text: &str) -> Result<Route<'a>, Refusal> {
        if text.len() > subject::MAX_SUBJECT_BYTES {
            // Nothing of it is remembered: the memory is per connection, also of those that are not signed in.
            return Err(Refusal::InvalidSubject);
        }
        let generation = broker.sublist.generation();
        // Reply subjects are used once; remembering them would only push others out.
        if text.starts_with("_INBOX.") {
            let destination = self.once.insert(Destination::find(broker, peer, text, generation));
            return Route::new(destination, &mut self.chunked);
        }
        if !self.remembered.contains_key(text) {
            if self.remembered.len() >= MAX_REMEMBERED {
                self.remembered.clear();
            }
            self.remembered.insert(text.into(), Destination::find(broker, peer, text, generation));
        }
        match self.remembered.get_mut(text) {
            Some(destination) => {
                if destination.generation != generation {
                    destination.matches = broker.sublist.matches(text);
                    destination.generation = generation;
                }
                Route::new(destination, &mut self.chunked)
            }
            None => Err(Refusal::InvalidSubject),
        }
    }
}

impl Destination {
    fn find(broker: &Broker, peer: &Peer, text: &str, generation: u64) -> Destination {
        let mut json = Vec::with_capacity(text.len() + 2);
        json::push_string(&mut json, text);
        let allowed = if subject::is_valid_subject(text) {
            broker.authorize(&peer.user, Direction::Publish, text)
        } else {
            Err(Refusal::InvalidSubject)
        };
        Destination {
            subject: SubjectText { text: text.into(), json: json.into() },
            generation,
            matches: if allowed.is_ok() { broker.sublist.matches(text) } else { Matches::new() },
            allowed,
        }
    }
}

impl<'a> Route<'a> {
    fn new(destination: &'a Destination, chunked: &'a mut Chunked) -> Result<Route<'a>, Refusal> {
        destination.allowed.clone().map(|()| Route { destination, chunked })
    }

    /// The subject.
    pub fn subject(&self) -> &'a Arc<str> {
        &self.destination.subject.text
    }

    /// The one pattern whose readers all get the same, or none if nobody gets anything; an error if it is not that simple.
    pub fn plain(&self) -> Result<Option<&'a Arc<Entry>>, NotPlain> {
        match self.destination.matches.as_slice() {
            [] => Ok(None),
            [only] if only.is_plain() => Ok(Some(only)),
            _ => Err(NotPlain),
        }
    }

    /// Gives a frame to one member of each queue group of each pattern, and writes it down.
    pub fn deliver(
        self,
        frame: Frame,
        headers: Option<Raw<'_>>,
        moment: &mut Moment,
        from: &mut Source<'_>,
    ) -> Published {
        let Route { destination, chunked } = self;
        let frame = Arc::new(frame);
        let bytes = frame.bytes();
        let (mut published, mut delivered) = (Published::default(), 0);
        let mut congested = SmallVec::new();
        let mut targets: SmallVec<[(Arc<str>, u64); 2]> = SmallVec::new();
        for entry in &destination.matches {
            let mut delivery = None;
            for (queue, group) in entry.groups().iter() {
                let delivery = delivery.get_or_insert_with(|| {
                    Arc::new(Delivery::new(entry.clone(), destination.subject.clone(), frame.clone()))
                });
                let Some(member) = chunked.choose(&frame, entry, queue, group, delivery, from.random) else {
                    continue;
                };
                delivered += 1;
                published.count += u32::from(!entry.is_tap());
                if targets.len() < MAX_TARGETS {
                    targets.push((entry.pattern().clone(), member.connection));
                }
                if bytes >= BULK_BYTES && member.outbox.is_congested() {
                    congested.push(member.outbox.clone());
                }
            }
        }
        chunked.finish(&frame);
        // As long as one reader keeps up, it must not wait for the others.
        if congested.len() == delivered {
            published.congested = congested;
        }
        let took = moment.lap();
        let delivered = u32::try_from(delivered).unwrap_or(u32::MAX);
        from.tally.frames(1, u32::from(frame.is_last()), bytes, delivered, published.count, took);
        if from.broker.flight.is_on() {
            from.broker.flight.extend([Record {
                number: 0,
                times: 1,
                time: moment.epoch_ms,
                subject: destination.subject.text.clone(),
                bytes: bytes as u64,
                headers: header_names(headers),
                encoding: frame.encoding(),
                from: from.peer.id,
                to: targets.into_vec().into(),
                count: published.count,
                micros: took.as_micros().try_into().unwrap_or(u32::MAX),
            }]);
        }
        published
    }
}

/// Names of the first few headers.
pub(super) fn header_names(headers: Option<Raw<'_>>) -> SmallVec<[Box<str>; 2]> {
    const MOST: usize = 8;
    headers.map_or_else(SmallVec::new, |headers| {
        headers
            .fields()
            .take(MOST)
            .filter_map(|(name, _)| name.as_str().map(|n| n.chars().take(64).collect()))
            .collect()
    })
}

/// Which group member gets the rest of a chunked message: the one that got its beginning (D3).
#[derive(Debug, Default)]
struct Chunked {
    messages: HashMap<Box<str>, Choices, RandomState>,
}

#[derive(Debug)]
struct Choices {
    started: Instant,
    members: SmallVec<[(Arc<str>, Box<str>, u64); 1]>,
}

impl Chunked {
    /// Chooses a member and hands it the delivery; another one is tried if that one has just gone.
    fn choose<'g>(
        &mut self,
        frame: &Frame,
        entry: &Entry,
        queue: &str,
        group: &'g Group,
        delivery: &Arc<Delivery>,
        random: &mut fastrand::Rng,
    ) -> Option<&'g Member> {
        let push = |member: &&Member| member.outbox.push(Item::Deliver(delivery.clone())).is_ok();
        if let [only] = group.as_slice() {
            return Some(only).filter(push);
        }
        if !frame.is_whole() {
            let earlier = self.messages.get(frame.chunk_key()).and_then(|choices| {
                choices.members.iter().find(|(p, q, _)| p == entry.pattern() && **q == *queue).map(|(_, _, id)| *id)
            });
            if let Some(member) = earlier.and_then(|id| group.iter().find(|m| m.connection == id)) {
                return Some(member).filter(push);
            }
        }
        let start = random.usize(..group.len().max(1));
        let member = group.iter().cycle().skip(start).take(group.len()).find(push)?;
        if !frame.is_whole() && frame.chunk_key().len() <= MAX_KEY_BYTES {
            self.remember(frame.chunk_key(), entry.pattern(), queue, member.connection);
        }
        Some(member)
    }

    fn remember(&mut self, key: &str, pattern: &Arc<str>, queue: &str, connection: u64) {
        if !self.messages.contains_key(key) && self.messages.len() >= MAX_CHUNKED {
            self.messages.retain(|_, choices| choices.started.elapsed() < CHUNKED_LIFETIME);
            if self.messages.len() >= MAX_CHUNKED {
                let oldest = self.messages.iter().min_by_key(|(_, c)| c.started).map(|(key, _)| key.clone());
                oldest.map(|key| self.messages.remove(&key));
            }
        }
        let choices = self
            .messages
            .entry(key.into())
            .or_insert_with(|| Choices { started: Instant::now(), members: SmallVec::new() });
        // One that has gone in the middle of a message is replaced.
        match choices.members.iter_mut().find(|(p, q, _)| p == pattern && **q == *queue) {
            Some((_, _, chosen)) => *chosen = connection,
            None => choices.members.push((pattern.clone(), queue.into(), connection)),
        }
    }

    fn finish(&mut self, frame: &Frame) {
        if frame.is_last() && !frame.is_whole() {
            self.messages.remove(frame.chunk_key());
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{
        broker::{Connection, Options, User, policy::Open, sign_in::Anonymous},
        config::Limits,
        wire::frame::Fields,
    };

    fn broker() -> Arc<Broker> {
        Broker::new(Options {
            server_id: "0".into(),
            cluster_name: None,
            address: String::new(),
            limits: Limits::default(),
            authenticator: Arc::new(Anonymous),
            policy: Arc::new(Open),
        })
    }

    #[test]
    fn absurd_subjects_are_not_remembered() {
        let broker = broker();
        let connection = broker.attach(User::anonymous());
        let mut router = Router::default();
        let mut route = |subject: &str| router.route(&broker, connection.peer(), subject).map(drop);
        assert_eq!(route("a b"), Err(Refusal::InvalidSubject));
        for start in ["x", "_INBOX."] {
            assert_eq!(route(&format!("{start}{}", "y".repeat(1 << 20))), Err(Refusal::InvalidSubject));
        }
        assert_eq!(router.remembered.keys().map(|key| &**key).collect::<Vec<_>>(), ["a b"]);
        assert!(router.once.is_none());
    }

    #[test]
    fn the_rest_of_a_message_has_one_reader_again_when_the_first_has_gone() {
        let broker = broker();
        let mut publisher = broker.attach(User::anonymous());
        let mut readers: Vec<Connection> = (0..5).map(|_| broker.attach(User::anonymous())).collect();
        readers.iter_mut().for_each(|reader| assert!(reader.subscribe("a", "q").is_ok()));
        let mut seq = 0;
        let mut chunk = || {
            let fields = Fields { id: "id".into(), seq, done: false, encoding: 0, raw: Bytes::new(), headers: None };
            seq += 1;
            publisher.publish("a", Frame::new(fields), None).unwrap();
        };
        chunk();
        readers.retain(|reader| reader.outbox().depth().0 == 0);
        assert_eq!(readers.len(), 4);
        (0..20).for_each(|_| chunk());
        let mut depths: Vec<usize> = readers.iter().map(|reader| reader.outbox().depth().0).collect();
        depths.sort_unstable();
        assert_eq!(depths, [0, 0, 0, 20]);
    }
}

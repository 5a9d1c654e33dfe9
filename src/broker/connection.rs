//! What one connection is subscribed to and what it does; the same for sockets and for clients in process.

use std::{borrow::Cow, collections::HashMap, future::Future, sync::Arc, time::Duration};

use arc_swap::{ArcSwap, Cache};
use foldhash::fast::RandomState;
use indexmap::IndexMap;
use smallvec::SmallVec;
use tokio::sync::oneshot;

use super::{
    Broker, Direction, Refusal, User,
    admission::{Admitted, Gate, Throttled},
    burst::Burst,
    outbox::{Closed, Item, Outbox, Refused},
    peer::{Peer, now_ms},
    route::{Router, Source},
    rpc::{CallKind, Fields, RpcCall},
    sublist::{Entry, Member},
    tally::{Moment, Tally},
};
use crate::{
    config::Limits,
    wire::{
        frame::{Frame, Publication},
        json::Raw,
        subject,
    },
};

/// Longest name of a queue group, as of subjects.
const MAX_QUEUE_BYTES: usize = subject::MAX_SUBJECT_BYTES;
/// Services a connection may register.
const MAX_SERVICES: usize = 10_000;

/// What came of a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subscribed {
    /// It is new.
    Added,
    /// The connection had this pattern already; its queue stays what it was (§6.2).
    AlreadyAdded,
}

/// What came of a publish.
#[derive(Debug, Default)]
pub struct Published {
    /// Pairs of pattern and queue group that got the frame, the pattern `>` left aside (§8).
    pub count: u32,
    /// The readers of this bulk frame, if all of them are behind: the publisher should wait for one of them.
    pub congested: SmallVec<[Arc<Outbox>; 1]>,
}

/// Why a call has no answer.
#[derive(Debug)]
pub enum CallError {
    /// The caller may not, or the subject is none.
    Refused(Refusal),
    /// Nobody registered a service.
    NoService,
}

#[derive(Debug)]
struct Subscription {
    entry: Arc<Entry>,
    queue: Box<str>,
}

/// A connection to the broker. Dropping it ends everything it had.
pub struct Connection {
    broker: Arc<Broker>,
    limits: Cache<Arc<ArcSwap<Limits>>, Arc<Limits>>,
    peer: Arc<Peer>,
    subscriptions: IndexMap<Arc<str>, Subscription, RandomState>,
    services: IndexMap<Box<str>, Box<str>, RandomState>,
    router: Router,
    gate: Gate,
    random: fastrand::Rng,
    tally: Tally,
    burst: Burst,
    _admitted: Option<Admitted>,
}

impl Connection {
    pub(super) fn new(broker: Arc<Broker>, peer: Arc<Peer>, admitted: Option<Admitted>) -> Connection {
        Connection {
            gate: Gate::new(&peer.user),
            router: Router::default(),
            subscriptions: IndexMap::default(),
            services: IndexMap::default(),
            random: fastrand::Rng::new(),
            tally: Tally::default(),
            burst: Burst::default(),
            limits: Cache::new(broker.limits.clone()),
            broker,
            peer,
            _admitted: admitted,
        }
    }

    /// Identity and statistics.
    pub fn peer(&self) -> &Arc<Peer> {
        &self.peer
    }

    /// Who is signed in.
    pub fn user(&self) -> &User {
        &self.peer.user
    }

    /// Where deliveries for this connection arrive.
    pub fn outbox(&self) -> &Arc<Outbox> {
        &self.peer.outbox
    }

    /// The broker.
    pub fn broker(&self) -> &Arc<Broker> {
        &self.broker
    }

    /// Counts an event before it is handled (§20.6).
    ///
    /// # Errors
    /// The event is one too many.
    pub fn admit_event(&mut self, is_subscriptions: bool) -> Result<(), Throttled> {
        self.gate.pass(is_subscriptions, self.limits.load(), &self.broker.identities).inspect_err(|_| {
            self.broker.counters.throttled.add(1);
        })
    }

    /// Publishes a frame (§6.1). `headers` is only looked at for their names.
    ///
    /// # Errors
    /// The subject is none, or the policy refuses; then the `permission` event is in the outbox already.
    pub fn publish(&mut self, subject: &str, frame: Frame, headers: Option<Raw<'_>>) -> Result<Published, Refusal> {
        let published = match self.router.route(&self.broker, &self.peer, subject) {
            Ok(route) => {
                let from = &mut Source {
                    broker: &self.broker,
                    peer: &self.peer,
                    random: &mut self.random,
                    tally: &mut self.tally,
                };
                Ok(route.deliver(frame, headers, &mut Moment::now(), from))
            }
            Err(refusal) => Err(self.refuse(refusal, Direction::Publish, subject)),
        };
        self.settle();
        published
    }

    /// Publishes one of several frames that were read together, the first of them at `moment`, which moves on. Readers get it at
    /// [`Connection::hand_over`] at the latest, and so does this connection the acknowledgement if it wants one.
    ///
    /// The result is not empty if all readers of a bulk frame are behind: the publisher should wait for one of them.
    ///
    /// # Errors
    /// As for [`Connection::publish`]; nothing is acknowledged then.
    pub fn publish_read(
        &mut self,
        publication: Publication<'_>,
        ask: Option<u64>,
        moment: &mut Moment,
    ) -> Result<SmallVec<[Arc<Outbox>; 1]>, Refusal> {
        let subject = publication.subject.as_str().ok_or(Refusal::InvalidSubject)?;
        let route = match self.router.route(&self.broker, &self.peer, &subject) {
            Ok(route) => route,
            Err(refusal) => {
                self.hand_over(moment);
                return Err(self.refuse(refusal, Direction::Publish, &subject));
            }
        };
        let from =
            &mut Source { broker: &self.broker, peer: &self.peer, random: &mut self.random, tally: &mut self.tally };
        if let (Ok(to), Cow::Borrowed(_), true) = (route.plain(), &subject, Burst::suits(&publication)) {
            if !self.burst.takes(to, &publication) {
                self.burst.flush(moment, from);
            }
            self.burst.add(to, route.subject(), &publication, ask, self.broker.flight().is_on());
            return Ok(SmallVec::new());
        }
        self.burst.hand_over(moment, from);
        let headers = publication.headers;
        let published = route.deliver(publication.keep(), headers, moment, from);
        if let Some(id) = ask {
            self.burst.answer(id, published.count);
        }
        Ok(published.congested)
    }

    /// Hands over what was published, and its acknowledgements.
    pub fn hand_over(&mut self, moment: &mut Moment) {
        let from =
            &mut Source { broker: &self.broker, peer: &self.peer, random: &mut self.random, tally: &mut self.tally };
        self.burst.hand_over(moment, from);
    }

    /// Tells the server what was counted since the last time.
    pub fn settle(&mut self) {
        self.tally.settle(&self.broker.counters, &self.peer);
        self.touch();
    }

    /// Subscribes to a pattern (§6.2).
    ///
    /// # Errors
    /// See [`Refusal`]; when the policy refuses, the `permission` event is in the outbox already.
    pub fn subscribe(&mut self, pattern: &str, queue: &str) -> Result<Subscribed, Refusal> {
        self.touch();
        if self.subscriptions.contains_key(pattern) {
            return Ok(Subscribed::AlreadyAdded);
        }
        if !subject::is_valid_pattern(pattern) {
            return Err(Refusal::InvalidSubject);
        }
        if queue.len() > MAX_QUEUE_BYTES {
            return Err(Refusal::Malformed("the name of the queue is too long"));
        }
        if subject::is_reserved_name(pattern) {
            return Err(Refusal::Reserved(pattern.into()));
        }
        if let Err(refusal) = self.broker.authorize(&self.peer.user, Direction::Subscribe, pattern) {
            return Err(self.refuse(refusal, Direction::Subscribe, pattern));
        }
        let limits = self.limits.load();
        let max = match (self.peer.address, self.peer.user.is_hub()) {
            // Clients in process are parts of this server.
            (None, _) => 0,
            (_, true) => limits.max_subscriptions_per_hub,
            (_, false) => limits.max_subscriptions_per_client,
        };
        if max > 0 && self.subscriptions.len() >= max {
            return Err(Refusal::Limit { what: "subscriptions", max });
        }
        let member = Member { connection: self.peer.id, outbox: self.peer.outbox.clone() };
        let (entry, is_new) = self.broker.sublist.insert(pattern, queue, member);
        if is_new {
            self.broker.waits.pattern_added(pattern);
        }
        self.subscriptions.insert(entry.pattern().clone(), Subscription { entry, queue: queue.into() });
        self.peer.subscriptions.add(1);
        self.broker.counters.subscriptions.add(1);
        Ok(Subscribed::Added)
    }

    /// Ends a subscription; an unknown pattern is ignored (§6.3).
    pub fn unsubscribe(&mut self, pattern: &str) {
        self.touch();
        if let Some(subscription) = self.subscriptions.shift_remove(pattern) {
            self.forget(&subscription);
        }
    }

    fn forget(&self, subscription: &Subscription) {
        self.broker.sublist.remove(&subscription.entry, &subscription.queue, self.peer.id);
        self.peer.subscriptions.sub(1);
        self.broker.counters.subscriptions.sub(1);
    }

    /// Whether this connection has this pattern.
    pub fn is_subscribed(&self, pattern: &str) -> bool {
        self.subscriptions.contains_key(pattern)
    }

    /// The patterns of this connection, oldest first (§6.4).
    pub fn subscriptions(&self) -> impl Iterator<Item = &Arc<str>> {
        self.subscriptions.keys()
    }

    /// Waits until there is interest in a subject (§9). The future is `false` when the time is over and ends early only with
    /// `true`; dropping it ends the wait. `timeout` is capped by the limit.
    ///
    /// # Errors
    /// The subject is none, or the policy refuses (without `permission` event).
    pub fn wait_for_interest(
        &self,
        subject: &str,
        timeout: Duration,
    ) -> Result<impl Future<Output = bool> + Send + 'static, Refusal> {
        if !subject::is_valid_subject(subject) {
            return Err(Refusal::InvalidSubject);
        }
        self.broker.authorize(&self.peer.user, Direction::Publish, subject)?;
        let timeout = timeout.min(self.broker.limits().max_wait);
        let broker = self.broker.clone();
        let wait = broker.waits.enter(subject);
        Ok(async move {
            let found = wait.until(|subject| broker.sublist.has_interest(subject));
            tokio::time::timeout(timeout, found).await.is_ok()
        })
    }

    /// Whether there is interest in a subject now.
    ///
    /// # Errors
    /// As for [`Connection::wait_for_interest`].
    pub fn has_interest(&self, subject: &str) -> Result<bool, Refusal> {
        if !subject::is_valid_subject(subject) {
            return Err(Refusal::InvalidSubject);
        }
        self.broker.authorize(&self.peer.user, Direction::Publish, subject)?;
        Ok(self.broker.sublist.has_interest(subject))
    }

    /// Registers a service for calls (§20.5).
    ///
    /// # Errors
    /// See [`Refusal`]; when the policy refuses, the `permission` event is in the outbox already.
    pub fn register_service(&mut self, pattern: &str, queue: &str) -> Result<(), Refusal> {
        if !subject::is_valid_pattern(pattern) {
            return Err(Refusal::InvalidSubject);
        }
        if let Err(refusal) = self.broker.authorize(&self.peer.user, Direction::Subscribe, pattern) {
            return Err(self.refuse(refusal, Direction::Subscribe, pattern));
        }
        if self.services.contains_key(pattern) {
            return Ok(());
        }
        if queue.len() > MAX_QUEUE_BYTES {
            return Err(Refusal::Malformed("the name of the queue is too long"));
        }
        if self.services.len() >= MAX_SERVICES {
            return Err(Refusal::Limit { what: "services", max: MAX_SERVICES });
        }
        let member = Member { connection: self.peer.id, outbox: self.peer.outbox.clone() };
        self.broker.services.insert(pattern, queue, member);
        self.services.insert(pattern.into(), queue.into());
        Ok(())
    }

    /// Takes a service away; an unknown one is ignored.
    pub fn close_service(&mut self, pattern: &str) {
        if let Some(queue) = self.services.shift_remove(pattern) {
            self.broker.services.remove(pattern, &queue, self.peer.id);
        }
    }

    /// Calls a service (§20.5). The answer comes through the receiver; an error there means that the service went away.
    ///
    /// # Errors
    /// The call was refused, or there is no service.
    pub fn call(
        &mut self,
        kind: CallKind,
        subject: &str,
        request_id: Option<String>,
        body: Fields,
    ) -> Result<oneshot::Receiver<Fields>, CallError> {
        if !subject::is_valid_subject(subject) {
            return Err(CallError::Refused(Refusal::InvalidSubject));
        }
        if let Err(refusal) = self.broker.authorize(&self.peer.user, Direction::Publish, subject) {
            return Err(CallError::Refused(self.refuse(refusal, Direction::Publish, subject)));
        }
        let (pattern, outbox) = self.broker.services.find(subject, &mut self.random).ok_or(CallError::NoService)?;
        let (reply, answer) = oneshot::channel();
        let call = RpcCall { kind, subject: subject.into(), pattern, request_id, body, reply };
        outbox.push(Item::Call(Box::new(call))).map_err(|_| CallError::NoService)?;
        Ok(answer)
    }

    /// Stores what the client says it received (§6.6).
    pub fn report_received(&self, messages: f64, bytes: f64) {
        *self.peer.reported.lock() = (messages, bytes);
    }

    fn touch(&self) {
        self.peer.active.store(now_ms(), std::sync::atomic::Ordering::Relaxed);
    }

    /// Tells the peer by event that something was denied, before any acknowledgement (§7.2).
    fn refuse(&self, refusal: Refusal, direction: Direction, subject: &str) -> Refusal {
        self.broker.counters.refused.add(1);
        if let Refusal::Denied(message) = &refusal {
            let refused = Refused { message: message.clone(), subject: subject.into(), direction };
            // A reader that is too slow for this is about to be cut off anyway.
            let _ = self.peer.outbox.push(Item::Permission(Arc::new(refused)));
        }
        refusal
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.hand_over(&mut Moment::now());
        self.settle();
        for (_, subscription) in std::mem::take(&mut self.subscriptions) {
            self.forget(&subscription);
        }
        for (pattern, queue) in std::mem::take(&mut self.services) {
            self.broker.services.remove(&pattern, &queue, self.peer.id);
        }
        self.peer.outbox.close(Closed::Ended);
        self.broker.counters.drops.add(self.peer.outbox.dropped());
        self.broker.unregister(&self.peer);
    }
}

/// Looks connections up by id.
pub type Registry = HashMap<u64, Arc<Peer>, RandomState>;

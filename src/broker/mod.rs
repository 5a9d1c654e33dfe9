//! The broker: who hears what.
//!
//! A [`Broker`] knows every connection, what it is subscribed to and what it may do. Connections come in two kinds that share
//! one code path from the policy on: sockets ([`session`] speaks engine.io and socket.io for them) and clients in process
//! ([`Broker::attach`]).
//!
//! ```text
//! session ─► Connection::publish ─► route (policy, interest, cache) ─► burst ─► Outbox of each reader ─► session ─► socket
//! ```

pub mod admission;
pub mod burst;
pub mod connection;
pub mod delivery;
pub mod flight;
pub mod outbox;
pub mod peer;
pub mod policy;
pub mod refusal;
pub mod route;
pub mod rpc;
pub mod session;
pub mod sign_in;
pub mod stats;
pub mod sublist;
pub mod tally;
pub mod user;
pub mod waits;

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::{ArcSwap, Guard};
use base64::Engine as _;
use parking_lot::RwLock;
use serde_json::{Map, Value, json};

pub use connection::{CallError, Connection, Published, Subscribed};
pub use outbox::{Item, Outbox};
pub use peer::Peer;
pub use policy::{Direction, Policy, Verdict};
pub use refusal::Refusal;
pub use sign_in::{Authenticator, Handshake, SignInError};
pub use stats::Counters;
pub use user::User;

use self::{
    admission::{Admitted, Connections, Identities},
    connection::Registry,
    flight::Flight,
    peer::now_ms,
    rpc::Services,
    sublist::Sublist,
    waits::Waits,
};
use crate::config::Limits;

/// What a broker is made of.
pub struct Options {
    /// `id` in `info`.
    pub server_id: String,
    /// `clusterName` in `info`.
    pub cluster_name: Option<String>,
    /// The server's own address (§6.7), for example `http://localhost:5000`.
    pub address: String,
    /// Limits and times, to begin with.
    pub limits: Limits,
    /// Who is who.
    pub authenticator: Arc<dyn Authenticator>,
    /// Who may do what.
    pub policy: Arc<dyn Policy>,
}

/// The hub of the wheel: interest, connections, counters.
pub struct Broker {
    server_id: String,
    cluster_name: Option<String>,
    address: String,
    limits: Arc<ArcSwap<Limits>>,
    authenticator: Arc<dyn Authenticator>,
    policy: Arc<dyn Policy>,
    sublist: Sublist,
    services: Services,
    waits: Arc<Waits>,
    registry: RwLock<Registry>,
    connections: Arc<Connections>,
    identities: Identities,
    counters: Arc<Counters>,
    flight: Flight,
    next_id: AtomicU64,
}

/// An id that can't be guessed: 20 URL-safe characters.
pub fn random_sid() -> String {
    let mut bytes = [0u8; 15];
    if getrandom::fill(&mut bytes).is_err() {
        // The kernel's generator fails only before it is seeded; an id need not be secret, only different.
        fastrand::fill(&mut bytes);
    }
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

impl Broker {
    /// A broker with nobody connected.
    pub fn new(options: Options) -> Arc<Broker> {
        Arc::new(Broker {
            flight: Flight::new(options.limits.flight_records),
            server_id: options.server_id,
            cluster_name: options.cluster_name,
            address: options.address,
            limits: Arc::new(ArcSwap::from_pointee(options.limits)),
            authenticator: options.authenticator,
            policy: options.policy,
            sublist: Sublist::default(),
            services: Services::default(),
            waits: Arc::default(),
            registry: RwLock::default(),
            connections: Arc::default(),
            identities: Identities::default(),
            counters: Arc::default(),
            next_id: AtomicU64::new(1),
        })
    }

    /// Connects a client in process. It is not counted against the limits for connections and subscriptions. Its deliveries
    /// have to be taken out of [`Connection::outbox`], which is bounded like that of any other reader.
    pub fn attach(self: &Arc<Self>, user: User) -> Connection {
        self.connect(user, None, None, None)
    }

    fn connect(
        self: &Arc<Self>,
        user: User,
        address: Option<IpAddr>,
        browser_id: Option<String>,
        admitted: Option<Admitted>,
    ) -> Connection {
        let now = now_ms();
        let limits = self.limits();
        let peer = Arc::new(Peer {
            id: self.next_id.fetch_add(1, Ordering::Relaxed),
            sid: random_sid().into(),
            user,
            address,
            browser_id,
            connected: now,
            outbox: match address {
                Some(_) => Outbox::of_socket(limits.outbox_messages, limits.outbox_bytes),
                None => Outbox::new(limits.outbox_messages, limits.outbox_bytes),
            },
            sent_messages: Default::default(),
            sent_bytes: Default::default(),
            egress_messages: Default::default(),
            egress_bytes: Default::default(),
            subscriptions: Default::default(),
            active: AtomicU64::new(now),
            reported: Default::default(),
        });
        self.registry.write().insert(peer.id, peer.clone());
        Connection::new(self.clone(), peer, admitted)
    }

    fn unregister(&self, peer: &Peer) {
        self.registry.write().remove(&peer.id);
    }

    /// Asks the policy (§13.1).
    fn authorize(&self, user: &User, direction: Direction, subject: &str) -> Result<(), Refusal> {
        match self.policy.decide(user, direction, subject) {
            Ok(Verdict { allowed: true, .. }) => Ok(()),
            Ok(_) => {
                let doing = match direction {
                    Direction::Publish => "publishing",
                    Direction::Subscribe => "subscribing",
                };
                Err(Refusal::Denied(format!("permission denied {doing} to '{subject}' from {}", user.json())))
            }
            Err(error) => Err(Refusal::Policy(error.to_string())),
        }
    }

    /// The argument of `info` (§3.5), for a connection with this bound on its messages.
    pub fn info(&self, user: &User, max_payload: usize) -> Value {
        let mut info = Map::new();
        info.insert("max_payload".into(), max_payload.into());
        info.insert("id".into(), self.server_id.as_str().into());
        if let Some(name) = &self.cluster_name {
            info.insert("clusterName".into(), name.as_str().into());
        }
        info.insert("user".into(), user.json().clone());
        Value::Object(info)
    }

    /// Limits and times of this moment.
    pub fn limits(&self) -> Guard<Arc<Limits>> {
        self.limits.load()
    }

    /// Changes limits and times. Connections that are open go on with the size of messages and of the outbox and with the
    /// times of the socket that they began with, some of which their clients were told; all else holds from now on. Nobody is
    /// sent away because a limit has become lower.
    pub fn set_limits(&self, limits: Limits) {
        self.flight.set_capacity(limits.flight_records);
        self.limits.store(Arc::new(limits));
    }

    /// Counters of the whole server.
    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// The flight recorder.
    pub fn flight(&self) -> &Flight {
        &self.flight
    }

    /// The policy, for `why`.
    pub fn policy(&self) -> &Arc<dyn Policy> {
        &self.policy
    }

    /// This server's id.
    pub fn server_id(&self) -> &str {
        &self.server_id
    }

    /// The cluster's name, if there is one.
    pub fn cluster_name(&self) -> Option<&str> {
        self.cluster_name.as_deref()
    }

    /// This server's own address (§16).
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Connections over sockets that are signed in, oldest first.
    pub fn peers(&self) -> Vec<Arc<Peer>> {
        let mut peers: Vec<_> = self.registry.read().values().filter(|p| p.address.is_some()).cloned().collect();
        peers.sort_by_key(|p| p.id);
        peers
    }

    /// Messages and bytes that wait in all outboxes: the sum, and the deepest.
    pub fn queue_depths(&self) -> QueueDepths {
        self.registry.read().values().map(|p| p.outbox.depth()).fold(
            QueueDepths::default(),
            |sum, (messages, bytes)| QueueDepths {
                messages: sum.messages + messages,
                bytes: sum.bytes + bytes,
                deepest_bytes: sum.deepest_bytes.max(bytes),
            },
        )
    }

    /// How many waits for interest are under way.
    pub fn waiting(&self) -> usize {
        self.waits.len()
    }

    /// Counted connections: `{total, perUser}` (§16).
    pub fn usage(&self) -> Value {
        let (total, users) = self.connections.usage();
        let per_user: Map<String, Value> = users.iter().map(|(key, n)| (key.to_string(), (*n).into())).collect();
        json!({"total": total, "perUser": per_user})
    }

    /// All interest: `{version, subjects: {pattern: {queue: [room, …]}}}`, a room being a connection and a pattern (§§18.3, 19).
    /// Takes a while when there is much of it.
    pub fn interest(&self) -> Value {
        let version = self.sublist.version();
        let mut found: Vec<(Arc<str>, Box<str>, u64)> = Vec::new();
        self.sublist.visit(|entry| {
            for (queue, group) in entry.groups().iter() {
                found.extend(group.iter().map(|member| (entry.pattern().clone(), queue.clone(), member.connection)));
            }
        });
        let mut subjects = Map::new();
        for (pattern, queue, connection) in found {
            // One that has gone since has no interest either.
            let Some(sid) = self.registry.read().get(&connection).map(|peer| peer.sid.clone()) else { continue };
            let room = json!({"id": &*sid, "subject": &*pattern}).to_string();
            let queues = subjects.entry(&*pattern).or_insert_with(|| json!({}));
            match &mut queues[&*queue] {
                Value::Array(rooms) => rooms.push(room.into()),
                none => *none = json!([room]),
            }
        }
        for rooms in subjects.values_mut().filter_map(Value::as_object_mut).flat_map(|queues| queues.values_mut()) {
            if let Value::Array(rooms) = rooms {
                rooms.sort_unstable_by(|a, b| a.as_str().cmp(&b.as_str()));
            }
        }
        json!({"version": version, "subjects": subjects})
    }

    /// Tells the connection with this socket id that it is disconnected (§16). An unknown id is ignored.
    pub fn disconnect(&self, sid: &str) {
        if let Some(peer) = self.registry.read().values().find(|p| &*p.sid == sid) {
            // A reader that is too slow for this is about to be cut off anyway.
            let _ = peer.outbox.push(Item::Disconnect);
        }
    }
}

/// What waits to be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueDepths {
    /// Messages in all outboxes.
    pub messages: usize,
    /// Bytes in all outboxes.
    pub bytes: usize,
    /// Bytes in the fullest outbox.
    pub deepest_bytes: usize,
}

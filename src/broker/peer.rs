//! What everybody may know of a connection: identity and statistics (conat-wire.md §16).

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use parking_lot::Mutex;
use serde_json::{Value, json};

use super::{User, outbox::Outbox, stats::Counter};

/// Milliseconds since the epoch.
pub fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
}

/// A connection as the registry and statistics see it.
#[derive(Debug)]
pub struct Peer {
    /// Number of the connection in this process; never used again.
    pub id: u64,
    /// The socket id.
    pub sid: Arc<str>,
    /// Who is signed in.
    pub user: User,
    /// Where the connection came from; `None` in process.
    pub address: Option<IpAddr>,
    /// `auth.browser_id`, if it has the right form (§20.2).
    pub browser_id: Option<String>,
    /// When it signed in, in ms since the epoch.
    pub connected: u64,
    /// Where its deliveries go.
    pub outbox: Arc<Outbox>,
    /// Messages it published.
    pub sent_messages: Counter,
    /// Payload bytes it published.
    pub sent_bytes: Counter,
    /// Messages written to it.
    pub egress_messages: Counter,
    /// Bytes written to it.
    pub egress_bytes: Counter,
    /// Subscriptions it has.
    pub subscriptions: Counter,
    pub(super) active: AtomicU64,
    pub(super) reported: Mutex<(f64, f64)>,
}

impl Peer {
    /// `ConnectionStats` of §16 and §20.11.
    pub fn stats(&self) -> Value {
        let (messages, bytes) = *self.reported.lock();
        let mut stats = json!({
            "user": self.user.json(),
            "send": {"messages": self.sent_messages.get(), "bytes": self.sent_bytes.get()},
            "recv": {"messages": messages, "bytes": bytes},
            "egress": {"messages": self.egress_messages.get(), "bytes": self.egress_bytes.get()},
            "subs": self.subscriptions.get(),
            "connected": self.connected,
            "active": self.active.load(Ordering::Relaxed),
            "address": self.address.map(|a| a.to_string()),
        });
        if let (Some(id), Some(map)) = (&self.browser_id, stats.as_object_mut()) {
            map.insert("browser_id".into(), id.as_str().into());
        }
        stats
    }
}

//! Who may connect, and how many events they may send (conat-wire.md §§3.4, 20.6).

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use foldhash::fast::RandomState;
use parking_lot::Mutex;

use super::{User, user::Identity};
use crate::config::Limits;

/// Counted connections.
#[derive(Debug, Default)]
pub struct Connections {
    inner: Mutex<(usize, HashMap<Arc<str>, usize, RandomState>)>,
}

/// A counted connection; stops counting when dropped.
#[derive(Debug)]
pub struct Admitted {
    connections: Arc<Connections>,
    key: Arc<str>,
}

impl Connections {
    /// Counts a connection of a user.
    ///
    /// # Errors
    /// A limit is reached; the text says which.
    pub fn admit(self: &Arc<Self>, user: &User, limits: &Limits) -> Result<Admitted, String> {
        let per_user = match user.identity() {
            Identity::Hub(_) => limits.max_connections_per_hub,
            // Where nobody signs in, all are the same nobody: a limit for one would be one for all.
            Identity::Anonymous => 0,
            _ => limits.max_connections_per_user,
        };
        let mut inner = self.inner.lock();
        let (total, users) = &mut *inner;
        if limits.max_connections > 0 && *total >= limits.max_connections {
            return Err(format!("Error: connection limit reached: {} in total", limits.max_connections));
        }
        let count = users.entry(user.key().clone()).or_default();
        if per_user > 0 && *count >= per_user {
            return Err(format!("Error: connection limit reached: {per_user} per user"));
        }
        *count += 1;
        *total += 1;
        Ok(Admitted { connections: self.clone(), key: user.key().clone() })
    }

    /// The total, and the number per user.
    pub fn usage(&self) -> (usize, HashMap<Arc<str>, usize, RandomState>) {
        self.inner.lock().clone()
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut inner = self.connections.inner.lock();
        inner.0 = inner.0.saturating_sub(1);
        if let Some(count) = inner.1.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                inner.1.remove(&self.key);
            }
        }
    }
}

/// Events counted in one window.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    started: Instant,
    count: u32,
    blocked_until: Option<Instant>,
}

impl Window {
    fn new(now: Instant) -> Window {
        Window { started: now, count: 0, blocked_until: None }
    }

    /// Counts an event; the time to wait if it is one too many.
    fn count(&mut self, now: Instant, limit: u32, length: Duration) -> Result<(), Duration> {
        if limit == 0 {
            return Ok(());
        }
        if let Some(until) = self.blocked_until {
            if now < until {
                return Err(until - now);
            }
            *self = Window::new(now);
        }
        if now.duration_since(self.started) >= length {
            *self = Window::new(now);
        }
        self.count += 1;
        if self.count > limit {
            self.blocked_until = Some(now + length);
            return Err(length);
        }
        Ok(())
    }
}

/// A refused event: which counter, and when to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Throttled {
    /// Whether the identity's counter was exceeded rather than the connection's.
    pub identity: bool,
    /// When to try again, at least a second.
    pub retry: Duration,
}

/// Windows of identities.
#[derive(Debug, Default)]
pub struct Identities(Mutex<HashMap<Arc<str>, Window, RandomState>>);

/// Counters of one connection.
#[derive(Debug)]
pub struct Gate {
    events: Window,
    subscriptions: Window,
    identity: Arc<str>,
    exempt: bool,
}

impl Gate {
    /// The gate of a user's connection.
    pub fn new(user: &User) -> Gate {
        let now = Instant::now();
        let identity = match user.identity() {
            Identity::Account(id) | Identity::Project(id) | Identity::Hub(id) | Identity::Host(id) => id.clone(),
            Identity::Anonymous | Identity::Failed => "anonymous".into(),
        };
        let exempt = matches!(user.identity(), Identity::Hub(_) | Identity::Project(_));
        Gate { events: Window::new(now), subscriptions: Window::new(now), identity, exempt }
    }

    /// Counts an event before it is handled.
    ///
    /// # Errors
    /// The event is one too many and must not be handled.
    pub fn pass(&mut self, is_subscriptions: bool, limits: &Limits, identities: &Identities) -> Result<(), Throttled> {
        let off =
            limits.admission_socket_events | limits.admission_subscriptions | limits.admission_identity_events == 0;
        if off {
            return Ok(());
        }
        let (now, length) = (Instant::now(), limits.admission_window);
        let refuse = |identity| move |retry: Duration| Throttled { identity, retry: retry.max(Duration::from_secs(1)) };
        if !self.exempt {
            if is_subscriptions {
                self.subscriptions.count(now, limits.admission_subscriptions, length).map_err(refuse(false))?;
            }
            self.events.count(now, limits.admission_socket_events, length).map_err(refuse(false))?;
        }
        if limits.admission_identity_events > 0 {
            let mut windows = identities.0.lock();
            if windows.len() > 10_000 {
                windows
                    .retain(|_, w| now.duration_since(w.started) < length || w.blocked_until.is_some_and(|u| now < u));
            }
            let window = windows.entry(self.identity.clone()).or_insert_with(|| Window::new(now));
            window.count(now, limits.admission_identity_events, length).map_err(refuse(true))?;
        }
        Ok(())
    }
}

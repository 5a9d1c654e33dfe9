//! Settings of the client.

use std::time::Duration;

use serde::Serialize;

pub use super::retry::Pace;

/// Settings of a client of a persist service.
#[derive(Clone, Debug)]
pub struct Options {
    /// The first token of its subjects.
    pub service: String,
    /// Time between pings of a socket; zero turns them off, as newer clients have it. Older servers want pings.
    pub keep_alive: Duration,
    /// How long a deleted key is remembered: a week for older clients, a day for newer ones.
    pub tombstone_ttl: Duration,
    /// Times.
    pub times: Times,
    /// Bounds.
    pub bounds: Bounds,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            service: "persist".into(),
            keep_alive: Duration::from_secs(25),
            tombstone_ttl: Duration::from_secs(7 * 24 * 3600),
            times: Times::default(),
            bounds: Bounds::default(),
        }
    }
}

/// Times that applications have no reason to change; tests shorten them.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// How long the question for the server's id may take.
    pub lookup: Duration,
    /// How long its answer is believed.
    pub lookup_lifetime: Duration,
    /// How long a new socket may take to be ready.
    pub connect: Duration,
    /// Pauses before a lost socket is made anew.
    pub reconnect: Pace,
    /// After so long a connection counts as stable, and the pauses start from the beginning.
    pub stable: Duration,
    /// How long a request may take.
    pub request: Duration,
    /// How long `getAll` may be silent.
    pub silence: Duration,
    /// Pauses while a new socket catches up.
    pub catch_up: Pace,
    /// Pauses while a structure loads.
    pub load: Pace,
    /// Pauses while a gap is repaired.
    pub repair: Pace,
    /// Pauses while something is saved.
    pub save: Pace,
    /// How long a store waits for the change that made its write fail, before it asks for it.
    pub conflict: Duration,
}

impl Default for Times {
    fn default() -> Self {
        let (ms, s) = (Duration::from_millis, Duration::from_secs);
        Times {
            lookup: s(2),
            lookup_lifetime: s(15),
            connect: s(15),
            reconnect: Pace { first: ms(1500), max: s(30), factor: 1.8, jitter: 0.25 },
            stable: s(60),
            request: s(30),
            silence: s(30),
            catch_up: Pace::new(s(2), s(15), 1.3),
            load: Pace::new(ms(1500), s(30), 1.5),
            repair: Pace::new(s(1), s(15), 1.3),
            save: Pace::new(ms(150), s(10), 1.3),
            conflict: s(1),
        }
    }
}

/// How much a structure may hold; the table is at the top of the module.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Bytes of a copy.
    pub copy_bytes: usize,
    /// Things that may wait for the reader of a feed.
    pub feed_items: usize,
    /// Their bytes.
    pub feed_bytes: usize,
    /// Notices that may wait for their slowest reader.
    pub notices: usize,
    /// Writes that are not saved.
    pub unsaved: usize,
    /// Their bytes.
    pub unsaved_bytes: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Bounds {
            copy_bytes: 256 << 20,
            feed_items: 4096,
            feed_bytes: 64 << 20,
            notices: 1024,
            unsaved: 10_000,
            unsaved_bytes: 64 << 20,
        }
    }
}

/// How a stream is stored; it matters when its instance is made (§3.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Storage {
    /// In memory only.
    pub ephemeral: bool,
    /// Every commit is durable.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub sync: bool,
}

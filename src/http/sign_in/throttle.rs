//! Failed attempts to sign in are slowed per address (conat-wire.md §20.3): 100 within a minute block the address for a minute.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Failures that block.
const FAILURES: u32 = 100;
/// Time in which failures are counted.
const WINDOW: Duration = Duration::from_secs(60);
/// How long a block lasts.
const BLOCK: Duration = Duration::from_secs(60);
/// Failures that are answered at once; each one more doubles the delay.
const FREE_FAILURES: u32 = 5;
/// The longest delay of an answer.
const MAX_DELAY: Duration = Duration::from_secs(1);
/// Addresses that are remembered.
const MAX_ADDRESSES: usize = 4096;

/// Counts failures by address.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    entries: Mutex<HashMap<IpAddr, Entry>>,
}

#[derive(Debug)]
struct Entry {
    failures: u32,
    since: Instant,
    blocked_until: Option<Instant>,
}

impl Entry {
    fn is_over(&self, now: Instant) -> bool {
        match self.blocked_until {
            Some(until) => until <= now,
            None => now.saturating_duration_since(self.since) >= WINDOW,
        }
    }
}

impl Throttle {
    /// How much longer the address has to wait, if it is blocked.
    pub(super) fn blocked(&self, address: Option<IpAddr>, now: Instant) -> Option<Duration> {
        let until = self.lock().get(&key(address))?.blocked_until?;
        until.checked_duration_since(now).filter(|left| !left.is_zero())
    }

    /// Counts a failure (an expensive one counts as several) and says how long to wait with the answer.
    pub(super) fn failed(&self, address: Option<IpAddr>, weight: u32, now: Instant) -> Duration {
        let mut entries = self.lock();
        let key = key(address);
        if !entries.contains_key(&key) && entries.len() >= MAX_ADDRESSES {
            make_room(&mut entries, now);
        }
        let entry = entries.entry(key).or_insert(Entry { failures: 0, since: now, blocked_until: None });
        if entry.is_over(now) {
            *entry = Entry { failures: 0, since: now, blocked_until: None };
        }
        entry.failures = entry.failures.saturating_add(weight);
        if entry.failures >= FAILURES && entry.blocked_until.is_none() {
            entry.blocked_until = Some(now + BLOCK);
        }
        match entry.failures.saturating_sub(FREE_FAILURES) {
            0 => Duration::ZERO,
            more => Duration::from_millis(10 << more.min(7)).min(MAX_DELAY),
        }
    }

    /// Forgets the failures of an address.
    pub(super) fn succeeded(&self, address: Option<IpAddr>) {
        self.lock().remove(&key(address));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, Entry>> {
        // Counters are valid whatever a panicking holder did.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Seconds to tell people, at least one.
pub(super) fn whole_seconds(left: Duration) -> u64 {
    left.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX).max(1)
}

/// Whoever has one IPv6 address has its whole /64.
fn key(address: Option<IpAddr>) -> IpAddr {
    match address {
        Some(IpAddr::V6(v6)) => match v6.to_ipv4_mapped() {
            Some(v4) => v4.into(),
            None => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
        },
        Some(v4) => v4,
        None => Ipv6Addr::UNSPECIFIED.into(),
    }
}

/// Drops what is over; if nothing is, drops the address that failed longest ago.
fn make_room(entries: &mut HashMap<IpAddr, Entry>, now: Instant) {
    entries.retain(|_, entry| !entry.is_over(now));
    if entries.len() >= MAX_ADDRESSES {
        let oldest = entries.iter().min_by_key(|(_, entry)| entry.since).map(|(key, _)| *key);
        if let Some(oldest) = oldest {
            entries.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn a_hundred_failures_block_for_a_minute() {
        let throttle = Throttle::default();
        let start = Instant::now();
        let peer = address("10.0.0.1");
        for _ in 0..99 {
            throttle.failed(peer, 1, start);
        }
        assert_eq!(throttle.blocked(peer, start), None);
        throttle.failed(peer, 1, start);
        assert_eq!(throttle.blocked(peer, start), Some(BLOCK));
        assert_eq!(throttle.blocked(address("10.0.0.2"), start), None);
        assert_eq!(throttle.blocked(peer, start + BLOCK), None);
        throttle.failed(peer, 1, start + BLOCK);
        assert_eq!(throttle.blocked(peer, start + BLOCK), None);
    }

    #[test]
    fn slow_failures_never_block_and_success_clears() {
        let throttle = Throttle::default();
        let start = Instant::now();
        let peer = address("10.0.0.1");
        for minute in 0..5 {
            for _ in 0..99 {
                throttle.failed(peer, 1, start + WINDOW * minute);
            }
            assert_eq!(throttle.blocked(peer, start + WINDOW * minute), None);
        }
        throttle.succeeded(peer);
        assert_eq!(throttle.failed(peer, 1, start), Duration::ZERO);
    }

    #[test]
    fn the_delay_grows_to_its_limit() {
        let throttle = Throttle::default();
        let now = Instant::now();
        let delays: Vec<_> = (0..20).map(|_| throttle.failed(None, 1, now)).collect();
        assert_eq!(delays[4], Duration::ZERO);
        assert_eq!(delays[5], Duration::from_millis(20));
        assert!(delays.windows(2).all(|pair| pair[0] <= pair[1]));
        assert_eq!(delays[19], MAX_DELAY);
    }

    #[test]
    fn the_table_is_bounded_and_addresses_are_grouped() {
        let throttle = Throttle::default();
        let now = Instant::now();
        for n in 0..10_000_u32 {
            throttle.failed(Some(IpAddr::from(n.to_be_bytes())), 1, now);
        }
        assert!(throttle.lock().len() <= MAX_ADDRESSES);
        assert_eq!(key(address("2001:db8::1")), key(address("2001:db8::2")));
        assert_ne!(key(address("2001:db8::1")), key(address("2001:db8:0:1::1")));
        assert_eq!(key(address("::ffff:10.0.0.1")), key(address("10.0.0.1")));
    }

    #[test]
    fn people_are_told_whole_seconds() {
        assert_eq!(whole_seconds(Duration::from_millis(1)), 1);
        assert_eq!(whole_seconds(Duration::from_millis(1001)), 2);
        assert_eq!(whole_seconds(Duration::from_secs(60)), 60);
    }
}

//! Random ids: message ids, queues, inboxes, virtual sockets (conat-wire.md §5.7).

/// The symbols of newer clients: no letters and digits that look alike.
const SYMBOLS: &[u8] = b"23456789ABCDEFGHJKLMNPQRSTUVWXYZ";

/// A random id of 10 symbols: 50 bits from the system's generator.
///
/// Reply subjects are protected by nothing but being unguessable, so this must not come from a predictable generator.
pub fn random_id() -> String {
    let mut bytes = [0u8; 10];
    if getrandom::fill(&mut bytes).is_err() {
        // The kernel's generator fails only before it is seeded.
        fastrand::fill(&mut bytes);
    }
    bytes.iter().map(|b| char::from(SYMBOLS.get(usize::from(b % 32)).copied().unwrap_or(b'2'))).collect()
}

/// An id that has to be different from others, not secret: message ids. Cheaper than [`random_id`].
pub fn message_id() -> String {
    let mut bits = fastrand::u64(..);
    let symbol = |_| {
        let symbol = SYMBOLS.get((bits % 32) as usize).copied().unwrap_or(b'2');
        bits >>= 5;
        char::from(symbol)
    };
    (0..10).map(symbol).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_tokens() {
        for id in [random_id(), message_id()] {
            assert_eq!(id.len(), 10);
            assert!(id.bytes().all(|b| SYMBOLS.contains(&b)));
        }
        assert_ne!(random_id(), random_id());
    }
}

//! Sizes as the limits count them (§8.6).

use super::message::Set;

/// Length of a text in UTF-16 code units.
pub(super) fn utf16_len(text: &str) -> u64 {
    if text.is_ascii() { text.len() as u64 } else { text.encode_utf16().count() as u64 }
}

/// Length of headers and key together.
pub(super) fn around(headers: Option<&str>, key: Option<&str>) -> u64 {
    headers.map_or(0, utf16_len) + key.map_or(0, utf16_len)
}

/// The size of a message.
pub(super) fn of(set: &Set) -> u64 {
    set.raw.len() as u64 + around(set.headers.as_deref(), set.key.as_deref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn persist_055_and_056_size_counts_utf16_units() {
        assert_eq!(utf16_len("é€😀"), 4);
        let five = Set { raw: vec![5].into(), key: Some("a".into()), ..Set::default() };
        assert_eq!(of(&five), 2);
        let tombstone = Set {
            raw: vec![0xc0].into(),
            key: Some("a".into()),
            headers: Some(r#"{"CN-Tombstone":true}"#.into()),
            ..Set::default()
        };
        assert_eq!(of(&tombstone), 23);
    }
}

//! How content stands in the store: as MessagePack `bin`, so that clients of the store read it as bytes.

use bytes::Bytes;

/// The bytes before content of this length.
fn prefix(length: usize) -> Vec<u8> {
    let mut prefix = Vec::with_capacity(length.saturating_add(5));
    if let Ok(length) = u8::try_from(length) {
        prefix.extend_from_slice(&[0xc4, length]);
    } else if let Ok(length) = u16::try_from(length) {
        prefix.push(0xc5);
        prefix.extend_from_slice(&length.to_be_bytes());
    } else {
        prefix.push(0xc6);
        prefix.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    }
    prefix
}

/// Content on its way into the store.
#[derive(Debug)]
pub struct Draft(Vec<u8>);

impl Draft {
    /// For content of so many bytes.
    pub fn new(length: usize) -> Draft {
        Draft(prefix(length))
    }

    /// Where the content is written to, behind what is there already.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }

    pub(super) fn into_value(self) -> Bytes {
        self.0.into()
    }
}

/// The content in a value; `None` when it is none.
pub(super) fn content(value: &Bytes) -> Option<Bytes> {
    let number = |bytes: &[u8]| bytes.iter().fold(0usize, |number, byte| number << 8 | usize::from(*byte));
    let width = match value.first()? {
        0xc4 => 1,
        0xc5 => 2,
        0xc6 => 4,
        _ => return None,
    };
    let start = 1 + width;
    (number(value.get(1..start)?) == value.len() - start).then(|| value.slice(start..))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_what_messagepack_says() {
        for length in [0, 1, 255, 256, 65_535, 65_536, 100_000] {
            let bytes = vec![7; length];
            let mut draft = Draft::new(length);
            draft.buffer().extend_from_slice(&bytes);
            let value = draft.into_value();
            assert_eq!(value, rmp_serde::to_vec(&serde_bytes::Bytes::new(&bytes)).unwrap(), "{length}");
            assert_eq!(content(&value).unwrap(), bytes, "{length}");
        }
    }

    #[test]
    fn other_values_are_no_content() {
        for value in [&b""[..], b"\xc4", b"\xc4\x02a", b"\xc4\x01ab", b"\xc6\x00\x00", b"\xa1a", b"\x80"] {
            assert_eq!(content(&Bytes::from_static(value)), None, "{value:x?}");
        }
    }
}

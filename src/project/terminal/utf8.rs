//! Bytes to text when characters may be split between reads.

/// Decodes UTF-8 that comes in pieces: an unfinished character waits for its rest, an impossible one becomes U+FFFD.
#[derive(Debug, Default)]
pub(super) struct Utf8Joiner {
    /// The beginning of a character, 3 bytes at most.
    rest: Vec<u8>,
}

impl Utf8Joiner {
    /// Appends what is complete to `text`.
    pub(super) fn push(&mut self, bytes: &[u8], text: &mut String) {
        if self.rest.is_empty() {
            self.decode(bytes, text);
        } else {
            let mut joined = std::mem::take(&mut self.rest);
            joined.extend_from_slice(bytes);
            self.decode(&joined, text);
        }
    }

    /// At the end of all bytes: what is unfinished stays so.
    pub(super) fn finish(&mut self, text: &mut String) {
        if !std::mem::take(&mut self.rest).is_empty() {
            text.push(char::REPLACEMENT_CHARACTER);
        }
    }

    fn decode(&mut self, mut bytes: &[u8], text: &mut String) {
        loop {
            match std::str::from_utf8(bytes) {
                Ok(valid) => return text.push_str(valid),
                Err(error) => {
                    let (valid, after) = bytes.split_at(error.valid_up_to());
                    // `valid` is valid: nothing is replaced here.
                    text.push_str(&String::from_utf8_lossy(valid));
                    let Some(length) = error.error_len() else {
                        self.rest = after.to_vec();
                        return;
                    };
                    text.push(char::REPLACEMENT_CHARACTER);
                    bytes = after.get(length..).unwrap_or_default();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn join<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> String {
        let mut joiner = Utf8Joiner::default();
        let mut text = String::new();
        for piece in pieces {
            joiner.push(piece, &mut text);
        }
        joiner.finish(&mut text);
        text
    }

    #[test]
    fn utf8_split_characters_are_kept_together() {
        let mut joiner = Utf8Joiner::default();
        let mut text = String::new();
        joiner.push(b"a\xe2\x82", &mut text);
        assert_eq!(text, "a");
        joiner.push(b"\xac!", &mut text);
        assert_eq!(text, "a€!");
        joiner.push(b"\xf0\x9f", &mut text);
        joiner.finish(&mut text);
        assert_eq!(text, "a€!\u{fffd}");
    }

    proptest! {
        #[test]
        fn utf8_pieces_of_any_bytes_give_what_the_whole_gives(
            bytes in proptest::collection::vec(prop_oneof![any::<u8>(), Just(0xe2), Just(0x82), Just(0xf0)], 0..200),
            size in 1_usize..9,
        ) {
            prop_assert_eq!(join(bytes.chunks(size)), String::from_utf8_lossy(&bytes));
        }

        #[test]
        fn utf8_pieces_of_any_text_give_the_text(text in "\\PC*", size in 1_usize..5) {
            prop_assert_eq!(join(text.as_bytes().chunks(size)), text);
        }
    }
}

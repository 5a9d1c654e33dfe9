//! Where terminal output may be cut without leaving half an escape sequence.

/// How far back a sequence that contains the cut may begin.
const LOOK_BACK_BYTES: usize = 4096;

/// The first place at or after `at` that is on a character boundary and not inside an escape sequence.
pub(super) fn safe_cut(text: &str, at: usize) -> usize {
    let at = text.ceil_char_boundary(at.min(text.len()));
    let from = text.floor_char_boundary(at.saturating_sub(LOOK_BACK_BYTES));
    let bytes = text.as_bytes();
    // Every ESC before the cut may begin the sequence the cut is in; but a string sequence may contain an ESC only as its end.
    let mut position = from;
    while let Some(begin) = bytes.get(position..at).and_then(|part| memchr::memchr(0x1b, part)).map(|i| position + i) {
        let end = sequence_end(bytes, begin);
        if end > at {
            return text.ceil_char_boundary(end);
        }
        position = end.max(begin + 1);
    }
    at
}

/// One past the last byte of the sequence that begins with the ESC at `begin`. An unfinished sequence ends where the text does.
fn sequence_end(bytes: &[u8], begin: usize) -> usize {
    let after = |i: usize| bytes.get(i).copied();
    match after(begin + 1) {
        None => begin + 1,
        Some(b'[') => {
            let mut i = begin + 2;
            while let Some(byte) = after(i) {
                match byte {
                    0x20..=0x3f => i += 1,
                    0x40..=0x7e => return i + 1,
                    // Not a control sequence after all.
                    _ => return i,
                }
            }
            i
        }
        // Operating system command, device control, start of string, privacy message, application command: up to BEL or ESC \.
        Some(b']' | b'P' | b'X' | b'^' | b'_') => {
            let mut i = begin + 2;
            while let Some(byte) = after(i) {
                match byte {
                    0x07 => return i + 1,
                    0x1b => return if after(i + 1) == Some(b'\\') { i + 2 } else { i },
                    0x18 | 0x1a => return i + 1,
                    _ => i += 1,
                }
                if i - begin > LOOK_BACK_BYTES {
                    // Nobody would wait for the end of this.
                    return begin + 2;
                }
            }
            i
        }
        Some(0x20..=0x2f) => {
            let mut i = begin + 2;
            while matches!(after(i), Some(0x20..=0x2f)) {
                i += 1;
            }
            (i + 1).min(bytes.len())
        }
        Some(0x1b) => begin + 1,
        Some(_) => begin + 2,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::safe_cut;

    #[test]
    fn escape_cut_moves_behind_the_sequence_it_is_in() {
        for (text, at, cut) in [
            ("abc", 1, 1),
            ("a\x1b[31mb", 1, 1),
            ("a\x1b[31mb", 2, 6),
            ("a\x1b[31mb", 5, 6),
            ("a\x1b[31mb", 6, 6),
            ("\x1b]0;title\x07x", 4, 10),
            ("\x1b]0;title\x1b\\x", 4, 11),
            ("\x1b]0;title\x1b\\x", 10, 11),
            ("\x1bPq#0\x1b\\x", 3, 7),
            ("\x1b(Bx", 2, 3),
            ("\x1b7x", 1, 2),
            ("\x1b[12", 2, 4),
            ("\x1b\x1b[mx", 2, 4),
            ("€uro", 1, 3),
            ("x\x1b€uro", 2, 5),
            ("abc", 9, 3),
        ] {
            assert_eq!(safe_cut(text, at), cut, "{text:?} at {at}");
        }
    }

    #[test]
    fn escape_string_without_end_holds_up_nothing() {
        let text = format!("\x1b]{}", "x".repeat(100_000));
        assert_eq!(safe_cut(&text, 50_000), 50_000);
        assert_eq!(safe_cut(&text, 100), 100);
    }

    proptest! {
        #[test]
        fn escape_cut_is_a_boundary_at_or_after(text in "(\\PC|\x1b|\\[|\\]|\x07|m|;|[0-9])*", at in 0_usize..300) {
            let cut = safe_cut(&text, at);
            prop_assert!(text.is_char_boundary(cut));
            prop_assert!(cut >= at.min(text.len()));
        }
    }
}

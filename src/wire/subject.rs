//! Subjects and patterns: grammar and matching (conat-wire.md §4).

/// Longest subject or pattern, in bytes: a sanity limit that §4.1 allows.
pub const MAX_SUBJECT_BYTES: usize = 4096;

/// White space in the ECMAScript sense, which differs from [`char::is_whitespace`]:
/// U+FEFF is in it and U+0085 is not.
fn is_white_space(c: char) -> bool {
    matches!(
        c,
        '\u{9}'..='\u{d}'
            | ' '
            | '\u{a0}'
            | '\u{1680}'
            | '\u{2000}'..='\u{200a}'
            | '\u{2028}'
            | '\u{2029}'
            | '\u{202f}'
            | '\u{205f}'
            | '\u{3000}'
            | '\u{feff}'
    )
}

/// Whether a string may be subscribed to: tokens separated by dots, none empty, no white space, `>` only last.
pub fn is_valid_pattern(pattern: &str) -> bool {
    if pattern.is_empty() || pattern.len() > MAX_SUBJECT_BYTES || pattern.contains(is_white_space) {
        return false;
    }
    let mut tokens = pattern.split('.').peekable();
    while let Some(token) = tokens.next() {
        if token.is_empty() || (token == ">" && tokens.peek().is_some()) {
            return false;
        }
    }
    true
}

/// Whether a string may be published to: a valid pattern without `*` that does not end in `>`.
pub fn is_valid_subject(subject: &str) -> bool {
    !subject.ends_with('>') && !subject.contains('*') && is_valid_pattern(subject)
}

/// Whether a pattern matches a subject (§4.2): `*` is one token, a last `>` is one or more.
pub fn matches(pattern: &str, subject: &str) -> bool {
    let mut tokens = subject.split('.');
    for wanted in pattern.split('.') {
        let Some(token) = tokens.next() else {
            return false;
        };
        match wanted {
            ">" => return true,
            "*" => {}
            literal if literal == token => {}
            _ => return false,
        }
    }
    tokens.next().is_none()
}

/// Names that can't be a pattern: socket.io refuses to emit the first six, and clients take the
/// others for control events (§2.12, D15).
pub fn is_reserved_name(pattern: &str) -> bool {
    matches!(
        pattern,
        "connect"
            | "connect_error"
            | "disconnect"
            | "disconnecting"
            | "newListener"
            | "removeListener"
            | "info"
            | "permission"
            | "rpc-request"
            | "rpc-raw-request"
            | "rpc-raw-response"
            | "fast-rpc-request"
            | "cluster-interest-delta"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grammar_table_of_the_specification_holds() {
        for (text, pattern, subject) in [
            ("a", true, true),
            ("a.b", true, true),
            ("été.☃", true, true),
            ("a-b_c/d:e", true, true),
            ("a.*", true, false),
            ("*", true, false),
            ("a.*.c", true, false),
            (">", true, false),
            ("a.>", true, false),
            ("a.>.b", false, false),
            ("a*b", true, false),
            ("a.x>", true, false),
            ("x>.a", true, true),
            (">x.a", true, true),
            ("", false, false),
            (".a", false, false),
            ("a.", false, false),
            ("a..b", false, false),
            ("a b", false, false),
            ("a.\u{feff}", false, false),
            ("a.\u{a0}b", false, false),
            ("a.\u{85}b", true, true),
        ] {
            assert_eq!(is_valid_pattern(text), pattern, "pattern {text:?}");
            assert_eq!(is_valid_subject(text), subject, "subject {text:?}");
        }
    }

    #[test]
    fn matching_table_of_the_specification_holds() {
        for (pattern, yes, no) in [
            (">", &["a", "a.b.c"][..], &[][..]),
            ("a.>", &["a.b", "a.b.c"], &["a", "b.a"]),
            ("a.*", &["a.b"], &["a", "a.b.c"]),
            ("*.b", &["a.b"], &["b", "a.b.c"]),
            ("foo.*.bar.>", &["foo.a.bar.b"], &["foo.a.bar", "foo.x"]),
            ("a.*.*", &["a.b.c"], &["a.b", "a.b.c.d"]),
        ] {
            for subject in yes {
                assert!(matches(pattern, subject), "{pattern} should match {subject}");
            }
            for subject in no {
                assert!(!matches(pattern, subject), "{pattern} should not match {subject}");
            }
        }
    }
}

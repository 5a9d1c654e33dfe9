//! Subjects and patterns: the grammar and the matching agree with the specification read word by word.
//!
//! Input: two lines, a pattern and a subject.

#![no_main]

use libfuzzer_sys::fuzz_target;
use outpost::wire::subject::{MAX_SUBJECT_BYTES, is_reserved_name, is_valid_pattern, is_valid_subject, matches};

/// ECMAScript's WhiteSpace and LineTerminator.
const WHITE_SPACE: &str = "\u{9}\u{a}\u{b}\u{c}\u{d} \u{a0}\u{1680}\u{2000}\u{2001}\u{2002}\u{2003}\u{2004}\u{2005}\
    \u{2006}\u{2007}\u{2008}\u{2009}\u{200a}\u{2028}\u{2029}\u{202f}\u{205f}\u{3000}\u{feff}";

fn naive_pattern(text: &str) -> bool {
    let tokens: Vec<&str> = text.split('.').collect();
    text.len() <= MAX_SUBJECT_BYTES
        && tokens.iter().enumerate().all(|(i, token)| {
            !token.is_empty()
                && (*token != ">" || i + 1 == tokens.len())
                && !token.chars().any(|c| WHITE_SPACE.contains(c))
        })
}

fn naive_subject(text: &str) -> bool {
    naive_pattern(text) && !text.contains('*') && !text.ends_with('>')
}

fn naive_matches(pattern: &[&str], subject: &[&str]) -> bool {
    match (pattern, subject) {
        ([">"], [_, ..]) => true,
        ([p, pattern @ ..], [s, subject @ ..]) => (*p == "*" || p == s) && naive_matches(pattern, subject),
        (pattern, subject) => pattern.is_empty() && subject.is_empty(),
    }
}

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (pattern, subject) = text.split_once('\n').unwrap_or((text, text));
    for text in [pattern, subject] {
        assert_eq!(is_valid_pattern(text), naive_pattern(text), "pattern {text:?}");
        assert_eq!(is_valid_subject(text), naive_subject(text), "subject {text:?}");
        let _ = is_reserved_name(text);
    }
    if is_valid_pattern(pattern) && is_valid_subject(subject) {
        let tokens = |text| str::split(text, '.').collect::<Vec<_>>();
        assert_eq!(
            matches(pattern, subject),
            naive_matches(&tokens(pattern), &tokens(subject)),
            "{pattern:?} {subject:?}"
        );
        assert!(matches(subject, subject) && matches(">", subject));
    }
});

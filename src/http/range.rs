//! Byte ranges (RFC 9110 §14): one range is served, several are answered with the whole.

/// What a `Range` header asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Everything: no range, or one we need not understand.
    Whole,
    /// The bytes from `start` to `end`, both included.
    Part {
        /// First byte.
        start: u64,
        /// Last byte.
        end: u64,
    },
    /// Nothing that exists.
    Unsatisfiable,
}

/// Reads a `Range` header for content of `length` bytes.
pub(crate) fn parse(header: &str, length: u64) -> Wanted {
    let Some(spec) = header.trim().strip_prefix("bytes=") else { return Wanted::Whole };
    let Some((first, last)) = spec.split_once('-') else { return Wanted::Whole };
    let (first, last) = (first.trim(), last.trim());
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if (!first.is_empty() && !digits(first)) || (!last.is_empty() && !digits(last)) {
        return Wanted::Whole;
    }
    // A number too large to hold is beyond the end of anything.
    let number = |text: &str| text.parse::<u64>().unwrap_or(u64::MAX);
    let (start, end) = match (first.is_empty(), last.is_empty()) {
        (true, true) => return Wanted::Whole,
        (true, false) => (length.saturating_sub(number(last)), if last == "0" { 0 } else { length.saturating_sub(1) }),
        (false, true) => (number(first), length.saturating_sub(1)),
        (false, false) if number(last) < number(first) => return Wanted::Whole,
        (false, false) => (number(first), number(last).min(length.saturating_sub(1))),
    };
    if start >= length || end < start { Wanted::Unsatisfiable } else { Wanted::Part { start, end } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_rfc_9110() {
        let part = |start, end| Wanted::Part { start, end };
        assert_eq!(parse("bytes=0-9", 100), part(0, 9));
        assert_eq!(parse("bytes=90-", 100), part(90, 99));
        assert_eq!(parse("bytes=-10", 100), part(90, 99));
        assert_eq!(parse("bytes=-1000", 100), part(0, 99));
        assert_eq!(parse("bytes=50-1000", 100), part(50, 99));
        assert_eq!(parse("bytes=100-", 100), Wanted::Unsatisfiable);
        assert_eq!(parse("bytes=99999999999999999999999-", 100), Wanted::Unsatisfiable);
        assert_eq!(parse("bytes=-0", 100), Wanted::Unsatisfiable);
        assert_eq!(parse("bytes=0-", 0), Wanted::Unsatisfiable);
        for whole in ["bytes=9-1", "bytes=a-b", "lines=1-2", "bytes=0-1,5-6", "bytes=-", "bytes=+1-2"] {
            assert_eq!(parse(whole, 100), Wanted::Whole, "{whole}");
        }
    }
}

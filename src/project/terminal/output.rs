//! All output of a session since its start, as far as anyone can still want it.
//!
//! Positions count bytes since the start of the session, so that they stay valid when old output is dropped. Two things want old
//! output: the *history*, which a new socket gets (§11.5, at most `limit` characters, counted as JavaScript counts them), and sockets
//! that have not got the newest output yet; for those at least [`BACKLOG_BYTES`] are kept.

use super::escape::safe_cut;

/// What is kept for sockets that lag behind, whatever the history's limit.
pub(super) const BACKLOG_BYTES: u64 = 1 << 20;
/// How many characters the history may exceed its limit by before it is cut (§11.5).
const SLACK_CHARS: usize = 1000;
/// Dropped bytes are moved out of memory when there are this many.
const COMPACT_BYTES: usize = 256 << 10;

/// The newest output.
#[derive(Debug)]
pub(super) struct Output {
    text: String,
    /// Position of the first byte of `text`.
    base: u64,
    /// Position of the first byte of the history.
    history: u64,
    /// Length of the history in UTF-16 units.
    history_chars: usize,
    /// Characters that were cut from the history since the start.
    omitted: usize,
    limit: usize,
}

impl Output {
    /// Nothing yet; the history will be cut to `limit` characters. With 0 there is no history.
    pub(super) fn new(limit: usize) -> Self {
        Output { text: String::new(), base: 0, history: 0, history_chars: 0, omitted: 0, limit }
    }

    /// The position after the newest byte.
    pub(super) fn end(&self) -> u64 {
        self.base + self.text.len() as u64
    }

    /// Takes new output.
    pub(super) fn push(&mut self, text: &str) {
        self.text.push_str(text);
        self.history_chars += chars(text);
        let allowed = if self.limit == 0 { 0 } else { self.limit + SLACK_CHARS };
        if self.history_chars > allowed {
            self.cut_history();
        }
        self.drop_unwanted();
    }

    /// The newest `limit` characters of the history at most, and how many older ones are missing before them.
    pub(super) fn history(&self, limit: usize) -> (&str, usize) {
        let history = self.text.get(self.offset(self.history)..).unwrap_or_default();
        if self.history_chars <= limit {
            return (history, self.omitted);
        }
        let excess = self.history_chars - limit;
        let cut = safe_cut(history, skip_chars(history, excess));
        let (before, after) = history.split_at_checked(cut).unwrap_or((history, ""));
        (after, self.omitted + chars(before))
    }

    /// At most `limit` bytes from `position` on, or from the oldest kept byte if that is gone; and the position after them.
    pub(super) fn piece(&self, position: u64, limit: usize) -> (&str, u64) {
        let from = self.text.ceil_char_boundary(self.offset(position));
        let to = self.text.floor_char_boundary((from + limit).min(self.text.len()));
        (self.text.get(from..to).unwrap_or_default(), self.base + to as u64)
    }

    /// A position from which to continue with the newest output, about `bytes` before the end: after a line's end if one is near.
    pub(super) fn near_end(&self, bytes: usize) -> u64 {
        let at = self.text.ceil_char_boundary(self.text.len().saturating_sub(bytes));
        let line = self.text.get(at..).and_then(|tail| {
            let near = tail.get(..tail.floor_char_boundary(bytes / 2)).unwrap_or(tail);
            near.find('\n')
        });
        let from = line.map_or_else(|| safe_cut(&self.text, at), |i| at + i + 1);
        self.base + from as u64
    }

    fn offset(&self, position: u64) -> usize {
        usize::try_from(position.saturating_sub(self.base)).unwrap_or(usize::MAX).min(self.text.len())
    }

    fn cut_history(&mut self) {
        let begin = self.offset(self.history);
        let history = self.text.get(begin..).unwrap_or_default();
        let excess = self.history_chars.saturating_sub(self.limit);
        let cut = safe_cut(history, skip_chars(history, excess));
        let dropped = chars(history.get(..cut).unwrap_or_default());
        self.history_chars -= dropped;
        self.omitted += dropped;
        self.history = self.base + (begin + cut) as u64;
    }

    fn drop_unwanted(&mut self) {
        let wanted = self.history.min(self.end().saturating_sub(BACKLOG_BYTES));
        let unwanted = self.text.floor_char_boundary(self.offset(wanted));
        if unwanted >= COMPACT_BYTES {
            self.text.drain(..unwanted);
            self.base += unwanted as u64;
        }
    }
}

/// Length of a text as JavaScript counts it.
fn chars(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.chars().map(char::len_utf16).sum() }
}

/// The byte behind the first `count` UTF-16 units, never inside a surrogate pair.
fn skip_chars(text: &str, count: usize) -> usize {
    if text.get(..count).is_some_and(str::is_ascii) {
        return count;
    }
    let mut left = count;
    let mut bytes = 0;
    for c in text.chars() {
        if left == 0 {
            break;
        }
        left = left.saturating_sub(c.len_utf16());
        bytes += c.len_utf8();
    }
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn history_is_cut_to_its_limit_after_the_slack() {
        let mut output = Output::new(2000);
        output.push(&"a".repeat(3000));
        assert_eq!(output.history(usize::MAX).0.len(), 3000);
        output.push("b");
        let (history, omitted) = output.history(usize::MAX);
        assert_eq!((history.len(), omitted), (2000, 1001));
        assert!(history.ends_with("ab"));
        assert_eq!(output.history(3), ("aab", 2998));
        assert_eq!(output.history(0), ("", 3001));
    }

    #[test]
    fn history_counts_as_javascript_does_and_splits_no_character() {
        let mut output = Output::new(1001);
        output.push(&"😀".repeat(1100));
        let (history, _) = output.history(usize::MAX);
        assert_eq!(chars(history), 1000);
        assert!(history.chars().all(|c| c == '😀'));
    }

    #[test]
    fn history_is_not_cut_inside_an_escape_sequence() {
        let mut output = Output::new(10);
        output.push(&"x".repeat(1000));
        output.push("\x1b[38;5;196mred\x1b[0m!");
        assert_eq!(output.history(usize::MAX).0, "red\x1b[0m!");
    }

    #[test]
    fn history_of_a_private_session_is_empty_but_output_is_kept_for_its_socket() {
        let mut output = Output::new(0);
        output.push("hello");
        assert_eq!(output.history(usize::MAX), ("", 5));
        assert_eq!(output.piece(0, 100), ("hello", 5));
    }

    #[test]
    fn output_pieces_follow_each_other_and_jump_over_what_is_gone() {
        let mut output = Output::new(100);
        output.push("one€two");
        assert_eq!(output.piece(0, 4), ("one", 3));
        assert_eq!(output.piece(3, 4), ("€t", 7));
        assert_eq!(output.piece(7, 100), ("wo", 9));
        assert_eq!(output.piece(9, 100), ("", 9));
        for _ in 0..5 {
            output.push(&"z".repeat(COMPACT_BYTES * 2));
        }
        let (piece, _) = output.piece(9, 10);
        assert_eq!(piece, "zzzzzzzzzz");
        assert!(output.text.len() as u64 <= BACKLOG_BYTES + COMPACT_BYTES as u64);
    }

    #[test]
    fn output_continues_at_a_line_near_the_end() {
        let mut output = Output::new(1000);
        output.push("first line\nsecond line\nthird line\n");
        assert_eq!(output.piece(output.near_end(20), 100).0, "third line\n");
        output.push(&"y".repeat(100));
        assert_eq!(output.piece(output.near_end(20), 100).0.len(), 20);
        assert_eq!(output.piece(output.near_end(1 << 20), 1000).0.len(), 100 + 23);
    }

    proptest! {
        #[test]
        fn output_history_and_pieces_agree_with_the_whole(
            parts in proptest::collection::vec("[a-z€😀\n]{0,60}", 0..60),
            limit in 1_usize..600,
        ) {
            let mut output = Output::new(limit);
            let mut whole = String::new();
            let mut read = String::new();
            let mut position = 0;
            for part in &parts {
                output.push(part);
                whole.push_str(part);
                let (piece, next) = output.piece(position, 17);
                read.push_str(piece);
                position = next;
            }
            while position < output.end() {
                let (piece, next) = output.piece(position, 17);
                read.push_str(piece);
                position = next;
            }
            prop_assert_eq!(&read, &whole);
            let (history, omitted) = output.history(usize::MAX);
            prop_assert!(whole.ends_with(history));
            prop_assert_eq!(omitted + chars(history), chars(&whole));
            prop_assert!(chars(history) <= limit + SLACK_CHARS);
        }
    }
}

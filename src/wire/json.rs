//! A validating JSON scanner that hands out pieces of the text it was given.
//!
//! The broker forwards JSON it does not care about, so it needs to know where a value ends and that it is well formed, not what
//! it says. The scanner keeps number formatting and unpaired surrogates (which a strict string type would refuse), never
//! recurses, and refuses nesting deeper than [`MAX_DEPTH`], because the decoders of receivers do recurse.

use std::borrow::Cow;

use thiserror::Error;

/// Deepest nesting of arrays and objects that is let through.
pub const MAX_DEPTH: u32 = 100;

/// Text that is not JSON, or nested too deeply.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Error {
    /// Not JSON; the byte where that was noticed.
    #[error("malformed JSON at byte {0}")]
    Malformed(usize),
    /// More than [`MAX_DEPTH`] arrays and objects inside each other.
    #[error("JSON nested more than {MAX_DEPTH} levels deep")]
    TooDeep,
}

/// Where a [`Raw`] is in the text it was scanned from, to come back to it without scanning again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    start: usize,
    end: usize,
    suspicious: bool,
}

impl Span {
    /// The value again. `text` has to be what was scanned; anything else gives a value that is not JSON, or an empty one.
    pub fn of(self, text: &str) -> Raw<'_> {
        Raw { text: text.get(self.start..self.end).unwrap_or_default(), start: self.start, suspicious: self.suspicious }
    }
}

/// One well-formed JSON value, as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Raw<'a> {
    text: &'a str,
    start: usize,
    suspicious: bool,
}

impl<'a> Raw<'a> {
    /// The text, without white space around it.
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// Where the text begins in what was scanned.
    pub fn start(&self) -> usize {
        self.start
    }

    /// Where the text ends in what was scanned.
    pub fn end(&self) -> usize {
        self.start + self.text.len()
    }

    /// Where it is.
    pub fn span(&self) -> Span {
        Span { start: self.start, end: self.end(), suspicious: self.suspicious }
    }

    /// Whether the value may contain a socket.io placeholder object: a string with `_placeholder` in it, or with an
    /// escape that could spell it.
    pub fn may_hold_placeholder(&self) -> bool {
        self.suspicious
    }

    /// The value if it is a string that Unicode can express.
    pub fn as_str(&self) -> Option<Cow<'a, str>> {
        let inner = self.text.strip_prefix('"')?.strip_suffix('"')?;
        if inner.contains('\\') {
            serde_json::from_str(self.text).ok().map(Cow::Owned)
        } else {
            Some(Cow::Borrowed(inner))
        }
    }

    /// The value if it is a non-negative integer.
    pub fn as_u64(&self) -> Option<u64> {
        self.text.parse().ok()
    }

    /// The value if it is a number.
    pub fn as_f64(&self) -> Option<f64> {
        if self.text.starts_with(|c: char| c == '-' || c.is_ascii_digit()) { self.text.parse().ok() } else { None }
    }

    /// Whether the value is an object.
    pub fn is_object(&self) -> bool {
        self.text.starts_with('{')
    }

    /// Whether the value is an array.
    pub fn is_array(&self) -> bool {
        self.text.starts_with('[')
    }

    /// Whether the value is `null`.
    pub fn is_null(&self) -> bool {
        self.text == "null"
    }

    /// Whether JavaScript would call the value true.
    pub fn is_truthy(&self) -> bool {
        !matches!(self.text, "null" | "false" | "\"\"") && self.as_f64() != Some(0.0)
    }

    /// The elements if it is an array.
    pub fn elements(&self) -> Option<Elements<'a>> {
        self.is_array().then_some(Elements { scanner: Scanner { text: self.text, at: 1 }, first: true })
    }

    /// The value of the first field with this name if it is an object.
    pub fn field(&self, name: &str) -> Option<Raw<'a>> {
        self.fields().find_map(|(key, value)| (key.as_str().as_deref() == Some(name)).then_some(value))
    }

    /// Names and values if it is an object; nothing otherwise.
    pub fn fields(&self) -> Fields<'a> {
        Fields { scanner: Scanner { text: self.text, at: 1 }, first: true, done: !self.is_object() }
    }
}

/// Elements of an array that was found well formed.
#[derive(Clone, Debug)]
pub struct Elements<'a> {
    scanner: Scanner<'a>,
    first: bool,
}

impl<'a> Iterator for Elements<'a> {
    type Item = Raw<'a>;

    fn next(&mut self) -> Option<Raw<'a>> {
        self.scanner.next_element(&mut self.first).ok().flatten()
    }
}

/// Fields of an object that was found well formed.
pub struct Fields<'a> {
    scanner: Scanner<'a>,
    first: bool,
    done: bool,
}

impl<'a> Iterator for Fields<'a> {
    type Item = (Raw<'a>, Raw<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let scanner = &mut self.scanner;
        scanner.skip_space();
        if scanner.peek() == Some(b'}') {
            self.done = true;
            return None;
        }
        if !std::mem::take(&mut self.first) {
            scanner.expect(b',').ok()?;
        }
        let key = scanner.value().ok()?;
        scanner.skip_space();
        scanner.expect(b':').ok()?;
        Some((key, scanner.value().ok()?))
    }
}

/// Reads values from the front of a text.
#[derive(Clone, Debug)]
pub struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    /// Starts at the beginning of a text.
    pub fn new(text: &'a str) -> Scanner<'a> {
        Scanner { text, at: 0 }
    }

    /// Steps into an array.
    ///
    /// # Errors
    /// What follows is not an array.
    pub fn open_array(&mut self) -> Result<(), Error> {
        self.skip_space();
        self.expect(b'[')
    }

    /// The next element of the array that was opened, or `None` after the closing bracket. `first` says whether an
    /// element was read before and is kept by the caller.
    ///
    /// # Errors
    /// The text is not JSON.
    pub fn next_element(&mut self, first: &mut bool) -> Result<Option<Raw<'a>>, Error> {
        self.skip_space();
        if self.peek() == Some(b']') && *first {
            self.at += 1;
            return Ok(None);
        }
        if !std::mem::take(first) {
            match self.peek() {
                Some(b']') => {
                    self.at += 1;
                    return Ok(None);
                }
                _ => self.expect(b',')?,
            }
        }
        self.value().map(Some)
    }

    /// Steps over a piece of text; tells whether it was there.
    pub fn skip(&mut self, piece: &str) -> bool {
        let found = self.text.as_bytes().get(self.at..).is_some_and(|rest| rest.starts_with(piece.as_bytes()));
        self.at += if found { piece.len() } else { 0 };
        found
    }

    /// How far it has come.
    pub fn at(&self) -> usize {
        self.at
    }

    /// Reads a value that is a string, without white space before it.
    ///
    /// # Errors
    /// The text is no JSON string.
    pub fn string_value(&mut self) -> Result<Raw<'a>, Error> {
        let (start, mut suspicious) = (self.at, false);
        self.string(&mut suspicious)?;
        let text = self.text.get(start..self.at).ok_or(Error::Malformed(start))?;
        Ok(Raw { text, start, suspicious })
    }

    /// Checks that nothing but white space is left.
    ///
    /// # Errors
    /// Something is left.
    pub fn finish(mut self) -> Result<(), Error> {
        self.skip_space();
        if self.at == self.text.len() { Ok(()) } else { Err(Error::Malformed(self.at)) }
    }

    /// Reads one value of any kind.
    ///
    /// # Errors
    /// The text is not JSON, or nested too deeply.
    pub fn value(&mut self) -> Result<Raw<'a>, Error> {
        self.skip_space();
        let start = self.at;
        let mut suspicious = false;
        // One bit per open bracket: 1 for an object.
        let mut kinds: u128 = 0;
        let mut depth: u32 = 0;
        loop {
            self.skip_space();
            let byte = self.peek().ok_or(Error::Malformed(self.at))?;
            match byte {
                b'{' | b'[' => {
                    self.at += 1;
                    if depth == MAX_DEPTH {
                        return Err(Error::TooDeep);
                    }
                    depth += 1;
                    kinds = (kinds << 1) | u128::from(byte == b'{');
                    self.skip_space();
                    let close = if byte == b'{' { b'}' } else { b']' };
                    if self.peek() != Some(close) {
                        if byte == b'{' {
                            self.key(&mut suspicious)?;
                        }
                        continue;
                    }
                }
                b'"' => self.string(&mut suspicious)?,
                b't' => self.literal("true")?,
                b'f' => self.literal("false")?,
                b'n' => self.literal("null")?,
                _ => self.number()?,
            }
            // A value has ended, or an empty array or object is about to: close what closes.
            loop {
                if depth == 0 {
                    let text = self.text.get(start..self.at).ok_or(Error::Malformed(start))?;
                    return Ok(Raw { text, start, suspicious });
                }
                self.skip_space();
                let object = kinds & 1 == 1;
                match self.peek() {
                    Some(b'}') if object => {}
                    Some(b']') if !object => {}
                    Some(b',') => {
                        self.at += 1;
                        if object {
                            self.skip_space();
                            self.key(&mut suspicious)?;
                        }
                        break;
                    }
                    _ => return Err(Error::Malformed(self.at)),
                }
                self.at += 1;
                kinds >>= 1;
                depth -= 1;
            }
        }
    }

    fn key(&mut self, suspicious: &mut bool) -> Result<(), Error> {
        self.string(suspicious)?;
        self.skip_space();
        self.expect(b':')
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn expect(&mut self, byte: u8) -> Result<(), Error> {
        if self.peek() == Some(byte) {
            self.at += 1;
            Ok(())
        } else {
            Err(Error::Malformed(self.at))
        }
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn literal(&mut self, word: &str) -> Result<(), Error> {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        if rest.starts_with(word.as_bytes()) {
            self.at += word.len();
            Ok(())
        } else {
            Err(Error::Malformed(self.at))
        }
    }

    fn digits(&mut self) -> Result<(), Error> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start { Err(Error::Malformed(start)) } else { Ok(()) }
    }

    fn number(&mut self) -> Result<(), Error> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    fn string(&mut self, suspicious: &mut bool) -> Result<(), Error> {
        self.expect(b'"')?;
        let start = self.at;
        let bytes = self.text.as_bytes();
        loop {
            let rest = bytes.get(self.at..).unwrap_or_default();
            let step = ordinary(rest);
            self.at += step;
            match rest.get(step) {
                Some(b'"') => break,
                Some(b'\\') => self.escape(suspicious)?,
                _ => return Err(Error::Malformed(self.at)),
            }
        }
        if bytes.get(start) == Some(&b'_') && bytes.get(start..self.at) == Some(b"_placeholder") {
            *suspicious = true;
        }
        self.at += 1;
        Ok(())
    }

    fn escape(&mut self, suspicious: &mut bool) -> Result<(), Error> {
        self.at += 1;
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
            Some(b'u') => {
                self.at += 1;
                let digits = self.text.as_bytes().get(self.at..self.at + 4).ok_or(Error::Malformed(self.at))?;
                if !digits.iter().all(u8::is_ascii_hexdigit) {
                    return Err(Error::Malformed(self.at));
                }
                // Only an escape of an ASCII character can be part of a disguised `_placeholder`.
                *suspicious |= digits.starts_with(b"00");
                self.at += 4;
            }
            _ => return Err(Error::Malformed(self.at)),
        }
        Ok(())
    }
}

/// How many bytes a string goes on before a quote, a backslash or a control character.
fn ordinary(bytes: &[u8]) -> usize {
    /// A byte in all eight places.
    const fn all(byte: u8) -> u64 {
        u64::from_ne_bytes([byte; 8])
    }
    let (words, rest) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        // The lowest high bit that is set marks the first byte that is less than the number; what is above may be wrong.
        let less = |word: u64, number: u8| word.wrapping_sub(all(number)) & !word;
        let found = less(word, 0x20) | less(word ^ all(b'"'), 1) | less(word ^ all(b'\\'), 1);
        let found = found & all(0x80);
        if found != 0 {
            return index * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    let is_special = |b: &u8| *b == b'"' || *b == b'\\' || *b < 0x20;
    bytes.len() - rest.len() + rest.iter().position(is_special).unwrap_or(rest.len())
}

/// Appends a text as a JSON string, quotes included.
pub fn push_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let clean = text.bytes().all(|b| b >= 0x20 && b != b'"' && b != b'\\');
    if clean {
        out.extend_from_slice(text.as_bytes());
    } else {
        for c in text.chars() {
            match c {
                '"' => out.extend_from_slice(b"\\\""),
                '\\' => out.extend_from_slice(b"\\\\"),
                c if u32::from(c) < 0x20 => out.extend_from_slice(format!("\\u{:04x}", u32::from(c)).as_bytes()),
                c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::de::IgnoredAny;

    use super::*;

    fn accepts(text: &str) -> bool {
        let mut scanner = Scanner::new(text);
        scanner.value().and_then(|_| scanner.finish()).is_ok()
    }

    #[test]
    fn finds_the_pieces_of_an_array() {
        let mut scanner = Scanner::new(r#" ["publish", ["a.b", "id", 0,1 , {"x":[]}]] "#);
        let mut first = true;
        scanner.open_array().unwrap();
        assert_eq!(scanner.next_element(&mut first).unwrap().unwrap().as_str().unwrap(), "publish");
        let array = scanner.next_element(&mut first).unwrap().unwrap();
        let texts: Vec<_> = array.elements().unwrap().map(|e| e.text()).collect();
        assert_eq!(texts, [r#""a.b""#, r#""id""#, "0", "1", r#"{"x":[]}"#]);
        assert_eq!(scanner.next_element(&mut first).unwrap(), None);
        scanner.finish().unwrap();
    }

    #[test]
    fn refuses_what_is_not_json() {
        for text in [
            "",
            "[",
            "]",
            "[1,]",
            "{\"a\"}",
            "{\"a\":}",
            "{,}",
            "[1 2]",
            "01",
            "1.",
            "-",
            "\"\u{1}\"",
            "\"\\x\"",
            "tru",
            "[1]]",
            "{1:2}",
        ] {
            assert!(!accepts(text), "{text:?}");
        }
    }

    #[test]
    fn keeps_unpaired_surrogates_and_refuses_deep_nesting() {
        assert!(accepts(r#"{"a":"\ud800"}"#));
        let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(accepts(&deep(MAX_DEPTH as usize)));
        assert!(!accepts(&deep(MAX_DEPTH as usize + 1)));
    }

    #[test]
    fn notices_possible_placeholders() {
        let suspicious = |text| Scanner::new(text).value().unwrap().may_hold_placeholder();
        assert!(suspicious(r#"{"_placeholder":true,"num":0}"#));
        assert!(suspicious(r#"[{"\u005fplaceholder":true}]"#));
        assert!(!suspicious(r#"{"placeholder":"\ud83d\ude00"}"#));
    }

    proptest! {
        #[test]
        fn agrees_with_serde_json(text in r#"[\[\]{}",:0-9a-z\\ .eE+-]{0,24}"#) {
            prop_assert_eq!(accepts(&text), serde_json::from_str::<IgnoredAny>(&text).is_ok());
        }

        #[test]
        fn strings_survive(text in any::<String>()) {
            let mut out = Vec::new();
            push_string(&mut out, &text);
            let json = String::from_utf8(out).unwrap();
            prop_assert!(accepts(&json));
            let mut scanner = Scanner::new(&json);
            let raw = scanner.value().unwrap();
            prop_assert_eq!(raw.as_str().unwrap(), text.as_str());
        }
    }
}

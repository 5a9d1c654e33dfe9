//! What blobs are called (hub.md §5.1).

use std::{fmt, sync::Arc};

use sha1::{Digest as _, Sha1};

/// Length of an identifier.
const LENGTH: usize = 36;

/// The name of a blob: a UUID made of the SHA-1 of its content.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identifier(Arc<str>);

impl Identifier {
    /// The identifier of this content.
    pub fn of(content: &[u8]) -> Identifier {
        Identifier::from_sha1(Sha1::digest(content).into())
    }

    /// The identifier of content with this SHA-1.
    pub fn from_sha1(digest: [u8; 20]) -> Identifier {
        let digits = hex::encode(digest);
        let mut digits = digits.chars();
        let mut next = || digits.next().unwrap_or('0');
        let mut text = String::with_capacity(LENGTH);
        for place in "xxxxxxxx-xxxx-4xxx-yxxx-xxxxxxxxxxxx".chars() {
            text.push(match place {
                'x' => next(),
                'y' => {
                    let digit = next().to_digit(16).unwrap_or(0);
                    char::from_digit(digit & 3 | 8, 16).unwrap_or('8')
                }
                literal => literal,
            });
        }
        Identifier(text.into())
    }

    /// Reads an identifier as it stands in a link: a UUID in its usual form.
    pub fn parse(text: &str) -> Option<Identifier> {
        let is_uuid = text.len() == LENGTH && uuid::Uuid::try_parse(text).is_ok();
        is_uuid.then(|| Identifier(text.to_ascii_lowercase().into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text, as a key of the store.
    pub(super) fn key(&self) -> Arc<str> {
        self.0.clone()
    }
}

impl fmt::Display for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hub_044_identifiers_of_the_table() {
        for (content, identifier) in [
            (&b"a"[..], "86f7e437-faa5-4a7f-8e15-d1ddcb9eaeae"),
            (b"CoCalc\n", "5afbb97e-6ae3-489a-99ec-247c09f2d6f7"),
            (b"hello blob\n", "1074662c-1c63-499e-bb9e-b2617d3ad2c5"),
            (&[0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a], "4caece53-9b03-49b1-ae16-206ea2478f8c"),
            (b"", "da39a3ee-5e6b-44b0-9325-5bfef9560189"),
        ] {
            assert_eq!(Identifier::of(content).as_str(), identifier);
        }
    }

    #[test]
    fn what_is_no_uuid_is_no_identifier() {
        for text in ["", "x", "1074662c1c63499ebb9eb2617d3ad2c5", "{1074662c-1c63-499e-bb9e-b2617d3ad2c5}", "../../etc"]
        {
            assert_eq!(Identifier::parse(text), None, "{text}");
        }
        let upper = Identifier::parse("1074662C-1C63-499E-BB9E-B2617D3AD2C5").unwrap();
        assert_eq!(upper, Identifier::of(b"hello blob\n"));
    }

    proptest! {
        #[test]
        fn every_content_has_an_identifier_that_can_be_read_back(content: Vec<u8>) {
            let identifier = Identifier::of(&content);
            prop_assert_eq!(Identifier::parse(identifier.as_str()), Some(identifier));
        }
    }
}

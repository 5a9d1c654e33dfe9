//! socket.io v5 packets on the default namespace (conat-wire.md §§2.4–2.6).

use thiserror::Error;

use super::json::{self, Raw, Scanner};

/// Most attachments a packet may have; recent stock parsers refuse more (§2.5).
pub const MAX_ATTACHMENTS: usize = 10;

/// What a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `0`
    Connect,
    /// `1`
    Disconnect,
    /// `2`, or `5` with attachments
    Event,
    /// `3`, or `6` with attachments
    Ack,
    /// `4`
    ConnectError,
}

/// A packet's text part taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// What it is.
    pub kind: Kind,
    /// How many binary messages follow.
    pub attachments: usize,
    /// The namespace, `/` unless written.
    pub namespace: &'a str,
    /// The ack id.
    pub id: Option<u64>,
    /// Where the JSON begins in the text that was decoded.
    pub data_start: usize,
    /// The JSON, possibly empty; not checked yet.
    pub data: &'a str,
}

/// Text that is no packet; the connection that sent it is closed (§2.9).
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Error {
    /// The type digit is not one of 0–6.
    #[error("unknown socket.io packet type")]
    UnknownType,
    /// The number of attachments is missing, zero-padded nonsense or not followed by `-`.
    #[error("malformed attachment count")]
    AttachmentCount,
    /// More than [`MAX_ATTACHMENTS`].
    #[error("more than {MAX_ATTACHMENTS} attachments")]
    TooManyAttachments,
    /// The ack id does not fit 64 bits.
    #[error("malformed acknowledgement id")]
    AckId,
    /// The JSON is malformed or nested too deeply.
    #[error(transparent)]
    Json(#[from] json::Error),
    /// The JSON is not what this type of packet carries.
    #[error("the JSON is not what this packet carries")]
    Shape,
}

fn take_digits<'a>(text: &'a str, at: &mut usize) -> &'a str {
    let rest = text.get(*at..).unwrap_or_default();
    let end = rest.bytes().position(|b| !b.is_ascii_digit()).unwrap_or(rest.len());
    *at += end;
    rest.get(..end).unwrap_or_default()
}

impl<'a> Packet<'a> {
    /// Takes the text of an engine.io message apart.
    ///
    /// # Errors
    /// The text is no packet.
    pub fn decode(text: &'a str) -> Result<Packet<'a>, Error> {
        let (kind, binary) = match text.as_bytes().first() {
            Some(b'0') => (Kind::Connect, false),
            Some(b'1') => (Kind::Disconnect, false),
            Some(b'2') => (Kind::Event, false),
            Some(b'3') => (Kind::Ack, false),
            Some(b'4') => (Kind::ConnectError, false),
            Some(b'5') => (Kind::Event, true),
            Some(b'6') => (Kind::Ack, true),
            _ => return Err(Error::UnknownType),
        };
        let mut at = 1;
        let mut attachments = 0;
        if binary {
            attachments = take_digits(text, &mut at).parse().map_err(|_| Error::AttachmentCount)?;
            if text.as_bytes().get(at) != Some(&b'-') {
                return Err(Error::AttachmentCount);
            }
            at += 1;
            if attachments > MAX_ATTACHMENTS {
                return Err(Error::TooManyAttachments);
            }
        }
        let mut namespace = "/";
        let rest = text.get(at..).unwrap_or_default();
        if rest.starts_with('/') {
            let end = rest.find(',').unwrap_or(rest.len());
            namespace = rest.get(..end).unwrap_or_default();
            at = (at + end + 1).min(text.len());
        }
        let digits = take_digits(text, &mut at);
        let id = if digits.is_empty() { None } else { Some(digits.parse().map_err(|_| Error::AckId)?) };
        let data = text.get(at..).unwrap_or_default();
        Ok(Packet { kind, attachments, namespace, id, data_start: at, data })
    }

    /// Name and arguments of an event.
    ///
    /// # Errors
    /// The JSON is malformed, or no array that begins with a string.
    pub fn event(&self) -> Result<Event<'a>, Error> {
        let mut scanner = Scanner::new(self.data);
        let mut first = true;
        scanner.open_array()?;
        let name = scanner.next_element(&mut first)?.ok_or(Error::Shape)?;
        let argument = scanner.next_element(&mut first)?;
        // Arguments beyond the first have no meaning on this bus, but have to be JSON all the same.
        while argument.is_some() && scanner.next_element(&mut first)?.is_some() {}
        scanner.finish()?;
        if !name.text().starts_with('"') {
            return Err(Error::Shape);
        }
        Ok(Event { name, argument })
    }

    /// The first argument of an acknowledgement, if there is one.
    ///
    /// # Errors
    /// The JSON is malformed or no array.
    pub fn ack_argument(&self) -> Result<Option<Raw<'a>>, Error> {
        let mut scanner = Scanner::new(self.data);
        let mut first = true;
        scanner.open_array()?;
        let argument = scanner.next_element(&mut first)?;
        while argument.is_some() && scanner.next_element(&mut first)?.is_some() {}
        scanner.finish()?;
        Ok(argument)
    }
}

/// An event: its name and its first argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// The name, a JSON string.
    pub name: Raw<'a>,
    /// The first argument.
    pub argument: Option<Raw<'a>>,
}

/// Checks that the placeholders in a value are exactly the numbers `0..attachments`, each at least once and none beyond.
/// Receivers' decoders close their connection over a number that has no attachment, so it must not get that far.
pub fn placeholders_are_sound(value: Raw<'_>, attachments: usize) -> bool {
    if !value.may_hold_placeholder() {
        return attachments == 0;
    }
    let Ok(tree) = serde_json::from_str::<serde_json::Value>(value.text()) else {
        return false;
    };
    let mut seen = [false; MAX_ATTACHMENTS];
    mark_placeholders(&tree, &mut seen, attachments) && seen.iter().take(attachments).all(|&s| s)
}

fn mark_placeholders(value: &serde_json::Value, seen: &mut [bool; MAX_ATTACHMENTS], attachments: usize) -> bool {
    use serde_json::Value;
    match value {
        Value::Array(items) => items.iter().all(|v| mark_placeholders(v, seen, attachments)),
        Value::Object(map) if map.get("_placeholder") == Some(&Value::Bool(true)) => {
            let number = map.get("num").and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
            match number {
                Some(n) if n < attachments.min(MAX_ATTACHMENTS) => {
                    if let Some(slot) = seen.get_mut(n) {
                        *slot = true;
                    }
                    true
                }
                _ => false,
            }
        }
        Value::Object(map) => map.values().all(|v| mark_placeholders(v, seen, attachments)),
        _ => true,
    }
}

/// Number of placeholder objects in a value.
pub fn count_placeholders(value: &serde_json::Value) -> usize {
    use serde_json::Value;
    match value {
        Value::Array(items) => items.iter().map(count_placeholders).sum(),
        Value::Object(map) if map.get("_placeholder") == Some(&Value::Bool(true)) => 1,
        Value::Object(map) => map.values().map(count_placeholders).sum(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_recorded_packets_apart() {
        let packet =
            Packet::decode(r#"51-2["publish",["golden.foo","7ysLRq46Jr",0,1,0,{"_placeholder":true,"num":0}]]"#)
                .unwrap();
        assert_eq!((packet.kind, packet.attachments, packet.id), (Kind::Event, 1, Some(2)));
        let event = packet.event().unwrap();
        assert_eq!(event.name.as_str().unwrap(), "publish");
        assert!(event.argument.unwrap().is_array());

        let packet = Packet::decode("0/foo,").unwrap();
        assert_eq!((packet.kind, packet.namespace, packet.data), (Kind::Connect, "/foo", ""));
        let packet = Packet::decode(r#"0{"browser_id":"x"}"#).unwrap();
        assert_eq!((packet.namespace, packet.data), ("/", r#"{"browser_id":"x"}"#));
        let packet = Packet::decode("36[]").unwrap();
        assert_eq!((packet.kind, packet.id, packet.ack_argument().unwrap()), (Kind::Ack, Some(6), None));
    }

    #[test]
    fn refuses_what_would_hurt() {
        assert_eq!(Packet::decode("599-[]"), Err(Error::TooManyAttachments));
        assert_eq!(Packet::decode("5[]"), Err(Error::AttachmentCount));
        assert_eq!(Packet::decode("51[]"), Err(Error::AttachmentCount));
        assert_eq!(Packet::decode("299999999999999999999999[]"), Err(Error::AckId));
        assert_eq!(Packet::decode("9"), Err(Error::UnknownType));
        assert!(Packet::decode("2[1]").unwrap().event().is_err());
        assert!(Packet::decode("2{}").unwrap().event().is_err());
    }

    #[test]
    fn placeholders_must_match_the_attachments() {
        let check = |text: &str, n| placeholders_are_sound(Scanner::new(text).value().unwrap(), n);
        assert!(check("[1]", 0));
        assert!(!check("[1]", 1));
        assert!(check(r#"[{"_placeholder":true,"num":0}]"#, 1));
        assert!(!check(r#"[{"_placeholder":true,"num":1}]"#, 1));
        assert!(!check(r#"[{"_placeholder":true,"num":0},{"_placeholder":true,"num":5}]"#, 1));
        assert!(!check(r#"[{"_placeholder":true,"num":-1}]"#, 1));
        assert!(!check(r#"[{"\u005fplaceholder":true,"num":7}]"#, 1));
    }
}

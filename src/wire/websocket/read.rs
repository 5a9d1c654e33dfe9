//! Frames of clients, taken apart and unmasked where they were read (RFC 6455 §§5.2–5.5).
//!
//! Nothing here waits, copies an unfragmented message, or sets memory aside for a length that a peer merely claims.

use std::ops::Range;

use thiserror::Error;

/// Why bytes are nothing a client may send.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Error {
    /// No extension was agreed on that would give these bits a meaning.
    #[error("reserved bits are set")]
    ReservedBits,
    /// An opcode without meaning.
    #[error("unknown opcode {0}")]
    UnknownOpcode(u8),
    /// Clients have to mask.
    #[error("the frame is not masked")]
    NotMasked,
    /// A control frame may neither be fragmented nor have more than 125 bytes.
    #[error("malformed control frame")]
    Control,
    /// A continuation of nothing, or a new message inside another one.
    #[error("fragments out of order")]
    Fragments,
    /// A close frame with half a code, or a reason that is not UTF-8.
    #[error("malformed close frame")]
    Close,
    /// The message is larger than allowed.
    #[error("the message is too large")]
    TooLarge,
}

/// What stands at the front of the bytes that were read.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Not all of a frame; it is at least that many bytes long.
    Incomplete(usize),
    /// A frame of that many bytes, and what it says.
    Frame(usize, Event),
}

/// What a frame says. Ranges are relative to the frame's first byte.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// A whole message.
    Message(Kind, Range<usize>),
    /// The last fragment of a message, which is here in one piece.
    Joined(Kind, Vec<u8>),
    /// A fragment that is not the last.
    Fragment,
    /// A ping, to be answered with the same bytes.
    Ping(Range<usize>),
    /// A pong.
    Pong,
    /// The end.
    Close(Range<usize>),
}

/// What kind a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// UTF-8, which was not checked.
    Text,
    /// Bytes.
    Binary,
}

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

const MAX_CONTROL_BYTES: usize = 125;

/// The head of a frame.
struct Head {
    last: bool,
    opcode: u8,
    key: [u8; 4],
    /// Where the payload begins and ends.
    payload: Range<usize>,
}

/// Takes a head apart, or says how many bytes it has at least.
fn head(bytes: &[u8], max_payload: usize) -> Result<Result<Head, usize>, Error> {
    const SHORTEST: usize = 6;
    let Some(&[first, second]) = bytes.first_chunk::<2>() else { return Ok(Err(SHORTEST)) };
    if first & 0x70 != 0 {
        return Err(Error::ReservedBits);
    }
    let (last, opcode) = (first & 0x80 != 0, first & 0xf);
    if !matches!(opcode, CONTINUATION | TEXT | BINARY | CLOSE | PING | PONG) {
        return Err(Error::UnknownOpcode(opcode));
    }
    if second & 0x80 == 0 {
        return Err(Error::NotMasked);
    }
    let short = usize::from(second & 0x7f);
    if opcode >= CLOSE && (!last || short > MAX_CONTROL_BYTES) {
        return Err(Error::Control);
    }
    let (start, len) = match short {
        126 => match bytes.get(2..).and_then(<[u8]>::first_chunk) {
            Some(len) => (8, u64::from(u16::from_be_bytes(*len))),
            None => return Ok(Err(SHORTEST + 2)),
        },
        127 => match bytes.get(2..).and_then(<[u8]>::first_chunk) {
            Some(len) => (14, u64::from_be_bytes(*len)),
            None => return Ok(Err(SHORTEST + 8)),
        },
        len => (6, len as u64),
    };
    // Before anything is done about the length.
    let len = usize::try_from(len).ok().filter(|len| *len <= max_payload).ok_or(Error::TooLarge)?;
    let Some(key) = bytes.get(start - 4..).and_then(<[u8]>::first_chunk) else { return Ok(Err(start + len)) };
    Ok(Ok(Head { last, opcode, key: *key, payload: start..start + len }))
}

/// Takes the mask off, or puts it on.
fn unmask(bytes: &mut [u8], key: [u8; 4]) {
    let [a, b, c, d] = key;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (chunks, rest) = bytes.as_chunks_mut::<8>();
    for chunk in chunks {
        *chunk = (u64::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip([a, b, c, d, a, b, c]) {
        *byte ^= key;
    }
}

/// A message of which fragments have come.
#[derive(Debug)]
struct Partial {
    kind: Kind,
    payload: Vec<u8>,
}

/// Reads the frames of one client.
#[derive(Debug)]
pub struct Reader {
    max_payload: usize,
    partial: Option<Partial>,
}

impl Reader {
    /// A reader of messages up to so many bytes.
    pub fn new(max_payload: usize) -> Reader {
        Reader { max_payload, partial: None }
    }

    /// Takes the first frame of `bytes`, whose payload is unmasked where it is. Nothing is changed as long as it is incomplete.
    ///
    /// # Errors
    /// No client may send this. Reading on makes no sense.
    pub fn next(&mut self, bytes: &mut [u8]) -> Result<Step, Error> {
        let head = match head(bytes, self.max_payload)? {
            Ok(head) => head,
            Err(len) => return Ok(Step::Incomplete(len)),
        };
        let (start, end) = (head.payload.start, head.payload.end);
        match (head.opcode, &self.partial) {
            (CONTINUATION, None) | (TEXT | BINARY, Some(_)) => return Err(Error::Fragments),
            (CONTINUATION, Some(partial)) if partial.payload.len() + (end - start) > self.max_payload => {
                return Err(Error::TooLarge);
            }
            _ => {}
        }
        let Some(payload) = bytes.get_mut(head.payload.clone()) else { return Ok(Step::Incomplete(end)) };
        unmask(payload, head.key);
        let kind = if head.opcode == TEXT { Kind::Text } else { Kind::Binary };
        let event = match head.opcode {
            PING => Event::Ping(head.payload),
            PONG => Event::Pong,
            CLOSE => {
                close_code(payload)?;
                Event::Close(head.payload)
            }
            TEXT | BINARY if head.last => Event::Message(kind, head.payload),
            _ => {
                let partial = self.partial.get_or_insert_with(|| Partial { kind, payload: Vec::new() });
                partial.payload.extend_from_slice(payload);
                match self.partial.take_if(|_| head.last) {
                    Some(Partial { kind, payload }) => Event::Joined(kind, payload),
                    None => Event::Fragment,
                }
            }
        };
        Ok(Step::Frame(end, event))
    }

    /// Takes the first frame if it is a whole binary message, all of which is there: its length and its payload. Otherwise
    /// nothing happens, and [`Reader::next`] tells what there is.
    pub fn next_binary<'a>(&mut self, bytes: &'a mut [u8]) -> Option<(usize, &'a [u8])> {
        let head = head(bytes, self.max_payload).ok()?.ok()?;
        if !head.last || head.opcode != BINARY || self.partial.is_some() {
            return None;
        }
        let end = head.payload.end;
        let payload = bytes.get_mut(head.payload)?;
        unmask(payload, head.key);
        Some((end, payload))
    }
}

/// The status code in a close frame, if there is one.
///
/// # Errors
/// The payload is half a code, or the reason behind it is not UTF-8.
pub fn close_code(payload: &[u8]) -> Result<Option<u16>, Error> {
    match payload.split_first_chunk() {
        None if payload.is_empty() => Ok(None),
        Some((code, reason)) if std::str::from_utf8(reason).is_ok() => Ok(Some(u16::from_be_bytes(*code))),
        _ => Err(Error::Close),
    }
}

/// Whether a status code may stand in a close frame (§7.4).
pub fn is_close_code(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

#[cfg(test)]
mod tests {
    use std::io::{self, Cursor, Read, Write};

    use proptest::prelude::*;
    use tokio_tungstenite::tungstenite::{
        Message, WebSocket,
        protocol::{Role, WebSocketConfig},
    };

    use super::*;

    const MAX_PAYLOAD: usize = 70_000;

    /// A client's frame.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        super::super::push_head(&mut out, super::super::Opcode::Text, payload.len());
        out[0] = first;
        out[1] |= 0x80;
        let key = [7, 0, 0xff, 0x55];
        out.extend_from_slice(&key);
        let start = out.len();
        out.extend_from_slice(payload);
        out[start..].iter_mut().zip(key.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
        out
    }

    #[derive(Debug, PartialEq)]
    enum Said {
        Text(Vec<u8>),
        Binary(Vec<u8>),
        Ping(Vec<u8>),
        Pong,
        Close,
    }

    /// What a reader hears when the bytes come in pieces that long, and whether it ends with an error.
    fn read(bytes: &[u8], piece: usize) -> (Vec<Said>, bool) {
        let (mut reader, mut said, mut buffer) = (Reader::new(MAX_PAYLOAD), Vec::new(), Vec::new());
        let mut wanted = 0;
        for piece in bytes.chunks(piece) {
            buffer.extend_from_slice(piece);
            loop {
                let before = buffer.clone();
                let (len, event) = match reader.next(&mut buffer) {
                    Ok(Step::Frame(len, event)) => (len, event),
                    Ok(Step::Incomplete(len)) => {
                        assert!(len > buffer.len(), "{len} bytes are there");
                        assert_eq!(buffer, before);
                        wanted = len;
                        break;
                    }
                    Err(_) => return (said, true),
                };
                assert!(len >= wanted, "more was wanted than there is to the frame");
                wanted = 0;
                let payload = |range: Range<usize>| buffer[range].to_vec();
                match event {
                    Event::Message(Kind::Text, range) => said.push(Said::Text(payload(range))),
                    Event::Message(Kind::Binary, range) => {
                        let mut again = before.clone();
                        let found =
                            Reader::new(MAX_PAYLOAD).next_binary(&mut again).map(|(n, bytes)| (n, bytes.to_vec()));
                        assert_eq!(found, Some((len, payload(range.clone()))));
                        said.push(Said::Binary(payload(range)));
                    }
                    Event::Joined(Kind::Text, text) => said.push(Said::Text(text)),
                    Event::Joined(Kind::Binary, bytes) => said.push(Said::Binary(bytes)),
                    Event::Ping(range) => said.push(Said::Ping(payload(range))),
                    Event::Pong => said.push(Said::Pong),
                    Event::Fragment => {}
                    Event::Close(_) => {
                        said.push(Said::Close);
                        return (said, false);
                    }
                }
                // Sessions close over text that is not UTF-8.
                if matches!(said.last(), Some(Said::Text(text)) if std::str::from_utf8(text).is_err()) {
                    said.pop();
                    return (said, true);
                }
                buffer.drain(..len);
            }
        }
        (said, false)
    }

    /// A peer that has said everything and hears nothing.
    struct Recorded(Cursor<Vec<u8>>);

    impl Read for Recorded {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            match self.0.read(out)? {
                0 => Err(io::ErrorKind::WouldBlock.into()),
                n => Ok(n),
            }
        }
    }

    impl Write for Recorded {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What tungstenite hears.
    fn reference(bytes: &[u8]) -> (Vec<Said>, bool) {
        let config = WebSocketConfig::default().max_message_size(Some(MAX_PAYLOAD)).max_frame_size(Some(MAX_PAYLOAD));
        let peer = Recorded(Cursor::new(bytes.to_vec()));
        let mut socket = WebSocket::from_raw_socket(peer, Role::Server, Some(config));
        let mut said = Vec::new();
        loop {
            match socket.read() {
                Ok(Message::Text(text)) => said.push(Said::Text(text.as_bytes().to_vec())),
                Ok(Message::Binary(bytes)) => said.push(Said::Binary(bytes.to_vec())),
                Ok(Message::Ping(bytes)) => said.push(Said::Ping(bytes.to_vec())),
                Ok(Message::Pong(_)) => said.push(Said::Pong),
                Ok(Message::Frame(_)) => {}
                Ok(Message::Close(_)) => {
                    said.push(Said::Close);
                    return (said, false);
                }
                Err(tokio_tungstenite::tungstenite::Error::Io(error)) => {
                    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                    return (said, false);
                }
                Err(_) => return (said, true),
            }
        }
    }

    fn text() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            6 => "[a-zé]{0,20}".prop_map(String::into_bytes),
            1 => (65_530usize..70_010).prop_map(|len| vec![b'x'; len]),
        ]
    }

    /// Frames, mostly such as a client may send. Each fragment of a text is UTF-8.
    fn frames() -> impl Strategy<Value = Vec<u8>> {
        let usual = prop::sample::select(vec![0x81u8, 0x82, 0x01, 0x02, 0x00, 0x80, 0x89, 0x8a]);
        let wrong = prop::sample::select(vec![0x88u8, 0x09, 0x83, 0xc1, 0x8b]);
        let one = prop_oneof![
            8 => (usual, text()),
            2 => (Just(0x82), prop::collection::vec(any::<u8>(), 0..140)),
            1 => (wrong, text()),
        ];
        prop::collection::vec(one.prop_map(|(first, payload)| frame(first, &payload)), 0..12)
            .prop_map(|frames| frames.concat())
    }

    proptest! {
        #[test]
        fn hears_what_tungstenite_hears(bytes in frames(), piece in 1usize..200) {
            prop_assert_eq!(read(&bytes, if bytes.len() > 4096 { piece * 500 } else { piece }), reference(&bytes));
        }

        #[test]
        fn hears_no_more_than_tungstenite_when_bytes_are_damaged(
            bytes in frames(),
            at in any::<prop::sample::Index>(),
            byte in any::<u8>(),
        ) {
            let mut bytes = bytes;
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            let ((ours, _), (theirs, _)) = (read(&bytes, 4096), reference(&bytes));
            // Either may be the first to notice.
            prop_assert!(ours.starts_with(&theirs) || theirs.starts_with(&ours));
        }

        #[test]
        fn survives_anything(bytes in prop::collection::vec(any::<u8>(), 0..300), piece in 1usize..50) {
            read(&bytes, piece);
        }
    }

    #[test]
    fn a_claimed_length_is_judged_before_its_bytes_come() {
        let mut reader = Reader::new(1000);
        let claims = |len: u64| [&[0x82, 0xff][..], &len.to_be_bytes()].concat();
        assert_eq!(reader.next(&mut claims(1000)), Ok(Step::Incomplete(1014)));
        assert_eq!(reader.next(&mut claims(1001)), Err(Error::TooLarge));
        assert_eq!(reader.next(&mut claims(u64::MAX)), Err(Error::TooLarge));
        assert!(matches!(reader.next(&mut frame(0x02, &[0; 600])), Ok(Step::Frame(_, Event::Fragment))));
        assert_eq!(reader.next(&mut frame(0x80, &[0; 401])), Err(Error::TooLarge));
    }

    #[test]
    fn refuses_what_the_protocol_forbids() {
        let next = |bytes: &[u8]| Reader::new(1000).next(&mut bytes.to_vec());
        assert_eq!(next(&[0x81, 0x00]), Err(Error::NotMasked));
        assert_eq!(next(&[0xc1, 0x80]), Err(Error::ReservedBits));
        assert_eq!(next(&[0x83, 0x80]), Err(Error::UnknownOpcode(3)));
        assert_eq!(next(&[0x8b, 0x80]), Err(Error::UnknownOpcode(11)));
        assert_eq!(next(&[0x09, 0x80]), Err(Error::Control));
        assert_eq!(next(&[0x89, 0xfe]), Err(Error::Control));
        assert_eq!(next(&frame(0x80, b"x")), Err(Error::Fragments));
        assert_eq!(next(&frame(0x88, b"x")), Err(Error::Close));
        assert_eq!(next(&frame(0x88, b"\x03\xe8\xff")), Err(Error::Close));
        assert!(matches!(next(&frame(0x88, b"\x03\xe8bye")), Ok(Step::Frame(_, Event::Close(_)))));
        let mut reader = Reader::new(1000);
        assert!(reader.next(&mut frame(0x01, b"a")).is_ok());
        assert_eq!(reader.next(&mut frame(0x82, b"b")), Err(Error::Fragments));
        assert_eq!(reader.next_binary(&mut frame(0x82, b"b")), None);
        // Control frames may come between fragments.
        assert!(matches!(reader.next(&mut frame(0x89, b"?")), Ok(Step::Frame(_, Event::Ping(_)))));
        let joined = Event::Joined(Kind::Text, b"ab".to_vec());
        assert_eq!(reader.next(&mut frame(0x80, b"b")), Ok(Step::Frame(7, joined)));
        assert!([1000, 1003, 1011, 4999].into_iter().all(is_close_code));
        assert!(![0, 999, 1004, 1005, 1006, 1015, 2999, 5000].into_iter().any(is_close_code));
    }
}

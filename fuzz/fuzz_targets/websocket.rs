//! Frames of a client: however the bytes are cut into pieces, the same is read, and no more memory is taken than came.
//!
//! Input: one byte for how long pieces are, then what the client sends.

#![no_main]

use libfuzzer_sys::fuzz_target;
use outpost::wire::websocket::{
    push_close_answer,
    read::{Event, Kind, Reader, Step},
};

const MAX_PAYLOAD: usize = 1000;

/// All messages, and whether there was an error.
fn read(bytes: &[u8], piece: usize) -> (Vec<(Kind, Vec<u8>)>, bool) {
    let (mut reader, mut buffer, mut messages) = (Reader::new(MAX_PAYLOAD), Vec::new(), Vec::new());
    for piece in bytes.chunks(piece) {
        buffer.extend_from_slice(piece);
        loop {
            let binary = Reader::new(MAX_PAYLOAD).next_binary(&mut buffer.clone()).map(|(_, bytes)| bytes.to_vec());
            match reader.next(&mut buffer) {
                Ok(Step::Frame(len, event)) => {
                    match event {
                        Event::Message(kind, range) => {
                            let payload = buffer[range].to_vec();
                            assert_eq!(binary.is_some(), kind == Kind::Binary);
                            assert!(binary.is_none_or(|binary| binary == payload));
                            messages.push((kind, payload));
                        }
                        Event::Joined(kind, payload) => {
                            assert!(payload.len() <= MAX_PAYLOAD && payload.capacity() <= 2 * bytes.len().max(64));
                            messages.push((kind, payload));
                        }
                        Event::Close(range) => {
                            let mut answer = Vec::new();
                            push_close_answer(&mut answer, &buffer[range]);
                            assert!(answer.len() <= 127);
                            return (messages, false);
                        }
                        Event::Ping(range) => assert!(range.len() <= 125),
                        Event::Fragment | Event::Pong => {}
                    }
                    buffer.drain(..len);
                }
                Ok(Step::Incomplete(len)) => {
                    assert!(len > buffer.len() && len <= MAX_PAYLOAD + 14);
                    break;
                }
                Err(_) => return (messages, true),
            }
        }
    }
    (messages, false)
}

fuzz_target!(|data: &[u8]| {
    let Some((&piece, bytes)) = data.split_first() else { return };
    assert_eq!(read(bytes, usize::from(piece).max(1)), read(bytes, bytes.len().max(1)));
});

//! WebSocket frames of a server (RFC 6455 §5): those it writes, and in [`read`] those it gets.
//!
//! A server's frames are not masked, so a packet for many receivers can be encoded down to the bytes on the wire once.

pub mod read;

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// UTF-8 text.
    Text = 1,
    /// Bytes.
    Binary = 2,
    /// The end.
    Close = 8,
    /// The answer to a ping.
    Pong = 10,
}

/// Bytes of the head of an unmasked frame with `len` bytes of payload.
pub fn head_len(len: usize) -> usize {
    match len {
        0..=125 => 2,
        126..=0xffff => 4,
        _ => 10,
    }
}

/// Appends the head of a final, unmasked frame with `len` bytes of payload.
pub fn push_head(out: &mut Vec<u8>, opcode: Opcode, len: usize) {
    out.push(0x80 | opcode as u8);
    match len {
        0..=125 => out.push(len as u8),
        126..=0xffff => {
            out.push(126);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
}

/// Appends a whole text frame.
pub fn push_text(out: &mut Vec<u8>, text: &[u8]) {
    push_head(out, Opcode::Text, text.len());
    out.extend_from_slice(text);
}

/// Appends a pong frame with what the ping carried.
pub fn push_pong(out: &mut Vec<u8>, payload: &[u8]) {
    push_head(out, Opcode::Pong, payload.len());
    out.extend_from_slice(payload);
}

/// Appends a close frame with a status code.
pub fn push_close(out: &mut Vec<u8>, code: u16) {
    push_head(out, Opcode::Close, 2);
    out.extend_from_slice(&code.to_be_bytes());
}

/// Appends the answer to a close frame: the same again, or a protocol error if no peer may say that.
pub fn push_close_answer(out: &mut Vec<u8>, payload: &[u8]) {
    const PROTOCOL_ERROR: u16 = 1002;
    match read::close_code(payload) {
        Ok(code) if code.is_none_or(read::is_close_code) => {
            push_head(out, Opcode::Close, payload.len());
            out.extend_from_slice(payload);
        }
        _ => push_close(out, PROTOCOL_ERROR),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_use_the_shortest_length() {
        let head = |len| {
            let mut out = Vec::new();
            push_head(&mut out, Opcode::Binary, len);
            out
        };
        assert_eq!([8, 0x8d, 70_000].map(head_len), [8, 0x8d, 70_000].map(|len| head(len).len()));
        assert_eq!(head(8), [0x82, 8]);
        assert_eq!(head(0x8d), [0x82, 0x7e, 0, 0x8d]);
        assert_eq!(head(70_000), [0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0x11, 0x70]);
    }
}

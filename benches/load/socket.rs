//! A WebSocket client with as little between a message and the system call as can be, so that the generator costs either
//! server's side of the measurement the same few instructions: frames are parsed where they were read.

use std::io;

use memchr::memmem;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Clients have to mask what they send. One key does for a benchmark; it is not zero, so that servers have something to undo.
const MASK: [u8; 4] = [0x5a, 0x13, 0xc7, 0x2e];

const READ_BYTES: usize = 64 << 10;

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    Text,
    Binary,
    Ping,
    Close,
    Other,
}

/// A connection after its upgrade.
pub struct Socket {
    stream: TcpStream,
    buffer: Vec<u8>,
    start: usize,
}

/// A frame in a buffer: what it is and where its payload lies.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    pub opcode: Opcode,
    pub payload: (usize, usize),
}

/// The frame that begins at `at`, if all of it is there.
fn parse(buffer: &[u8], at: usize) -> io::Result<Option<Frame>> {
    let Some(&[first, second]) = buffer.get(at..at + 2) else { return Ok(None) };
    let (head, len) = match second {
        126 => match buffer.get(at + 2..at + 4) {
            Some(bytes) => (4, usize::from(u16::from_be_bytes([bytes[0], bytes[1]]))),
            None => return Ok(None),
        },
        127 => match buffer.get(at + 2..at + 10) {
            Some(bytes) => (10, u64::from_be_bytes(bytes.try_into().unwrap_or_default()) as usize),
            None => return Ok(None),
        },
        len if len < 126 => (2, usize::from(len)),
        _ => return Err(io::Error::other("a server's frame is masked")),
    };
    if first & 0x80 == 0 {
        return Err(io::Error::other("fragmented messages are not expected here"));
    }
    let opcode = match first & 0xf {
        1 => Opcode::Text,
        2 => Opcode::Binary,
        8 => Opcode::Close,
        9 => Opcode::Ping,
        _ => Opcode::Other,
    };
    let payload = (at + head, at + head + len);
    Ok((payload.1 <= buffer.len()).then_some(Frame { opcode, payload }))
}

/// Appends a masked frame made of several parts.
pub fn push_frame(out: &mut Vec<u8>, opcode: Opcode, parts: &[&[u8]]) {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    out.reserve(14 + len);
    out.push(if opcode == Opcode::Text { 0x81 } else { 0x82 });
    match len {
        0..=125 => out.push(0x80 | len as u8),
        126..=0xffff => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        _ => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&MASK);
    let start = out.len();
    for part in parts {
        out.extend_from_slice(part);
    }
    mask(&mut out[start..]);
}

/// Eight bytes at a time: masking must not be what is measured.
fn mask(bytes: &mut [u8]) {
    let [a, b, c, d] = MASK;
    let (words, rest) = bytes.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ u64::from_ne_bytes([a, b, c, d, a, b, c, d])).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip([a, b, c, d, a, b, c]) {
        *byte ^= key;
    }
}

impl Socket {
    /// Connects and upgrades.
    pub async fn connect(address: &str, path: &str) -> io::Result<Socket> {
        let mut stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        let mut socket = Socket { stream, buffer: Vec::new(), start: 0 };
        loop {
            if let Some(end) = memmem::find(&socket.buffer, b"\r\n\r\n") {
                if !socket.buffer.starts_with(b"HTTP/1.1 101") {
                    let answer = String::from_utf8_lossy(&socket.buffer).into_owned();
                    return Err(io::Error::other(format!("no upgrade: {answer}")));
                }
                socket.start = end + 4;
                return Ok(socket);
            }
            socket.fill().await?;
        }
    }

    /// Waits for more bytes and puts them behind those not consumed yet.
    pub async fn fill(&mut self) -> io::Result<()> {
        if self.start > 0 {
            self.buffer.copy_within(self.start.., 0);
            self.buffer.truncate(self.buffer.len() - self.start);
            self.start = 0;
        }
        if self.buffer.capacity() - self.buffer.len() < READ_BYTES / 4 {
            self.buffer.reserve(if self.buffer.capacity() == 0 { 4096 } else { READ_BYTES });
        }
        if self.stream.read_buf(&mut self.buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }

    /// The next frame that is completely there, `skip` bytes after the first one not consumed.
    pub fn peek(&self, skip: usize) -> io::Result<Option<Frame>> {
        parse(&self.buffer, self.start + skip)
    }

    /// The payload of a frame.
    pub fn payload(&self, frame: Frame) -> &[u8] {
        &self.buffer[frame.payload.0..frame.payload.1]
    }

    /// Bytes from the first one not consumed to the end of a frame.
    pub fn end_of(&self, frame: Frame) -> usize {
        frame.payload.1 - self.start
    }

    /// Drops bytes that were dealt with.
    pub fn consume(&mut self, bytes: usize) {
        self.start += bytes;
    }

    /// Sends bytes that are frames already.
    pub async fn send(&mut self, frames: &[u8]) -> io::Result<()> {
        self.stream.write_all(frames).await
    }

    /// Waits for the next frame, copies its payload out and consumes it. For handshakes.
    pub async fn next_payload(&mut self) -> io::Result<Vec<u8>> {
        loop {
            if let Some(frame) = self.peek(0)? {
                let payload = self.payload(frame).to_vec();
                self.consume(self.end_of(frame));
                return Ok(payload);
            }
            self.fill().await?;
        }
    }
}

//! What a session reads: bytes off the socket, frames and packets out of them.
//!
//! All sessions of a thread read into the same memory, one after the other, and handle what came where it lies. Only what is
//! not complete yet is kept by the session, so an idle connection needs no memory for reading.

use std::{
    cell::Cell,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{BufMut, Bytes};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};
use tokio_util::io::poll_read_buf;

use super::{
    End, Heartbeat, Session,
    assembling::{Assembling, Head},
};
use crate::{
    broker::tally::Moment,
    wire::{
        engineio,
        frame::{Part, Parts, Publication},
        socketio,
        websocket::{
            self,
            read::{Error, Event, Kind, Reader, Step},
        },
    },
};

/// Bytes read at a time. A message beyond that gets memory of its own, as it comes in.
const READ_BYTES: usize = 64 << 10;
/// Messages handled before others get their turn.
const READ_BATCH: usize = 1024;
/// Above so many bytes of answers that nobody reads, a session stops reading.
const MAX_UNREAD_BYTES: usize = 4 << 20;

thread_local! {
    /// What sessions read into; empty while one of them does.
    static MEMORY: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A session's place in what its peer says.
#[derive(Debug)]
pub struct Incoming {
    reader: Reader,
    /// Bytes that were read and not handled.
    kept: Vec<u8>,
    /// A frame that is larger than what is read at a time, as far as it has come, and how large it is going to be.
    large: Option<(Vec<u8>, usize)>,
}

impl Incoming {
    /// Reads messages up to so many bytes.
    pub fn new(max_payload: usize) -> Incoming {
        Incoming { reader: Reader::new(max_payload), kept: Vec::new(), large: None }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> {
    /// Handles what was kept, and reads once; tells whether anything happened.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        if self.is_blocked() {
            return Ok(false);
        }
        self.moment = Moment::now();
        let result = if self.incoming.large.is_some() {
            self.poll_large(cx)
        } else {
            let mut buffer = MEMORY.take();
            buffer.clear();
            buffer.reserve(READ_BYTES);
            buffer.append(&mut std::mem::take(&mut self.incoming.kept));
            let mut at = 0;
            let result = self.read_into(cx, &mut buffer, &mut at);
            self.incoming.kept = buffer.get(at..).unwrap_or_default().to_vec();
            MEMORY.set(buffer);
            result
        };
        if let Some(connection) = &mut self.connection
            && !matches!(result, Ok(false))
        {
            connection.hand_over(&mut self.moment);
            connection.settle();
        }
        result
    }

    /// Whether this is no time for reading.
    fn is_blocked(&self) -> bool {
        self.stalled.is_some() || self.io.queued() > MAX_UNREAD_BYTES
    }

    /// Reads behind what is in `buffer` and handles what is complete, up to `at`.
    fn read_into(&mut self, cx: &mut Context<'_>, buffer: &mut Vec<u8>, at: &mut usize) -> Result<bool, End> {
        if !buffer.is_empty() && !self.handle(buffer, at)? {
            return Ok(true);
        }
        let progress = *at > 0;
        buffer.drain(..std::mem::take(at));
        let room = READ_BYTES.saturating_sub(buffer.len());
        match poll_read_buf(Pin::new(&mut self.io), cx, &mut buffer.limit(room)) {
            Poll::Ready(Ok(1..)) => self.handle(buffer, at).map(|_| true),
            Poll::Ready(Ok(0) | Err(_)) => Err(End::Peer),
            Poll::Pending => Ok(progress),
        }
    }

    /// Handles the frames that are complete; tells whether more bytes are what is missing.
    fn handle(&mut self, buffer: &mut [u8], at: &mut usize) -> Result<bool, End> {
        for _ in 0..READ_BATCH {
            if self.is_blocked() {
                return Ok(false);
            }
            let bytes = buffer.get_mut(*at..).unwrap_or_default();
            match self.incoming.reader.next(bytes).map_err(end_of)? {
                Step::Frame(len, event) => {
                    let (frame, rest) = bytes.split_at_mut(len);
                    *at += len + self.receive(event, frame, rest)?;
                }
                Step::Incomplete(len) if len > READ_BYTES => {
                    self.incoming.large = Some((bytes.to_vec(), len));
                    *at = buffer.len();
                    return Ok(false);
                }
                Step::Incomplete(_) => return Ok(true),
            }
        }
        Ok(false)
    }

    /// Reads the rest of a large frame. Memory grows with what comes, and the payload stays where it is.
    fn poll_large(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        let Some((bytes, len)) = &mut self.incoming.large else { return Ok(false) };
        let mut progress = false;
        while bytes.len() < *len {
            let missing = *len - bytes.len();
            if bytes.len() == bytes.capacity() {
                bytes.reserve_exact(missing.min(bytes.len().max(READ_BYTES)));
            }
            let room = missing.min(bytes.capacity() - bytes.len());
            match poll_read_buf(Pin::new(&mut self.io), cx, &mut (&mut *bytes).limit(room)) {
                Poll::Ready(Ok(1..)) => progress = true,
                Poll::Ready(Ok(0) | Err(_)) => return Err(End::Peer),
                Poll::Pending => return Ok(progress),
            }
        }
        let mut bytes = self.incoming.large.take().map(|(bytes, _)| bytes).unwrap_or_default();
        match self.incoming.reader.next(&mut bytes).map_err(end_of)? {
            Step::Frame(_, Event::Message(Kind::Binary, payload)) => {
                self.receive_binary(Part::Kept(Bytes::from(bytes).slice(payload)))?;
            }
            Step::Frame(_, event) => _ = self.receive(event, &bytes, &mut [])?,
            Step::Incomplete(len) => self.incoming.large = Some((bytes, len)),
        }
        Ok(true)
    }

    /// Handles what a frame says. A binary message in `rest` may be handled along with it; the result is its length.
    fn receive(&mut self, event: Event, frame: &[u8], rest: &mut [u8]) -> Result<usize, End> {
        let payload = |range| frame.get(range).unwrap_or_default();
        match event {
            Event::Message(Kind::Text, range) => return self.receive_text(payload(range), rest),
            Event::Message(Kind::Binary, range) => self.receive_binary(Part::Lent(payload(range)))?,
            Event::Joined(Kind::Text, text) => return self.receive_text(&text, rest),
            Event::Joined(Kind::Binary, bytes) => self.receive_binary(Part::Kept(bytes.into()))?,
            Event::Fragment | Event::Pong => {}
            Event::Ping(range) => websocket::push_pong(self.urgent(), payload(range)),
            Event::Close(range) => {
                websocket::push_close_answer(self.urgent(), payload(range));
                return Err(End::Peer);
            }
        }
        Ok(0)
    }

    fn receive_text(&mut self, source: &[u8], rest: &mut [u8]) -> Result<usize, End> {
        let text = std::str::from_utf8(source).map_err(|_| End::Protocol("text is not UTF-8"))?;
        let packet = engineio::Packet::decode(text).map_err(|_| End::Protocol("unknown engine.io packet"))?;
        match packet {
            engineio::Packet::Message(message) => return self.receive_packet(text, message, rest),
            engineio::Packet::Pong => {
                self.heartbeat = Heartbeat { at: Instant::now() + self.limits.ping_interval, awaiting_pong: false };
            }
            engineio::Packet::Close => return Err(End::Left),
            engineio::Packet::Ping => return Err(End::Protocol("ping from a client")),
            engineio::Packet::Open(_) => return Err(End::Protocol("open packet from a client")),
            engineio::Packet::Upgrade | engineio::Packet::Noop => {}
        }
        Ok(0)
    }

    fn receive_packet(&mut self, text: &str, message: &str, rest: &mut [u8]) -> Result<usize, End> {
        if self.assembling.is_some() {
            return Err(End::Protocol("text packet between attachments"));
        }
        let packet = socketio::Packet::decode(message).map_err(|_| End::Protocol("malformed packet"))?;
        if packet.namespace != "/" {
            return self.foreign(&packet).map(|()| 0);
        }
        if packet.kind == socketio::Kind::Connect {
            return self.connect(packet.data).map(|()| 0);
        }
        self.require_connection()?;
        // The payload of the usual packet has come along.
        let along = if packet.attachments == 1 { self.incoming.reader.next_binary(rest) } else { None };
        if let (socketio::Kind::Event, Some((len, payload))) = (packet.kind, &along)
            && let Some(publication) = Publication::scan(packet.data, Part::Lent(payload))
        {
            return self.publish_usual(publication, packet.id).map(|()| *len);
        }
        let head = Head::read(&packet)?;
        match (along, packet.attachments) {
            (Some((len, payload)), _) => {
                self.dispatch(text, head, Parts::from_iter([Part::Lent(payload)])).map(|()| len)
            }
            (None, 0) => self.dispatch(text, head, Parts::new()).map(|()| 0),
            (None, missing) => {
                self.assembling = Some(Assembling::new(head, text.into(), missing));
                Ok(0)
            }
        }
    }

    fn receive_binary(&mut self, part: Part<'_>) -> Result<(), End> {
        let Some(assembling) = &mut self.assembling else {
            return Err(End::Protocol("binary message without a packet"));
        };
        let complete = assembling.add(part.keep());
        // Each message is within the limit; ten of them need not be.
        if assembling.bytes() > 2 * self.limits.max_payload {
            return Err(End::TooLarge);
        }
        match self.assembling.take_if(|_| complete) {
            Some(Assembling { head, source, attachments, .. }) => {
                self.dispatch(&source, head, attachments.into_iter().map(Part::Kept).collect())
            }
            None => Ok(()),
        }
    }
}

fn end_of(error: Error) -> End {
    match error {
        Error::TooLarge => End::TooLarge,
        _ => End::Protocol("malformed WebSocket frame"),
    }
}

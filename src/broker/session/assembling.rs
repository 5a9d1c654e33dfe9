//! A packet that was read but not yet handled, possibly because attachments are missing.

use bytes::Bytes;

use super::End;
use crate::wire::{
    frame::Attachments,
    json::Span,
    socketio::{Kind, Packet},
};

/// What the text of a packet says, without borrowing it.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    /// What it is.
    pub kind: Kind,
    /// The ack id.
    pub id: Option<u64>,
    /// Where the JSON begins in the text message.
    pub offset: usize,
    /// The event's name.
    pub name: Option<Span>,
    /// The first argument of an event or acknowledgement.
    pub argument: Option<Span>,
}

impl Head {
    /// Reads a packet of the default namespace.
    pub fn read(packet: &Packet<'_>) -> Result<Head, End> {
        let malformed = |_| End::Protocol("malformed packet");
        let (name, argument) = match packet.kind {
            Kind::Event => {
                let event = packet.event().map_err(malformed)?;
                (Some(event.name.span()), event.argument)
            }
            Kind::Ack => (None, packet.ack_argument().map_err(malformed)?),
            Kind::Connect | Kind::Disconnect | Kind::ConnectError => (None, None),
        };
        // One byte for the engine.io type.
        let offset = 1 + packet.data_start;
        Ok(Head { kind: packet.kind, id: packet.id, offset, name, argument: argument.map(|a| a.span()) })
    }
}

/// The text part of a packet and the attachments so far.
#[derive(Debug)]
pub struct Assembling {
    /// What the text says.
    pub head: Head,
    /// The whole text message.
    pub source: Box<str>,
    /// What has arrived.
    pub attachments: Attachments,
    missing: usize,
}

impl Assembling {
    /// Begins with the text; `missing` attachments have to follow.
    pub fn new(head: Head, source: Box<str>, missing: usize) -> Assembling {
        Assembling { head, source, attachments: Attachments::new(), missing }
    }

    /// Adds the next attachment; tells whether it was the last.
    pub fn add(&mut self, bytes: Bytes) -> bool {
        self.attachments.push(bytes);
        self.missing = self.missing.saturating_sub(1);
        self.missing == 0
    }

    /// Bytes that are held.
    pub fn bytes(&self) -> usize {
        self.attachments.iter().map(Bytes::len).sum()
    }
}

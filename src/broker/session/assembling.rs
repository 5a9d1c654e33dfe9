//! A packet whose attachments have not all arrived.

use bytes::Bytes;

use crate::wire::frame::Attachments;

/// The text part of a packet and the attachments so far. The text has been checked already.
#[derive(Debug)]
pub struct Assembling {
    /// The whole text message.
    pub source: Bytes,
    /// What has arrived.
    pub attachments: Attachments,
    missing: usize,
}

impl Assembling {
    /// Begins with the text; `missing` attachments have to follow.
    pub fn new(source: Bytes, missing: usize) -> Assembling {
        Assembling { source, attachments: Attachments::new(), missing }
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

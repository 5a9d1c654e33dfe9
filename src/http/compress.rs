//! gzip for answers made on the fly (hub.md §2.2).

use std::io::{self, Write};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};

/// Smaller answers are sent as they are.
pub(crate) const MIN_BYTES: usize = 1024;

/// Compresses.
pub(crate) fn gzip(raw: &[u8]) -> io::Result<Bytes> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(raw.len() / 3), Compression::new(5));
    encoder.write_all(raw)?;
    encoder.finish().map(Bytes::from)
}

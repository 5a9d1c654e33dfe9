//! Files as bodies of answers.

use std::{fs::File, os::unix::fs::FileExt as _, sync::Arc};

use axum::body::Body;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};

use crate::project::files::{Error, Threads};

/// How much of a file is read at once.
const PIECE_BYTES: u64 = 256 << 10;
/// Pieces that are read before the client takes them.
const READ_AHEAD: usize = 2;

/// Reads a part of a file piece by piece while the client takes it. A file that has become shorter breaks the connection.
/// `kept` is kept until the end.
pub(super) fn file(threads: Threads, file: File, start: u64, length: u64, kept: impl Send + 'static) -> Body {
    let file = Arc::new(file);
    let pieces = (0..length.div_ceil(PIECE_BYTES)).map(move |number| {
        let _ = &kept;
        let offset = number.saturating_mul(PIECE_BYTES);
        let size = usize::try_from(PIECE_BYTES.min(length.saturating_sub(offset))).unwrap_or(0);
        let (file, at) = (file.clone(), start.saturating_add(offset));
        let (threads, read) = (threads.clone(), move || read(&file, at, size));
        async move { threads.run(read).await }
    });
    Body::from_stream(stream::iter(pieces).buffered(READ_AHEAD))
}

fn read(file: &File, at: u64, size: usize) -> Result<Bytes, Error> {
    let mut piece = vec![0; size];
    file.read_exact_at(&mut piece, at).map_err(|error| {
        tracing::debug!(%error, "a file changed while it was sent");
        Error::from(error)
    })?;
    Ok(piece.into())
}

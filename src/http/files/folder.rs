//! A folder as an archive that is packed while it is sent.

use std::{
    ffi::OsStr,
    io::{self, Write},
};

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use cap_std::fs::Dir;
use futures_util::stream;
use http::{HeaderValue, Method, Response, header::CONTENT_TYPE};
use tokio::sync::mpsc;

use super::{Files, Refusal, download};
use crate::{http::disposition, project::files::archive};

/// Bytes of an archive that are sent at once.
const PIECE_BYTES: usize = 64 << 10;
/// Pieces that wait for the client; packing waits when there are so many.
const WAITING_PIECES: usize = 4;

/// What is waiting to be sent: a piece, or the news that there won't be an end.
type Piece = Result<Bytes, io::Error>;

/// Answers with the folder, under its name.
pub(super) fn archive(files: &Files, method: &Method, folder: Dir, name: &OsStr) -> Result<Response<Body>, Refusal> {
    let mut response = Response::new(Body::empty());
    if *method != Method::HEAD {
        let (pieces, taken) = mpsc::channel::<Piece>(WAITING_PIECES);
        let top = name.to_owned();
        let started = files.archives.try_start(move || {
            let out = Pieces { full: BytesMut::with_capacity(PIECE_BYTES), pieces: pieces.clone() };
            if let Err(error) = archive::pack(&folder, &top, out) {
                tracing::debug!(%error, "an archive was broken off");
                // The client may be what went away.
                let _ = pieces.blocking_send(Err(io::Error::other(error)));
            }
        });
        if !started {
            return Err(Refusal::Busy);
        }
        *response.body_mut() = Body::from_stream(stream::unfold(taken, |mut taken| async move {
            let piece = taken.recv().await?;
            Some((piece, taken))
        }));
    }
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/zip"));
    disposition::mark_file(headers, "application/zip", &format!("{}.zip", name.to_string_lossy()), true);
    download::uncached(&mut response);
    Ok(response)
}

/// Cuts what is written into pieces and waits until the client takes them.
struct Pieces {
    full: BytesMut,
    pieces: mpsc::Sender<Piece>,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.full.extend_from_slice(bytes);
        if self.full.len() >= PIECE_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.full.is_empty() {
            return Ok(());
        }
        let piece = self.full.split().freeze();
        self.pieces.blocking_send(Ok(piece)).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

//! Uploads: forms with one file, and the fields with which a client sends a file in pieces (hub.md §6.2).
//!
//! The fields have to come before the file, as browsers send them: a piece is written while it comes in.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::body::{Body, BodyDataStream};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use http::{Response, StatusCode, header::CONTENT_TYPE, request::Parts};
use multer::{Constraints, Field, Multipart, SizeLimit};
use parking_lot::Mutex;
use thiserror::Error;

use super::{origin, peer::Peer, reply};

/// Parts of a form at most.
const MOST_PARTS: usize = 32;
/// The longest text field: a path.
const TEXT_BYTES: u64 = 8 << 10;
/// Pieces of a file at most; of 8 MB, as clients send them, this is 8 TB.
const MOST_PIECES: u64 = 1_000_000;
/// The longest name of a transfer.
const NAME_BYTES: usize = 64;

/// Why a form is not taken.
#[derive(Debug, Error)]
pub(super) enum Error {
    #[error("no file was uploaded: the form has no part named file")]
    NoFile,
    #[error("no file was uploaded: this is no form (multipart/form-data)")]
    NoForm,
    #[error("the form is malformed, or was broken off")]
    Malformed,
    #[error("the form has too many parts")]
    TooManyParts,
    #[error("the form has a second file, or fields after the file")]
    AfterFile,
    #[error("the field {0} makes no sense")]
    BadField(&'static str),
    #[error("a page of another origin may not upload here")]
    ForeignOrigin,
}

impl Error {
    /// The answer.
    pub(super) fn response(&self) -> Response<Body> {
        let status = match self {
            Error::ForeignOrigin => StatusCode::FORBIDDEN,
            _ => StatusCode::BAD_REQUEST,
        };
        reply::text(status, &self.to_string())
    }
}

impl From<multer::Error> for Error {
    fn from(_: multer::Error) -> Error {
        Error::Malformed
    }
}

/// Which piece of which file the form brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// The client's name of the transfer.
    pub(super) transfer: String,
    /// From 0.
    pub(super) index: u64,
    /// How many there are.
    pub(super) total: u64,
    /// Where it belongs, if the client says so.
    pub(super) offset: Option<u64>,
}

/// The fields before the file.
#[derive(Debug, Default)]
struct Fields {
    transfer: Option<String>,
    index: Option<u64>,
    total: Option<u64>,
    offset: Option<u64>,
    full_path: Option<String>,
}

impl Fields {
    /// Whether the field is one of ours.
    fn knows(name: &str) -> bool {
        matches!(name, "dzuuid" | "dzchunkindex" | "dztotalchunkcount" | "dzchunkbyteoffset" | "fullPath")
    }

    fn take(&mut self, name: &str, text: String) -> Result<(), Error> {
        let number = |field| text.trim().parse::<u64>().map(Some).map_err(|_| Error::BadField(field));
        match name {
            "dzuuid" => {
                let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
                if !(1..=NAME_BYTES).contains(&text.len()) || !text.bytes().all(plain) {
                    return Err(Error::BadField("dzuuid"));
                }
                self.transfer = Some(text);
            }
            "dzchunkindex" => self.index = number("dzchunkindex")?,
            "dztotalchunkcount" => self.total = number("dztotalchunkcount")?,
            "dzchunkbyteoffset" => self.offset = number("dzchunkbyteoffset")?,
            "fullPath" => self.full_path = (!text.is_empty()).then_some(text),
            _ => {}
        }
        Ok(())
    }

    /// `None`: the file is whole.
    fn piece(&mut self) -> Result<Option<Piece>, Error> {
        let (index, total) = (self.index.unwrap_or(0), self.total.unwrap_or(1));
        if !(1..=MOST_PIECES).contains(&total) {
            return Err(Error::BadField("dztotalchunkcount"));
        }
        if index >= total {
            return Err(Error::BadField("dzchunkindex"));
        }
        if total == 1 {
            return Ok(None);
        }
        let transfer = self.transfer.take().ok_or(Error::BadField("dzuuid"))?;
        Ok(Some(Piece { transfer, index, total, offset: self.offset }))
    }
}

/// The body of a request that is read to its end whatever becomes of it: a client that still sends when the connection is
/// closed does not get to see the answer.
#[derive(Clone)]
pub(super) struct Source(Arc<Mutex<BodyDataStream>>);

impl Source {
    pub(super) fn new(body: Body) -> Source {
        Source(Arc::new(Mutex::new(body.into_data_stream())))
    }

    /// Reads and drops what is left; the pipeline's limits hold for that too.
    pub(super) async fn drain(mut self) {
        while let Some(Ok(_)) = self.next().await {}
    }
}

impl Stream for Source {
    type Item = Result<Bytes, axum::Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.lock().poll_next_unpin(cx)
    }
}

/// A form whose file is about to be read.
pub(super) struct Form {
    rest: Multipart<'static>,
    /// How many parts were there already.
    parts: usize,
    file: Option<Field<'static>>,
    /// Set when the file comes in several requests.
    pub(super) piece: Option<Piece>,
    /// The path of the file inside of a folder that was dropped.
    pub(super) full_path: Option<String>,
    /// The name of the file.
    pub(super) file_name: Option<String>,
}

impl Form {
    /// Reads a form up to its file.
    pub(super) async fn open(head: &Parts, source: Source) -> Result<Form, Error> {
        // With a token, cookies still come with requests of pages on other ports of the same host.
        if let Some(peer) = head.extensions.get::<Peer>() {
            origin::check_origin(&head.headers, peer).map_err(|_| Error::ForeignOrigin)?;
        }
        let kind = head.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).ok_or(Error::NoForm)?;
        let boundary = multer::parse_boundary(kind).map_err(|_| Error::NoForm)?;
        let texts = ["dzuuid", "dzchunkindex", "dztotalchunkcount", "dzchunkbyteoffset", "fullPath"];
        let limits = texts.iter().fold(SizeLimit::new(), |limits, field| limits.for_field(*field, TEXT_BYTES));
        let constraints = Constraints::new().size_limit(limits);
        let mut rest = Multipart::with_constraints(source, boundary, constraints);
        let mut fields = Fields::default();
        for parts in 1..=MOST_PARTS {
            let Some(mut part) = rest.next_field().await? else { return Err(Error::NoFile) };
            let name = part.name().unwrap_or_default().to_owned();
            if name == "file" {
                let (piece, full_path) = (fields.piece()?, fields.full_path);
                let file_name = part.file_name().map(str::to_owned);
                return Ok(Form { rest, parts, file: Some(part), piece, full_path, file_name });
            }
            if Fields::knows(&name) {
                let text = part.bytes().await?;
                let text = String::from_utf8(text.into()).map_err(|_| Error::Malformed)?;
                fields.take(&name, text)?;
            } else {
                while part.chunk().await?.is_some() {}
            }
        }
        Err(Error::TooManyParts)
    }

    /// The next bytes of the file; `None` at the end of the form.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        if let Some(file) = &mut self.file {
            if let Some(bytes) = file.chunk().await? {
                return Ok(Some(bytes));
            }
            self.file = None;
        }
        while let Some(mut part) = self.rest.next_field().await? {
            self.parts += 1;
            if self.parts > MOST_PARTS {
                return Err(Error::TooManyParts);
            }
            let name = part.name().unwrap_or_default();
            if name == "file" || Fields::knows(name) {
                return Err(Error::AfterFile);
            }
            while part.chunk().await?.is_some() {}
        }
        Ok(None)
    }

    /// Reads and drops what is left.
    pub(super) async fn skip(&mut self) {
        while let Ok(Some(_)) = self.next().await {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn open(parts: &[(&str, &str)]) -> Result<Form, Error> {
        let mut text = String::new();
        for (name, value) in parts {
            let file = if *name == "file" { "; filename=\"a b.txt\"" } else { "" };
            text += &format!("--X\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n{value}\r\n");
        }
        text += "--X--\r\n";
        let head = http::Request::post("/").header("content-type", "multipart/form-data; boundary=X");
        let (head, body) = head.body(Body::from(text)).unwrap().into_parts();
        Form::open(&head, Source::new(body)).await
    }

    async fn content(form: &mut Form) -> Result<String, Error> {
        let mut content = Vec::new();
        while let Some(bytes) = form.next().await? {
            content.extend_from_slice(&bytes);
        }
        Ok(String::from_utf8(content).unwrap())
    }

    #[tokio::test]
    async fn a_form_tells_which_piece_it_brings() {
        let mut form = open(&[
            ("dzuuid", "ce5fa828-5155-4fa0-b30a-869bd4c956a5"),
            ("dzchunkindex", "1"),
            ("dztotalchunkcount", "3"),
            ("dzchunkbyteoffset", "8000000"),
            ("dztotalfilesize", "20000000"),
            ("fullPath", "a/b.txt"),
            ("file", "content"),
            ("more", "x"),
        ])
        .await
        .unwrap();
        let piece = form.piece.clone().unwrap();
        assert_eq!((piece.index, piece.total, piece.offset), (1, 3, Some(8_000_000)));
        assert_eq!(piece.transfer, "ce5fa828-5155-4fa0-b30a-869bd4c956a5");
        assert_eq!(form.full_path.as_deref(), Some("a/b.txt"));
        assert_eq!(form.file_name.as_deref(), Some("a b.txt"));
        assert_eq!(content(&mut form).await.unwrap(), "content");
    }

    #[tokio::test]
    async fn a_file_without_fields_is_whole() {
        let mut form = open(&[("file", "content")]).await.unwrap();
        assert_eq!((&form.piece, &form.full_path), (&None, &None));
        assert_eq!(content(&mut form).await.unwrap(), "content");
        let form = open(&[("dzuuid", "x"), ("dzchunkindex", "0"), ("dztotalchunkcount", "1"), ("file", "")]).await;
        assert_eq!(form.unwrap().piece, None);
    }

    #[tokio::test]
    async fn fields_that_make_no_sense_are_refused() {
        for parts in [
            &[("dzuuid", "../x"), ("file", "")][..],
            &[("dzuuid", ""), ("file", "")],
            &[("dzuuid", "x"), ("dzchunkindex", "3"), ("dztotalchunkcount", "3"), ("file", "")],
            &[("dzuuid", "x"), ("dzchunkindex", "-1"), ("dztotalchunkcount", "3"), ("file", "")],
            &[("dzuuid", "x"), ("dztotalchunkcount", "0"), ("file", "")],
            &[("dzuuid", "x"), ("dztotalchunkcount", "18446744073709551616"), ("file", "")],
            &[("dzchunkindex", "0"), ("dztotalchunkcount", "2"), ("file", "")],
        ] {
            assert!(matches!(open(parts).await, Err(Error::BadField(_))), "{parts:?}");
        }
        let long = "x".repeat(9000);
        assert!(matches!(open(&[("fullPath", &long), ("file", "")]).await, Err(Error::Malformed)));
        assert!(matches!(open(&[("other", "x")]).await, Err(Error::NoFile)));
        assert!(matches!(open(&[("a", "x"); 40]).await, Err(Error::TooManyParts)));
        for late in [("file", "again"), ("dzuuid", "x"), ("fullPath", "x")] {
            let mut form = open(&[("file", "content"), late]).await.unwrap();
            assert!(matches!(content(&mut form).await, Err(Error::AfterFile)), "{late:?}");
        }
    }
}

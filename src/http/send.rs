//! Conditional requests, ranges and the headers of content that has a length: files of the page and of the project, blobs.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use http::{
    HeaderMap, HeaderValue, Method, Response, StatusCode,
    header::{
        ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG,
        IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, RANGE, VARY,
    },
    request::Parts,
    response::Builder,
};
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use super::{page::encoding::Coding, range};

/// How much of a file is read at once.
const CHUNK_BYTES: usize = 64 << 10;

/// What is about to be sent.
pub(super) struct Representation {
    pub(super) mime: &'static str,
    pub(super) cache: &'static str,
    pub(super) etag: String,
    pub(super) modified: Option<SystemTime>,
    pub(super) coding: Coding,
    /// Whether other clients may get another coding.
    pub(super) varies: bool,
    pub(super) length: u64,
}

/// Where the bytes are.
pub(super) enum Content {
    Static(&'static [u8]),
    Bytes(Bytes),
    /// A file and how much of it was announced.
    File(tokio::fs::File, u64),
}

/// What to do with the request.
pub(super) enum Answer {
    /// Send everything with these headers.
    Whole(Builder),
    /// Send the bytes from the first to the last number, both included.
    Part(Builder, (u64, u64)),
    /// There is nothing to send: unchanged, only the head was asked for, or no such range.
    Done(Response<Body>),
}

/// Looks at the conditions of a request.
pub(super) fn decide(request: &Parts, about: &Representation) -> Answer {
    let mut head = Response::builder()
        .header(CACHE_CONTROL, about.cache)
        .header(ETAG, about.etag.as_str())
        .header(ACCEPT_RANGES, "bytes");
    if about.varies {
        head = head.header(VARY, "Accept-Encoding");
    }
    if let Some(date) = about.modified.and_then(http_date) {
        head = head.header(LAST_MODIFIED, date);
    }
    if is_unchanged(request, about) {
        return done(head.status(StatusCode::NOT_MODIFIED));
    }
    head = head.header(CONTENT_TYPE, about.mime);
    if let Some(name) = about.coding.name() {
        head = head.header(CONTENT_ENCODING, name);
    }
    match wanted(request, about) {
        range::Wanted::Unsatisfiable => done(
            head.status(StatusCode::RANGE_NOT_SATISFIABLE).header(CONTENT_RANGE, format!("bytes */{}", about.length)),
        ),
        range::Wanted::Part { start, end } => {
            let head = head
                .status(StatusCode::PARTIAL_CONTENT)
                .header(CONTENT_RANGE, format!("bytes {start}-{end}/{}", about.length))
                .header(CONTENT_LENGTH, end.saturating_sub(start).saturating_add(1));
            if request.method == Method::HEAD { done(head) } else { Answer::Part(head, (start, end)) }
        }
        range::Wanted::Whole => {
            let head = head.header(CONTENT_LENGTH, about.length);
            if request.method == Method::HEAD { done(head) } else { Answer::Whole(head) }
        }
    }
}

fn done(head: Builder) -> Answer {
    Answer::Done(finish(head, Body::empty()))
}

/// All header values come from us, so building cannot fail; a plain 500 stands in for "cannot".
pub(super) fn finish(head: Builder, body: Body) -> Response<Body> {
    head.body(body).unwrap_or_else(|_| {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response
    })
}

fn text(value: Option<&HeaderValue>) -> Option<&str> {
    value.and_then(|value| value.to_str().ok())
}

/// A tag without the mark of a weak one, since conditions on reading compare weakly, and without quotation marks, since
/// the tags of blobs have none.
fn opaque(tag: &str) -> &str {
    let tag = tag.strip_prefix("W/").unwrap_or(tag);
    tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')).unwrap_or(tag)
}

/// Whether `If-None-Match` names the tag; `None`: the request has no such header.
pub(super) fn names(headers: &HeaderMap, etag: &str) -> Option<bool> {
    headers.contains_key(IF_NONE_MATCH).then(|| {
        headers
            .get_all(IF_NONE_MATCH)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(str::trim)
            .any(|tag| tag == "*" || opaque(tag) == opaque(etag))
    })
}

fn is_unchanged(request: &Parts, about: &Representation) -> bool {
    if let Some(named) = names(&request.headers, &about.etag) {
        return named;
    }
    let since = text(request.headers.get(IF_MODIFIED_SINCE)).and_then(|date| httpdate::parse_http_date(date).ok());
    matches!((since, about.modified), (Some(since), Some(modified)) if whole_seconds(modified) <= since)
}

/// A time as HTTP writes it. Files may claim to be from before 1970 or after 9999, which HTTP cannot say.
fn http_date(time: SystemTime) -> Option<String> {
    const YEAR_10000: u64 = 253_402_300_800;
    let since = time.duration_since(UNIX_EPOCH).ok()?;
    (since.as_secs() < YEAR_10000).then(|| httpdate::fmt_http_date(time))
}

/// HTTP dates have no fractions.
fn whole_seconds(time: SystemTime) -> SystemTime {
    time.duration_since(UNIX_EPOCH).map_or(time, |since| UNIX_EPOCH + Duration::from_secs(since.as_secs()))
}

fn wanted(request: &Parts, about: &Representation) -> range::Wanted {
    let Some(header) = text(request.headers.get(RANGE)) else { return range::Wanted::Whole };
    let current = text(request.headers.get(IF_RANGE)).is_none_or(|condition| {
        // A continued download needs the very same bytes, but our weak tags name length and time to the nanosecond.
        if opaque(condition) == opaque(&about.etag) {
            true
        } else {
            let date = httpdate::parse_http_date(condition).ok();
            matches!((date, about.modified), (Some(date), Some(modified)) if whole_seconds(modified) == date)
        }
    });
    if current { range::parse(header, about.length) } else { range::Wanted::Whole }
}

/// Sends everything.
pub(super) fn whole(head: Builder, content: Content) -> Response<Body> {
    let body = match content {
        Content::Static(bytes) => Body::from(bytes),
        Content::Bytes(bytes) => Body::from(bytes),
        Content::File(file, length) => stream_file(file, 0, length),
    };
    finish(head, body)
}

/// Sends a part, both ends included.
pub(super) fn part(head: Builder, content: Content, (start, end): (u64, u64)) -> Response<Body> {
    let slice = |bytes: Bytes| {
        let length = bytes.len();
        let from = usize::try_from(start).unwrap_or(length).min(length);
        let to = usize::try_from(end).unwrap_or(length).saturating_add(1).clamp(from, length);
        Body::from(bytes.slice(from..to))
    };
    let body = match content {
        Content::Static(bytes) => slice(Bytes::from_static(bytes)),
        Content::Bytes(bytes) => slice(bytes),
        Content::File(file, _) => stream_file(file, start, end.saturating_sub(start).saturating_add(1)),
    };
    finish(head, body)
}

/// Reads a file piece by piece while the client takes it.
fn stream_file(file: tokio::fs::File, start: u64, length: u64) -> Body {
    let pieces = stream::try_unfold((file, Some(start), length), |(mut file, seek, left)| async move {
        if let Some(start) = seek.filter(|start| *start > 0) {
            file.seek(std::io::SeekFrom::Start(start)).await?;
        }
        if left == 0 {
            return Ok(None);
        }
        let size = usize::try_from(left).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
        let mut buffer = bytes::BytesMut::with_capacity(size);
        let read = (&mut file).take(size as u64).read_buf(&mut buffer).await?;
        let left = left.saturating_sub(read as u64);
        Ok::<_, std::io::Error>((read > 0).then(|| (buffer.freeze(), (file, None, left))))
    });
    Body::from_stream(pieces)
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    #[test]
    fn files_from_another_time_have_no_date() {
        for (modified, date) in [
            (UNIX_EPOCH, Some("Thu, 01 Jan 1970 00:00:00 GMT")),
            (UNIX_EPOCH - Duration::from_secs(1), None),
            (UNIX_EPOCH + Duration::from_secs(253_402_300_799), Some("Fri, 31 Dec 9999 23:59:59 GMT")),
            (UNIX_EPOCH + Duration::from_secs(253_402_300_800), None),
        ] {
            let about = Representation {
                mime: "text/plain",
                cache: "no-cache",
                etag: "W/\"x\"".into(),
                modified: Some(modified),
                coding: Coding::Identity,
                varies: false,
                length: 1,
            };
            let (request, ()) = Request::new(()).into_parts();
            let Answer::Whole(head) = decide(&request, &about) else { panic!("everything is sent") };
            let head = head.body(()).unwrap();
            assert_eq!(head.headers().get(LAST_MODIFIED).map(|value| value.to_str().unwrap()), date);
        }
    }
}

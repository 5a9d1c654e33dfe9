//! Small answers.

use axum::body::Body;
use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Response, StatusCode,
    header::{CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_TYPE, VARY},
};

use super::{
    compress,
    page::encoding::{self, Coding},
};

/// JSON's content type.
const JSON: &str = "application/json; charset=utf-8";

/// A line of text.
pub(super) fn text(status: StatusCode, line: &str) -> Response<Body> {
    with(status, "text/plain; charset=utf-8", Bytes::from(format!("{line}\n")))
}

/// There is nothing here.
pub(super) fn not_found() -> Response<Body> {
    text(StatusCode::NOT_FOUND, "not found")
}

/// JSON as it is.
pub(super) fn json(status: StatusCode, json: impl Into<Bytes>) -> Response<Body> {
    with(status, JSON, json.into())
}

/// The body was not read to its end, so the connection cannot go on.
pub(super) fn unread(status: StatusCode) -> Response<Body> {
    let line = match status {
        StatusCode::PAYLOAD_TOO_LARGE => "the request body is too large",
        _ => "the request body stalled",
    };
    let mut response = text(status, line);
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Content made on the fly: compressed when it is worth it, asked for again each time.
pub(super) fn dynamic(asked: &HeaderMap, kind: &'static str, content: Bytes) -> Response<Body> {
    let worth = content.len() > compress::MIN_BYTES;
    let packed = match encoding::choose(asked, false, worth) {
        Coding::Gzip => compress::gzip(&content).ok(),
        _ => None,
    };
    let is_packed = packed.is_some();
    let mut response = with(StatusCode::OK, kind, packed.unwrap_or(content));
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if worth {
        headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    }
    if is_packed {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

/// JSON made on the fly.
pub(super) fn dynamic_json(asked: &HeaderMap, content: Bytes) -> Response<Body> {
    dynamic(asked, JSON, content)
}

fn with(status: StatusCode, kind: &'static str, content: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::from(content));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

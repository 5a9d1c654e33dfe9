//! What a client is told when it can't store or get a blob.

use axum::body::Body;
use http::{HeaderValue, Response, StatusCode, header::RETRY_AFTER};
use thiserror::Error;

use crate::{
    http::{form, reply},
    hub::blobs::{self, LARGEST_BYTES},
    persist::store,
    project::files,
};

/// Why a request is not granted.
#[derive(Debug, Error)]
pub(super) enum Refusal {
    /// The form.
    #[error(transparent)]
    Form(#[from] form::Error),
    /// Nothing in it.
    #[error("upload failed: the file is empty")]
    Empty,
    /// Too much in it.
    #[error("upload failed: a blob may have {LARGEST_BYTES} bytes at most")]
    TooLarge,
    /// No time.
    #[error("the ttl has to be a number of milliseconds, 1 at least")]
    BadTtl,
    /// A piece that can't follow what is there.
    #[error("upload failed: a piece is missing before this one; start the upload again")]
    OutOfOrder,
    /// Enough is going on.
    #[error("too many blobs are under way; try again later")]
    Busy,
    /// No room.
    #[error("upload failed: there is no space left on the disk")]
    Full,
    /// The store. The cause is for the log.
    #[error("the blob store failed")]
    Store(#[source] blobs::Error),
    /// The disk. The cause is for the log.
    #[error("upload failed: the server can't keep the file")]
    Disk(#[source] files::Error),
}

impl Refusal {
    /// The answer.
    pub(super) fn response(&self) -> Response<Body> {
        let status = match self {
            Refusal::Form(error) => return error.response(),
            Refusal::Empty | Refusal::BadTtl => StatusCode::BAD_REQUEST,
            Refusal::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Refusal::OutOfOrder => StatusCode::CONFLICT,
            Refusal::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Refusal::Full => StatusCode::INSUFFICIENT_STORAGE,
            Refusal::Store(_) | Refusal::Disk(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        if status.is_server_error() {
            let cause = std::error::Error::source(self).map(ToString::to_string);
            tracing::warn!(error = %self, cause, "a blob request failed");
        }
        let mut response = reply::text(status, &self.to_string());
        if matches!(self, Refusal::Busy) {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("10"));
        }
        response
    }
}

impl From<blobs::Error> for Refusal {
    fn from(error: blobs::Error) -> Refusal {
        match &error {
            blobs::Error::Store(store::Error::Busy) => Refusal::Busy,
            blobs::Error::Store(store::Error::Storage { code, .. })
                if matches!(code.as_str(), "ENOSPC" | "SQLITE_FULL") =>
            {
                Refusal::Full
            }
            _ => Refusal::Store(error),
        }
    }
}

impl From<files::Error> for Refusal {
    fn from(error: files::Error) -> Refusal {
        match error {
            files::Error::Full => Refusal::Full,
            error => Refusal::Disk(error),
        }
    }
}

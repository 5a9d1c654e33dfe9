//! What a client is told when it does not get a file, or can't leave one.

use axum::body::Body;
use http::{HeaderValue, Response, StatusCode, header::RETRY_AFTER};
use thiserror::Error;

use crate::{
    http::{form, reply},
    project::files,
};

/// Why a request is not granted. Clients show the text.
#[derive(Debug, Error)]
pub(super) enum Refusal {
    /// The form.
    #[error(transparent)]
    Form(#[from] form::Error),
    /// The file.
    #[error(transparent)]
    File(#[from] files::Error),
    /// Another project.
    #[error("there is no such project here")]
    UnknownProject,
    /// Another compute server.
    #[error("there is no such compute server here")]
    UnknownServer,
    /// A piece that can't follow what is there.
    #[error("piece {got} came, but piece {wanted} is the next; start the upload again")]
    OutOfOrder {
        /// Its number.
        got: u64,
        /// The number of the next.
        wanted: u64,
    },
    /// The pieces of one transfer do not belong together.
    #[error("this piece belongs to another upload")]
    Mixed,
    /// Enough is going on.
    #[error("too many uploads or archives are under way; try again later")]
    Busy,
}

impl Refusal {
    /// The answer.
    pub(super) fn response(&self) -> Response<Body> {
        use files::Error as File;
        let status = match self {
            Refusal::Form(error) => return error.response(),
            Refusal::File(File::NotFound | File::NotDirectory) | Refusal::UnknownProject | Refusal::UnknownServer => {
                StatusCode::NOT_FOUND
            }
            Refusal::File(File::Outside | File::Denied | File::Special) => StatusCode::FORBIDDEN,
            Refusal::File(File::BadPath) => StatusCode::BAD_REQUEST,
            Refusal::File(File::IsDirectory) | Refusal::OutOfOrder { .. } | Refusal::Mixed => StatusCode::CONFLICT,
            Refusal::File(File::Full) => StatusCode::INSUFFICIENT_STORAGE,
            Refusal::File(File::TooMuch | File::Io(_)) => StatusCode::INTERNAL_SERVER_ERROR,
            Refusal::Busy => StatusCode::SERVICE_UNAVAILABLE,
        };
        if status.is_server_error() {
            tracing::warn!(error = %self, "a file request failed");
        }
        let mut response = reply::text(status, &self.to_string());
        if matches!(self, Refusal::Busy) {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("10"));
        }
        response
    }
}

//! Bodies of requests, with their two limits: how much, and how long without a byte.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes};
use http::StatusCode;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use thiserror::Error;
use tokio::time::{Instant, Sleep, sleep};

/// Why a request body ends early.
#[derive(Debug, Error)]
pub enum BodyError {
    /// More than the server takes; answered with 413.
    #[error("the request body is larger than {0} bytes")]
    TooLarge(usize),
    /// Nothing came for too long; answered with 408.
    #[error("the request body stalled")]
    Stalled,
    /// The connection broke.
    #[error(transparent)]
    Connection(#[from] hyper::Error),
}

/// Tells whether a limit was passed, after the body itself is gone.
#[derive(Clone, Debug, Default)]
pub(super) struct Fate(Arc<AtomicU16>);

impl Fate {
    /// The status that says what went wrong.
    pub(super) fn get(&self) -> Option<StatusCode> {
        StatusCode::from_u16(self.0.load(Ordering::Relaxed)).ok()
    }

    fn set(&self, status: StatusCode) {
        self.0.store(status.as_u16(), Ordering::Relaxed);
    }
}

/// A request body that fails when a limit is passed.
pub(super) struct RequestBody {
    inner: Incoming,
    limit: usize,
    left: usize,
    patience: Duration,
    clock: Option<Pin<Box<Sleep>>>,
    fate: Fate,
}

impl RequestBody {
    pub(super) fn new(inner: Incoming, limit: usize, patience: Duration) -> (RequestBody, Fate) {
        let fate = Fate::default();
        (RequestBody { inner, limit, left: limit, patience, clock: None, fate: fate.clone() }, fate)
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match Pin::new(&mut self.inner).poll_frame(cx) {
            Poll::Pending => {
                let patience = self.patience;
                let clock = self.clock.get_or_insert_with(|| Box::pin(sleep(patience)));
                ready!(clock.as_mut().poll(cx));
                self.fate.set(StatusCode::REQUEST_TIMEOUT);
                Poll::Ready(Some(Err(BodyError::Stalled)))
            }
            Poll::Ready(Some(Ok(frame))) => {
                let deadline = Instant::now() + self.patience;
                if let Some(clock) = &mut self.clock {
                    clock.as_mut().reset(deadline);
                }
                let size = frame.data_ref().map_or(0, Buf::remaining);
                match self.left.checked_sub(size) {
                    Some(left) => {
                        self.left = left;
                        Poll::Ready(Some(Ok(frame)))
                    }
                    None => {
                        self.left = 0;
                        self.fate.set(StatusCode::PAYLOAD_TOO_LARGE);
                        Poll::Ready(Some(Err(BodyError::TooLarge(self.limit))))
                    }
                }
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error.into()))),
            Poll::Ready(None) => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

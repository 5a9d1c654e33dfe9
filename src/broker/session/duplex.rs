//! The I/O under a session: reads go through, writes are collected in one queue.
//!
//! Packets that were encoded once for many readers are put into the queue as they are.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::broker::delivery::Sink;

/// Where a piece of the queue ends and the next one begins.
const CHUNK_BYTES: usize = 32 << 10;
/// Pieces given to the kernel at a time.
const MAX_SLICES: usize = 32;

/// A byte stream whose writes are queued.
#[derive(Debug)]
pub struct Duplex<S> {
    io: S,
    queue: VecDeque<Bytes>,
    tail: Vec<u8>,
    /// Bytes in `queue`.
    sealed: usize,
}

impl<S> Duplex<S> {
    /// Wraps a stream.
    pub fn new(io: S) -> Duplex<S> {
        Duplex { io, queue: VecDeque::new(), tail: Vec::new(), sealed: 0 }
    }

    /// Bytes that wait to be written.
    pub fn queued(&self) -> usize {
        self.sealed + self.tail.len()
    }

    fn seal(&mut self) {
        if !self.tail.is_empty() {
            self.sealed += self.tail.len();
            self.queue.push_back(Bytes::from(std::mem::take(&mut self.tail)));
        }
    }
}

impl<S> Sink for Duplex<S> {
    fn buffer(&mut self) -> &mut Vec<u8> {
        if self.tail.len() >= CHUNK_BYTES {
            self.seal();
        }
        &mut self.tail
    }

    fn push(&mut self, bytes: Bytes) {
        self.seal();
        self.sealed += bytes.len();
        self.queue.push_back(bytes);
    }
}

impl<S: AsyncWrite + Unpin> Duplex<S> {
    /// Writes what the peer takes. Ready when the queue is empty. `wrote` is set when anything was written.
    pub fn poll_drain(&mut self, cx: &mut Context<'_>, wrote: &mut bool) -> Poll<io::Result<()>> {
        while self.queued() > 0 {
            self.seal();
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            let mut used = 0;
            for (slice, chunk) in slices.iter_mut().zip(&self.queue) {
                *slice = IoSlice::new(chunk);
                used += 1;
            }
            let slices = slices.get(..used).unwrap_or_default();
            let n = ready!(Pin::new(&mut self.io).poll_write_vectored(cx, slices))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            *wrote = true;
            self.advance(n);
        }
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn advance(&mut self, mut n: usize) {
        self.sealed = self.sealed.saturating_sub(n);
        while let Some(front) = self.queue.front_mut() {
            if n < front.len() {
                front.advance(n);
                return;
            }
            n -= front.len();
            self.queue.pop_front();
        }
    }

    /// Ends the writing side.
    pub fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Duplex<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

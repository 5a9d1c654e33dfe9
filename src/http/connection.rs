//! One connection: handshake, protocol, requests, end.

use std::{
    convert::Infallible,
    io,
    net::IpAddr,
    pin::{Pin, pin},
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use http::{Request, Version};
use http_body::{Frame, SizeHint};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, sleep, timeout},
};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::{
    Live,
    activity::{Activity, InFlight, Patience},
    metrics::Requests,
    pipeline::Pipeline,
    places::Place,
    tls::Tls,
};
use crate::config::Limits;

/// Header fields a request may have.
const MAX_HEADERS: usize = 100;
/// Requests at once on one HTTP/2 connection.
const MAX_STREAMS: u32 = 100;
/// hyper wants at least this much for its buffer.
const MIN_BUFFER_BYTES: usize = 8 << 10;
/// How long a quiet connection has to say goodbye.
const GOODBYE: Duration = Duration::from_secs(2);

/// What is known about a connection before its first request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Socket {
    /// The socket's other end.
    pub(super) address: Option<IpAddr>,
    /// The connection is encrypted.
    pub(super) tls: bool,
    /// It is not, though it should be: every request is sent to `https`.
    pub(super) misplaced: bool,
}

/// What all connections share.
pub(super) struct Shared {
    pub(super) pipeline: Pipeline,
    pub(super) live: Arc<Live>,
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) requests: Arc<Requests>,
    /// Finish what is being answered and take no more.
    pub(super) drain: CancellationToken,
    /// End at once.
    pub(super) cut: CancellationToken,
}

/// Sets every limit hyper has.
fn builder(limits: &Limits) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        // We watch heads ourselves, so that the time between requests can be another one.
        .header_read_timeout(None)
        .max_headers(MAX_HEADERS)
        .max_buf_size(limits.http_header_bytes.max(MIN_BUFFER_BYTES));
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(u32::try_from(limits.http_header_bytes).unwrap_or(u32::MAX));
    builder
}

/// Serves one connection until it ends. Whatever a peer does wrong is no more than a debug line.
pub(super) async fn serve(shared: Arc<Shared>, stream: TcpStream, address: Option<IpAddr>, place: Place) {
    let (builder, patience) = {
        let limits = shared.live.limits();
        (builder(&limits), Patience { head: limits.http_header_timeout, idle: limits.http_idle_timeout })
    };
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY");
    }
    let (stream, tls, misplaced) = match &shared.tls {
        None => (Stream::Plain(stream), false, false),
        Some(tls) => match timeout(patience.head, tls.accept(stream)).await {
            Ok(Ok(Ok(stream))) => (Stream::Tls(stream), true, false),
            Ok(Ok(Err(stream))) => (Stream::Plain(stream), false, true),
            Ok(Err(error)) => return tracing::debug!(?address, %error, "TLS handshake"),
            Err(_) => return tracing::debug!(?address, "TLS handshake took too long"),
        },
    };
    let activity = Activity::start();
    let socket = Socket { address, tls, misplaced };
    let io = Guarded::new(stream, activity.clone(), shared.requests.clone(), place);
    let service = service_fn(|request: Request<Incoming>| {
        let mark = activity.begin(request.version() == Version::HTTP_2);
        let shared = shared.clone();
        async move {
            let response = shared.pipeline.handle(request, socket).await;
            Ok::<_, Infallible>(response.map(|body| Marked { body, _mark: mark }))
        }
    });
    let mut connection = pin!(builder.serve_connection_with_upgrades(TokioIo::new(io), service));
    let mut clock = pin!(sleep(activity.left(patience)));
    let mut ending = false;
    loop {
        tokio::select! {
            result = connection.as_mut() => {
                if let Err(error) = result {
                    tracing::debug!(?address, %error, "connection");
                }
                return activity.end();
            }
            () = shared.cut.cancelled() => return,
            () = shared.drain.cancelled(), if !ending => {
                ending = true;
                connection.as_mut().graceful_shutdown();
            }
            () = clock.as_mut() => {
                let left = activity.left(patience);
                if !left.is_zero() {
                    clock.as_mut().reset(Instant::now() + left);
                } else if ending {
                    return tracing::debug!(?address, "connection was quiet for too long");
                } else {
                    ending = true;
                    connection.as_mut().graceful_shutdown();
                    clock.as_mut().reset(Instant::now() + GOODBYE);
                }
            }
        }
    }
}

/// Plain or encrypted.
enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A stream that reports what happens on it and holds its place among the connections, also after an upgrade.
struct Guarded {
    stream: Stream,
    activity: Arc<Activity>,
    requests: Arc<Requests>,
    _place: Place,
}

impl Guarded {
    fn new(stream: Stream, activity: Arc<Activity>, requests: Arc<Requests>, place: Place) -> Guarded {
        requests.connections.fetch_add(1, Ordering::Relaxed);
        Guarded { stream, activity, requests, _place: place }
    }

    fn note_write(&self, result: &Poll<io::Result<usize>>) {
        match result {
            Poll::Pending => self.activity.blocked(),
            Poll::Ready(_) => self.activity.wrote(),
        }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.requests.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

impl AsyncRead for Guarded {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        };
        if buffer.filled().len() > before {
            self.activity.read();
        }
        result
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        };
        self.note_write(&result);
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Stream::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        };
        self.note_write(&result);
        result
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// The body of an answer; the request counts as being answered until it is sent.
struct Marked {
    body: Body,
    _mark: InFlight,
}

impl http_body::Body for Marked {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

//! The one way of every request: limits → trace → host and origin → sign-in → route → security headers.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use axum::body::Body;
use futures_util::FutureExt;
use http::{
    HeaderValue, Request, Response, StatusCode, Uri,
    header::{
        CONNECTION, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, COOKIE, HOST, LOCATION, REFERRER_POLICY,
        X_CONTENT_TYPE_OPTIONS,
    },
    request::Parts,
    uri::PathAndQuery,
};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::{Instant, sleep, timeout};
use tower::ServiceExt;

use super::{
    BusEndpoint, Live, Peer,
    body::RequestBody,
    connection::Socket,
    metrics::Requests,
    origin::{self, Rules},
    reply,
    routes::Routes,
    sign_in::{self, Passage, SignIn},
};

/// What our own page may do.
const PAGE_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self'; \
     connect-src 'self' ws: wss:; object-src 'none'; base-uri 'none'; frame-ancestors 'self'",
);

/// How much of the body of a refused request is read: a piece of an upload.
const HEARD_BYTES: usize = 10 << 20;
/// And for how long.
const HEARD_FOR: Duration = Duration::from_secs(5);

/// The pipeline and what its steps need.
pub(super) struct Pipeline {
    pub(super) live: Arc<Live>,
    /// Empty, or `/x`.
    pub(super) base_path: String,
    pub(super) rules: Rules,
    pub(super) sign_in: Arc<SignIn>,
    pub(super) bus: Arc<dyn BusEndpoint>,
    pub(super) routes: Routes,
    pub(super) own_page: bool,
    pub(super) requests: Arc<Requests>,
}

impl Pipeline {
    /// Answers a request, whatever happens on the way.
    pub(super) async fn handle(&self, request: Request<Incoming>, socket: Socket) -> Response<Body> {
        let start = Instant::now();
        let method = request.method().clone();
        // Without the query: it may hold the token.
        let path = request.uri().path().to_owned();
        let answer = AssertUnwindSafe(self.limited(request, socket)).catch_unwind().await;
        let response = answer.unwrap_or_else(|_| {
            tracing::error!(%method, path, "a request handler panicked");
            reply::text(StatusCode::INTERNAL_SERVER_ERROR, "internal error")
        });
        let took = start.elapsed();
        self.requests.note(response.status(), took);
        tracing::debug!(
            %method,
            path,
            status = response.status().as_u16(),
            micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            address = ?socket.address,
            "request"
        );
        response
    }

    /// Limits that the head shows.
    async fn limited(&self, request: Request<Incoming>, socket: Socket) -> Response<Body> {
        if socket.misplaced {
            return to_https(&request);
        }
        let announced =
            request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
        if announced.is_some_and(|size| size > self.live.limits().http_body_bytes) {
            return self.secured(reply::unread(StatusCode::PAYLOAD_TOO_LARGE), false);
        }
        self.checked(request, socket).await
    }

    /// Host and origin; the bus goes its own way from here.
    async fn checked(&self, mut request: Request<Incoming>, socket: Socket) -> Response<Body> {
        if let Err(refusal) = self.rules.check_host(request.headers(), request.uri(), self.sign_in.is_required()) {
            let status =
                if refusal == origin::Refusal::BadHost { StatusCode::BAD_REQUEST } else { StatusCode::FORBIDDEN };
            return self.secured(reply::text(status, &refusal.to_string()), false);
        }
        name_host(&mut request);
        let peer = Peer::new(socket.address, socket.tls, request.headers());
        let path = request.uri().path();
        if let Some(answer) =
            self.routes.open(request.method(), path.strip_prefix(self.base_path.as_str()).unwrap_or(path))
        {
            return self.secured(answer, false);
        }
        let inside = path.strip_prefix(self.base_path.as_str()).filter(|rest| rest.is_empty() || rest.starts_with('/'));
        let for_bus = inside.is_some_and(|rest| rest.starts_with("/conat/"));
        // What a page of another origin may not do: use the door that is open to this machine, and the cookie that browsers
        // send along whatever page asks, also one on another port.
        let is_ambient = !self.sign_in.is_required() && (for_bus || origin::is_unsafe(request.method()))
            || for_bus && request.headers().contains_key(COOKIE);
        if is_ambient && let Err(refusal) = origin::check_origin(request.headers(), &peer) {
            tracing::debug!(path, "refused a page of another origin");
            hear_out(request.into_body()).await;
            return self.secured(reply::text(StatusCode::FORBIDDEN, &refusal.to_string()), false);
        }
        if for_bus {
            return self.bus.upgrade(request, peer);
        }
        let place = match inside {
            None => Place::Outside,
            Some("") => Place::Entrance,
            Some(rest) => Place::Inside(without_prefix(request.uri(), rest)),
        };
        self.admitted(request, place, peer).await
    }

    /// Sign-in.
    async fn admitted(&self, request: Request<Incoming>, place: Place, peer: Peer) -> Response<Body> {
        let (mut head, body) = request.into_parts();
        if !self.opens_metrics(&head, &place)
            && let Passage::Answered(response, delay) = self.sign_in.admit(&head, &peer)
        {
            hear_out(body).await;
            if !delay.is_zero() {
                sleep(delay).await;
            }
            return self.secured(*response, false);
        }
        match place {
            Place::Outside => return self.secured(reply::not_found(), false),
            Place::Entrance => return self.secured(self.routes.enter(&self.base_path), false),
            Place::Inside(uri) => head.uri = uri,
        }
        head.extensions.insert(peer);
        let (body, fate) = {
            let limits = self.live.limits();
            RequestBody::new(body, limits.http_body_bytes, limits.http_idle_timeout)
        };
        let is_page = head.uri.path().starts_with("/static/");
        let router = self.routes.router.clone();
        let response = match router.oneshot(Request::from_parts(head, Body::new(body))).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        // Whatever the handler made of the error it saw.
        match fate.get() {
            None => self.secured(response, is_page),
            Some(status) => self.secured(reply::unread(status), false),
        }
    }

    /// Whether the request asks for numbers and shows the token that is for nothing else.
    fn opens_metrics(&self, head: &Parts, place: &Place) -> bool {
        matches!(place, Place::Inside(uri) if uri.path() == "/metrics")
            && match (&*self.live.metrics_token(), sign_in::bearer(&head.headers)) {
                (Some(token), Some(presented)) => token.matches(presented),
                _ => false,
            }
    }

    /// Headers that keep browsers from guessing, telling and embedding.
    fn secured(&self, mut response: Response<Body>, is_page: bool) -> Response<Body> {
        let html = response
            .headers()
            .get(CONTENT_TYPE)
            .is_some_and(|kind| kind.to_str().is_ok_and(|kind| kind.starts_with("text/html")));
        let headers = response.headers_mut();
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        // Another frontend may need scripts and referrers of its own.
        if !is_page || self.own_page {
            headers.entry(REFERRER_POLICY).or_insert(HeaderValue::from_static("no-referrer"));
            if html {
                headers.entry(CONTENT_SECURITY_POLICY).or_insert(PAGE_POLICY);
            }
        }
        response
    }
}

/// Where a target is, seen from the base path.
enum Place {
    /// Not below it.
    Outside,
    /// The base path itself, without a slash at its end.
    Entrance,
    /// Below it; the target without it.
    Inside(Uri),
}

/// Reads a body that nobody wants, within reason: a client that still sends when the connection is closed does not get to
/// see why it was refused.
async fn hear_out(mut body: Incoming) {
    let mut left = HEARD_BYTES;
    let end = async {
        while let Some(Ok(frame)) = body.frame().await {
            left = match left.checked_sub(frame.data_ref().map_or(0, bytes::Bytes::len)) {
                Some(left) => left,
                None => return,
            };
        }
    };
    // Late or never: the answer is the same.
    let _ = timeout(HEARD_FOR, end).await;
}

/// HTTP/2 names the host in the target; everybody looks for it in the header.
fn name_host(request: &mut Request<Incoming>) {
    if request.headers().contains_key(HOST) {
        return;
    }
    if let Some(host) = request.uri().authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok()) {
        request.headers_mut().insert(HOST, host);
    }
}

/// The target without the base path; `rest` is what remains of the path.
fn without_prefix(uri: &Uri, rest: &str) -> Uri {
    let target = match uri.query() {
        Some(query) => format!("{rest}?{query}"),
        None => rest.to_owned(),
    };
    PathAndQuery::try_from(target).map(Uri::from).unwrap_or_default()
}

/// The same place over TLS.
fn to_https(request: &Request<Incoming>) -> Response<Body> {
    let host = request
        .headers()
        .get(HOST)
        .and_then(|host| host.to_str().ok())
        .filter(|host| host.parse::<http::uri::Authority>().is_ok());
    let Some(host) = host else { return reply::text(StatusCode::BAD_REQUEST, "this server speaks https only") };
    let target = request.uri().path_and_query().map_or("/", PathAndQuery::as_str);
    let mut response = reply::text(StatusCode::PERMANENT_REDIRECT, "this server speaks https only");
    if let Ok(location) = HeaderValue::try_from(format!("https://{host}{target}")) {
        response.headers_mut().insert(LOCATION, location);
    }
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

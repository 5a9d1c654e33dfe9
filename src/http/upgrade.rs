//! The broker's end of `/conat/`: the engine.io handshake and the upgrade to a WebSocket (conat-wire.md §2.1).

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use http::{
    HeaderMap, HeaderValue, Request, Response, StatusCode,
    header::{CONNECTION, CONTENT_TYPE, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE},
};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{Body, BusEndpoint, Peer};
use crate::{
    broker::{
        Broker,
        session::{self, Origin},
    },
    wire::engineio::{HandshakeError, check_handshake},
};

/// Hands upgraded connections to the broker.
pub struct BrokerEndpoint {
    broker: Arc<Broker>,
    sessions: TaskTracker,
    shutdown: CancellationToken,
}

impl BrokerEndpoint {
    /// Sessions run as tasks of `sessions` and end with `shutdown`.
    pub fn new(broker: Arc<Broker>, sessions: TaskTracker, shutdown: CancellationToken) -> BrokerEndpoint {
        BrokerEndpoint { broker, sessions, shutdown }
    }
}

impl BusEndpoint for BrokerEndpoint {
    fn upgrade(&self, mut request: Request<Incoming>, peer: Peer) -> Response<Body> {
        let query = request.uri().query().unwrap_or_default().to_owned();
        let key = websocket_key(request.headers());
        if let Err(error) = check_handshake(request.method().as_str(), &query, key.is_some()) {
            return refused(error);
        }
        let Some(accept) = key.and_then(|key| HeaderValue::try_from(derive_accept_key(key.as_bytes())).ok()) else {
            return refused(HandshakeError::BadRequest);
        };
        let headers = std::mem::take(request.headers_mut());
        let origin = Origin { headers, query, address: peer.address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)) };
        let (broker, shutdown) = (self.broker.clone(), self.shutdown.clone());
        let upgrade = hyper::upgrade::on(request);
        self.sessions.spawn(async move {
            match upgrade.await {
                Ok(upgraded) => session::serve(TokioIo::new(upgraded), broker, origin, shutdown).await,
                Err(error) => tracing::debug!(%error, "a connection went away while it was upgraded"),
            }
        });
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        // No Sec-WebSocket-Extensions: compression is declined (§2.7).
        headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
        response
    }
}

/// The key of a well-formed WebSocket handshake.
fn websocket_key(headers: &HeaderMap) -> Option<HeaderValue> {
    let has_token = |name, token: &str| {
        headers
            .get_all(name)
            .iter()
            .filter_map(|v| v.to_str().ok())
            .any(|value| value.split(',').any(|part| part.trim().eq_ignore_ascii_case(token)))
    };
    let wanted = has_token(UPGRADE, "websocket") && has_token(CONNECTION, "upgrade");
    let version = headers.get(SEC_WEBSOCKET_VERSION).is_some_and(|v| v == "13");
    headers.get(SEC_WEBSOCKET_KEY).filter(|_| wanted && version).cloned()
}

fn refused(error: HandshakeError) -> Response<Body> {
    let mut response = Response::new(Body::from(error.body()));
    *response.status_mut() = StatusCode::BAD_REQUEST;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

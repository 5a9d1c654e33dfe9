//! HTTP: one port for the page, the bus and everything else.
//!
//! A request goes one way: limits → trace → host and origin → sign-in → route → security headers (`pipeline`). Each connection
//! has a task that watches its times (`connection`). [`Server::build`] puts the parts together, [`Server::run`] serves until
//! it is told to stop.
//!
//! The bus takes its connections over through [`BusEndpoint`]: it signs them in by itself, with
//! [`sign_in::LiteAuthenticator`].

mod activity;
pub mod blobs;
mod body;
mod compress;
mod connection;
mod disposition;
pub mod files;
mod form;
pub mod health;
mod live;
pub mod metrics;
mod origin;
pub mod page;
mod peer;
mod pending;
mod percent;
mod pipeline;
mod places;
mod query;
mod range;
mod redirect;
mod reply;
mod routes;
mod send;
mod server;
pub mod sign_in;
mod stream;
pub mod tls;
mod upgrade;

pub use blobs::BlobRoutes;
pub use body::BodyError;
pub use files::Files;
pub use health::{Latch, Readiness};
pub use live::Live;
pub use metrics::{Metrics, MetricsSource, Sample};
pub use peer::Peer;
pub use server::{Error, Parts, Server, Settings};
pub use sign_in::{LiteAuthenticator, LiteUsers, SignIn};
pub use tls::Tls;
pub use upgrade::BrokerEndpoint;

/// The body of an answer.
pub type Body = axum::body::Body;

/// The configuration document that `GET /customize` answers with (hub.md §4).
pub trait Customize: Send + Sync {
    /// The document of this moment, as JSON. Must not block, and must not contain a secret.
    fn document(&self) -> bytes::Bytes;
}

/// The broker's end of `<base>/conat/`.
///
/// A request that gets here passed the limits and the host and origin check, but not the sign-in: the endpoint authenticates
/// by itself, from the headers and what the client says later.
pub trait BusEndpoint: Send + Sync {
    /// Answers a request to `<base>/conat/…`: with `101 Switching Protocols`, taking the connection over through
    /// `hyper::upgrade::on`, or with an error. Runs on the runtime and must not block.
    fn upgrade(&self, request: http::Request<hyper::body::Incoming>, peer: Peer) -> http::Response<Body>;
}

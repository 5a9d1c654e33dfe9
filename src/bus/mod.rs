//! The client's side of the bus.
//!
//! A [`Client`] is connected in process ([`Client::in_process`]) or over a WebSocket ([`Client::connect`]); what is built on it
//! can't tell which.
//!
//! | | conat-wire.md |
//! |---|---|
//! | [`Client::subscribe`], [`Subscription`] | §§6.2, 11 |
//! | [`Client::publish`], [`Client::publish_sync`] | §§5.5, 6.1, 10.6 |
//! | [`Client::request`], [`Client::request_many`], [`Message::respond`] | §10 |
//! | [`service`] | §§15, 20.12 |
//! | [`socket`] | §§17, 20.9 |
//!
//! # Bounds
//!
//! | queue | bound | when it is full |
//! |---|---|---|
//! | messages for a reader | [`SubscribeOptions`] | the reader gets what waits, then [`Error::SlowReader`] |
//! | responses to a request for many | 16 384 messages, 64 MiB | as above |
//! | incomplete messages of a subscription | 1024 messages, 256 MiB | the oldest is dropped |
//! | deliveries for a client in process | the broker's outbox | the client connects anew, as after a lost connection |
//! | what waits to be sent over a WebSocket, connected or not | [`ConnectOptions`] | acknowledged publishes wait, others fail with [`Error::Full`] |
//! | remembered refusals | 10 000 | all are forgotten |

mod calls;
mod client;
mod core;
mod error;
mod id;
mod link;
mod local;
mod message;
mod publish;
pub(crate) mod queue;
mod remote;
mod request;
pub mod service;
pub mod socket;
mod status;
mod subscription;
mod table;
#[cfg(test)]
pub(crate) mod testing;

pub use client::Client;
pub use error::{Code, Error, Failure};
pub use id::random_id;
pub use message::{JSON, MSGPACK, Message};
pub use publish::{PublishOptions, Published};
pub use remote::{ConnectOptions, Connector, Io, Trust};
pub use request::{RequestManyOptions, RequestOptions, Responses};
pub use status::{State, Status};
pub use subscription::{SubscribeOptions, Subscription};

/// What an operation on the bus gives.
pub type Result<T, E = Error> = std::result::Result<T, E>;

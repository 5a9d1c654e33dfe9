//! The store on the bus (conat-persist.md §§2–7, 10, 17).
//!
//! A client opens a virtual socket for each stream, tells in its first message which one, and sends requests. One task owns a socket.
//! It begins the writes in the order in which they arrive and answers each when it is committed, without waiting in between; a read
//! waits for the writes before it.
//!
//! | | what it is |
//! |---|---|
//! | [`authorization`] | which paths may be opened on which subject |
//! | `balancer` | which server serves a scope |
//! | `opening` | the time until a socket's stream is open, or has failed to |
//! | `connection` | an open socket: requests and what becomes of them |
//! | `request`, `parameters`, `operations` | what is asked for, read leniently |
//! | `records`, `refusal` | what is answered |
//! | `writing` | writes under way |
//! | `replay`, `changefeed` | messages in bulk, and as they come |
//! | `quota`, `window` | how much anybody gets |
//!
//! | what waits | bound | when it is reached |
//! |---|---|---|
//! | writes of a socket under way | 1024, 64 MiB | nothing more is read from the socket |
//! | requests of a socket that were not read | 16 384, 128 MiB | the socket closes |
//! | requests of a socket that is not open yet | 1000, 64 MiB | answered with code 503 |
//! | answers in bulk of a socket | 8 | nothing more is read from the socket |
//! | answers in bulk on their way to one client | half of what its connection may hold | the others wait |
//! | feed frames that are not acknowledged | 1000, 8 MiB | events wait |
//! | events that wait | 100 000, 128 MiB, 60 s | the socket closes |
//! | sockets | 500 in a scope, 10 000 in total | the open fails with code 429 |
//! | sockets that are connected but not open | as many again | closed |

pub mod authorization;
mod balancer;
mod changefeed;
mod connection;
mod counters;
mod opening;
mod operations;
mod parameters;
mod quota;
mod records;
mod refusal;
mod replay;
mod request;
mod server;
#[cfg(test)]
mod tests;
mod window;
mod writing;

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

pub use self::{
    balancer::{choose, hash},
    counters::Counters,
    server::{Service, ServiceOptions},
};
use self::{quota::Quota, refusal::Refusal, window::Windows};
use super::store::Store;
use crate::bus::{Client, MSGPACK};

/// What all sockets of a service share.
struct Shared {
    client: Client,
    store: Store,
    options: ServiceOptions,
    quota: Arc<Quota>,
    windows: Windows,
    counters: Arc<Counters>,
    until: CancellationToken,
}

impl Shared {
    /// Answers a request.
    fn answer(&self, reply: &str, payload: Bytes) {
        self.answer_with(reply, payload, None);
    }

    /// Answers a request with headers.
    fn answer_with(&self, reply: &str, payload: Bytes, headers: Option<Value>) {
        if let Err(error) = self.client.publish_bytes_sync(reply, MSGPACK, payload, headers) {
            tracing::debug!(%error, "an answer was not sent");
        }
    }

    /// Answers a request with a failure.
    fn refuse(&self, reply: &str, refusal: &Refusal) {
        self.counters.failures.add(1);
        self.answer_with(reply, records::nil(), Some(refusal.to_headers()));
    }
}

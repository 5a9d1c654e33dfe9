//! The hook through which a connection gets its user (conat-wire.md §3.2).

use std::net::IpAddr;

use serde_json::Value;
use thiserror::Error;

use super::User;

/// What is known of a connection when it signs in.
#[derive(Clone, Debug)]
pub struct Handshake {
    /// Headers of the HTTP request that was upgraded.
    pub headers: http::HeaderMap,
    /// The request's query text, without `?`.
    pub query: String,
    /// The address the connection came from (after trusted proxy headers).
    pub address: Option<IpAddr>,
    /// Payload of socket.io CONNECT, `null` when there was none.
    pub auth: Value,
}

/// Why a sign-in failed; becomes `user.error` and `user.code` in `info` (§3.4).
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{message}")]
pub struct SignInError {
    /// Text for people; never contains what was presented.
    pub message: String,
    /// 429 for limits; absent otherwise.
    pub code: Option<i64>,
}

/// Decides who a connection is. Must be quick and must not block: it runs on the runtime.
pub trait Authenticator: Send + Sync {
    /// Looks at a handshake and names the user.
    ///
    /// # Errors
    /// A [`SignInError`] refuses the sign-in.
    fn sign_in(&self, handshake: &Handshake) -> Result<User, SignInError>;
}

/// Everybody is `null` (§3.2: no getUser configured).
pub struct Anonymous;

impl Authenticator for Anonymous {
    fn sign_in(&self, _: &Handshake) -> Result<User, SignInError> {
        Ok(User::anonymous())
    }
}

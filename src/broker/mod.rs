//! The broker: who hears what.
//!
//! A [`Broker`] knows every connection, what it is subscribed to and what it may do. Connections come in two kinds that share
//! one code path from the policy on: sockets (a session that speaks engine.io and socket.io) and clients in process.

pub mod policy;
pub mod sign_in;
pub mod stats;
pub mod user;

pub use policy::{Direction, Policy, Verdict};
pub use sign_in::{Authenticator, Handshake, SignInError};
pub use stats::Counters;
pub use user::User;

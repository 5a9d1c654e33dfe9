//! A real server on a free port, asked through hyper's client or a plain socket.
//!
//! Names begin with the item of the hub's conformance checklist (B. Authentication, C. TLS, D. Routes). Items 23–25 need the
//! broker and are tested with it; 38–40 are about stored settings.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod bus;
mod files;
mod limits;
mod routes;
mod sign_in;
mod support;
mod tls;

//! Sessions with real programs and pretended clients.

mod client;
mod flow;
mod sessions;

//! The client in the broker's own process, and peers that send and see single frames.

mod frames;
mod requests;
mod services;
mod sockets;
mod subscriptions;

//! Items of the wire specification that are about the client, through the real client.
//!
//! Against the broker's real sessions where the item is about what comes of it, against a scripted server where it is about
//! what goes over the wire; once more with the client in process; and over a way between the two that loses things. Everything
//! runs over streams in memory, so time can be paused.

mod chunks;
mod harness;
mod in_process;
mod over_wire;
mod peers;
mod persist;
mod reconnect;
mod requests;
mod script;
mod server;
mod services;
mod socket_life;
mod sockets;
mod subscriptions;
mod system;
mod tls;

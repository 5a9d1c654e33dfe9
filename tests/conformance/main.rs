//! Items of the wire specification that are about the client, through the real client.
//!
//! Against the broker's real sessions where the item is about what comes of it, against a scripted server where it is about
//! what goes over the wire. Everything runs over streams in memory, so time can be paused.

mod chunks;
mod peers;
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

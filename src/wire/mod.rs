//! Pure codecs: no I/O, no clock, no allocation in proportion to a number a peer merely claims.
//!
//! | module | what it is | conat-wire.md |
//! |---|---|---|
//! | [`engineio`] | engine.io v4 packets | §§2.1–2.3 |
//! | [`socketio`] | socket.io v5 packets and events | §§2.4–2.6 |
//! | [`json`] | a validating scanner that finds the pieces of a packet without building a tree | |
//! | [`frame`] | one published frame | §5 |
//! | [`chunk`] | splitting messages into frames and putting them together again | §§5.5–5.6 |
//! | [`msgpack`] | the MessagePack profile of payloads | §5.3 |
//! | [`pack`] | MessagePack written piece by piece | §5.3 |
//! | [`subject`] | subjects and patterns | §4 |
//! | [`websocket`] | heads of unmasked WebSocket frames, for packets encoded once and sent to many | |

pub mod chunk;
pub mod engineio;
pub mod frame;
pub mod json;
pub mod msgpack;
pub mod pack;
pub mod socketio;
pub mod subject;
pub mod websocket;

//! The client over a WebSocket, with everything written down that passes between it and a real broker, and some of it lost.

mod connecting;
mod sockets;

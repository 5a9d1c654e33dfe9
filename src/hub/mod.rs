//! What the hub does: clock and server status.

//! Limits and times, each of them a setting (conat-wire.md §§2.2, 2.4, 14, 20.6). All of them can change while the server runs:
//! whoever applies one says when it takes effect, which is for new connections at the latest.

use std::time::Duration;

/// Limits and times of the bus and of HTTP. A count of 0 means "no limit" where the field says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest WebSocket message, in bytes; `max_payload` of `info`.
    pub max_payload: usize,
    /// Subscriptions per connection of an ordinary user; 0 = no limit.
    pub max_subscriptions_per_client: usize,
    /// Subscriptions per connection of a hub; 0 = no limit.
    pub max_subscriptions_per_hub: usize,
    /// Connections in total; 0 = no limit.
    pub max_connections: usize,
    /// Connections per identical user; 0 = no limit.
    pub max_connections_per_user: usize,
    /// Connections per identical hub user; 0 = no limit.
    pub max_connections_per_hub: usize,
    /// Longest `wait-for-interest` and RPC.
    pub max_wait: Duration,
    /// Admission control: length of the counting window and of the block after it is exceeded.
    pub admission_window: Duration,
    /// Admission control: `subscriptions` events per connection and window; 0 = off.
    pub admission_subscriptions: u32,
    /// Admission control: events per connection and window; 0 = off.
    pub admission_socket_events: u32,
    /// Admission control: events per identity and window; 0 = off.
    pub admission_identity_events: u32,
    /// engine.io heartbeat period.
    pub ping_interval: Duration,
    /// How long a pong may take.
    pub ping_timeout: Duration,
    /// How long a connection may stay without socket.io CONNECT.
    pub connect_timeout: Duration,
    /// Bytes that may wait for one reader before it is cut off as slow.
    pub outbox_bytes: usize,
    /// Messages that may wait for one reader before it is cut off as slow.
    pub outbox_messages: usize,
    /// How long a reader may take nothing at all while something waits for it.
    pub write_timeout: Duration,
    /// Sockets on which a stream is open, in total; 0 = no limit.
    pub open_streams: usize,
    /// Sockets on which a stream of one account, project or host is open; 0 = no limit.
    pub open_streams_per_owner: usize,
    /// How long a stream is kept open after the last socket on it has closed; in-memory streams live so long.
    pub stream_grace: Duration,
    /// Records the flight recorder keeps.
    pub flight_records: usize,
    /// Largest HTTP request head, in bytes.
    pub http_header_bytes: usize,
    /// Largest HTTP request body, in bytes.
    pub http_body_bytes: usize,
    /// How long a request head may take.
    pub http_header_timeout: Duration,
    /// How long an HTTP connection may stay idle.
    pub http_idle_timeout: Duration,
    /// HTTP connections in total, upgraded ones included; 0 = no limit.
    pub http_connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            max_payload: 8_000_000,
            max_subscriptions_per_client: 500,
            max_subscriptions_per_hub: 15_000,
            max_connections: 10_000,
            max_connections_per_user: 100,
            max_connections_per_hub: 1_000,
            max_wait: Duration::from_secs(90),
            admission_window: Duration::from_secs(10),
            admission_subscriptions: 0,
            admission_socket_events: 0,
            admission_identity_events: 0,
            ping_interval: Duration::from_secs(25),
            ping_timeout: Duration::from_secs(20),
            connect_timeout: Duration::from_secs(45),
            outbox_bytes: 64 << 20,
            outbox_messages: 131_072,
            write_timeout: Duration::from_secs(10),
            open_streams: 10_000,
            open_streams_per_owner: 500,
            stream_grace: Duration::from_secs(30),
            flight_records: 4096,
            http_header_bytes: 32 << 10,
            http_body_bytes: 64 << 20,
            http_header_timeout: Duration::from_secs(10),
            http_idle_timeout: Duration::from_secs(60),
            http_connections: 12_000,
        }
    }
}

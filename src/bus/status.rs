//! Whether a client is connected.

use super::Error;

/// Where a client's connection stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// Not connected, or not signed in yet.
    #[default]
    Connecting,
    /// Signed in, and all subscriptions are there.
    Connected,
    /// Closed for good.
    Closed,
}

/// The state of a client's connection.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// Where it stands.
    pub state: State,
    /// How many times it has been connected; a higher number than before means that messages may have been missed.
    pub generation: u64,
    /// Why it is closed, or why the last sign-in failed.
    pub error: Option<Error>,
    /// Whether responses to requests can be received.
    pub inbox: bool,
}

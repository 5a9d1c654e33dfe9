//! Limits and times of terminals (§§11.4, 11.5, 19, 21.5).

use std::time::Duration;

/// Limits and times of terminals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Characters of output a session keeps for sockets that come later.
    pub history_chars: usize,
    /// Data messages per second and socket.
    pub messages_per_second: u32,
    /// How long the leader may be silent before another client's automatic answers count.
    pub leader_timeout: Duration,
    /// Sessions at a time.
    pub sessions: usize,
    /// Sockets per session.
    pub sockets: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            history_chars: 1_000_000,
            messages_per_second: 24,
            leader_timeout: Duration::from_secs(10),
            sessions: 32,
            sockets: 64,
        }
    }
}

impl Limits {
    /// The defaults, changed by the reference's own variables: `COCALC_TERMINAL_MAX_HISTORY_LENGTH`,
    /// `COCALC_TERMINAL_MAX_MSGS_PER_SECOND` and `COCALC_TERMINAL_LEADER_TIMEOUT_MS`. A value that is no positive number changes nothing.
    pub fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Self {
        let number = |name: &str| variable(name)?.trim().parse::<u32>().ok().filter(|number| *number > 0);
        let mut limits = Limits::default();
        if let Some(chars) = number("COCALC_TERMINAL_MAX_HISTORY_LENGTH") {
            limits.history_chars = usize::try_from(chars).unwrap_or(usize::MAX);
        }
        if let Some(messages) = number("COCALC_TERMINAL_MAX_MSGS_PER_SECOND") {
            limits.messages_per_second = messages;
        }
        if let Some(ms) = number("COCALC_TERMINAL_LEADER_TIMEOUT_MS") {
            limits.leader_timeout = Duration::from_millis(ms.into());
        }
        limits
    }

    /// Shortest time between two data messages to a socket.
    pub(super) fn interval(&self) -> Duration {
        Duration::from_secs(1) / self.messages_per_second.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_come_from_the_environment() {
        let limits = Limits::from_environment(|name| {
            let value = match name {
                "COCALC_TERMINAL_MAX_HISTORY_LENGTH" => "5000",
                "COCALC_TERMINAL_MAX_MSGS_PER_SECOND" => "nonsense",
                "COCALC_TERMINAL_LEADER_TIMEOUT_MS" => " 250 ",
                _ => return None,
            };
            Some(value.to_owned())
        });
        assert_eq!(limits.history_chars, 5000);
        assert_eq!(limits.messages_per_second, 24);
        assert_eq!(limits.leader_timeout, Duration::from_millis(250));
        assert_eq!(limits.interval(), Duration::from_secs(1) / 24);
    }
}

//! Why the broker did not do something, and how the peer is told (conat-wire.md §12).

use thiserror::Error;

/// A refused operation. The text is what the peer reads, without the leading `Error: `.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Refusal {
    /// Not a subject or pattern.
    #[error("invalid subject")]
    InvalidSubject,
    /// The policy said no; the text names subject and user.
    #[error("{0}")]
    Denied(String),
    /// The policy could not answer.
    #[error("{0}")]
    Policy(String),
    /// `subscribe` without queue.
    #[error("queue must be defined")]
    QueueMissing,
    /// A pattern that clients or libraries would take for something else (D15).
    #[error("invalid subject: '{0}' is a reserved event name")]
    Reserved(String),
    /// Too many of something.
    #[error("limit of {max} {what} per connection reached")]
    Limit {
        /// What there are too many of.
        what: &'static str,
        /// How many there may be.
        max: usize,
    },
    /// The arguments are not what the event takes.
    #[error("{0}")]
    Malformed(&'static str),
}

impl Refusal {
    /// The code in the acknowledgement; absent for some (§12).
    pub fn code(&self) -> Option<u16> {
        match self {
            Refusal::InvalidSubject | Refusal::QueueMissing | Refusal::Policy(_) | Refusal::Reserved(_) => None,
            Refusal::Denied(_) => Some(403),
            Refusal::Limit { .. } => Some(429),
            Refusal::Malformed(_) => Some(400),
        }
    }

    /// Whether a `permission` event goes with it (§7.2).
    pub fn is_denied(&self) -> bool {
        matches!(self, Refusal::Denied(_))
    }
}

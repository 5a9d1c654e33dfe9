//! Who may publish and subscribe to what (conat-wire.md §13).

use thiserror::Error;

use super::User;

/// What somebody wants to do with a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Publish, wait for interest, call.
    Publish,
    /// Subscribe, register a service.
    Subscribe,
}

impl Direction {
    /// `pub` or `sub`, as in the `permission` event (§7.2).
    pub fn as_str(self) -> &'static str {
        match self {
            Direction::Publish => "pub",
            Direction::Subscribe => "sub",
        }
    }
}

/// An answer and the rule that gave it, for `outpost why`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether the operation may go on.
    pub allowed: bool,
    /// The rule in words for people.
    pub rule: &'static str,
}

/// A policy that could not answer; the operation is refused with this text.
#[derive(Clone, Debug, Error)]
#[error("{0}")]
pub struct PolicyError(pub String);

/// Rules about subjects and patterns. Answers may be cached by the caller, so they must depend on the arguments only.
pub trait Policy: Send + Sync {
    /// Whether `user` may do `direction` with `subject` (a pattern when subscribing).
    ///
    /// # Errors
    /// A [`PolicyError`] refuses the operation (§13.1).
    fn decide(&self, user: &User, direction: Direction, subject: &str) -> Result<Verdict, PolicyError>;
}

/// Everything is allowed to everybody (§13.3).
pub struct Open;

impl Policy for Open {
    fn decide(&self, _: &User, _: Direction, _: &str) -> Result<Verdict, PolicyError> {
        Ok(Verdict { allowed: true, rule: "policy open: everything is allowed" })
    }
}

/// One account and one project (hub.md §3.3); hubs may do everything.
#[derive(Clone, Debug)]
pub struct Lite {
    /// The one account.
    pub account_id: String,
    /// The one project.
    pub project_id: String,
}

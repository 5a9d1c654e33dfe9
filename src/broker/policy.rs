//! Who may publish and subscribe to what (conat-wire.md §13).

use std::sync::Arc;

use thiserror::Error;

use super::{User, user::Identity};
use crate::config::{Config, PolicyKind};

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

/// Everything is allowed to everybody (§13.3) who did not fail to sign in: with an access token, this is what keeps others out.
pub struct Open;

impl Policy for Open {
    fn decide(&self, user: &User, _: Direction, _: &str) -> Result<Verdict, PolicyError> {
        Ok(match user.is_failed() {
            false => Verdict { allowed: true, rule: "policy open: everything is allowed" },
            true => Verdict { allowed: false, rule: "sign-in failed" },
        })
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

/// Changefeeds of a frontend that does not know its account yet.
const UNDEFINED_FEEDS: &str = "changefeeds.account-undefined";

/// The policy that the settings ask for.
pub fn for_config(config: &Config) -> Arc<dyn Policy> {
    match config.policy {
        PolicyKind::Open => Arc::new(Open),
        PolicyKind::Lite => Arc::new(Lite {
            account_id: config.identity.account_id.clone(),
            project_id: config.identity.project_id.clone(),
        }),
    }
}

impl Lite {
    /// Whether a subject names something: `<kind>.<id>.…`, or `<kind>-<id>` as its second token.
    fn belongs(subject: &str, kind: &str, id: &str) -> bool {
        let mut tokens = subject.split('.');
        let (first, second) = (tokens.next().unwrap_or_default(), tokens.next().unwrap_or_default());
        let owned = first == kind && second == id && tokens.next().is_some();
        owned || second.strip_prefix(kind).and_then(|rest| rest.strip_prefix('-')) == Some(id)
    }
}

impl Policy for Lite {
    fn decide(&self, user: &User, direction: Direction, subject: &str) -> Result<Verdict, PolicyError> {
        let verdict = |allowed, rule| Ok(Verdict { allowed, rule });
        let publishing = direction == Direction::Publish;
        let (kind, id) = match user.identity() {
            Identity::Hub(_) => return verdict(true, "a hub may do everything"),
            Identity::Anonymous => return verdict(false, "nobody is signed in"),
            Identity::Failed => return verdict(false, "sign-in failed"),
            Identity::Host(_) => return verdict(false, "hosts have no rights here"),
            Identity::Account(id) => ("account", id),
            Identity::Project(id) => ("project", id),
        };
        let after = |prefix: &str| subject.strip_prefix(prefix);
        if after(&format!("hub.{kind}.{id}.")).is_some() {
            return verdict(publishing, "one's own hub.… subjects: publish only");
        }
        if subject.starts_with("_INBOX.") {
            if publishing {
                return verdict(true, "replies may be sent to any inbox");
            }
            // The prefix has to end where a token ends, or `account-1` would own the inbox of `account-12`.
            let own =
                after(&format!("_INBOX.{kind}-{id}")).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
            return verdict(own, "an inbox may be listened to by its owner only");
        }
        if subject.starts_with("public.") {
            return verdict(!publishing, "public.… subjects: subscribe only");
        }
        if Self::belongs(subject, kind, id) {
            return verdict(true, "one's own subjects: publish and subscribe");
        }
        // The reference's frontend opens its changefeeds before it knows its account, and never loads unless it is told so at
        // once (hub.md §10.3). Nothing is behind this subject but that answer.
        if kind == "account" && after(UNDEFINED_FEEDS).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')) {
            return verdict(true, "changefeeds of an account that is not known yet: publish and subscribe");
        }
        if kind == "account" && **id == *self.account_id && Self::belongs(subject, "project", &self.project_id) {
            return verdict(true, "the account's project: publish and subscribe");
        }
        verdict(false, "nothing else is allowed")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "00000000-1000-4000-8000-000000000001";
    const P: &str = "00000000-1000-4000-8000-000000000000";

    fn allowed(user: &User, direction: Direction, subject: &str) -> bool {
        let lite = Lite { account_id: A.into(), project_id: P.into() };
        lite.decide(user, direction, subject).unwrap().allowed
    }

    #[test]
    fn open_is_not_open_to_failed_sign_ins() {
        for direction in [Direction::Publish, Direction::Subscribe] {
            assert!(Open.decide(&User::anonymous(), direction, "a").unwrap().allowed);
            assert!(!Open.decide(&User::failed("no", None), direction, "a").unwrap().allowed);
        }
    }

    #[test]
    fn wire_098_the_lite_table_holds() {
        let (account, project, hub) = (User::account(A), User::project(P), User::system());
        // subject, account pub, account sub, project pub, project sub
        let table = [
            (format!("hub.account.{A}.api"), [true, false, false, false]),
            (format!("hub.project.{P}.api"), [false, false, true, false]),
            ("_INBOX.hub-x.y".into(), [true, false, true, false]),
            (format!("_INBOX.account-{A}.x.*"), [true, true, true, false]),
            (format!("_INBOX.account-{A}2.x.*"), [true, false, true, false]),
            (format!("_INBOX.project-{P}.x.*"), [true, false, true, true]),
            ("public.news".into(), [false, true, false, true]),
            (format!("account.{A}.x"), [true, true, false, false]),
            (format!("account.{A}"), [false, false, false, false]),
            (format!("*.account-{A}.>"), [true, true, false, false]),
            (format!("persist.project-{P}"), [true, true, true, true]),
            (format!("project.{P}.0.api.-"), [true, true, true, true]),
            ("project.00000000-1000-4000-8000-00000000000f.x".into(), [false; 4]),
            (format!("changefeeds.account-{A}.server.x.y"), [true, true, false, false]),
            ("changefeeds.account-undefined.server.status".into(), [true, true, false, false]),
            ("changefeeds.account-undefined2.x".into(), [false; 4]),
            ("sys.conat.default".into(), [false; 4]),
            ("persist.hub.server.0.x".into(), [false; 4]),
            ("*".into(), [false; 4]),
            (">".into(), [false; 4]),
            ("public".into(), [false; 4]),
            ("hub".into(), [false; 4]),
            ("test".into(), [false; 4]),
        ];
        for (subject, [ap, asub, pp, psub]) in table {
            assert_eq!(allowed(&account, Direction::Publish, &subject), ap, "account pub {subject}");
            assert_eq!(allowed(&account, Direction::Subscribe, &subject), asub, "account sub {subject}");
            assert_eq!(allowed(&project, Direction::Publish, &subject), pp, "project pub {subject}");
            assert_eq!(allowed(&project, Direction::Subscribe, &subject), psub, "project sub {subject}");
            for direction in [Direction::Publish, Direction::Subscribe] {
                assert!(allowed(&hub, direction, &subject), "hub {subject}");
                assert!(!allowed(&User::anonymous(), direction, &subject), "null {subject}");
                assert!(!allowed(&User::failed("no", None), direction, &subject), "error {subject}");
            }
        }
    }
}

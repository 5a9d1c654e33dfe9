//! Who speaks, told by the subject: the policy lets nobody use another's (hub.md §7.2).

use uuid::Uuid;

/// Whether a text is an id as the protocol writes them.
pub fn is_id(text: &str) -> bool {
    text.len() == uuid::fmt::Hyphenated::LENGTH && Uuid::try_parse(text).is_ok()
}

/// The account in a token like `account-<id>`; the inner error is an id that is none. `None`: no account's token.
pub fn account_of(token: &str) -> Option<Result<&str, &str>> {
    let id = token.strip_prefix("account-")?;
    Some(if is_id(id) { Ok(id) } else { Err(id) })
}

/// Who calls the hub's API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// An account.
    Account(String),
    /// A project.
    Project(String),
    /// Nobody we know.
    Nobody,
}

impl Caller {
    /// The caller in a subject like `hub.account.<id>.api`.
    pub fn of(subject: &str) -> Caller {
        let mut tokens = subject.split('.').skip(1);
        match (tokens.next(), tokens.next()) {
            (Some("account"), Some(id)) if is_id(id) => Caller::Account(id.to_owned()),
            (Some("project"), Some(id)) if is_id(id) => Caller::Project(id.to_owned()),
            _ => Caller::Nobody,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "00000000-1000-4000-8000-000000000001";

    #[test]
    fn identities_are_read_from_subjects() {
        assert_eq!(Caller::of(&format!("hub.account.{ID}.api")), Caller::Account(ID.into()));
        assert_eq!(Caller::of(&format!("hub.project.{ID}.api")), Caller::Project(ID.into()));
        for subject in
            ["hub.account.undefined.api", "hub.hub.x.api", "hub", "hub.account", &format!("hub.host.{ID}.api")]
        {
            assert_eq!(Caller::of(subject), Caller::Nobody, "{subject}");
        }
        assert_eq!(account_of(&format!("account-{ID}")), Some(Ok(ID)));
        assert_eq!(account_of("account-undefined"), Some(Err("undefined")));
        assert_eq!(account_of(&format!("account-{}", ID.replace('-', ""))), Some(Err(&*ID.replace('-', ""))));
        assert_eq!(account_of("project-x"), None);
    }
}

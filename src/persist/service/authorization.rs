//! Which storage paths may be opened on which subject (conat-persist.md §4). Pure, for the server and for clients.
//!
//! The rules go beyond the specification's where no honest client can notice: an id is a UUID with nothing behind it, and neither
//! `.` nor `..` nor NUL are part of a path on any scope.

use thiserror::Error;

use crate::bus::Code;

/// Longest path, in UTF-16 units.
pub const MAX_PATH_LENGTH: usize = 4000;

/// Classes of owners: the prefix of the scope, and the folder of their paths.
const OWNERS: [(&str, &str); 3] = [("account-", "accounts"), ("project-", "projects"), ("host-", "hosts")];

/// Why a path may not be opened. All texts but the last two contain `permission denied`, which clients look for.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Denied {
    /// It has `//`, `.` or `..` in it, or is empty.
    #[error("permission denied: path '{0}' is not normalized")]
    NotNormalized(String),
    /// It is longer than [`MAX_PATH_LENGTH`].
    #[error("permission denied: path is too long: more than {MAX_PATH_LENGTH} characters")]
    TooLong,
    /// It begins or ends with a slash.
    #[error("permission denied: path '{0}' must not begin or end with a slash")]
    Slash(String),
    /// It has a NUL in it.
    #[error("permission denied: path must not contain NUL")]
    Nul,
    /// It belongs to somebody else.
    #[error(
        "permission denied: subject '{subject}' does not grant write permission to path='{path}' since it is not under '{folder}'"
    )]
    NotUnder {
        /// The socket's subject.
        subject: String,
        /// The path.
        path: String,
        /// Where the subject grants it.
        folder: String,
    },
    /// The scope names nobody.
    #[error("permission denied: subject '{0}' names no account, project or host")]
    Nobody(String),
    /// The subject is another service's.
    #[error("subject '{subject}' is not of the service '{service}'")]
    OtherService {
        /// The socket's subject.
        subject: String,
        /// The service.
        service: String,
    },
    /// The scope is of no known class.
    #[error("invalid subject: '{0}'")]
    InvalidSubject(String),
}

impl Denied {
    /// The code on the wire: 403, which clients take for final.
    pub fn code(&self) -> Code {
        403.into()
    }
}

/// Checks whether `path` may be opened on `subject`, which begins with the service and the scope.
///
/// # Errors
/// It may not; see [`Denied`].
pub fn authorize(service: &str, subject: &str, path: &str) -> Result<(), Denied> {
    if !is_normalized(path) {
        return Err(Denied::NotNormalized(shown(path)));
    }
    if is_too_long(path) {
        return Err(Denied::TooLong);
    }
    if path.starts_with('/') || path.ends_with('/') {
        return Err(Denied::Slash(path.into()));
    }
    if path.contains('\0') {
        return Err(Denied::Nul);
    }
    let mut tokens = subject.split('.');
    if tokens.next() != Some(service) {
        return Err(Denied::OtherService { subject: subject.into(), service: service.into() });
    }
    let scope = tokens.next().unwrap_or_default();
    if scope == "hub" {
        return Ok(());
    }
    let owner = OWNERS.iter().find_map(|(class, folder)| Some((scope.strip_prefix(class)?, *folder)));
    let Some((id, folder)) = owner else { return Err(Denied::InvalidSubject(subject.into())) };
    if !is_uuid(id) {
        return Err(Denied::Nobody(subject.into()));
    }
    let rest = path.strip_prefix(folder).and_then(|rest| rest.strip_prefix('/')?.strip_prefix(id)?.strip_prefix('/'));
    if rest.is_none() {
        let folder = format!("{folder}/{id}/");
        return Err(Denied::NotUnder { subject: subject.into(), path: path.into(), folder });
    }
    Ok(())
}

/// Whether POSIX would leave the path as it is. A slash at either end is another rule's affair.
fn is_normalized(path: &str) -> bool {
    let inner = path.strip_prefix('/').unwrap_or(path);
    let inner = inner.strip_suffix('/').unwrap_or(inner);
    path == "/" || inner.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

fn is_too_long(path: &str) -> bool {
    // A UTF-16 unit is at most three bytes of UTF-8, so most paths need not be counted.
    path.len() > 3 * MAX_PATH_LENGTH || (path.len() > MAX_PATH_LENGTH && path.encode_utf16().count() > MAX_PATH_LENGTH)
}

/// The path for people, cut when it is so long that the next rule would refuse it anyway.
fn shown(path: &str) -> String {
    const MOST: usize = 200;
    if is_too_long(path) { path.chars().take(MOST).chain(['…']).collect() } else { path.into() }
}

/// Whether a text has the form of a UUID.
fn is_uuid(text: &str) -> bool {
    let is_place_of_hyphen = |at: usize| matches!(at, 8 | 13 | 18 | 23);
    text.len() == 36
        && text
            .bytes()
            .enumerate()
            .all(|(at, b)| if is_place_of_hyphen(at) { b == b'-' } else { b.is_ascii_hexdigit() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "00000000-1000-4000-8000-000000000000";
    const OTHER: &str = "00000000-1000-4000-8000-000000000009";

    fn check(scope: &str, path: &str) -> Result<(), Denied> {
        authorize("persist", &format!("persist.{scope}.server.0.x"), path)
    }

    #[test]
    fn persist_023_owners_open_what_is_theirs_and_nothing_else() {
        for (class, folder) in [("account", "accounts"), ("project", "projects"), ("host", "hosts")] {
            let scope = format!("{class}-{ID}");
            check(&scope, &format!("{folder}/{ID}/x")).unwrap();
            check(&scope, &format!("{folder}/{ID}/a b/ü:{{\"x\"}}\\y")).unwrap();
            for path in [
                format!("{folder}/{OTHER}/x"),
                format!("{folder}/{ID}"),
                format!("{folder}/{ID}x/y"),
                format!("x{folder}/{ID}/y"),
                "hub/x".into(),
            ] {
                assert!(matches!(check(&scope, &path), Err(Denied::NotUnder { .. })), "{scope} {path}");
            }
            for path in [format!("{folder}/{ID}/"), format!("/{folder}/{ID}/x")] {
                assert_eq!(check(&scope, &path), Err(Denied::Slash(path)), "{scope}");
            }
        }
        assert!(check(&format!("account-{ID}"), &format!("projects/{ID}/x")).is_err());
    }

    #[test]
    fn persist_024_paths_are_normalized() {
        for path in ["", ".", "..", "../x", "a/..", "a/../b", "a/./b", "./a", "a//b", "//", "a/b/.", "/.", "a//"] {
            let denied = check("hub", path).unwrap_err();
            assert!(denied.to_string().contains("permission denied"), "{path}: {denied}");
        }
        for path in ["...", "a/..b", "a/.b/c", "a..b"] {
            check("hub", path).unwrap();
        }
        assert_eq!(check("hub", "/").unwrap_err(), Denied::Slash("/".into()));
        assert_eq!(check("hub", "a\0b").unwrap_err(), Denied::Nul);
    }

    #[test]
    fn persist_025_paths_have_at_most_4000_utf_16_units() {
        check("hub", &"x".repeat(4000)).unwrap();
        check("hub", &"😀".repeat(2000)).unwrap();
        check("hub", &"€".repeat(4000)).unwrap();
        assert_eq!(check("hub", &"x".repeat(4001)), Err(Denied::TooLong));
        assert_eq!(check("hub", &"😀".repeat(2001)), Err(Denied::TooLong));
        assert_eq!(check("hub", &"x".repeat(1_000_000)), Err(Denied::TooLong));
        assert!(check("hub", &"/".repeat(100_000)).unwrap_err().to_string().len() < 1000);
    }

    #[test]
    fn persist_026_the_scope_hub_opens_anything_and_unknown_ones_nothing() {
        check("hub", "anything/at all").unwrap();
        for scope in ["hub2", "x", &format!("user-{ID}"), "accounts", ID] {
            let denied = check(scope, "hub/x").unwrap_err();
            assert!(denied.to_string().starts_with("invalid subject: "), "{denied}");
            assert_eq!(denied.code(), Code::from(403));
        }
    }

    #[test]
    fn persist_027_an_id_is_a_uuid_and_nothing_more() {
        for id in [&format!("{ID}x"), &format!("{ID}-"), &ID[..35], &ID.replace('-', "0"), &"é".repeat(18)] {
            let denied = check(&format!("project-{id}"), &format!("projects/{id}/x")).unwrap_err();
            assert!(matches!(denied, Denied::Nobody(_)), "{id}: {denied}");
        }
    }

    #[test]
    fn persist_028_the_service_is_a_parameter() {
        let subject = format!("persist:c:0.account-{ID}.server.0.x");
        authorize("persist:c:0", &subject, &format!("accounts/{ID}/x")).unwrap();
        assert!(matches!(authorize("persist", &subject, "x"), Err(Denied::OtherService { .. })));
    }
}

//! Who owns a stream, and where it is stored (conat-persist.md §§2.2, 2.3). Pure. Whether the two fit is for
//! [`super::service::authorization`] to say.

/// Whose a stream is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Owner {
    /// A person's.
    Account(String),
    /// A project's.
    Project(String),
    /// A host's.
    Host(String),
    /// The hub's.
    Hub,
}

impl Owner {
    /// The first of those that are given, in the order of §2.2; the hub if none is.
    pub fn first_of(account: Option<&str>, project: Option<&str>, host: Option<&str>) -> Owner {
        let account = account.map(|id| Owner::Account(id.into()));
        let project = project.map(|id| Owner::Project(id.into()));
        let host = host.map(|id| Owner::Host(id.into()));
        account.or(project).or(host).unwrap_or(Owner::Hub)
    }

    /// The second token of the subject.
    pub fn scope(&self) -> String {
        match self {
            Owner::Account(id) => format!("account-{id}"),
            Owner::Project(id) => format!("project-{id}"),
            Owner::Host(id) => format!("host-{id}"),
            Owner::Hub => "hub".into(),
        }
    }

    fn prefix(&self) -> String {
        match self {
            Owner::Account(id) => format!("accounts/{id}"),
            Owner::Project(id) => format!("projects/{id}"),
            Owner::Host(id) => format!("hosts/{id}"),
            Owner::Hub => "hub".into(),
        }
    }
}

/// The storage path of a stream: the POSIX-normalized join of the owner's prefix and the name.
pub fn storage_path(owner: &Owner, name: &str) -> String {
    normalize(&format!("{}/{name}", owner.prefix()))
}

/// POSIX normalization: repeated slashes are one, `.` goes, `..` takes the folder before it along.
fn normalize(path: &str) -> String {
    let absolute = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if absolute => {}
            part => parts.push(part),
        }
    }
    let mut normal = String::with_capacity(path.len());
    if absolute {
        normal.push('/');
    }
    normal.push_str(&parts.join("/"));
    if normal.is_empty() {
        normal.push('.');
    }
    if path.ends_with('/') && !normal.ends_with('/') {
        normal.push('/');
    }
    normal
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::persist::service::authorization::authorize;

    const ID: &str = "00000000-0000-4000-8000-000000000000";

    #[test]
    fn persist_007_the_account_comes_first_then_project_host_hub() {
        assert_eq!(Owner::first_of(Some("a"), Some("p"), Some("h")), Owner::Account("a".into()));
        assert_eq!(Owner::first_of(None, Some("p"), Some("h")), Owner::Project("p".into()));
        assert_eq!(Owner::first_of(None, None, Some("h")), Owner::Host("h".into()));
        assert_eq!(Owner::first_of(None, None, None), Owner::Hub);
        let scopes = ["account-a", "project-p", "host-h", "hub"];
        let owners = [Owner::Account("a".into()), Owner::Project("p".into()), Owner::Host("h".into()), Owner::Hub];
        assert_eq!(owners.map(|owner| owner.scope()), scopes);
    }

    #[test]
    fn persist_008_the_path_is_the_normalized_join() {
        let project = Owner::Project(ID.into());
        for (name, path) in [
            ("patches:1", "/patches:1"),
            ("jupyter:a//b/./c.ipynb", "/jupyter:a/b/c.ipynb"),
            ("a/../b", "/b"),
            ("{\"x\": 'ü 😀'}", "/{\"x\": 'ü 😀'}"),
            ("a\\b", "/a\\b"),
        ] {
            assert_eq!(storage_path(&project, name), format!("projects/{ID}{path}"));
        }
        assert_eq!(storage_path(&Owner::Hub, "x"), "hub/x");
        assert_eq!(storage_path(&Owner::Account("a".into()), "CoCalc-Inventory"), "accounts/a/CoCalc-Inventory");
        assert_eq!(storage_path(&Owner::Host("h".into()), "x"), "hosts/h/x");
    }

    #[test]
    fn normal_forms_are_those_of_posix() {
        for (path, normal) in [
            ("", "."),
            (".", "."),
            ("./", "./"),
            ("/", "/"),
            ("//", "/"),
            ("/..", "/"),
            ("../..", "../.."),
            ("a/..", "."),
            ("a/../..", ".."),
            ("a/b/", "a/b/"),
            ("a/./b//c/..", "a/b"),
            ("...", "..."),
        ] {
            assert_eq!(normalize(path), normal, "{path:?}");
        }
    }

    #[test]
    fn nobody_gets_out_of_the_owners_place_by_a_name() {
        let project = Owner::Project(ID.into());
        let path = storage_path(&project, "../00000000-0000-4000-8000-000000000001/x");
        assert_eq!(path, "projects/00000000-0000-4000-8000-000000000001/x");
        assert!(authorize("persist", &format!("persist.{}", project.scope()), &path).is_err());
    }
}

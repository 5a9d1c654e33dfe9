//! Who is signed in on a connection (conat-wire.md §3.3).

use std::sync::Arc;

use serde_json::{Map, Value, json};

/// The kind of identity a user has.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Identity {
    /// A person.
    Account(Arc<str>),
    /// A project.
    Project(Arc<str>),
    /// A hub; `system` is the system account.
    Hub(Arc<str>),
    /// A host (newer clients, §20.7).
    Host(Arc<str>),
    /// No authentication is configured: JSON `null`.
    Anonymous,
    /// Sign-in failed.
    Failed,
}

/// The user object of a connection: its identity and the JSON exactly as it goes into `info`.
#[derive(Clone, Debug, PartialEq)]
pub struct User {
    identity: Identity,
    json: Value,
    key: Arc<str>,
}

impl User {
    /// Takes a user object as an authenticator made it; unknown fields are kept (§3.3).
    pub fn from_json(json: Value) -> User {
        let text = |name: &str| json.get(name).and_then(Value::as_str).map(Arc::<str>::from);
        let identity = if json.is_null() {
            Identity::Anonymous
        } else if json.get("error").is_some() {
            Identity::Failed
        } else if let Some(id) = text("account_id") {
            Identity::Account(id)
        } else if let Some(id) = text("project_id") {
            Identity::Project(id)
        } else if let Some(id) = text("hub_id") {
            Identity::Hub(id)
        } else if let Some(id) = text("host_id") {
            Identity::Host(id)
        } else {
            Identity::Failed
        };
        // serde_json's map is ordered by key, so this is the sorted-key form of §3.4 and §16.
        let key = json.to_string().into();
        User { identity, json, key }
    }

    /// A person.
    pub fn account(id: &str) -> User {
        User::from_json(json!({ "account_id": id }))
    }

    /// A project.
    pub fn project(id: &str) -> User {
        User::from_json(json!({ "project_id": id }))
    }

    /// The system account: everything is allowed.
    pub fn system() -> User {
        User::from_json(json!({ "hub_id": "system" }))
    }

    /// Nobody in particular, where no authentication is configured.
    pub fn anonymous() -> User {
        User::from_json(Value::Null)
    }

    /// A failed sign-in; `error` is text for people, `code` as in §3.4.
    pub fn failed(error: &str, code: Option<i64>) -> User {
        let mut map = Map::new();
        map.insert("error".into(), error.into());
        if let Some(code) = code {
            map.insert("code".into(), code.into());
        }
        User::from_json(Value::Object(map))
    }

    /// The kind and id.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The object as it is sent in `info`.
    pub fn json(&self) -> &Value {
        &self.json
    }

    /// The object as text with sorted keys: what "identical user" means (§3.4).
    pub fn key(&self) -> &Arc<str> {
        &self.key
    }

    /// Whether sign-in failed.
    pub fn is_failed(&self) -> bool {
        self.identity == Identity::Failed
    }

    /// Whether this is a hub, which has its own limits (§14).
    pub fn is_hub(&self) -> bool {
        matches!(self.identity, Identity::Hub(_))
    }

    /// Whether this is the system account (§3.2).
    pub fn is_system(&self) -> bool {
        matches!(&self.identity, Identity::Hub(id) if &**id == "system")
    }

    /// The inbox prefix this user's replies go to (§10.1).
    pub fn inbox_prefix(&self) -> String {
        match &self.identity {
            Identity::Account(id) => format!("_INBOX.account-{id}"),
            Identity::Project(id) => format!("_INBOX.project-{id}"),
            Identity::Hub(id) => format!("_INBOX.hub-{id}"),
            Identity::Host(id) => format!("_INBOX.host-{id}"),
            Identity::Anonymous | Identity::Failed => "_INBOX".into(),
        }
    }
}

//! `GET /customize`: the configuration document the reference's frontend starts from (hub.md §4).

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::config::Identity;

/// The configuration of a fresh server (§4.3), without its identity.
const FRESH: &str = include_str!("customize.json");

/// The document, ready to be sent. It never contains a secret: it is made of fixed values and the identity only.
pub(super) fn document(identity: &Identity) -> Bytes {
    let mut configuration: Map<String, Value> = serde_json::from_str(FRESH).unwrap_or_default();
    configuration.insert("lite".into(), true.into());
    configuration.insert("account_id".into(), identity.account_id.as_str().into());
    configuration.insert("project_id".into(), identity.project_id.as_str().into());
    configuration.insert("compute_server_id".into(), identity.compute_server_id.into());
    configuration.insert("remote_sync".into(), false.into());
    let document = json!({
        "configuration": configuration,
        "registration": false,
        "strategies": [],
        "software": null,
        "ollama": {},
        "custom_openai": {},
    });
    Bytes::from(document.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hub_036_the_envelope() {
        let identity = Identity {
            account_id: "a".into(),
            project_id: "p".into(),
            compute_server_id: 7,
            username: "user".into(),
            server_id: "0".into(),
            cluster_name: None,
        };
        let document: Value = serde_json::from_slice(&document(&identity)).unwrap();
        let mut fields: Vec<_> = document.as_object().unwrap().keys().map(String::as_str).collect();
        fields.sort_unstable();
        assert_eq!(fields, ["configuration", "custom_openai", "ollama", "registration", "software", "strategies"]);
        let configuration = &document["configuration"];
        assert_eq!(configuration["lite"], true);
        assert_eq!(configuration["account_id"], "a");
        assert_eq!(configuration["project_id"], "p");
        assert_eq!(configuration["compute_server_id"], 7);
        assert_eq!(configuration["remote_sync"], false);
        assert_eq!(configuration["kucalc"], "no");
        assert_eq!(configuration["commercial"], false);
        assert!(configuration.as_object().unwrap().len() > 80);
        assert!(
            configuration
                .as_object()
                .unwrap()
                .keys()
                .all(|key| !key.ends_with("_key") && !key.contains("password_reset_smtp_password"))
        );
    }
}

//! The configuration document that frontends start from (hub.md §4).

use serde_json::{Map, Value, json};

use super::{Group, SETTINGS, Settings};
use crate::config::Identity;

/// Fields that are no settings, and settings that are there although they are empty (§4.3).
const FIXED: &str = r#"{
    "compute_servers_google": false, "compute_servers_google_cloud_enabled": false,
    "compute_servers_google_cloud_prefix": "", "compute_servers_lambda_cloud_enabled": false, "country": "XX", "dns": "",
    "help_email": "", "organization_email": "", "organization_name": ""
}"#;

/// The document. Of the settings it has the public ones only: never a key, never a password.
pub fn document(settings: &Settings, identity: &Identity) -> Value {
    let mut configuration: Map<String, Value> = serde_json::from_str(FIXED).unwrap_or_default();
    for setting in SETTINGS.iter().filter(|setting| setting.group == Group::Public) {
        let value = settings.value(setting.name).unwrap_or_default();
        let says_nothing = value.as_str() == Some("") || value.as_array().is_some_and(Vec::is_empty);
        if settings.is_stored(setting.name) || !says_nothing {
            configuration.insert(setting.name.to_owned(), value);
        }
    }
    let ollama = configured_models(settings, "ollama_configuration");
    let custom_openai = configured_models(settings, "custom_openai_configuration");
    for (switch, models) in [("ollama_enabled", &ollama), ("custom_openai_enabled", &custom_openai)] {
        if !settings.is_stored(switch) {
            configuration.insert(switch.to_owned(), (!models.is_empty()).into());
        }
    }
    let fixed = json!({
        "lite": true,
        // Anything else makes the frontend behave as on a hosted site.
        "kucalc": "no",
        "commercial": false,
        "account_id": identity.account_id,
        "project_id": identity.project_id,
        "compute_server_id": identity.compute_server_id,
        "remote_sync": false,
    });
    configuration.extend(fixed.as_object().cloned().unwrap_or_default());
    json!({
        "configuration": configuration,
        "registration": false,
        "strategies": [],
        "software": null,
        "ollama": ollama,
        "custom_openai": custom_openai,
    })
}

/// What clients may know of the models that a setting defines: no addresses, no keys (§12.4).
pub(super) fn configured_models(settings: &Settings, name: &str) -> Map<String, Value> {
    let configured = settings.value(name).unwrap_or_default();
    let shown = |(key, about): (&String, &Value)| {
        let shown = about.get("cocalc").unwrap_or(&Value::Null);
        if !about.is_object() || shown.get("enabled") == Some(&Value::Bool(false)) {
            return None;
        }
        let text = |from: &Value, field: &str| from.get(field).and_then(Value::as_str).map(str::to_owned);
        let model = text(about, "model").unwrap_or_else(|| key.clone());
        let mut entry = Map::new();
        entry.insert("display".into(), text(shown, "display").unwrap_or_else(|| model.clone()).into());
        entry.insert("model".into(), model.into());
        for field in ["desc", "icon"] {
            if let Some(value) = text(shown, field) {
                entry.insert(field.into(), value.into());
            }
        }
        Some((key.clone(), entry.into()))
    };
    configured.as_object().map(|models| models.iter().filter_map(shown).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{super::tests::settings, *};

    fn identity() -> Identity {
        Identity {
            account_id: "a".into(),
            project_id: "p".into(),
            compute_server_id: 7,
            username: "user".into(),
            server_id: "0".into(),
            cluster_name: None,
        }
    }

    #[test]
    fn hub_036_the_envelope() {
        let document = document(&settings(&[]), &identity());
        let mut fields: Vec<_> = document.as_object().unwrap().keys().map(String::as_str).collect();
        fields.sort_unstable();
        assert_eq!(fields, ["configuration", "custom_openai", "ollama", "registration", "software", "strategies"]);
        let configuration = document["configuration"].as_object().unwrap();
        for (name, value) in [
            ("lite", json!(true)),
            ("account_id", json!("a")),
            ("project_id", json!("p")),
            ("compute_server_id", json!(7)),
            ("remote_sync", json!(false)),
            ("kucalc", json!("no")),
            ("commercial", json!(false)),
            ("site_name", json!("Open CoCalc")),
            ("country", json!("XX")),
            ("compute_servers_dns", json!("change me!")),
            ("email_signup", json!(true)),
            ("default_quotas", json!({})),
        ] {
            assert_eq!(configuration[name], value, "{name}");
        }
        assert!(!configuration.contains_key("logo_square"), "it is empty");
    }

    #[test]
    fn hub_039_nothing_but_public_settings_is_shown() {
        let stored: Vec<_> = SETTINGS.iter().map(|setting| (setting.name, "{k: {apiKey: 's3cret'}}")).collect();
        let document = document(&settings(&stored), &identity());
        for setting in SETTINGS.iter().filter(|setting| setting.group != Group::Public) {
            assert!(document["configuration"].get(setting.name).is_none(), "{}", setting.name);
        }
        assert_eq!(document["ollama"], json!({"k": {"model": "k", "display": "k"}}));
        assert_eq!(document["configuration"]["kucalc"], "no");
    }

    #[test]
    fn models_of_ones_own_are_listed_without_their_addresses() {
        let text =
            "{a: {baseUrl: 'http://h', model: 'm', cocalc: {display: 'D', desc: 'E'}}, b: {cocalc: {enabled: false}}}";
        let document = document(&settings(&[("ollama_configuration", text)]), &identity());
        assert_eq!(document["ollama"], json!({"a": {"model": "m", "display": "D", "desc": "E"}}));
        assert_eq!(document["configuration"]["ollama_enabled"], true);
        assert_eq!(document["configuration"]["custom_openai_enabled"], false);
    }
}

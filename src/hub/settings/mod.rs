//! Settings of the site: what is stored in `server_settings`, and what it means (hub.md §11, Appendix A).
//!
//! Values are stored as text; [`Settings::value`] converts. [`Live`] is what the rest of the program reads: it follows the
//! database without a restart.

mod convert;
pub mod customize;
pub mod models;
mod names;
mod relaxed;

use std::{collections::BTreeMap, sync::Arc};

use arc_swap::ArcSwap;
use serde_json::Value;

pub use names::{Convert, Group, SETTINGS, Setting};

/// The settings of a moment: those that are stored, by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    stored: BTreeMap<&'static str, Value>,
}

impl Settings {
    /// Takes stored names and values; unknown names are left out.
    pub fn from_stored(stored: impl IntoIterator<Item = (String, Value)>) -> Settings {
        let known = |(name, value): (String, Value)| Some((names::find(&name)?.name, value));
        Settings { stored: stored.into_iter().filter_map(known).filter(|(_, value)| !value.is_null()).collect() }
    }

    /// Whether a name is that of a setting.
    pub fn is_known(name: &str) -> bool {
        names::find(name).is_some()
    }

    /// Whether a setting is stored.
    pub fn is_stored(&self, name: &str) -> bool {
        self.stored.contains_key(name)
    }

    /// The text of a setting, stored or default. `None`: there is no such setting.
    pub fn text(&self, name: &str) -> Option<String> {
        let setting = names::find(name)?;
        Some(match self.stored.get(setting.name) {
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => setting.default.to_owned(),
        })
    }

    /// A setting as the program uses it. `None`: there is no such setting.
    pub fn value(&self, name: &str) -> Option<Value> {
        let setting = names::find(name)?;
        let text = self.text(name)?;
        Some(match setting.convert {
            Convert::Commercial => (convert::is_yes(&text) && self.text("kucalc").as_deref() == Some("yes")).into(),
            Convert::GatewayDns => match text.trim() {
                "" => self.value("dns")?,
                dns => dns.into(),
            },
            Convert::Models => models::selectable(&text).into(),
            Convert::DefaultModel => models::default_model(self).into(),
            plain => convert::convert(plain, &text, setting.default),
        })
    }

    /// A setting that is on or off.
    pub fn is_on(&self, name: &str) -> bool {
        self.value(name) == Some(Value::Bool(true))
    }
}

/// The settings as they are now.
#[derive(Clone, Debug, Default)]
pub struct Live {
    current: Arc<ArcSwap<Settings>>,
}

impl Live {
    /// The settings of this moment.
    pub fn get(&self) -> Arc<Settings> {
        self.current.load_full()
    }

    /// New settings; the database calls this after the commit that changed them.
    pub(super) fn set(&self, settings: Settings) {
        self.current.store(Arc::new(settings));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    pub(super) fn settings(stored: &[(&str, &str)]) -> Settings {
        Settings::from_stored(stored.iter().map(|(name, value)| ((*name).to_owned(), json!(value))))
    }

    #[test]
    fn values_are_converted() {
        let set = settings(&[
            ("openai_enabled", "yes"),
            ("dns", " example.org "),
            ("max_trial_projects", "7"),
            ("default_quotas", "{cores: 2, 'memory': 4000,}"),
            ("nonfree_countries", "AT, BE;ch"),
            ("iframe_comm_hosts", "https://a.example, b-c.example"),
            ("i18n", "de, xx,fr"),
            ("pii_retention", "3600"),
            ("commercial", "yes"),
            ("nonsense", "1"),
        ]);
        assert_eq!(set.value("openai_enabled"), Some(json!(true)));
        assert_eq!(set.value("dns"), Some(json!("example.org")));
        assert_eq!(set.value("ssh_gateway_dns"), Some(json!("example.org")));
        assert_eq!(set.value("max_trial_projects"), Some(json!(7)));
        assert_eq!(set.value("default_quotas"), Some(json!({"cores": 2, "memory": 4000})));
        assert_eq!(set.value("nonfree_countries"), Some(json!(["AT", "BE", "ch"])));
        assert_eq!(set.value("iframe_comm_hosts"), Some(json!(["https", "a.example", "b-c.example"])));
        assert_eq!(set.value("i18n"), Some(json!(["de", "fr"])));
        assert_eq!(set.value("pii_retention"), Some(json!(3600)));
        assert_eq!(set.value("commercial"), Some(json!(false)), "not on a hosted site");
        assert_eq!(set.value("pay_as_you_go_min_payment"), Some(json!(2.5)));
        assert_eq!(set.value("nonsense"), None);
        assert_eq!(settings(&[]).value("pii_retention"), Some(json!(false)));
    }

    #[test]
    fn values_that_are_no_text_are_taken() {
        let set = Settings::from_stored([("openai_enabled".to_owned(), json!(true)), ("dns".to_owned(), json!(null))]);
        assert!(set.is_on("openai_enabled"));
        assert!(!set.is_stored("dns"));
    }

    #[test]
    fn what_cannot_be_read_becomes_the_default() {
        let set = settings(&[("llm_default_quota", "many"), ("max_upgrades", "{oops"), ("i18n", "xx")]);
        assert_eq!(set.value("llm_default_quota"), Some(json!(10)));
        assert_eq!(set.value("max_upgrades"), Some(json!({})));
        assert_eq!(set.value("i18n").unwrap().as_array().unwrap().len(), 19);
    }
}

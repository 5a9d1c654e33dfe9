//! Reloading is a difference: which settings changed, and which of them take effect without a restart.

use super::{Config, settings::SETTINGS};

/// Settings that differ between two configurations. The certificate is no setting: it is read again at every reload.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Keys whose new values take effect.
    pub live: Vec<&'static str>,
    /// Keys whose new values wait for a restart.
    pub restart: Vec<&'static str>,
}

impl Changes {
    /// Compares two configurations as they were loaded, before secrets were made.
    pub fn between(old: &Config, new: &Config) -> Changes {
        let mut changes = Changes::default();
        for setting in SETTINGS.iter().filter(|setting| !(setting.same)(old, new)) {
            if setting.live { changes.live.push(setting.name) } else { changes.restart.push(setting.name) }
        }
        changes
    }

    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.live.is_empty() && self.restart.is_empty()
    }
}

/// `running` with the live settings of `new`.
pub fn apply_live(running: &Config, new: &Config) -> Config {
    let mut next = running.clone();
    for setting in SETTINGS.iter().filter(|setting| setting.live && !setting.secret) {
        if let Some(text) = setting.show(new) {
            // A value that was shown can be read, says a test of the table.
            let _ = (setting.set)(&mut next, &text);
        }
    }
    next
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    #[test]
    fn changes_are_sorted_by_what_they_need() {
        let old = Config { auth_token: Some(Secret::new("one-token")), ..Config::default() };
        assert!(Changes::between(&old, &old).is_empty());
        let mut new = old.clone();
        new.log_filter = "debug".into();
        new.listen.port = Some(1);
        new.auth_token = Some(Secret::new("two-token"));
        let changes = Changes::between(&old, &new);
        assert_eq!(changes.live, ["log"]);
        assert_eq!(changes.restart, ["port", "auth_token"]);

        let next = apply_live(&old, &new);
        assert_eq!(next.log_filter, "debug");
        assert_eq!(next.listen.port, None);
    }
}

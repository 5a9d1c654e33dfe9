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

/// `running` with those live settings that differ between `old` and `new`, both as they were loaded. What did not change
/// stays as it is in use: a secret that was made because none was given, for example.
pub fn apply_live(running: &Config, old: &Config, new: &Config) -> Config {
    let mut next = running.clone();
    for setting in SETTINGS.iter().filter(|setting| setting.live && !(setting.same)(old, new)) {
        (setting.copy)(&mut next, new);
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
        new.limits.max_connections = 7;
        let changes = Changes::between(&old, &new);
        assert_eq!(changes.live, ["auth_token", "max_connections", "log"]);
        assert_eq!(changes.restart, ["port"]);

        let next = apply_live(&old, &old, &new);
        assert_eq!((next.log_filter.as_str(), next.limits.max_connections, next.listen.port), ("debug", 7, None));
        assert!(next.auth_token.unwrap().matches("two-token"));
    }

    #[test]
    fn a_token_that_was_made_stays_until_one_is_given() {
        let (given, mut other) = (Config::default(), Config::default());
        let running = Config { auth_token: Some(Secret::new("made-at-start")), ..Config::default() };
        other.log_filter = "debug".into();
        assert!(apply_live(&running, &given, &other).auth_token.unwrap().matches("made-at-start"));
        other.auth_token = Some(Secret::new("given-later"));
        assert!(apply_live(&running, &given, &other).auth_token.unwrap().matches("given-later"));
    }

    #[test]
    fn every_limit_is_live() {
        let (old, mut new) = (Config::default(), Config::default());
        let limits = &mut new.limits;
        for count in [
            &mut limits.max_payload,
            &mut limits.max_subscriptions_per_client,
            &mut limits.max_subscriptions_per_hub,
            &mut limits.max_connections,
            &mut limits.max_connections_per_user,
            &mut limits.max_connections_per_hub,
            &mut limits.outbox_bytes,
            &mut limits.outbox_messages,
            &mut limits.flight_records,
            &mut limits.http_header_bytes,
            &mut limits.http_body_bytes,
            &mut limits.http_connections,
        ] {
            *count += 1;
        }
        for rate in [
            &mut limits.admission_subscriptions,
            &mut limits.admission_socket_events,
            &mut limits.admission_identity_events,
        ] {
            *rate += 1;
        }
        for span in [
            &mut limits.max_wait,
            &mut limits.admission_window,
            &mut limits.ping_interval,
            &mut limits.ping_timeout,
            &mut limits.connect_timeout,
            &mut limits.write_timeout,
            &mut limits.http_header_timeout,
            &mut limits.http_idle_timeout,
        ] {
            *span *= 2;
        }
        let changes = Changes::between(&old, &new);
        assert_eq!((changes.live.len(), changes.restart.len()), (23, 0), "{changes:?}");
        assert_eq!(apply_live(&old, &old, &new).limits, new.limits);
    }
}

//! Who a connection to the bus is (conat-wire.md §3.2, hub.md §3.3).

use std::{sync::Arc, time::Instant};

use http::header::HOST;
use uuid::Uuid;

use super::{Credential, SignIn, bearer, cookie::Cookies, may_try, throttle, worse};
use crate::{
    broker::{Authenticator, Handshake, SignInError, User},
    config::Secret,
    http::percent,
};

/// Who can be signed in.
#[derive(Clone, Debug)]
pub struct LiteUsers {
    /// Who presents the access token or its cookie; or everybody, without a token.
    pub visitor: User,
    /// Whether visitors come in when there is no access token.
    pub open: bool,
    /// Password of the system account.
    pub system_password: Option<Secret>,
    /// Secret of projects.
    pub project_secret: Option<Secret>,
    /// Path prefix of the server: empty, or `/x`.
    pub base_path: String,
}

/// Signs in one account, projects and the system account.
#[derive(Debug)]
pub struct LiteAuthenticator {
    sign_in: Arc<SignIn>,
    users: LiteUsers,
}

/// What came of looking at a handshake.
enum Outcome {
    User(User),
    /// With the number of failures it counts as.
    Refused(&'static str, u32),
    Unseen,
}

impl LiteAuthenticator {
    /// Uses the token and the memory of `sign_in`.
    pub fn new(sign_in: Arc<SignIn>, users: LiteUsers) -> LiteAuthenticator {
        LiteAuthenticator { sign_in, users }
    }

    fn decide(&self, handshake: &Handshake, may_try: bool) -> Outcome {
        let cookies = Cookies::parse(&handshake.headers);
        if let Some(password) = &self.users.system_password {
            let presented = cookies.get("sys").or_else(|| self.prefixed(&cookies, "hub_password"));
            match presented.map(|presented| may_try.then(|| password.matches(presented))) {
                None => {}
                Some(None) => return Outcome::Unseen,
                Some(Some(true)) => return Outcome::User(User::system()),
                Some(Some(false)) => return Outcome::Refused("invalid system password", 1),
            }
        }
        if let Some(presented) = self.prefixed(&cookies, "project_secret") {
            return self.project(&cookies, presented, may_try);
        }
        self.visitor(handshake, &cookies, may_try)
    }

    fn project(&self, cookies: &Cookies, presented: &str, may_try: bool) -> Outcome {
        let id = self.prefixed(cookies, "project_id").and_then(|id| Uuid::try_parse(id).ok());
        match (&self.users.project_secret, id) {
            _ if !may_try => Outcome::Unseen,
            (Some(secret), Some(id)) if secret.matches(presented) => Outcome::User(User::project(&id.to_string())),
            (_, None) => Outcome::Refused("invalid project_id", 1),
            _ => Outcome::Refused("invalid project secret", 1),
        }
    }

    fn visitor(&self, handshake: &Handshake, cookies: &Cookies, may_try: bool) -> Outcome {
        let state = self.sign_in.state.load();
        let Some(token) = state.as_deref() else {
            return if self.users.open {
                Outcome::User(self.users.visitor.clone())
            } else {
                Outcome::Refused("this server has no access token and lets nobody in", 1)
            };
        };
        let host = handshake.headers.get(HOST).and_then(|host| host.to_str().ok());
        let presented = bearer(&handshake.headers)
            .or_else(|| {
                handshake.auth.get("bearer").and_then(serde_json::Value::as_str).filter(|text| !text.is_empty())
            })
            .map_or(Credential::Absent, |bearer| token.check(bearer, may_try));
        let presented = worse(presented, token.check_cookies(cookies, host, may_try));
        match presented {
            Credential::Right { .. } => Outcome::User(self.users.visitor.clone()),
            Credential::Absent => Outcome::Refused("not signed in: open the page with its token first", 1),
            Credential::Wrong(weight) => Outcome::Refused("invalid token or cookie: sign in again", weight),
            Credential::Unseen => Outcome::Unseen,
        }
    }

    /// Cookies other than `sys` carry the percent-encoded base path before their name; the plain name does as well.
    fn prefixed<'a>(&self, cookies: &'a Cookies, name: &str) -> Option<&'a str> {
        let prefix = percent::encode(&self.users.base_path);
        cookies.get(&format!("{prefix}{name}")).or_else(|| cookies.get(name))
    }
}

impl Authenticator for LiteAuthenticator {
    fn sign_in(&self, handshake: &Handshake) -> Result<User, SignInError> {
        let throttle = &self.sign_in.bus;
        let may_try = may_try(throttle, handshake.address);
        match self.decide(handshake, may_try) {
            Outcome::User(user) => {
                if may_try {
                    throttle.succeeded(handshake.address);
                }
                Ok(user)
            }
            Outcome::Refused(message, weight) if may_try => {
                throttle.failed(handshake.address, weight, Instant::now());
                Err(SignInError { message: message.into(), code: None })
            }
            Outcome::Refused(..) | Outcome::Unseen => {
                let left = throttle.blocked(handshake.address, Instant::now()).unwrap_or_default();
                let seconds = throttle::whole_seconds(left);
                Err(SignInError {
                    message: format!("too many failed sign-ins, retry in about {seconds}s"),
                    code: Some(429),
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};
    use serde_json::{Value, json};

    use super::*;
    use crate::http::sign_in::hash;

    const TOKEN: &str = "s3cret-token";
    const PROJECT: &str = "00000000-1000-4000-8000-000000000000";

    fn authenticator(token: Option<&str>, open: bool) -> LiteAuthenticator {
        let sign_in = SignIn::new(token.map(Secret::new)).unwrap();
        let users = LiteUsers {
            visitor: User::account("me"),
            open,
            system_password: Some(Secret::new("pw")),
            project_secret: Some(Secret::new("ps")),
            base_path: String::new(),
        };
        LiteAuthenticator::new(Arc::new(sign_in), users)
    }

    fn handshake(headers: &[(&'static str, &str)], auth: Value) -> Handshake {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, HeaderValue::from_str(value).unwrap());
        }
        Handshake { headers: map, query: String::new(), address: Some([10, 0, 0, 1].into()), auth }
    }

    fn with_cookie(cookie: &str) -> Handshake {
        handshake(&[("cookie", cookie), ("host", "localhost:5000")], Value::Null)
    }

    #[test]
    fn wire_029_the_system_account() {
        let door = authenticator(Some(TOKEN), false);
        assert_eq!(door.sign_in(&with_cookie("sys=pw")).unwrap(), User::system());
        assert_eq!(door.sign_in(&with_cookie("hub_password=pw")).unwrap(), User::system());
        let error = door.sign_in(&with_cookie("sys=wrong")).unwrap_err();
        assert!(error.message.contains("invalid") && error.code.is_none());
        // The value is never repeated.
        assert!(!error.message.contains("wrong"));
    }

    #[test]
    fn projects_sign_in_with_their_secret() {
        let door = authenticator(Some(TOKEN), false);
        let user = door.sign_in(&with_cookie(&format!("project_id={PROJECT}; project_secret=ps"))).unwrap();
        assert_eq!(user, User::project(PROJECT));
        for cookie in [
            format!("project_id={PROJECT}; project_secret=x"),
            "project_secret=ps".into(),
            "project_id=x; project_secret=ps".into(),
        ] {
            assert!(door.sign_in(&with_cookie(&cookie)).unwrap_err().message.contains("invalid"), "{cookie}");
        }
    }

    #[test]
    fn the_access_token_comes_in_three_ways() {
        let door = authenticator(Some(TOKEN), false);
        let value = percent::encode(&hash::make(TOKEN, "00"));
        for name in ["cocalc-lite-auth", "cocalc-lite-auth-localhost_5000"] {
            assert_eq!(door.sign_in(&with_cookie(&format!("{name}={value}"))).unwrap(), User::account("me"));
        }
        assert!(door.sign_in(&with_cookie(&format!("cocalc-lite-auth-localhost_5001={value}"))).is_err());
        let header = format!("Bearer {TOKEN}");
        assert!(door.sign_in(&handshake(&[("authorization", &header)], Value::Null)).is_ok());
        assert!(door.sign_in(&handshake(&[], json!({ "bearer": TOKEN }))).is_ok());
        assert!(door.sign_in(&handshake(&[], json!({ "bearer": "x" }))).is_err());
    }

    #[test]
    fn hub_023_nobody_comes_in_with_nothing() {
        assert!(authenticator(Some(TOKEN), true).sign_in(&handshake(&[], Value::Null)).is_err());
        assert!(authenticator(None, false).sign_in(&handshake(&[], Value::Null)).is_err());
        assert_eq!(authenticator(None, true).sign_in(&handshake(&[], Value::Null)).unwrap(), User::account("me"));
    }

    #[test]
    fn a_hundred_failures_are_answered_with_429() {
        let door = authenticator(Some(TOKEN), false);
        let wrong = with_cookie("cocalc-lite-auth=sha1%24a%241%24b");
        for _ in 0..100 {
            assert_eq!(door.sign_in(&wrong).unwrap_err().code, None);
        }
        let error = door.sign_in(&handshake(&[], json!({ "bearer": TOKEN }))).unwrap_err();
        assert_eq!(error.code, Some(429));
        assert!(
            error.message.contains("retry in about 60s") || error.message.contains("retry in about 59s"),
            "{error}"
        );
        let mut elsewhere = handshake(&[], json!({ "bearer": TOKEN }));
        elsewhere.address = Some([10, 0, 0, 2].into());
        assert!(door.sign_in(&elsewhere).is_ok());
    }

    #[test]
    fn cookie_names_may_carry_the_base_path() {
        let mut door = authenticator(Some(TOKEN), false);
        door.users.base_path = "/x".into();
        assert_eq!(door.sign_in(&with_cookie("%2Fxhub_password=pw")).unwrap(), User::system());
    }

    #[test]
    fn hub_026_huge_iteration_counts_are_refused_quickly() {
        let door = authenticator(Some(TOKEN), false);
        let start = Instant::now();
        assert!(door.sign_in(&with_cookie("cocalc-lite-auth=sha512%24a%241000000000%24b")).is_err());
        assert!(start.elapsed().as_secs() < 5);
    }
}

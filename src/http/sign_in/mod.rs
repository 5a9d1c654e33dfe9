//! Who may come in (hub.md §3): the access token, the cookie made from it, and the address that tries too often.

mod cookie;
mod filter;
mod hash;
mod lite;
mod page;
mod throttle;

use std::{
    fmt,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Instant,
};

use arc_swap::ArcSwapOption;
use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderMap, header::AUTHORIZATION};
use subtle::ConstantTimeEq;

use crate::config::Secret;

pub use lite::{LiteAuthenticator, LiteUsers};

pub(super) use filter::Passage;

use cookie::Cookies;
use hash::Presented;
use throttle::Throttle;

/// Cookies that verified lately; checking one costs a thousand HMACs.
const KEPT_COOKIES: usize = 16;
/// Every so many iterations of a wrong cookie count as one more failure.
const ITERATIONS_PER_FAILURE: u32 = 5_000;

/// No source of randomness.
#[derive(Debug, thiserror::Error)]
#[error("the system gives no random bytes: {0}")]
pub struct RandomError(String);

/// A fresh token: 22 characters of the base64 alphabet (hub.md §3.1).
///
/// # Errors
/// [`RandomError`] when the system gives no random bytes.
pub fn random_token() -> Result<Secret, RandomError> {
    let mut text = STANDARD.encode(random::<18>()?);
    text.truncate(22);
    Ok(Secret::new(text))
}

/// The token that counts: none if nothing was given, the given one if it is longer than six characters, else a fresh one.
///
/// # Errors
/// [`RandomError`] when a fresh one is needed and the system gives no random bytes.
pub fn effective_token(given: Option<&Secret>) -> Result<Option<Secret>, RandomError> {
    match given {
        None => Ok(None),
        Some(given) if given.expose().is_empty() => Ok(None),
        Some(given) if given.expose().chars().count() > 6 => Ok(Some(given.clone())),
        Some(_) => random_token().map(Some),
    }
}

fn random<const N: usize>() -> Result<[u8; N], RandomError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| RandomError(error.to_string()))?;
    Ok(bytes)
}

/// The door: knows the effective token and who tried lately.
pub struct SignIn {
    state: ArcSwapOption<Token>,
    http: Throttle,
    bus: Throttle,
}

/// The token and what follows from it.
struct Token {
    secret: Secret,
    /// The value of the cookie, before percent-encoding.
    cookie: String,
    verified: Mutex<Vec<String>>,
}

/// What a request presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Credential {
    /// Nothing.
    Absent,
    /// Something that opens the door; `fresh` if it took work to find out.
    Right {
        /// Whether it was checked just now, not found among those that verified before.
        fresh: bool,
    },
    /// Something that does not; counts as so many failures.
    Wrong(u32),
    /// Too many wrong ones came from this address; this one was not looked at.
    Unseen,
}

impl SignIn {
    /// A door for this effective token; without one it is open.
    ///
    /// # Errors
    /// [`RandomError`] when there is no salt to be had.
    pub fn new(token: Option<Secret>) -> Result<SignIn, RandomError> {
        let sign_in = SignIn { state: ArcSwapOption::empty(), http: Throttle::default(), bus: Throttle::default() };
        sign_in.set_token(token)?;
        Ok(sign_in)
    }

    /// Changes the effective token; cookies of the old one stop working, bus connections go on. The same token again changes
    /// nothing.
    ///
    /// # Errors
    /// [`RandomError`] when there is no salt to be had; the old token stays.
    pub fn set_token(&self, token: Option<Secret>) -> Result<(), RandomError> {
        let token = match token {
            None => None,
            Some(secret) if self.state.load().as_ref().is_some_and(|old| old.secret.matches(secret.expose())) => {
                return Ok(());
            }
            Some(secret) => {
                let cookie = hash::make(secret.expose(), &hex::encode(random::<16>()?));
                let verified = Mutex::new(vec![cookie.clone()]);
                Some(Token { secret, cookie, verified }.into())
            }
        };
        self.state.store(token);
        Ok(())
    }

    /// Whether a token is needed.
    pub fn is_required(&self) -> bool {
        self.state.load().is_some()
    }
}

impl fmt::Debug for SignIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignIn").field("required", &self.is_required()).finish_non_exhaustive()
    }
}

impl Token {
    /// Checks the cookies. Unless `may_try`, only those that verified before count.
    fn check_cookies(&self, cookies: &Cookies, host: Option<&str>, may_try: bool) -> Credential {
        let mut result = Credential::Absent;
        // Another server on this host may have written the plain name, so the one with our host comes first.
        let names = [host.map(cookie::name_for), Some(cookie::NAME.to_owned())];
        for name in names.iter().flatten() {
            let Some(value) = cookies.get(name).filter(|value| !value.is_empty()) else { continue };
            match self.check_cookie(value, may_try) {
                right @ Credential::Right { .. } => return right,
                other => result = worse(result, other),
            }
        }
        result
    }

    fn check_cookie(&self, value: &str, may_try: bool) -> Credential {
        if self.is_known(value) {
            return Credential::Right { fresh: false };
        }
        if !may_try {
            return Credential::Unseen;
        }
        let Some(presented) = Presented::parse(value) else { return Credential::Wrong(1) };
        if presented.verifies(self.secret.expose()) {
            self.remember(value);
            Credential::Right { fresh: true }
        } else {
            Credential::Wrong(1 + presented.iterations() / ITERATIONS_PER_FAILURE)
        }
    }

    /// Checks a token.
    fn check(&self, presented: &str, may_try: bool) -> Credential {
        match (may_try, self.secret.matches(presented)) {
            (false, _) => Credential::Unseen,
            (true, true) => Credential::Right { fresh: true },
            (true, false) => Credential::Wrong(1),
        }
    }

    fn is_known(&self, value: &str) -> bool {
        let verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        // No early end: which of them it was shall not show.
        verified.iter().fold(false, |found, known| found | bool::from(known.as_bytes().ct_eq(value.as_bytes())))
    }

    fn remember(&self, value: &str) {
        let mut verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        if verified.len() >= KEPT_COOKIES {
            // The first one is our own.
            verified.remove(1);
        }
        verified.push(value.to_owned());
    }
}

/// Adds up what several credentials were.
fn worse(a: Credential, b: Credential) -> Credential {
    match (a, b) {
        (Credential::Right { fresh }, _) | (_, Credential::Right { fresh }) => Credential::Right { fresh },
        (Credential::Unseen, _) | (_, Credential::Unseen) => Credential::Unseen,
        (Credential::Wrong(a), Credential::Wrong(b)) => Credential::Wrong(a.saturating_add(b)),
        (Credential::Wrong(n), Credential::Absent) | (Credential::Absent, Credential::Wrong(n)) => Credential::Wrong(n),
        (Credential::Absent, Credential::Absent) => Credential::Absent,
    }
}

/// The token of an `Authorization: Bearer` header.
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.trim().split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer")).then(|| token.trim()).filter(|token| !token.is_empty())
}

/// Whether the address may try something new now.
fn may_try(throttle: &Throttle, address: Option<IpAddr>) -> bool {
    throttle.blocked(address, Instant::now()).is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hub_020_short_tokens_are_replaced() {
        let short = Secret::new("1");
        let (first, second) =
            (effective_token(Some(&short)).unwrap().unwrap(), effective_token(Some(&short)).unwrap().unwrap());
        assert_eq!(first.expose().len(), 22);
        assert_ne!(first.expose(), second.expose());
        let six = effective_token(Some(&Secret::new("123456"))).unwrap().unwrap();
        assert_eq!(six.expose().len(), 22);
        let seven = effective_token(Some(&Secret::new("1234567"))).unwrap().unwrap();
        assert_eq!(seven.expose(), "1234567");
    }

    #[test]
    fn hub_021_an_empty_token_is_none() {
        assert!(effective_token(None).unwrap().is_none());
        assert!(effective_token(Some(&Secret::new(""))).unwrap().is_none());
        assert!(!SignIn::new(None).unwrap().is_required());
    }

    #[test]
    fn verified_cookies_are_remembered_up_to_a_bound() {
        let token = Token { secret: Secret::new("s3cret-token"), cookie: String::new(), verified: Mutex::default() };
        for n in 0..40 {
            let cookie = hash::make("s3cret-token", &format!("{n:032x}"));
            assert_eq!(token.check_cookie(&cookie, true), Credential::Right { fresh: true });
            assert_eq!(token.check_cookie(&cookie, true), Credential::Right { fresh: false });
            // A cookie that verified before opens the door even while the address is blocked.
            assert_eq!(token.check_cookie(&cookie, false), Credential::Right { fresh: false });
        }
        assert!(token.verified.lock().unwrap().len() <= KEPT_COOKIES);
        assert_eq!(token.check_cookie("sha512$x$1$y", false), Credential::Unseen);
    }

    #[test]
    fn cookies_live_as_long_as_their_token() {
        let sign_in = SignIn::new(Some(Secret::new("s3cret-token"))).unwrap();
        let cookie = || sign_in.state.load().as_ref().unwrap().cookie.clone();
        let works = |cookie: &str| {
            let state = sign_in.state.load();
            matches!(state.as_ref().unwrap().check_cookie(cookie, true), Credential::Right { .. })
        };
        let first = cookie();
        sign_in.set_token(Some(Secret::new("s3cret-token"))).unwrap();
        assert!(cookie() == first && works(&first));
        sign_in.set_token(Some(Secret::new("another-token"))).unwrap();
        assert!(!works(&first) && works(&cookie()));
        sign_in.set_token(None).unwrap();
        assert!(!sign_in.is_required());
    }

    #[test]
    fn debug_shows_no_secret() {
        let sign_in = SignIn::new(Some(Secret::new("s3cret-token"))).unwrap();
        assert!(!format!("{sign_in:?}").contains("s3cret"));
    }
}

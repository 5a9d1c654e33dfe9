//! The hash in the cookie (hub.md §3.2): `<algorithm>$<salt>$<iterations>$<hex digest>`.

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Sha256, Sha512};
use subtle::ConstantTimeEq;

/// What the reference writes.
const ITERATIONS: u32 = 1000;
/// The count is chosen by whoever sends the cookie.
const MAX_ITERATIONS: u32 = 100_000;

/// A hash as it was presented.
#[derive(Clone, Copy, Debug)]
pub(super) struct Presented<'a> {
    algorithm: Algorithm,
    salt: &'a str,
    iterations: u32,
    digest: &'a str,
}

#[derive(Clone, Copy, Debug)]
enum Algorithm {
    Sha1,
    Sha256,
    Sha512,
}

/// Hashes a password the way the reference does.
pub(super) fn make(password: &str, salt: &str) -> String {
    format!("sha512${salt}${ITERATIONS}${}", digest(Algorithm::Sha512, password, salt, ITERATIONS))
}

impl<'a> Presented<'a> {
    /// Takes a hash apart; `None` when it has another form, an unknown algorithm or too many iterations.
    pub(super) fn parse(text: &'a str) -> Option<Presented<'a>> {
        let mut parts = text.split('$');
        let (algorithm, salt, third, fourth) = (parts.next()?, parts.next()?, parts.next()?, parts.next());
        if parts.next().is_some() {
            return None;
        }
        let (iterations, digest) = match fourth {
            Some(digest) => (third.parse().ok()?, digest),
            None => (1, third),
        };
        let algorithm = match algorithm {
            "sha1" => Algorithm::Sha1,
            "sha256" => Algorithm::Sha256,
            "sha512" => Algorithm::Sha512,
            _ => return None,
        };
        (1..=MAX_ITERATIONS).contains(&iterations).then_some(Presented { algorithm, salt, iterations, digest })
    }

    /// How many rounds a check takes.
    pub(super) fn iterations(&self) -> u32 {
        self.iterations
    }

    /// Whether the hash is that of `password`.
    pub(super) fn verifies(&self, password: &str) -> bool {
        !password.is_empty()
            && digest(self.algorithm, password, self.salt, self.iterations)
                .as_bytes()
                .ct_eq(self.digest.as_bytes())
                .into()
    }
}

fn digest(algorithm: Algorithm, password: &str, salt: &str, iterations: u32) -> String {
    match algorithm {
        Algorithm::Sha1 => rounds::<Hmac<Sha1>>(password, salt, iterations),
        Algorithm::Sha256 => rounds::<Hmac<Sha256>>(password, salt, iterations),
        Algorithm::Sha512 => rounds::<Hmac<Sha512>>(password, salt, iterations),
    }
}

/// The key is the salt's text; the message is the password first and the last digest's text from then on.
fn rounds<M: Mac + KeyInit + Clone>(password: &str, salt: &str, iterations: u32) -> String {
    // HMAC takes keys of any length.
    let Ok(keyed) = <M as KeyInit>::new_from_slice(salt.as_bytes()) else { return String::new() };
    let mut text = password.as_bytes().to_vec();
    for _ in 0..iterations {
        let mut mac = keyed.clone();
        mac.update(&text);
        let bytes = mac.finalize().into_bytes();
        text.resize(bytes.len() * 2, 0);
        // The buffer has exactly the size that is needed.
        let _ = hex::encode_to_slice(&bytes, &mut text);
    }
    String::from_utf8(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWORD: &str = "s3cret-token";
    const SALT: &str = "0123456789abcdef0123456789abcdef";

    fn verifies(text: &str, password: &str) -> bool {
        Presented::parse(text).is_some_and(|presented| presented.verifies(password))
    }

    #[test]
    fn test_vectors_of_the_specification() {
        for (iterations, expected) in [
            (
                1,
                "b4ab9ee60d2b0abfae4d388d2c4b969fb14184b0813c5e31bb9aaeb79ea04b4b983b7ca53ef0cfc918087f3284b57551b2b632113fb9bc016ddd240673d59616",
            ),
            (
                2,
                "04fbe59f69b496254a8d5d0b620e3d8cdce9da1c2514e93d175b3f40894666a2d5e8fba9abed880181e1a41984cc7e48c9241e61471578d176987b0e0289d8b2",
            ),
            (
                1000,
                "0d877ef9ba0a85610fc4647ece5971a5dd533893bb93fe105d9e0bd11118175aa722742b08763fd002750af92138c159eb7f8efdd62ecb6a16c946aebae164b8",
            ),
        ] {
            assert_eq!(digest(Algorithm::Sha512, PASSWORD, SALT, iterations), expected);
            assert!(verifies(&format!("sha512${SALT}${iterations}${expected}"), PASSWORD));
        }
    }

    #[test]
    fn the_legacy_form_counts_as_one_iteration() {
        assert!(verifies("sha1$abcd$78e0b0e9769ee5010dd0bf771193889b1e4f2f71", "a"));
        assert!(verifies("sha1$abcd$1$78e0b0e9769ee5010dd0bf771193889b1e4f2f71", "a"));
        assert!(!verifies("sha1$abcd$2$78e0b0e9769ee5010dd0bf771193889b1e4f2f71", "a"));
    }

    #[test]
    fn what_is_made_verifies() {
        let made = make(PASSWORD, SALT);
        assert_eq!(made.split('$').count(), 4);
        assert!(verifies(&made, PASSWORD));
        assert!(!verifies(&made, "another"));
        assert!(!verifies(&made, ""));
        assert!(verifies(&make("pässwörd", SALT), "pässwörd"));
    }

    #[test]
    fn other_forms_are_refused() {
        let digest = "78e0b0e9769ee5010dd0bf771193889b1e4f2f71";
        for text in [
            "".to_owned(),
            "sha1".into(),
            format!("sha1$abcd${digest}$"),
            format!("md5$abcd$1${digest}"),
            format!("sha1$abcd$0${digest}"),
            format!("sha1$abcd$-1${digest}"),
            format!("sha1$abcd$1000000000${digest}"),
            format!("sha1$abcd$99999999999999999999${digest}"),
            format!("sha1$abcd$1${digest}$x"),
            format!("sha1$abcd$1${}é", &digest[..38]),
        ] {
            assert!(!verifies(&text, "a"), "{text}");
        }
    }
}

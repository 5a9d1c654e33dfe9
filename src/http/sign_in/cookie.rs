//! Reading the `Cookie` header and writing the one cookie we set (hub.md §3.1).

use http::{HeaderMap, header::COOKIE};

use crate::http::percent;

/// The cookie's plain name.
pub(super) const NAME: &str = "cocalc-lite-auth";
/// 90 days.
const MAX_AGE_SECONDS: u32 = 7_776_000;

/// The cookies of a request, decoded.
#[derive(Debug, Default)]
pub(super) struct Cookies(Vec<(String, String)>);

impl Cookies {
    /// Splits at `;`, each part at its first `=`, trims and decodes. What cannot be decoded counts as absent.
    pub(super) fn parse(headers: &HeaderMap) -> Cookies {
        let mut cookies = Vec::new();
        // HTTP/2 clients may split the header.
        for header in headers.get_all(COOKIE) {
            // Cookies of others on this host may hold anything; they must not hide ours.
            for part in String::from_utf8_lossy(header.as_bytes()).split(';') {
                let Some((name, value)) = part.split_once('=') else { continue };
                if let Some(value) = percent::decode_strictly(value.trim()) {
                    cookies.push((name.trim().to_owned(), value));
                }
            }
        }
        Cookies(cookies)
    }

    /// The value of a cookie; a later duplicate wins.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// The cookie's other name: cookies ignore ports, so two servers on one host need two names.
pub(super) fn name_for(host: &str) -> String {
    let host: String =
        host.chars().map(|c| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '_' }).collect();
    format!("{NAME}-{host}")
}

/// The value of a `Set-Cookie` header.
pub(super) fn set(name: &str, value: &str, secure: bool) -> String {
    let secure = if secure { "Secure; " } else { "" };
    format!("{name}={}; Path=/; Max-Age={MAX_AGE_SECONDS}; HttpOnly; {secure}SameSite=Lax", percent::encode(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(header: &str) -> Cookies {
        let mut headers = HeaderMap::new();
        headers.insert(COOKIE, http::HeaderValue::from_bytes(header.as_bytes()).unwrap());
        Cookies::parse(&headers)
    }

    #[test]
    fn parsing_rules() {
        let cookies = parse("a=1; b = x%20y ;c=p=q; a=2; broken=%zz; novalue; d=%E9");
        assert_eq!(cookies.get("a"), Some("2"));
        assert_eq!(cookies.get("b"), Some("x y"));
        assert_eq!(cookies.get("c"), Some("p=q"));
        assert_eq!(cookies.get("broken"), None);
        assert_eq!(cookies.get("novalue"), None);
        assert_eq!(cookies.get("d"), None);
        assert_eq!(parse("a=1; a=%zz").get("a"), Some("1"));
        assert_eq!(parse("other=über; a=1").get("a"), Some("1"));
    }

    #[test]
    fn names_and_values() {
        assert_eq!(name_for("localhost:5000"), "cocalc-lite-auth-localhost_5000");
        assert_eq!(name_for("[::1]:80"), "cocalc-lite-auth-___1__80");
        assert_eq!(
            set(NAME, "sha512$a$1$b", true),
            "cocalc-lite-auth=sha512%24a%241%24b; Path=/; Max-Age=7776000; HttpOnly; Secure; SameSite=Lax"
        );
        assert!(!set(NAME, "x", false).contains("Secure"));
    }
}

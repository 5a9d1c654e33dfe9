//! `HOST` and the base path as people write them.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{ListenConfig, Secret};

/// Host name and whether TLS is on, from `name`, `1.2.3.4`, `::1`, `http://name` or `https://name`. A port or path inside a
/// URL is ignored (hub.md §1.2).
pub fn parse_host(text: &str) -> Option<(String, bool)> {
    let text = text.trim();
    let (tls, rest, is_url) = match text.split_once("://") {
        Some(("http", rest)) => (false, rest, true),
        Some(("https", rest)) => (true, rest, true),
        Some(_) => return None,
        None => (false, text, false),
    };
    let authority = if is_url { rest.split(['/', '?', '#']).next()? } else { rest };
    let host = if let Some(inner) = authority.strip_prefix('[') {
        let (address, after) = inner.split_once(']')?;
        address.parse::<std::net::Ipv6Addr>().ok()?;
        if !(after.is_empty() || (is_url && after.starts_with(':'))) {
            return None;
        }
        address
    } else if authority.parse::<std::net::Ipv6Addr>().is_ok() {
        authority
    } else {
        let name = if is_url { authority.split(':').next()? } else { authority };
        let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        if name.is_empty() || name.len() > 253 || !name.chars().all(good) {
            return None;
        }
        name
    };
    Some((host.to_owned(), tls))
}

/// What [`parse_host`] allows, for error lines.
pub const HOST_ALLOWED: &str = "a host name or address, also as http://NAME or https://NAME (the port goes into PORT)";

/// `HOST` as it would be written.
pub fn show_host(listen: &ListenConfig) -> String {
    if listen.tls { format!("https://{}", bracketed(&listen.host)) } else { listen.host.clone() }
}

/// A host as it stands in a URL: IPv6 addresses in brackets.
pub fn bracketed(host: &str) -> String {
    if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.to_owned() }
}

/// A path prefix without trailing slash: empty, or `/x`.
pub fn parse_base_path(text: &str) -> Option<String> {
    let inner = text.trim().trim_matches('/');
    if inner.is_empty() {
        return Some(String::new());
    }
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '~' | '/');
    let segments_are_good = inner.split('/').all(|segment| !matches!(segment, "" | "." | ".."));
    (inner.len() <= 256 && inner.chars().all(good) && segments_are_good).then(|| format!("/{inner}"))
}

/// What [`parse_base_path`] allows, for error lines.
pub const BASE_PATH_ALLOWED: &str = "a path such as / or /lab, of letters, digits and - . _ ~";

/// What stays as it is in a percent-encoded value.
const UNRESERVED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// The server's URL: `http://localhost:5000`, `https://[::1]:5000/x/`.
pub fn url(tls: bool, host: &str, port: u16, base_path: &str) -> String {
    let scheme = if tls { "https" } else { "http" };
    let path = if base_path.is_empty() { String::new() } else { format!("{base_path}/") };
    format!("{scheme}://{}:{port}{path}", bracketed(host))
}

/// A URL that signs in whoever opens it.
pub fn sign_in_url(url: &str, token: Option<&Secret>) -> String {
    match token {
        Some(token) => format!("{url}?auth_token={}", utf8_percent_encode(token.expose(), &UNRESERVED)),
        None => url.to_owned(),
    }
}

/// The same URL with this token in place of the one it has.
pub fn with_token(url: &str, token: Option<&Secret>) -> String {
    sign_in_url(url.split('?').next().unwrap_or_default(), token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hub_host_takes_the_forms_of_the_reference() {
        for (text, host, tls) in [
            ("localhost", "localhost", false),
            ("1.2.3.4", "1.2.3.4", false),
            ("http://name", "name", false),
            ("https://name", "name", true),
            ("https://name:8443", "name", true),
            ("https://name:8443/path?q", "name", true),
            ("::1", "::1", false),
            ("[::1]", "::1", false),
            ("https://[::1]:5000", "::1", true),
        ] {
            assert_eq!(parse_host(text), Some((host.to_owned(), tls)), "{text}");
        }
        for text in ["", "https://", "ftp://name", "name:5000", "a b", "name/x", "[::1]:5000", "[x]", "u@name"] {
            assert_eq!(parse_host(text), None, "{text}");
        }
    }

    #[test]
    fn hub_the_url_signs_in() {
        assert_eq!(url(false, "localhost", 5000, ""), "http://localhost:5000");
        let url = url(true, "::1", 8443, "/x");
        assert_eq!(url, "https://[::1]:8443/x/");
        let token = Secret::new("s3cret token&x+/");
        assert_eq!(sign_in_url(&url, Some(&token)), format!("{url}?auth_token=s3cret%20token%26x%2B%2F"));
        assert_eq!(sign_in_url(&url, None), url);
        let signed = sign_in_url(&url, Some(&token));
        assert_eq!(with_token(&signed, Some(&Secret::new("other"))), format!("{url}?auth_token=other"));
        assert_eq!((with_token(&signed, None), with_token(&url, Some(&token))), (url, signed));
    }

    #[test]
    fn a_base_path_is_brought_into_one_form() {
        for (text, path) in [("/", ""), ("", ""), ("/x", "/x"), ("x/", "/x"), ("/a/b/", "/a/b")] {
            assert_eq!(parse_base_path(text).as_deref(), Some(path), "{text}");
        }
        for text in ["/a//b", "/../x", "/a b", "/a?b", "/ä"] {
            assert_eq!(parse_base_path(text), None, "{text}");
        }
    }
}

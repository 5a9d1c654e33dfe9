//! Which host was asked for, and by whose page.
//!
//! Any page in a browser can send requests to `localhost`. With a token, the cookie's `SameSite` keeps other sites out. Without
//! one, the `Origin` header has to match, and a server that listens on loopback only answers to names that mean this machine,
//! so that nobody can point a name of their own at it (DNS rebinding).

use std::net::IpAddr;

use http::{
    HeaderMap, Method, Uri,
    header::{HOST, ORIGIN},
    uri::Authority,
};
use thiserror::Error;

use super::Peer;
use crate::config;

/// Why a request is refused before anything else is looked at.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(super) enum Refusal {
    /// No host, or one that cannot be one.
    #[error("the request names no valid host")]
    BadHost,
    /// A name that does not mean this machine.
    #[error(
        "this server has no access token, so it answers only to names of this machine such as localhost; \
         set AUTH_TOKEN to use another name"
    )]
    ForeignHost,
    /// A page of another site.
    #[error("a page of another origin may not do this; open the page of this server itself, or set AUTH_TOKEN")]
    ForeignOrigin,
}

/// What is checked.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    /// The host the server was told to listen on.
    pub(super) listen_host: String,
    /// Answer to any name even without a token.
    pub(super) any_host: bool,
}

impl Rules {
    /// Whether the host that is asked for is one we answer to.
    pub(super) fn check_host(&self, headers: &HeaderMap, uri: &Uri, token: bool) -> Result<(), Refusal> {
        let host = match (headers.get(HOST), uri.authority()) {
            (Some(host), _) => {
                host.to_str().ok().and_then(|text| text.parse::<Authority>().ok()).ok_or(Refusal::BadHost)?
            }
            (None, Some(authority)) => authority.clone(),
            (None, None) => return Err(Refusal::BadHost),
        };
        let guarded = !token && !self.any_host && config::is_loopback(&self.listen_host);
        if !guarded || is_local_name(host.host()) || host.host().eq_ignore_ascii_case(&self.listen_host) {
            Ok(())
        } else {
            Err(Refusal::ForeignHost)
        }
    }
}

/// Whether the page that sends the request is ours. Requests of programs carry no `Origin`.
pub(super) fn check_origin(headers: &HeaderMap, peer: &Peer) -> Result<(), Refusal> {
    let Some(origin) = headers.get(ORIGIN) else { return Ok(()) };
    let origin = origin.to_str().ok().and_then(|text| text.parse::<Uri>().ok()).and_then(|uri| site(&uri));
    let named = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok());
    // A local proxy may have put its own name into `Host`. Pages of others cannot set either header.
    let hosts = [named("host"), named("x-forwarded-host").filter(|_| peer.local)];
    let same = origin.is_some_and(|(name, port, default)| {
        hosts.into_iter().flatten().any(|host: Authority| {
            host.host().eq_ignore_ascii_case(&name) && host.port_u16().unwrap_or(default) == port.unwrap_or(default)
        })
    });
    if same { Ok(()) } else { Err(Refusal::ForeignOrigin) }
}

/// Whether a request could change something.
pub(super) fn is_unsafe(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// Host, port and the scheme's own port of an origin.
fn site(origin: &Uri) -> Option<(String, Option<u16>, u16)> {
    let default = match origin.scheme_str()? {
        "http" => 80,
        "https" => 443,
        _ => return None,
    };
    Some((origin.host()?.to_owned(), origin.port_u16(), default))
}

fn is_local_name(host: &str) -> bool {
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    name == "localhost"
        || name.ends_with(".localhost")
        || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(&'static str, &'static str)]) -> HeaderMap {
        list.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    fn origin(list: &[(&'static str, &'static str)], local: bool) -> Result<(), Refusal> {
        check_origin(&headers(list), &Peer { address: None, tls: false, local })
    }

    #[test]
    fn origin_has_to_match_host() {
        assert_eq!(origin(&[("host", "localhost:5000")], true), Ok(()));
        assert_eq!(origin(&[("host", "localhost:5000"), ("origin", "http://localhost:5000")], true), Ok(()));
        assert_eq!(origin(&[("host", "LOCALHOST"), ("origin", "http://localhost")], true), Ok(()));
        assert_eq!(origin(&[("host", "localhost"), ("origin", "https://localhost:443")], true), Ok(()));
        assert_eq!(origin(&[("host", "[::1]:5000"), ("origin", "http://[::1]:5000")], true), Ok(()));
        for other in [
            "http://localhost:5001",
            "http://evil.example:5000",
            "null",
            "file://",
            "http://localhost",
            "chrome-extension://localhost:5000",
        ] {
            let list = headers(&[("host", "localhost:5000"), ("origin", other)]);
            assert_eq!(
                check_origin(&list, &Peer { address: None, tls: false, local: true }),
                Err(Refusal::ForeignOrigin),
                "{other}"
            );
        }
    }

    #[test]
    fn a_local_proxy_may_name_the_host() {
        let list = [("host", "127.0.0.1:5000"), ("x-forwarded-host", "lab.example"), ("origin", "https://lab.example")];
        assert_eq!(origin(&list, true), Ok(()));
        assert_eq!(origin(&list, false), Err(Refusal::ForeignOrigin));
    }

    #[test]
    fn loopback_without_token_answers_to_local_names_only() {
        let rules = Rules { listen_host: "localhost".into(), any_host: false };
        let check =
            |host: &'static str, token| rules.check_host(&headers(&[("host", host)]), &Uri::from_static("/"), token);
        for host in ["localhost:5000", "127.0.0.1", "127.9.9.9:1", "[::1]:5000", "app.localhost", "localhost."] {
            assert_eq!(check(host, false), Ok(()), "{host}");
        }
        assert_eq!(check("evil.example:5000", false), Err(Refusal::ForeignHost));
        assert_eq!(check("evil.example:5000", true), Ok(()));
        assert_eq!(check("a b", false), Err(Refusal::BadHost));
        assert_eq!(rules.check_host(&HeaderMap::new(), &Uri::from_static("/"), true), Err(Refusal::BadHost));
        let open = Rules { any_host: true, ..rules.clone() };
        assert_eq!(open.check_host(&headers(&[("host", "lab.example")]), &Uri::from_static("/"), false), Ok(()));
        let elsewhere = Rules { listen_host: "0.0.0.0".into(), ..rules.clone() };
        assert_eq!(elsewhere.check_host(&headers(&[("host", "lab.example")]), &Uri::from_static("/"), false), Ok(()));
    }
}

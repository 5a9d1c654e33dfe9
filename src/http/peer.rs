//! Who is at the other end (conat-wire.md §20.11). Headers of proxies are believed from this machine only.

use std::net::IpAddr;

use http::{HeaderMap, header::FORWARDED};

/// The other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The client's address, as far as it is known.
    pub address: Option<IpAddr>,
    /// Whether the client's connection is encrypted.
    pub tls: bool,
    /// Whether the socket's other end is this machine: a local client or a proxy.
    pub local: bool,
}

impl Peer {
    /// Combines the socket's other end with what a proxy says about it.
    pub(super) fn new(socket: Option<IpAddr>, tls: bool, headers: &HeaderMap) -> Peer {
        let socket = socket.map(|address| address.to_canonical());
        let local = socket.is_some_and(|address| address.is_loopback());
        if !local {
            return Peer { address: socket, tls, local };
        }
        let first = |name: &str| {
            headers
                .get(name)
                .and_then(|value| value.to_str().ok())
                .and_then(|value| value.split(',').next())
                .map(str::trim)
        };
        let address = ["cf-connecting-ip", "fastly-client-ip", "x-forwarded-for"]
            .into_iter()
            .find_map(|name| first(name).and_then(parse))
            .or_else(|| forwarded_for(headers).and_then(parse))
            .or(socket);
        let tls = tls || first("x-forwarded-proto").is_some_and(|scheme| scheme.eq_ignore_ascii_case("https"));
        Peer { address, tls, local }
    }
}

/// The first `for=` of the `Forwarded` header's first element (RFC 7239).
fn forwarded_for(headers: &HeaderMap) -> Option<&str> {
    let element = headers.get(FORWARDED)?.to_str().ok()?.split(',').next()?;
    element.split(';').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then(|| value.trim())
    })
}

/// Reads an address in any of the forms proxies write: quoted, in brackets, with port, with zone, mapped into IPv6.
fn parse(text: &str) -> Option<IpAddr> {
    let text = text.trim().trim_matches('"');
    let text = match text.strip_prefix('[') {
        Some(rest) => rest.split(']').next()?,
        None if text.matches(':').count() == 1 => text.split(':').next()?,
        None => text,
    };
    let text = text.split('%').next()?;
    text.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(socket: &str, headers: &[(&'static str, &'static str)]) -> Peer {
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        Peer::new(Some(socket.parse().unwrap()), false, &headers)
    }

    fn address(socket: &str, headers: &[(&'static str, &'static str)]) -> String {
        peer(socket, headers).address.unwrap().to_string()
    }

    #[test]
    fn wire_020_11_precedence() {
        let all = [
            ("cf-connecting-ip", "1.1.1.1"),
            ("fastly-client-ip", "2.2.2.2"),
            ("x-forwarded-for", "3.3.3.3, 9.9.9.9"),
            ("forwarded", "for=4.4.4.4;proto=https, for=9.9.9.9"),
        ];
        for (skip, expected) in ["1.1.1.1", "2.2.2.2", "3.3.3.3", "4.4.4.4", "127.0.0.1"].into_iter().enumerate() {
            assert_eq!(address("127.0.0.1", &all[skip..]), expected);
        }
    }

    #[test]
    fn strangers_are_not_believed() {
        assert_eq!(address("10.0.0.9", &[("x-forwarded-for", "1.1.1.1")]), "10.0.0.9");
        assert!(!peer("10.0.0.9", &[("x-forwarded-proto", "https")]).tls);
        assert!(peer("::1", &[("x-forwarded-proto", "https")]).tls);
    }

    #[test]
    fn forms_of_addresses() {
        for (value, expected) in [
            ("for=\"[2001:db8::1]:4711\"", "2001:db8::1"),
            ("For=192.0.2.1:80", "192.0.2.1"),
            ("for=\"::ffff:192.0.2.1\"", "192.0.2.1"),
            ("for=fe80::1%eth0", "fe80::1"),
            ("for=unknown", "127.0.0.1"),
        ] {
            assert_eq!(address("127.0.0.1", &[("forwarded", value)]), expected, "{value}");
        }
        assert_eq!(address("::ffff:10.1.1.1", &[]), "10.1.1.1");
    }
}

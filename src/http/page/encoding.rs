//! Which compressed form a client takes (RFC 9110 §12.5.3).

use http::{HeaderMap, header::ACCEPT_ENCODING};

/// A content coding we can send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    /// Plain bytes.
    Identity,
    /// gzip.
    Gzip,
    /// Brotli.
    Brotli,
}

impl Coding {
    /// The value of `Content-Encoding`, if there is one.
    pub(crate) fn name(self) -> Option<&'static str> {
        match self {
            Coding::Identity => None,
            Coding::Gzip => Some("gzip"),
            Coding::Brotli => Some("br"),
        }
    }
}

/// Picks the best form that exists and that the client takes. Brotli wins a tie, then gzip.
pub(crate) fn choose(headers: &HeaderMap, br: bool, gz: bool) -> Coding {
    let (mut wanted_br, mut wanted_gz, mut any) = (None, None, None);
    for value in headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok()) {
        for item in value.split(',') {
            let mut parts = item.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default();
            let weight = parts
                .find_map(|part| part.strip_prefix("q="))
                .map_or(1.0, |text| text.trim().parse::<f32>().unwrap_or(0.0));
            match name {
                name if name.eq_ignore_ascii_case("br") => wanted_br = Some(weight),
                name if name.eq_ignore_ascii_case("gzip") => wanted_gz = Some(weight),
                "*" => any = Some(weight),
                _ => {}
            }
        }
    }
    let br = if br { wanted_br.or(any).unwrap_or(0.0) } else { 0.0 };
    let gz = if gz { wanted_gz.or(any).unwrap_or(0.0) } else { 0.0 };
    if br > 0.0 && br >= gz {
        Coding::Brotli
    } else if gz > 0.0 {
        Coding::Gzip
    } else {
        Coding::Identity
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(accept: &str) -> Coding {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT_ENCODING, accept.parse().unwrap());
        choose(&headers, true, true)
    }

    #[test]
    fn the_client_decides() {
        assert_eq!(choose(&HeaderMap::new(), true, true), Coding::Identity);
        assert_eq!(chosen("gzip, deflate, br"), Coding::Brotli);
        assert_eq!(chosen("gzip"), Coding::Gzip);
        assert_eq!(chosen("br;q=0, gzip;q=0.5"), Coding::Gzip);
        assert_eq!(chosen("br;q=0.1, gzip;q=1"), Coding::Gzip);
        assert_eq!(chosen("*"), Coding::Brotli);
        assert_eq!(chosen("identity, *;q=0"), Coding::Identity);
    }
}

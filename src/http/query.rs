//! Parameters in the query of a target.

use http::Uri;

/// The first parameter of this name, decoded.
pub(super) fn get(uri: &Uri, name: &str) -> Option<String> {
    let query = uri.query()?;
    form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

/// Whether there is such a parameter, with or without a value.
pub(super) fn has(uri: &Uri, name: &str) -> bool {
    get(uri, name).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded_and_may_be_empty() {
        let uri = Uri::from_static("/x?path=data%2Fraw+x&download&id=1&id=2");
        assert_eq!(get(&uri, "path").as_deref(), Some("data/raw x"));
        assert_eq!(get(&uri, "id").as_deref(), Some("1"));
        assert!(has(&uri, "download") && !has(&uri, "down") && !has(&Uri::from_static("/x"), "download"));
    }
}

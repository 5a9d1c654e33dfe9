//! Content that others made, under our origin: what a browser may do with it.

use http::{
    HeaderMap, HeaderValue,
    header::{CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY},
};

use super::percent;

/// Types that are shown in place wherever they come from: pictures that can hold no script (hub.md §5.3).
const PICTURES: &[&str] =
    &["image/png", "image/jpeg", "image/gif", "image/webp", "image/avif", "image/bmp", "image/x-icon"];

/// A page in a world of its own: it may run scripts, but not as ours, with no access to what is ours.
const APART: HeaderValue = HeaderValue::from_static("sandbox allow-scripts allow-popups allow-forms allow-downloads");
/// Nothing runs, nothing is loaded.
const INERT: HeaderValue = HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; sandbox");

fn plain(mime: &str) -> &str {
    mime.split(';').next().unwrap_or(mime).trim()
}

/// Marks a blob: everything but pictures is for saving.
pub(super) fn mark_blob(headers: &mut HeaderMap, mime: &str, name: &str, download: bool) {
    headers.insert(CONTENT_SECURITY_POLICY, INERT);
    if download || !PICTURES.contains(&plain(mime)) {
        attach(headers, name);
    }
}

/// Marks a file of the project: shown in place, as clients expect of pages too, but never as a part of our own page.
pub(super) fn mark_file(headers: &mut HeaderMap, mime: &str, name: &str, download: bool) {
    let mime = plain(mime);
    match mime {
        // What may run scripts without being a page.
        "image/svg+xml" | "text/xml" | "application/xhtml+xml" => {
            headers.insert(CONTENT_SECURITY_POLICY, INERT);
            attach(headers, name);
            return;
        }
        "text/html" => drop(headers.insert(CONTENT_SECURITY_POLICY, APART)),
        // Browsers refuse to show these in a sandbox.
        "application/pdf" => {}
        _ if mime.starts_with("audio/") || mime.starts_with("video/") => {}
        _ => drop(headers.insert(CONTENT_SECURITY_POLICY, INERT)),
    }
    if download {
        attach(headers, name);
    }
}

/// Makes it a download under this name (RFC 6266).
fn attach(headers: &mut HeaderMap, name: &str) {
    // RFC 5987 allows less than `encodeURIComponent` leaves alone.
    let name = percent::encode(name);
    let name = name.replace('\'', "%27").replace('(', "%28").replace(')', "%29").replace('*', "%2A");
    let value = HeaderValue::try_from(format!("attachment; filename*=UTF-8''{name}"));
    headers.insert(CONTENT_DISPOSITION, value.unwrap_or(HeaderValue::from_static("attachment")));
}

#[cfg(test)]
mod tests {
    use super::*;

    type Mark = fn(&mut HeaderMap, &str, &str, bool);

    fn marked(mark: Mark, mime: &str, download: bool) -> (Option<String>, Option<String>) {
        let mut headers = HeaderMap::new();
        mark(&mut headers, mime, "a b.x", download);
        let text = |name| headers.get(name).map(|value: &HeaderValue| value.to_str().unwrap().to_owned());
        (text(CONTENT_DISPOSITION), text(CONTENT_SECURITY_POLICY))
    }

    #[test]
    fn active_content_never_runs_as_ours() {
        for mime in ["text/html; charset=utf-8", "image/svg+xml", "application/xhtml+xml", "text/xml; charset=utf-8"] {
            for download in [false, true] {
                for mark in [mark_blob as Mark, mark_file] {
                    let policy = marked(mark, mime, download).1.unwrap();
                    assert!(policy.contains("sandbox") && !policy.contains("allow-same-origin"), "{mime}");
                }
            }
            assert!(marked(mark_blob, mime, false).0.is_some(), "{mime}");
        }
        for mime in ["image/svg+xml", "application/xhtml+xml", "text/xml; charset=utf-8"] {
            assert!(marked(mark_file, mime, false).0.is_some(), "{mime}");
        }
    }

    #[test]
    fn blobs_other_than_pictures_are_for_saving() {
        for mime in PICTURES {
            assert_eq!(marked(mark_blob, mime, false).0, None, "{mime}");
            assert!(marked(mark_blob, mime, true).0.is_some(), "{mime}");
        }
        for mime in ["application/octet-stream", "text/plain; charset=utf-8", "application/pdf", "video/mp4"] {
            assert!(marked(mark_blob, mime, false).0.is_some(), "{mime}");
            assert_eq!(marked(mark_file, mime, false).0, None, "{mime}");
        }
    }

    #[test]
    fn names_are_encoded_as_rfc_5987_says() {
        for (name, encoded) in [
            ("a b.txt", "a%20b.txt"),
            ("ä\"'(x)*.txt", "%C3%A4%22%27%28x%29%2A.txt"),
            ("a\r\nSet-Cookie: x", "a%0D%0ASet-Cookie%3A%20x"),
        ] {
            let mut headers = HeaderMap::new();
            attach(&mut headers, name);
            assert_eq!(headers[CONTENT_DISPOSITION], format!("attachment; filename*=UTF-8''{encoded}"));
        }
    }
}

//! The page under `/static`: embedded in the program, or another frontend's directory (hub.md §2.4).

mod directory;
pub(crate) mod encoding;
pub(crate) mod mime;

use std::path::{Path, PathBuf};

use axum::body::Body;
use http::{Method, Response, header::RANGE, request::Parts};
use thiserror::Error;

use directory::Directory;
use encoding::Coding;

use super::send::{self, Content, Representation};

/// One file of the embedded page; `build.rs` writes the table.
#[derive(Debug)]
struct Asset {
    /// Relative to `/static/`.
    path: &'static str,
    mime: &'static str,
    /// Part of the SHA-256 of the content, in hexadecimal.
    hash: &'static str,
    raw: &'static [u8],
    br: Option<&'static [u8]>,
    gz: Option<&'static [u8]>,
}

/// The embedded page, sorted by path.
static EMBEDDED: &[Asset] = include!(concat!(env!("OUT_DIR"), "/page.rs"));

/// The icon, when the page does not bring one.
const FAVICON: &[u8] = include_bytes!("favicon.ico");

/// Why a frontend cannot be served.
#[derive(Debug, Error)]
pub enum Error {
    /// The directory cannot be used.
    #[error("the frontend directory {path} cannot be read: {source}")]
    Unreadable {
        /// The directory as given.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// There is no entry page in it.
    #[error("the frontend directory {path} contains no app.html")]
    NoEntry {
        /// The directory as given.
        path: PathBuf,
    },
}

/// The files under `/static`.
#[derive(Debug)]
pub struct Page {
    directory: Option<Directory>,
}

impl Page {
    /// The page that is part of the program.
    pub fn embedded() -> Page {
        Page { directory: None }
    }

    /// Another frontend.
    ///
    /// # Errors
    /// [`enum@Error`] when the directory cannot be read or contains no `app.html`.
    pub fn directory(path: &Path) -> Result<Page, Error> {
        Ok(Page { directory: Some(Directory::open(path)?) })
    }

    /// Whether this is our own page, whose needs we know (content security policy).
    pub fn is_own(&self) -> bool {
        self.directory.is_none()
    }

    /// Answers a request for `path`, the percent-encoded part behind `/static/`. `None`: there is no such file.
    pub async fn serve(&self, request: &Parts, path: &str) -> Option<Response<Body>> {
        if !matches!(request.method, Method::GET | Method::HEAD) {
            return None;
        }
        let path = clean(path)?;
        let cache = if is_immutable(&path) { "public, max-age=31536000, immutable" } else { "public, max-age=0" };
        match &self.directory {
            Some(directory) => directory.serve(request, &path, cache).await,
            None => {
                let index = EMBEDDED.binary_search_by(|asset| asset.path.cmp(path.as_str())).ok()?;
                EMBEDDED.get(index).map(|asset| serve_asset(request, asset, cache))
            }
        }
    }

    /// The icon: the page's own, or ours.
    pub async fn favicon(&self, request: &Parts) -> Response<Body> {
        for path in ["favicon.ico", "webapp/favicon.ico"] {
            if let Some(response) = self.serve(request, path).await {
                return response;
            }
        }
        let icon = Asset {
            path: "favicon.ico",
            mime: "image/x-icon",
            hash: env!("CARGO_PKG_VERSION"),
            raw: FAVICON,
            br: None,
            gz: None,
        };
        serve_asset(request, &icon, "public, max-age=0")
    }
}

/// Hashed names live under `assets/`; their content never changes.
fn is_immutable(path: &str) -> bool {
    path.starts_with("assets/")
}

fn serve_asset(request: &Parts, asset: &Asset, cache: &'static str) -> Response<Body> {
    // Ranges are ranges of the file, not of a compressed form.
    let coding = if request.headers.contains_key(RANGE) {
        Coding::Identity
    } else {
        encoding::choose(&request.headers, asset.br.is_some(), asset.gz.is_some())
    };
    let (bytes, etag) = match (coding, asset.br, asset.gz) {
        (Coding::Brotli, Some(br), _) => (br, format!("\"{}-br\"", asset.hash)),
        (Coding::Gzip, _, Some(gz)) => (gz, format!("\"{}-gz\"", asset.hash)),
        _ => (asset.raw, format!("\"{}\"", asset.hash)),
    };
    let about = Representation {
        mime: asset.mime,
        cache,
        etag,
        modified: None,
        coding,
        varies: asset.br.is_some() || asset.gz.is_some(),
        length: bytes.len() as u64,
    };
    match send::decide(request, &about) {
        send::Answer::Whole(head) => send::whole(head, Content::Static(bytes)),
        send::Answer::Part(head, range) => send::part(head, Content::Static(bytes), range),
        send::Answer::Done(response) => response,
    }
}

/// Decodes a request path into a plain relative one. `None`: it could mean something outside, or nothing at all.
fn clean(path: &str) -> Option<String> {
    let decoded = super::percent::decode_strictly(path)?;
    let plain = decoded.split('/').all(|part| !matches!(part, "" | "." | ".."));
    (plain && !decoded.contains(['\0', '\\'])).then_some(decoded)
}

#[cfg(test)]
mod tests {
    use super::clean;

    #[test]
    fn paths_that_could_leave_are_refused() {
        for path in [
            "../x",
            "a/../../x",
            "%2e%2e/x",
            "..%2fx",
            "a//b",
            "/etc/passwd",
            "%2fetc",
            "a\\..\\b",
            "a%00",
            "",
            "a/",
            "%zz",
            "%ff",
        ] {
            assert_eq!(clean(path), None, "{path}");
        }
        assert_eq!(clean("a%20b/c..d.js").as_deref(), Some("a b/c..d.js"));
    }
}

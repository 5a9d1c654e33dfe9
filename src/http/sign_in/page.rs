//! The page for those who are not signed in: says what to do and takes the token.

use std::{fmt::Write, sync::LazyLock};

use axum::body::Body;
use base64::{Engine, engine::general_purpose::STANDARD};
use http::{
    HeaderValue, Method, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
    request::Parts,
};
use sha2::{Digest, Sha256};

const TEMPLATE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");

/// Allows the page's own style and form and nothing else.
static POLICY: LazyLock<Option<HeaderValue>> = LazyLock::new(|| {
    let hash = STANDARD.encode(Sha256::digest(STYLE));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{hash}'; form-action 'self'; base-uri 'none'; frame-ancestors 'self'"
    );
    HeaderValue::from_str(&policy).ok()
});

/// Why somebody is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// There was no token.
    Missing,
    /// There was one, but not the right one.
    Wrong,
    /// Too many wrong ones; the next try is possible in so many seconds.
    TooMany(u64),
}

/// The answer, 401 or 429.
pub(super) fn respond(request: &Parts, reason: Reason) -> Response<Body> {
    let (status, title, message) = match reason {
        Reason::Missing => (
            StatusCode::UNAUTHORIZED,
            "Sign in",
            "Unauthorized: the <code>auth_token</code> parameter is missing.".to_owned(),
        ),
        Reason::Wrong => {
            let message = "Unauthorized: that token is wrong, or the server has a new one since you last signed in.";
            (StatusCode::UNAUTHORIZED, "Sign in again", message.to_owned())
        }
        Reason::TooMany(seconds) => {
            let message = format!("Too many wrong tokens came from your address. Try again in {seconds} s.");
            (StatusCode::TOO_MANY_REQUESTS, "Please wait", message)
        }
    };
    let body =
        if request.method == Method::HEAD { Body::empty() } else { Body::from(render(request, title, &message)) };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(policy) = &*POLICY {
        headers.insert(CONTENT_SECURITY_POLICY, policy.clone());
    }
    match reason {
        Reason::TooMany(seconds) => headers.insert(RETRY_AFTER, HeaderValue::from(seconds)),
        _ => headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"outpost\"")),
    };
    response
}

fn render(request: &Parts, title: &str, message: &str) -> String {
    // The form replaces the query, so the rest of it is carried along.
    let mut fields = String::new();
    let query = request.uri.query().unwrap_or_default();
    for (name, value) in form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name != "auth_token") {
        let _ = write!(fields, "<input type=\"hidden\" name=\"{}\" value=\"{}\">", escape(&name), escape(&value));
    }
    TEMPLATE
        .replace("{style}", STYLE)
        .replace("{title}", title)
        .replace("{message}", message)
        // Last, so that nothing of the request is taken for a place to fill in.
        .replace("{fields}", &fields)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(target: &str) -> Parts {
        http::Request::get(target).body(()).unwrap().into_parts().0
    }

    #[test]
    fn nothing_of_the_request_becomes_markup() {
        let html = render(&parts("/x?a=%3Cscript%3E&%22%3E=%7Btitle%7D&auth_token=secret"), "Sign in", "m");
        assert!(!html.contains("<script>"));
        assert!(html.contains("value=\"&lt;script&gt;\""));
        assert!(html.contains("name=\"&quot;&gt;\" value=\"{title}\""));
        assert!(!html.contains("secret"));
    }

    #[test]
    fn the_style_is_the_one_the_policy_allows() {
        let html = render(&parts("/"), "Sign in", "m");
        let style = html.split("<style>").nth(1).unwrap().split("</style>").next().unwrap();
        let hash = STANDARD.encode(Sha256::digest(style));
        let response = respond(&parts("/"), Reason::Missing);
        assert!(response.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap().contains(&hash));
        assert!(!html.contains("style=\""));
    }

    #[test]
    fn status_and_headers() {
        assert_eq!(respond(&parts("/"), Reason::Wrong).status(), 401);
        let wait = respond(&parts("/"), Reason::TooMany(7));
        assert_eq!((wait.status().as_u16(), wait.headers()[RETRY_AFTER].to_str().unwrap()), (429, "7"));
    }
}

//! The sign-in step of the HTTP pipeline (hub.md §3.1).

use std::time::{Duration, Instant};

use axum::body::Body;
use http::{
    HeaderValue, Response, StatusCode,
    header::{CACHE_CONTROL, HOST, LOCATION, SET_COOKIE},
    request::Parts,
};

use super::{Credential, SignIn, Token, bearer, cookie, cookie::Cookies, may_try, page, page::Reason, throttle, worse};
use crate::http::Peer;

/// What the sign-in step says to a request.
pub(in crate::http) enum Passage {
    /// Go on.
    Granted,
    /// This is the answer, to be given after the delay.
    Answered(Box<Response<Body>>, Duration),
}

impl Passage {
    fn now(response: Response<Body>) -> Passage {
        Passage::Answered(Box::new(response), Duration::ZERO)
    }
}

impl SignIn {
    /// Decides about a request.
    pub(in crate::http) fn admit(&self, request: &Parts, peer: &Peer) -> Passage {
        let state = self.state.load();
        let Some(token) = state.as_deref() else { return Passage::Granted };
        let may_try = may_try(&self.http, peer.address);
        let host = request.headers.get(HOST).and_then(|host| host.to_str().ok());
        let presented = worse(
            token.check_cookies(&Cookies::parse(&request.headers), host, may_try),
            bearer(&request.headers).map_or(Credential::Absent, |bearer| token.check(bearer, may_try)),
        );
        let query = request.uri.query().unwrap_or_default();
        let asked = form_urlencoded::parse(query.as_bytes())
            .find(|(name, _)| name == "auth_token")
            .map(|(_, value)| value)
            .filter(|value| !value.is_empty());
        if let Credential::Right { fresh } = presented {
            if fresh {
                self.http.succeeded(peer.address);
            }
            return match asked {
                None => Passage::Granted,
                Some(_) => Passage::now(see_other(query)),
            };
        }
        let presented = worse(presented, asked.map_or(Credential::Absent, |asked| token.check(&asked, may_try)));
        match presented {
            Credential::Right { .. } => {
                self.http.succeeded(peer.address);
                Passage::now(signed_in(token, query, host, peer.tls))
            }
            Credential::Absent => Passage::now(page::respond(request, Reason::Missing)),
            Credential::Unseen => {
                let left = self.http.blocked(peer.address, Instant::now()).unwrap_or_default();
                Passage::now(page::respond(request, Reason::TooMany(throttle::whole_seconds(left))))
            }
            Credential::Wrong(weight) => {
                let delay = self.http.failed(peer.address, weight, Instant::now());
                tracing::debug!(address = ?peer.address, "a sign-in failed");
                Passage::Answered(Box::new(page::respond(request, Reason::Wrong)), delay)
            }
        }
    }
}

/// Back to the same place without the token. A reference of the query only also works behind a proxy that strips a prefix.
fn see_other(query: &str) -> Response<Body> {
    let rest: String = form_urlencoded::Serializer::for_suffix("?".to_owned(), 1)
        .extend_pairs(form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name != "auth_token"))
        .finish();
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SEE_OTHER;
    if let Ok(location) = HeaderValue::try_from(rest) {
        response.headers_mut().insert(LOCATION, location);
    }
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The same with both cookies.
fn signed_in(token: &Token, query: &str, host: Option<&str>, secure: bool) -> Response<Body> {
    let mut response = see_other(query);
    for name in [Some(cookie::NAME.to_owned()), host.map(cookie::name_for)].into_iter().flatten() {
        if let Ok(value) = HeaderValue::try_from(cookie::set(&name, &token.cookie, secure)) {
            response.headers_mut().append(SET_COOKIE, value);
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn location(query: &str) -> String {
        see_other(query).headers()[LOCATION].to_str().unwrap().to_owned()
    }

    #[test]
    fn hub_013_location_keeps_the_rest_of_the_query() {
        assert_eq!(location("a=1&auth_token=s3cret%20token%26x&b=2%202"), "?a=1&b=2+2");
        assert_eq!(location("auth_token=x"), "?");
        assert_eq!(location("auth_token=x&auth_token=y&target=a%2Fb"), "?target=a%2Fb");
    }
}

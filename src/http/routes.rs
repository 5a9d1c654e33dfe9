//! Which handler answers which path (hub.md §2.1). Everything here is behind the sign-in, except [`Routes::open`].

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::{DefaultBodyLimit, Request, State},
    routing::{any, get, post},
};
use http::{HeaderValue, Method, Response, StatusCode, header::SET_COOKIE};

use super::{Customize, health::Readiness, metrics, metrics::Metrics, page::Page, redirect, reply};

/// What the handlers need.
pub(super) struct Context {
    pub(super) page: Page,
    pub(super) customize: Arc<dyn Customize>,
    /// Set with the application page and the configuration document.
    pub(super) account_cookie: Option<HeaderValue>,
    pub(super) metrics: Metrics,
    pub(super) project_id: String,
}

impl Context {
    /// Adds the cookie that names the account.
    fn with_account(&self, mut response: Response<Body>) -> Response<Body> {
        if let Some(cookie) = &self.account_cookie {
            response.headers_mut().append(SET_COOKIE, cookie.clone());
        }
        response
    }
}

/// The routes.
pub(super) struct Routes {
    pub(super) router: Router,
    readiness: Readiness,
    project_id: String,
}

impl Routes {
    /// `more` are the routes of other parts; they go before the redirect to the page.
    pub(super) fn new(context: Context, readiness: Readiness, more: Option<Router>) -> Routes {
        let project_id = context.project_id.clone();
        let own = Router::new()
            .route("/customize", get(customize))
            .route("/metrics", get(numbers))
            .route("/static/{*path}", any(page))
            .route("/webapp/favicon.ico", get(favicon))
            .route("/favicon.ico", get(favicon))
            .route("/webapp/serviceWorker.js", get(service_worker))
            .route("/analytics.js", post(|| async { StatusCode::NO_CONTENT }).get(elsewhere))
            .route("/api", any(not_implemented))
            .route("/api/{*path}", any(not_implemented))
            .route("/stats", get(nothing))
            .route("/registration", get(nothing))
            .fallback(elsewhere)
            .method_not_allowed_fallback(|| async { reply::not_found() })
            .with_state(Arc::new(context));
        let router = match more {
            Some(more) => own.merge(more),
            None => own,
        };
        // The pipeline has its own limit.
        Routes { router: router.layer(DefaultBodyLimit::disable()), readiness, project_id }
    }

    /// What is answered to everybody, and says nothing but the state.
    pub(super) fn open(&self, method: &Method, path: &str) -> Option<Response<Body>> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            return None;
        }
        match path {
            "/healthz" => Some(reply::json(StatusCode::OK, r#"{"state":"alive"}"#)),
            "/readyz" => Some(ready(&self.readiness)),
            _ => None,
        }
    }

    /// From the base path without a slash at its end to the page.
    pub(super) fn enter(&self, base_path: &str) -> Response<Body> {
        let last = base_path.rsplit('/').next().unwrap_or_default();
        let location = redirect::location(&http::Uri::from_static("/"), &self.project_id);
        redirect::respond(&format!("{last}/{location}"))
    }
}

/// Whether all parts are up, and the code of the storage's trouble if it has one.
fn ready(readiness: &Readiness) -> Response<Body> {
    if !readiness.is_ready() {
        return reply::json(StatusCode::SERVICE_UNAVAILABLE, r#"{"state":"starting"}"#);
    }
    match readiness.storage_trouble() {
        None => reply::json(StatusCode::OK, r#"{"state":"ready"}"#),
        Some(code) => {
            let body = serde_json::json!({"state": "degraded", "storage": code}).to_string();
            reply::json(StatusCode::OK, body)
        }
    }
}

async fn customize(State(context): State<Arc<Context>>, request: Request) -> Response<Body> {
    context.with_account(reply::dynamic_json(request.headers(), context.customize.document()))
}

async fn numbers(State(context): State<Arc<Context>>, request: Request) -> Response<Body> {
    match context.metrics.render() {
        Ok(text) => reply::dynamic(request.headers(), metrics::CONTENT_TYPE, text.into()),
        Err(_) => reply::text(StatusCode::INTERNAL_SERVER_ERROR, "the numbers cannot be written"),
    }
}

async fn page(State(context): State<Arc<Context>>, request: Request) -> Response<Body> {
    let (head, _) = request.into_parts();
    let path = head.uri.path().strip_prefix("/static/").unwrap_or_default();
    match context.page.serve(&head, path).await {
        Some(response) if path == "app.html" => context.with_account(response),
        Some(response) => response,
        None if path == "favicon.ico" => context.page.favicon(&head).await,
        // A page in place of a missing part of itself would be run as a script; and the page cannot stand in for itself.
        None if path.starts_with("assets/") || path == "app.html" => reply::not_found(),
        None => catch_all(&head.method, &head.uri, &context),
    }
}

async fn favicon(State(context): State<Arc<Context>>, request: Request) -> Response<Body> {
    context.page.favicon(&request.into_parts().0).await
}

async fn service_worker(State(context): State<Arc<Context>>, request: Request) -> Response<Body> {
    context.page.serve(&request.into_parts().0, "serviceWorker.js").await.unwrap_or_else(reply::not_found)
}

/// The frontend takes anything but JSON for a hiccup, waits and asks again.
async fn not_implemented() -> Response<Body> {
    reply::json(StatusCode::NOT_FOUND, r#"{"error":"not implemented"}"#)
}

async fn nothing() -> Response<Body> {
    reply::json(StatusCode::OK, "{}")
}

async fn elsewhere(State(context): State<Arc<Context>>, request: Request) -> Response<Body> {
    catch_all(request.method(), request.uri(), &context)
}

fn catch_all(method: &Method, uri: &http::Uri, context: &Context) -> Response<Body> {
    if !matches!(*method, Method::GET | Method::HEAD) || uri.path().ends_with("__webpack_hmr") {
        return reply::not_found();
    }
    redirect::respond(&redirect::location(uri, &context.project_id))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn readyz_tells_the_state_and_trouble_with_the_storage() {
        let text = async |readiness: &Readiness| {
            let (head, body) = ready(readiness).into_parts();
            (head.status.as_u16(), body.collect().await.unwrap().to_bytes())
        };
        let readiness = Readiness::new();
        let latch = readiness.latch("services");
        readiness.ask_storage(|| Some("SQLITE_FULL".to_owned()));
        assert_eq!(text(&readiness).await, (503, Bytes::from_static(br#"{"state":"starting"}"#)));
        drop(latch);
        let degraded = Bytes::from_static(br#"{"state":"degraded","storage":"SQLITE_FULL"}"#);
        assert_eq!(text(&readiness).await, (200, degraded));
        assert_eq!(text(&Readiness::new()).await, (200, Bytes::from_static(br#"{"state":"ready"}"#)));
    }
}

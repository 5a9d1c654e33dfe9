//! Where requests go that nobody else answers: to the page, which is told where the person wanted to be (hub.md §2.5).

use axum::body::Body;
use http::{
    HeaderValue, Response, StatusCode, Uri,
    header::{CACHE_CONTROL, LOCATION},
};

use super::percent;

/// First parts of paths that newer clients use for the one project.
const PROJECT_PARTS: [&str; 6] = ["files", "new", "search", "log", "port", "raw"];

/// The place in the page that a request target means.
fn target(path: &str, query: Option<&str>, project_id: &str) -> String {
    let path = path.strip_prefix('/').unwrap_or(path);
    let first = path.split('/').next().unwrap_or_default();
    let place = if path.is_empty() {
        format!("projects/{project_id}/files/")
    } else if first == project_id {
        format!("projects/{path}")
    } else if PROJECT_PARTS.contains(&first) {
        format!("projects/{project_id}/{path}")
    } else {
        path.to_owned()
    };
    match query {
        Some(query) if !query.is_empty() => format!("{place}?{query}"),
        _ => place,
    }
}

/// The relative way to the page. Relative locations keep working behind a proxy that strips a prefix.
pub(super) fn location(uri: &Uri, project_id: &str) -> String {
    let path = uri.path();
    let up = path.matches('/').count().saturating_sub(1);
    format!("{}static/app.html?target={}", "../".repeat(up), percent::encode(&target(path, uri.query(), project_id)))
}

/// Answers with a redirect.
pub(super) fn respond(location: &str) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    match HeaderValue::try_from(location) {
        Ok(location) => {
            *response.status_mut() = StatusCode::FOUND;
            response.headers_mut().insert(LOCATION, location);
            response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        }
        Err(_) => *response.status_mut() = StatusCode::NOT_FOUND,
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROJECT: &str = "00000000-1000-4000-8000-000000000000";

    fn check(uri: &'static str, up: usize, expected: &str) {
        let location = location(&Uri::from_static(uri), PROJECT);
        let (way, target) = location.split_once("static/app.html?target=").unwrap();
        assert_eq!(way, "../".repeat(up), "{uri}");
        assert_eq!(percent::decode_strictly(target).unwrap(), expected, "{uri}");
    }

    #[test]
    fn hub_033_targets_of_the_table() {
        check("/", 0, &format!("projects/{PROJECT}/files/"));
        check("/projects/x/files/x.md?y=1", 3, "projects/x/files/x.md?y=1");
        check("/settings/a", 1, "settings/a");
        check("/00000000-1000-4000-8000-000000000000/x", 1, &format!("projects/{PROJECT}/x"));
        check("/files/a%20b", 1, &format!("projects/{PROJECT}/files/a%20b"));
        check("/log", 0, &format!("projects/{PROJECT}/log"));
        check("/anything/else/", 2, "anything/else/");
    }

    #[test]
    fn the_example_of_the_specification() {
        let uri = Uri::from_static("/projects/PROJECT/files/a%20b.md");
        assert_eq!(location(&uri, PROJECT), "../../../static/app.html?target=projects%2FPROJECT%2Ffiles%2Fa%2520b.md");
    }
}

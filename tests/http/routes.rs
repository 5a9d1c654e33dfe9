//! D. Routes and configuration.

use axum::{Router, routing::get};

use crate::support::{ACCOUNT, PROJECT, Plan};

fn decode(target: &str) -> String {
    percent_encoding::percent_decode_str(target).decode_utf8().unwrap().into_owned()
}

#[tokio::test]
async fn hub_032_the_root_redirects_to_the_page() {
    let site = Plan::default().start();
    let reply = site.get("/").await;
    assert_eq!(reply.status, 302);
    let (way, target) = reply.header("location").split_once("?target=").unwrap();
    assert_eq!((way, decode(target)), ("static/app.html", format!("projects/{PROJECT}/files/")));
    assert_eq!(site.ask("HEAD", "/", &[]).await.status, 302);
}

#[tokio::test]
async fn hub_033_other_paths_are_given_back_to_the_page() {
    let site = Plan::default().start();
    for (path, way, expected) in [
        (format!("/projects/{PROJECT}/files/a.md"), "../../../", format!("projects/{PROJECT}/files/a.md")),
        ("/projects/x/files/a%20b.md?y=1".into(), "../../../", "projects/x/files/a%20b.md?y=1".into()),
        ("/settings/profile".into(), "../", "settings/profile".into()),
        (format!("/{PROJECT}/files/"), "../../", format!("projects/{PROJECT}/files/")),
        ("/files/x".into(), "../", format!("projects/{PROJECT}/files/x")),
        ("/static/nothing.js".into(), "../", "static/nothing.js".into()),
        ("/conat".into(), "", "conat".into()),
        ("/healthzz".into(), "", "healthzz".into()),
    ] {
        let reply = site.get(&path).await;
        let (location, target) = reply.header("location").split_once("static/app.html?target=").unwrap();
        assert_eq!((reply.status, location, decode(target)), (302, way, expected), "{path}");
    }
}

#[tokio::test]
async fn hub_036_and_037_customize() {
    let site = Plan::default().start();
    let reply = site.get("/customize?type=manifest").await;
    assert_eq!((reply.status, reply.header("content-type")), (200, "application/json; charset=utf-8"));
    let document = reply.json();
    for field in ["configuration", "registration", "strategies", "software", "ollama", "custom_openai"] {
        assert!(document.get(field).is_some(), "{field}");
    }
    let configuration = &document["configuration"];
    assert_eq!(configuration["lite"], true);
    assert_eq!(configuration["account_id"], ACCOUNT);
    assert_eq!(configuration["project_id"], PROJECT);
    assert!(configuration["remote_sync"].is_boolean());
    assert!(configuration["compute_server_id"].is_i64());
    let packed = site.ask("GET", "/customize", &[("accept-encoding", "gzip")]).await;
    assert_eq!((packed.header("content-encoding"), packed.header("vary")), ("gzip", "Accept-Encoding"));
    assert!(packed.body.len() < reply.body.len() / 2);
}

#[tokio::test]
async fn the_frontend_learns_its_account_from_a_cookie() {
    for (base_path, path) in [("", "/"), ("/a/x", "/a/x")] {
        let page = tempfile::tempdir().unwrap();
        std::fs::write(page.path().join("app.html"), "<!doctype html>").unwrap();
        let site = Plan { base_path, static_dir: Some(page.path().into()), ..Plan::default() }.start();
        let expected = format!("account_id={ACCOUNT}; Path={path}; SameSite=Lax");
        for place in ["/static/app.html", "/customize"] {
            assert_eq!(site.get(&format!("{base_path}{place}")).await.header("set-cookie"), expected, "{place}");
        }
        assert_eq!(site.get(&format!("{base_path}/webapp/favicon.ico")).await.header("set-cookie"), "");
    }
    let closed = Plan::with_token().start();
    assert_eq!(closed.get("/customize").await.header("set-cookie"), "");
}

#[tokio::test]
async fn hub_041_unknown_posts_are_404() {
    let site = Plan::default().start();
    for path in ["/", "/foo", "/static/app.html", "/customize", "/webapp/favicon.ico", "/healthz"] {
        assert_eq!(site.ask("POST", path, &[]).await.status, 404, "{path}");
    }
    for method in ["PUT", "DELETE", "PATCH"] {
        assert_eq!(site.ask(method, "/foo", &[]).await.status, 404, "{method}");
    }
}

#[tokio::test]
async fn hub_042_the_old_api_says_so_in_json() {
    let site = Plan::default().start();
    for (method, path) in
        [("POST", "/api/v2/x"), ("GET", "/api/v2/x"), ("POST", "/api/v2/auth/sign-out?x=1"), ("PUT", "/api")]
    {
        let reply = site.ask(method, path, &[]).await;
        assert_eq!((reply.status, reply.header("content-type")), (404, "application/json; charset=utf-8"), "{path}");
        assert_eq!(reply.json()["error"], "not implemented");
    }
}

#[tokio::test]
async fn small_things_the_frontend_asks_for() {
    let site = Plan::default().start();
    assert_eq!(site.ask("POST", "/analytics.js", &[]).await.status, 204);
    for path in ["/stats", "/registration"] {
        assert_eq!(site.get(path).await.text(), "{}");
    }
    assert_eq!(site.get("/static/__webpack_hmr").await.status, 404);
    assert_eq!(site.get("/__webpack_hmr").await.status, 404);
    assert_eq!(site.get("/webapp/serviceWorker.js").await.status, 404);
    for path in ["/webapp/favicon.ico", "/favicon.ico", "/static/favicon.ico"] {
        let icon = site.get(path).await;
        assert_eq!((icon.status, icon.header("content-type")), (200, "image/x-icon"));
        assert!(icon.body.starts_with(&[0, 0, 1, 0]));
    }
}

#[tokio::test]
async fn health_is_open_and_says_nothing_else() {
    let site = Plan::with_token().start();
    let latch = site.readiness.latch("test");
    assert_eq!(site.get("/healthz").await.status, 200);
    let reply = site.get("/readyz").await;
    assert_eq!((reply.status, reply.text()), (503, r#"{"state":"starting"}"#));
    drop(latch);
    let reply = site.get("/readyz").await;
    assert_eq!((reply.status, reply.text()), (200, r#"{"state":"ready"}"#));
}

#[tokio::test]
async fn everything_moves_below_the_base_path() {
    let site = Plan { base_path: "/a/x", ..Plan::default() }.start();
    assert_eq!(site.get("/a/x/customize").await.status, 200);
    assert_eq!(site.get("/a/x/static/app.html").await.status, 200);
    assert_eq!(site.get("/customize").await.status, 404);
    assert_eq!(site.get("/a/xy/customize").await.status, 404);
    assert!(site.get("/a/x/").await.header("location").starts_with("static/app.html?target="));
    assert!(site.get("/a/x/settings/y").await.header("location").starts_with("../static/app.html?target=settings"));
    assert!(site.get("/a/x").await.header("location").starts_with("x/static/app.html?target="));
    // Health checks know nothing of prefixes.
    assert_eq!(site.get("/healthz").await.status, 200);
    assert_eq!(site.get("/a/x/healthz").await.status, 200);
}

#[tokio::test]
async fn other_parts_bring_routes_that_are_behind_the_sign_in() {
    let routes = Router::new().route("/extra", get(|| async { "extra" })).route(
        "/panic",
        get(|| async {
            if true {
                panic!("on purpose")
            }
        }),
    );
    let site = Plan { routes: Some(routes), ..Plan::with_token() }.start();
    assert_eq!(site.get("/extra").await.status, 401);
    let cookie = site.cookie().await;
    let reply = site.ask("GET", "/extra", &[("cookie", &cookie)]).await;
    assert_eq!((reply.status, reply.text(), reply.header("x-content-type-options")), (200, "extra", "nosniff"));
    // A panic is one answer, not the end of the server.
    assert_eq!(site.ask("GET", "/panic", &[("cookie", &cookie)]).await.status, 500);
    assert_eq!(site.ask("GET", "/extra", &[("cookie", &cookie)]).await.status, 200);
}

#[tokio::test]
async fn the_order_of_the_pipeline() {
    let mut plan = Plan::with_token();
    plan.limits.http_body_bytes = 10;
    let site = plan.start();
    let host = site.host();
    for (request, status) in [
        // Limits come before the host,
        ("POST / HTTP/1.1\r\nContent-Length: 11\r\n".to_owned(), 413),
        // the host before the sign-in,
        ("GET / HTTP/1.1\r\n".to_owned(), 400),
        // the sign-in before the route,
        (format!("POST /no/such/thing HTTP/1.1\r\nHost: {host}\r\n"), 401),
        // and health and the bus before the sign-in.
        (format!("GET /healthz HTTP/1.1\r\nHost: {host}\r\n"), 200),
        (format!("GET /conat/ HTTP/1.1\r\nHost: {host}\r\n"), 200),
    ] {
        let answer = site.raw(&format!("{request}Connection: close\r\n\r\n")).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{request}: {answer}");
        // Security headers are on every answer of ours, also on refusals.
        assert_eq!(answer.contains("x-content-type-options: nosniff"), !request.contains("conat"), "{answer}");
    }
}

#[tokio::test]
async fn without_a_token_other_sites_are_kept_out() {
    let site = Plan::default().start();
    let other = format!("http://evil.example:{}", site.address.port());
    let own = format!("http://{}", site.host());
    assert_eq!(site.ask("POST", "/api/v2/x", &[("origin", &other)]).await.status, 403);
    assert_eq!(site.ask("POST", "/api/v2/x", &[("origin", &own)]).await.status, 404);
    // A name of somebody else's that leads here.
    let request = http::Request::get("/customize").header("host", "evil.example").body(Default::default()).unwrap();
    let reply = site.send(request).await;
    assert_eq!(reply.status, 403);
    assert!(reply.text().contains("AUTH_TOKEN"));
    assert!(site.raw("GET / HTTP/1.1\r\nConnection: close\r\n\r\n").await.starts_with("HTTP/1.1 400"));
}

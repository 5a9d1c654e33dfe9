//! The page under `/static`, embedded and from a directory.

use std::{fs, os::unix::fs::symlink};

use outpost::http::{Metrics, Parts, Readiness, Server, SignIn};
use tempfile::TempDir;

use crate::support::{Plan, Site};

/// A frontend with a secret beside it.
fn frontend() -> (TempDir, Site) {
    let top = tempfile::tempdir().unwrap();
    let root = top.path().join("static");
    fs::create_dir_all(root.join("assets")).unwrap();
    fs::create_dir_all(root.join("a b")).unwrap();
    fs::write(root.join("app.html"), "<!doctype html><title>another frontend</title>").unwrap();
    fs::write(root.join("embed.html"), "<!doctype html>").unwrap();
    fs::write(root.join("assets/main-1234.js"), "console.log(1);\n".repeat(500)).unwrap();
    fs::write(root.join("a b/ü.txt"), "0123456789").unwrap();
    fs::write(root.join("m.wasm"), "wasm").unwrap();
    fs::write(top.path().join("hub.db"), "secret").unwrap();
    fs::write(top.path().join("static-secret"), "secret").unwrap();
    symlink("../hub.db", root.join("out.txt")).unwrap();
    symlink(top.path(), root.join("up")).unwrap();
    symlink("embed.html", root.join("in.html")).unwrap();
    let site = Plan { static_dir: Some(root), ..Plan::default() }.start();
    (top, site)
}

#[tokio::test]
async fn the_embedded_page_and_its_headers() {
    let site = Plan::default().start();
    let page = site.get("/static/app.html").await;
    assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"));
    assert_eq!(page.header("cache-control"), "public, max-age=0");
    assert_eq!(page.header("accept-ranges"), "bytes");
    let policy = page.header("content-security-policy");
    for part in [
        "default-src 'self'",
        "script-src 'self'",
        "connect-src 'self' ws: wss:",
        "object-src 'none'",
        "base-uri 'none'",
    ] {
        assert!(policy.contains(part), "{part}");
    }
    assert_eq!(page.header("x-content-type-options"), "nosniff");
    assert_eq!(page.header("referrer-policy"), "no-referrer");
    let head = site.ask("HEAD", "/static/app.html", &[]).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("content-length"), page.body.len().to_string());
    assert_eq!(head.header("etag"), page.header("etag"));
    assert_eq!(site.get("/static/assets/no-such-file.js").await.status, 404);
}

#[tokio::test]
async fn hub_034_conditional_requests() {
    let (_top, disk) = frontend();
    for site in [Plan::default().start(), disk] {
        let etag = site.get("/static/app.html").await.header("etag").to_owned();
        let weak = format!("\"x\", W/{}", etag.trim_start_matches("W/"));
        for tag in [etag.as_str(), "*", weak.as_str()] {
            let reply = site.ask("GET", "/static/app.html", &[("if-none-match", tag)]).await;
            assert_eq!((reply.status, reply.body.len(), reply.header("etag")), (304, 0, etag.as_str()), "{tag}");
        }
        assert_eq!(site.ask("GET", "/static/app.html", &[("if-none-match", "\"other\"")]).await.status, 200);
    }
}

#[tokio::test]
async fn modification_times_of_files_on_disk() {
    let (_top, site) = frontend();
    let modified = site.get("/static/app.html").await.header("last-modified").to_owned();
    assert!(modified.ends_with(" GMT"));
    assert_eq!(site.ask("GET", "/static/app.html", &[("if-modified-since", &modified)]).await.status, 304);
    let old = "Thu, 01 Jan 1970 00:00:00 GMT";
    assert_eq!(site.ask("GET", "/static/app.html", &[("if-modified-since", old)]).await.status, 200);
    assert_eq!(site.ask("GET", "/static/app.html", &[("if-modified-since", "nonsense")]).await.status, 200);
}

#[tokio::test]
async fn hub_035_nothing_outside_is_sent() {
    let (_top, site) = frontend();
    for path in [
        "/static/../hub.db",
        "/static/..%2fhub.db",
        "/static/%2e%2e/hub.db",
        "/static/%2e%2e%2fhub.db",
        "/static/a%20b/../../hub.db",
        "/static/%2e%2e%5chub.db",
        "/static//etc/passwd",
        "/static/%2fetc%2fpasswd",
        "/static/../static-secret",
        "/static/out.txt",
        "/static/up/hub.db",
        "/static/up/static-secret",
        "/static/app.html%00.txt",
        "/static/%c0%ae%c0%ae/hub.db",
        "/static/./app.html/../../hub.db",
    ] {
        let host = site.host();
        let reply = site.raw(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")).await;
        assert!(
            !reply.contains("secret\n") && !reply.ends_with("secret") && !reply.contains("root:"),
            "{path}: {reply}"
        );
        let status = reply.split(' ').nth(1).unwrap();
        assert!(["302", "404", "400"].contains(&status), "{path}: {reply}");
    }
    // Links that stay inside are fine.
    assert_eq!(site.get("/static/in.html").await.status, 200);
}

#[tokio::test]
async fn another_frontend_comes_as_it_is() {
    let (_top, site) = frontend();
    let page = site.get("/static/app.html").await;
    assert!(page.text().contains("another frontend"));
    assert_eq!(page.header("content-security-policy"), "");
    assert_eq!(page.header("cache-control"), "public, max-age=0");
    let file = site.get("/static/a%20b/%C3%BC.txt").await;
    assert_eq!((file.text(), file.header("content-type")), ("0123456789", "text/plain; charset=utf-8"));
    assert_eq!(site.get("/static/m.wasm").await.header("content-type"), "application/wasm");
    let hashed = site.get("/static/assets/main-1234.js").await;
    assert_eq!(hashed.header("cache-control"), "public, max-age=31536000, immutable");
    for path in ["/static/a%20b", "/static/a%20b/", "/static/"] {
        assert_eq!(site.get(path).await.status, 302, "{path}");
    }
}

#[tokio::test]
async fn byte_ranges() {
    let (_top, site) = frontend();
    let path = "/static/a%20b/%C3%BC.txt";
    let etag = site.get(path).await.header("etag").to_owned();
    for (range, body, content) in [
        ("bytes=0-3", "0123", "bytes 0-3/10"),
        ("bytes=5-", "56789", "bytes 5-9/10"),
        ("bytes=-2", "89", "bytes 8-9/10"),
        ("bytes=8-100", "89", "bytes 8-9/10"),
    ] {
        let reply = site.ask("GET", path, &[("range", range)]).await;
        assert_eq!((reply.status, reply.text(), reply.header("content-range")), (206, body, content), "{range}");
        assert_eq!(reply.header("content-length"), body.len().to_string());
    }
    let beyond = site.ask("GET", path, &[("range", "bytes=10-")]).await;
    assert_eq!((beyond.status, beyond.header("content-range")), (416, "bytes */10"));
    assert_eq!(site.ask("GET", path, &[("range", "bytes=0-1,3-4")]).await.text(), "0123456789");
    assert_eq!(site.ask("GET", path, &[("range", "bytes=0-1"), ("if-range", &etag)]).await.status, 206);
    assert_eq!(site.ask("GET", path, &[("range", "bytes=0-1"), ("if-range", "\"old\"")]).await.status, 200);
    let head = site.ask("HEAD", path, &[("range", "bytes=0-3")]).await;
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (206, "4", 0));
    let embedded = Plan::default().start();
    let whole = embedded.get("/static/app.html").await;
    let part = embedded.ask("GET", "/static/app.html", &[("range", "bytes=2-8"), ("accept-encoding", "br")]).await;
    assert_eq!((part.status, part.header("content-encoding")), (206, ""));
    assert_eq!(part.body, whole.body[2..9]);
}

#[tokio::test]
async fn compressed_forms() {
    let (_top, site) = frontend();
    let path = "/static/assets/main-1234.js";
    let plain = site.get(path).await;
    assert_eq!((plain.header("content-encoding"), plain.header("vary")), ("", "Accept-Encoding"));
    for _ in 0..2 {
        let packed = site.ask("GET", path, &[("accept-encoding", "gzip, br")]).await;
        assert_eq!(packed.header("content-encoding"), "gzip");
        assert_ne!(packed.header("etag"), plain.header("etag"));
        let mut raw = Vec::new();
        std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&packed.body[..]), &mut raw).unwrap();
        assert_eq!(raw, plain.body);
        let again =
            site.ask("GET", path, &[("accept-encoding", "gzip"), ("if-none-match", packed.header("etag"))]).await;
        assert_eq!(again.status, 304);
    }
    let refused = site.ask("GET", path, &[("accept-encoding", "gzip;q=0")]).await;
    assert_eq!(refused.header("content-encoding"), "");
}

#[tokio::test]
async fn a_changed_file_is_sent_anew() {
    let (top, site) = frontend();
    let path = "/static/assets/main-1234.js";
    let packed = [("accept-encoding", "gzip")];
    let before = site.ask("GET", path, &packed).await;
    fs::write(top.path().join("static/assets/main-1234.js"), "console.log(2);\n".repeat(600)).unwrap();
    let after = site.ask("GET", path, &packed).await;
    assert_ne!(before.header("etag"), after.header("etag"));
    assert_ne!(before.body, after.body);
}

#[tokio::test]
async fn a_directory_without_app_html_is_refused_at_the_start() {
    let empty = tempfile::tempdir().unwrap();
    let missing = empty.path().join("nowhere");
    for (path, text) in [(empty.path().to_owned(), "contains no app.html"), (missing, "cannot be read")] {
        let plan = Plan { static_dir: Some(path), ..Plan::default() };
        let parts = Parts {
            listeners: Vec::new(),
            tls: None,
            sign_in: SignIn::new(None).unwrap().into(),
            bus: std::sync::Arc::new(crate::support::Echo::default()),
            readiness: Readiness::new(),
            metrics: Metrics::default(),
            customize: std::sync::Arc::new(crate::support::Fresh(plan.settings().identity)),
            routes: None,
        };
        let error = Server::build(plan.settings(), parts).err().expect("refused").to_string();
        assert!(error.contains(text), "{error}");
    }
}

//! B. Authentication.

use outpost::http::sign_in::effective_token;

use crate::support::{PROJECT, Plan, TOKEN};

const SALT: &str = "0123456789abcdef0123456789abcdef";
const THOUSAND: &str = "0d877ef9ba0a85610fc4647ece5971a5dd533893bb93fe105d9e0bd11118175aa722742b08763fd002750af92138c159eb7f8efdd62ecb6a16c946aebae164b8";
const ONE: &str = "b4ab9ee60d2b0abfae4d388d2c4b969fb14184b0813c5e31bb9aaeb79ea04b4b983b7ca53ef0cfc918087f3284b57551b2b632113fb9bc016ddd240673d59616";

fn cookie(value: &str) -> String {
    format!("cocalc-lite-auth={}", value.replace('$', "%24"))
}

#[tokio::test]
async fn hub_010_everything_is_401_without_a_cookie() {
    let site = Plan::with_token().start();
    for (method, target) in [
        ("GET", "/"),
        ("GET", "/static/app.html"),
        ("HEAD", "/static/app.html"),
        ("POST", "/blobs"),
        ("DELETE", "/x"),
        ("OPTIONS", "/customize"),
        ("GET", "/customize"),
        ("GET", "/metrics"),
        ("POST", "/api/v2/x"),
        ("GET", "/no/such/thing"),
    ] {
        let reply = site.ask(method, target, &[]).await;
        assert_eq!(reply.status, 401, "{method} {target}");
        assert_eq!(reply.header("content-type"), "text/html; charset=utf-8", "{method} {target}");
        assert_eq!(reply.body.is_empty(), method == "HEAD", "{method} {target}");
    }
}

#[tokio::test]
async fn the_page_of_401_takes_the_token_and_is_locked_down() {
    let reply = Plan::with_token().start().get("/projects/x?a=1").await;
    let html = reply.text();
    for part in [
        "name=\"auth_token\"",
        "method=\"get\"",
        "outpost token",
        "prefers-color-scheme: dark",
        "name=\"a\" value=\"1\"",
    ] {
        assert!(html.contains(part), "{part}");
    }
    assert!(!html.contains("<script") && !html.contains(TOKEN));
    let policy = reply.header("content-security-policy");
    assert!(policy.contains("default-src 'none'") && policy.contains("style-src 'sha256-"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(reply.header("x-content-type-options"), "nosniff");
    assert_eq!(reply.header("referrer-policy"), "no-referrer");
    assert_eq!(reply.header("cache-control"), "no-store");
}

#[tokio::test]
async fn hub_011_a_wrong_token_sets_no_cookie() {
    let site = Plan::with_token().start();
    for target in [
        "/?auth_token=wrong",
        "/?auth_token=",
        "/?auth_token=s3cret-toke",
        "/?auth_token=wrong&auth_token=s3cret-token",
    ] {
        let reply = site.get(target).await;
        assert_eq!((reply.status, reply.cookies().len()), (401, 0), "{target}");
    }
}

#[tokio::test]
async fn hub_012_the_right_token_sets_the_cookie() {
    let site = Plan::with_token().start();
    let reply = site.get(&format!("/?auth_token={TOKEN}")).await;
    assert_eq!((reply.status, reply.body.len()), (303, 0));
    let all: Vec<_> = reply.headers.get_all("set-cookie").iter().map(|value| value.to_str().unwrap()).collect();
    assert_eq!(all.len(), 2);
    assert!(all[0].starts_with("cocalc-lite-auth=sha512%24"), "{}", all[0]);
    assert!(all[1].starts_with(&format!("cocalc-lite-auth-localhost_{}=sha512%24", site.address.port())), "{}", all[1]);
    for cookie in all {
        assert!(cookie.ends_with("; Path=/; Max-Age=7776000; HttpOnly; SameSite=Lax"), "{cookie}");
        assert!(!cookie.contains("Secure"));
    }
}

#[tokio::test]
async fn hub_013_the_location_is_the_same_place_without_the_token() {
    let site = Plan { token: Some("s3cret token&x"), ..Plan::default() }.start();
    let reply = site.get("/projects/x?a=1&auth_token=s3cret%20token%26x&b=2%202").await;
    assert_eq!((reply.status, reply.header("location")), (303, "?a=1&b=2+2"));
    let reply = site.get("/projects/x?auth_token=s3cret+token%26x").await;
    assert_eq!((reply.status, reply.header("location")), (303, "?"));
    let reply = site.ask("POST", "/blobs?auth_token=s3cret%20token%26x", &[]).await;
    assert_eq!(reply.status, 303);
}

#[tokio::test]
async fn hub_014_the_cookie_gives_access() {
    let site = Plan::with_token().start();
    let reply = site.get(&format!("/?auth_token={TOKEN}")).await;
    for cookie in reply.cookies() {
        let value = cookie.split_once('=').unwrap().1;
        assert_eq!(value.split("%24").count(), 4, "{value}");
        assert!(!value.contains('$'));
        assert_eq!(site.ask("GET", "/customize", &[("cookie", &cookie)]).await.status, 200, "{cookie}");
        let among = format!("x=1; {cookie}; y=2");
        assert_eq!(site.ask("GET", "/customize", &[("cookie", &among)]).await.status, 200);
    }
}

#[tokio::test]
async fn hub_015_the_vector_of_1000_iterations() {
    let site = Plan::with_token().start();
    let header = cookie(&format!("sha512${SALT}$1000${THOUSAND}"));
    for _ in 0..2 {
        assert_eq!(site.ask("GET", "/customize", &[("cookie", &header)]).await.status, 200);
    }
}

#[tokio::test]
async fn hub_016_the_vector_of_1_iteration() {
    let site = Plan::with_token().start();
    let header = cookie(&format!("sha512${SALT}$1${ONE}"));
    assert_eq!(site.ask("GET", "/customize", &[("cookie", &header)]).await.status, 200);
    let header = cookie(&format!("sha512${SALT}$1${}7", &ONE[..127]));
    assert_eq!(site.ask("GET", "/customize", &[("cookie", &header)]).await.status, 401);
}

#[tokio::test]
async fn hub_017_three_parts_are_one_iteration() {
    let site = Plan::with_token().start();
    let header = cookie(&format!("sha512${SALT}${ONE}"));
    assert_eq!(site.ask("GET", "/customize", &[("cookie", &header)]).await.status, 200);
}

#[tokio::test]
async fn hub_018_a_cookie_and_any_token_redirect_without_a_new_cookie() {
    let site = Plan::with_token().start();
    let cookie = site.cookie().await;
    for token in [TOKEN, "wrong"] {
        let reply = site.ask("GET", &format!("/x?auth_token={token}&y=1"), &[("cookie", &cookie)]).await;
        assert_eq!((reply.status, reply.header("location"), reply.cookies().len()), (303, "?y=1", 0), "{token}");
    }
    let reply = site.ask("GET", "/customize?auth_token=", &[("cookie", &cookie)]).await;
    assert_eq!(reply.status, 200);
}

#[tokio::test]
async fn hub_019_cookies_outlive_the_process_but_not_the_token() {
    let cookie = Plan::with_token().start().cookie().await;
    let again = Plan::with_token().start();
    assert_eq!(again.ask("GET", "/customize", &[("cookie", &cookie)]).await.status, 200);
    let other = Plan { token: Some("another-token"), ..Plan::default() }.start();
    assert_eq!(other.ask("GET", "/customize", &[("cookie", &cookie)]).await.status, 401);
}

#[tokio::test]
async fn hub_020_and_021_short_and_empty_tokens() {
    let given = |text: &str| effective_token(Some(&outpost::config::Secret::new(text))).unwrap();
    assert_eq!(given("1").unwrap().expose().len(), 22);
    assert_ne!(given("1").unwrap().expose(), given("1").unwrap().expose());
    assert!(given("").is_none());
    let open = Plan::default().start();
    assert_eq!(open.get("/customize").await.status, 200);
    assert_eq!(open.get("/customize?auth_token=x").await.status, 200);
}

#[tokio::test]
async fn hub_022_malformed_cookies_are_absent() {
    let site = Plan::with_token().start();
    for header in [
        "cocalc-lite-auth=%zz",
        "cocalc-lite-auth=%",
        "cocalc-lite-auth=%ff%fe",
        "=;;;=",
        "cocalc-lite-auth",
        "\u{e9}=1",
    ] {
        assert_eq!(site.ask("GET", "/", &[("cookie", header)]).await.status, 401, "{header}");
    }
    let good = site.cookie().await;
    let header = format!("other=%zz; {good}");
    assert_eq!(site.ask("GET", "/customize", &[("cookie", &header)]).await.status, 200);
}

#[tokio::test]
async fn hub_026_a_billion_iterations_are_refused_quickly() {
    let site = Plan::with_token().start();
    let header = cookie(&format!("sha512${SALT}$1000000000${ONE}"));
    let headers = [("cookie", header.as_str())];
    let asked = site.ask("GET", "/", &headers);
    let reply = tokio::time::timeout(std::time::Duration::from_secs(5), asked).await.expect("quickly");
    assert_eq!(reply.status, 401);
}

#[tokio::test]
async fn programs_sign_in_with_a_bearer_token() {
    let site = Plan::with_token().start();
    let header = format!("Bearer {TOKEN}");
    assert_eq!(site.ask("GET", "/customize", &[("authorization", &header)]).await.status, 200);
    assert_eq!(site.ask("GET", "/customize", &[("authorization", "Bearer x")]).await.status, 401);
    assert_eq!(site.ask("GET", "/customize", &[("authorization", "Basic x")]).await.status, 401);
}

#[tokio::test]
async fn too_many_wrong_tokens_have_to_wait_but_cookies_go_on() {
    let site = Plan::with_token().start();
    let cookie = site.cookie().await;
    // Costly cookies count several times, so few of them do.
    let costly = format!("cocalc-lite-auth=sha1%24{SALT}%24100000%24{ONE}");
    let mut blocked = None;
    for _ in 0..10 {
        let reply = site.ask("GET", "/", &[("cookie", &costly)]).await;
        if reply.status == 429 {
            blocked = Some(reply);
            break;
        }
        assert_eq!(reply.status, 401);
    }
    let reply = blocked.expect("blocked");
    let seconds: u64 = reply.header("retry-after").parse().unwrap();
    assert!((1..=60).contains(&seconds));
    assert!(reply.text().contains("Too many"));
    assert_eq!(site.get(&format!("/?auth_token={TOKEN}")).await.status, 429);
    assert_eq!(site.ask("GET", "/customize", &[("cookie", &cookie)]).await.status, 200);
    assert_eq!(site.get("/").await.status, 401);
    // Somebody else, behind the same local proxy.
    let elsewhere = [("x-forwarded-for", "192.0.2.7")];
    assert_eq!(site.ask("GET", &format!("/?auth_token={TOKEN}"), &elsewhere).await.status, 303);
}

#[tokio::test]
async fn a_proxy_that_speaks_https_gets_secure_cookies() {
    let site = Plan::with_token().start();
    let reply = site.ask("GET", &format!("/{PROJECT}?auth_token={TOKEN}"), &[("x-forwarded-proto", "https")]).await;
    assert!(reply.header("set-cookie").contains("; HttpOnly; Secure; SameSite=Lax"));
}

#[tokio::test]
async fn metrics_have_a_token_of_their_own() {
    let site = Plan { metrics_token: Some("numbers"), ..Plan::with_token() }.start();
    let header = [("authorization", "Bearer numbers")];
    let reply = site.ask("GET", "/metrics", &header).await;
    assert_eq!(reply.status, 200);
    assert!(reply.header("content-type").starts_with("application/openmetrics-text"));
    for name in [
        "outpost_broker_connections 0",
        "outpost_http_connections 1",
        "outpost_http_request_seconds_bucket",
        "process_cpu_seconds_total",
    ] {
        assert!(reply.text().contains(name), "{name}");
    }
    assert_eq!(site.ask("GET", "/customize", &header).await.status, 401);
    assert_eq!(site.get("/metrics").await.status, 401);
    let bearer = format!("Bearer {TOKEN}");
    assert_eq!(site.ask("GET", "/metrics", &[("authorization", &bearer)]).await.status, 200);
}

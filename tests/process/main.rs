//! The process: settings, exit statuses, signals, systemd, and what is never printed.
//!
//! * bad settings: exit status 2, one line, nothing written
//! * port in use: exit status 1, one line, nothing written
//! * a token is in the URL line and in private files, and nowhere else
//! * SIGTERM ends the server with status 0, SIGHUP reloads

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod databases;
mod harness;
mod reload;
mod streams;
mod tools;

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader},
    net::TcpListener,
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _},
        net::UnixDatagram,
    },
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

use harness::{DEADLINE, Home, Server, activated, answering, text, until};

#[test]
fn bad_settings_exit_with_2_and_one_line_and_write_nothing() {
    /// Environment, arguments, beginning of the error line.
    type Case<'a> = (&'a [(&'a str, &'a str)], &'a [&'a str], &'a str);
    let token = ("AUTH_TOKEN", "s3cret-token\nx");
    let cases: &[Case<'_>] = &[
        (&[("PORT", "x")], &[], "outpost: setting port (environment PORT): \"x\" is not allowed; allowed: a number"),
        (
            &[("OUTPOST_MAX_PAYLAOD", "1")],
            &[],
            "outpost: unknown setting OUTPOST_MAX_PAYLAOD in the environment; did you",
        ),
        (&[], &["--max-wait", "90"], "outpost: setting max_wait (flag --max-wait): \"90\" is not allowed"),
        (&[], &["serve", "--policy", "closed"], "outpost: setting policy (flag --policy): \"closed\""),
        (
            &[("OUTPOST_POLICY", "open"), ("HOST", "0.0.0.0")],
            &[],
            "outpost: setting policy (environment OUTPOST_POLICY): open",
        ),
        (&[token], &[], "outpost: setting auth_token (environment AUTH_TOKEN): allowed: "),
        (&[], &["--config", "nowhere.toml"], "outpost: settings file "),
        (&[("HOME", "")], &[], "outpost: setting home: not given; set environment HOME"),
        (&[("OUTPOST_LOG", "outpost=loud")], &["check"], "outpost: setting log (environment OUTPOST_LOG)"),
    ];
    for (env, arguments, expected) in cases {
        let home = Home::new();
        let output = home.run(env, arguments);
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(2), "{env:?} {arguments:?}: {stderr}");
        assert!(stderr.starts_with(expected) && stderr.lines().count() == 1, "{stderr}");
        assert!(stdout.is_empty() && !stderr.contains("s3cret"), "{stdout}{stderr}");
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0, "nothing is written");
    }
}

#[test]
fn bad_usage_exits_with_2() {
    let home = Home::new();
    for arguments in [
        &["--nonsense"][..],
        &["nonsense"],
        &["why", "pub", "a..b"],
        &["why", "pub", "a", "--as", "king"],
        &["man", "x"],
    ] {
        assert_eq!(home.run(&[], arguments).status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn a_port_in_use_exits_with_1_and_one_line_and_writes_nothing() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    for host in ["localhost", "127.0.0.1"] {
        let home = Home::new();
        let output = home.run(&[("PORT", &port), ("HOST", host)], &[]);
        assert_eq!(output.status.code(), Some(1));
        let expected =
            format!("outpost: port {port} on {host} is in use; choose another PORT or stop the other program\n");
        assert_eq!(text(&output.stderr), expected);
        assert!(output.stdout.is_empty() && !home.data().exists());
    }
}

#[test]
fn check_prints_every_setting_with_its_source_but_no_secret() {
    let home = Home::new();
    let secrets = [
        ("AUTH_TOKEN", "hush-token"),
        ("OUTPOST_SYSTEM_PASSWORD", "hush-system"),
        ("OUTPOST_PROJECT_SECRET", "hush-project"),
        ("OUTPOST_METRICS_TOKEN", "hush-metrics"),
    ];
    let output = home.run(&secrets, &["--port", "7", "check", "--print", "--max-payload", "1MiB"]);
    assert!(output.status.success());
    let printed = text(&output.stdout);
    let row = |name: &str| {
        let line =
            printed.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap_or_else(|| panic!("{name}"));
        line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(row("port"), "7 flag --port");
    assert_eq!(row("max_payload"), "1MiB flag --max-payload");
    assert_eq!(row("auth_token"), "set environment AUTH_TOKEN");
    assert_eq!(row("metrics_token"), "set environment OUTPOST_METRICS_TOKEN");
    assert_eq!(row("host"), "localhost default");
    assert_eq!(row("cluster_name"), "- default");
    assert!(!printed.contains("hush") && output.stderr.is_empty());
    assert!(!home.data().exists());
    assert!(text(&home.run(&[], &["check"]).stdout).starts_with("settings are good"));
}

#[test]
fn a_server_says_where_it_is_and_leaves_nothing_behind() {
    let home = Home::new();
    let mut server = home.serve(&[("OUTPOST_SERVER_ID", "seven"), ("OUTPOST_BASE_PATH", "/lab")]);
    let info = home.info().unwrap();
    let port = info["port"].as_u64().unwrap();
    assert_eq!(server.url, format!("http://localhost:{port}/lab/"));
    assert_eq!(info["url"], server.url);
    assert_eq!(info["pid"], server.child.id());
    assert_eq!((&info["host"], &info["base_path"], &info["tls"]), (&"localhost".into(), &"/lab".into(), &false.into()));
    assert_eq!((&info["server_id"], &info["version"]), (&"seven".into(), &env!("CARGO_PKG_VERSION").into()));
    assert!(info["started"].as_u64().unwrap() > 1_700_000_000_000);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&home.data().join("connection-info.json")), 0o600);
    assert_eq!((mode(&home.data()), mode(&home.data().join("secrets"))), (0o700, 0o700));
    assert_eq!(mode(&home.data().join("secrets/conat-password")), 0o600);
    assert!(!home.data().join("secrets/token").exists(), "on a loopback address no token is made");

    assert_eq!(text(&home.run(&[], &["token"]).stdout), format!("{}\n", server.url));
    let start = Instant::now();
    assert_eq!(server.stop(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(10));
    assert!(!home.data().join("connection-info.json").exists());
    let output = home.run(&[], &["token"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).starts_with("outpost: no server runs with the data directory "));
}

#[test]
fn every_signal_that_ends_a_server_ends_it_well() {
    for signal in [Signal::SIGINT, Signal::SIGQUIT] {
        let home = Home::new();
        let mut server = home.serve(&[]);
        server.signal(signal);
        assert_eq!(until("stopped", || server.child.try_wait().unwrap()).code(), Some(0), "{signal}");
    }
}

#[test]
fn an_exposed_server_makes_a_token_and_keeps_it_out_of_logs() {
    let home = Home::new();
    let env = [("HOST", "0.0.0.0"), ("OUTPOST_LOG", "trace"), ("OUTPOST_METRICS_TOKEN", "hush-metrics")];
    let server = home.serve(&env);
    let token = fs::read_to_string(home.data().join("secrets/token")).unwrap();
    let password = fs::read_to_string(home.data().join("secrets/conat-password")).unwrap();
    assert_eq!(token.len(), 22);
    let encoded = token.replace('+', "%2B").replace('/', "%2F");
    let (url, query) = server.url.split_once('?').unwrap();
    assert_eq!(query, format!("auth_token={encoded}"));
    assert!(url.starts_with("http://localhost:"), "{url}");
    assert_eq!(text(&home.run(&[], &["token"]).stdout).trim_end(), server.url);

    let status = text(&home.run(&env, &["status"]).stdout) + &text(&home.run(&env, &["status", "--json"]).stdout);
    assert!(status.contains("runs as process") && status.contains("\"running\":true"), "{status}");
    for secret in [token.as_str(), &encoded, &password, "hush"] {
        assert!(!status.contains(secret) && !server.log().contains(secret));
    }
    drop(server);
    let again = home.serve(&env);
    assert!(again.url.ends_with(&encoded), "the token stays");
}

#[test]
fn a_server_may_be_exposed_without_token_when_told_so() {
    let home = Home::new();
    let server = home.serve(&[("HOST", "0.0.0.0"), ("COCALC_ALLOW_UNAUTHENTICATED_CONAT", "yes")]);
    assert!(!server.url.contains('?'), "{}", server.url);
}

#[test]
fn a_token_is_wiped_from_the_environment() {
    let home = Home::new();
    let server =
        home.serve(&[("AUTH_TOKEN", "hush hush&hush"), ("COMPUTE_SERVER", "hush-server"), ("LANG", "C.UTF-8")]);
    assert!(server.url.ends_with("?auth_token=hush%20hush%26hush"), "{}", server.url);
    let environment = text(&fs::read(format!("/proc/{}/environ", server.child.id())).unwrap());
    assert!(environment.contains("LANG=C.UTF-8") && !environment.contains("hush"), "{environment:?}");
    assert!(!server.log().contains("hush"));
}

#[test]
fn hub_ids_that_are_not_the_default_ones_are_printed_as_json() {
    let home = Home::new();
    let mut command = home.outpost(&[("PORT", "0"), ("COMPUTE_SERVER_ID", "7")], &[]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let first = lines.next().unwrap();
    let ids: Value = serde_json::from_str(&lines.next().unwrap()).unwrap();
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).unwrap();
    child.wait().unwrap();
    assert!(first.starts_with("http://"), "{first}");
    assert_eq!(ids["compute_server_id"], 7);
    assert_eq!(ids["project_id"], "00000000-1000-4000-8000-000000000000");
}

#[test]
fn a_journal_does_not_get_the_token() {
    let home = Home::new();
    let path = home.path().join("stdout");
    let stdout = File::create(&path).unwrap();
    let metadata = stdout.metadata().unwrap();
    let stream = format!("{}:{}", metadata.dev(), metadata.ino());
    let mut command = home.outpost(&[("PORT", "0"), ("AUTH_TOKEN", "hush-hush"), ("JOURNAL_STREAM", &stream)], &[]);
    let mut child = command.stdout(stdout).stderr(Stdio::null()).spawn().unwrap();
    let line = until("a URL line", || fs::read_to_string(&path).ok().filter(|text| text.ends_with('\n')));
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).unwrap();
    child.wait().unwrap();
    assert!(line.starts_with("http://localhost:") && !line.contains("hush"), "{line}");
}

#[test]
fn log_lines_are_plain_or_json() {
    let home = Home::new();
    let mut server = home.serve(&[("OUTPOST_LOG_FORMAT", "json")]);
    server.stop();
    let lines: Vec<Value> = server.log().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.iter().any(|line| line["level"] == "INFO" && line["fields"]["message"] == "listening"), "{lines:?}");

    let mut server = home.serve(&[]);
    server.stop();
    assert!(server.log().contains(" INFO ") && !server.log().contains('\x1b'), "no colours: {}", server.log());
}

#[test]
fn systemd_is_told_what_happens() {
    let home = Home::new();
    let path = home.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut seen = String::new();
    let mut wait_for = |word: &str| {
        while !seen.contains(word) {
            let mut buffer = [0; 4096];
            let length = socket.recv(&mut buffer).unwrap_or_else(|_| panic!("no {word} after {seen}"));
            seen += &text(&buffer[..length]);
            seen.push('\n');
        }
        let rest = seen.split_once(word).unwrap().1.to_owned();
        seen = rest;
    };
    let mut server = home.serve(&[("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "200000")]);
    wait_for("READY=1");
    wait_for("STATUS=listening on port ");
    wait_for("WATCHDOG=1");
    wait_for("WATCHDOG=1");
    server.signal(Signal::SIGHUP);
    wait_for("RELOADING=1");
    wait_for("MONOTONIC_USEC=");
    wait_for("READY=1");
    server.signal(Signal::SIGTERM);
    wait_for("STOPPING=1");
    assert_eq!(until("stopped", || server.child.try_wait().unwrap()).code(), Some(0));
}

#[test]
fn a_socket_of_systemd_is_used() {
    let home = Home::new();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    let mut server = Server::start(activated(&home, socket, &[("PORT", "1")]));
    assert_eq!(server.url, format!("http://localhost:{port}"));
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn a_socket_of_systemd_that_others_reach_needs_a_token() {
    let home = Home::new();
    let socket = TcpListener::bind("0.0.0.0:0").unwrap();
    let server = Server::start(activated(&home, socket, &[]));
    assert!(server.url.contains("?auth_token="), "{}", server.url);

    let home = Home::new();
    let socket = TcpListener::bind("0.0.0.0:0").unwrap();
    let output = activated(&home, socket, &[("OUTPOST_POLICY", "open")]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(!home.data().exists());

    let socket = UnixDatagram::unbound().unwrap();
    let output = activated(&home, socket, &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stderr), "outpost: socket activation: descriptor 3 is not a listening TCP socket\n");
}

#[test]
fn healthcheck_is_0_when_ready_and_1_otherwise() {
    let home = Home::new();
    let check = |port: &str| {
        let env = [("PORT", port), ("HOST", "127.0.0.1"), ("OUTPOST_BASE_PATH", "/x")];
        let output = home.run(&env, &["healthcheck"]);
        assert!(text(&output.stderr).lines().count() <= 1);
        output.status.code()
    };
    assert_eq!(check(&answering("200 OK")), Some(0));
    assert_eq!(check(&answering("503 Service Unavailable")), Some(1));
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    assert_eq!(check(&free.to_string()), Some(1));
    assert_eq!(check("nonsense"), Some(1));
    assert!(!home.data().exists());
}

#[test]
fn a_running_server_is_found_with_and_without_tls() {
    for host in ["localhost", "https://localhost", "https://127.0.0.1"] {
        let home = Home::new();
        let mut server = home.serve(&[("HOST", host), ("OUTPOST_BASE_PATH", "/lab"), ("AUTH_TOKEN", "hush-hush")]);
        assert_eq!(server.url.starts_with("https"), host.starts_with("https"), "{}", server.url);
        // The settings say another host and port: the connection info is what counts.
        let output = home.run(&[], &["status", "--json"]);
        let status: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((&status["healthy"], &status["ready"]), (&true.into(), &true.into()), "{host}: {status}");
        assert_eq!(status["pid"], server.child.id());
        assert_eq!(output.status.code(), Some(0));
        let output = home.run(&[], &["healthcheck"]);
        assert_eq!(output.status.code(), Some(0), "{host}: {}", text(&output.stderr));
        assert_eq!(server.stop(), Some(0));
        assert_eq!(home.run(&[("PORT", "1")], &["healthcheck"]).status.code(), Some(1));
    }
}

#[test]
fn status_without_a_server_says_so() {
    let home = Home::new();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let env = [("PORT", free.as_str()), ("HOST", "127.0.0.1")];
    let output = home.run(&env, &["status", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&status["running"], &status["ready"]), (&false.into(), &false.into()));

    let mut gone = Command::new("true").spawn().unwrap();
    gone.wait().unwrap();
    fs::create_dir(home.data()).unwrap();
    let info = serde_json::json!({"pid": gone.id(), "url": "http://localhost:1?auth_token=hush", "host": "localhost", "port": 1,
        "base_path": "/", "tls": false, "version": "0", "server_id": "0", "started": 0});
    fs::write(home.data().join("connection-info.json"), info.to_string()).unwrap();
    let output = home.run(&env, &["status"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stdout), format!("the server (process {}) has ended without saying so\n", gone.id()));
}

#[test]
fn why_names_the_rule() {
    let home = Home::new();
    let why = |arguments: &[&str]| {
        let output = home.run(&[], &[&["why"], arguments].concat());
        (output.status.code(), text(&output.stdout))
    };
    let id = "00000000-1000-4000-8000-000000000001";
    let (status, line) = why(&["pub", &format!("hub.account.{id}.api")]);
    assert!(status == Some(0) && line.starts_with("allowed: "), "{line}");
    let (status, line) = why(&["sub", ">"]);
    assert!(status == Some(1) && line.starts_with("refused: "), "{line}");
    assert_eq!(why(&["sub", ">", "--as", "system"]).0, Some(0));
    assert_eq!(why(&["sub", ">", "--as", "anonymous"]).0, Some(1));
    assert_eq!(why(&["sub", "account.x.y", "--as", "account:x"]).0, Some(0));
    assert_eq!(why(&["sub", ">", "--policy", "open"]).0, Some(0));
}

#[test]
fn manual_completions_and_version_are_printed() {
    let home = Home::new();
    let printed = |arguments: &[&str]| {
        let output = home.run(&[], arguments);
        assert!(output.status.success(), "{arguments:?}");
        text(&output.stdout)
    };
    assert_eq!(printed(&["--version"]), format!("outpost {}\n", env!("CARGO_PKG_VERSION")));
    let manual = printed(&["man"]);
    for word in [".TH", "OUTPOST_MAX_PAYLOAD", "AUTH_TOKEN", "EXIT STATUS"] {
        assert!(manual.contains(word), "{word}");
    }
    assert!(printed(&["man", "serve"]).contains(".TH"));
    for shell in ["bash", "zsh", "fish"] {
        assert!(printed(&["completions", shell]).contains("max-payload"), "{shell}");
    }
}

#[test]
fn a_data_directory_has_one_server() {
    let home = Home::new();
    let first = home.serve(&[]);
    let second = home.run(&[("PORT", "0")], &[]);
    assert_eq!(second.status.code(), Some(1));
    let message = text(&second.stderr);
    assert!(message.contains(&format!("in use by process {}", first.child.id())), "{message}");
    assert_eq!(message.lines().count(), 1, "{message}");
    assert_eq!(home.info().unwrap()["pid"], first.child.id(), "the first one's file is left alone");
}

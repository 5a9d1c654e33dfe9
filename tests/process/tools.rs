//! The bus commands, against a server of their own.

use std::{io::Read as _, net::TcpListener, process::Stdio};

use serde_json::{Value, json};

use crate::harness::{Home, text, until};

const SCOPE: &str = "account-00000000-1000-4000-8000-000000000001";

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap_or_else(|error| panic!("{error}: {}", text(bytes)))
}

#[test]
fn what_pub_says_sub_and_tap_hear() {
    let home = Home::new();
    let mut server = home.serve(&[("AUTH_TOKEN", "s3cret-token")]);
    let subject = format!("demo.{SCOPE}.x");
    let listen = |arguments: &[&str]| home.outpost(&[], arguments).stdout(Stdio::piped()).spawn().unwrap();
    let mut sub = listen(&["sub", &format!("demo.{SCOPE}.>"), "-n", "1", "--json"]);
    let mut tap = listen(&["tap", "-n", "1", "--json"]);
    // Publishing says who hears it; the tap does not count, so it is looked for among the server's own numbers.
    until("both listeners", || {
        let answer = home.run(&[], &["request", &format!("outpost.{SCOPE}.api"), r#"["connections",[]]"#, "--json"]);
        let connections = json(&answer.stdout)["data"].as_array().cloned().unwrap_or_default();
        // Each has its inbox and its pattern.
        let listening = connections.iter().filter(|c| c["subs"] == 2).count();
        (listening == 2).then_some(())
    });
    // The tap hears everything, so what it prints first has to be the message below, or the question above was counted.
    let published = home.run(&[], &["pub", &subject, r#"{"a":[1,2]}"#, "-H", "k=v", "--json"]);
    assert_eq!(json(&published.stdout), json!({"bytes": 6, "count": 1}));
    let mut heard = String::new();
    sub.stdout.take().unwrap().read_to_string(&mut heard).unwrap();
    assert_eq!(json(heard.as_bytes()), json!({"subject": subject, "headers": {"k": "v"}, "data": {"a": [1, 2]}}));
    assert!(sub.wait().unwrap().success());
    let mut tapped = String::new();
    tap.stdout.take().unwrap().read_to_string(&mut tapped).unwrap();
    let tapped = json(tapped.as_bytes());
    assert!(tapped["subject"].is_string() && tapped["bytes"].is_u64() && tapped.get("data").is_none(), "{tapped}");
    assert!(tap.wait().unwrap().success());
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn requests_are_answered_or_fail_with_a_reason() {
    let home = Home::new();
    let _server = home.serve(&[]);
    let asked = home.run(&[], &["request", &format!("time.{SCOPE}.api"), r#"{"name":"time","args":[]}"#]);
    assert!(text(&asked.stdout).trim().parse::<u64>().unwrap() > 1_700_000_000_000);
    let nobody = home.run(&[], &["request", &format!("nobody.{SCOPE}"), "1"]);
    assert_eq!(nobody.status.code(), Some(1));
    assert!(text(&nobody.stderr).contains("no subscribers"), "{}", text(&nobody.stderr));
    let refused = home.run(&[], &["pub", "somebody.else", "1"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("permission denied"), "{}", text(&refused.stderr));
    let unheard = home.run(&[], &["pub", &format!("nobody.{SCOPE}"), "-"]);
    assert_eq!(unheard.status.code(), Some(1));
}

#[test]
fn without_a_server_or_with_a_wrong_token_one_line_says_so() {
    let home = Home::new();
    let none = home.run(&[], &["pub", "x", "1"]);
    assert_eq!(none.status.code(), Some(1));
    assert!(text(&none.stderr).contains("no server runs with the data directory"), "{}", text(&none.stderr));
    let _server = home.serve(&[("AUTH_TOKEN", "s3cret-token")]);
    let wrong = home.run(&[], &["pub", "x", "1", "--token", "wr0ng-token"]);
    let said = text(&wrong.stderr);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(said.contains("can't sign in") && said.lines().count() == 1 && !said.contains("wr0ng"), "{said}");
}

#[test]
fn bench_measures_every_workload() {
    let home = Home::new();
    let _server = home.serve(&[]);
    for (workload, count, what) in [
        ("pub", 500, "deliveries"),
        ("fanout", 50, "deliveries"),
        ("request", 100, "requests"),
        ("connections", 5, "connections"),
    ] {
        let count = count.to_string();
        let run = home.run(&[], &["bench", workload, "-n", &count, "--subscribers", "3", "--json"]);
        let report = json(&run.stdout);
        assert_eq!(report["what"], what, "{}", text(&run.stderr));
        assert!(report["per_second"].as_f64().unwrap() > 0.0 && report["server"]["rss_bytes"].as_u64().unwrap() > 0);
    }
    let table = home.run(&[], &["bench", "request", "-n", "10"]);
    assert!(text(&table.stdout).contains("latency p99.9"), "{}", text(&table.stdout));
}

#[test]
fn what_cannot_be_meant_exits_with_2_before_anything_is_asked() {
    let home = Home::new();
    for arguments in [
        &["pub", "x", "1", "-H", "k"][..],
        &["pub", "x", "1", "--wait", "-1"],
        &["request", "x", "--timeout", "nan"],
        &["request", "x", "--timeout", "1e30"],
        &["bench", "pub", "-n", "0"],
        &["bench", "pub", "-n", "99999999999999999"],
        &["bench", "pub", "--size", "99999999"],
        &["bench", "fanout", "--subscribers", "0"],
        &["bench", "request", "--in-flight", "0"],
    ] {
        let output = home.run(&[], arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", text(&output.stderr));
    }
    let _server = home.serve(&[]);
    for arguments in [&["pub", "a b", "1"][..], &["request", "a.*", "1"], &["sub", "a..b"], &["tap", "a.>.b"]] {
        let output = home.run(&[], arguments);
        let said = text(&output.stderr);
        assert!(output.status.code() == Some(2) && said.contains("invalid subject"), "{arguments:?}: {said}");
    }
}

#[test]
fn a_server_that_is_not_there_is_not_waited_for() {
    let home = Home::new();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for command in [&["pub", "x", "1"][..], &["sub", "x"], &["request", "x"], &["tap"]] {
        let output = home.run(&[], &[command, &["--server", &format!("http://{free}")]].concat());
        let said = text(&output.stderr);
        assert_eq!((output.status.code(), said.lines().count()), (Some(1), 1), "{command:?}: {said}");
        assert!(said.contains("Connection refused") && !said.contains("outpost token"), "{command:?}: {said}");
    }
}

#[test]
fn another_token_is_only_asked_for_where_it_would_help() {
    let home = Home::new();
    let _server = home.serve(&[("OUTPOST_MAX_CONNECTIONS_PER_USER", "1")]);
    let output = home.run(&[], &["bench", "connections", "-n", "2"]);
    let said = text(&output.stderr);
    assert!(said.contains("connection limit reached") && !said.contains("outpost token"), "{said}");
}

#[test]
fn listening_ends_when_nobody_reads() {
    let home = Home::new();
    let _server = home.serve(&[]);
    let subject = format!("x.{SCOPE}");
    for command in [&["sub", &subject][..], &["tap", &subject]] {
        let mut child = home.outpost(&[], command).stdout(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let status = until("the end", || {
            home.run(&[], &["pub", &subject, "1"]);
            child.try_wait().unwrap()
        });
        assert!(status.success(), "{command:?}: {status}");
    }
}

#[test]
fn large_messages_can_be_measured() {
    let home = Home::new();
    let _server = home.serve(&[]);
    let run = home.run(&[], &["bench", "pub", "-n", "40", "--size", "5000000", "--json"]);
    assert_eq!(json(&run.stdout)["count"], 40, "{}", text(&run.stderr));
}

//! The commands about streams and stores, against a server of their own.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::Stdio,
};

use serde_json::{Value, json};

use crate::harness::{Home, text};

/// Runs a command that has to succeed; gives what it prints.
fn said(home: &Home, arguments: &[&str]) -> String {
    let run = home.run(&[], arguments);
    assert!(run.status.success(), "{arguments:?}: {}", text(&run.stderr));
    text(&run.stdout)
}

/// Runs a command that has to fail; gives its one line.
fn failed(home: &Home, arguments: &[&str]) -> String {
    let run = home.run(&[], arguments);
    assert_eq!(run.status.code(), Some(1), "{arguments:?}: {}", text(&run.stdout));
    let said = text(&run.stderr);
    assert_eq!(said.lines().count(), 1, "{said}");
    said
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

#[test]
fn kv_reads_what_kv_wrote() {
    let home = Home::new();
    let _server = home.serve(&[("AUTH_TOKEN", "s3cret-token")]);
    assert_eq!(said(&home, &["kv", "put", "settings", "a", r#"{"x":[1,2]}"#]), "stored as number 1\n");
    said(&home, &["kv", "put", "settings", "b", "plain text", "-H", "k=1"]);
    assert_eq!(said(&home, &["kv", "get", "settings", "a"]), "{\"x\":[1,2]}\n");
    assert_eq!(said(&home, &["kv", "get", "settings", "b"]), "plain text\n");
    let record = lines(&said(&home, &["kv", "get", "settings", "b", "--json"])).remove(0);
    assert_eq!(
        (&record["seq"], &record["value"], &record["headers"]),
        (&json!(2), &json!("plain text"), &json!({"k": 1}))
    );
    assert_eq!(said(&home, &["kv", "ls", "settings"]), "a\nb\n");
    assert_eq!(said(&home, &["kv", "ls", "settings", "b", "-v"]), "b plain text\n");
    // The value of standard input.
    let mut put = home
        .outpost(&[], &["kv", "put", "settings", "c", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    put.stdin.take().unwrap().write_all(b"from stdin\n").unwrap();
    assert!(put.wait().unwrap().success());
    assert_eq!(said(&home, &["kv", "get", "settings", "c"]), "from stdin\n");
    // Compare-and-set.
    said(&home, &["kv", "put", "settings", "a", "2", "--if-seq", "1"]);
    assert!(failed(&home, &["kv", "put", "settings", "a", "3", "--if-seq", "1"]).contains("wrong last sequence"));
    assert_eq!(said(&home, &["kv", "get", "settings", "a"]), "2\n");
    assert_eq!(said(&home, &["kv", "del", "settings", "a"]), "1 deleted\n");
    assert!(failed(&home, &["kv", "get", "settings", "a"]).contains("no key \"a\""));
    assert!(failed(&home, &["kv", "del", "settings", "a"]).contains("no key \"a\""));
    assert_eq!(said(&home, &["kv", "ls", "settings"]), "b\nc\n");
    // Another owner's store is another store, and somebody else's is nobody's business.
    assert_eq!(said(&home, &["kv", "ls", "settings", "--owner", "project"]), "");
    assert_eq!(said(&home, &["kv", "put", "settings", "p", "1", "--owner", "project"]), "stored as number 1\n");
    let stranger = "account:99999999-0000-4000-8000-000000000000";
    assert!(failed(&home, &["kv", "ls", "settings", "--owner", stranger]).contains("permission denied"));
    assert!(failed(&home, &["kv", "get", "../x", "a"]).contains("permission denied"));
    let usage = home.run(&[], &["kv", "ls", "x", "--owner", "nobody"]);
    assert_eq!(usage.status.code(), Some(2));
}

#[test]
fn streams_are_appended_to_listed_and_followed() {
    let home = Home::new();
    let mut server = home.serve(&[]);
    assert_eq!(said(&home, &["stream", "add", "log", "one", r#"{"n":2}"#]), "stored as number 1\nstored as number 2\n");
    let mut add = home.outpost(&[], &["stream", "add", "log", "--lines", "--json"]);
    let mut add = add.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    add.stdin.take().unwrap().write_all(b"three\n4\nfive\n").unwrap();
    assert!(add.wait().unwrap().success());
    let listed = lines(&said(&home, &["stream", "ls", "log", "--json"]));
    let values: Vec<&Value> = listed.iter().map(|record| &record["value"]).collect();
    assert_eq!(values, [&json!("one"), &json!({"n": 2}), &json!("three"), &json!(4), &json!("five")]);
    let part = said(&home, &["stream", "ls", "log", "--from", "2", "--to", "3"]);
    let shown: Vec<String> =
        part.lines().map(|line| line.split(' ').step_by(2).collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(shown, ["2 {\"n\":2}", "3 three"]);
    assert_eq!(said(&home, &["stream", "get", "log", "3"]), "three\n");
    assert!(failed(&home, &["stream", "get", "log", "9"]).contains("no message 9"));
    let info = lines(&said(&home, &["stream", "info", "log", "--json"])).remove(0);
    assert_eq!((&info["count"], &info["seq"], &info["config"]["max_msgs"]), (&json!(5), &json!(5), &json!(-1)));
    assert!(info["path"].as_str().unwrap().ends_with("/log"));
    assert!(said(&home, &["stream", "info", "log"]).contains("newest number"));
    // What is there, then what comes.
    let mut follow = home.outpost(&[], &["stream", "follow", "log", "--last", "2", "-n", "3", "--json"]);
    let mut follow = follow.stdout(Stdio::piped()).spawn().unwrap();
    let mut followed = BufReader::new(follow.stdout.take().unwrap()).lines();
    let mut next = || lines(&followed.next().unwrap().unwrap()).remove(0)["value"].clone();
    assert_eq!((next(), next()), (json!(4), json!("five")));
    said(&home, &["stream", "add", "log", "six"]);
    assert_eq!(next(), "six");
    assert!(follow.wait().unwrap().success());
    // Keys are watched.
    let mut watch = home.outpost(&[], &["kv", "watch", "store", "k", "-n", "2"]);
    let mut watch = watch.stdout(Stdio::piped()).spawn().unwrap();
    let mut watched = BufReader::new(watch.stdout.take().unwrap()).lines();
    // It sees what happens once it is there; until then the key is written again.
    let first = std::thread::spawn(move || (watched.next().unwrap().unwrap(), watched));
    while !first.is_finished() {
        said(&home, &["kv", "put", "store", "other", "0"]);
        said(&home, &["kv", "put", "store", "k", "1"]);
    }
    let (first, mut watched) = first.join().unwrap();
    assert_eq!(first, "k 1");
    if watch.try_wait().unwrap().is_none() {
        // It may have seen the key twice.
        home.run(&[], &["kv", "del", "store", "k"]);
    }
    let second = watched.next().unwrap().unwrap();
    assert!(["k 1", "k (deleted)"].contains(&second.as_str()), "{second}");
    assert!(watch.wait().unwrap().success());
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn without_a_persist_service_one_line_says_so() {
    let home = Home::new();
    let _server = home.serve(&[("OUTPOST_SERVICES", "bus")]);
    assert!(failed(&home, &["kv", "ls", "x"]).contains("its persist service does not run"));
}

#[test]
fn commands_of_commands_have_manual_pages() {
    let home = Home::new();
    assert!(said(&home, &["man", "kv", "put"]).contains("\\-\\-if\\-seq"));
    assert_eq!(home.run(&[], &["man", "kv", "nothing"]).status.code(), Some(2));
}

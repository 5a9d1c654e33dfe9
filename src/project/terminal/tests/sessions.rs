use std::path::Path;

use super::{
    super::{
        Limits,
        error::Error,
        request::{Answer, Kind, Notice, Request, WireSize},
    },
    client::*,
};

fn broadcast(event: &str, payload: impl Into<rmpv::Value>) -> Notice {
    Notice::Broadcast { event: event.into(), payload: Some(payload.into()) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn session_answers_before_data_and_exits_after_it() {
    let server = Server::start(Limits::default()).await;
    let client = server.connect();
    client.spawn(spawn("a", "sh", &["-c", "echo early; cat; echo late"])).await;
    client.until_data("early").await;
    client.type_in("x\r\u{4}").await;
    client.until_notice(&Notice::Exit).await;
    let log = client.log();
    assert!(matches!(log.first(), Some(Got::Answer(_))));
    assert_eq!(log.last(), Some(&Got::Notice(Notice::Exit)));
    assert!(client.data().ends_with("late\r\n"));
    assert_eq!(client.request(plain("state")).await.unwrap(), Answer::Text("off".into()));
    let (_, history) = client.spawn(spawn("a", "sh", &["-c", "echo again; sleep 60"])).await;
    assert_eq!(history, "");
    client.until_data("again").await;
    assert_eq!(client.request(plain("state")).await.unwrap(), Answer::Text("running".into()));
    server.stop().await;
}

#[tokio::test]
async fn session_of_a_short_program_is_seen() {
    let server = Server::start(Limits::default()).await;
    let client = server.connect();
    client.spawn(spawn("a", "sh", &["-c", "echo only"])).await;
    client.until_notice(&Notice::Exit).await;
    assert_eq!(client.data(), "only\r\n");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn session_is_shared_without_gap_or_repetition() {
    let server = Server::start(Limits::default()).await;
    let first = server.connect();
    let script = "i=0; while [ $i -lt 3000 ]; do echo n$i; i=$((i+1)); done; echo end; sleep 60";
    let (pid, _) = first.spawn(spawn("a", "sh", &["-c", script])).await;
    first.until_data("n10\r").await;
    let mut others = Vec::new();
    for _ in 0..5 {
        let other = server.connect();
        let (other_pid, history) = other.spawn(spawn("a", "ignored", &[])).await;
        assert_eq!(other_pid, pid);
        others.push((other, history));
    }
    first.until_data("end\r\n").await;
    for (other, history) in others {
        other.until("the end", |client| (history.clone() + &client.data()).contains("end\r\n")).await;
        assert_eq!(history + &other.data(), first.data());
    }
    server.stop().await;
}

#[tokio::test]
async fn session_goes_on_without_clients() {
    let server = Server::start(Limits::default()).await;
    let client = server.connect();
    let (pid, _) = client.spawn(spawn("a", "sh", &["-c", "echo 1; read x; echo got $x; sleep 60"])).await;
    client.until_data("1").await;
    client.type_in("abc\r").await;
    drop(client);
    let client = server.connect();
    let (again, history) = client.spawn(spawn("a", "sh", &[])).await;
    assert_eq!(again, pid);
    client.until("the rest", |client| (history.clone() + &client.data()).ends_with("got abc\r\n")).await;
    server.stop().await;
}

#[tokio::test]
async fn session_without_id_ends_with_its_client() {
    let server = Server::start(Limits { sessions: 1, ..Limits::default() }).await;
    let client = server.connect();
    let mut request = spawn("", "sh", &["-c", "echo hi; sleep 60"]);
    request.options = None;
    let (pid, _) = client.spawn(request).await;
    client.until_data("hi").await;
    assert_eq!(client.request(plain("history")).await.unwrap(), Answer::Text(String::new()));
    let other = server.connect();
    assert!(matches!(other.request(spawn("b", "sh", &[])).await, Err(Error::TooManySessions(1))));
    drop(client);
    let gone = async {
        while Path::new(&format!("/proc/{pid}")).exists() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, gone).await.unwrap();
    server.stop().await;
}

#[tokio::test]
async fn session_sizes_are_collected_and_changed() {
    let server = Server::start(Limits::default()).await;
    let (one, two, hidden) = (server.connect(), server.connect(), server.connect());
    hidden.hide();
    for client in [&one, &two, &hidden] {
        client.spawn(spawn("a", "sh", &["-c", "trap 'stty size' WINCH; echo up; while :; do sleep 0.05; done"])).await;
    }
    one.until_data("up").await;
    let sizes = one.request(plain("sizes")).await.unwrap();
    assert_eq!(sizes, Answer::Sizes(vec![WireSize { rows: 40, cols: 100 }; 2]));
    let resize = |rows, cols| Request { rows: Some(rows), cols: Some(cols), ..plain("resize") };
    assert_eq!(two.request(resize(33.0, 99.0)).await.unwrap(), Answer::Nothing);
    one.until_data("33 99").await;
    for client in [&one, &two, &hidden] {
        client.until_notice(&Notice::resized(crate::host::pty::Size { rows: 33, cols: 99 })).await;
    }
    assert!(matches!(two.request(resize(0.0, 99.0)).await, Err(Error::Invalid(_))));
    drop(two);
    one.until_notice(&Notice::Broadcast { event: "leave".into(), payload: None }).await;
    server.stop().await;
}

#[tokio::test]
async fn session_requests_without_a_session_do_nothing() {
    let server = Server::start(Limits::default()).await;
    let client = server.connect();
    client.type_in("lost").await;
    let resize = Request { rows: Some(1.0), cols: Some(1.0), ..plain("resize") };
    let kick = Request { event: Some("kick".into()), ..plain("broadcast") };
    for request in [resize, kick, plain("destroy"), plain("cwd")] {
        assert_eq!(client.request(request).await.unwrap(), Answer::Nothing);
    }
    assert_eq!(client.request(plain("sizes")).await.unwrap(), Answer::Sizes(vec![]));
    assert_eq!(client.request(plain("list")).await.unwrap(), Answer::List(vec![]));
    assert_eq!(client.request(plain("state")).await.unwrap(), Answer::Text("off".into()));
    assert!(
        matches!(client.request(plain("env")).await.unwrap(), Answer::Environment(env) if env.contains_key("PATH"))
    );
    let error = client.request(plain("dance")).await.unwrap_err();
    assert_eq!(error.to_string(), "unknown command \"dance\"");
    let error = client.request(spawn("a", "no-such-program", &[])).await.unwrap_err();
    assert_eq!(error.to_string(), "no-such-program: command not found");
    server.stop().await;
}

#[tokio::test]
async fn session_is_reached_by_id_from_anywhere() {
    let server = Server::start(Limits::default()).await;
    let (owner, other) = (server.connect(), server.connect());
    let (pid, _) = owner.spawn(spawn("a", "sh", &["-c", "cd /usr; echo in; read x; echo got $x; sleep 60"])).await;
    owner.until_data("in").await;
    let named = |cmd| Request { id: Some("a".into()), ..plain(cmd) };
    assert_eq!(other.request(named("state")).await.unwrap(), Answer::Text("running".into()));
    assert_eq!(other.request(named("cwd")).await.unwrap(), Answer::Text("/usr".into()));
    let auto = Request { input: Some("no\r".into()), kind: Some("auto".into()), ..named("write") };
    assert_eq!(other.request(auto).await.unwrap(), Answer::Nothing);
    assert_eq!(
        other.request(Request { input: Some("yes\r".into()), ..named("write") }).await.unwrap(),
        Answer::Nothing
    );
    owner.until_data("got yes\r\n").await;
    let tail = Request { limit: Some(5.0), ..named("history") };
    assert_eq!(other.request(tail).await.unwrap(), Answer::Text("yes\r\n".into()));
    let Answer::List(list) = other.request(plain("list")).await.unwrap() else { panic!() };
    assert_eq!(list.len(), 1);
    assert_eq!((list[0].id.as_str(), list[0].pid, list[0].sockets), ("a", pid, 1));
    let mut limited = spawn("a", "sh", &[]);
    limited.options.as_mut().unwrap().history_limit = Some(5.0);
    let answer = other.request(limited).await.unwrap();
    assert!(
        matches!(answer, Answer::Spawned { ref history, history_omitted: 12.., .. } if history == "yes\r\n"),
        "{answer:?}"
    );
    let missing = Request { id: Some("b".into()), ..plain("history") };
    assert!(matches!(other.request(missing).await, Err(Error::NoSession)));
    server.stop().await;
}

#[tokio::test]
async fn session_destroy_kills_what_does_not_listen() {
    let server = Server::start(Limits::default()).await;
    let (one, two) = (server.connect(), server.connect());
    let script = "trap '' HUP; echo deaf; while :; do sleep 0.05; done";
    let (pid, _) = one.spawn(spawn("a", "sh", &["-c", script])).await;
    two.spawn(spawn("a", "sh", &[])).await;
    one.until_data("deaf").await;
    assert_eq!(two.request(plain("destroy")).await.unwrap(), Answer::Nothing);
    one.until_notice(&Notice::Exit).await;
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
    let (_, history) = two.spawn(spawn("a", "sh", &["-c", "sleep 60"])).await;
    assert_eq!(history, "");
    server.stop().await;
}

#[tokio::test]
async fn session_tells_its_directory() {
    let server = Server::start(Limits::default()).await;
    std::fs::create_dir_all(server.home.path().join("sub/deep")).unwrap();
    let client = server.connect();
    let mut request = spawn("a", "sh", &["-i"]);
    request.options.as_mut().unwrap().cwd = Some("sub".into());
    client.spawn(request).await;
    assert_eq!(client.request(plain("cwd")).await.unwrap(), Answer::Text("sub".into()));
    for (directory, shown) in [("deep", "sub/deep"), ("/usr", "/usr"), ("\"$HOME\"", "")] {
        client.type_in(&format!("cd {directory}\r")).await;
        client.until_notice(&broadcast("update-cwd", shown)).await;
        assert_eq!(client.request(plain("cwd")).await.unwrap(), Answer::Text(shown.into()));
    }
    server.stop().await;
}

#[tokio::test]
async fn session_opens_files_in_the_browser() {
    let server = Server::start(Limits::default()).await;
    let (one, two) = (server.connect(), server.connect());
    one.spawn(spawn("a", "sh", &["-i"])).await;
    two.spawn(spawn("a", "sh", &[])).await;
    one.type_in("open x.md; stat -c %a $COCALC_CONTROL_DIR\r").await;
    let payload = serde_json::json!({"event": "open", "paths": [{"file": "x.md"}]});
    let notice = broadcast("user-command", rmpv::ext::to_value(payload).unwrap());
    one.until_notice(&notice).await;
    two.until_notice(&notice).await;
    assert!(server.home.path().join("x.md").exists());
    one.until_data("700\r\n").await;
    server.stop().await;
}

#[tokio::test]
async fn session_opens_files_before_it_ends() {
    let server = Server::start(Limits::default()).await;
    let client = server.connect();
    client.spawn(spawn("a", "sh", &["-c", "open last.md"])).await;
    client.until_notice(&Notice::Exit).await;
    let payload = serde_json::json!({"event": "open", "paths": [{"file": "last.md"}]});
    let wanted = broadcast("user-command", rmpv::ext::to_value(payload).unwrap());
    assert_eq!(client.notices().iter().filter(|notice| **notice == wanted).count(), 1);
    server.stop().await;
}

#[tokio::test]
async fn session_takes_automatic_answers_from_its_leader() {
    let server = Server::start(Limits::default()).await;
    let (one, two) = (server.connect(), server.connect());
    for client in [&one, &two] {
        client.spawn(spawn("a", "sh", &["-c", "stty -echo; echo up; cat"])).await;
    }
    one.until_data("up").await;
    two.send("from two\r", Kind::Auto).await;
    // A request is answered only after what was typed before it has been looked at.
    two.request(plain("state")).await.unwrap();
    one.send("from one\r", Kind::Auto).await;
    one.until_data("from one").await;
    assert!(!one.data().contains("from two"));
    drop(one);
    two.until_notice(&Notice::Broadcast { event: "leave".into(), payload: None }).await;
    two.send("now two\r", Kind::Auto).await;
    two.until_data("now two").await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn session_start_is_single_for_simultaneous_clients() {
    let server = Server::start(Limits::default()).await;
    let clients: Vec<Client> = (0..10).map(|_| server.connect()).collect();
    let answers = clients.iter().map(|client| client.spawn(spawn("a", "sh", &["-c", "sleep 60"])));
    let pids: Vec<i32> = futures_util::future::join_all(answers).await.into_iter().map(|(pid, _)| pid).collect();
    assert!(pids.iter().all(|pid| *pid == pids[0]), "{pids:?}");
    server.stop().await;
}

#[tokio::test]
async fn session_sockets_and_respawns_are_counted() {
    let server = Server::start(Limits { sockets: 1, ..Limits::default() }).await;
    let (one, two) = (server.connect(), server.connect());
    one.spawn(spawn("a", "sh", &["-c", "echo up; sleep 60"])).await;
    assert!(matches!(two.request(spawn("a", "sh", &[])).await, Err(Error::TooManySockets(1))));
    // The same socket again: it leaves first.
    let (_, history) = one.spawn(spawn("a", "sh", &[])).await;
    one.until("one copy", |client| (history.clone() + &client.data()).contains("up")).await;
    one.spawn(spawn("b", "sh", &["-c", "sleep 60"])).await;
    two.spawn(spawn("a", "sh", &[])).await;
    server.stop().await;
}

#[tokio::test]
async fn session_ends_with_the_server() {
    let server = Server::start(Limits::default()).await;
    let client = server.connect();
    let (pid, _) = client.spawn(spawn("a", "sh", &["-c", "trap '' HUP; echo up; while :; do sleep 0.05; done"])).await;
    client.until_data("up").await;
    let begin = std::time::Instant::now();
    server.stop().await;
    assert!(begin.elapsed() < std::time::Duration::from_secs(10));
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
    assert!(!client.notices().contains(&Notice::Exit));
}

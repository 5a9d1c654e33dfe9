//! One test per item of the checklist in project.md §22 G.

use std::{
    os::unix::fs::PermissionsExt,
    path::Path,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::harness::{DEADLINE, Lab, Socket};

const HOLD: &str = "sleep 600";

fn spawn(id: &str, script: &str) -> Value {
    json!({"cmd": "spawn", "command": "sh", "args": ["-c", script], "options": {"id": id, "timeout": 5000}})
}

fn interactive(id: &str) -> Value {
    json!({"cmd": "spawn", "command": "sh", "args": ["-i"], "options": {"id": id, "env0": {"PS1": "$ ", "ENV": ""}}})
}

fn history(answer: &Value) -> String {
    answer["history"].as_str().unwrap().to_owned()
}

/// A size as `stty size` prints it, once the program sees it.
async fn until_size(socket: &Socket, size: &str) {
    socket.until(size, |socket| socket.data().contains(&format!("{size}\r\n"))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn project_110_spawn_answers_pid_and_history_before_data() {
    let lab = Lab::start(json!({})).await;
    let tap = lab.tap().await;
    let socket = lab.socket().await;
    let answer = socket.request(spawn("a", &format!("echo first; {HOLD}"))).await.unwrap();
    assert!(answer["pid"].as_i64().unwrap() > 1);
    assert_eq!(answer["history"], "");
    socket.until_data("first").await;
    // On the bus itself, in the order in which it was sent.
    let seen = tap.seen_until(|body| body.as_str().is_some_and(|text| text.contains("first"))).await;
    let answered = seen.iter().position(|body| body["pid"].is_i64()).unwrap();
    let begun = seen.iter().position(|body| body.as_str().is_some_and(|text| text.contains("first"))).unwrap();
    assert!(answered < begun, "{seen:?}");
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn project_111_second_socket_shares_the_session() {
    let lab = Lab::start(json!({})).await;
    let (one, two) = (lab.socket().await, lab.socket().await);
    let first = one.request(spawn("a", "echo before; read x; echo after; sleep 600")).await.unwrap();
    one.until_data("before").await;
    let second = two.request(spawn("a", "echo never")).await.unwrap();
    assert_eq!(second["pid"], first["pid"]);
    assert_eq!(history(&second), "before\r\n");
    two.send(json!("\r")).await;
    for socket in [&one, &two] {
        socket.until_data("after\r\n").await;
    }
    assert_eq!(one.data().matches("after").count(), 1);
    assert_eq!(history(&second) + &two.data(), one.data());
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn project_112_late_joiner_has_no_gap_and_no_repetition() {
    let lab = Lab::start(json!({})).await;
    let one = lab.socket().await;
    let script = "i=0; while [ $i -lt 20000 ]; do echo $i; i=$((i+1)); done; echo end; sleep 600";
    one.request(spawn("a", script)).await.unwrap();
    let mut late = Vec::new();
    for i in 1..=4 {
        one.until_data(&format!("\n{}\r", i * 1000)).await;
        let socket = lab.socket().await;
        let answer = socket.request(spawn("a", "")).await.unwrap();
        late.push((socket, history(&answer)));
    }
    let expected: String = (0..20000).map(|i| format!("{i}\r\n")).collect::<String>() + "end\r\n";
    for (socket, history) in &late {
        socket.until("the end", |socket| (history.clone() + &socket.data()).ends_with("end\r\n")).await;
        assert!(history.clone() + &socket.data() == expected);
    }
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn project_113_input_arrives_complete_and_in_order() {
    let lab = Lab::start(json!({})).await;
    let socket = lab.socket().await;
    let script = "stty raw -echo; echo up; head -c 7; echo; head -c 1000000 >paste; echo pasted; sleep 600";
    socket.request(spawn("a", script)).await.unwrap();
    socket.until_data("up").await;
    socket.send(json!("abc")).await;
    socket.send(json!({"data": "defg", "kind": "user"})).await;
    socket.until_data("abcdefg").await;
    let paste: String = (0..100_000).map(|i| format!("{i:09}.")).collect();
    socket.send(json!(paste)).await;
    socket.until_data("pasted").await;
    assert!(std::fs::read_to_string(lab.home().join("paste")).unwrap() == paste);
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn project_114_data_is_text_even_when_characters_are_split() {
    let lab = Lab::start(json!({})).await;
    let socket = lab.socket().await;
    let script = "i=0; while [ $i -lt 20 ]; do printf '\\360\\237'; sleep 0.06; printf '\\230\\200'; i=$((i+1)); done;
        printf 'x\\377y'; sleep 600";
    socket.request(spawn("a", script)).await.unwrap();
    socket.until_data("y").await;
    assert_eq!(socket.data(), "😀".repeat(20) + "x\u{fffd}y");
    assert!(socket.messages().iter().all(Value::is_string));
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn project_115_resize_reaches_program_and_sockets() {
    let lab = Lab::start(json!({})).await;
    let (one, two) = (lab.socket().await, lab.socket().await);
    let script = "trap 'stty size' WINCH; stty size; while :; do sleep 0.05; done";
    one.request(spawn("a", script)).await.unwrap();
    two.request(spawn("a", script)).await.unwrap();
    until_size(&one, "24 80").await;
    // The browser's numbers may be floats.
    assert_eq!(one.request(json!({"cmd": "resize", "rows": 40.0, "cols": 120})).await.unwrap(), Value::Null);
    until_size(&two, "40 120").await;
    for socket in [&one, &two] {
        socket.until_asked(&json!({"cmd": "broadcast", "event": "resize", "payload": {"rows": 40, "cols": 120}})).await;
    }
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn project_116_sizes_are_those_of_the_answering_clients() {
    let lab = Lab::start(json!({})).await;
    let (one, two, hidden) = (lab.socket().await, lab.socket().await, lab.socket().await);
    one.answer_size(Some((30, 90)));
    two.answer_size(Some((50, 100)));
    hidden.answer_size(None);
    for socket in [&one, &two, &hidden] {
        socket.request(spawn("a", HOLD)).await.unwrap();
    }
    let begin = Instant::now();
    let sizes = one.request(json!({"cmd": "sizes", "wait": 20000})).await.unwrap();
    assert!(begin.elapsed() < Duration::from_secs(15), "it need not wait when all have answered");
    let mut sizes = sizes.as_array().unwrap().clone();
    sizes.sort_by_key(|size| size["rows"].as_i64());
    assert_eq!(sizes, [json!({"rows": 30, "cols": 90}), json!({"rows": 50, "cols": 100})]);
    two.never_answer();
    let sizes = one.request(json!({"cmd": "sizes", "wait": 100})).await.unwrap();
    assert_eq!(sizes, json!([{"rows": 30, "cols": 90}]));
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn project_117_state_tells_whether_the_session_lives() {
    let lab = Lab::start(json!({})).await;
    let socket = lab.socket().await;
    let state = || socket.request(json!({"cmd": "state"}));
    assert_eq!(state().await.unwrap(), "off");
    socket.request(spawn("a", "read x")).await.unwrap();
    assert_eq!(state().await.unwrap(), "running");
    socket.send(json!("\r")).await;
    socket.until_asked(&json!({"cmd": "exit"})).await;
    assert_eq!(state().await.unwrap(), "off");
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn project_118_exit_comes_after_the_last_output_and_a_new_program_starts() {
    let lab = Lab::start(json!({})).await;
    let (one, two) = (lab.socket().await, lab.socket().await);
    let script = "read x; i=0; while [ $i -lt 2000 ]; do echo $i; i=$((i+1)); done; echo last";
    let first = one.request(spawn("a", script)).await.unwrap();
    two.request(spawn("a", script)).await.unwrap();
    one.send(json!("\r")).await;
    for socket in [&one, &two] {
        let data = socket.data_before(&json!({"cmd": "exit"})).await;
        assert!(data.ends_with("1999\r\nlast\r\n"));
    }
    let second = two.request(spawn("a", HOLD)).await.unwrap();
    assert_ne!(second["pid"], first["pid"]);
    assert_eq!(second["history"], "");
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn project_119_program_outlives_its_sockets() {
    let lab = Lab::start(json!({})).await;
    let one = lab.socket().await;
    let script = "echo begin; while [ ! -e go ]; do sleep 0.02; done; echo alone; touch done; sleep 600";
    let first = one.request(spawn("a", script)).await.unwrap();
    one.until_data("begin").await;
    one.close().await;
    std::fs::write(lab.home().join("go"), "").unwrap();
    lab.until_file("done").await;
    let two = lab.socket().await;
    let second = two.request(spawn("a", "")).await.unwrap();
    assert_eq!(second["pid"], first["pid"]);
    two.until("all", |two| history(&second) + &two.data() == "begin\r\nalone\r\n").await;
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn project_120_destroy_kills_the_program() {
    let lab = Lab::start(json!({})).await;
    let socket = lab.socket().await;
    let pid =
        socket.request(spawn("a", "trap '' HUP; echo up; while :; do sleep 0.05; done")).await.unwrap()["pid"].clone();
    socket.until_data("up").await;
    assert_eq!(socket.request(json!({"cmd": "destroy"})).await.unwrap(), Value::Null);
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
    assert_eq!(socket.request(json!({"cmd": "state"})).await.unwrap(), "off");
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn project_121_automatic_answers_are_taken_from_the_leader() {
    const TIMEOUT: Duration = Duration::from_millis(1500);
    let lab = Lab::start(json!({"COCALC_TERMINAL_LEADER_TIMEOUT_MS": "1500"})).await;
    let (one, two) = (lab.socket().await, lab.socket().await);
    let script = "stty -echo; echo up; cat";
    one.request(spawn("a", script)).await.unwrap();
    two.request(spawn("a", script)).await.unwrap();
    one.until_data("up").await;
    let active = Instant::now();
    one.send(json!({"data": "lead\r", "kind": "auto"})).await;
    one.until_data("lead").await;
    two.send(json!({"data": "early\r", "kind": "auto"})).await;
    two.request(json!({"cmd": "state"})).await.unwrap();
    let soon = active.elapsed() < TIMEOUT;
    // The rule is about time, so time has to pass.
    tokio::time::sleep(TIMEOUT).await;
    two.send(json!({"data": "late\r", "kind": "auto"})).await;
    one.until_data("late").await;
    assert!(!soon || !one.data().contains("early"));
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn project_122_change_of_directory_is_told() {
    let lab = Lab::start(json!({})).await;
    std::fs::create_dir(lab.home().join("sub")).unwrap();
    let socket = lab.socket().await;
    socket.request(interactive("a")).await.unwrap();
    assert_eq!(socket.request(json!({"cmd": "cwd"})).await.unwrap(), "");
    socket.send(json!("cd sub\r")).await;
    socket.until_asked(&json!({"cmd": "broadcast", "event": "update-cwd", "payload": "sub"})).await;
    assert_eq!(socket.request(json!({"cmd": "cwd"})).await.unwrap(), "sub");
    socket.send(json!("cd /usr\r")).await;
    socket.until_asked(&json!({"cmd": "broadcast", "event": "update-cwd", "payload": "/usr"})).await;
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn project_123_directory_is_relative_to_home_and_may_be_missing() {
    let lab = Lab::start(json!({})).await;
    std::fs::create_dir(lab.home().join("sub")).unwrap();
    for (cwd, shown) in [("sub", "sub"), ("missing", ""), ("/usr", "/usr"), (".", "")] {
        let socket = lab.socket().await;
        let mut request = spawn(cwd, HOLD);
        request["options"]["cwd"] = json!(cwd);
        socket.request(request).await.unwrap();
        assert_eq!(socket.request(json!({"cmd": "cwd"})).await.unwrap(), shown);
    }
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn project_124_environment_is_completed() {
    let lab = Lab::start(json!({})).await;
    let socket = lab.socket().await;
    let mut request = spawn("a", "echo \"[$HISTFILE] [$COCALC_CONTROL_DIR] [$TERM]\"; sleep 600");
    request["options"]["env0"] = json!({"COCALC_CONTROL_DIR": "set-by-backend", "HISTFILE": "$HOME/work/a.term"});
    socket.request(request).await.unwrap();
    socket.until_data("[xterm-256color]\r\n").await;
    let data = socket.data();
    let fields: Vec<&str> = data.split(['[', ']']).collect();
    assert_eq!(fields[1], lab.home().join("work/a.term").to_str().unwrap());
    let control = Path::new(fields[3]);
    assert!(control.is_absolute());
    assert_eq!(std::fs::metadata(control).unwrap().permissions().mode() & 0o7777, 0o700);
    socket.request(json!({"cmd": "destroy"})).await.unwrap();
    assert!(!control.exists());
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn project_125_open_tells_the_browser() {
    let lab = Lab::start(json!({})).await;
    std::fs::create_dir(lab.home().join("sub")).unwrap();
    let (one, two) = (lab.socket().await, lab.socket().await);
    one.request(interactive("a")).await.unwrap();
    two.request(interactive("a")).await.unwrap();
    one.send(json!("open x.md; cd sub && open y.md .\r")).await;
    for socket in [&one, &two] {
        for paths in [json!([{"file": "x.md"}]), json!([{"file": "sub/y.md"}, {"directory": "sub"}])] {
            let payload = json!({"event": "open", "paths": paths});
            socket.until_asked(&json!({"cmd": "broadcast", "event": "user-command", "payload": payload})).await;
        }
    }
    assert!(lab.home().join("x.md").is_file() && lab.home().join("sub/y.md").is_file());
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn project_126_history_is_cut() {
    let lab = Lab::start(json!({"COCALC_TERMINAL_MAX_HISTORY_LENGTH": "5000"})).await;
    let script = "i=0; while [ $i -lt 3000 ]; do echo $i; i=$((i+1)); done; echo end; sleep 600";
    for (id, limit, most) in [("default", None, 6000), ("own", Some(2000), 3000)] {
        let socket = lab.socket().await;
        let mut request = spawn(id, script);
        if let Some(limit) = limit {
            request["options"]["maxHistoryLength"] = json!(limit);
        }
        socket.request(request).await.unwrap();
        socket.until_data("end\r\n").await;
        let history = socket.request(json!({"cmd": "history"})).await.unwrap();
        let history = history.as_str().unwrap();
        assert!((most - 1001..=most).contains(&history.len()), "{}", history.len());
        assert!(history.ends_with("2999\r\nend\r\n"));
    }
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn project_127_errors_are_in_the_header() {
    let lab = Lab::start(json!({})).await;
    let socket = lab.socket().await;
    let failing = [
        (json!({"cmd": "dance"}), "unknown command \"dance\""),
        (
            json!({"cmd": "spawn", "command": "no-such-program", "options": {"id": "a"}}),
            "no-such-program: command not found",
        ),
        (json!({"cmd": "resize", "rows": 0, "cols": 80}), "rows and cols must be numbers from 1 to 10000"),
        (json!("nonsense"), "the request can't be understood"),
        (json!({"cmd": "history", "id": "nowhere"}), "there is no such terminal session"),
    ];
    for (request, message) in failing {
        let begin = Instant::now();
        let error = socket.request(request).await.unwrap_err();
        assert!(error.contains(message), "{error}");
        assert!(begin.elapsed() < Duration::from_secs(5));
    }
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn project_128_burst_harms_nobody() {
    let lab = Lab::start(json!({})).await;
    let (burst, other) = (lab.socket().await, lab.socket().await);
    burst.forget_data();
    burst.request(spawn("a", "yes | head -c 50000000; echo over; sleep 600")).await.unwrap();
    other.request(interactive("b")).await.unwrap();
    other.until_data("$ ").await;
    let mut slowest = Duration::ZERO;
    for i in 0..20 {
        let begin = Instant::now();
        other.send(json!(format!("echo $((1000+{i}))\r"))).await;
        other.until_data(&format!("{}\r\n", 1000 + i)).await;
        slowest = slowest.max(begin.elapsed());
    }
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    burst.until_data("over").await;
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn project_129_kick_reaches_all_sockets() {
    let lab = Lab::start(json!({})).await;
    let (one, two) = (lab.socket().await, lab.socket().await);
    for socket in [&one, &two] {
        socket.request(spawn("a", HOLD)).await.unwrap();
    }
    let kick = json!({"cmd": "broadcast", "event": "kick", "payload": "me"});
    assert_eq!(one.request(kick.clone()).await.unwrap(), Value::Null);
    for socket in [&one, &two] {
        socket.until_asked(&kick).await;
    }
    two.close().await;
    one.until_asked(&json!({"cmd": "broadcast", "event": "leave"})).await;
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn project_164_terminals_lack_our_variables() {
    let lab = Lab::start(json!({})).await;
    let socket = lab.socket().await;
    socket.request(spawn("a", "env; echo over; sleep 600")).await.unwrap();
    socket.until_data("over").await;
    for name in ["AUTH_TOKEN", "COMPUTE_SERVER", "PORT", "DATA", "CONAT_SERVER"] {
        assert!(!socket.data().contains(&format!("\n{name}=")), "{name}");
    }
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn project_165_path_has_open_first() {
    let lab = Lab::start(json!({})).await;
    let socket = lab.socket().await;
    socket.request(spawn("a", "command -v open; echo over; sleep 600")).await.unwrap();
    socket.until_data("over").await;
    let data = socket.data();
    let open = Path::new(data.lines().next().unwrap());
    assert!(open.ends_with("bin/open"));
    assert!(std::fs::metadata(open).unwrap().permissions().mode() & 0o111 != 0);
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn terminal_programs_end_with_the_service() {
    let lab = Lab::start(json!({})).await;
    let socket = lab.socket().await;
    let answer = socket.request(spawn("a", "trap '' HUP; echo up; while :; do sleep 0.05; done")).await.unwrap();
    socket.until_data("up").await;
    let begin = Instant::now();
    lab.stop().await;
    assert!(begin.elapsed() < DEADLINE);
    assert!(!Path::new(&format!("/proc/{}", answer["pid"])).exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn terminal_client_that_reads_nothing_holds_up_nobody_and_goes_on_with_the_newest() {
    const FLOOD: usize = 6_000_000;
    let lab = Lab::start(json!({})).await;
    let (deaf, other) = (lab.deaf_socket().await, lab.socket().await);
    let script = format!("read x; yes | head -c {FLOOD}; echo over; sleep 600");
    deaf.request(spawn("a", &script)).await.unwrap();
    other.request(spawn("a", "")).await.unwrap();
    other.send(json!("\r")).await;
    other.until_data("over\r\n").await;
    assert!(other.received() > FLOOD, "every line has become one byte longer");
    deaf.listen();
    deaf.until_data("over\r\n").await;
    assert!(deaf.received() < 3 << 20, "{}", deaf.received());
    lab.stop().await;
}

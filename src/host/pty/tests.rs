use std::time::Duration;

use super::*;

const DEADLINE: Duration = Duration::from_secs(20);

fn shell(script: &str) -> Launch {
    let path = OsString::from(DEFAULT_PATH);
    Launch {
        program: find_program(OsStr::new("sh"), Some(&path), Path::new("/")).unwrap(),
        name: "sh".into(),
        args: vec!["-c".into(), script.into()],
        directory: PathBuf::from("/"),
        environment: Environment::from([("PATH".into(), path), ("ONLY".into(), "this".into())]),
        size: Size::default(),
    }
}

async fn start(launch: &Launch) -> (Terminal, Program) {
    let launch = launch.clone();
    tokio::task::spawn_blocking(move || open(&launch)).await.unwrap().unwrap()
}

/// Everything a program prints until its end, and how it ended.
async fn run(launch: &Launch) -> (String, Exit) {
    let (terminal, mut program) = start(launch).await;
    let mut output = Vec::new();
    let exit = loop {
        tokio::select! {
            open = terminal.read(&mut output, 65536) => assert!(open.unwrap(), "the far end is held"),
            exit = program.wait() => break exit.unwrap(),
        }
    };
    terminal.release();
    while terminal.read(&mut output, 65536).await.unwrap() {}
    (String::from_utf8(output).unwrap(), exit)
}

async fn read_until(terminal: &Terminal, wanted: &str) -> String {
    let mut output = Vec::new();
    let read = async {
        while !String::from_utf8_lossy(&output).contains(wanted) {
            assert!(terminal.read(&mut output, 4096).await.unwrap());
        }
    };
    assert!(
        tokio::time::timeout(DEADLINE, read).await.is_ok(),
        "no {wanted:?} in {:?}",
        String::from_utf8_lossy(&output)
    );
    String::from_utf8_lossy(&output).into_owned()
}

#[tokio::test]
async fn pty_program_has_terminal_directory_and_only_its_environment() {
    let mut launch = shell("tty; pwd; stty size; env; exit 7");
    launch.directory = PathBuf::from("/usr");
    launch.size = Size { rows: 31, cols: 97 };
    let (output, exit) = run(&launch).await;
    assert_eq!(exit, Exit::Code(7));
    assert!(output.starts_with("/dev/pts/"), "{output}");
    assert!(output.contains("/usr\r\n31 97\r\n"), "{output}");
    assert!(output.contains("ONLY=this\r\n"), "{output}");
    assert!(!output.contains("HOME="), "{output}");
}

#[tokio::test]
async fn pty_output_before_the_end_is_complete() {
    let (output, exit) = run(&shell("i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done")).await;
    assert_eq!(exit, Exit::Code(0));
    assert_eq!(output.lines().count(), 20000);
    assert!(output.ends_with("line 19999\r\n"));
}

#[tokio::test]
async fn pty_death_by_signal_is_told() {
    let (_, exit) = run(&shell("kill -9 $$")).await;
    assert_eq!(exit, Exit::Signal(9));
    assert_eq!(exit.to_string(), "signal 9");
}

#[tokio::test]
async fn pty_no_descriptor_of_ours_is_inherited() {
    let secret = File::open("/proc/self/status").unwrap();
    let leaky = nix::fcntl::fcntl(&secret, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty()));
    assert!(leaky.is_ok());
    let (output, _) = run(&shell("for f in /proc/$$/fd/*; do readlink $f; done")).await;
    assert!(!output.contains("/status"), "{output}");
    assert!(!output.contains("eventpoll"), "{output}");
    assert!(!output.contains("ptmx"), "{output}");
}

#[tokio::test]
async fn pty_signals_are_as_a_login_has_them() {
    let (output, _) = run(&shell("grep -E '^Sig(Blk|Ign)' /proc/self/status")).await;
    for line in output.lines() {
        let mask = u64::from_str_radix(line.split_whitespace().last().unwrap(), 16).unwrap();
        assert_eq!(mask, 0, "{line}");
    }
    assert_eq!(output.lines().count(), 2);
}

#[tokio::test]
async fn pty_resize_reaches_the_program() {
    let (terminal, mut program) =
        start(&shell("trap 'stty size; exit' WINCH; echo ready; while :; do sleep 0.05; done")).await;
    read_until(&terminal, "ready").await;
    terminal.resize(Size { rows: 50, cols: 132 }).unwrap();
    read_until(&terminal, "50 132").await;
    assert_eq!(program.wait().await.unwrap(), Exit::Code(0));
}

#[tokio::test]
async fn pty_long_input_waits_for_the_program() {
    const LENGTH: usize = 1_000_000;
    let (terminal, _program) =
        start(&shell("stty raw -echo; echo ready; head -c 1000000 | cksum; echo done; sleep 60")).await;
    read_until(&terminal, "ready").await;
    let text: Vec<u8> = (0..LENGTH).map(|i| b'a' + u8::try_from(i % 23).unwrap()).collect();
    let (sent, output) = tokio::join!(terminal.write(&text), read_until(&terminal, "done"));
    sent.unwrap();
    assert!(output.contains(&format!(" {LENGTH}")), "{output}");
}

#[tokio::test]
async fn pty_reopened_terminal_still_speaks() {
    let (terminal, _program) =
        start(&shell("exec </dev/null >/dev/null 2>&1; sleep 0.2; echo again >/dev/tty; sleep 60")).await;
    read_until(&terminal, "again").await;
}

#[tokio::test]
async fn pty_directory_of_the_program_is_seen() {
    let (terminal, program) = start(&shell("cd /usr/bin; echo there; sleep 60")).await;
    read_until(&terminal, "there").await;
    assert_eq!(program.directory().unwrap(), std::fs::canonicalize("/usr/bin").unwrap());
}

#[tokio::test]
async fn pty_session_end_takes_stubborn_children_along() {
    let script = "trap '' HUP; sh -c 'trap \"\" HUP TERM; echo child; while :; do sleep 0.05; done' & echo self; wait";
    let (terminal, mut program) = start(&shell(script)).await;
    read_until(&terminal, "child").await;
    let session = program.session();
    assert!(session.members().len() >= 2);
    session.end(Duration::from_millis(200)).await;
    assert_eq!(program.wait().await.unwrap(), Exit::Signal(9));
    let gone = async {
        while !session.members().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, gone).await.unwrap();
}

#[tokio::test]
async fn pty_missing_program_is_told() {
    assert_eq!(find_program(OsStr::new("no-such-program-at-all"), None, Path::new("/")), None);
    assert_eq!(find_program(OsStr::new(""), None, Path::new("/")), None);
    assert_eq!(find_program(OsStr::new("./sh"), None, Path::new("/bin")), Some(PathBuf::from("/bin/./sh")));
    let mut launch = shell("true");
    launch.program = PathBuf::from("/no/such/program");
    let result = tokio::task::spawn_blocking(move || open(&launch)).await.unwrap();
    let message = result.unwrap_err().to_string();
    assert!(message.starts_with("/no/such/program can't be started: No such file"), "{message}");
}

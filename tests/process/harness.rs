//! A home of its own for each test, and servers that end with it.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

pub const OUTPOST: &str = env!("CARGO_BIN_EXE_outpost");
pub const DEADLINE: Duration = Duration::from_secs(20);

/// A home of its own for one test; `data` is not there until the server makes it.
pub struct Home {
    folder: tempfile::TempDir,
}

impl Home {
    pub fn new() -> Home {
        Home { folder: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    /// The program with an environment that has nothing but this home and the given variables.
    pub fn outpost(&self, env: &[(&str, &str)], arguments: &[&str]) -> Command {
        let mut command = Command::new(OUTPOST);
        self.equip(&mut command, env);
        command.args(arguments);
        command
    }

    pub fn equip(&self, command: &mut Command, env: &[(&str, &str)]) {
        command.env_clear().env("HOME", self.path()).env("DATA", self.data()).env("PATH", "/usr/bin:/bin");
        command.envs(env.iter().copied()).stdin(Stdio::null());
    }

    pub fn run(&self, env: &[(&str, &str)], arguments: &[&str]) -> Output {
        self.outpost(env, arguments).output().unwrap()
    }

    pub fn serve(&self, env: &[(&str, &str)]) -> Server {
        let mut all = vec![("PORT", "0")];
        all.extend_from_slice(env);
        Server::start(self.outpost(&all, &[]))
    }

    pub fn info(&self) -> Option<Value> {
        serde_json::from_slice(&fs::read(self.data().join("connection-info.json")).ok()?).ok()
    }
}

/// A running server; killed when the test ends otherwise.
pub struct Server {
    pub child: Child,
    pub url: String,
    log: PathBuf,
    _log_folder: tempfile::TempDir,
}

impl Server {
    /// Waits for the URL line.
    pub fn start(mut command: Command) -> Server {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let mut child = command.stdout(Stdio::piped()).stderr(File::create(&log).unwrap()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let url = lines.by_ref().map_while(Result::ok).find(|line| line.starts_with("http"));
        let url = url.unwrap_or_else(|| panic!("no URL line; log: {}", fs::read_to_string(&log).unwrap()));
        thread::spawn(move || lines.for_each(drop));
        Server { child, url, log, _log_folder: folder }
    }

    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    /// Asks the server to stop and gives its exit status.
    pub fn stop(&mut self) -> Option<i32> {
        self.signal(Signal::SIGTERM);
        until("the server has stopped", || self.child.try_wait().unwrap()).code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits for a condition, with a deadline.
pub fn until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(start.elapsed() < DEADLINE, "not within {DEADLINE:?}: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Answers every request with one status.
pub fn answering(status: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut request = BufReader::new(stream);
            let mut lines = Vec::new();
            while let Some(Ok(line)) =
                request.by_ref().lines().next().filter(|line| !matches!(line, Ok(l) if l.is_empty()))
            {
                lines.push(line);
            }
            let status = if lines[0].starts_with("GET /x/readyz ") { status } else { "404 Not Found" };
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            request.into_inner().write_all(answer.as_bytes()).unwrap();
        }
    });
    port
}

/// Hands over a socket as systemd does: as descriptor 3 with the process's own number in `LISTEN_PID`.
pub fn activated(home: &Home, socket: impl Into<OwnedFd>, env: &[(&str, &str)]) -> Command {
    let mut command = Command::new("/bin/sh");
    home.equip(&mut command, env);
    command.arg("-c").arg(r#"exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec "$0""#).arg(OUTPOST);
    command.stdin(Stdio::from(socket.into()));
    command
}

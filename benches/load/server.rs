//! Starts either server on free ports of the loopback address, on settings that make them comparable: no sign-in,
//! no limits on connections.

use std::{
    fs, io,
    net::TcpListener,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    process::{Child, ChildStdout, Command},
    time::{sleep, timeout},
};

use super::client::Kind;

/// How sure a server is of the disk before it acknowledges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// It has synced.
    Synced,
    /// As NATS does it by default: the kernel has it.
    Written,
}

/// Where the programs are.
#[derive(Clone, Debug)]
pub struct Programs {
    pub outpost: PathBuf,
    pub nats: PathBuf,
}

/// A running server; it ends when this is dropped.
pub struct Server {
    pub address: String,
    pub pid: u32,
    /// From before the process was made until it answered an HTTP request with 200 (Outpost), or took a connection (NATS).
    pub start_up: Duration,
    child: Child,
    /// Kept so that the server never writes into a closed pipe.
    _stdout: Option<BufReader<ChildStdout>>,
    services: String,
    folder: TempDir,
}

impl Server {
    pub async fn start(kind: Kind, programs: &Programs, services: &str) -> io::Result<Server> {
        let folder = tempfile::tempdir()?;
        match kind {
            Kind::Outpost => Server::start_outpost(&programs.outpost, services, Storage::Synced, folder).await,
            Kind::Nats | Kind::Coalesced => Server::start_nats(&programs.nats, "", folder).await,
        }
    }

    /// Starts a server that has streams. Their files are on the disk that holds the program, not in memory.
    pub async fn start_with(kind: Kind, programs: &Programs, services: &str, storage: Storage) -> io::Result<Server> {
        let disk = programs.outpost.parent().ok_or(io::ErrorKind::NotFound)?;
        let folder = tempfile::tempdir_in(disk)?;
        match kind {
            Kind::Outpost => Server::start_outpost(&programs.outpost, services, storage, folder).await,
            Kind::Nats | Kind::Coalesced => {
                let sync = if storage == Storage::Synced { "sync_interval: always" } else { "" };
                let files = folder.path().join("streams");
                let streams = format!("jetstream {{ store_dir: {files:?}\n{sync}\n}}\n");
                Server::start_nats(&programs.nats, &streams, folder).await
            }
        }
    }

    /// Ends Outpost in an orderly way and starts it again on the same files; the time that takes to start.
    pub async fn restart(&mut self, programs: &Programs, storage: Storage) -> io::Result<Duration> {
        use nix::{
            sys::signal::{Signal, kill},
            unistd::Pid,
        };
        kill(Pid::from_raw(self.pid as i32), Signal::SIGTERM)?;
        self.child.wait().await?;
        let folder = std::mem::replace(&mut self.folder, tempfile::tempdir()?);
        *self = Server::start_outpost(&programs.outpost, &self.services, storage, folder).await?;
        Ok(self.start_up)
    }

    async fn start_outpost(program: &Path, services: &str, storage: Storage, folder: TempDir) -> io::Result<Server> {
        let port = free_port()?;
        let started = Instant::now();
        let mut child = Command::new(program)
            .env_clear()
            .envs([
                ("PORT", port.to_string().as_str()),
                ("HOST", "127.0.0.1"),
                ("OUTPOST_POLICY", "open"),
                ("OUTPOST_SERVICES", services),
                ("OUTPOST_DURABILITY", if storage == Storage::Synced { "full" } else { "normal" }),
                ("OUTPOST_LOG", "warn"),
                ("OUTPOST_MAX_CONNECTIONS", "0"),
                ("OUTPOST_MAX_CONNECTIONS_PER_USER", "0"),
                ("OUTPOST_HTTP_CONNECTIONS", "0"),
                // Publishers here do not read, so they would not answer.
                ("OUTPOST_PING_INTERVAL", "300s"),
            ])
            .env("HOME", folder.path())
            .env("DATA", folder.path().join("data"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let address = format!("127.0.0.1:{port}");
        wait_for(&mut child, &address, true).await?;
        let start_up = started.elapsed();
        let mut stdout = child.stdout.take().map(BufReader::new);
        if let Some(stdout) = &mut stdout {
            let mut line = String::new();
            timeout(Duration::from_secs(10), stdout.read_line(&mut line)).await??;
        }
        let pid = child.id().ok_or(io::ErrorKind::NotFound)?;
        Ok(Server { address, pid, start_up, child, _stdout: stdout, services: services.to_owned(), folder })
    }

    async fn start_nats(program: &Path, streams: &str, folder: TempDir) -> io::Result<Server> {
        let (port, websocket) = (free_port()?, free_port()?);
        let config = folder.path().join("nats.conf");
        fs::write(
            &config,
            format!(
                "listen: \"127.0.0.1:{port}\"\nping_interval: 300\nwebsocket {{ listen: \"127.0.0.1:{websocket}\", no_tls: true }}\n{streams}"
            ),
        )?;
        let started = Instant::now();
        let mut child = Command::new(program)
            .arg("--config")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let address = format!("127.0.0.1:{websocket}");
        wait_for(&mut child, &address, false).await?;
        let start_up = started.elapsed();
        let pid = child.id().ok_or(io::ErrorKind::NotFound)?;
        Ok(Server { address, pid, start_up, child, _stdout: None, services: String::new(), folder })
    }

    /// Ends the server and waits for it.
    pub async fn stop(mut self) -> io::Result<()> {
        self.child.kill().await
    }
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Waits until a server takes connections and, if asked, answers an HTTP request with 200.
async fn wait_for(child: &mut Child, address: &str, http: bool) -> io::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(status) = child.try_wait()? {
            return Err(io::Error::other(format!("the server ended: {status}")));
        }
        if let Ok(mut stream) = TcpStream::connect(address).await {
            if !http {
                return Ok(());
            }
            stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await?;
            if answer.starts_with(b"HTTP/1.1 200") {
                return Ok(());
            }
            return Err(io::Error::other(format!("/healthz: {}", String::from_utf8_lossy(&answer))));
        }
        if Instant::now() > deadline {
            return Err(io::Error::other(format!("nothing listens on {address}")));
        }
        sleep(Duration::from_millis(1)).await;
    }
}

//! The task that owns a session.

use std::{future::pending, io, sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, mpsc, oneshot},
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    control::ControlDirectory,
    environment::shown,
    error::Error,
    members::{Event, Members},
    output::Output,
    pace::{Allowance, ReadPace},
    request::{Listed, Notice},
    session::{Attached, Command, Surroundings},
    utf8::Utf8Joiner,
};
use crate::host::pty::{Exit, Program, Size, Terminal};

/// Shortest time between two looks at the program's directory.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// Most bytes that are taken before what came is passed on.
const READ_BYTES: usize = 64 << 10;
/// How long programs may take to end after the hang-up signal.
const GRACE: Duration = Duration::from_secs(1);
/// How long to wait for a program that was killed.
const END_TIMEOUT: Duration = Duration::from_secs(5);
/// After the end of the program: output is complete when none comes for so long, although others hold the terminal.
const QUIET: Duration = Duration::from_millis(100);
/// After the end of the program: how much more output is taken.
const REST_BYTES: usize = 1 << 20;

/// A session from inside.
pub(super) struct Owner {
    pub id: Option<String>,
    pub command: String,
    /// The program's directory when last looked at.
    pub shown: Option<String>,
    pub started: u64,
    pub size: Size,
    pub terminal: Arc<Terminal>,
    pub program: Program,
    pub control: ControlDirectory,
    pub output: Output,
    pub joiner: Utf8Joiner,
    pub members: Members,
    pub pace: ReadPace,
    pub commands: mpsc::Receiver<Command>,
    pub ended: CancellationToken,
    /// When the program's directory was last looked at.
    pub looked: Instant,
    /// When to look again.
    pub look: Option<Instant>,
    pub surroundings: Arc<Surroundings>,
}

/// Why a session ends.
enum End {
    /// Its program ended.
    Exited(io::Result<Exit>),
    /// Somebody wants it, and may wait for it.
    Destroyed(Option<oneshot::Sender<()>>),
    /// The server ends.
    Shutdown,
}

impl Owner {
    /// Runs until the session has ended. The permit is given back as soon as the program has.
    pub(super) async fn run(mut self, permit: OwnedSemaphorePermit) {
        let end = self.serve().await;
        // From here on a `spawn` with this id makes a new session.
        self.ended.cancel();
        self.commands.close();
        while self.commands.try_recv().is_ok() {}
        drop(permit);
        self.finish(end).await;
    }

    async fn serve(&mut self) -> End {
        let shutdown = self.surroundings.shutdown.clone();
        let mut buffer = Vec::new();
        let mut readable = true;
        loop {
            let now = Instant::now();
            self.members.send(&self.output, now);
            self.look_when_due(now);
            let (bytes, resume) = match self.pace.allowance(self.members.audience(), now) {
                _ if !readable => (0, None),
                Allowance::Bytes(bytes) => (bytes.min(READ_BYTES), None),
                Allowance::Wait(until) => (0, Some(until)),
            };
            let wake = [self.members.due(&self.output), resume, self.look].into_iter().flatten().min();
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return End::Shutdown,
                command = self.commands.recv() => {
                    match command {
                        Some(Command::Destroy(reply)) => return End::Destroyed(Some(reply)),
                        Some(command) => self.handle(command),
                        // Nobody knows this session any more.
                        None => return End::Destroyed(None),
                    }
                }
                event = self.members.event() => {
                    self.members.handle(event, &self.output, Instant::now());
                    // Nobody else can ever attach to a private session.
                    if matches!(event, Event::Left(_)) && self.id.is_none() {
                        return End::Destroyed(None);
                    }
                }
                () = self.control.changed() => self.take_events().await,
                // Whoever started it wants to see it, even if it is over at once.
                exit = self.program.wait(), if self.members.known() => return End::Exited(exit),
                () = at(wake) => {}
                result = self.terminal.read(&mut buffer, bytes), if bytes > 0 => {
                    readable = result.unwrap_or(false);
                    self.pace.spend(buffer.len());
                    self.take_output(&buffer);
                    buffer.clear();
                    self.look.get_or_insert(self.looked + LOOK_INTERVAL);
                }
            }
        }
    }

    fn handle(&mut self, command: Command) {
        // Who asks may have gone; then the answer goes nowhere.
        match command {
            Command::Attach(link, limit, reply) => {
                let sockets = self.surroundings.limits.sockets;
                let result = if self.members.len() >= sockets {
                    Err(Error::TooManySockets(sockets))
                } else {
                    let (history, omitted) = self.output.history(limit);
                    let history = history.to_owned();
                    let ticket = self.members.attach(link, self.output.end(), Instant::now());
                    Ok(Attached { pid: self.program.pid(), history, omitted, ticket })
                };
                let _ = reply.send(result);
            }
            Command::Resize(size) => {
                self.size = size;
                if let Err(error) = self.terminal.resize(size) {
                    tracing::debug!(%error, "terminal can't be resized");
                }
                self.members.notify(&Notice::resized(size));
            }
            Command::History(limit, reply) => {
                let _ = reply.send(self.output.history(limit).0.to_owned());
            }
            Command::Directory(reply) => {
                let _ = reply.send(self.directory());
            }
            Command::Peers(reply) => {
                let _ = reply.send(self.members.peers());
            }
            Command::Broadcast(notice) => self.members.notify(&notice),
            Command::Describe(reply) => {
                let _ = reply.send(self.describe());
            }
            Command::Destroy(_) => {}
        }
    }

    fn describe(&self) -> Listed {
        Listed {
            id: self.id.clone().unwrap_or_default(),
            pid: self.program.pid(),
            command: self.command.clone(),
            cwd: self.directory(),
            rows: self.size.rows,
            cols: self.size.cols,
            sockets: self.members.len(),
            started: self.started,
        }
    }

    fn take_output(&mut self, bytes: &[u8]) {
        let mut text = String::with_capacity(bytes.len());
        self.joiner.push(bytes, &mut text);
        self.output.push(&text);
    }

    /// What programs in the terminal want the browser to do.
    async fn take_events(&mut self) {
        for event in self.control.take().await {
            let payload = rmpv::ext::to_value(event).ok();
            self.members.notify(&Notice::Broadcast { event: "user-command".into(), payload });
        }
    }

    fn directory(&self) -> Option<String> {
        shown(&self.program.directory()?, &self.surroundings.places)
    }

    fn look_when_due(&mut self, now: Instant) {
        if self.look.is_none_or(|look| now < look) {
            return;
        }
        self.look = None;
        self.looked = now;
        let directory = self.directory();
        if directory.is_some() && directory != self.shown {
            let payload = directory.clone().map(rmpv::Value::from);
            self.members.notify(&Notice::Broadcast { event: "update-cwd".into(), payload });
            self.shown = directory;
        }
    }

    async fn finish(mut self, end: End) {
        let pid = self.program.pid();
        let reply = match end {
            End::Exited(exit) => {
                match exit {
                    Ok(exit) => tracing::debug!(pid, %exit, "terminal session ended"),
                    Err(error) => tracing::warn!(pid, %error, "end of a terminal's program can't be told"),
                }
                None
            }
            End::Destroyed(reply) => {
                tracing::debug!(pid, "terminal session is ended");
                self.end_program().await;
                reply
            }
            End::Shutdown => {
                self.end_program().await;
                return;
            }
        };
        self.read_rest().await;
        // It may have wanted something at last.
        self.take_events().await;
        let shutdown = self.surroundings.shutdown.clone();
        tokio::select! {
            () = self.members.farewell(&self.output) => {}
            () = shutdown.cancelled() => {}
        }
        let control = self.control;
        // Removes it.
        let _ = tokio::task::spawn_blocking(move || drop(control)).await;
        if let Some(reply) = reply {
            let _ = reply.send(());
        }
    }

    /// Ends the program and all it started, going on to read: it may have to print before it can end.
    async fn end_program(&mut self) {
        let session = self.program.session();
        let ending = self.surroundings.tasks.spawn(session.end(GRACE));
        let mut buffer = Vec::new();
        let reading = async {
            while self.terminal.read(&mut buffer, READ_BYTES).await.unwrap_or(false) {
                buffer.clear();
            }
            pending::<()>().await;
        };
        let ended = async {
            // Everything it started has to go too.
            let _ = ending.await;
            let _ = self.program.wait().await;
        };
        tokio::select! {
            () = reading => {}
            _ = timeout(END_TIMEOUT, ended) => {}
        }
    }

    /// Reads what the program printed before its end.
    async fn read_rest(&mut self) {
        self.terminal.release();
        let mut buffer = Vec::new();
        while buffer.len() < REST_BYTES {
            match timeout(QUIET, self.terminal.read(&mut buffer, READ_BYTES)).await {
                Ok(Ok(true)) => {}
                Ok(_) | Err(_) => break,
            }
        }
        self.take_output(&buffer);
        let mut text = String::new();
        self.joiner.finish(&mut text);
        self.output.push(&text);
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => pending().await,
    }
}

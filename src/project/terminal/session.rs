//! One session: a program in a terminal, its history and its sockets, owned by one task.

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::{
    sync::{OwnedSemaphorePermit, mpsc, oneshot},
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Limits,
    control::{ControlDirectory, ControlRoot},
    environment::{self, Choice, Places},
    error::Error,
    leader::Leadership,
    members::{Members, Ticket},
    output::Output,
    owner::Owner,
    pace::ReadPace,
    peer::{Link, Peer},
    request::{Kind, Listed, Notice, Request, count, size},
    utf8::Utf8Joiner,
};
use crate::host::{
    environment::Environment,
    pty::{self, Launch, Program, Size, Terminal},
};

/// Commands that may wait for the owner.
const WAITING_COMMANDS: usize = 64;
/// Pieces of input that may wait for the program, each of [`INPUT_PIECE_BYTES`].
const WAITING_INPUT: usize = 32;
/// Input goes to the program in pieces of this size, so that clients take turns (§11.4).
pub(super) const INPUT_PIECE_BYTES: usize = 1024;
/// Longest start of a program; the client waits 5 s.
const START_TIMEOUT: Duration = Duration::from_millis(4500);
/// No client gets a longer history than this, whatever it asks for.
const MAX_HISTORY_CHARS: usize = 16_000_000;

/// What all sessions share.
#[derive(Debug)]
pub(super) struct Surroundings {
    /// Directories.
    pub places: Places,
    /// Where control directories are made.
    pub control: ControlRoot,
    /// What programs inherit.
    pub environment: Environment,
    /// Limits and times.
    pub limits: Limits,
    /// Everything that runs.
    pub tasks: TaskTracker,
    /// Ends everything.
    pub shutdown: CancellationToken,
}

/// What the owner is asked.
pub(super) enum Command {
    /// A socket comes: the history of at most so many characters, and a place.
    Attach(Link, usize, oneshot::Sender<Result<Attached, Error>>),
    /// Change the size and tell everyone.
    Resize(Size),
    /// The newest characters of the history.
    History(usize, oneshot::Sender<String>),
    /// The program's directory, as shown.
    Directory(oneshot::Sender<Option<String>>),
    /// All sockets.
    Peers(oneshot::Sender<Vec<Arc<dyn Peer>>>),
    /// Tell everyone.
    Broadcast(Notice),
    /// For the list.
    Describe(oneshot::Sender<Listed>),
    /// End it, and say when it has ended.
    Destroy(oneshot::Sender<()>),
}

/// What a socket gets when it attaches.
#[derive(Debug)]
pub(super) struct Attached {
    /// Process id of the program.
    pub pid: i32,
    /// The output so far.
    pub history: String,
    /// Characters that are missing before it.
    pub omitted: usize,
    /// The socket's place.
    pub ticket: Ticket,
}

/// The session is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ended;

/// A handle on a session.
#[derive(Clone)]
pub(super) struct Session {
    commands: mpsc::Sender<Command>,
    input: mpsc::Sender<String>,
    leadership: Arc<Mutex<Leadership>>,
    ended: CancellationToken,
}

impl Session {
    /// Starts the program of a `spawn` request.
    pub(super) async fn start(
        request: Request,
        surroundings: Arc<Surroundings>,
        permit: OwnedSemaphorePermit,
    ) -> Result<Session, Error> {
        let prepared = tokio::task::spawn_blocking({
            let surroundings = surroundings.clone();
            move || prepare(request, &surroundings)
        });
        let prepared = match tokio::time::timeout(START_TIMEOUT, prepared).await {
            Ok(Ok(prepared)) => prepared?,
            // It has not even been tried when the runtime ends; else it goes on without us and is ended when it is done.
            Ok(Err(_)) | Err(_) => return Err(Error::SlowStart),
        };
        Ok(prepared.run(surroundings, permit))
    }

    /// Attaches a socket.
    pub(super) async fn attach(&self, link: Link, history: usize) -> Result<Result<Attached, Error>, Ended> {
        self.ask(|reply| Command::Attach(link, history, reply)).await
    }

    /// Asks the owner something.
    pub(super) async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, Ended> {
        let (reply, answer) = oneshot::channel();
        self.tell(command(reply)).await;
        answer.await.map_err(|_| Ended)
    }

    /// Tells the owner something. If the session has ended nothing happens.
    pub(super) async fn tell(&self, command: Command) {
        let _ = self.commands.send(command).await;
    }

    /// Where input goes, piece by piece.
    pub(super) fn input(&self) -> &mpsc::Sender<String> {
        &self.input
    }

    /// Whether input counts: a person's always does. `None` is somebody who is not attached.
    pub(super) fn accepts(&self, member: Option<u64>, kind: Kind) -> bool {
        let now = Instant::now();
        let mut leadership = self.leadership();
        match (kind, member) {
            (Kind::Auto, Some(member)) => leadership.accepts(member, now),
            (Kind::Auto, None) => false,
            (Kind::User, member) => {
                if let Some(member) = member {
                    leadership.typed(member, now);
                }
                true
            }
        }
    }

    /// Whether its program has ended.
    pub(super) fn has_ended(&self) -> bool {
        self.ended.is_cancelled()
    }

    /// Waits for the end of its program.
    pub(super) async fn ended(&self) {
        self.ended.cancelled().await;
    }

    fn leadership(&self) -> MutexGuard<'_, Leadership> {
        self.leadership.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// A program that has just been started.
struct Prepared {
    terminal: Terminal,
    program: Program,
    control: ControlDirectory,
    id: Option<String>,
    command: String,
    shown: Option<String>,
    size: Size,
    history: usize,
}

/// Finds the program, makes the control directory and starts it. May block.
fn prepare(request: Request, surroundings: &Surroundings) -> Result<Prepared, Error> {
    let options = request.options.unwrap_or_default();
    let home = &surroundings.places.home;
    let control = surroundings.control.session().map_err(Error::Control)?;
    let environment = environment::compose(&surroundings.environment, &options, &surroundings.places, control.path());
    let directory = environment::directory(home, options.cwd.as_deref());
    let init = environment::init_file(home, &options);
    let args = request.args.unwrap_or_default();
    let Choice { program, name, args } =
        environment::choose(request.command.as_deref(), &args, &environment, &directory, init.as_deref())?;
    let size = size(options.rows.or(Some(24.0)), options.cols.or(Some(80.0))).unwrap_or_default();
    let shown = environment::shown(&directory.canonicalize().unwrap_or(directory.clone()), &surroundings.places);
    let launch = Launch {
        program,
        name: name.clone().into(),
        args: args.into_iter().map(Into::into).collect(),
        directory,
        environment,
        size,
    };
    let (terminal, program) = pty::open(&launch)?;
    let history = options.max_history_length.map_or(surroundings.limits.history_chars, count).min(MAX_HISTORY_CHARS);
    let history = if options.id.is_some() { history } else { 0 };
    Ok(Prepared { terminal, program, control, id: options.id, command: name, shown, size, history })
}

impl Prepared {
    fn run(self, surroundings: Arc<Surroundings>, permit: OwnedSemaphorePermit) -> Session {
        let now = Instant::now();
        let limits = &surroundings.limits;
        let leadership = Arc::new(Mutex::new(Leadership::new(limits.leader_timeout, now)));
        let (commands, command_queue) = mpsc::channel(WAITING_COMMANDS);
        let (input, input_queue) = mpsc::channel(WAITING_INPUT);
        let ended = CancellationToken::new();
        let terminal = Arc::new(self.terminal);
        tracing::debug!(pid = self.program.pid(), "terminal session started");
        surroundings.tasks.spawn(type_in(terminal.clone(), input_queue, ended.clone()));
        let owner = Owner {
            id: self.id,
            command: self.command,
            shown: self.shown,
            started: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis() as u64),
            size: self.size,
            terminal,
            program: self.program,
            control: self.control,
            output: Output::new(self.history),
            joiner: Utf8Joiner::default(),
            members: Members::new(leadership.clone(), limits.interval()),
            pace: ReadPace::new(limits.interval(), now),
            commands: command_queue,
            ended: ended.clone(),
            looked: now,
            look: None,
            surroundings: surroundings.clone(),
        };
        surroundings.tasks.spawn(owner.run(permit));
        Session { commands, input, leadership, ended }
    }
}

/// Types what clients send, waiting for the program to take it.
async fn type_in(terminal: Arc<Terminal>, mut queue: mpsc::Receiver<String>, ended: CancellationToken) {
    let typing = async {
        while let Some(piece) = queue.recv().await {
            if let Err(error) = terminal.write(piece.as_bytes()).await {
                tracing::debug!(%error, "terminal takes no input");
                return;
            }
        }
    };
    tokio::select! {
        () = typing => {}
        () = ended.cancelled() => {}
    }
}

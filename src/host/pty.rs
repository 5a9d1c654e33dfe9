//! Pseudo-terminals and the programs in them.
//!
//! [`open`] makes a pseudo-terminal and starts a program in a session of its own whose controlling terminal it is. What comes back is
//! the near end, a [`Terminal`], and the [`Program`]. A program that can't be started is an error of `open`, with the reason.
//!
//! The far end is kept open here until [`Terminal::release`]: programs may close and reopen their terminal at will, and only the
//! end of the program ends the terminal. After `release` a read tells the end when the last program that holds the terminal is gone.

#![allow(unsafe_code)]

mod processes;

#[cfg(test)]
mod tests;

use std::{
    ffi::{OsStr, OsString},
    fmt,
    fs::File,
    io::{self, Read, Write},
    os::fd::{AsRawFd, OwnedFd, RawFd},
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Mutex,
    time::Duration,
};

use nix::{
    fcntl::{OFlag, open as open_file},
    libc,
    pty::{grantpt, posix_openpt, ptsname_r, unlockpt},
    sys::{
        resource::{Resource, setrlimit},
        stat::Mode,
        termios::{InputFlags, SetArg, tcgetattr, tcsetattr},
    },
    unistd::{AccessFlags, access, setsid},
};
use tokio::io::unix::AsyncFd;

pub use processes::Session;

use super::{environment::Environment, process};

/// Where programs are looked for when the environment has no `PATH`.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How long to wait for the terminal to take more input before trying again anyway.
const WRITE_RETRY: Duration = Duration::from_millis(250);

/// Requests to the terminal driver.
mod request {
    nix::ioctl_write_int_bad!(set_controlling_terminal, nix::libc::TIOCSCTTY);
    nix::ioctl_write_ptr_bad!(set_size, nix::libc::TIOCSWINSZ, nix::libc::winsize);
}

/// What can go wrong with a terminal.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system gives no pseudo-terminal.
    #[error("no pseudo-terminal can be opened: {0}")]
    Open(#[source] io::Error),
    /// The program can't be started.
    #[error("{} can't be started: {source}", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// Size of a terminal in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Lines.
    pub rows: u16,
    /// Columns.
    pub cols: u16,
}

impl Default for Size {
    fn default() -> Self {
        Size { rows: 24, cols: 80 }
    }
}

/// What to start, where, and with which environment.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The file to run, as found by [`find_program`].
    pub program: PathBuf,
    /// The name it gets as its argument 0.
    pub name: OsString,
    /// Its other arguments.
    pub args: Vec<OsString>,
    /// The directory it starts in.
    pub directory: PathBuf,
    /// Its whole environment.
    pub environment: Environment,
    /// First size of the terminal.
    pub size: Size,
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this status.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exit::Code(code) => write!(f, "status {code}"),
            Exit::Signal(signal) => write!(f, "signal {signal}"),
        }
    }
}

/// The near end of a pseudo-terminal: what a person at a screen and a keyboard would have.
#[derive(Debug)]
pub struct Terminal {
    master: AsyncFd<File>,
    slave: Mutex<Option<OwnedFd>>,
}

impl Terminal {
    /// Waits for output, then takes what is there, `limit` bytes at most (rounded up to what one read gives). Returns `false` at the end.
    /// Nothing is lost when the future is dropped.
    pub async fn read(&self, buffer: &mut Vec<u8>, limit: usize) -> io::Result<bool> {
        let mut piece = [0_u8; 4096];
        loop {
            let mut ready = self.master.readable().await?;
            let mut taken = 0;
            loop {
                match ready.try_io(|master| master.get_ref().read(&mut piece)) {
                    Ok(Ok(0)) => return Ok(taken > 0),
                    Ok(Ok(n)) => {
                        buffer.extend(piece.iter().take(n));
                        taken += n;
                        if taken >= limit {
                            return Ok(true);
                        }
                    }
                    Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                    // The far end has no holder any more.
                    Ok(Err(error)) if error.raw_os_error() == Some(libc::EIO) => return Ok(taken > 0),
                    Ok(Err(error)) => return if taken > 0 { Ok(true) } else { Err(error) },
                    Err(_would_block) => break,
                }
            }
            if taken > 0 {
                return Ok(true);
            }
        }
    }

    /// Writes all bytes, waiting for the program to take them.
    pub async fn write(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            // The driver wakes writers only when its buffer has fallen below a mark, so look again now and then.
            let ready = match tokio::time::timeout(WRITE_RETRY, self.master.writable()).await {
                Ok(ready) => Some(ready?),
                Err(_elapsed) => None,
            };
            let result = match ready {
                Some(mut ready) => match ready.try_io(|master| master.get_ref().write(bytes)) {
                    Ok(result) => result,
                    Err(_would_block) => continue,
                },
                None => self.master.get_ref().write(bytes),
            };
            match result {
                Ok(n) => bytes = bytes.get(n..).unwrap_or_default(),
                Err(error) if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Changes the size; the programs in the foreground get `SIGWINCH`.
    pub fn resize(&self, size: Size) -> io::Result<()> {
        set_size(self.master.get_ref().as_raw_fd(), size)
    }

    /// Lets go of the far end: from now on a read tells the end when no program holds the terminal any more.
    pub fn release(&self) {
        let mut slave = self.slave.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        *slave = None;
    }
}

/// A program in a terminal. When it is dropped while it runs, it is killed and reaped in the background.
#[derive(Debug)]
pub struct Program {
    child: tokio::process::Child,
    session: Session,
}

impl Program {
    /// Its process id.
    pub fn pid(&self) -> i32 {
        self.session.id()
    }

    /// The session it leads: itself and everything started from it that has not left.
    pub fn session(&self) -> Session {
        self.session
    }

    /// Waits for its end. May be called again; the answer stays the same.
    pub async fn wait(&mut self) -> io::Result<Exit> {
        let status = self.child.wait().await?;
        Ok(match (status.code(), status.signal()) {
            (Some(code), _) => Exit::Code(code),
            (None, Some(signal)) => Exit::Signal(signal),
            (None, None) => Exit::Code(-1),
        })
    }

    /// The directory it is in now, if the system tells.
    pub fn directory(&self) -> Option<PathBuf> {
        std::fs::read_link(format!("/proc/{}/cwd", self.pid())).ok()
    }
}

/// Looks a program up: a name with a slash is relative to `directory`, any other is looked for in `path`.
pub fn find_program(name: &OsStr, path: Option<&OsStr>, directory: &Path) -> Option<PathBuf> {
    let runnable = |file: &PathBuf| file.is_file() && access(file.as_path(), AccessFlags::X_OK).is_ok();
    if name.is_empty() {
        return None;
    }
    if name.as_encoded_bytes().contains(&b'/') {
        return Some(directory.join(name)).filter(runnable);
    }
    std::env::split_paths(path.unwrap_or(OsStr::new(DEFAULT_PATH)))
        .map(|entry| directory.join(entry).join(name))
        .find(runnable)
}

/// Opens a pseudo-terminal and starts a program in it. It waits until the program has replaced this one's copy, so it belongs
/// on a thread that may block; it must be called inside the runtime.
pub fn open(launch: &Launch) -> Result<(Terminal, Program), Error> {
    let (master, slave) = open_pair().map_err(Error::Open)?;
    set_size(master.as_raw_fd(), launch.size).map_err(Error::Open)?;
    let start_error = |source| Error::Start { program: launch.program.clone(), source };
    let far_end = || slave.try_clone().map(Stdio::from).map_err(start_error);
    let mut command = tokio::process::Command::new(&launch.program);
    command
        .arg0(&launch.name)
        .args(&launch.args)
        .current_dir(&launch.directory)
        .env_clear()
        .envs(&launch.environment)
        .stdin(far_end()?)
        .stdout(far_end()?)
        .stderr(far_end()?)
        .kill_on_drop(true);
    let descriptors = process::inherited_max_descriptors();
    // SAFETY: `prepare` runs between fork and exec and makes only system calls that are async-signal-safe; it takes no lock and
    // allocates nothing.
    unsafe { command.pre_exec(move || prepare(descriptors)) };
    let child = command.spawn().map_err(start_error)?;
    let pid = child
        .id()
        .and_then(|pid| i32::try_from(pid).ok())
        .ok_or_else(|| start_error(io::ErrorKind::NotFound.into()))?;
    // SAFETY: the file owns its descriptor, is owned by the registration, and is never exchanged for another.
    let master = unsafe { AsyncFd::register(master) }.map_err(|error| Error::Open(error.into()))?;
    Ok((Terminal { master, slave: Mutex::new(Some(slave)) }, Program { child, session: Session::new(pid) }))
}

/// Opens both ends, close-on-exec, the near one non-blocking.
fn open_pair() -> io::Result<(File, OwnedFd)> {
    let master = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let name = ptsname_r(&master)?;
    let slave = open_file(name.as_str(), OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC, Mode::empty())?;
    // Lets the driver erase whole characters. A terminal without it works too.
    if let Ok(mut modes) = tcgetattr(&slave) {
        modes.input_flags |= InputFlags::IUTF8;
        let _ = tcsetattr(&slave, SetArg::TCSANOW, &modes);
    }
    Ok((File::from(OwnedFd::from(master)), slave))
}

fn set_size(fd: RawFd, size: Size) -> io::Result<()> {
    let size = libc::winsize { ws_row: size.rows, ws_col: size.cols, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the descriptor is open for as long as its owner is borrowed by the caller, and the kernel only reads the structure.
    unsafe { request::set_size(fd, &size) }?;
    Ok(())
}

/// Between fork and exec: a new session with the terminal as its controlling terminal, signals as a fresh login has them, and no
/// descriptor of ours.
fn prepare(descriptors: Option<(u64, u64)>) -> io::Result<()> {
    setsid()?;
    if let Some((soft, hard)) = descriptors {
        // A server needs more descriptors than is good for programs that use `select`.
        setrlimit(Resource::RLIMIT_NOFILE, soft, hard)?;
    }
    // SAFETY: descriptor 0 is the far end of the terminal; the request takes an integer.
    unsafe { request::set_controlling_terminal(libc::STDIN_FILENO, 0) }?;
    // The kernel's `struct sigaction` of the default disposition is all zeros, and this is longer than it on every architecture. The
    // C library's function would refuse the signals it keeps for itself, but those can have been left ignored by our parent, too.
    let default = [0_u64; 8];
    for signal in 1..=64 {
        // SAFETY: the kernel reads the zeros and installs no code; signals that can't be changed are refused, which is fine.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                default.as_ptr(),
                std::ptr::null_mut::<u64>(),
                size_of::<u64>(),
            );
        }
    }
    // SAFETY: the set is initialised by `sigemptyset` before it is read, and lives on this stack.
    unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut());
    }
    close_others();
    Ok(())
}

/// Marks every descriptor but the first three close-on-exec. They are not closed right away: one of them reports a failing exec.
fn close_others() {
    const FIRST: libc::c_uint = 3;
    // SAFETY: the call takes three integers and changes flags of descriptors only.
    let done = unsafe { libc::syscall(libc::SYS_close_range, FIRST, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if done == 0 {
        return;
    }
    // Kernels before 5.11: one by one.
    for fd in 3..4096 {
        // SAFETY: as above; a number that is no descriptor is refused.
        unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
}

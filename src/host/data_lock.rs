//! One process at a time may use a data directory: databases have one writer.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
};
use thiserror::Error;

/// Name of the file, in the data directory. It stays; what counts is who has it locked.
pub const FILE: &str = "lock";

/// Why a data directory can't be used.
#[derive(Debug, Error)]
pub enum Error {
    /// Another process uses it.
    #[error("{}: in use by {owner}; stop it first, or use another data directory", data.display())]
    InUse {
        /// The directory.
        data: PathBuf,
        /// The process, as far as it is known.
        owner: String,
    },
    /// The file can't be made or locked.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
}

/// The right to use a data directory, as long as it lives. The system takes it back when the process ends, however it ends.
#[derive(Debug)]
pub struct DataLock {
    _file: Flock<File>,
}

/// Takes the data directory, which must exist.
///
/// # Errors
/// See [`Error`].
pub fn acquire(data: &Path) -> Result<DataLock, Error> {
    let path = data.join(FILE);
    let io = |source| Error::Io { path: path.clone(), source };
    let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
    match Flock::lock(open.map_err(io)?, FlockArg::LockExclusiveNonblock) {
        Ok(mut file) => {
            // For people, and for the message of whoever comes second.
            file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(io)?;
            Ok(DataLock { _file: file })
        }
        Err((mut file, Errno::EWOULDBLOCK)) => {
            let mut text = String::new();
            let number = file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse::<u32>().ok());
            let owner = number.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"));
            Err(Error::InUse { data: data.to_owned(), owner })
        }
        Err((_, errno)) => Err(io(errno.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_has_it_and_it_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let lock = acquire(folder.path()).unwrap();
        let error = acquire(folder.path()).unwrap_err().to_string();
        assert!(error.contains(&format!("in use by process {}", std::process::id())), "{error}");
        drop(lock);
        acquire(folder.path()).unwrap();
    }

    #[test]
    fn a_missing_directory_is_named() {
        let error = acquire(Path::new("/nowhere/at/all")).unwrap_err().to_string();
        assert!(error.starts_with("/nowhere/at/all/lock: "), "{error}");
    }
}

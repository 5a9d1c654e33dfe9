//! What goes wrong with files, in words for people. No paths: whoever asked knows them.

use std::io;

use nix::errno::Errno;
use thiserror::Error;

/// Why a file can't be had.
#[derive(Debug, Error)]
pub enum Error {
    /// It would be outside of home.
    #[error("the path leads out of the home directory")]
    Outside,
    /// No file can have that path.
    #[error("this is not a valid path")]
    BadPath,
    /// There is nothing.
    #[error("no such file or directory")]
    NotFound,
    /// A device, a pipe or a socket.
    #[error("this is neither a file nor a directory")]
    Special,
    /// A directory where a file is needed.
    #[error("there is a directory of this name")]
    IsDirectory,
    /// A file where a directory is needed.
    #[error("a part of the path is not a directory")]
    NotDirectory,
    /// The system says no.
    #[error("permission denied")]
    Denied,
    /// No room.
    #[error("there is no space left on the disk")]
    Full,
    /// More than an archive may have.
    #[error("the directory has too many files, or is too deep")]
    TooMuch,
    /// Anything else.
    #[error("input/output error: {0}")]
    Io(#[source] io::Error),
}

/// What an operation on files gives.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Error {
        let Some(code) = error.raw_os_error() else {
            return match error.kind() {
                // Not said by the system: a path that would have led out.
                io::ErrorKind::PermissionDenied => Error::Outside,
                io::ErrorKind::InvalidInput => Error::BadPath,
                _ => Error::Io(error),
            };
        };
        match Errno::from_raw(code) {
            Errno::ENOENT | Errno::ELOOP | Errno::ENAMETOOLONG => Error::NotFound,
            // `EEXIST`: where a folder should be made is a link to nothing.
            Errno::ENOTDIR | Errno::EEXIST => Error::NotDirectory,
            Errno::EISDIR => Error::IsDirectory,
            Errno::EACCES | Errno::EPERM | Errno::EROFS => Error::Denied,
            Errno::ENOSPC | Errno::EDQUOT | Errno::EFBIG => Error::Full,
            Errno::EXDEV => Error::Outside,
            // A socket, or a device without a driver.
            Errno::ENXIO | Errno::ENODEV => Error::Special,
            _ => Error::Io(error),
        }
    }
}

//! Where paths from outside lead.

use std::{
    fs::{File, Metadata},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Component, Path, PathBuf},
};

use cap_std::{
    ambient_authority,
    fs::{Dir, OpenOptionsExt as _},
};
use nix::fcntl::OFlag;

use super::{Error, Result};
use crate::config::FileReach;

/// The prefix under which clients name absolute paths (hub.md §6.1).
const MACHINE_ROOT: &str = ".smc/root";

/// The project's home directory, and how far paths reach from it.
#[derive(Clone, Debug)]
pub struct Home {
    root: PathBuf,
    reach: FileReach,
}

/// What a path led to.
#[derive(Debug)]
pub enum Opened {
    /// A regular file, open for reading.
    File(File, Metadata),
    /// A folder.
    Folder(Dir),
}

/// A path that was understood.
enum Place {
    /// Below home and never out of it, whatever links there are.
    Beneath(PathBuf),
    /// Anywhere, absolute.
    Anywhere(PathBuf),
}

impl Home {
    /// The directory need not be there yet.
    pub fn new(root: PathBuf, reach: FileReach) -> Home {
        Home { root, reach }
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn place(&self, path: &Path) -> Result<Place> {
        if path.as_os_str().as_encoded_bytes().contains(&0) {
            return Err(Error::BadPath);
        }
        let absolute = match path.strip_prefix(MACHINE_ROOT) {
            Ok(rest) => Some(Path::new("/").join(rest)),
            Err(_) => path.is_absolute().then(|| path.to_owned()),
        };
        match (self.reach, absolute) {
            (FileReach::Machine, absolute) => Ok(Place::Anywhere(absolute.unwrap_or_else(|| self.root.join(path)))),
            (FileReach::Home, None) => Ok(Place::Beneath(path.to_owned())),
            (FileReach::Home, Some(absolute)) => match absolute.strip_prefix(&self.root) {
                Ok(rest) => Ok(Place::Beneath(rest.to_owned())),
                Err(_) => Err(Error::Outside),
            },
        }
    }

    /// Opens a file for reading, or a folder. Never waits for the other end of a pipe and never opens a device, which can
    /// have effects.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn open(&self, path: &Path) -> Result<Opened> {
        match self.place(path)? {
            Place::Anywhere(path) => {
                let metadata = std::fs::metadata(&path)?;
                if metadata.is_dir() {
                    return Ok(Opened::Folder(Dir::open_ambient_dir(&path, ambient_authority())?));
                }
                if !metadata.is_file() {
                    return Err(Error::Special);
                }
                regular(std::fs::OpenOptions::new().read(true).custom_flags(careful().bits()).open(&path)?)
            }
            Place::Beneath(path) => {
                let home = self.home()?;
                if is_empty(&path) {
                    return Ok(Opened::Folder(home));
                }
                let metadata = home.metadata(&path)?;
                if metadata.is_dir() {
                    return Ok(Opened::Folder(home.open_dir(&path)?));
                }
                if !metadata.is_file() {
                    return Err(Error::Special);
                }
                let mut options = cap_std::fs::OpenOptions::new();
                options.read(true).custom_flags(careful().bits());
                regular(home.open_with(&path, &options)?.into_std())
            }
        }
    }

    /// Opens a folder in which something will be written, making it with its parents when it is not there. The path may go
    /// down only.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn make_folder(&self, path: &Path) -> Result<Dir> {
        if path.components().any(|part| part == Component::ParentDir) {
            return Err(Error::Outside);
        }
        match self.place(path)? {
            Place::Anywhere(path) => {
                std::fs::create_dir_all(&path)?;
                Ok(Dir::open_ambient_dir(&path, ambient_authority())?)
            }
            Place::Beneath(path) => {
                let home = self.home()?;
                if is_empty(&path) {
                    return Ok(home);
                }
                // Through a link to a folder inside, `create_dir_all` finds a file of the name.
                match home.open_dir(&path) {
                    Ok(folder) => return Ok(folder),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => home.create_dir_all(&path)?,
                    Err(error) => return Err(error.into()),
                }
                Ok(home.open_dir(&path)?)
            }
        }
    }

    /// The absolute path of a folder that [`Home::make_folder`] gives, for records.
    pub(super) fn absolute(&self, path: &Path) -> Result<PathBuf> {
        Ok(match self.place(path)? {
            Place::Anywhere(path) => path,
            Place::Beneath(path) => self.root.join(path),
        })
    }

    /// Opened each time, so that a home that is mounted or replaced later is the one that is used.
    fn home(&self) -> io::Result<Dir> {
        Dir::open_ambient_dir(&self.root, ambient_authority())
    }
}

/// Flags with which nothing but a regular file can be opened unnoticed.
pub(super) fn careful() -> OFlag {
    OFlag::O_NONBLOCK | OFlag::O_NOCTTY
}

fn is_empty(path: &Path) -> bool {
    path.components().all(|part| part == Component::CurDir)
}

/// What was looked at may have been replaced before it was opened.
fn regular(file: File) -> Result<Opened> {
    let metadata = file.metadata()?;
    if metadata.is_file() { Ok(Opened::File(file, metadata)) } else { Err(Error::Special) }
}

//! Knowing when files arrive in a directory, without looking again and again.

#![allow(unsafe_code)]

use std::{
    fs::File,
    io::{self, Read},
    os::fd::OwnedFd,
    path::Path,
};

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::io::unix::AsyncFd;

/// Watches one directory for files that are moved into it or have been written.
#[derive(Debug)]
pub struct DirectoryWatch(AsyncFd<File>);

impl DirectoryWatch {
    /// Begins to watch. Must be called inside the runtime.
    ///
    /// # Errors
    /// When the directory isn't there, or the user watches too much already.
    pub fn new(directory: &Path) -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        inotify.add_watch(directory, AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_CLOSE_WRITE)?;
        let file = File::from(OwnedFd::from(inotify));
        // SAFETY: the file owns its descriptor, is owned by the registration, and is never exchanged for another.
        let watch = unsafe { AsyncFd::register(file) }?;
        Ok(DirectoryWatch(watch))
    }

    /// Waits until something has arrived since the last call. What it was is for the caller to find out.
    ///
    /// # Errors
    /// When watching has become impossible.
    pub async fn changed(&self) -> io::Result<()> {
        let mut events = [0_u8; 4096];
        loop {
            let mut ready = self.0.readable().await?;
            if let Ok(result) = ready.try_io(|watch| watch.get_ref().read(&mut events)) {
                return result.map(|_bytes| ());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn directory_watch_tells_arrivals() {
        let directory = tempfile::tempdir().unwrap();
        let watch = DirectoryWatch::new(directory.path()).unwrap();
        for name in ["a", "b"] {
            std::fs::write(directory.path().join(name), "x").unwrap();
            tokio::time::timeout(Duration::from_secs(20), watch.changed()).await.unwrap().unwrap();
        }
        assert!(DirectoryWatch::new(&directory.path().join("missing")).is_err());
    }
}

//! Copies of streams as files of the reference implementation (conat-persist.md §9.5).
//!
//! Below the *archive* root each stream has a file that follows it: written after changes, once in an interval at most, and
//! when the stream is released. A stream whose file is newer than itself, or that is not there, is taken from the file when
//! it is opened. Below the *backup* root the file is written when the stream is released, and never read.
//!
//! Copies are made by one task, one after the other. That one fails is logged, and tried again with the next change; requests never
//! notice.

#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures_util::{FutureExt as _, future::BoxFuture};
use parking_lot::Mutex;
use thiserror::Error;
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    reference::{self, EXTENSION, Outcome, Writer},
    store::{Inspected, Observer, Stream},
};

/// Names of folders and files may have so many bytes on the usual file systems.
const MAX_NAME_BYTES: usize = 255;

/// Where copies are kept.
#[derive(Clone, Debug)]
pub struct ArchiveOptions {
    /// `streams.db`.
    pub streams: PathBuf,
    /// Files that follow the streams, and may be newer.
    pub archive: Option<PathBuf>,
    /// Files that are only ever written.
    pub backup: Option<PathBuf>,
    /// Time between two copies of one stream into the archive.
    pub interval: Duration,
    /// Where temporary files may be made.
    pub scratch: PathBuf,
}

/// Keeps the copies.
#[derive(Debug)]
pub struct Archive {
    options: ArchiveOptions,
    streams: Mutex<HashMap<Arc<str>, Due>>,
    wake: Notify,
}

/// What is to be done for a stream.
#[derive(Clone, Copy, Debug)]
struct Due {
    /// When the archive's copy is due, if it is stale.
    archive: Option<Instant>,
    /// When the archive's copy was made last.
    archived: Option<Instant>,
    /// The backup's copy is stale.
    backup: bool,
    /// Nobody has the stream open any more.
    released: bool,
}

/// Why a copy was not made.
#[derive(Debug, Error)]
enum Error {
    #[error("a part of the path is too long for a file's name")]
    Name,
    #[error(transparent)]
    File(#[from] reference::Error),
    #[error("the store can't be read: {0}")]
    Store(#[from] rusqlite::Error),
    #[error("the time of the file can't be set: {0}")]
    Time(#[from] io::Error),
}

impl Archive {
    /// Archive and backup with these roots.
    pub fn new(options: ArchiveOptions) -> Archive {
        Archive { options, streams: Mutex::default(), wake: Notify::new() }
    }

    /// Makes copies until `until` is cancelled, and then all that are due sooner or later.
    pub async fn run(self: Arc<Self>, until: CancellationToken) {
        loop {
            let next = self.next_due();
            let now = Instant::now();
            match next {
                Some((path, when)) if when <= now => self.copy(path).await,
                _ => {
                    let pause = async {
                        match next {
                            Some((_, when)) => tokio::time::sleep_until(when).await,
                            None => std::future::pending().await,
                        }
                    };
                    tokio::select! {
                        () = pause => {}
                        () = self.wake.notified() => {}
                        () = until.cancelled() => break,
                    }
                }
            }
        }
        for path in self.release_all() {
            self.copy(path).await;
        }
    }

    /// The stream whose copy is due next.
    fn next_due(&self) -> Option<(Arc<str>, Instant)> {
        let streams = self.streams.lock();
        let due = streams.iter().filter_map(|(path, due)| Some((path, due.next()?)));
        due.min_by_key(|(_, when)| *when).map(|(path, when)| (path.clone(), when))
    }

    fn release_all(&self) -> Vec<Arc<str>> {
        let mut streams = self.streams.lock();
        streams.values_mut().for_each(|due| due.released = true);
        streams.keys().cloned().collect()
    }

    /// Makes the copies of a stream that are due.
    async fn copy(self: &Arc<Self>, path: Arc<str>) {
        let (to_archive, to_backup) = self.take(&path);
        let (archive, backup) = (self.options.archive.as_ref(), self.options.backup.as_ref());
        for root in [archive.filter(|_| to_archive), backup.filter(|_| to_backup)].into_iter().flatten() {
            let (streams, root, name) = (self.options.streams.clone(), root.clone(), path.clone());
            let copied = tokio::task::spawn_blocking(move || write(&streams, &name, &root)).await;
            let problem = match copied {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => error.to_string(),
                Err(error) => error.to_string(),
            };
            tracing::warn!(problem, "a stream could not be copied; it will be with its next change");
        }
    }

    /// What is to be done now; it counts as done.
    fn take(&self, path: &Arc<str>) -> (bool, bool) {
        let mut streams = self.streams.lock();
        let Some(due) = streams.get_mut(path) else { return (false, false) };
        let now = Instant::now();
        let to_archive = due.archive.is_some_and(|when| due.released || when <= now);
        let to_backup = due.backup && due.released;
        if to_archive {
            (due.archive, due.archived) = (None, Some(now));
        }
        due.backup &= !to_backup;
        if due.released {
            streams.remove(path);
        }
        (to_archive, to_backup)
    }

    /// Takes a stream from its file, if that is newer or there is none of it here.
    async fn restore(&self, root: &Path, stream: &Stream) -> Result<(), String> {
        let Some(file) = file_of(root, stream.path()) else { return Ok(()) };
        let archived = match tokio::fs::metadata(&file).await.and_then(|metadata| metadata.modified()) {
            Ok(modified) => ms(modified),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error.to_string()),
        };
        let here = stream.changed().await.map_err(|error| error.to_string())?;
        if here.is_some_and(|changed| changed >= archived) {
            return Ok(());
        }
        if here.is_some_and(|changed| changed > 0) {
            let cleared = async { stream.clear_for_adoption().await?.await };
            cleared.await.map_err(|error| error.to_string())?;
        }
        let outcome = reference::adopt(stream, file, &self.options.scratch).await.map_err(|error| error.to_string())?;
        if let Outcome::Taken { messages, refused, .. } = outcome {
            tracing::info!(messages, refused = refused.len(), "a stream was taken from the archive");
        }
        Ok(())
    }
}

impl Due {
    fn next(&self) -> Option<Instant> {
        if self.released && (self.backup || self.archive.is_some()) { Some(Instant::now()) } else { self.archive }
    }
}

impl Observer for Archive {
    fn opening<'a>(&'a self, stream: &'a Stream) -> BoxFuture<'a, ()> {
        async move {
            if let Some(due) = self.streams.lock().get_mut(stream.path()) {
                due.released = false;
            }
            if let Some(root) = &self.options.archive
                && let Err(problem) = self.restore(root, stream).await
            {
                tracing::warn!(problem, "a stream could not be taken from the archive");
            }
        }
        .boxed()
    }

    fn changed(&self, path: &Arc<str>) {
        let mut streams = self.streams.lock();
        let due = streams.entry(path.clone()).or_insert(Due {
            archive: None,
            archived: None,
            backup: false,
            released: false,
        });
        due.backup = self.options.backup.is_some();
        due.released = false;
        if self.options.archive.is_some() && due.archive.is_none() {
            let now = Instant::now();
            due.archive = Some(due.archived.map_or(now, |archived| (archived + self.options.interval).max(now)));
            drop(streams);
            self.wake.notify_one();
        }
    }

    fn released(&self, path: &Arc<str>) {
        if let Some(due) = self.streams.lock().get_mut(path) {
            due.released = true;
            self.wake.notify_one();
        }
    }
}

/// The file of a storage path below a root; `None` when no file can have that name.
fn file_of(root: &Path, path: &str) -> Option<PathBuf> {
    let file_name_bytes = path.rsplit('/').next().map_or(0, str::len) + 1 + EXTENSION.len();
    let fits = |part: &str| !part.is_empty() && part != "." && part != ".." && part.len() <= MAX_NAME_BYTES;
    let is_good = path.split('/').all(fits) && !path.contains('\0') && file_name_bytes <= MAX_NAME_BYTES;
    is_good.then(|| root.join(format!("{path}.{EXTENSION}")))
}

/// Writes the file of a stream below a root. The file gets the time of the stream's last change, so that it counts as newer
/// only if somebody else writes it.
fn write(streams: &Path, path: &str, root: &Path) -> Result<(), Error> {
    let file = file_of(root, path).ok_or(Error::Name)?;
    let Some(stream) = Inspected::open(streams, path)? else { return Ok(()) };
    let writer = Writer::begin(&file, &stream.header()?)?;
    let mut failed = None;
    stream.each(|message| match writer.add(&message) {
        Ok(()) => true,
        Err(error) => {
            failed = Some(error);
            false
        }
    })?;
    match failed {
        Some(error) => return Err(error.into()),
        None => writer.finish()?,
    }
    let changed = UNIX_EPOCH + Duration::from_millis(stream.changed);
    Ok(fs::OpenOptions::new().write(true).open(&file)?.set_modified(changed)?)
}

fn ms(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

//! Taking a stream's file into the store.

use std::path::{Path, PathBuf};

use thiserror::Error;
use tokio::{sync::mpsc, task::JoinError};

use super::ReferenceFile;
use crate::persist::store::{self, Adopted, Stream};

/// Messages are handed over in groups of about so many bytes of payload…
const GROUP_BYTES: usize = 1 << 20;
/// …or so many messages.
const GROUP_MESSAGES: usize = 500;
/// Groups that wait to be stored.
const GROUPS: usize = 2;

/// Why a stream can't be taken over.
#[derive(Debug, Error)]
pub enum Error {
    /// The file.
    #[error(transparent)]
    Source(#[from] super::Error),
    /// The store.
    #[error("{path}: {source}")]
    Store {
        /// The storage path.
        path: String,
        /// What happened.
        source: store::Error,
    },
    /// The thread that reads has ended.
    #[error("the file was not read to its end: {0}")]
    Panicked(#[from] JoinError),
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The stream is here now.
    Taken {
        /// Messages that were stored.
        messages: u64,
        /// Bytes of their payloads.
        bytes: u64,
        /// Messages that make no sense, with the reason.
        refused: Vec<String>,
    },
    /// The store has a stream of this path, which stays as it is.
    Present,
}

enum Part {
    Messages(Vec<Adopted>),
    Refused(String),
}

/// Takes a file into the store as this stream, unless that has a life of its own already. A file whose taking was cut off is continued.
///
/// # Errors
/// The file can't be read, or the store does not take it. What was stored until then is continued next time.
pub async fn adopt(stream: &Stream, file: PathBuf, scratch: &Path) -> Result<Outcome, Error> {
    let wrap = |source| Error::Store { path: stream.path().to_owned(), source };
    if stream.changed().await.map_err(wrap)?.is_some_and(|changed| changed > 0) {
        return Ok(Outcome::Present);
    }
    let scratch = scratch.to_owned();
    let (parts, mut arriving) = mpsc::channel(GROUPS);
    let reading = tokio::task::spawn_blocking(move || {
        let file = ReferenceFile::open(&file, &scratch)?;
        let header = file.header()?;
        read(&file, &parts)?;
        Ok::<_, super::Error>(header)
    });
    let (mut messages, mut bytes, mut refused) = (0, 0, Vec::new());
    while let Some(part) = arriving.recv().await {
        match part {
            Part::Refused(reason) => refused.push(reason),
            Part::Messages(group) => {
                bytes += group.iter().map(|message| message.stored.raw.len() as u64).sum::<u64>();
                let stored = async { stream.adopt(group).await?.await };
                messages += stored.await.map_err(wrap)?;
            }
        }
    }
    let header = reading.await??;
    let finished = async { stream.finish_adoption(header).await?.await };
    finished.await.map_err(wrap)?;
    Ok(Outcome::Taken { messages, bytes, refused })
}

/// Sends what is in a file, in groups. Stops when nobody takes them any more.
fn read(file: &ReferenceFile, parts: &mpsc::Sender<Part>) -> Result<(), super::Error> {
    let (mut group, mut bytes) = (Vec::new(), 0);
    let mut is_wanted = true;
    file.rows(|row| {
        let part = match row {
            Ok(message) => {
                bytes += message.stored.raw.len();
                group.push(message);
                if bytes < GROUP_BYTES && group.len() < GROUP_MESSAGES {
                    return is_wanted;
                }
                bytes = 0;
                Part::Messages(std::mem::take(&mut group))
            }
            Err(error) => Part::Refused(error.to_string()),
        };
        is_wanted = is_wanted && parts.blocking_send(part).is_ok();
        is_wanted
    })?;
    if is_wanted && !group.is_empty() {
        // Whoever has gone does not want it.
        let _ = parts.blocking_send(Part::Messages(group));
    }
    Ok(())
}

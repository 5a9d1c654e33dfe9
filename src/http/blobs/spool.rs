//! Content while it comes in: little of it in memory, more of it in a file without a name, which a crash removes too.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _},
    path::Path,
    sync::Arc,
};

use bytes::Bytes;

use crate::{
    hub::blobs::Draft,
    project::files::{Error, Threads},
};

/// What stays in memory.
const MEMORY_BYTES: usize = 512 << 10;

/// Content that grows. What was written behind a place can be written again from there.
#[derive(Debug)]
pub(super) enum Spool {
    Memory(Vec<u8>),
    Disk(Arc<File>),
}

impl Spool {
    pub(super) fn new() -> Spool {
        Spool::Memory(Vec::new())
    }

    /// Writes behind the first `at` bytes.
    pub(super) async fn write(
        &mut self,
        threads: &Threads,
        folder: &Path,
        at: usize,
        bytes: Bytes,
    ) -> Result<(), Error> {
        let file = match self {
            Spool::Memory(memory) => {
                memory.truncate(at);
                if at.saturating_add(bytes.len()) <= MEMORY_BYTES {
                    memory.extend_from_slice(&bytes);
                    return Ok(());
                }
                let (folder, begun) = (folder.to_owned(), std::mem::take(memory));
                let file = threads.run(move || Ok(Arc::new(self::file(&folder, &begun)?)));
                let file = file.await?;
                *self = Spool::Disk(file.clone());
                file
            }
            Spool::Disk(file) => file.clone(),
        };
        threads.run(move || Ok(file.write_all_at(&bytes, at as u64)?)).await
    }

    /// The first `length` bytes, ready to be stored.
    pub(super) async fn read(&mut self, threads: &Threads, length: usize) -> Result<Draft, Error> {
        let mut draft = Draft::new(length);
        match self {
            Spool::Memory(memory) => {
                draft.buffer().extend_from_slice(memory.get(..length).unwrap_or_default());
                Ok(draft)
            }
            Spool::Disk(file) => {
                let file = file.clone();
                threads
                    .run(move || {
                        let buffer = draft.buffer();
                        let start = buffer.len();
                        buffer.resize(start.saturating_add(length), 0);
                        file.read_exact_at(buffer.get_mut(start..).unwrap_or_default(), 0)?;
                        Ok(draft)
                    })
                    .await
            }
        }
    }
}

/// A file with this content and no name.
pub(super) fn file(folder: &Path, content: &[u8]) -> Result<File, Error> {
    let file = nameless(folder)?;
    file.write_all_at(content, 0)?;
    Ok(file)
}

fn nameless(folder: &Path) -> io::Result<File> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let path = folder.join(format!("{:016x}", fastrand::u64(..)));
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    fs::remove_file(&path)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_broke_off_is_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let threads = Threads::new(1);
        let piece = |byte: u8, size: usize| Bytes::from(vec![byte; size]);
        for size in [10, 400_000] {
            let mut spool = Spool::new();
            spool.write(&threads, folder.path(), 0, piece(1, size)).await.unwrap();
            spool.write(&threads, folder.path(), size, piece(9, size + 1)).await.unwrap();
            spool.write(&threads, folder.path(), size, piece(2, size)).await.unwrap();
            let mut draft = spool.read(&threads, 2 * size).await.unwrap();
            let mut expected = Draft::new(2 * size);
            expected.buffer().extend([vec![1; size], vec![2; size]].concat());
            assert!(draft.buffer() == expected.buffer(), "{size}");
            assert_eq!(matches!(spool, Spool::Disk(_)), size > 10);
        }
        // Nothing is left behind, whatever happens now.
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}

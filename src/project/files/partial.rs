//! Files that appear when they are complete: written under another name beside the target, synced, renamed.
//!
//! What is being written is recorded in a folder of the server, so that the next start removes what a crash left.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, File, Permissions},
    io::{self, Write as _},
    os::unix::{
        ffi::{OsStrExt as _, OsStringExt as _},
        fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _, PermissionsExt as _, fchown},
    },
    path::{Path, PathBuf},
    sync::Arc,
};

use cap_std::fs::{Dir, MetadataExt as _, OpenOptions};
use tokio::runtime::Handle;

use super::{Error, Home, Result};

/// What marks the name of a file that is not complete.
const MARK: &str = ".partialupload-";
/// Longest name of a file.
const NAME_BYTES: usize = 255;

/// Makes [`Partial`]s and keeps their records.
#[derive(Clone, Debug)]
pub struct Partials {
    records: Arc<PathBuf>,
}

impl Partials {
    /// Records are kept in `records`, a folder of the server. Removes what an earlier run left; blocks.
    pub fn open(records: PathBuf) -> Partials {
        for record in fs::read_dir(&records).into_iter().flatten().flatten() {
            let path = record.path();
            if let Ok(left) = fs::read(&path)
                && let Some(token) = path.file_name()
            {
                let left = PathBuf::from(OsString::from_vec(left));
                // The random part of the name makes it ours.
                let ours = |name: &OsStr| name.as_bytes().ends_with(&[MARK.as_bytes(), token.as_bytes()].concat());
                if left.file_name().is_some_and(ours) && fs::remove_file(&left).is_ok() {
                    tracing::info!("removed a part of an upload that was broken off");
                }
            }
            // Without its record a partial file is nothing but a file.
            let _ = fs::remove_file(&path);
        }
        Partials { records: Arc::new(records) }
    }

    /// Begins a file `name` in `folder`, which is made with its parents; blocks.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn begin(&self, home: &Home, folder: &Path, name: &OsStr) -> Result<Partial> {
        if !is_name(name) {
            return Err(Error::BadPath);
        }
        let dir = home.make_folder(folder)?;
        if dir.symlink_metadata(name).is_ok_and(|metadata| metadata.is_dir()) {
            return Err(Error::IsDirectory);
        }
        let mut token = [0; 8];
        getrandom::fill(&mut token).map_err(|error| Error::Io(io::Error::other(error)))?;
        let token = hex::encode(token);
        let temporary = temporary_name(name, &token);
        let record = self.record(&token, &home.absolute(folder)?.join(&temporary))?;
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        let file = match dir.open_with(&temporary, &options) {
            Ok(file) => Arc::new(file.into_std()),
            Err(error) => {
                let _ = fs::remove_file(&record);
                return Err(error.into());
            }
        };
        let place = Some(Place { dir, temporary, target: name.to_owned(), record });
        let mut partial = Partial { place, file, mode: 0 };
        // Made with what the process gives new files; until it is complete it is nobody else's business.
        partial.mode = partial.file.metadata()?.mode() & 0o7777;
        partial.file.set_permissions(Permissions::from_mode(0o600))?;
        Ok(partial)
    }

    fn record(&self, token: &str, path: &Path) -> io::Result<PathBuf> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&*self.records)?;
        let record = self.records.join(token);
        File::create_new(&record)?.write_all(path.as_os_str().as_bytes())?;
        Ok(record)
    }
}

/// A file that is not complete yet. Dropping it removes it.
#[derive(Debug)]
pub struct Partial {
    place: Option<Place>,
    file: Arc<File>,
    mode: u32,
}

/// Where it is.
#[derive(Debug)]
struct Place {
    dir: Dir,
    temporary: OsString,
    target: OsString,
    record: PathBuf,
}

impl Partial {
    /// What writes into it at some place; blocks when it is used.
    pub fn writer(&self) -> impl Fn(&[u8], u64) -> Result<()> + Send + use<> {
        let file = self.file.clone();
        move |bytes, at| Ok(file.write_all_at(bytes, at)?)
    }

    /// Gives the file its name, with the permissions of the file it replaces, once its `length` bytes are on the disk;
    /// blocks.
    ///
    /// # Errors
    /// See [`Error`]; the target is as it was.
    pub fn commit(mut self, length: u64) -> Result<()> {
        let Some(place) = &self.place else { return Err(Error::NotFound) };
        self.file.set_len(length)?;
        let replaced = place.dir.symlink_metadata(&place.target).ok().filter(cap_std::fs::Metadata::is_file);
        if let Some(replaced) = &replaced {
            let own = self.file.metadata()?;
            if (replaced.uid(), replaced.gid()) != (own.uid(), own.gid()) {
                // Possible for root only; anybody else's file becomes the writer's, as with any editor that renames.
                let _ = fchown(&*self.file, Some(replaced.uid()), Some(replaced.gid()));
            }
        }
        let mode = replaced.map_or(self.mode, |replaced| replaced.mode() & 0o7777);
        self.file.set_permissions(Permissions::from_mode(mode))?;
        self.file.sync_all()?;
        place.dir.rename(&place.temporary, &place.dir, &place.target)?;
        if let Some(place) = self.place.take() {
            // The name itself; some file systems can't.
            let _ = place.dir.open(".").and_then(|folder| folder.sync_all());
            let _ = fs::remove_file(&place.record);
        }
        Ok(())
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        let Some(place) = self.place.take() else { return };
        let remove = move || {
            // It may have been removed by somebody else.
            let _ = place.dir.remove_file(&place.temporary);
            let _ = fs::remove_file(&place.record);
        };
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(remove)),
            Err(_) => remove(),
        }
    }
}

/// Whether a folder can have a file of this name.
fn is_name(name: &OsStr) -> bool {
    let bytes = name.as_bytes();
    !matches!(bytes, b"" | b"." | b"..") && bytes.len() <= NAME_BYTES && !bytes.iter().any(|b| matches!(b, b'/' | 0))
}

/// Hidden, beside the target, and short enough.
fn temporary_name(name: &OsStr, token: &str) -> OsString {
    let room = NAME_BYTES.saturating_sub(1 + MARK.len() + token.len());
    let name = name.as_bytes();
    let kept = name.get(..room).unwrap_or(name);
    OsString::from_vec([b".", kept, MARK.as_bytes(), token.as_bytes()].concat())
}

//! A folder as a zip archive, written as it is read.
//!
//! Links are stored as links, so nothing outside gets in; pipes, sockets and devices are left out. What can't be read makes
//! the whole archive fail: an archive that lacks something in silence is worse than none.

use std::{
    cell::Cell,
    ffi::{OsStr, OsString},
    io::{self, Read as _, Write},
    os::unix::ffi::OsStrExt as _,
    rc::Rc,
    time::SystemTime,
};

use cap_std::fs::{Dir, Metadata, MetadataExt as _, OpenOptions, OpenOptionsExt as _};
use jiff::{Timestamp, tz::TimeZone};
use nix::fcntl::OFlag;
use zip::{CompressionMethod, DateTime, ZipWriter, result::ZipError, write::SimpleFileOptions, write::StreamWriter};

use super::{Error, Result, home::careful};

/// Entries of an archive. Its directory is kept in memory until the end, some hundred bytes each.
const MOST_ENTRIES: usize = 100_000;
/// Folders in folders. Each holds a descriptor while it is packed.
const MOST_LEVELS: usize = 64;
/// From here on sizes may need 64 bits once packed.
const LARGE_BYTES: u64 = 0xF000_0000;
/// How much of a file is read at once.
const PIECE_BYTES: usize = 64 << 10;

/// Packs `folder` under the name `top` into `out`; blocks. After an error, `out` must not be passed on as complete.
///
/// # Errors
/// See [`Error`]; also what `out` gives.
pub fn pack(folder: &Dir, top: &OsStr, out: impl Write) -> Result<()> {
    let metadata = folder.dir_metadata()?;
    let failed = Rc::new(Cell::new(false));
    let mut packer = Packer { zip: ZipWriter::new_stream(Sink { out, failed: failed.clone() }), entries: 0 };
    let result = packer.folder(folder, top.as_bytes().to_vec(), &metadata, 0);
    // Dropping the writer would complete the archive.
    failed.set(failed.get() || result.is_err());
    result?;
    let mut sink = packer.zip.finish().map_err(plain)?.into_inner();
    Ok(sink.flush()?)
}

/// Passes bytes on until something has failed, and swallows them from then on.
struct Sink<W> {
    out: W,
    failed: Rc<Cell<bool>>,
}

impl<W: Write> Write for Sink<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.failed.get() {
            return Ok(bytes.len());
        }
        let written = self.out.write(bytes);
        self.failed.set(written.is_err());
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.failed.get() { Ok(()) } else { self.out.flush() }
    }
}

struct Packer<W: Write> {
    zip: ZipWriter<StreamWriter<Sink<W>>>,
    entries: usize,
}

impl<W: Write> Packer<W> {
    fn folder(&mut self, folder: &Dir, path: Vec<u8>, metadata: &Metadata, level: usize) -> Result<()> {
        if level > MOST_LEVELS {
            return Err(Error::TooMuch);
        }
        self.zip.add_directory(String::from_utf8_lossy(&path), options(metadata)).map_err(plain)?;
        for name in self.names(folder)? {
            let metadata = match folder.symlink_metadata(&name) {
                // Gone in the meantime.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                other => other?,
            };
            let path = [&path, &b"/"[..], name.as_bytes()].concat();
            let kind = metadata.file_type();
            if kind.is_dir() {
                self.folder(&folder.open_dir(&name)?, path, &metadata, level + 1)?;
            } else if kind.is_symlink() {
                let target = folder.read_link_contents(&name)?;
                let path = String::from_utf8_lossy(&path);
                self.zip.add_symlink(path, target.to_string_lossy(), options(&metadata)).map_err(plain)?;
            } else if kind.is_file() {
                self.file(folder, &name, &path)?;
            }
        }
        Ok(())
    }

    /// What is in a folder, in the order of names.
    fn names(&mut self, folder: &Dir) -> Result<Vec<OsString>> {
        let mut names = Vec::new();
        for entry in folder.entries()? {
            self.entries += 1;
            if self.entries > MOST_ENTRIES {
                return Err(Error::TooMuch);
            }
            names.push(entry?.file_name());
        }
        names.sort_unstable();
        Ok(names)
    }

    fn file(&mut self, folder: &Dir, name: &OsStr, path: &[u8]) -> Result<()> {
        let mut careful = OpenOptions::new();
        careful.read(true).custom_flags((self::careful() | OFlag::O_NOFOLLOW).bits());
        let file = match folder.open_with(name, &careful) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Ok(());
        }
        let options = options(&metadata)
            .compression_method(CompressionMethod::Deflated)
            .compression_level(Some(1))
            .large_file(metadata.len() >= LARGE_BYTES);
        self.zip.start_file_with_options(options.name(path)).map_err(plain)?;
        // A file that grows is packed as it was.
        let mut file = file.into_std().take(metadata.len());
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            match file.read(&mut piece) {
                Ok(0) => return Ok(()),
                Ok(read) => self.zip.write_all(piece.get(..read).unwrap_or_default())?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn options(metadata: &Metadata) -> SimpleFileOptions {
    let options = SimpleFileOptions::default().unix_permissions(metadata.mode() & 0o777);
    match metadata.modified().ok().and_then(|time| date(time.into_std())) {
        Some(date) => options.last_modified_time(date),
        None => options,
    }
}

/// Archives know years from 1980 to 2107 and no time zone.
fn date(time: SystemTime) -> Option<DateTime> {
    let time = TimeZone::UTC.to_datetime(Timestamp::try_from(time).ok()?);
    let part = |number: i8| u8::try_from(number).ok();
    DateTime::from_date_and_time(
        u16::try_from(time.year()).ok()?,
        part(time.month())?,
        part(time.day())?,
        part(time.hour())?,
        part(time.minute())?,
        part(time.second())?,
    )
    .ok()
}

fn plain(error: ZipError) -> Error {
    match error {
        ZipError::Io(error) => error.into(),
        other => Error::Io(io::Error::other(other)),
    }
}

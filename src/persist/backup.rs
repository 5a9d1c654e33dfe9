//! Backups: all databases of a data directory in one file, and the way back.
//!
//! The file is a ZIP archive of the databases and a `manifest.json` that says what they are. Each database is consistent
//! in itself: it is copied by SQLite from one snapshot, while the server may go on writing.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use zip::{CompressionMethod, ZipArchive, ZipWriter, result::ZipError, write::SimpleFileOptions};

use super::sqlite::{self, Schema};

/// The version of the archive's form.
const FORMAT: u32 = 1;
const MANIFEST: &str = "manifest.json";
/// A manifest larger than this is none.
const MAX_MANIFEST_BYTES: u64 = 1 << 20;
const BUFFER_BYTES: usize = 256 << 10;

/// Why a backup can't be made or restored.
#[derive(Debug, Error)]
pub enum Error {
    /// The file system.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
    /// A database.
    #[error(transparent)]
    Database(#[from] sqlite::Error),
    /// The backup would replace a file.
    #[error("{}: there is a file already; name another one", .0.display())]
    Exists(PathBuf),
    /// There is nothing to back up.
    #[error("{}: no database is there; has the server ever run with this data directory?", .0.display())]
    Nothing(PathBuf),
    /// It is no backup of ours.
    #[error("{}: not a backup: {reason}", path.display())]
    NoBackup {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// It is one, but what it holds is damaged.
    #[error("{}: {name} in it is damaged; use another backup", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The database in it.
        name: String,
    },
}

/// What is being done, for people who wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Copying a database.
    Copy,
    /// Packing the copies.
    Pack,
    /// Unpacking a backup.
    Unpack,
    /// Checking what was unpacked.
    Verify,
}

/// Hears how far things are: the step, what is done of it, what there is to do.
pub type Progress<'a> = dyn FnMut(Step, u64, u64) + 'a;

/// What an archive says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of the archive's form.
    pub format: u32,
    /// The program that wrote it.
    pub version: String,
    /// When, in ms since the epoch.
    pub created: u64,
    /// What it holds.
    pub databases: Vec<Entry>,
}

/// A database in an archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The name of its file.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// Its SHA-256, in hexadecimal digits.
    pub sha256: String,
}

/// What restoring did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// What was restored.
    pub manifest: Manifest,
    /// Where the databases are that were there before.
    pub replaced: Vec<PathBuf>,
}

fn at(path: &Path) -> impl Fn(io::Error) -> Error + '_ {
    |source| Error::Io { path: path.to_owned(), source }
}

/// Writes the databases of a data directory into a new file, which only its owner can read. The server may run.
///
/// # Errors
/// There is a file already, or the disk.
pub fn create(
    data: &Path,
    databases: &[&Schema],
    file: &Path,
    created: u64,
    progress: &mut Progress<'_>,
) -> Result<Manifest, Error> {
    if file.exists() {
        return Err(Error::Exists(file.to_owned()));
    }
    let present: Vec<_> = databases.iter().filter(|schema| data.join(schema.name).is_file()).collect();
    if present.is_empty() {
        return Err(Error::Nothing(data.to_owned()));
    }
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let scratch = tempfile::Builder::new().prefix(".outpost-backup-").tempdir_in(folder).map_err(at(folder))?;
    let mut entries = Vec::new();
    for schema in present {
        let copy = scratch.path().join(schema.name);
        sqlite::backup(&data.join(schema.name), &copy, |done, total| progress(Step::Copy, done, total))?;
        entries.push(describe(schema.name, &copy)?);
    }
    let manifest = Manifest { format: FORMAT, version: env!("CARGO_PKG_VERSION").into(), created, databases: entries };
    let packed = scratch.path().join("packed");
    pack(&manifest, scratch.path(), &packed, progress)?;
    // Fails if somebody made a file of that name in the meantime, instead of replacing it.
    fs::hard_link(&packed, file).or_else(|_| fs::rename(&packed, file)).map_err(at(file))?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(at(folder))?;
    Ok(manifest)
}

fn describe(name: &str, path: &Path) -> Result<Entry, Error> {
    let mut hash = Sha256::new();
    let mut file = File::open(path).map_err(at(path))?;
    let bytes = copy(&mut file, &mut Hashing(&mut io::sink(), &mut hash), |_| {}).map_err(at(path))?;
    Ok(Entry { name: name.into(), bytes, sha256: hex::encode(hash.finalize()) })
}

fn copy(from: &mut impl Read, to: &mut impl Write, mut passed: impl FnMut(u64)) -> io::Result<u64> {
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut total = 0;
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(total),
            n => {
                to.write_all(buffer.get(..n).unwrap_or_default())?;
                total += n as u64;
                passed(total);
            }
        }
    }
}

fn pack(manifest: &Manifest, folder: &Path, packed: &Path, progress: &mut Progress<'_>) -> Result<(), Error> {
    let wrap = |error: ZipError| Error::Io { path: packed.to_owned(), source: error.into() };
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(packed).map_err(at(packed))?;
    let mut archive = ZipWriter::new(io::BufWriter::new(file));
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .compression_level(Some(1))
        .large_file(true);
    archive.start_file(MANIFEST, options).map_err(wrap)?;
    let text = serde_json::to_vec_pretty(manifest).map_err(|error| at(packed)(error.into()))?;
    archive.write_all(&text).map_err(at(packed))?;
    let total = manifest.databases.iter().map(|entry| entry.bytes).sum();
    let mut before = 0;
    for entry in &manifest.databases {
        let path = folder.join(&entry.name);
        archive.start_file(&entry.name, options).map_err(wrap)?;
        let mut from = File::open(&path).map_err(at(&path))?;
        before += copy(&mut from, &mut archive, |n| progress(Step::Pack, before + n, total)).map_err(at(packed))?;
        // Room for the archive.
        drop(from);
        fs::remove_file(&path).map_err(at(&path))?;
    }
    let file = archive.finish().map_err(wrap)?.into_inner().map_err(|error| at(packed)(error.into_error()))?;
    file.sync_all().map_err(at(packed))
}

/// Reads what an archive says of itself.
///
/// # Errors
/// It can't be read, or is no backup.
pub fn manifest(file: &Path) -> Result<Manifest, Error> {
    Ok(open(file)?.1)
}

fn open(file: &Path) -> Result<(ZipArchive<impl Read + Seek>, Manifest), Error> {
    let no_backup = |reason: String| Error::NoBackup { path: file.to_owned(), reason };
    let reader = io::BufReader::new(File::open(file).map_err(at(file))?);
    let mut archive = ZipArchive::new(reader).map_err(|error| no_backup(error.to_string()))?;
    let entry = archive.by_name(MANIFEST).map_err(|_| no_backup("it has no manifest".into()))?;
    let manifest: Manifest = serde_json::from_reader(entry.take(MAX_MANIFEST_BYTES))
        .map_err(|error| no_backup(format!("its manifest makes no sense: {error}")))?;
    if manifest.format > FORMAT {
        return Err(no_backup(format!(
            "it has form {}, this program knows {FORMAT}: use the program that wrote it (version {})",
            manifest.format, manifest.version
        )));
    }
    Ok((archive, manifest))
}

/// Replaces the databases of a data directory by those of a backup, after checking them. The caller holds the lock of the
/// directory, so no server runs. What is replaced is kept under another name.
///
/// # Errors
/// It is no backup, it is damaged, a database was written by a newer program, or the disk. Nothing was replaced then,
/// unless the last renaming failed.
pub fn restore(
    file: &Path,
    data: &Path,
    databases: &[&Schema],
    stamp: &str,
    progress: &mut Progress<'_>,
) -> Result<Restored, Error> {
    let (mut archive, manifest) = open(file)?;
    let scratch = tempfile::Builder::new().prefix(".restore-").tempdir_in(data).map_err(at(data))?;
    let mut known = Vec::new();
    for entry in &manifest.databases {
        let Some(schema) = databases.iter().find(|schema| schema.name == entry.name) else {
            let reason = format!("it holds '{}', which this program does not know", entry.name);
            return Err(Error::NoBackup { path: file.to_owned(), reason });
        };
        unpack(&mut archive, file, entry, &scratch.path().join(&entry.name), progress)?;
        known.push(schema);
    }
    let total = known.len() as u64;
    for (done, schema) in (0..).zip(&known) {
        progress(Step::Verify, done, total);
        let found = sqlite::verify(&scratch.path().join(schema.name), schema)?;
        if !found.findings.is_empty() {
            return Err(Error::Damaged { path: file.to_owned(), name: schema.name.into() });
        }
    }
    progress(Step::Verify, total, total);
    let mut replaced = Vec::new();
    for schema in known {
        let place = data.join(schema.name);
        for ending in ["", "-wal", "-shm"] {
            let old = data.join(format!("{}{ending}", schema.name));
            let kept = data.join(format!("{}.replaced-{stamp}{ending}", schema.name));
            match fs::rename(&old, &kept) {
                Ok(()) if ending.is_empty() => replaced.push(kept),
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(at(&old)(error)),
            }
        }
        fs::rename(scratch.path().join(schema.name), &place).map_err(at(&place))?;
    }
    File::open(data).and_then(|folder| folder.sync_all()).map_err(at(data))?;
    Ok(Restored { manifest, replaced })
}

fn unpack(
    archive: &mut ZipArchive<impl Read + Seek>,
    file: &Path,
    entry: &Entry,
    to: &Path,
    progress: &mut Progress<'_>,
) -> Result<(), Error> {
    let damaged = || Error::Damaged { path: file.to_owned(), name: entry.name.clone() };
    let packed = archive.by_name(&entry.name).map_err(|_| damaged())?;
    let mut unpacked = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to).map_err(at(to))?;
    let mut hash = Sha256::new();
    // One byte more than announced tells that there is too much.
    let mut limited = packed.take(entry.bytes.saturating_add(1));
    let mut hashing = Hashing(&mut unpacked, &mut hash);
    let bytes = copy(&mut limited, &mut hashing, |n| progress(Step::Unpack, n, entry.bytes)).map_err(|error| {
        let from_archive = matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof);
        if from_archive || error.kind() == io::ErrorKind::InvalidInput { damaged() } else { at(to)(error) }
    })?;
    unpacked.sync_all().map_err(at(to))?;
    if bytes == entry.bytes && hex::encode(hash.finalize()) == entry.sha256 { Ok(()) } else { Err(damaged()) }
}

/// Hashes what it writes.
struct Hashing<'a, W>(&'a mut W, &'a mut Sha256);

impl<W: Write> Write for Hashing<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write_all(bytes)?;
        self.1.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

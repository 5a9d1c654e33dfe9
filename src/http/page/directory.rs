//! A frontend on disk (`--static DIR`). Nothing outside of the directory is ever sent.

use std::{
    fs::{File, Metadata, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Mutex,
    time::{SystemTime, UNIX_EPOCH},
};

use axum::body::Body;
use bytes::Bytes;
use http::{Response, header::RANGE, request::Parts};

use super::{
    Error,
    encoding::{self, Coding},
    mime,
};
use crate::http::{
    compress,
    send::{self, Content, Representation},
};

/// Files up to this size are compressed when asked for; larger ones are sent as they are.
const COMPRESS_BYTES: u64 = 16 << 20;
/// Compressed files kept in memory, in bytes.
const KEPT_BYTES: usize = 32 << 20;

/// The directory and what was compressed lately.
#[derive(Debug)]
pub(super) struct Directory {
    root: PathBuf,
    packed: Mutex<Vec<Packed>>,
}

/// One compressed file.
#[derive(Clone, Debug)]
struct Packed {
    path: String,
    version: String,
    bytes: Bytes,
}

/// A file that was found.
struct Found {
    file: File,
    metadata: Metadata,
}

impl Directory {
    pub(super) fn open(path: &Path) -> Result<Directory, Error> {
        let root = path.canonicalize().map_err(|source| Error::Unreadable { path: path.to_owned(), source })?;
        std::fs::read_dir(&root).map_err(|source| Error::Unreadable { path: path.to_owned(), source })?;
        if !root.join("app.html").is_file() {
            return Err(Error::NoEntry { path: path.to_owned() });
        }
        Ok(Directory { root, packed: Mutex::default() })
    }

    /// `path` is decoded and clean.
    pub(super) async fn serve(&self, request: &Parts, path: &str, cache: &'static str) -> Option<Response<Body>> {
        let root = self.root.clone();
        let wanted = root.join(path);
        let found = tokio::task::spawn_blocking(move || find(&root, &wanted)).await.ok()?.ok()?;
        let modified = found.metadata.modified().ok();
        let length = found.metadata.len();
        let version = version(length, modified);
        let mime = mime::of(path);
        let may_pack = mime::is_compressible(mime) && (compress::MIN_BYTES as u64..=COMPRESS_BYTES).contains(&length);
        // Ranges are ranges of the file, not of its compressed form.
        let coding = if request.headers.contains_key(RANGE) {
            Coding::Identity
        } else {
            encoding::choose(&request.headers, false, may_pack)
        };
        let (content, length, etag) = match coding {
            Coding::Gzip => {
                let bytes = self.pack(path, &version, found.file).await?;
                let length = bytes.len() as u64;
                (Content::Bytes(bytes), length, format!("W/\"{version}-gz\""))
            }
            _ => (Content::File(tokio::fs::File::from_std(found.file), length), length, format!("W/\"{version}\"")),
        };
        let about = Representation { mime, cache, etag, modified, coding, varies: may_pack, length };
        Some(match send::decide(request, &about) {
            send::Answer::Whole(head) => send::whole(head, content),
            send::Answer::Part(head, range) => send::part(head, content, range),
            send::Answer::Done(response) => response,
        })
    }

    /// The compressed form, from memory if it was made before.
    async fn pack(&self, path: &str, version: &str, mut file: File) -> Option<Bytes> {
        if let Ok(packed) = self.packed.lock()
            && let Some(known) = packed.iter().find(|known| known.path == path && known.version == version)
        {
            return Some(known.bytes.clone());
        }
        let bytes = tokio::task::spawn_blocking(move || {
            let mut raw = Vec::new();
            io::Read::read_to_end(&mut file, &mut raw)?;
            compress::gzip(&raw)
        })
        .await
        .ok()?
        .ok()?;
        if let Ok(mut packed) = self.packed.lock() {
            packed.retain(|known| known.path != path);
            packed.push(Packed { path: path.to_owned(), version: version.to_owned(), bytes: bytes.clone() });
            let mut total: usize = packed.iter().map(|known| known.bytes.len()).sum();
            while total > KEPT_BYTES && !packed.is_empty() {
                total = total.saturating_sub(packed.remove(0).bytes.len());
            }
        }
        Some(bytes)
    }
}

/// Opens a regular file that is inside of `root` after every link was followed.
fn find(root: &Path, wanted: &Path) -> io::Result<Found> {
    let real = wanted.canonicalize()?;
    if !real.starts_with(root) {
        return Err(io::ErrorKind::NotFound.into());
    }
    // Not following the last part closes the gap between looking and opening; a pipe must not block us.
    let flags = nix::fcntl::OFlag::O_NOFOLLOW | nix::fcntl::OFlag::O_NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits()).open(&real)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok(Found { file, metadata })
}

/// A text that changes when the file does.
fn version(length: u64, modified: Option<SystemTime>) -> String {
    let nanos = modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok()).map_or(0, |since| since.as_nanos());
    format!("{length:x}-{nanos:x}")
}

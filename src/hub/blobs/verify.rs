//! Comparing every blob with its name.

use std::path::Path;

use super::{Identifier, STORAGE_PATH, value};
use crate::persist::store::Inspected;

/// What a check of all blobs found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Blobs that are as they were stored.
    pub sound: u64,
    /// Keys of entries that are not what their name says.
    pub damaged: Vec<String>,
}

/// Reads all blobs of a `streams.db` and compares each with its name; a server may have it open. `progress` is told how many
/// entries are done and how many there are. Blocks.
///
/// # Errors
/// SQLite says no.
pub fn verify(streams: &Path, mut progress: impl FnMut(u64, u64)) -> rusqlite::Result<Findings> {
    let mut findings = Findings::default();
    let Some(stream) = Inspected::open(streams, STORAGE_PATH)? else { return Ok(findings) };
    let mut done = 0;
    stream.each(|entry| {
        done += 1;
        progress(done, stream.count);
        // Tombstones are neither.
        let Some(key) = entry.stored.key.as_deref().filter(|_| !entry.stored.raw.is_empty()) else { return true };
        match value::content(&entry.stored.raw) {
            Some(content) if Identifier::of(&content).as_str() == key => findings.sound += 1,
            _ => findings.damaged.push(key.to_owned()),
        }
        true
    })?;
    Ok(findings)
}

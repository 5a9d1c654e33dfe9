//! Finding the files of the streams.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::EXTENSION;

/// Folders deeper than this are not looked into.
const MAX_DEPTH: usize = 64;

/// A stream's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Where it is.
    pub file: PathBuf,
    /// The storage path it stands for.
    pub storage_path: String,
}

/// All files of streams below a root, in the order of their paths; symbolic links are not followed. What can't be looked
/// into, or has a name that is no text, goes to `problem`.
pub fn walk(root: &Path, mut problem: impl FnMut(&Path, &str)) -> Vec<Found> {
    let mut found = Vec::new();
    descend(root, &mut String::new(), 0, &mut found, &mut problem);
    found.sort_by(|a, b| a.storage_path.cmp(&b.storage_path));
    found
}

fn descend(
    folder: &Path,
    prefix: &mut String,
    depth: usize,
    found: &mut Vec<Found>,
    problem: &mut impl FnMut(&Path, &str),
) {
    if depth > MAX_DEPTH {
        return problem(folder, "too many folders inside one another");
    }
    let entries = match fs::read_dir(folder).and_then(Iterator::collect::<io::Result<Vec<_>>>) {
        Ok(entries) => entries,
        Err(error) => return problem(folder, &error.to_string()),
    };
    for entry in entries {
        let path = entry.path();
        let Ok(kind) = entry.file_type() else { continue };
        let name = entry.file_name();
        let Some(name) = name.to_str() else {
            problem(&path, "its name is not UTF-8");
            continue;
        };
        let before = prefix.len();
        if kind.is_dir() {
            prefix.push_str(name);
            prefix.push('/');
            descend(&path, prefix, depth + 1, found, problem);
        } else if kind.is_file()
            && let Some(stem) = name.strip_suffix(EXTENSION).and_then(|stem| stem.strip_suffix('.'))
        {
            found.push(Found { file: path, storage_path: format!("{prefix}{stem}") });
        }
        prefix.truncate(before);
    }
}

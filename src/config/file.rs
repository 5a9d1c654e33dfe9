//! Reading `outpost.toml`: a flat table of keys.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use super::{
    Error,
    settings::{SETTINGS, Setting, by_name, nearest},
};

/// No settings file is longer than this.
const LONGEST_BYTES: u64 = 1 << 20;

/// A settings file that was read.
#[derive(Debug)]
pub struct SettingsFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its settings as text.
    pub values: Vec<(&'static Setting, String)>,
    /// Whether everybody on the machine can read it.
    pub is_public: bool,
}

/// Reads a settings file; `None` when there is none.
///
/// # Errors
/// [`Error::File`] when it cannot be read or is not TOML, [`Error::UnknownKey`], [`Error::Value`].
pub fn read(path: &Path) -> Result<Option<SettingsFile>, Error> {
    let bad = |problem: String| Error::File { path: path.to_owned(), problem };
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(bad(format!("can't be read: {error}"))),
    };
    if !metadata.is_file() || metadata.len() > LONGEST_BYTES {
        return Err(bad(format!("must be a file of at most {LONGEST_BYTES} bytes")));
    }
    let text = fs::read_to_string(path).map_err(|error| bad(format!("can't be read: {error}")))?;
    let table: toml::Table = toml::from_str(&text).map_err(|error: toml::de::Error| {
        let line =
            error.span().and_then(|span| text.get(..span.start)).map_or(1, |before| before.matches('\n').count() + 1);
        bad(format!("line {line}: {}", error.message().lines().next().unwrap_or("not TOML")))
    })?;
    let mut values = Vec::with_capacity(table.len());
    for (key, value) in table {
        let Some(setting) = by_name(&key) else {
            let nearest = nearest(&key, SETTINGS.iter().map(|setting| setting.name));
            return Err(Error::UnknownKey { path: path.to_owned(), key, nearest });
        };
        let text = plain(&value).ok_or_else(|| bad(format!("key {key}: allowed: {}", setting.allowed)))?;
        values.push((setting, text));
    }
    Ok(Some(SettingsFile { path: path.to_owned(), values, is_public: metadata.permissions().mode() & 0o004 != 0 }))
}

/// A value as it would stand in an environment variable.
fn plain(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(flag) => Some(flag.to_string()),
        toml::Value::Array(list) => {
            let words: Option<Vec<_>> = list.iter().map(toml::Value::as_str).collect();
            Some(words?.join(","))
        }
        _ => None,
    }
}

//! Where settings come from.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt,
    path::{Path, PathBuf},
};

/// A value that is not UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotText;

/// Named strings such as an environment; tests pass a map, never the environment of the process.
pub trait Strings {
    /// The value of a name.
    ///
    /// # Errors
    /// [`NotText`] when it is not UTF-8.
    fn get(&self, name: &str) -> Result<Option<String>, NotText>;

    /// Every name that is text.
    fn names(&self) -> Vec<String>;
}

impl Strings for BTreeMap<OsString, OsString> {
    fn get(&self, name: &str) -> Result<Option<String>, NotText> {
        let Some(value) = BTreeMap::get(self, std::ffi::OsStr::new(name)) else { return Ok(None) };
        value.to_str().map(|text| Some(text.to_owned())).ok_or(NotText)
    }

    fn names(&self) -> Vec<String> {
        self.keys().filter_map(|name| name.to_str().map(str::to_owned)).collect()
    }
}

impl Strings for BTreeMap<&str, &str> {
    fn get(&self, name: &str) -> Result<Option<String>, NotText> {
        Ok(BTreeMap::get(self, name).map(|text| (*text).to_owned()))
    }

    fn names(&self) -> Vec<String> {
        self.keys().map(|name| (*name).to_owned()).collect()
    }
}

/// Everything that settings are read from.
pub struct Sources<'a> {
    /// Environment variables.
    pub env: &'a dyn Strings,
    /// Flags of the command line: keys of the table with the text given.
    pub flags: &'a [(&'static str, String)],
    /// The file given with `--config`.
    pub file: Option<&'a Path>,
    /// The file that is read when neither `--config` nor `DATA/outpost.toml` is there.
    pub system_file: &'a Path,
    /// What relative paths count from.
    pub directory: &'a Path,
}

/// Where the effective value of a setting came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Nobody said anything.
    Default,
    /// The settings file.
    File(PathBuf),
    /// A credential that systemd handed over.
    Credential(PathBuf),
    /// An environment variable.
    Variable(&'static str),
    /// A flag on the command line.
    Flag(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Default => f.write_str("default"),
            Source::File(path) => write!(f, "file {}", path.display()),
            Source::Credential(path) => write!(f, "credential {}", path.display()),
            Source::Variable(name) => write!(f, "environment {name}"),
            Source::Flag(name) => write!(f, "flag --{name}"),
        }
    }
}

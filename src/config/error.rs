//! What can be wrong with settings. Every error is one line.

use std::path::PathBuf;

use thiserror::Error;

use super::sources::Source;

/// Bad settings.
#[derive(Debug, Error)]
pub enum Error {
    /// A value that is not allowed. Secrets are not repeated.
    #[error("setting {setting} ({source_}): {}allowed: {allowed}", found.as_ref().map(|f| format!("{f:?} is not allowed; ")).unwrap_or_default())]
    Value {
        /// Key of the setting.
        setting: &'static str,
        /// Who gave it.
        source_: Source,
        /// The text, shortened; nothing for secrets.
        found: Option<String>,
        /// What would be allowed.
        allowed: &'static str,
    },
    /// A setting that has no default and was not given.
    #[error(
        "setting {setting}: not given; set environment {env}, flag --{flag} or the key {setting} in outpost.toml; allowed: {allowed}"
    )]
    Missing {
        /// Key of the setting.
        setting: &'static str,
        /// Its variable.
        env: &'static str,
        /// Its flag.
        flag: String,
        /// What is allowed.
        allowed: &'static str,
    },
    /// A key of the settings file that no setting has.
    #[error("unknown setting {key:?} in file {}{}", path.display(), did_you_mean(*nearest))]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// A key like it.
        nearest: Option<&'static str>,
    },
    /// A variable with our prefix that no setting has.
    #[error("unknown setting {name} in the environment{}", did_you_mean(*nearest))]
    UnknownVariable {
        /// The variable.
        name: String,
        /// A variable like it.
        nearest: Option<&'static str>,
    },
    /// The settings file cannot be used.
    #[error("settings file {}: {problem}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// Values that do not go together.
    #[error("setting {setting} ({source_}): {problem}")]
    Conflict {
        /// Key of the setting to change.
        setting: &'static str,
        /// Who gave it.
        source_: Source,
        /// What is wrong and what would be right.
        problem: String,
    },
}

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |name| format!("; did you mean {name}?"))
}

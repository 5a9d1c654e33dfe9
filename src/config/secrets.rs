//! Makes the secrets that were not given: the only part of the settings that writes files. Called when the server is about
//! to run, never with settings that are bad.

use std::{
    fs::{self, DirBuilder, OpenOptions, Permissions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use thiserror::Error;

use super::{Config, PolicyKind, Secret};

/// File of the access token that was made for a non-loopback address, in the directory of secrets.
pub const TOKEN_FILE: &str = "token";
/// File of the system account's password (hub.md §3.3), in the directory of secrets.
pub const SYSTEM_PASSWORD_FILE: &str = "conat-password";

/// Up to this many characters an access token is no token but the wish for a random one (hub.md §3.1).
const SHORT_TOKEN_CHARS: usize = 6;

/// A secret that could not be made or kept.
#[derive(Debug, Error)]
pub enum SecretsError {
    /// The system gave no random bytes.
    #[error("no random bytes from the system: {0}")]
    Random(getrandom::Error),
    /// A file or directory could not be used.
    #[error("{}: {source}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
}

/// Completes the secrets of a configuration. `exposed`: other machines can reach the server.
///
/// * `auth_token` becomes the effective token: a short one is replaced by a random one; when exposed without a token, one
///   is made and kept, unless `allow_unauthenticated`.
/// * `system_password` is made and kept under the lite policy.
///
/// # Errors
/// [`SecretsError`] when a secret cannot be made or kept.
pub fn resolve(config: &mut Config, exposed: bool) -> Result<(), SecretsError> {
    let lite = config.policy == PolicyKind::Lite;
    match &config.auth_token {
        Some(token) if token.expose().encode_utf16().count() <= SHORT_TOKEN_CHARS => {
            config.auth_token = Some(random_token()?);
        }
        Some(_) => {}
        None if exposed && lite && !config.allow_unauthenticated => {
            config.auth_token = Some(kept(&config.paths.secrets, TOKEN_FILE)?);
        }
        None => {}
    }
    if lite && config.system_password.is_none() {
        config.system_password = Some(kept(&config.paths.secrets, SYSTEM_PASSWORD_FILE)?);
    }
    Ok(())
}

/// 18 random bytes in base64, the last two characters cut off: 22 characters (hub.md §3.1).
///
/// # Errors
/// [`SecretsError::Random`].
pub fn random_token() -> Result<Secret, SecretsError> {
    let mut bytes = [0; 18];
    getrandom::fill(&mut bytes).map_err(SecretsError::Random)?;
    let mut text = STANDARD.encode(bytes);
    text.truncate(22);
    Ok(Secret::new(text))
}

/// Makes a directory that only we can enter, and its parents.
///
/// # Errors
/// [`SecretsError::File`].
pub fn private_directory(path: &Path) -> Result<(), SecretsError> {
    let at = |source| SecretsError::File { path: path.to_owned(), source };
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(at)
}

/// Writes a file that only we can read, whole or not at all, over an older one.
///
/// # Errors
/// [`SecretsError::File`].
pub fn write_private(path: &Path, text: &str) -> Result<(), SecretsError> {
    let at = |source| SecretsError::File { path: path.to_owned(), source };
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let new = path.with_file_name(name);
    // One left by a process that had our number before us is of no use to anybody.
    let _ = fs::remove_file(&new);
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, path)
    };
    write().map_err(|error| {
        let _ = fs::remove_file(&new);
        at(error)
    })
}

/// The secret in a file; made when there is none or a useless one.
fn kept(folder: &Path, name: &str) -> Result<Secret, SecretsError> {
    private_directory(folder)?;
    let path = folder.join(name);
    let at = |source| SecretsError::File { path: path.clone(), source };
    fs::set_permissions(folder, Permissions::from_mode(0o700))
        .map_err(|source| SecretsError::File { path: folder.to_owned(), source })?;
    match fs::read_to_string(&path) {
        Ok(text) if text.trim().encode_utf16().count() > SHORT_TOKEN_CHARS => {
            fs::set_permissions(&path, Permissions::from_mode(0o600)).map_err(at)?;
            return Ok(Secret::new(text.trim()));
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(at(error)),
    }
    let secret = random_token()?;
    write_private(&path, secret.expose())?;
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(folder: &Path) -> Config {
        let mut config = Config::default();
        config.paths.data = folder.to_owned();
        config.paths.secrets = folder.join("secrets");
        config
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn hub_a_loopback_server_without_token_stays_open() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = config(folder.path());
        resolve(&mut config, false).unwrap();
        assert!(config.auth_token.is_none());
        assert!(!folder.path().join("secrets/token").exists());
        assert_eq!(config.system_password.unwrap().expose().len(), 22);
        assert_eq!(mode(&folder.path().join("secrets/conat-password")), 0o600);
        assert_eq!(mode(&folder.path().join("secrets")), 0o700);
    }

    #[test]
    fn an_exposed_server_gets_a_token_that_stays() {
        let folder = tempfile::tempdir().unwrap();
        let token = || {
            let mut config = config(folder.path());
            resolve(&mut config, true).unwrap();
            config.auth_token.unwrap().expose().to_owned()
        };
        let first = token();
        assert_eq!(first.len(), 22);
        assert_eq!(token(), first);
        assert_eq!(mode(&folder.path().join("secrets/token")), 0o600);
        fs::write(folder.path().join("secrets/token"), "").unwrap();
        assert_ne!(token(), first, "an emptied file asks for a new token");
    }

    #[test]
    fn hub_an_exposed_server_may_be_open_when_told_so() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = config(folder.path());
        config.allow_unauthenticated = true;
        resolve(&mut config, true).unwrap();
        assert!(config.auth_token.is_none());
    }

    #[test]
    fn hub_a_short_token_means_a_random_one() {
        let folder = tempfile::tempdir().unwrap();
        for (given, kept) in [("1", false), ("123456", false), ("äöüäöü", false), ("1234567", true)] {
            let mut config = config(folder.path());
            config.auth_token = Some(Secret::new(given));
            resolve(&mut config, true).unwrap();
            let token = config.auth_token.unwrap();
            assert_eq!(token.expose() == given, kept, "{given}");
            assert!(kept || token.expose().len() == 22, "{given}");
        }
        assert!(!folder.path().join("secrets/token").exists());
    }

    #[test]
    fn the_open_policy_writes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = config(&folder.path().join("data"));
        config.policy = PolicyKind::Open;
        resolve(&mut config, false).unwrap();
        assert!(config.system_password.is_none());
        assert!(!folder.path().join("data").exists());
    }
}

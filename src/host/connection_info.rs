//! `connection-info.json`: how to reach the running server. It holds the sign-in URL, so only its owner can read it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use nix::{errno::Errno, sys::signal::kill, unistd::Pid};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::config::secrets::{self, SecretsError};

/// Name of the file, in the data directory.
pub const FILE: &str = "connection-info.json";

/// How to reach a running server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionInfo {
    /// Its process.
    pub pid: i32,
    /// The URL to open, with the access token.
    pub url: String,
    /// The host as set.
    pub host: String,
    /// The port it really has.
    pub port: u16,
    /// Path prefix, `/` when there is none.
    pub base_path: String,
    /// Whether it speaks TLS.
    pub tls: bool,
    /// Its version.
    pub version: String,
    /// Its id on the bus.
    pub server_id: String,
    /// When it started, in milliseconds since 1970.
    pub started: u64,
}

/// A file that cannot be read or written.
#[derive(Debug, Error)]
pub enum ConnectionInfoError {
    /// It could not be written.
    #[error(transparent)]
    Write(#[from] SecretsError),
    /// It could not be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
    /// It could be read but says nothing useful.
    #[error("{}: {source}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
}

impl ConnectionInfo {
    /// Reads the file in a data directory; `None` when there is none.
    ///
    /// # Errors
    /// [`ConnectionInfoError`] when there is one that cannot be read.
    pub fn read(data: &Path) -> Result<Option<ConnectionInfo>, ConnectionInfoError> {
        let path = data.join(FILE);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(ConnectionInfoError::Read { path, source }),
        };
        serde_json::from_slice(&text).map(Some).map_err(|source| ConnectionInfoError::Content { path, source })
    }

    /// Writes the file, which stays until what is returned is dropped.
    ///
    /// # Errors
    /// [`ConnectionInfoError::Write`].
    pub fn publish(&self, data: &Path) -> Result<Published, ConnectionInfoError> {
        self.write(data)?;
        Ok(Published { data: data.to_owned(), pid: self.pid })
    }

    /// Writes the file, whole or not at all, over an older one.
    ///
    /// # Errors
    /// [`ConnectionInfoError::Write`].
    pub fn write(&self, data: &Path) -> Result<(), ConnectionInfoError> {
        let path = data.join(FILE);
        let text = serde_json::to_string_pretty(self)
            .map_err(|source| ConnectionInfoError::Content { path: path.clone(), source })?;
        Ok(secrets::write_private(&path, &text)?)
    }

    /// Whether the process is still there.
    pub fn is_alive(&self) -> bool {
        // Signal 0 only asks. EPERM: it is there and belongs to somebody else.
        self.pid > 0 && matches!(kill(Pid::from_raw(self.pid), None), Ok(()) | Err(Errno::EPERM))
    }
}

/// A published file: removed when this is dropped, unless another server has replaced it.
#[derive(Debug)]
pub struct Published {
    data: PathBuf,
    pid: i32,
}

impl Drop for Published {
    fn drop(&mut self) {
        if let Ok(Some(info)) = ConnectionInfo::read(&self.data)
            && info.pid == self.pid
        {
            // One that stays is recognised by its process, which is gone.
            let _ = fs::remove_file(self.data.join(FILE));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn info(pid: i32) -> ConnectionInfo {
        ConnectionInfo {
            pid,
            url: "http://localhost:5000".into(),
            host: "localhost".into(),
            port: 5000,
            base_path: "/".into(),
            tls: false,
            version: "0".into(),
            server_id: "0".into(),
            started: 1,
        }
    }

    #[test]
    fn the_file_is_private_and_goes_with_its_server() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path();
        assert_eq!(ConnectionInfo::read(data).unwrap(), None);
        let published = info(1).publish(data).unwrap();
        assert_eq!(fs::metadata(data.join(FILE)).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(ConnectionInfo::read(data).unwrap(), Some(info(1)));
        let next = info(2).publish(data).unwrap();
        drop(published);
        assert_eq!(ConnectionInfo::read(data).unwrap(), Some(info(2)), "not the file of another server");
        drop(next);
        assert_eq!(ConnectionInfo::read(data).unwrap(), None);
    }

    #[test]
    fn a_process_that_is_gone_is_noticed() {
        assert!(info(std::process::id() as i32).is_alive());
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        assert!(!info(child.id() as i32).is_alive());
        assert!(!info(0).is_alive() && !info(-1).is_alive());
    }
}

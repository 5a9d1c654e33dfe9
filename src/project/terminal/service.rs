//! Starting and ending the terminal service.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{Limits, control::ControlRoot, environment::Places, registry::Registry, session::Surroundings};
use crate::host::environment::Environment;

/// Where terminals live and what their programs get.
#[derive(Clone, Debug)]
pub struct TerminalOptions {
    /// The project whose terminals these are.
    pub project_id: String,
    /// The project's files.
    pub home: PathBuf,
    /// A directory of this server alone, for control directories and the `open` command.
    pub control_root: PathBuf,
    /// What programs inherit: [`for_children`](crate::host::environment::for_children).
    pub environment: Environment,
    /// Limits and times.
    pub limits: Limits,
}

/// Why terminals can't be offered.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The place for control directories can't be made.
    #[error("{} can't hold the terminals' control directories: {source}", path.display())]
    ControlRoot {
        /// Where it should be.
        path: PathBuf,
        /// Why it can't.
        source: io::Error,
    },
}

/// Makes what sessions need, without any yet.
pub(super) async fn prepare(
    options: TerminalOptions,
    tasks: TaskTracker,
    shutdown: CancellationToken,
) -> Result<Arc<Registry>, Error> {
    let TerminalOptions { project_id: _, home, control_root, environment, limits } = options;
    let path = control_root.clone();
    let prepared = tokio::task::spawn_blocking(move || {
        let control = ControlRoot::prepare(&control_root, &home)?;
        let real_home = real(&home);
        Ok((Places { bin: control.bin.clone(), home, real_home }, control))
    });
    let (places, control) = prepared
        .await
        .unwrap_or_else(|panicked| Err(io::Error::other(panicked)))
        .map_err(|source| Error::ControlRoot { path, source })?;
    Ok(Registry::new(Arc::new(Surroundings { places, control, environment, limits, tasks, shutdown })))
}

fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

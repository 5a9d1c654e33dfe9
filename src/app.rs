//! Puts the parts together (build, then run) and owns shutdown.

use thiserror::Error;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{
    config::Config,
    host::{listen::Listeners, signals::Reload},
};

/// A server that could not be built.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct AppError(pub String);

/// All parts, wired but not running.
#[derive(Debug)]
pub struct App {
    listeners: Listeners,
}

impl App {
    /// Builds every part.
    ///
    /// # Errors
    /// [`AppError`].
    pub async fn build(_: Config, listeners: Listeners) -> Result<App, AppError> {
        Ok(App { listeners })
    }

    /// Runs until `shutdown` is cancelled and everything has drained.
    ///
    /// # Errors
    /// [`AppError`].
    pub async fn run(self, shutdown: CancellationToken, mut reloads: mpsc::Receiver<Reload>) -> Result<(), AppError> {
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                Some(reload) = reloads.recv() => drop(reload.done.send(Ok(()))),
            }
        }
        drop(self.listeners);
        Ok(())
    }
}

//! Sockets that systemd opened for us (`LISTEN_FDS`).

#![allow(unsafe_code)]

use std::{
    io,
    net::TcpListener,
    os::fd::{FromRawFd as _, OwnedFd},
    sync::atomic::{AtomicBool, Ordering},
};

use nix::sys::socket::{getsockopt, sockopt};
use thiserror::Error;

/// Sockets that were handed over but are of no use.
#[derive(Debug, Error)]
pub enum ActivationError {
    /// The variables or descriptors are wrong.
    #[error("socket activation: {0}")]
    Io(#[from] io::Error),
    /// A descriptor is not a listening TCP socket.
    #[error("socket activation: descriptor {0} is not a listening TCP socket")]
    NotListening(i32),
}

static TAKEN: AtomicBool = AtomicBool::new(false);

/// The sockets handed over to this process (`LISTEN_PID` is ours), closed on exec; none after the first call.
///
/// # Errors
/// [`ActivationError`] when something was handed over that is not a listening TCP socket.
pub fn take_sockets() -> Result<Vec<TcpListener>, ActivationError> {
    if TAKEN.swap(true, Ordering::SeqCst) {
        return Ok(Vec::new());
    }
    sd_notify::listen_fds()?
        .map(|fd| {
            // SAFETY: by the protocol the descriptor was opened for us and nobody else in this process owns it; `listen_fds`
            // has set close-on-exec on it, which fails for a descriptor that is not open. `TAKEN` lets this happen once.
            let socket = TcpListener::from(unsafe { OwnedFd::from_raw_fd(fd) });
            // The address of a Unix socket is no address for a TCP listener, so this refuses them too.
            let listens = socket.local_addr().is_ok() && getsockopt(&socket, sockopt::AcceptConn).unwrap_or(false);
            if listens { Ok(socket) } else { Err(ActivationError::NotListening(fd)) }
        })
        .collect()
}

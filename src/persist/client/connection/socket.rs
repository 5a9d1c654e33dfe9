//! One socket of a connection, from its opening to its end.

use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{Error, Result, Shared};
use crate::{
    bus::{
        self,
        socket::{Choice, Socket, SocketOptions},
    },
    persist::client::Storage,
};

/// A socket that is open.
#[derive(Debug)]
pub(super) struct Live {
    /// Its number, from 1.
    pub epoch: u64,
    pub socket: Socket,
    armed: AtomicBool,
    /// Somebody has found that it is of no use.
    pub given_up: CancellationToken,
}

/// The first message (§3.1).
#[derive(Serialize)]
struct Open<'a> {
    storage: Place<'a>,
    changefeed: bool,
}

#[derive(Serialize)]
struct Place<'a> {
    path: &'a str,
    #[serde(flatten)]
    storage: Storage,
}

impl Live {
    pub fn new(epoch: u64, socket: Socket, armed: bool) -> Live {
        Live { epoch, socket, armed: AtomicBool::new(armed), given_up: CancellationToken::new() }
    }

    /// Whether its feed is on.
    pub fn is_armed(&self) -> bool {
        self.armed.load(Ordering::Acquire)
    }

    pub fn set_armed(&self) {
        self.armed.store(true, Ordering::Release);
    }

    pub fn give_up(&self) {
        self.given_up.cancel();
    }
}

impl Shared {
    /// Makes a new socket and opens the stream on it.
    pub(super) async fn connect(&self, armed: bool) -> Result<Socket> {
        let (client, options) = (&self.client.client, &self.client.options);
        let times = &options.times;
        let server = self.client.locator.server(client, &self.base, times.lookup, times.lookup_lifetime).await?;
        let settings = SocketOptions {
            keep_alive: options.keep_alive,
            reconnect: false,
            choice: Choice::Fixed(server),
            ..SocketOptions::default()
        };
        let socket = client.socket_connect(&self.base, settings)?;
        let open = Open { storage: Place { path: &self.path, storage: self.storage }, changefeed: armed };
        socket.write(&open, None).map_err(|error| Error::Answer(error.to_string()))?;
        let late = || bus::Error::Timeout(format!("connecting to '{}'", self.base));
        timeout(times.connect, socket.ready()).await.map_err(|_| late())??;
        Ok(socket)
    }
}

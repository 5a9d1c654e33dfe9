//! TLS: rustls with *ring*, a certificate that is made when there is none, and swapping it while connections go on (hub.md §2.3).

mod certificate;

use std::{io, net::IpAddr, path::PathBuf, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use thiserror::Error;
use tokio::{net::TcpStream, time::MissedTickBehavior};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::sync::CancellationToken;

use certificate::{Files, Pair};

/// How often the age of the certificate is looked at.
const CHECK_INTERVAL: Duration = Duration::from_secs(24 * 3600);
/// The first byte of a TLS handshake.
const HANDSHAKE_BYTE: u8 = 0x16;

/// Why TLS cannot be used.
#[derive(Debug, Error)]
pub enum Error {
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{path}: {reason}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// No certificate could be made.
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
    /// rustls does not take them.
    #[error("key and certificate cannot be used: {0}")]
    Unusable(#[from] rustls::Error),
}

/// Installs the one provider of cryptography of the process. Harmless when called again.
pub fn install_provider() {
    // An error only says that one is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// The server's certificate and what is done with it.
#[derive(Debug)]
pub struct Tls {
    files: Files,
    config: ArcSwap<ServerConfig>,
}

impl Tls {
    /// Uses `<host>.key.pem` and `<host>.cert.pem` in `directory`. What is missing is made, for `host`, this machine's names
    /// and `addresses`; a certificate of our own making that is about to expire is renewed; the operator's own is left alone.
    ///
    /// # Errors
    /// [`enum@Error`] when files cannot be read, written or used.
    pub fn open(directory: PathBuf, host: &str, addresses: &[IpAddr]) -> Result<Tls, Error> {
        install_provider();
        let files = Files::new(directory, host, addresses);
        let config = server_config(files.load_or_make()?)?;
        Ok(Tls { files, config: ArcSwap::from_pointee(config) })
    }

    /// Path of the certificate, for people.
    pub fn certificate_path(&self) -> PathBuf {
        self.files.certificate.clone()
    }

    /// Path of the key, for people.
    pub fn key_path(&self) -> PathBuf {
        self.files.key.clone()
    }

    /// Reads the files again (SIGHUP). New connections get what is there now; if that is unusable, the old one stays.
    pub fn reload(&self) {
        match self.files.load_or_make().and_then(server_config) {
            Ok(config) => {
                self.config.store(Arc::new(config));
                tracing::info!(certificate = %self.files.certificate.display(), "certificate loaded");
            }
            Err(error) => tracing::error!(%error, "the certificate was not replaced"),
        }
    }

    /// Renews a certificate of our own making in time, until told to stop.
    pub(super) async fn keep_fresh(&self, stop: &CancellationToken) {
        let mut ticks = tokio::time::interval(CHECK_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await;
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            if self.files.is_due() {
                self.reload();
            }
        }
    }

    /// Shakes hands. `Err` with the stream when the peer speaks something else than TLS.
    pub(super) async fn accept(&self, stream: TcpStream) -> io::Result<Result<Box<TlsStream<TcpStream>>, TcpStream>> {
        let mut first = [0];
        if stream.peek(&mut first).await? == 1 && first != [HANDSHAKE_BYTE] {
            return Ok(Err(stream));
        }
        TlsAcceptor::from(self.config.load_full()).accept(stream).await.map(|stream| Ok(Box::new(stream)))
    }
}

fn server_config(pair: Pair) -> Result<ServerConfig, Error> {
    let mut config = ServerConfig::builder().with_no_client_auth().with_single_cert(pair.chain, pair.key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

//! Which server a bus command talks to, and as whom.

use std::{fs, future::Future, path::Path, time::Duration};

use anyhow::{Context as _, anyhow, bail};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};

use super::{
    flags::{Flags, LocateFlags},
    target::Target,
};
use crate::{
    bus::{Client, ConnectOptions, Error, Trust},
    config::{Config, Identity, Secret, address},
    host::connection_info::ConnectionInfo,
};

/// How long signing in may take.
const SIGN_IN_TIMEOUT: Duration = Duration::from_secs(10);

/// Flags that all bus commands share.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct BusFlags {
    /// The server's address, for example https://lab.example:5000; by default the one that runs here
    #[arg(long, value_name = "URL")]
    pub server: Option<String>,
    /// The access token; by default that of the server that runs here, else AUTH_TOKEN, which others cannot see
    #[arg(long)]
    pub token: Option<String>,
    /// Print JSON, one value a line
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub flags: LocateFlags,
}

impl BusFlags {
    /// Connects as the account, for as long as the connection holds.
    pub async fn connect(&self, flags: Flags) -> anyhow::Result<Client> {
        open(self.options(flags, false)?).await
    }

    /// Connects as the account, and again whenever the connection is lost.
    pub async fn listen(&self, flags: Flags) -> anyhow::Result<Client> {
        stay(self.options(flags, false)?).await
    }

    /// Connects as the system account where its password can be read, else as the account, and again whenever the
    /// connection is lost.
    pub async fn listen_as_system(&self, flags: Flags) -> anyhow::Result<Client> {
        stay(self.options(flags, true)?).await
    }

    /// The server that runs with these settings on this machine, unless another one was named.
    pub fn local_server(&self, flags: Flags) -> anyhow::Result<Option<ConnectionInfo>> {
        if self.server.is_some() {
            return Ok(None);
        }
        let config = self.load(flags)?;
        Ok(ConnectionInfo::read(&config.paths.data)?.filter(ConnectionInfo::is_alive))
    }

    /// The account and the project of the settings.
    pub fn identity(&self, flags: Flags) -> anyhow::Result<Identity> {
        Ok(self.load(flags)?.identity)
    }

    fn load(&self, flags: Flags) -> anyhow::Result<Config> {
        Ok(flags.and(self.flags.0.clone()).load()?.config)
    }

    fn options(&self, flags: Flags, as_system: bool) -> anyhow::Result<ConnectOptions> {
        let config = self.load(flags.clone())?;
        let given = self.token.clone().map(Secret::new);
        Ok(match &self.server {
            Some(url) => {
                let (url, token) = split_token(url);
                ConnectOptions { token: given.or(token).or(config.auth_token), ..ConnectOptions::new(url) }
            }
            None => {
                let Some(info) = self.local_server(flags)? else {
                    bail!(
                        "no server runs with the data directory {}; start one, or name one with --server",
                        config.paths.data.display()
                    );
                };
                let target = Target::find(&config, Some(&info));
                let token = split_token(&info.url).1;
                let url = address::url(info.tls, &target.host, target.port, &target.base_path);
                ConnectOptions {
                    token: given.or(token),
                    trust: target.certificate.as_deref().map_or(Ok(Trust::default()), pinned)?,
                    system_password: as_system.then(|| system_password(&config)).flatten(),
                    ..ConnectOptions::new(url)
                }
            }
        })
    }
}

/// Connects once: a server that is not there is an error, not something to wait for.
async fn open(options: ConnectOptions) -> anyhow::Result<Client> {
    signed_in(ConnectOptions { reconnect: false, ..options }).await
}

/// Connects once to see that it works, and then for as long as it takes.
async fn stay(options: ConnectOptions) -> anyhow::Result<Client> {
    open(options.clone()).await?.close();
    signed_in(ConnectOptions { reconnect: true, ..options }).await
}

async fn signed_in(options: ConnectOptions) -> anyhow::Result<Client> {
    let address = options.address.clone();
    let client = Client::connect(options)?;
    let signed_in = tokio::time::timeout(SIGN_IN_TIMEOUT, client.connected()).await;
    match signed_in.map_err(|_| anyhow!("no answer from {address} within {} s", SIGN_IN_TIMEOUT.as_secs()))? {
        Ok(()) => Ok(client),
        // Too many connections or attempts: another token would not help.
        Err(error @ Error::SignIn { .. }) if !error.is_code(429) => Err(error).with_context(|| {
            format!("can't sign in to {address}; the token of a server is shown by `outpost token` on its machine")
        }),
        Err(error) => Err(error).with_context(|| format!("no connection to {address}")),
    }
}

/// Trust in exactly the certificate that the server on this machine uses.
fn pinned(path: &Path) -> anyhow::Result<Trust> {
    let pem = fs::read(path).with_context(|| format!("can't read {}", path.display()))?;
    let certificate = CertificateDer::from_pem_slice(&pem).map_err(|error| anyhow!("{}: {error:?}", path.display()))?;
    Ok(Trust::Certificate(certificate.to_vec()))
}

/// The system account's password, if it was set or can be read.
fn system_password(config: &Config) -> Option<Secret> {
    config.system_password.clone().or_else(|| {
        let text = fs::read_to_string(config.paths.secrets.join("conat-password")).ok()?;
        Some(Secret::new(text.trim_end()))
    })
}

/// Takes the token out of a sign-in URL.
fn split_token(url: &str) -> (String, Option<Secret>) {
    let Some((plain, query)) = url.split_once('?') else { return (url.to_owned(), None) };
    let token = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "auth_token");
    (plain.to_owned(), token.map(|(_, value)| Secret::new(value.into_owned())))
}

/// Runs a bus command until it ends or is interrupted.
pub(super) fn block_on<T>(command: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(command);
    // Connections close in the background; nobody waits for the peer's goodbye.
    runtime.shutdown_timeout(Duration::from_millis(200));
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_taken_out_of_a_sign_in_url() {
        let (url, token) = split_token("http://localhost:5000/?auth_token=a%2Bb%2F&x=1");
        assert_eq!(url, "http://localhost:5000/");
        assert_eq!(token.unwrap().expose(), "a+b/");
        assert!(split_token("http://localhost:5000").1.is_none());
    }
}

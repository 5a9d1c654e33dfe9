//! Where the running server is: its `connection-info.json`, else what the settings say.

use std::{net::IpAddr, path::PathBuf};

use crate::{
    config::{Config, address},
    host::{connection_info::ConnectionInfo, listen::DEFAULT_PORT},
};

/// A server to ask.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// Host to connect to.
    pub host: String,
    /// Port to connect to.
    pub port: u16,
    /// Name in the `Host` header and in the certificate.
    pub name: String,
    /// The server's certificate, when it speaks TLS.
    pub certificate: Option<PathBuf>,
    /// Path prefix, empty or `/x`.
    pub base_path: String,
}

impl Target {
    /// The server that left a connection info, if its process is there; else the one the settings describe.
    pub fn find(config: &Config, info: Option<&ConnectionInfo>) -> Target {
        let (host, port, tls, base_path) = match info.filter(|info| info.is_alive()) {
            Some(info) => {
                let base_path = address::parse_base_path(&info.base_path).unwrap_or_default();
                (info.host.clone(), info.port, info.tls, base_path)
            }
            None => {
                let listen = &config.listen;
                let port = listen.port.filter(|port| *port > 0).unwrap_or(DEFAULT_PORT);
                (listen.host.clone(), port, listen.tls, listen.base_path.clone())
            }
        };
        let certificate = tls.then(|| config.paths.tls.join(format!("{host}.cert.pem")));
        Target { host: reachable(&host), port, name: host, certificate, base_path }
    }
}

/// The address to connect to for an address that was listened on: "every address" is reached through the loopback one.
fn reachable(host: &str) -> String {
    match host.parse::<IpAddr>() {
        Ok(address) if address.is_unspecified() && address.is_ipv6() => "::1".into(),
        Ok(address) if address.is_unspecified() => "127.0.0.1".into(),
        _ => host.to_owned(),
    }
}

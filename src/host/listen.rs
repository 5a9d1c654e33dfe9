//! The sockets we listen on.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs as _},
};

use thiserror::Error;

use super::activation::{self, ActivationError};
use crate::config::{ListenConfig, is_loopback};

/// The port that is tried first when none was given.
pub const DEFAULT_PORT: u16 = 5000;
/// How many ports after [`DEFAULT_PORT`] are tried.
const MORE_PORTS: u16 = 100;

/// No socket to listen on.
#[derive(Debug, Error)]
pub enum ListenError {
    /// Sockets from systemd are of no use.
    #[error(transparent)]
    Activation(#[from] ActivationError),
    /// The name in `HOST` has no address.
    #[error("host {host} has no address: {source}")]
    Unknown {
        /// The name.
        host: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// Somebody else listens there.
    #[error("port {port} on {host} is in use; choose another PORT or stop the other program")]
    InUse {
        /// The address.
        host: String,
        /// The port.
        port: u16,
    },
    /// Any other reason.
    #[error("can't listen on {address}: {source}")]
    Bind {
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
}

/// Sockets that listen already; connections wait in them until somebody accepts.
#[derive(Debug)]
pub struct Listeners {
    /// The sockets, at least one, all with the same port unless systemd made them; blocking.
    pub sockets: Vec<TcpListener>,
    /// The port to tell people.
    pub port: u16,
    /// Whether other machines can reach one of the sockets, or the host's name says so.
    pub exposed: bool,
}

impl Listeners {
    /// Takes the sockets that systemd made, else opens our own.
    ///
    /// # Errors
    /// [`ListenError`].
    pub fn open(config: &ListenConfig) -> Result<Listeners, ListenError> {
        let mut sockets = activation::take_sockets()?;
        if sockets.is_empty() {
            sockets = bind(config)?;
        }
        let addresses: Vec<_> = sockets.iter().filter_map(|socket| socket.local_addr().ok()).collect();
        let port = addresses.first().map_or(0, SocketAddr::port);
        let exposed = !is_loopback(&config.host) || addresses.iter().any(|address| !address.ip().is_loopback());
        Ok(Listeners { sockets, port, exposed })
    }
}

fn bind(config: &ListenConfig) -> Result<Vec<TcpListener>, ListenError> {
    let addresses = addresses(&config.host)?;
    let in_use = |port| ListenError::InUse { host: config.host.clone(), port };
    match config.port {
        Some(0) => {
            // The port that is free on the first address may be taken on another: draw again.
            for _ in 0..16 {
                if let Some(sockets) = bind_all(&addresses, 0)? {
                    return Ok(sockets);
                }
            }
            Err(in_use(0))
        }
        Some(port) => bind_all(&addresses, port)?.ok_or_else(|| in_use(port)),
        None => {
            for port in DEFAULT_PORT..=DEFAULT_PORT + MORE_PORTS {
                if let Some(sockets) = bind_all(&addresses, port)? {
                    return Ok(sockets);
                }
            }
            Err(in_use(DEFAULT_PORT))
        }
    }
}

/// Binds every address to one port; `None` when the port is in use on one of them. Addresses that this machine does not have
/// (no IPv6) are left out as long as one remains.
fn bind_all(addresses: &[IpAddr], port: u16) -> Result<Option<Vec<TcpListener>>, ListenError> {
    let mut sockets = Vec::with_capacity(addresses.len());
    let mut failure = None;
    let mut port = port;
    for address in addresses {
        let address = SocketAddr::new(*address, port);
        match TcpListener::bind(address) {
            Ok(socket) => {
                port = socket.local_addr().map_err(|source| ListenError::Bind { address, source })?.port();
                sockets.push(socket);
            }
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Ok(None),
            Err(source) => failure = Some(ListenError::Bind { address, source }),
        }
    }
    match failure {
        Some(failure) if sockets.is_empty() => Err(failure),
        _ => Ok(Some(sockets)),
    }
}

fn addresses(host: &str) -> Result<Vec<IpAddr>, ListenError> {
    if host == "localhost" {
        return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
    }
    if let Ok(address) = host.parse() {
        return Ok(vec![address]);
    }
    let resolved =
        (host, 0).to_socket_addrs().map_err(|source| ListenError::Unknown { host: host.to_owned(), source })?;
    let mut addresses: Vec<IpAddr> = resolved.map(|address| address.ip()).collect();
    addresses.sort();
    addresses.dedup();
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(host: &str, port: Option<u16>) -> ListenConfig {
        ListenConfig { host: host.into(), port, tls: false, base_path: String::new() }
    }

    #[test]
    fn any_free_port_is_the_same_on_every_address() {
        let sockets = bind(&config("localhost", Some(0))).unwrap();
        let ports: Vec<_> = sockets.iter().map(|socket| socket.local_addr().unwrap().port()).collect();
        assert!(ports[0] > 0 && ports.iter().all(|port| *port == ports[0]), "{ports:?}");
    }

    #[test]
    fn a_port_in_use_is_said_to_be() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let error = bind(&config("127.0.0.1", Some(port))).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("port {port} on 127.0.0.1 is in use; choose another PORT or stop the other program")
        );
    }

    #[test]
    fn without_a_port_the_next_free_one_is_found() {
        let first = bind(&config("127.0.0.1", None)).unwrap();
        let second = bind(&config("127.0.0.1", None)).unwrap();
        let port = |sockets: &[TcpListener]| sockets[0].local_addr().unwrap().port();
        assert!(port(&first) >= DEFAULT_PORT && port(&second) > port(&first));
    }
}

//! How to reach a server, and as whom.

use std::{fmt, io, path::PathBuf, pin::Pin, sync::Arc, time::Duration};

use serde_json::{Map, Value};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{bus::Error, config::Secret};

/// Which servers to trust over TLS.
#[derive(Clone, Debug, Default)]
pub enum Trust {
    /// Those with a certificate that the roots of the web vouch for.
    #[default]
    WebRoots,
    /// The one with exactly this certificate (DER).
    Certificate(Vec<u8>),
    /// Those with a certificate that one of these (PEM file) vouches for.
    Roots(PathBuf),
    /// Any. Only the traffic is encrypted; who it is with is not checked.
    Anyone,
}

/// A byte stream to a server.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

type Opening = Pin<Box<dyn Future<Output = io::Result<Box<dyn Io>>> + Send>>;

/// Another way to open byte streams than TCP.
#[derive(Clone)]
pub struct Connector(Arc<dyn Fn() -> Opening + Send + Sync>);

impl Connector {
    /// Opens streams with a function.
    pub fn new<F, S>(open: impl Fn() -> F + Send + Sync + 'static) -> Connector
    where
        F: Future<Output = io::Result<S>> + Send + 'static,
        S: Io + 'static,
    {
        Connector(Arc::new(move || {
            let opening = open();
            Box::pin(async move { Ok(Box::new(opening.await?) as Box<dyn Io>) })
        }))
    }

    pub(super) async fn open(&self) -> io::Result<Box<dyn Io>> {
        (self.0)().await
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector")
    }
}

/// How to connect to a server.
#[derive(Clone, Debug)]
pub struct ConnectOptions {
    /// The server's address: `http` or `https`, host, port, base path.
    pub address: String,
    /// Cookies for the handshake, names and values.
    pub cookies: Vec<(String, Secret)>,
    /// A bearer token: sent as a header and when the session is opened.
    pub token: Option<Secret>,
    /// The system account's password.
    pub system_password: Option<Secret>,
    /// Whether to connect again when the connection is lost. Without, the client closes then.
    pub reconnect: bool,
    /// Where responses go; by default what fits the user.
    pub inbox_prefix: Option<String>,
    /// Which servers to trust over TLS.
    pub trust: Trust,
    /// What the server's statistics call this client.
    pub browser_id: Option<String>,
    /// How long connecting may take, from the first byte to the session.
    pub connect_timeout: Duration,
    /// First pause between two attempts.
    pub reconnect_min: Duration,
    /// Longest pause between two attempts.
    pub reconnect_max: Duration,
    /// Messages that may wait to be sent, connected or not.
    pub max_waiting: usize,
    /// Bytes that may wait to be sent, connected or not.
    pub max_waiting_bytes: usize,
    /// How often what was received is reported to the server, at most.
    pub stats_period: Duration,
    /// Opens the byte stream; TCP to the address without.
    pub connector: Option<Connector>,
}

impl ConnectOptions {
    /// Connects to an address as nobody in particular.
    pub fn new(address: impl Into<String>) -> ConnectOptions {
        ConnectOptions {
            address: address.into(),
            cookies: Vec::new(),
            token: None,
            system_password: None,
            reconnect: true,
            inbox_prefix: None,
            trust: Trust::default(),
            browser_id: None,
            connect_timeout: Duration::from_secs(20),
            reconnect_min: Duration::from_millis(500),
            reconnect_max: Duration::from_secs(15),
            max_waiting: 65_536,
            max_waiting_bytes: 128 << 20,
            stats_period: Duration::from_secs(45),
            connector: None,
        }
    }

    /// The `Cookie` header.
    pub(super) fn cookie_header(&self) -> Option<String> {
        let system = self.system_password.as_ref().map(|password| ("sys", password));
        let cookies = self.cookies.iter().map(|(name, value)| (name.as_str(), value)).chain(system);
        let pairs: Vec<String> = cookies.map(|(name, value)| format!("{name}={}", encode(value.expose()))).collect();
        (!pairs.is_empty()).then(|| pairs.join("; "))
    }

    /// The payload of CONNECT.
    pub(super) fn auth(&self) -> Option<Value> {
        let mut auth = Map::new();
        if let Some(token) = &self.token {
            auth.insert("bearer".into(), token.expose().into());
        }
        if let Some(id) = &self.browser_id {
            auth.insert("browser_id".into(), id.as_str().into());
        }
        (!auth.is_empty()).then_some(Value::Object(auth))
    }
}

/// Cookie values are percent-encoded as browsers' `encodeURIComponent` does.
fn encode(value: &str) -> impl fmt::Display + '_ {
    use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
    const KEPT: &AsciiSet = &NON_ALPHANUMERIC
        .remove(b'-')
        .remove(b'_')
        .remove(b'.')
        .remove(b'!')
        .remove(b'~')
        .remove(b'*')
        .remove(b'\'')
        .remove(b'(')
        .remove(b')');
    utf8_percent_encode(value, KEPT)
}

/// A server's address taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub tls: bool,
    pub host: String,
    pub port: u16,
    /// `wss://host:port/base/conat/?…`
    pub url: String,
}

impl Address {
    pub fn parse(text: &str) -> Result<Address, Error> {
        let wrong = |why: &str| Error::Connect(format!("'{text}' is not an address of a server: {why}"));
        let uri: http::Uri = text.parse().map_err(|_| wrong("malformed"))?;
        let tls = match uri.scheme_str() {
            Some("http" | "ws") => false,
            Some("https" | "wss") => true,
            _ => return Err(wrong("it has to begin with http:// or https://")),
        };
        let authority = uri.authority().ok_or_else(|| wrong("the host is missing"))?;
        let bare = authority.host();
        if bare.is_empty() || authority.as_str().contains('@') {
            return Err(wrong("the host is malformed"));
        }
        let port = authority.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let base = uri.path().trim_end_matches('/');
        let scheme = if tls { "wss" } else { "ws" };
        Ok(Address {
            tls,
            url: format!("{scheme}://{bare}:{port}{base}/conat/?EIO=4&transport=websocket"),
            host: bare.trim_start_matches('[').trim_end_matches(']').to_owned(),
            port,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_keep_their_base_path() {
        let address = Address::parse("http://h:4043/some/base").unwrap();
        assert_eq!(address.url, "ws://h:4043/some/base/conat/?EIO=4&transport=websocket");
        assert_eq!(Address::parse("https://h/").unwrap().url, "wss://h:443/conat/?EIO=4&transport=websocket");
        let six = Address::parse("http://[::1]:5000").unwrap();
        assert_eq!((six.host.as_str(), six.port), ("::1", 5000));
        for wrong in ["h:1", "ftp://h", "http://", "", "http://u:p@h"] {
            assert!(Address::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn secrets_are_encoded_in_cookies_and_shown_nowhere() {
        let options = ConnectOptions {
            cookies: vec![("a".into(), Secret::new("x;y"))],
            system_password: Some(Secret::new("p w+/")),
            ..ConnectOptions::new("http://h")
        };
        assert_eq!(options.cookie_header().unwrap(), "a=x%3By; sys=p%20w%2B%2F");
        assert!(!format!("{options:?}").contains("p w+/"));
    }
}

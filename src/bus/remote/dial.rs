//! Opens a WebSocket: TCP, TLS, the upgrade.

use std::sync::Arc;

use http::{HeaderValue, Request, header};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{self, client::IntoClientRequest, protocol::WebSocketConfig},
};

use super::{
    options::{Address, ConnectOptions, Io},
    tls,
};
use crate::bus::Error;

/// Bytes the WebSocket library reads at a time.
const READ_BUFFER_BYTES: usize = 16 << 10;
/// Bytes that are gathered before they are written.
const WRITE_BUFFER_BYTES: usize = 64 << 10;
/// Largest message that is taken from a server, whose own limit may be higher than the default of 8 MB.
const MAX_MESSAGE_BYTES: usize = 256 << 20;

pub(super) type Socket = WebSocketStream<Box<dyn Io>>;

/// Knows the way to a server.
#[derive(Debug)]
pub(super) struct Dialer {
    address: Address,
    tls: Option<Arc<rustls::ClientConfig>>,
}

impl Dialer {
    pub fn new(options: &ConnectOptions) -> Result<Dialer, Error> {
        let address = Address::parse(&options.address)?;
        let tls = if address.tls { Some(tls::config(&options.trust)?) } else { None };
        Ok(Dialer { address, tls })
    }

    pub async fn dial(&self, options: &ConnectOptions) -> Result<Socket, Error> {
        let io = self.open(options).await?;
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_BYTES)
            .write_buffer_size(WRITE_BUFFER_BYTES)
            .max_message_size(Some(MAX_MESSAGE_BYTES))
            .max_frame_size(Some(MAX_MESSAGE_BYTES));
        let request = self.request(options)?;
        match client_async_with_config(request, io, Some(config)).await {
            Ok((socket, _)) => Ok(socket),
            Err(tungstenite::Error::Http(response)) => {
                Err(Error::Connect(format!("the server answered {}", response.status())))
            }
            Err(error) => Err(Error::Connect(error.to_string())),
        }
    }

    async fn open(&self, options: &ConnectOptions) -> Result<Box<dyn Io>, Error> {
        let Address { host, port, .. } = &self.address;
        let failed = |error: std::io::Error| Error::Connect(format!("{host}:{port}: {error}"));
        let io = match &options.connector {
            Some(connector) => connector.open().await.map_err(failed)?,
            None => {
                let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(failed)?;
                stream.set_nodelay(true).map_err(failed)?;
                Box::new(stream)
            }
        };
        let Some(config) = &self.tls else { return Ok(io) };
        let name = ServerName::try_from(host.clone()).map_err(|e| Error::Connect(format!("{host}: {e}")))?;
        let stream = TlsConnector::from(config.clone()).connect(name, io).await.map_err(failed)?;
        Ok(Box::new(stream))
    }

    fn request(&self, options: &ConnectOptions) -> Result<Request<()>, Error> {
        let malformed = |what: &str| Error::Connect(format!("the {what} cannot be sent in a header"));
        let request = self.address.url.as_str().into_client_request();
        let mut request = request.map_err(|e| Error::Connect(e.to_string()))?;
        let secret = |text: String, what| {
            let mut value = HeaderValue::from_str(&text).map_err(|_| malformed(what))?;
            value.set_sensitive(true);
            Ok::<_, Error>(value)
        };
        if let Some(cookies) = options.cookie_header() {
            request.headers_mut().insert(header::COOKIE, secret(cookies, "cookies")?);
        }
        if let Some(token) = &options.token {
            let bearer = format!("Bearer {}", token.expose());
            request.headers_mut().insert(header::AUTHORIZATION, secret(bearer, "token")?);
        }
        Ok(request)
    }
}

//! One GET request to the server on this machine.

use std::{fs, net::Ipv4Addr, path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, anyhow, bail};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{Request, StatusCode, body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use super::target::Target;
use crate::config::address::bracketed;

/// The whole request has to be answered within this time.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Longest answer that is read.
const LONGEST_ANSWER_BYTES: usize = 64 << 10;

/// The status and text of `GET path`.
pub(super) fn get(target: &Target, path: &str) -> anyhow::Result<(StatusCode, String)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let answer = runtime.block_on(async { timeout(TIMEOUT, fetch(target, path)).await });
    answer.unwrap_or_else(|_| Err(anyhow!("no answer within {} s", TIMEOUT.as_secs())))
}

async fn fetch(target: &Target, path: &str) -> anyhow::Result<(StatusCode, String)> {
    let stream = TcpStream::connect((target.host.as_str(), target.port))
        .await
        .with_context(|| format!("can't connect to {} port {}", target.host, target.port))?;
    let Some(certificate) = &target.certificate else { return exchange(stream, target, path).await };
    let config = pinned(certificate)?;
    // The name does not matter for a pinned certificate, but it has to be one.
    let name = ServerName::try_from(target.name.clone()).unwrap_or(ServerName::from(Ipv4Addr::LOCALHOST));
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.context("TLS")?;
    exchange(stream, target, path).await
}

async fn exchange<S>(stream: S, target: &Target, path: &str) -> anyhow::Result<(StatusCode, String)>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::get(format!("{}{path}", target.base_path))
        .header(hyper::header::HOST, format!("{}:{}", bracketed(&target.name), target.port))
        .header(hyper::header::USER_AGENT, concat!("outpost/", env!("CARGO_PKG_VERSION")))
        .body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = match Limited::new(response.into_body(), LONGEST_ANSWER_BYTES).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => bail!("the answer can't be read: {error}"),
    };
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

/// A TLS client that trusts exactly the certificate in a file.
fn pinned(path: &Path) -> anyhow::Result<ClientConfig> {
    let pem = fs::read(path).with_context(|| format!("can't read {}", path.display()))?;
    let certificate = CertificateDer::from_pem_slice(&pem).map_err(|error| anyhow!("{}: {error:?}", path.display()))?;
    let provider = Arc::new(ring::default_provider());
    let verifier = Arc::new(Pinned { certificate: certificate.into_owned(), provider: provider.clone() });
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth())
}

/// Accepts one certificate and no other.
#[derive(Debug)]
struct Pinned {
    certificate: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if *end_entity == self.certificate {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(rustls::Error::General("the server has another certificate than the one in its directory".into()))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::TcpListener,
        thread,
    };

    use rustls::{ServerConfig, ServerConnection, Stream};
    use rustls_pki_types::PrivateKeyDer;

    use super::*;

    /// A certificate for localhost, as a file and for a server.
    fn certificate(path: &Path) -> ServerConfig {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        fs::write(path, made.cert.pem()).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap()
    }

    /// Answers one request over TLS, if the client likes the certificate.
    fn answer_once(config: ServerConfig) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            let mut connection = ServerConnection::new(Arc::new(config)).unwrap();
            let mut stream = Stream::new(&mut connection, &mut socket);
            if stream.read(&mut [0; 4096]).is_ok() {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
            }
        });
        port
    }

    fn target(port: u16, certificate: &Path) -> Target {
        Target {
            host: "127.0.0.1".into(),
            port,
            name: "localhost".into(),
            certificate: Some(certificate.to_owned()),
            base_path: String::new(),
        }
    }

    #[test]
    fn only_the_certificate_in_the_file_is_trusted() {
        let folder = tempfile::tempdir().unwrap();
        let (own, other) = (folder.path().join("own.pem"), folder.path().join("other.pem"));
        let server = certificate(&own);
        certificate(&other);
        let answer = get(&target(answer_once(server.clone()), &own), "/healthz").unwrap();
        assert_eq!(answer, (StatusCode::OK, "ok".to_owned()));
        let error = get(&target(answer_once(server), &other), "/healthz").unwrap_err();
        assert!(format!("{error:#}").contains("another certificate"), "{error:#}");
    }
}

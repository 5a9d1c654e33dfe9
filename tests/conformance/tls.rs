//! TLS: which servers a client trusts.

use std::sync::Arc;

use outpost::bus::{Client, ConnectOptions, Connector, Error, State, Trust};
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer},
};
use tokio::io::DuplexStream;
use tokio_rustls::TlsAcceptor;

use crate::server::{Server, in_time};

struct Keys {
    certificate: CertificateDer<'static>,
    pem: String,
    acceptor: TlsAcceptor,
}

fn keys() -> Keys {
    let made = rcgen::generate_simple_self_signed(vec!["server".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    Keys { certificate: made.cert.der().clone(), pem: made.cert.pem(), acceptor: TlsAcceptor::from(Arc::new(config)) }
}

/// Options of a client that reaches the server through TLS.
fn options(server: &Server, keys: &Keys, trust: Trust) -> ConnectOptions {
    let (acceptor, server) = (keys.acceptor.clone(), server.clone());
    let connector = Connector::new(move || {
        let (acceptor, server) = (acceptor.clone(), server.clone());
        let (near, far): (DuplexStream, DuplexStream) = tokio::io::duplex(1 << 20);
        tokio::spawn(async move {
            // A client that does not trust the certificate ends the handshake.
            let Ok(mut stream) = acceptor.accept(far).await else { return };
            let Ok(mut plain) = server.open() else { return };
            let _ = tokio::io::copy_bidirectional(&mut stream, &mut plain).await;
        });
        std::future::ready(Ok(near))
    });
    ConnectOptions { connector: Some(connector), trust, ..ConnectOptions::new("https://server") }
}

#[tokio::test]
async fn only_servers_one_trusts_are_connected_to() {
    let (server, own, other) = (Server::start(), keys(), keys());
    let folder = tempfile::tempdir().unwrap();
    let roots = folder.path().join("roots.pem");
    std::fs::write(&roots, &own.pem).unwrap();
    for trust in [Trust::Certificate(own.certificate.to_vec()), Trust::Roots(roots.clone()), Trust::Anyone] {
        let client = Client::connect(options(&server, &own, trust)).unwrap();
        in_time(client.connected()).await.unwrap();
        assert_eq!(client.state(), State::Connected);
    }
    for trust in [Trust::Certificate(own.certificate.to_vec()), Trust::Roots(roots), Trust::WebRoots] {
        let once = ConnectOptions { reconnect: false, ..options(&server, &other, trust) };
        let client = Client::connect(once).unwrap();
        let error = in_time(client.connected()).await.unwrap_err();
        assert!(matches!(error, Error::Connect(_)), "{error:?}");
    }
    let missing = Trust::Roots(folder.path().join("missing.pem"));
    assert!(Client::connect(options(&server, &own, missing)).is_err());
}

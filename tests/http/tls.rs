//! C. TLS.

use std::{fs, net::IpAddr, os::unix::fs::PermissionsExt, path::Path, sync::Arc};

use http_body_util::Full;
use hyper_util::rt::TokioIo;
use outpost::http::Tls;
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::support::{Plan, Reply, Site, TOKEN};

fn open(directory: &Path) -> Arc<Tls> {
    Arc::new(Tls::open(directory.to_owned(), "localhost", &[]).unwrap())
}

fn site(tls: &Arc<Tls>) -> Site {
    Plan { tls: Some(tls.clone()), ..Plan::with_token() }.start()
}

/// Connects, trusting nothing but the certificate in the file.
async fn get(site: &Site, certificate: &Path, name: &'static str, target: &str) -> Result<Reply, std::io::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(certificate).unwrap()).unwrap();
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let stream = TcpStream::connect(site.address).await?;
    let stream = TlsConnector::from(Arc::new(config)).connect(ServerName::try_from(name).unwrap(), stream).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = site.request("GET", target).body(Full::<bytes::Bytes>::default()).unwrap();
    Ok(Reply::of(sender.send_request(request).await.unwrap()).await)
}

#[tokio::test]
async fn hub_027_https_with_the_right_names() {
    let directory = tempfile::tempdir().unwrap();
    let tls = open(directory.path());
    let site = site(&tls);
    for name in ["localhost", "127.0.0.1", "::1"] {
        let reply = get(&site, &tls.certificate_path(), name, "/healthz").await.unwrap();
        assert_eq!(reply.status, 200, "{name}");
    }
    assert!(get(&site, &tls.certificate_path(), "other.example", "/healthz").await.is_err());
}

#[tokio::test]
async fn hub_028_and_030_files_are_private_and_used_again() {
    let directory = tempfile::tempdir().unwrap();
    let nested = directory.path().join("a/b");
    let tls = open(&nested);
    assert_eq!(tls.key_path(), nested.join("localhost.key.pem"));
    assert_eq!(tls.certificate_path(), nested.join("localhost.cert.pem"));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&tls.key_path()), mode(&tls.certificate_path())), (0o600, 0o644));
    let before = fs::read(tls.certificate_path()).unwrap();
    open(&nested);
    assert_eq!(before, fs::read(tls.certificate_path()).unwrap());
    fs::remove_file(tls.key_path()).unwrap();
    open(&nested);
    assert_ne!(before, fs::read(tls.certificate_path()).unwrap());
}

/// What an operator would put there.
fn replace(tls: &Tls) {
    let key = rcgen::KeyPair::generate().unwrap();
    let names = vec!["localhost".to_owned(), "lab.example".to_owned()];
    let certificate = rcgen::CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
    fs::write(tls.key_path(), key.serialize_pem()).unwrap();
    fs::write(tls.certificate_path(), certificate.pem()).unwrap();
}

#[tokio::test]
async fn hub_029_the_operators_certificate_is_used() {
    let directory = tempfile::tempdir().unwrap();
    let made = open(directory.path());
    let old = directory.path().join("old.pem");
    fs::copy(made.certificate_path(), &old).unwrap();
    replace(&made);
    let tls = open(directory.path());
    let site = site(&tls);
    assert_eq!(get(&site, &tls.certificate_path(), "lab.example", "/healthz").await.unwrap().status, 200);
    assert!(get(&site, &old, "localhost", "/healthz").await.is_err());
}

#[tokio::test]
async fn certificates_are_swapped_while_the_server_runs() {
    let directory = tempfile::tempdir().unwrap();
    let tls = open(directory.path());
    let site = site(&tls);
    replace(&tls);
    assert!(get(&site, &tls.certificate_path(), "lab.example", "/healthz").await.is_err());
    tls.reload();
    assert_eq!(get(&site, &tls.certificate_path(), "lab.example", "/healthz").await.unwrap().status, 200);
    // A file that cannot be used changes nothing.
    let good = directory.path().join("good.pem");
    fs::copy(tls.certificate_path(), &good).unwrap();
    fs::write(tls.certificate_path(), "nonsense").unwrap();
    tls.reload();
    assert_eq!(get(&site, &good, "lab.example", "/healthz").await.unwrap().status, 200);
}

#[tokio::test]
async fn hub_031_the_cookie_is_secure() {
    let directory = tempfile::tempdir().unwrap();
    let tls = open(directory.path());
    let site = site(&tls);
    let reply = get(&site, &tls.certificate_path(), "localhost", &format!("/?auth_token={TOKEN}")).await.unwrap();
    assert_eq!(reply.status, 303);
    assert!(reply.header("set-cookie").ends_with("; HttpOnly; Secure; SameSite=Lax"));
}

#[tokio::test]
async fn plain_http_on_the_tls_port_is_redirected() {
    let directory = tempfile::tempdir().unwrap();
    let site = site(&open(directory.path()));
    let reply = site.ask("POST", "/x/y?z=1", &[]).await;
    assert_eq!((reply.status, reply.header("location")), (308, format!("https://{}/x/y?z=1", site.host()).as_str()));
    assert_eq!(reply.header("connection"), "close");
    // Nothing else is served there, and rubbish does no harm.
    assert_eq!(site.get("/healthz").await.status, 308);
    assert!(site.raw("\0\0\0\0\r\n\r\n").await.starts_with("HTTP/1.1 400"));
    assert_eq!(site.raw("\x16\x03\x01garbage").await.matches("HTTP").count(), 0);
}

#[test]
fn an_ip_literal_as_host_works() {
    let directory = tempfile::tempdir().unwrap();
    let addresses: [IpAddr; 1] = ["192.0.2.7".parse().unwrap()];
    let tls = Tls::open(directory.path().to_owned(), "[::1]", &addresses).unwrap();
    assert!(tls.certificate_path().ends_with("::1.cert.pem"));
}

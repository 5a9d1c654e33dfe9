//! The certificate's files: reading, making, renewing.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    net::IpAddr,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, SanType};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::Error;

/// Marks certificates of our own making; all others belong to the operator.
const MARK: &str = "Outpost self-signed";
const DAY: Duration = Duration::from_secs(24 * 3600);
const VALID_DAYS: u32 = 365;
/// A certificate of our own making is renewed when fewer days than these remain.
const RENEW_DAYS: u32 = 30;

/// A certificate chain and its key.
pub(super) struct Pair {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
}

/// Where the files are and whom a new certificate is for.
#[derive(Debug)]
pub(super) struct Files {
    directory: PathBuf,
    pub(super) key: PathBuf,
    pub(super) certificate: PathBuf,
    host: String,
    addresses: Vec<IpAddr>,
}

impl Files {
    pub(super) fn new(directory: PathBuf, host: &str, addresses: &[IpAddr]) -> Files {
        let host = host.trim_matches(['[', ']']).to_owned();
        let safe = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':') { c } else { '_' };
        let stem: String = host.chars().map(safe).collect();
        Files {
            key: directory.join(format!("{stem}.key.pem")),
            certificate: directory.join(format!("{stem}.cert.pem")),
            directory,
            host,
            addresses: addresses.to_vec(),
        }
    }

    /// Reads the pair; makes a new one first if a file is missing or our own certificate is due.
    pub(super) fn load_or_make(&self) -> Result<Pair, Error> {
        let missing = !exists(&self.key)? || !exists(&self.certificate)?;
        if missing || self.is_due() {
            self.make()?;
        }
        self.load()
    }

    /// Whether the certificate is of our own making and expires soon (or is not valid yet: the clock was wrong when it was made).
    pub(super) fn is_due(&self) -> bool {
        let Ok(chain) = self.chain() else { return false };
        chain.first().and_then(|certificate| X509Certificate::from_der(certificate).ok()).is_some_and(
            |(_, certificate)| {
                let own =
                    certificate.subject().iter_organization().any(|name| name.as_str().is_ok_and(|name| name == MARK));
                let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
                let now = i64::try_from(now).unwrap_or(i64::MAX);
                let soon = i64::try_from((DAY * RENEW_DAYS).as_secs()).unwrap_or(i64::MAX);
                let validity = certificate.validity();
                own && (validity.not_after.timestamp().saturating_sub(now) < soon
                    || now < validity.not_before.timestamp())
            },
        )
    }

    fn chain(&self) -> Result<Vec<CertificateDer<'static>>, Error> {
        let content = |reason: String| Error::Content { path: self.certificate.clone(), reason };
        let pem =
            fs::read(&self.certificate).map_err(|source| Error::File { path: self.certificate.clone(), source })?;
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&pem)
            .collect::<Result<_, _>>()
            .map_err(|error| content(error.to_string()))?;
        if chain.is_empty() { Err(content("contains no certificate".into())) } else { Ok(chain) }
    }

    fn load(&self) -> Result<Pair, Error> {
        let pem = fs::read(&self.key).map_err(|source| Error::File { path: self.key.clone(), source })?;
        let key = PrivateKeyDer::from_pem_slice(&pem)
            .map_err(|error| Error::Content { path: self.key.clone(), reason: error.to_string() })?;
        Ok(Pair { chain: self.chain()?, key })
    }

    fn make(&self) -> Result<(), Error> {
        let key = KeyPair::generate()?;
        let certificate = self.parameters(SystemTime::now())?.self_signed(&key)?;
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.directory)
            .map_err(|source| Error::File { path: self.directory.clone(), source })?;
        write(&self.key, &key.serialize_pem(), 0o600)?;
        write(&self.certificate, &certificate.pem(), 0o644)?;
        tracing::info!(certificate = %self.certificate.display(), days = VALID_DAYS, "made a self-signed certificate");
        Ok(())
    }

    fn parameters(&self, now: SystemTime) -> Result<CertificateParams, Error> {
        let mut names = vec![self.host.clone()];
        names.extend(["localhost", "127.0.0.1", "::1"].map(str::to_owned));
        names.extend(machine_names());
        names.extend(self.addresses.iter().map(IpAddr::to_string));
        let mut alternatives: Vec<SanType> = Vec::new();
        for name in names {
            let name = match name.parse::<IpAddr>() {
                Ok(address) if address.is_unspecified() => continue,
                Ok(address) => SanType::IpAddress(address),
                Err(_) => SanType::DnsName(name.try_into()?),
            };
            if !alternatives.contains(&name) {
                alternatives.push(name);
            }
        }
        let mut subject = DistinguishedName::new();
        subject.push(DnType::CommonName, self.host.as_str());
        subject.push(DnType::OrganizationName, MARK);
        let mut parameters = CertificateParams::default();
        parameters.subject_alt_names = alternatives;
        parameters.distinguished_name = subject;
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        // Peers whose clock is a little behind shall not be turned away.
        parameters.not_before = (now - DAY).into();
        parameters.not_after = (now + DAY * VALID_DAYS).into();
        Ok(parameters)
    }
}

/// The machine's name, and the one it has on a local network without a name server.
fn machine_names() -> Vec<String> {
    let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default();
    let valid = |name: &str| {
        !name.is_empty()
            && name.len() <= 63
            && !name.starts_with('-')
            && !name.ends_with('-')
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    match name.split('.').all(valid) {
        true if name.contains('.') => vec![name],
        true => vec![format!("{name}.local"), name],
        false => Vec::new(),
    }
}

fn exists(path: &Path) -> Result<bool, Error> {
    path.try_exists().map_err(|source| Error::File { path: path.to_owned(), source })
}

/// Puts a file in place at once, never readable by more than `mode` says.
fn write(path: &Path, text: &str, mode: u32) -> Result<(), Error> {
    let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
    let put = || -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&temporary)?;
        // The mask of the process may have taken bits away, and an old file keeps its mode.
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    put().map_err(|source| {
        let _ = fs::remove_file(&temporary);
        Error::File { path: path.to_owned(), source }
    })
}

#[cfg(test)]
mod tests {
    use x509_parser::extensions::GeneralName;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn files(directory: &Path, host: &str) -> Files {
        Files::new(directory.to_owned(), host, &[[192, 168, 7, 7].into()])
    }

    #[test]
    fn hub_027_and_028_names_and_modes() {
        let directory = tempfile::tempdir().unwrap();
        let files = files(&directory.path().join("a/b"), "lab.example");
        let pair = files.load_or_make().unwrap();
        assert_eq!(files.key.file_name().unwrap(), "lab.example.key.pem");
        assert_eq!((mode(&files.key), mode(&files.certificate)), (0o600, 0o644));
        let (_, certificate) = X509Certificate::from_der(&pair.chain[0]).unwrap();
        let names = &certificate.subject_alternative_name().unwrap().unwrap().value.general_names;
        for name in ["lab.example", "localhost"] {
            assert!(names.contains(&GeneralName::DNSName(name)), "{name}");
        }
        for address in [&[127, 0, 0, 1][..], &[192, 168, 7, 7], &std::net::Ipv6Addr::LOCALHOST.octets()] {
            assert!(names.contains(&GeneralName::IPAddress(address)), "{address:?}");
        }
        let again = files.load_or_make().unwrap();
        assert_eq!(pair.chain, again.chain);
        assert!(fs::read_dir(&files.directory).unwrap().count() == 2);
    }

    #[test]
    fn an_address_as_host_becomes_an_ip_name() {
        let directory = tempfile::tempdir().unwrap();
        let pair = files(directory.path(), "[2001:db8::5]").load_or_make().unwrap();
        let (_, certificate) = X509Certificate::from_der(&pair.chain[0]).unwrap();
        let names = &certificate.subject_alternative_name().unwrap().unwrap().value.general_names;
        let expected: std::net::Ipv6Addr = "2001:db8::5".parse().unwrap();
        assert!(names.contains(&GeneralName::IPAddress(&expected.octets())));
        assert!(!names.iter().any(|name| matches!(name, GeneralName::DNSName(name) if name.contains("db8"))));
    }

    /// Writes a pair that is valid around `now`, with or without our mark.
    fn put(files: &Files, now: SystemTime, own: bool) {
        let key = KeyPair::generate().unwrap();
        let mut parameters = files.parameters(now).unwrap();
        if !own {
            parameters.distinguished_name = DistinguishedName::new();
        }
        fs::create_dir_all(&files.directory).unwrap();
        write(&files.key, &key.serialize_pem(), 0o600).unwrap();
        write(&files.certificate, &parameters.self_signed(&key).unwrap().pem(), 0o644).unwrap();
    }

    #[test]
    fn our_own_is_renewed_in_time() {
        let directory = tempfile::tempdir().unwrap();
        let files = files(directory.path(), "localhost");
        for (age, due) in [(DAY * 300, false), (DAY * 340, true), (DAY * 800, true)] {
            put(&files, SystemTime::now() - age, true);
            assert_eq!(files.is_due(), due, "{age:?}");
        }
        put(&files, SystemTime::now() + DAY * 100, true);
        assert!(files.is_due());
        let before = fs::read(&files.certificate).unwrap();
        files.load_or_make().unwrap();
        assert_ne!(before, fs::read(&files.certificate).unwrap());
        assert!(!files.is_due());
    }

    #[test]
    fn hub_029_the_operators_own_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let files = files(directory.path(), "localhost");
        put(&files, SystemTime::now() - DAY * 800, false);
        let before = fs::read(&files.certificate).unwrap();
        files.load_or_make().unwrap();
        assert_eq!(before, fs::read(&files.certificate).unwrap());
    }

    #[test]
    fn nonsense_is_an_error_that_names_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let files = files(directory.path(), "localhost");
        fs::write(&files.key, "x").unwrap();
        fs::write(&files.certificate, "x").unwrap();
        let error = files.load_or_make().err().unwrap().to_string();
        assert!(error.contains("localhost.key.pem"), "{error}");
    }
}

//! TLS: which certificate the server presents, and which clients it accepts. After the handshake the stream is handled
//! like any other.
//!
//! Only versions 1.2 and 1.3 with forward secrecy and authenticated encryption: rustls supports nothing weaker. The
//! certificate can be replaced while connections are open; each connection keeps the certificate that it started with.

pub mod client;
mod handshake;

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use ring::digest::{SHA256, digest};
use rustls::crypto::{CryptoProvider, ring as suites};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig};
use x509_cert::Certificate;
use x509_cert::der::Decode;

use crate::domain::text::{self, counted};
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::refusals;

pub use handshake::{Opened, shake_hands};

const DAY_MS: i64 = 24 * 60 * 60 * 1000;
/// How many days before its end a certificate causes a warning.
pub const WARN_DAYS: i64 = 30;

/// The paths of certificate and key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TlsFiles {
    /// The server's certificate in PEM, followed by the intermediate certificates.
    pub certificate: PathBuf,
    /// Its private key in PEM.
    pub key: PathBuf,
    /// Only clients with a certificate of one of these authorities may connect.
    pub client_ca: Option<PathBuf>,
}

/// A certificate with its key, ready for use.
pub struct Identity {
    config: Arc<ServerConfig>,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
    /// SHA-256 of the certificate, as [`fingerprint`] writes it.
    pub fingerprint: String,
}

/// The identity that is in use.
#[derive(Clone)]
pub struct LiveTls(Arc<ArcSwap<Identity>>);

impl LiveTls {
    pub fn new(identity: Identity) -> LiveTls {
        LiveTls(Arc::new(ArcSwap::from_pointee(identity)))
    }

    /// Connections that begin from now on use this identity.
    pub fn replace(&self, identity: Identity) {
        self.0.store(Arc::new(identity));
    }

    pub fn now(&self) -> Arc<Identity> {
        self.0.load_full()
    }
}

impl Identity {
    /// Reads the files. Refuses what no client could use, with a sentence that names the file.
    pub fn load(files: &TlsFiles) -> Result<Identity> {
        let chain = certificates(&files.certificate, "certificate")?;
        let key = private_key(&files.key)?;
        let leaf = chain
            .first()
            .ok_or_else(|| refused(&files.certificate, "holds no certificate"))?;
        let parsed = Certificate::from_der(leaf)
            .map_err(|err| refused(&files.certificate, &format!("cannot be understood: {err}")))?;
        let validity = parsed.tbs_certificate().validity();
        let at = |time: x509_cert::time::Time| {
            let since = time.to_unix_duration();
            Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
        };
        let (not_before, not_after) = (at(validity.not_before), at(validity.not_after));
        let fingerprint = fingerprint(leaf);
        Ok(Identity {
            config: Arc::new(config(files, chain, key)?),
            not_before,
            not_after,
            fingerprint,
        })
    }

    /// Whole days until the certificate ends; negative after that.
    pub fn days_left(&self, now: Timestamp) -> i64 {
        (self.not_after.0 - now.0).div_euclid(DAY_MS)
    }

    /// The warning for the administrator, if there is one.
    pub fn warning(&self, now: Timestamp) -> Option<String> {
        let days = self.days_left(now);
        if now >= self.not_after {
            Some(format!(
                "the TLS certificate ended at {}; clients refuse it, renew it now",
                self.not_after
            ))
        } else if now < self.not_before {
            Some(format!(
                "the TLS certificate begins only at {}; clients refuse it until then, check the clock",
                self.not_before
            ))
        } else if days < WARN_DAYS {
            Some(format!(
                "the TLS certificate ends in {}, at {}; renew it",
                counted(days.unsigned_abs(), "day"),
                self.not_after
            ))
        } else {
            None
        }
    }
}

fn config(
    files: &TlsFiles,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig> {
    let provider = Arc::new(suites::default_provider());
    let versions = &[&rustls::version::TLS13, &rustls::version::TLS12];
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(versions)
        .map_err(Error::internal)?;
    let builder = match &files.client_ca {
        Some(path) => builder.with_client_cert_verifier(verifier(path, provider)?),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(chain, key).map_err(|err| match err {
        rustls::Error::InconsistentKeys(_) => Error::Unavailable(refusals::verbatim(format!(
            "the TLS key {} does not belong to the certificate {}; name the two that were made together",
            files.key.display(),
            files.certificate.display()
        ))),
        other => Error::Unavailable(refusals::verbatim(format!(
            "TLS cannot use {} with {}: {other}",
            files.certificate.display(),
            files.key.display()
        ))),
    })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.ticketer = suites::Ticketer::new().map_err(Error::internal)?;
    Ok(config)
}

/// Accepts clients that have a certificate of these authorities, and no others.
fn verifier(path: &Path, provider: Arc<CryptoProvider>) -> Result<Arc<dyn ClientCertVerifier>> {
    let mut authorities = RootCertStore::empty();
    for authority in certificates(path, "client CA")? {
        authorities
            .add(authority)
            .map_err(|err| refused(path, &format!("holds no authority: {err}")))?;
    }
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(authorities), provider).build();
    verifier.map_err(|err| refused(path, &format!("cannot be used: {err}")))
}

fn certificates(path: &Path, what: &str) -> Result<Vec<CertificateDer<'static>>> {
    let text = read(path, what)?;
    let found: std::result::Result<Vec<_>, pem::Error> =
        CertificateDer::pem_slice_iter(&text).collect();
    match found {
        Ok(found) if found.is_empty() => Err(refused(path, "holds no certificate in PEM")),
        Ok(found) => Ok(found),
        Err(err) => Err(refused(path, &format!("is not PEM: {err}"))),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>> {
    let mode = fs::metadata(path).map_or(0, |metadata| metadata.mode());
    if mode & 0o007 != 0 {
        let sentence = format!(
            "can be read by every user (mode {:03o}); close it with: chmod o= {}",
            mode & 0o777,
            path.display()
        );
        return Err(refused(path, &sentence));
    }
    let text = read(path, "key")?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|err| match err {
        pem::Error::NoItemsFound => refused(
            path,
            "holds no private key in PEM; one with a passphrase cannot be used",
        ),
        err => refused(path, &format!("is not PEM: {err}")),
    })
}

fn read(path: &Path, what: &str) -> Result<Vec<u8>> {
    let shown = path.display();
    let bytes = fs::read(path).map_err(|err: io::Error| {
        Error::Unavailable(refusals::verbatim(format!(
            "the TLS {what} {shown} cannot be read: {err}"
        )))
    })?;
    // Text around the PEM blocks may have any encoding. A file that begins with this byte is DER, which has its own
    // error.
    let is_der = bytes.first() == Some(&0x30);
    match text::is_utf16(&bytes) && !is_der {
        true => Err(Error::Unavailable(refusals::verbatim(format!(
            "the TLS {what} {shown} {}",
            refusals::values::utf16()
        )))),
        false => Ok(bytes),
    }
}

/// `AB:CD:…`, in the format of browsers and openssl.
pub fn fingerprint(certificate: &[u8]) -> String {
    let digits = digest(&SHA256, certificate);
    let pairs: Vec<String> = digits.as_ref().iter().map(|b| format!("{b:02X}")).collect();
    pairs.join(":")
}

fn refused(path: &Path, sentence: &str) -> Error {
    Error::Unavailable(refusals::verbatim(format!(
        "the TLS file {} {sentence}",
        path.display()
    )))
}

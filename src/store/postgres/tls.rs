//! TLS towards the server: rustls over the socket, with the name and the authority of the certificate checked.
//!
//! The server decides with its first byte whether it speaks TLS. A connection that needs TLS and does not get it is
//! refused before the login (tokio-postgres, `SslMode::Require`).

use crate::error::{Error, Result};
use crate::refusals::verbatim;
use rustls::crypto::ring as suites;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::Socket;
use tokio_postgres::tls::{self, ChannelBinding, MakeTlsConnect, TlsConnect};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Whom connections trust.
#[derive(Clone)]
pub struct Tls(Arc<ClientConfig>);

/// Begins TLS with the server of one name.
pub struct Begin {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

/// An encrypted connection.
pub struct Stream(TlsStream<Socket>);

/// What connections log in with, if the server asks for a certificate.
#[derive(Clone, Copy, Debug)]
pub struct ClientCertificate<'a> {
    /// A file with the certificate and those of its authorities, in PEM.
    pub certificate: &'a Path,
    /// The private key, in PEM.
    pub key: &'a [u8],
}

fn refused(path: &Path, why: &dyn std::fmt::Display) -> Error {
    Error::Unavailable(verbatim(format!("{}: {why}", path.display())))
}

/// The certificates of a file in PEM.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let read = || CertificateDer::pem_file_iter(path)?.collect::<std::result::Result<Vec<_>, _>>();
    let found = read().map_err(|err| refused(path, &err))?;
    match found.is_empty() {
        true => Err(refused(path, &"holds no certificate")),
        false => Ok(found),
    }
}

impl Tls {
    /// Trusts the authorities of a file in PEM, and no others.
    pub fn read(authorities: &Path, client: Option<ClientCertificate<'_>>) -> Result<Tls> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(authorities)? {
            roots.add(certificate).map_err(|err| {
                let why = format!("holds a certificate that is no authority ({err})");
                refused(authorities, &why)
            })?;
        }
        let config = ClientConfig::builder_with_provider(Arc::new(suites::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(Error::internal)?
            .with_root_certificates(roots);
        let config = match client {
            None => config.with_no_client_auth(),
            Some(ClientCertificate { certificate, key }) => {
                let key = PrivateKeyDer::from_pem_slice(key)
                    .map_err(|_| refused(certificate, &"its private key cannot be read as PEM"))?;
                config
                    .with_client_auth_cert(certificates(certificate)?, key)
                    .map_err(|err| refused(certificate, &err))?
            }
        };
        Ok(Tls(Arc::new(config)))
    }
}

impl MakeTlsConnect<Socket> for Tls {
    type Stream = Stream;
    type TlsConnect = Begin;
    type Error = rustls::pki_types::InvalidDnsNameError;

    fn make_tls_connect(&mut self, host: &str) -> std::result::Result<Begin, Self::Error> {
        Ok(Begin {
            config: self.0.clone(),
            name: ServerName::try_from(host.to_owned())?,
        })
    }
}

impl TlsConnect<Socket> for Begin {
    type Stream = Stream;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Stream>> + Send>>;

    fn connect(self, socket: Socket) -> Self::Future {
        let connecting = TlsConnector::from(self.config).connect(self.name, socket);
        Box::pin(async { connecting.await.map(Stream) })
    }
}

impl tls::TlsStream for Stream {
    /// The certificate is checked, so the password needs no binding to it.
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, into)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::super::server::{CERTIFIED, Server, TEMPLATE};
    use super::super::{Access, Address, Postgres};
    use super::*;

    #[test]
    fn a_user_logs_in_with_a_certificate() {
        let Some(server) = Server::start_encrypted() else {
            return;
        };
        let file = |name: &str| server.folder.join(name);
        let (authorities, certificate) = (file("server.crt"), file("client.crt"));
        let (key, other) = (
            std::fs::read(file("client.key")).unwrap(),
            std::fs::read(file("server.key")).unwrap(),
        );
        let text = format!(
            "host=localhost port={} user={CERTIFIED} dbname={TEMPLATE}",
            server.port
        );
        let open = |client: Option<&[u8]>| {
            let access = Access {
                authorities: Some(&authorities),
                client: client.map(|key| ClientCertificate {
                    certificate: &certificate,
                    key,
                }),
                ..Access::default()
            };
            Postgres::open(&Address::of(&text, access)?)
        };
        drop(open(Some(&key)).unwrap());
        let why = open(None).err().unwrap().to_string();
        assert!(why.contains("certificate"), "{why}");
        for bad in [other.as_slice(), b"", b"none"] {
            let why = open(Some(bad)).err().unwrap().to_string();
            assert!(why.contains("client.crt"), "{why}");
        }
        let plain = Access {
            client: Some(ClientCertificate {
                certificate: &certificate,
                key: &key,
            }),
            ..Access::default()
        };
        let why = Address::of(&text, plain).err().unwrap().to_string();
        assert!(why.contains("without TLS"), "{why}");
    }
}

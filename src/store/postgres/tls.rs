//! TLS towards the server: rustls over the socket, with the name and the authority of the certificate checked.
//!
//! The server decides with its first byte whether it speaks TLS. A connection that needs TLS and does not get it is
//! refused before the login (tokio-postgres, `SslMode::Require`).

use crate::error::{Error, Result};
use crate::refusals::verbatim;
use rustls::crypto::ring as suites;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
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

impl Tls {
    /// Trusts the authorities of a file in PEM, and no others.
    pub fn read(authorities: &Path) -> Result<Tls> {
        let refused = |why: String| {
            let path = authorities.display();
            Error::Unavailable(verbatim(format!("{path}: {why}")))
        };
        let mut roots = RootCertStore::empty();
        let found =
            CertificateDer::pem_file_iter(authorities).map_err(|err| refused(err.to_string()))?;
        for certificate in found {
            let certificate = certificate.map_err(|err| refused(err.to_string()))?;
            roots.add(certificate).map_err(|err| {
                refused(format!("holds a certificate that is no authority ({err})"))
            })?;
        }
        if roots.is_empty() {
            return Err(refused("holds no certificate".to_owned()));
        }
        let config = ClientConfig::builder_with_provider(Arc::new(suites::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(Error::internal)?
            .with_root_certificates(roots)
            .with_no_client_auth();
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

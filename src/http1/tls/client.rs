//! TLS towards other machines: the connections of sinks and of probes. The certificate of the other side is checked against
//! authorities that the administrator names, or against those of the operating system.

use super::{certificates, refused};
use crate::error::{Error, Result};
use crate::http1::timed::Timed;
use crate::refusals;
use rustls::crypto::ring as suites;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// Where operating systems have their authorities: Debian and Alpine, Fedora, SUSE.
const SYSTEM: [&str; 3] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
];

/// The authorities that connections of this process trust.
#[derive(Clone, Debug)]
pub struct Authorities(Arc<ClientConfig>);

/// An encrypted connection.
#[derive(Debug)]
pub struct TlsStream(StreamOwned<ClientConnection, Timed<TcpStream>>);

impl Authorities {
    /// Reads authorities in PEM from a file, or from the one of the operating system.
    pub fn read(file: Option<&Path>) -> Result<Authorities> {
        let system = || SYSTEM.iter().map(PathBuf::from).find(|path| path.exists());
        let path = file.map(Path::to_owned).or_else(system).ok_or_else(|| {
            Error::Unavailable(refusals::verbatim(
                "this machine has no file of certificate authorities; name one with notice_ca or server_ca, or for a probe with --ca",
            ))
        })?;
        let mut roots = RootCertStore::empty();
        let found = certificates(&path, "file of certificate authorities")?;
        // A file of the operating system may have old certificates that rustls refuses; one that was named may not.
        let (_, ignored) = roots.add_parsable_certificates(found);
        if roots.is_empty() || file.is_some() && ignored > 0 {
            return Err(refused(&path, "holds a certificate that is no authority"));
        }
        let config = ClientConfig::builder_with_provider(Arc::new(suites::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(Error::internal)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Authorities(Arc::new(config)))
    }

    /// Begins TLS with a server of this name on an open connection. The deadline of the connection applies.
    pub fn connect(&self, name: &str, stream: Timed<TcpStream>) -> io::Result<TlsStream> {
        let name = ServerName::try_from(name.to_owned())
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "this is no host name"))?;
        let session = ClientConnection::new(self.0.clone(), name).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(session, stream);
        while stream.conn.is_handshaking() {
            stream
                .conn
                .complete_io(&mut stream.sock)
                .map_err(explained)?;
        }
        Ok(TlsStream(stream))
    }
}

/// An error of a handshake, in words where rustls has none.
fn explained(err: io::Error) -> io::Error {
    let cause = err.get_ref().map(ToString::to_string).unwrap_or_default();
    match cause.contains("CaUsedAsEndEntity") {
        true => io::Error::new(
            err.kind(),
            "the certificate of the other side is that of an authority (CA:TRUE), which no server may present; make one for the \
             server, with -addext basicConstraints=CA:FALSE",
        ),
        false => err,
    }
}

impl TlsStream {
    /// The connection below.
    pub fn socket(&self) -> &TcpStream {
        &self.0.sock.socket
    }

    /// Gives all further reads and writes another deadline.
    pub fn set_end(&mut self, end: Instant) {
        self.0.sock.end = end;
    }
}

impl Read for TlsStream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.read(into)
    }
}

impl Write for TlsStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

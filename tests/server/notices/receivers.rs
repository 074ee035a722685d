//! What sinks send to in these tests: an HTTP server that remembers requests, with and without TLS.

use crate::support::wait;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU16, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// A request that was posted.
#[derive(Clone, Debug)]
pub struct Posted {
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Posted {
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value)
    }
}

/// A server that answers every request with one status.
pub struct Receiver {
    pub address: SocketAddr,
    /// The status of answers from now on.
    pub status: Arc<AtomicU16>,
    /// A request whose body contains this text is refused with status 403.
    pub forbidden: Arc<Mutex<Option<String>>>,
    posted: Arc<Mutex<Vec<Posted>>>,
}

impl Receiver {
    /// Listens on loopback. With a configuration, only TLS is answered.
    pub fn start(tls: Option<Arc<ServerConfig>>) -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let receiver = Receiver {
            address: listener.local_addr().unwrap(),
            status: Arc::new(AtomicU16::new(204)),
            forbidden: Arc::default(),
            posted: Arc::default(),
        };
        let (status, posted) = (receiver.status.clone(), receiver.posted.clone());
        let forbidden = receiver.forbidden.clone();
        // The thread ends with the test program.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let answered = match &tls {
                    None => answer(stream, &status, &forbidden, &posted),
                    Some(tls) => {
                        let session = ServerConnection::new(tls.clone()).unwrap();
                        answer(
                            StreamOwned::new(session, stream),
                            &status,
                            &forbidden,
                            &posted,
                        )
                    }
                };
                // A client that refuses the certificate ends the connection.
                drop(answered);
            }
        });
        receiver
    }

    pub fn posted(&self) -> Vec<Posted> {
        self.posted.lock().unwrap().clone()
    }

    /// Waits for a request whose body contains a text.
    #[track_caller]
    pub fn wait_for(&self, text: &str) -> Posted {
        wait::some(&format!("{text:?} was posted"), || {
            let posted = self.posted();
            posted.into_iter().find(|one| one.body.contains(text))
        })
    }
}

fn answer(
    mut stream: impl Read + Write,
    status: &AtomicU16,
    forbidden: &Mutex<Option<String>>,
    posted: &Mutex<Vec<Posted>>,
) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    let (head, length) = loop {
        let count = stream.read(&mut piece)?;
        if count == 0 {
            return Ok(());
        }
        bytes.extend_from_slice(&piece[..count]);
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
            continue;
        };
        let head = String::from_utf8(bytes[..end].to_vec()).expect("the head is text");
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("Content-Length: "))
            .expect("there is a length");
        let length: usize = length.parse().unwrap();
        break (head, end + 4 + length);
    };
    while bytes.len() < length {
        let count = stream.read(&mut piece)?;
        bytes.extend_from_slice(&piece[..count]);
    }
    let mut lines = head.lines();
    let first = lines.next().unwrap_or_default();
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let header = |line: &str| {
        let (name, value) = line.split_once(": ").expect("a header");
        (name.to_ascii_lowercase(), value.to_owned())
    };
    let body = bytes[head.len() + 4..length].to_vec();
    let body = String::from_utf8(body).expect("the body is text");
    let forbidden = forbidden.lock().unwrap().clone();
    let status = match forbidden.is_some_and(|text| body.contains(&text)) {
        true => 403,
        false => status.load(SeqCst),
    };
    posted.lock().unwrap().push(Posted {
        path,
        headers: lines.map(header).collect(),
        body,
    });
    // No request must follow the redirect; the body is never read.
    let text =
        format!("HTTP/1.1 {status} x\r\nLocation: /elsewhere\r\nContent-Length: 1000000\r\n\r\nx");
    stream.write_all(text.as_bytes())?;
    stream.flush()
}

/// A certificate for `localhost` and 127.0.0.1 in PEM, and a configuration with it.
pub fn certificate() -> (String, Arc<ServerConfig>) {
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(names).unwrap();
    let (pem, key) = (params.self_signed(&key).unwrap().pem(), key.serialize_pem());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()],
            PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
        )
        .unwrap();
    (pem, Arc::new(config))
}

/// An address on which nothing listens.
pub fn closed_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

/// Accepts one connection, and reads from it in a thread; the text so far is in the result.
pub fn reading(listener: &TcpListener) -> (TcpStream, Arc<Mutex<Vec<u8>>>) {
    listener.set_nonblocking(true).unwrap();
    let (stream, _) = wait::some("a connection is opened", || listener.accept().ok());
    stream.set_nonblocking(false).unwrap();
    let text: Arc<Mutex<Vec<u8>>> = Arc::default();
    let (mut reader, into) = (stream.try_clone().unwrap(), text.clone());
    thread::spawn(move || {
        let mut piece = [0; 4096];
        while let Ok(count @ 1..) = reader.read(&mut piece) {
            into.lock().unwrap().extend_from_slice(&piece[..count]);
        }
    });
    (stream, text)
}

/// A server that begins its answer to every connection, and then goes on with a byte now and then for as long as a client
/// listens.
pub fn dripping(begin: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut sent = stream.write_all(begin);
                while sent.is_ok() {
                    wait::pause(Duration::from_millis(100));
                    sent = stream.write_all(b"\x02");
                }
            });
        }
    });
    address
}

/// The head of a record of TLS with 16 KiB of a handshake.
pub const HANDSHAKE: &[u8] = b"\x16\x03\x03\x40\x00";

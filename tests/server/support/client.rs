//! A small blocking HTTP/1.1 client over TCP and Unix sockets, which can also send malformed requests.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use super::wait::{PATIENCE, Stopwatch};

/// The header that marks a request as coming from this machine.
pub const LOCAL: &str = "Latchkey-Local";

/// Where a server listens.
#[derive(Clone, Debug)]
pub enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl Address {
    pub fn connect(&self) -> Connection {
        self.try_connect()
            .unwrap_or_else(|err| panic!("no connection to {self:?}: {err}"))
    }

    /// Sends one request on a new connection and reads the whole answer.
    #[track_caller]
    pub fn call(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> Response {
        let bytes = self.request(method, path, headers, body);
        let mut connection = self.connect();
        connection.set_write_timeout(PATIENCE);
        let _ = connection.write_all(&bytes);
        connection.end_writing();
        let received = connection.receive(PATIENCE);
        let sent = String::from_utf8_lossy(&bytes).into_owned();
        match Response::parse(&sent, &received.bytes) {
            Some(response) if received.closed => response,
            _ => panic!(
                "no whole answer\n--- sent\n{sent}\n--- received\n{}",
                received.text()
            ),
        }
    }

    /// Like [`Address::call`]; `None` if the server does not run, or ends before its answer is complete.
    pub fn try_call(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> Option<Response> {
        let bytes = self.request(method, path, headers, body);
        let mut connection = self.try_connect().ok()?;
        connection.write_all(&bytes).ok()?;
        connection.end_writing();
        let received = connection.receive(PATIENCE);
        Response::parse(&String::from_utf8_lossy(&bytes), &received.bytes)
    }

    fn try_connect(&self) -> io::Result<Connection> {
        match self {
            Address::Tcp(address) => TcpStream::connect(address).map(Connection::Tcp),
            Address::Unix(path) => UnixStream::connect(path).map(Connection::Unix),
        }
    }

    fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> Vec<u8> {
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", self.host());
        // The requests of tests are marked as local by default; a test can set another value or none.
        if !headers
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case(LOCAL))
        {
            request.push_str(&format!("{LOCAL}: 1\r\n"));
        }
        let unmarked =
            |(name, value): &&(&str, &str)| name.eq_ignore_ascii_case(LOCAL) && value.is_empty();
        for (name, value) in headers.iter().filter(|header| !unmarked(header)) {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        if let Some(body) = body {
            request.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        request.push_str("\r\n");
        [request.as_bytes(), body.unwrap_or_default()].concat()
    }

    /// Sends `bytes` unchanged and returns what arrives until the server closes the connection or the time is over.
    ///
    /// A server may stop reading and close early, which many tests check, so a failed write is no error.
    pub fn raw(&self, bytes: &[u8], within: Duration) -> Received {
        let mut connection = self.connect();
        connection.set_write_timeout(within);
        let _ = connection.write_all(bytes);
        connection.receive(within)
    }

    fn host(&self) -> String {
        match self {
            Address::Tcp(address) => address.to_string(),
            Address::Unix(_) => "localhost".to_owned(),
        }
    }
}

/// A connection that stays open during a test.
#[derive(Debug)]
pub enum Connection {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Connection {
    /// Reads until the server closes the connection or the time is over.
    pub fn receive(&mut self, within: Duration) -> Received {
        let watch = Stopwatch::start();
        let mut bytes = Vec::new();
        let mut chunk = [0; 16 * 1024];
        while let Some(left) = within
            .checked_sub(watch.time())
            .filter(|left| !left.is_zero())
        {
            self.set_read_timeout(left);
            match self.read(&mut chunk) {
                Ok(0) => {
                    return Received {
                        bytes,
                        closed: true,
                    };
                }
                Ok(count) => bytes.extend_from_slice(&chunk[..count]),
                Err(err) if is_late(&err) => break,
                Err(err) if err.kind() == io::ErrorKind::Interrupted => (),
                Err(_) => {
                    return Received {
                        bytes,
                        closed: true,
                    };
                }
            }
        }
        Received {
            bytes,
            closed: false,
        }
    }

    /// Reads one answer and leaves the connection open. `None` if the connection ends before the answer is complete.
    pub fn receive_one(&mut self) -> Option<Response> {
        self.set_read_timeout(PATIENCE);
        let mut bytes = Vec::new();
        let mut chunk = [0; 16 * 1024];
        loop {
            if let Some(response) = Response::parse("", &bytes) {
                return Some(response);
            }
            match self.read(&mut chunk) {
                Ok(count) if count > 0 => bytes.extend_from_slice(&chunk[..count]),
                _ => return None,
            }
        }
    }

    /// Announces the end of the requests by closing the write direction. `Connection: close` would do that too, but
    /// takes another path through the server than the requests of real clients.
    pub fn end_writing(&self) {
        let _ = match self {
            Connection::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Connection::Unix(stream) => stream.shutdown(Shutdown::Write),
        };
    }

    pub fn set_read_timeout(&self, within: Duration) {
        match self {
            Connection::Tcp(stream) => stream.set_read_timeout(Some(within)),
            Connection::Unix(stream) => stream.set_read_timeout(Some(within)),
        }
        .expect("a read timeout can be set");
    }

    pub fn set_write_timeout(&self, within: Duration) {
        match self {
            Connection::Tcp(stream) => stream.set_write_timeout(Some(within)),
            Connection::Unix(stream) => stream.set_write_timeout(Some(within)),
        }
        .expect("a write timeout can be set");
    }
}

impl Read for Connection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Connection::Tcp(stream) => stream.read(buffer),
            Connection::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Connection {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Connection::Tcp(stream) => stream.write(bytes),
            Connection::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether a read ended because of its timeout.
fn is_late(err: &io::Error) -> bool {
    matches!(
        err.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}

/// The bytes that arrived.
#[derive(Debug)]
pub struct Received {
    pub bytes: Vec<u8>,
    /// Whether the server ended the connection, as opposed to the timeout.
    pub closed: bool,
}

impl Received {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    /// The statuses of all answers in the bytes, in order.
    pub fn statuses(&self) -> Vec<u16> {
        let text = self.text();
        text.match_indices("HTTP/1.")
            .filter_map(|(at, _)| text.get(at + 9..at + 12)?.parse().ok())
            .collect()
    }
}

/// One complete answer.
#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    /// Names in lower case, in the order of arrival.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// The request, for the message of a failed test.
    sent: String,
}

impl Response {
    /// `None` if `bytes` contain no complete answer. Answers to HEAD, and the statuses 204 and 304, have no body.
    pub fn parse(sent: &str, bytes: &[u8]) -> Option<Response> {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&bytes[..end]);
        let mut lines = head.split("\r\n");
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let mut response = Response {
            status,
            headers,
            body: bytes[end + 4..].to_vec(),
            sent: sent.to_owned(),
        };
        if sent.starts_with("HEAD ") || matches!(status, 204 | 304) {
            return Some(response);
        }
        let length: usize = response.header("content-length")?.parse().ok()?;
        response.body.truncate(length);
        (response.body.len() == length).then_some(response)
    }

    /// The first header with this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|(own, _)| own.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|err| panic!("no JSON: {err}\n{}", self.exchange()))
    }

    /// Panics with the whole exchange if the status differs.
    #[track_caller]
    pub fn expect(self, status: u16) -> Response {
        assert_eq!(
            self.status,
            status,
            "unexpected status\n{}",
            self.exchange()
        );
        self
    }

    /// The request and the answer, for messages.
    pub fn exchange(&self) -> String {
        let headers: String = self
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}\n"))
            .collect();
        format!(
            "--- sent\n{}\n--- received\n{}\n{headers}\n{}",
            self.sent,
            self.status,
            self.text()
        )
    }
}

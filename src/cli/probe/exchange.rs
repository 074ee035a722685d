//! Exchanges with the proxy: requests that are sent byte for byte, and answers. Nothing is escaped, merged, followed or
//! repeated.

use crate::http1::timed::Timed;
use crate::http1::tls::client::{Authorities, TlsStream};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// The longest time for opening a connection, and again for each exchange on it.
const PATIENCE: Duration = Duration::from_secs(5);
/// The maximum length of an answer; a longer one counts as none.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// The maximum number of interim answers before an answer; more count as unreadable.
const INTERIM_MAX: usize = 16;

/// Where requests are sent.
#[derive(Clone)]
pub struct Peer {
    pub address: SocketAddr,
    /// The value of `Host`.
    pub host: String,
    /// The name in the server's certificate.
    pub name: String,
    /// `None` for plain HTTP.
    pub tls: Option<Authorities>,
}

/// A request; `Host`, `User-Agent`, `Accept` and `Connection: close` are added.
#[derive(Clone)]
pub struct Request {
    pub method: &'static str,
    pub target: String,
    headers: Vec<(String, String)>,
    /// What follows the head.
    rest: String,
}

/// An answer, without the interim ones before it.
#[derive(Debug, Default, Eq, PartialEq)]
pub struct Answer {
    pub status: u16,
    head: String,
    body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NoAnswer {
    /// The connection ended without an answer.
    Closed,
    /// There was no whole answer in time.
    Silent,
    /// What came is not HTTP/1.1.
    Unreadable,
}

/// The result of an exchange.
pub type Came = Result<Answer, NoAnswer>;

pub fn get(target: &str) -> Request {
    request("GET", target)
}

pub fn request(method: &'static str, target: &str) -> Request {
    Request {
        method,
        target: target.to_owned(),
        headers: Vec::new(),
        rest: String::new(),
    }
}

impl Request {
    pub fn header(mut self, name: &str, value: &str) -> Request {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A body of one byte, and headers behind it.
    pub fn trailers(mut self, trailers: &[(&str, &str)]) -> Request {
        self.rest.push_str("1\r\nx\r\n0\r\n");
        for (name, value) in trailers {
            self.rest.push_str(&format!("{name}: {value}\r\n"));
        }
        self.rest.push_str("\r\n");
        self.header("Transfer-Encoding", "chunked")
    }

    fn bytes(&self, host: &str, agent: &str) -> Vec<u8> {
        let mut text = format!(
            "{} {} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {agent}\r\nAccept: */*\r\n",
            self.method, self.target
        );
        let has_own = |(name, _): &(String, String)| name == "Connection";
        if !self.headers.iter().any(has_own) {
            text.push_str("Connection: close\r\n");
        }
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        text.push_str(&self.rest);
        text.into_bytes()
    }
}

impl Answer {
    /// The values of all headers of this name.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(':'));
        lines
            .filter(move |(found, _)| found.trim().eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

enum Wire {
    Plain(Timed<TcpStream>),
    Tls(Box<TlsStream>),
}

impl Wire {
    fn set_end(&mut self, end: Instant) {
        match self {
            Wire::Plain(stream) => stream.end = end,
            Wire::Tls(stream) => stream.set_end(end),
        }
    }

    fn read(&mut self, piece: &mut [u8]) -> io::Result<usize> {
        match self {
            Wire::Plain(stream) => stream.read(piece),
            Wire::Tls(stream) => stream.read(piece),
        }
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Wire::Plain(stream) => stream.write_all(bytes),
            Wire::Tls(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
        }
    }
}

/// One connection, for one exchange or several.
pub struct Connection {
    wire: Wire,
    host: String,
    received: Vec<u8>,
    /// Whether the other side has ended the connection.
    ended: bool,
}

impl Connection {
    pub fn open(peer: &Peer) -> io::Result<Connection> {
        let end = Instant::now() + PATIENCE;
        let socket = TcpStream::connect_timeout(&peer.address, PATIENCE)?;
        socket.set_nodelay(true)?;
        let stream = Timed { socket, end };
        let wire = match &peer.tls {
            None => Wire::Plain(stream),
            Some(authorities) => Wire::Tls(Box::new(authorities.connect(&peer.name, stream)?)),
        };
        Ok(Connection {
            wire,
            host: peer.host.clone(),
            received: Vec::new(),
            ended: false,
        })
    }

    /// Sends a request and reads its answer.
    pub fn exchange(&mut self, request: &Request, agent: &str) -> Came {
        self.wire.set_end(Instant::now() + PATIENCE);
        // A server that has refused a request may close the connection before it has read everything.
        let _ = self.wire.write_all(&request.bytes(&self.host, agent));
        loop {
            match answer(&self.received, request.method, self.ended) {
                Parsed::Whole(answer, length) => {
                    self.received.drain(..length);
                    return Ok(answer);
                }
                Parsed::Unreadable => return Err(NoAnswer::Unreadable),
                Parsed::Partial if self.ended && self.received.is_empty() => {
                    return Err(NoAnswer::Closed);
                }
                Parsed::Partial if self.ended => return Err(NoAnswer::Unreadable),
                Parsed::Partial => self.receive()?,
            }
        }
    }

    fn receive(&mut self) -> Result<(), NoAnswer> {
        if self.received.len() > ANSWER_BYTES_MAX {
            return Err(NoAnswer::Silent);
        }
        let mut piece = [0; 16 * 1024];
        match self.wire.read(&mut piece) {
            Ok(0) => self.ended = true,
            Ok(length) => self.received.extend(piece.iter().take(length)),
            Err(err) if err.kind() == ErrorKind::Interrupted => {}
            Err(err) if err.kind() == ErrorKind::TimedOut => return Err(NoAnswer::Silent),
            // A reset, or the end of a TLS session without a closing message.
            Err(_) => self.ended = true,
        }
        Ok(())
    }
}

enum Parsed {
    /// The answer, and the length of what was read of it.
    Whole(Answer, usize),
    Partial,
    Unreadable,
}

/// Reads the first answer to a request with this method; `ended` means that nothing more will follow.
fn answer(received: &[u8], method: &str, ended: bool) -> Parsed {
    let mut unread = received;
    // The other side decides how many interim answers there are.
    for _ in 0..=INTERIM_MAX {
        let Some(head_end) = find(unread, b"\r\n\r\n") else {
            return Parsed::Partial;
        };
        let (head, rest) = unread.split_at(head_end + 4);
        let head = String::from_utf8_lossy(head).into_owned();
        let status = head.strip_prefix("HTTP/1.").and_then(|rest| {
            let digits = rest.split(' ').nth(1)?.get(..3)?;
            digits.parse::<u16>().ok().filter(|status| *status >= 100)
        });
        let Some(status) = status else {
            return Parsed::Unreadable;
        };
        if (100..200).contains(&status) && status != 101 {
            unread = rest;
            continue;
        }
        return match final_answer(status, head, rest, method, ended) {
            Parsed::Whole(answer, length) => {
                Parsed::Whole(answer, received.len() - rest.len() + length)
            }
            other => other,
        };
    }
    Parsed::Unreadable
}

/// Reads the body after the head of an answer; the length is that of the body.
fn final_answer(status: u16, head: String, rest: &[u8], method: &str, ended: bool) -> Parsed {
    let mut answer = Answer {
        status,
        head,
        body: Vec::new(),
    };
    let is_chunked = answer
        .values("Transfer-Encoding")
        .any(|value| value.to_ascii_lowercase().contains("chunked"));
    let length: Option<&str> = answer.values("Content-Length").next();
    let body = if method == "HEAD" || matches!(status, 101 | 204 | 304) {
        Some((Vec::new(), 0))
    } else if is_chunked {
        chunks(rest)
    } else if let Some(length) = length {
        let Ok(length) = length.parse::<usize>() else {
            return Parsed::Unreadable;
        };
        rest.get(..length).map(|body| (body.to_vec(), length))
    } else {
        ended.then(|| (rest.to_vec(), rest.len()))
    };
    match body {
        None => Parsed::Partial,
        Some((body, length)) => {
            answer.body = body;
            Parsed::Whole(answer, length)
        }
    }
}

/// The content of a chunked body and the length of its encoding; `None` if it is not complete.
fn chunks(bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    let (mut body, mut at) = (Vec::new(), 0);
    loop {
        let line = at + find(bytes.get(at..)?, b"\r\n")?;
        let size = std::str::from_utf8(bytes.get(at..line)?).ok()?;
        let size = usize::from_str_radix(size.split(';').next()?.trim(), 16).ok()?;
        at = line + 2;
        if size == 0 {
            // Trailers end with an empty line.
            let rest = bytes.get(at..)?;
            let end = match rest.starts_with(b"\r\n") {
                true => 2,
                false => find(rest, b"\r\n\r\n")? + 4,
            };
            return Some((body, at + end));
        }
        body.extend(bytes.get(at..at.checked_add(size)?)?);
        at += size + 2;
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|part| part == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, method: &str, ended: bool, expected: Option<(u16, &str, usize)>) {
        let found = match answer(text.as_bytes(), method, ended) {
            Parsed::Whole(answer, length) => Some((answer.status, answer.text(), length)),
            Parsed::Partial | Parsed::Unreadable => None,
        };
        let expected = expected.map(|(status, body, length)| (status, body.to_owned(), length));
        assert_eq!(found, expected, "{text:?} {method} {ended}");
    }

    #[test]
    fn an_answer_ends_where_its_framing_says() {
        let sized = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 ";
        check(sized, "GET", false, Some((200, "ok", 40)));
        check(sized, "HEAD", false, Some((200, "", 38)));
        let chunked = "HTTP/1.1 401 x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
        check(chunked, "GET", false, Some((401, "ok", chunked.len())));
        let interim = "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n";
        check(interim, "GET", false, Some((204, "", interim.len())));
        let until_end = "HTTP/1.0 200 OK\r\n\r\nok";
        check(until_end, "GET", true, Some((200, "ok", until_end.len())));
        check(until_end, "GET", false, None);
        for cut in [10, 30, 46, 50] {
            check(&chunked[..cut], "GET", false, None);
        }
        let interims = |count: usize| "HTTP/1.1 100 Continue\r\n\r\n".repeat(count);
        let few = interims(INTERIM_MAX) + "HTTP/1.1 204 No Content\r\n\r\n";
        check(&few, "GET", false, Some((204, "", few.len())));
        for count in [INTERIM_MAX + 1, 60_000] {
            let many = interims(count);
            assert!(matches!(
                answer(many.as_bytes(), "GET", false),
                Parsed::Unreadable
            ));
        }
        for strange in [
            "SSH-2.0\r\n\r\n",
            "HTTP/1.1 x\r\n\r\n",
            "HTTP/2 200\r\n\r\n",
        ] {
            check(strange, "GET", true, None);
        }
    }

    #[test]
    fn a_request_is_sent_as_it_is_written() {
        let request = get("//x/%2e%2e/y;z").header("Remote_User", "owner");
        assert_eq!(
            String::from_utf8(request.bytes("a.example", "probe/1")).unwrap(),
            "GET //x/%2e%2e/y;z HTTP/1.1\r\nHost: a.example\r\nUser-Agent: probe/1\r\nAccept: */*\r\n\
             Connection: close\r\nRemote_User: owner\r\n\r\n"
        );
        let text = get("/").trailers(&[("A", "b")]).bytes("a", "b");
        let text = String::from_utf8(text).unwrap();
        assert!(
            text.ends_with("Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nA: b\r\n\r\n"),
            "{text}"
        );
        let kept = get("/").header("Connection", "keep-alive");
        let text = String::from_utf8(kept.bytes("a", "b")).unwrap();
        assert_eq!(text.matches("Connection").count(), 1);
    }
}

//! A small HTTP client that sends exactly the specified bytes.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;

use crate::wait;

/// A request as exact bytes: nothing is escaped, merged or corrected.
#[derive(Clone)]
pub struct Request {
    method: String,
    target: Vec<u8>,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

pub struct Reply {
    /// 0 if the connection ended without an answer, which also counts as a refusal.
    pub status: u16,
    head: String,
    body: Vec<u8>,
}

pub fn get(target: &str) -> Request {
    request("GET", target.as_bytes())
}

pub fn post(target: &str) -> Request {
    request("POST", target.as_bytes())
}

pub fn request(method: &str, target: &[u8]) -> Request {
    Request {
        method: method.to_owned(),
        target: target.to_owned(),
        headers: Vec::new(),
        body: Vec::new(),
    }
}

impl Request {
    pub fn header(mut self, name: &str, value: &str) -> Request {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn bearer(self, secret: &str) -> Request {
        self.header("Authorization", &format!("Bearer {secret}"))
    }

    pub fn body(mut self, body: &[u8]) -> Request {
        self.body = body.to_owned();
        self.header("Content-Length", &body.len().to_string())
    }

    /// Sends the body in pieces of `piece` bytes.
    pub fn chunked(mut self, body: &[u8], piece: usize) -> Request {
        for chunk in body.chunks(piece) {
            self.body.extend(format!("{:x}\r\n", chunk.len()).bytes());
            self.body.extend(chunk);
            self.body.extend(b"\r\n");
        }
        self.body.extend(b"0\r\n\r\n");
        self.header("Transfer-Encoding", "chunked")
    }

    /// Headers behind the body, which must be in chunks.
    pub fn trailers(mut self, trailers: &[(&str, &str)]) -> Request {
        assert!(self.body.ends_with(b"0\r\n\r\n"));
        self.body.truncate(self.body.len() - 2);
        for (name, value) in trailers {
            self.body.extend(format!("{name}: {value}\r\n").bytes());
        }
        self.body.extend(b"\r\n");
        self
    }

    pub fn send(&self, port: u16) -> Reply {
        let mut stream = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).unwrap();
        stream.set_read_timeout(Some(wait::PATIENCE)).unwrap();
        // A proxy that has refused the request may close the connection before it has read everything.
        let _ = stream.write_all(&self.bytes(port));
        let mut answer = Vec::new();
        let mut piece = [0; 16_384];
        while let Ok(length @ 1..) = stream.read(&mut piece) {
            answer.extend(&piece[..length]);
            // Envoy waits a second before it closes after a refusal.
            if Reply::parse(&answer).is_whole() {
                break;
            }
        }
        Reply::parse(&answer)
    }

    /// Sends the request and, if the answer is 101, then `more`. Returns the answer, and the bytes that follow it.
    pub fn send_then(&self, port: u16, more: &[u8]) -> (Reply, Vec<u8>) {
        let mut stream = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).unwrap();
        stream.set_read_timeout(Some(wait::PATIENCE)).unwrap();
        let _ = stream.write_all(&self.bytes(port));
        let mut answer = Vec::new();
        let mut piece = [0; 16_384];
        while !answer.windows(4).any(|window| window == b"\r\n\r\n") {
            match stream.read(&mut piece) {
                Ok(length @ 1..) => answer.extend(&piece[..length]),
                _ => break,
            }
        }
        let reply = Reply::parse(&answer);
        let mut back = reply.body.clone();
        if reply.status == 101 {
            let _ = stream.write_all(more);
            if let Ok(length) = stream.read(&mut piece) {
                back.extend(&piece[..length]);
            }
        }
        (reply, back)
    }

    fn bytes(&self, port: u16) -> Vec<u8> {
        let mut bytes = format!("{} ", self.method).into_bytes();
        bytes.extend(&self.target);
        bytes.extend(b" HTTP/1.1\r\n");
        for (name, value) in [
            ("Host", format!("127.0.0.1:{port}")),
            ("Connection", "close".into()),
        ] {
            if !self.headers.iter().any(|(given, _)| given == name) {
                bytes.extend(format!("{name}: {value}\r\n").bytes());
            }
        }
        for (name, value) in &self.headers {
            bytes.extend(format!("{name}: {value}\r\n").bytes());
        }
        bytes.extend(b"\r\n");
        bytes.extend(&self.body);
        bytes
    }
}

impl Reply {
    pub fn parse(answer: &[u8]) -> Reply {
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n");
        let (head, body) = answer.split_at(end.map_or(answer.len(), |at| at + 4));
        let head = String::from_utf8_lossy(head).into_owned();
        let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
        Reply {
            status: status.unwrap_or(0),
            head,
            body: body.to_owned(),
        }
    }

    /// Whether the response is complete. Without a Content-Length only the end of the connection shows this.
    fn is_whole(&self) -> bool {
        let length = self
            .header("Content-Length")
            .and_then(|text| text.parse().ok());
        self.head.ends_with("\r\n\r\n")
            && length.is_some_and(|length: usize| self.body.len() >= length)
    }

    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
    }

    /// How many headers have this name.
    pub fn count(&self, name: &str) -> usize {
        let lines = self.head.lines().filter_map(|line| line.split_once(':'));
        lines
            .filter(|(found, _)| found.eq_ignore_ascii_case(name))
            .count()
    }

    /// Head and body, for messages.
    pub fn text(&self) -> String {
        self.head.clone() + &String::from_utf8_lossy(&self.body)
    }

    /// The body, which must be JSON. Such answers have a Content-Length.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.text()))
    }
}

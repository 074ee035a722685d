//! One HTTP/1.1 exchange over the server's Unix socket.
//!
//! This module is short, whereas a client library would add an async runtime: it opens one connection for each request,
//! the server closes the connection, and every answer of the server contains its length.

use super::Answer;
use crate::cli::failure::{Failure, Result};
use crate::files::users;
use crate::http::client::LOCAL_HEADER;
use crate::http1::timed::Timed;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long an answer may take: verifying a large audit log takes minutes.
const ANSWER: Duration = Duration::from_secs(600);
/// The maximum length of a response head; the server never sends a longer one.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Whether a server accepts connections. A socket that a killed server has left does not count.
pub fn answers(path: &Path) -> Result<bool> {
    match UnixStream::connect(path) {
        Ok(stream) => check_server(&stream, path).map(|()| true),
        Err(err)
            if matches!(
                err.kind(),
                ErrorKind::NotFound | ErrorKind::ConnectionRefused
            ) =>
        {
            Ok(false)
        }
        Err(err) => Err(Failure::refused(format!(
            "the socket {} cannot be used: {err}; run this as the user who runs the server",
            path.display()
        ))),
    }
}

/// Refuses a server that does not belong to the folder: the kernel reports which user listens, and this must be the
/// folder's owner or root.
fn check_server(stream: &UnixStream, path: &Path) -> Result<()> {
    let told = |err: std::io::Error| {
        Failure::refused(format!(
            "the socket {} cannot be used: {err}",
            path.display()
        ))
    };
    let server = rustix::net::sockopt::socket_peercred(stream).map_err(|err| told(err.into()))?;
    let folder = path.parent().unwrap_or(path);
    let owner = std::fs::metadata(folder).map_err(told)?.uid();
    let uid = server.uid.as_raw();
    if uid == owner || uid == 0 {
        return Ok(());
    }
    Err(Failure::refused(format!(
        "user {} listens on {}, but the folder belongs to user {}; nothing was sent. Find out what that process is",
        users::shown(uid),
        path.display(),
        users::shown(owner)
    )))
}

/// Sends a request and reads its whole answer.
pub fn exchange(path: &Path, method: &str, target: &str, body: &[u8]) -> Result<Answer> {
    exchange_within(path, ANSWER, method, target, body)
}

/// Like [`exchange`], with a shorter deadline.
pub fn exchange_within(
    path: &Path,
    patience: Duration,
    method: &str,
    target: &str,
    body: &[u8],
) -> Result<Answer> {
    let stream = UnixStream::connect(path).map_err(|err| {
        Failure::refused(format!(
            "the socket {} cannot be used: {err}; no request was sent",
            path.display()
        ))
    })?;
    exchange_on(stream, path, patience, method, target, body)
}

/// Like [`exchange_within`], on a connection to the socket at `path` that is open already.
pub fn exchange_on(
    stream: UnixStream,
    path: &Path,
    patience: Duration,
    method: &str,
    target: &str,
    body: &[u8],
) -> Result<Answer> {
    let (local, yes) = LOCAL_HEADER;
    let mut head = format!(
        "{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{local}: {yes}\r\nContent-Length: {}\r\n",
        body.len()
    );
    if !body.is_empty() {
        head.push_str("Content-Type: application/json\r\n");
    }
    head.push_str("\r\n");
    check_server(&stream, path)?;
    let received = transfer(stream, patience, head.as_bytes(), body).map_err(|err| {
        Failure::refused(format!(
            "the server at {} did not answer: {err}; it is not known whether the request was carried out",
            path.display()
        ))
    })?;
    parse(&received).ok_or_else(|| {
        Failure::refused(format!(
            "the answer of the server at {} was cut off; it is not known whether the request was carried out",
            path.display()
        ))
    })
}

fn transfer(
    socket: UnixStream,
    patience: Duration,
    head: &[u8],
    body: &[u8],
) -> std::io::Result<Vec<u8>> {
    let end = Instant::now() + patience;
    let mut stream = Timed { socket, end };
    // A server that refuses a request early stops reading it: the failed write does not matter, because the server
    // still answers.
    let written = stream.write_all(head).and_then(|()| stream.write_all(body));
    let mut received = Vec::new();
    match stream.read_to_end(&mut received) {
        Err(err) if received.is_empty() => Err(err),
        _ if received.is_empty() => {
            written?;
            Err(ErrorKind::UnexpectedEof.into())
        }
        _ => Ok(received),
    }
}

/// `None` if the bytes are not a complete answer.
fn parse(bytes: &[u8]) -> Option<Answer> {
    let searched = &bytes[..bytes.len().min(HEAD_BYTES_MAX)];
    let end = searched.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).ok()?;
    let mut lines = head.split("\r\n");
    let status: u16 = lines
        .next()?
        .strip_prefix("HTTP/1.1 ")?
        .get(..3)?
        .parse()
        .ok()?;
    let (mut length, mut link, mut sites) = (None, None, None);
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        if name.eq_ignore_ascii_case("content-length") {
            length = Some(value.trim().parse::<usize>().ok()?);
        } else if name.eq_ignore_ascii_case("link") {
            link = Some(value.trim().to_owned());
        } else if name.eq_ignore_ascii_case("latchkey-sites") {
            sites = Some(value.trim().to_owned());
        }
    }
    let mut body = bytes[end + 4..].to_vec();
    match length {
        Some(length) if body.len() >= length => body.truncate(length),
        None if status == 204 => body.clear(),
        _ => return None,
    }
    Some(Answer {
        status,
        link,
        sites,
        body,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_answer_counts() {
        let whole =
            b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nLink: </v1/x?c=1>; rel=\"next\"\r\n\r\nok";
        let answer = parse(whole).unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
        assert_eq!(answer.next().unwrap().as_str(), "/v1/x?c=1");
        for cut in 0..whole.len() {
            assert!(parse(&whole[..cut]).is_none(), "{cut}");
        }
        assert!(parse(b"HTTP/1.1 204 No Content\r\n\r\n").is_some());
        assert!(parse(b"HTTP/1.1 200 OK\r\n\r\nno length").is_none());
        assert!(parse(b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n").is_none());
    }
}

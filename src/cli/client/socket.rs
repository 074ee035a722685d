//! One HTTP/1.1 exchange over the server's Unix socket.
//!
//! This module is short, whereas a client library would add an async runtime: it opens one connection for each request,
//! the server closes the connection, and every answer of the server contains its length.

use super::Answer;
use crate::cli::failure::{Failure, Result};
use crate::files::users;
use crate::http::client::LOCAL_HEADER;
use crate::http1::answer_head::AnswerHead;
use crate::http1::timed::Timed;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long an answer may take: verifying a large audit log takes minutes.
const ANSWER: Duration = Duration::from_secs(600);

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
    let lost = |err: std::io::Error| match err.kind() {
        ErrorKind::UnexpectedEof => Failure::refused(format!(
            "the answer of the server at {} was cut off; it is not known whether the request was carried out",
            path.display()
        )),
        _ => Failure::refused(format!(
            "the server at {} did not answer: {err}; it is not known whether the request was carried out",
            path.display()
        )),
    };
    transfer(stream, patience, head.as_bytes(), body).map_err(lost)
}

fn transfer(
    socket: UnixStream,
    patience: Duration,
    head: &[u8],
    body: &[u8],
) -> std::io::Result<Answer> {
    let end = Instant::now() + patience;
    let mut stream = Timed { socket, end };
    // A server that refuses a request early stops reading it: the failed write does not matter, because the server
    // still answers.
    let written = stream.write_all(head).and_then(|()| stream.write_all(body));
    let mut connection = BufReader::new(stream);
    if connection.fill_buf()?.is_empty() {
        written?;
        return Err(ErrorKind::ConnectionAborted.into());
    }
    read_answer(&mut connection)
}

/// Reads a whole answer.
fn read_answer(connection: &mut impl BufRead) -> std::io::Result<Answer> {
    let head = AnswerHead::read(connection)?;
    let mut body = Vec::new();
    connection.take(head.length).read_to_end(&mut body)?;
    if body.len() as u64 != head.length {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    let field = |name| head.field(name).map(str::to_owned);
    Ok(Answer {
        status: head.status,
        link: field("link"),
        sites: field("latchkey-sites"),
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
        let read = |bytes: &[u8]| read_answer(&mut &*bytes);
        let answer = read(whole).unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
        assert_eq!(answer.next().unwrap().as_str(), "/v1/x?c=1");
        for cut in 0..whole.len() {
            let err = read(&whole[..cut]).unwrap_err();
            assert_eq!(err.kind(), ErrorKind::UnexpectedEof, "{cut}");
        }
        assert!(read(b"HTTP/1.1 204 No Content\r\n\r\n").is_ok());
        assert!(read(b"HTTP/1.1 200 OK\r\n\r\nno length").is_err());
    }
}

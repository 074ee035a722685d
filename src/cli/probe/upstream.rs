//! A small application for the time of the probe. The proxy is pointed at it, so that the probe sees which requests
//! reach an application, and with which headers.

use crate::cli::failure::{Failure, Result};
use crate::config::owner::as_caller;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// The maximum length of a request head.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// How many requests are recorded.
const RECORDED_MAX: usize = 1000;
/// How long an idle connection stays open.
const IDLE: Duration = Duration::from_secs(60);

/// The heads of the requests of this probe that have arrived.
#[derive(Clone)]
pub struct Upstream {
    nonce: String,
    arrived: Arc<Mutex<Vec<String>>>,
}

impl Upstream {
    /// Listens until the process ends. Only requests that contain `nonce` are recorded.
    pub fn start(address: SocketAddr, nonce: &str) -> Result<Upstream> {
        let listener = as_caller(|| TcpListener::bind(address)).map_err(|err| {
            Failure::refused(format!(
                "the application of the probe cannot listen on {address}: {err}; stop your own application \
                 for the time of the probe, or name another address and point the proxy there"
            ))
        })?;
        let upstream = Upstream {
            nonce: nonce.to_owned(),
            arrived: Arc::default(),
        };
        let shared = upstream.clone();
        let accept = move || {
            for stream in listener.incoming().flatten() {
                let shared = shared.clone();
                // If there is no thread, the proxy gets no answer, which the report shows.
                let _ = thread::Builder::new().spawn(move || shared.serve(stream));
            }
        };
        thread::Builder::new()
            .name("upstream".to_owned())
            .spawn(accept)
            .map_err(|err| Failure::refused(format!("no thread can be started: {err}")))?;
        Ok(upstream)
    }

    /// The head of the first request that arrived with this text in it.
    pub fn arrived(&self, tag: &str) -> Option<String> {
        let arrived = self.arrived.lock().unwrap_or_else(PoisonError::into_inner);
        arrived.iter().find(|head| head.contains(tag)).cloned()
    }

    /// Answers each request with 200 until the proxy closes the connection.
    fn serve(&self, mut stream: TcpStream) -> Option<()> {
        stream.set_read_timeout(Some(IDLE)).ok()?;
        let mut received = Vec::new();
        loop {
            let head = head(&mut stream, &mut received)?;
            let lower = head.to_ascii_lowercase();
            // After a request with content the connection ends, so that the content of others need not be read.
            let has_body = lower.contains("\ncontent-length:")
                && !lower.contains("\ncontent-length: 0\r")
                || lower.contains("\ntransfer-encoding:");
            let is_head = head.starts_with("HEAD ");
            if head.contains(&self.nonce) {
                let rest = content(&mut stream, &mut received, &lower).unwrap_or_default();
                let mut arrived = self.arrived.lock().unwrap_or_else(PoisonError::into_inner);
                if arrived.len() < RECORDED_MAX {
                    arrived.push(head + &rest);
                }
            }
            let connection = if has_body {
                "Connection: close\r\n"
            } else {
                ""
            };
            let body = if is_head { "" } else { "latchkey probe\n" };
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 15\r\nCache-Control: no-store\r\n\
                 {connection}\r\n{body}"
            );
            stream.write_all(answer.as_bytes()).ok()?;
            if has_body {
                return None;
            }
        }
    }
}

/// The content of a request of the probe, and the headers behind it. In chunks it ends with the first empty line.
fn content(stream: &mut TcpStream, received: &mut Vec<u8>, lower: &str) -> Option<String> {
    if lower.contains("\ntransfer-encoding:") {
        return head(stream, received);
    }
    let (_, rest) = lower.split_once("\ncontent-length:")?;
    let length: usize = rest.lines().next()?.trim().parse().ok()?;
    while received.len() < length && length <= HEAD_BYTES_MAX {
        read(stream, received)?;
    }
    None
}

/// The next request head; `None` at the end of the connection.
fn head(stream: &mut TcpStream, received: &mut Vec<u8>) -> Option<String> {
    loop {
        if let Some(end) = received.windows(4).position(|four| four == b"\r\n\r\n") {
            let head: Vec<u8> = received.drain(..end + 4).collect();
            return Some(String::from_utf8_lossy(&head).into_owned());
        }
        if received.len() > HEAD_BYTES_MAX {
            return None;
        }
        read(stream, received)?;
    }
}

/// What has arrived; `None` at the end of the connection.
fn read(stream: &mut TcpStream, received: &mut Vec<u8>) -> Option<()> {
    let mut piece = [0; 4096];
    match stream.read(&mut piece) {
        Ok(length @ 1..) => received.extend(piece.iter().take(length)),
        _ => return None,
    }
    Some(())
}

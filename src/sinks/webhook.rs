//! The sink `webhook`: one HTTPS POST for each message, signed as Standard Webhooks defines it.
//!
//! The request is written here and not by a client library: it has one form, follows no redirect, keeps no connection and
//! reads no more of the answer than its status.

use super::Reach;
use super::body::Message;
use super::connect::{Destination, PATIENCE, Stream};
use super::names::Names;
use super::refused::Refused;
use crate::domain::notices::sink::WebhookKey;
use crate::domain::time::Timestamp;
use std::io::{self, Read, Write};
use std::time::Instant;

/// No more of an answer is read.
const STATUS_BYTES_MAX: usize = 256;

/// Where messages are posted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WebhookUrl {
    destination: Destination,
    /// The path with the query.
    target: String,
}

impl WebhookUrl {
    /// Reads `https://HOST[:PORT]/PATH`; `http:` only for this machine. Names and passwords in URLs are refused: they
    /// would be in lists of settings.
    pub fn parse(text: &str) -> Result<WebhookUrl, String> {
        let refused = "must be https://HOST/PATH, without user name, blanks or fragment";
        let (scheme, rest) = text.split_once("://").ok_or(refused)?;
        let is_tls = match scheme {
            "https" => true,
            "http" => false,
            _ => return Err(refused.to_owned()),
        };
        let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let target = match target {
            target if target.starts_with('/') => target.to_owned(),
            query => format!("/{query}"),
        };
        let port = if is_tls { 443 } else { 80 };
        let fits = target.len() <= 2_000
            && target
                .bytes()
                .all(|b| b.is_ascii_graphic() && !matches!(b, b'#' | b'"' | b'<' | b'>' | b'\\'));
        let destination = Destination::parse(authority, Some(port), is_tls).filter(|_| fits);
        let destination = destination.ok_or(refused)?;
        if !is_tls && !destination.is_loopback() {
            return Err("is not encrypted, so it must be on this machine; use https:".to_owned());
        }
        Ok(WebhookUrl {
            destination,
            target,
        })
    }

    /// Whether connections are encrypted.
    pub fn is_tls(&self) -> bool {
        self.destination.is_tls
    }
}

/// The webhook at work.
pub struct WebhookSink {
    url: WebhookUrl,
    names: Names,
    key: WebhookKey,
    reach: Reach,
}

impl WebhookSink {
    pub fn new(url: WebhookUrl, key: WebhookKey, reach: Reach) -> WebhookSink {
        WebhookSink {
            names: url.destination.names(),
            url,
            key,
            reach,
        }
    }

    /// Posts a message. Every status but 2xx is a failure. `wall` is the date of this machine, which the receiver
    /// compares with its own.
    pub fn send(&mut self, message: &Message, wall: Timestamp) -> io::Result<()> {
        let unix_s = wall.unix_s();
        let signature = self.key.sign(&message.id, unix_s, &message.body);
        let request = format!(
            "POST {} HTTP/1.1\r\n\
             Host: {}\r\n\
             User-Agent: Latchkey\r\n\
             Content-Type: application/cloudevents+json\r\n\
             Content-Length: {}\r\n\
             webhook-id: {}\r\n\
             webhook-timestamp: {unix_s}\r\n\
             webhook-signature: {signature}\r\n\
             Connection: close\r\n\r\n{}",
            self.url.target,
            self.url.destination.authority(),
            message.body.len(),
            message.id,
            message.body
        );
        let end = Instant::now() + PATIENCE;
        let mut stream = self.url.destination.dial(&self.names, &self.reach, end)?;
        stream.write_all(request.as_bytes())?;
        stream.flush()?;
        match status(&mut stream)? {
            200..=299 => Ok(()),
            status => Err(failure(status)),
        }
    }
}

/// What a status means. 4xx is about this message, except for those that ask to come again later (RFC 9110, section
/// 15.5.9; RFC 8470, section 5.2; RFC 6585, section 4).
fn failure(status: u16) -> io::Error {
    let why = format!("the receiver answered with status {status}");
    match status {
        408 | 425 | 429 => io::Error::other(why),
        400..=499 => io::Error::other(Refused(why)),
        _ => io::Error::other(why),
    }
}

/// Reads the status line of an answer.
fn status(stream: &mut Stream) -> io::Result<u16> {
    let mut head = Vec::new();
    let mut piece = [0; STATUS_BYTES_MAX];
    while head.len() < STATUS_BYTES_MAX && !head.contains(&b'\n') {
        let length = stream.read(&mut piece)?;
        if length == 0 {
            break;
        }
        head.extend_from_slice(&piece[..length]);
    }
    parse_status(&head).ok_or_else(|| io::Error::other("the receiver did not answer with HTTP"))
}

fn parse_status(head: &[u8]) -> Option<u16> {
    let head = String::from_utf8_lossy(head);
    let status = head
        .strip_prefix("HTTP/1.")?
        .split([' ', '\r', '\n'])
        .nth(1)?;
    let fits = status.len() == 3 && status.bytes().all(|b| b.is_ascii_digit());
    fits.then(|| status.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_encrypted_or_on_this_machine() {
        for good in [
            "https://hooks.example/latchkey",
            "https://hooks.example:8443/a?b=c",
            "https://hooks.example",
            "https://[2001:db8::1]/x",
            "http://127.0.0.1:9000/x",
            "http://localhost/x",
        ] {
            assert!(WebhookUrl::parse(good).is_ok(), "{good}");
        }
        let bare = WebhookUrl::parse("https://hooks.example?x").unwrap();
        assert_eq!(bare.target, "/?x");
        for bad in [
            "",
            "hooks.example/x",
            "ftp://hooks.example/x",
            "http://hooks.example/x",
            "https://user:password@hooks.example/x",
            "https://hooks.example/a b",
            "https://hooks.example/x#y",
            "https://hooks.example/\r\nX: y",
            "https:///x",
        ] {
            assert!(WebhookUrl::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_message_is_refused_by_4xx_that_does_not_ask_to_come_again() {
        for status in [400, 403, 404, 413, 422] {
            assert!(Refused::is(&failure(status)), "{status}");
        }
        for status in [302, 408, 425, 429, 500, 503] {
            assert!(!Refused::is(&failure(status)), "{status}");
        }
    }

    #[test]
    fn the_status_is_all_that_is_read() {
        assert_eq!(parse_status(b"HTTP/1.1 204 No Content\r\n"), Some(204));
        assert_eq!(parse_status(b"HTTP/1.0 500\r\n"), Some(500));
        for bad in [
            "",
            "HTTP/2 200",
            "HTTP/1.1 20",
            "HTTP/1.1 abc",
            "SSH-2.0",
            "HTTP/1.1 2000 x",
        ] {
            assert_eq!(parse_status(bad.as_bytes()), None, "{bad}");
        }
    }
}

//! The connection of a linked site to its server, which is kept from one question to the next. What is asked, and what an answer
//! means, is in `ops/site/link/`.
//!
//! The request is written here and not by a client library: it has one form, and follows no redirect. Of an answer nothing is kept
//! in memory before its signature is checked.

use super::connect::{Destination, Stream};
use super::names::Names;
use crate::domain::packs::word::{ANSWER_BYTES_MAX, START_BYTES, SignedWord, note_bytes};
use crate::error::{Error, Result};
use crate::http1::answer_head::AnswerHead;
use crate::http1::tls::client::Authorities;
use crate::ops::App;
use crate::ops::site::link::{self, Asked, Next, Settings};
use crate::refusals;
use serde::Deserialize;
use std::fmt;
use std::io::{self, BufReader, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The number of bytes of an error, of which only the sentence is read.
const PROBLEM_BYTES_MAX: u64 = 16 * 1024;
/// The number of addresses that are tried if a name has several.
const ADDRESSES_MAX: usize = 4;
/// The longest time for resolving the name of the server.
const NAME: Duration = Duration::from_millis(1_500);
/// The time for a body, besides one second for each [`BYTES_A_SECOND`].
const BODY: Duration = Duration::from_secs(10);
/// A slower line than this one is no link.
const BYTES_A_SECOND: u64 = 16 * 1024;
/// The time for the last question, which gives up the lease.
const LAST: Duration = Duration::from_secs(2);
/// The body is read in pieces of this size, so that memory grows with what has arrived.
const PIECE_BYTES: u64 = 1024 * 1024;

/// Where the server of a site is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ServerUrl {
    destination: Destination,
    /// The path below which the server is; empty without one.
    prefix: String,
}

impl ServerUrl {
    /// Reads `https://HOST[:PORT]`, also with the path of a proxy below which the server is; `http:` only for this machine.
    pub fn parse(text: &str) -> std::result::Result<ServerUrl, String> {
        let refused = "must be https://HOST or https://HOST:PORT, without user name, blanks, query or fragment";
        let (scheme, rest) = text.split_once("://").ok_or(refused)?;
        let (is_tls, port) = match scheme {
            "https" => (true, 443),
            "http" => (false, 80),
            _ => return Err(refused.to_owned()),
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let prefix = path.trim_end_matches('/');
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"/-._~".contains(&b);
        let fits = prefix.len() <= 1_000 && prefix.bytes().all(is_plain);
        let destination = Destination::parse(authority, Some(port), is_tls).filter(|_| fits);
        let destination = destination.ok_or(refused)?;
        if !is_tls && !destination.is_loopback() {
            return Err("is not encrypted, so it must be on this machine; use https:".to_owned());
        }
        Ok(ServerUrl {
            destination,
            prefix: prefix.to_owned(),
        })
    }

    /// Whether connections are encrypted.
    pub fn is_tls(&self) -> bool {
        self.destination.is_tls
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls() { "https" } else { "http" };
        let authority = self.destination.authority();
        write!(f, "{scheme}://{authority}{}", self.prefix)
    }
}

/// The link of this process.
pub struct Feed {
    url: ServerUrl,
    /// Absent if the connection is not encrypted.
    authorities: Option<Authorities>,
    connection: Option<BufReader<Stream>>,
    names: Names,
    /// The address that answered last: it is tried first, so that a name server that is out of reach does not end a lease.
    known: Option<SocketAddr>,
}

/// Why a question has led to nothing.
struct Failed {
    asked: Option<Box<Asked>>,
    why: String,
}

impl Failed {
    fn before(why: impl fmt::Display) -> Failed {
        Failed {
            asked: None,
            why: why.to_string(),
        }
    }
}

/// What is read of an error.
#[derive(Deserialize)]
struct Problem {
    detail: String,
}

/// Starts the thread of the link.
pub fn start(
    app: &Arc<App>,
    url: ServerUrl,
    authorities: Option<Authorities>,
    settings: Settings,
) -> Result<()> {
    link::begin(app, settings)?;
    let (app, mut feed) = (
        app.clone(),
        Feed {
            names: url.destination.names(),
            url,
            authorities,
            connection: None,
            known: None,
        },
    );
    std::thread::Builder::new()
        .name("link".to_owned())
        .spawn(move || feed.run(&app))
        .map(drop)
        .map_err(|err| {
            let why = format!("no thread can be started: {err}");
            Error::Unavailable(refusals::verbatim(why))
        })
}

impl Feed {
    /// Asks until the site stops, and gives up its lease then.
    fn run(&mut self, app: &App) {
        let Some(site) = app.site() else {
            return;
        };
        let _following = site.link.leaving.begin();
        let wait = |time| site.link.wait(time);
        while !app.is_closed() && !site.link.leaving.is_wanted() {
            match self.ask(app) {
                Ok(Next::AtOnce) => {}
                Ok(Next::After(time)) => wait(time),
                Err(Failed { asked, why }) => {
                    // What else arrives on this connection would be the answer to another question.
                    self.connection = None;
                    if link::is_removed(app) {
                        self.give_up(app);
                    }
                    if !app.is_closed() {
                        wait(link::failed(app, asked.map(|asked| *asked), &why));
                    }
                }
            }
        }
        self.give_up(app);
    }

    /// Gives up the lease. If the server does not hear of it, it waits for the end of the lease.
    fn give_up(&mut self, app: &App) {
        let kept = self.connection.take();
        let kept = kept.filter(|kept| kept.get_ref().check_open().is_ok());
        let told = link::give_up(app).map_err(|err| err.to_string());
        let told = told.and_then(|body| {
            let Some(body) = body else {
                return Ok(());
            };
            let mut connection = match kept {
                Some(kept) => kept,
                None => BufReader::new(self.dial()?),
            };
            let head = self.send(&mut connection, &body, LAST)?;
            match head.status {
                204 => Ok(()),
                status => Err(format!("{} answered with status {status}", self.url)),
            }
        });
        if let Err(why) = told {
            log::warn!("link: the server does not know that the lease is given up: {why}");
        }
    }

    /// Asks one question, and does what its answer asks for.
    fn ask(&mut self, app: &App) -> std::result::Result<Next, Failed> {
        let mut connection = match self.connection.take() {
            Some(kept) if kept.get_ref().check_open().is_ok() => kept,
            _ => BufReader::new(self.dial().map_err(Failed::before)?),
        };
        // The lease counts from here.
        let asked = link::ask(app).map_err(Failed::before)?;
        let answer = self.answer(app, &mut connection, &asked);
        let (signed, body, closes) = match answer {
            Ok(answer) => answer,
            Err(why) => {
                return Err(Failed {
                    asked: Some(Box::new(asked)),
                    why,
                });
            }
        };
        if !closes && connection.buffer().is_empty() {
            self.connection = Some(connection);
        }
        link::take(app, asked, &signed, &body).map_err(|err| match err {
            Error::Conflict(_) => {
                let server = &self.url;
                Failed::before(format!(
                    "{server} has sent what this site does not take: {err}"
                ))
            }
            err => Failed::before(err),
        })
    }

    fn dial(&mut self) -> std::result::Result<Stream, String> {
        let server = &self.url;
        let dial = |address: &SocketAddr| {
            let authorities = self.authorities.as_ref();
            server.destination.dial_address(address, authorities)
        };
        if let Some(stream) = self.known.and_then(|known| dial(&known).ok()) {
            return Ok(stream);
        }
        let found = self.names.resolve(Instant::now() + NAME);
        let found = found.map_err(|err| format!("{server} has no address: {err}"))?;
        let mut fault = format!("{server} has no address");
        for address in found.iter().take(ADDRESSES_MAX) {
            match dial(address) {
                Ok(stream) => {
                    self.known = Some(*address);
                    return Ok(stream);
                }
                Err(err) => {
                    let advice = advice(&err);
                    fault = format!("{server} cannot be reached: {}{advice}", in_words(&err));
                }
            }
        }
        self.known = None;
        Err(fault)
    }

    /// Sends the body of a question, and reads the beginning of the answer.
    fn send(
        &self,
        connection: &mut BufReader<Stream>,
        body: &str,
        patience: Duration,
    ) -> std::result::Result<AnswerHead, String> {
        let server = &self.url;
        let broken = |err: io::Error| format!("{server} does not answer: {}", in_words(&err));
        let request = format!(
            "POST {}/v1/feed HTTP/1.1\r\n\
             Host: {}\r\n\
             User-Agent: Latchkey\r\n\
             Content-Type: text/plain\r\n\
             Content-Length: {}\r\n\r\n{}",
            server.prefix,
            server.destination.authority(),
            body.len(),
            body
        );
        let stream = connection.get_mut();
        stream.set_end(Instant::now() + patience);
        stream.write_all(request.as_bytes()).map_err(broken)?;
        stream.flush().map_err(broken)?;
        AnswerHead::read(connection).map_err(broken)
    }

    /// Sends a question, and reads the answer. Returns the word, its body, and whether the server closes the connection.
    fn answer(
        &self,
        app: &App,
        connection: &mut BufReader<Stream>,
        asked: &Asked,
    ) -> std::result::Result<(SignedWord, Vec<u8>, bool), String> {
        let server = &self.url;
        let broken = |err: io::Error| format!("{server} does not answer: {}", in_words(&err));
        let head = self.send(connection, &asked.body, asked.patience(app))?;
        if head.status == 401 {
            return Err(format!(
                "{server} does not know this site: it is another server, or the site was removed there"
            ));
        }
        if head.status != 200 {
            let why = problem(connection, head.length);
            return Err(format!(
                "{server} answered with status {}{why}",
                head.status
            ));
        }
        if head.length > ANSWER_BYTES_MAX as u64 {
            return Err(format!("{server} sends more than any answer has"));
        }
        let mut start = [0; START_BYTES];
        connection.read_exact(&mut start).map_err(broken)?;
        let length = note_bytes(&start)
            .ok_or_else(|| format!("{server} does not answer as a Latchkey with this link does"))?;
        let mut note = vec![0; length];
        connection.read_exact(&mut note).map_err(broken)?;
        let signed = link::open(app, asked, &note).map_err(|err| format!("{server}: {err}"))?;
        let rest = head.length.checked_sub((START_BYTES + length) as u64);
        if rest != Some(signed.word.bytes) {
            return Err(format!("{server} sends another length than it has signed"));
        }
        let body = read_body(connection, signed.word.bytes).map_err(broken)?;
        Ok((signed, body, head.closes))
    }
}

/// Reads a body whose length is signed.
fn read_body(connection: &mut BufReader<Stream>, bytes: u64) -> io::Result<Vec<u8>> {
    if bytes == 0 {
        return Ok(Vec::new());
    }
    let time = BODY + Duration::from_secs(bytes / BYTES_A_SECOND);
    connection.get_mut().set_end(Instant::now() + time);
    let mut body = Vec::new();
    while (body.len() as u64) < bytes {
        let piece = (bytes - body.len() as u64).min(PIECE_BYTES);
        let read = connection.by_ref().take(piece).read_to_end(&mut body)?;
        if read as u64 != piece {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(body)
}

/// The sentence of an error, after a colon; empty if there is none.
fn problem(connection: &mut impl Read, length: u64) -> String {
    let mut body = Vec::new();
    let read = connection
        .take(length.min(PROBLEM_BYTES_MAX))
        .read_to_end(&mut body);
    let problem = read
        .ok()
        .and_then(|_| serde_json::from_slice::<Problem>(&body).ok());
    let line = |c: &char| !c.is_control();
    problem.map_or_else(String::new, |problem| {
        format!(
            ": {}",
            problem.detail.chars().filter(line).collect::<String>()
        )
    })
}

/// What to do about a certificate that no known authority has issued; empty for any other error.
fn advice(err: &io::Error) -> &'static str {
    let text = err.to_string();
    // The second one if the authority has the same name.
    match text.contains("UnknownIssuer") || text.contains("BadSignature") {
        true => "; name the file of the authority that has issued it: --server-ca FILE",
        false => "",
    }
}

/// An error of the connection; a time that was too long is not in the words of the system.
fn in_words(err: &io::Error) -> String {
    match err.kind() {
        io::ErrorKind::TimedOut => "it takes too long".to_owned(),
        io::ErrorKind::UnexpectedEof => "the connection was closed".to_owned(),
        _ => err.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_a_host_with_encryption_or_on_this_machine() {
        let shown = |text: &str| ServerUrl::parse(text).map(|url| url.to_string());
        for (text, expected) in [
            ("https://keys.example", "https://keys.example:443"),
            ("https://keys.example:8420/", "https://keys.example:8420"),
            ("https://10.0.0.4:8420", "https://10.0.0.4:8420"),
            (
                "https://proxy.example/keys/",
                "https://proxy.example:443/keys",
            ),
            ("http://127.0.0.1:8420", "http://127.0.0.1:8420"),
            ("http://[::1]:8420", "http://[::1]:8420"),
        ] {
            assert_eq!(shown(text).as_deref(), Ok(expected));
        }
        for bad in [
            "keys.example",
            "ftp://keys.example",
            "http://keys.example",
            "http://10.0.0.4:8420",
            "https://",
            "https://a b",
            "https://user@keys.example",
            "https://keys.example/?x",
            "https://keys.example/%2e",
            "https://keys.example:0",
        ] {
            assert!(shown(bad).is_err(), "{bad}");
        }
    }
}

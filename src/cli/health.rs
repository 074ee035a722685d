//! `latchkey health`: one request to a running server, for the health check of a container. It opens no file of the data
//! folder.

use super::client::socket;
use super::failure::{End, Failure, Result};
use super::print;
use super::print::table::harmless;
use crate::config::{DataArgs, LISTEN_DEFAULT, folder, listen};
use crate::http1::answer_head::AnswerHead;
use crate::http1::timed::{Timed, left};
use std::io::{BufReader, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// How long everything may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// The answer of a server that is ready, to everybody but the administrator.
const READY: &str = "ready";
/// No more of an answer over TCP is read.
const ANSWER_BYTES_MAX: u64 = 4096;

#[derive(clap::Args, Clone, Debug)]
pub struct HealthArgs {
    /// Also ask whether changes can be saved
    #[arg(long)]
    write: bool,
    /// The addresses of the server; the first one is asked if there is no socket in the data folder, or if it is closed to
    /// this user [default for the latter: 127.0.0.1:8420]
    #[arg(
        long,
        env = "LATCHKEY_LISTEN",
        value_delimiter = ',',
        value_parser = listen,
        value_name = "ADDRESS:PORT"
    )]
    listen: Vec<SocketAddr>,
    #[command(flatten)]
    data: DataArgs,
}

pub fn run(args: &HealthArgs) -> Result<End> {
    let target = match args.write {
        true => "/readyz?write",
        false => "/readyz",
    };
    let path = folder::socket_of(&args.data.data);
    let (status, text) = match UnixStream::connect(&path) {
        // The kernel reports whose server this is, so its answer counts, and no other is asked.
        Ok(stream) => {
            let answer = socket::exchange_on(stream, &path, PATIENCE, "GET", target, b"");
            let answer = answer.map_err(|failure| match failure {
                Failure::Refused(why) | Failure::Usage(why) => not_healthy(&why),
            })?;
            (answer.status, answer.text())
        }
        Err(err) => {
            let why = format!("the socket {} cannot be used: {err}", path.display());
            let Some(address) = address(args, err.kind()) else {
                return Err(not_healthy(&why));
            };
            match ask(address, target) {
                // Anything can listen there and answer with 200.
                Ok((200, text)) if text != READY => {
                    return Err(not_healthy(&format!(
                        "{why}; and what listens on {address} is not latchkey"
                    )));
                }
                Ok(answer) => answer,
                Err(err) => {
                    return Err(not_healthy(&format!(
                        "{why}; and {address} does not answer: {err}"
                    )));
                }
            }
        }
    };
    if status == 200 {
        print::print("healthy")?;
        return Ok(End::Done);
    }
    Err(not_healthy(&format!(
        "the server answered {status}: {}",
        harmless(&text)
    )))
}

fn not_healthy(why: &str) -> Failure {
    Failure::refused(format!("not healthy: {why}"))
}

/// Where to ask over TCP after this failure of the socket: at an address that the user named, or, if the socket is there but
/// closed to this user, at the default one. Otherwise another program could listen there.
fn address(args: &HealthArgs, failure: ErrorKind) -> Option<SocketAddr> {
    let named = args.listen.first().copied();
    let found = match failure {
        ErrorKind::PermissionDenied => named.or_else(|| listen(LISTEN_DEFAULT).ok()),
        _ => named,
    };
    found.map(reachable)
}

/// The address under which this machine reaches a server that listens on all addresses.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// The status and the body of the answer in plain HTTP.
fn ask(address: SocketAddr, target: &str) -> std::io::Result<(u16, String)> {
    let end = Instant::now() + PATIENCE;
    let socket = TcpStream::connect_timeout(&address, left(end)?)?;
    let mut stream = Timed { socket, end };
    let request = format!("GET {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut connection = BufReader::new(stream);
    let head = AnswerHead::read(&mut connection)?;
    let mut body = Vec::new();
    connection
        .take(head.length.min(ANSWER_BYTES_MAX))
        .read_to_end(&mut body)?;
    let text = String::from_utf8_lossy(&body).trim().to_owned();
    Ok((head.status, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_on_all_addresses_is_asked_on_loopback() {
        for (listens, asked) in [
            ("0.0.0.0:8420", "127.0.0.1:8420"),
            ("[::]:8420", "[::1]:8420"),
            ("10.0.0.5:1", "10.0.0.5:1"),
        ] {
            let address = listens.parse().unwrap();
            assert_eq!(reachable(address).to_string(), asked);
        }
    }
}

//! The sink `syslog`: RFC 5424 over a Unix socket such as /dev/log, or over TCP with TLS (RFC 5425) and octet counting
//! (RFC 6587). TCP does not acknowledge what the receiver has read, so a receiver that crashes can lose what its system
//! had accepted.

use super::Reach;
use super::body::Message;
use super::connect::{Destination, PATIENCE, Stream};
use super::names::Names;
use super::refused::Refused;
use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::Instant;

/// The facility of all messages: security and authorisation (RFC 5424, section 6.2.1).
const FACILITY: u8 = 10;
/// The severities: what an administrator should act on at once is an alert, and everything else a notice.
const ALERT: u8 = 1;
const NOTICE: u8 = 5;
const APP_NAME: &str = "latchkey";

/// Where messages are sent.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SyslogAddress {
    Tcp(Destination),
    Unix(PathBuf),
}

impl SyslogAddress {
    /// Reads `unix:/dev/log`, `tls:HOST:PORT`, or `tcp:HOST:PORT` for this machine only. Port 6514 is assumed for TLS.
    pub fn parse(text: &str) -> Result<SyslogAddress, String> {
        let refused = "must be unix:/dev/log, tls:HOST:PORT, or tcp:ADDRESS:PORT on this machine";
        let (kind, rest) = text.split_once(':').ok_or(refused)?;
        match kind {
            "unix" if rest.starts_with('/') => Ok(SyslogAddress::Unix(PathBuf::from(rest))),
            "tls" => Destination::parse(rest, Some(6514), true)
                .map(SyslogAddress::Tcp)
                .ok_or_else(|| refused.to_owned()),
            "tcp" => match Destination::parse(rest, None, false) {
                Some(found) if found.is_loopback() => Ok(SyslogAddress::Tcp(found)),
                Some(_) => Err("is not encrypted, so it must be on this machine; use tls:".into()),
                None => Err(refused.to_owned()),
            },
            _ => Err(refused.to_owned()),
        }
    }

    /// Whether connections are encrypted.
    pub fn is_tls(&self) -> bool {
        matches!(self, SyslogAddress::Tcp(destination) if destination.is_tls)
    }
}

/// Where messages are sent, at work.
enum Receiver {
    Tcp(Destination, Names),
    Unix(PathBuf),
}

/// The connection at work.
pub struct SyslogSink {
    receiver: Receiver,
    reach: Reach,
    stream: Option<Stream>,
    /// HOSTNAME and PROCID of all messages.
    host: String,
}

impl SyslogSink {
    pub fn new(address: SyslogAddress, reach: Reach) -> SyslogSink {
        let receiver = match address {
            SyslogAddress::Tcp(destination) => {
                let names = destination.names();
                Receiver::Tcp(destination, names)
            }
            SyslogAddress::Unix(path) => Receiver::Unix(path),
        };
        SyslogSink {
            receiver,
            reach,
            stream: None,
            host: host_name(),
        }
    }

    pub fn send(&mut self, message: &Message) -> io::Result<()> {
        let text = line(message, &self.host, std::process::id());
        match &self.receiver {
            Receiver::Unix(path) => {
                let socket = UnixDatagram::unbound()?;
                socket.set_write_timeout(Some(PATIENCE))?;
                socket.connect(path)?;
                let sent = socket.send(text.as_bytes()).map_err(too_long)?;
                match sent == text.len() {
                    true => Ok(()),
                    false => Err(io::ErrorKind::WriteZero.into()),
                }
            }
            Receiver::Tcp(destination, names) => {
                let end = Instant::now() + PATIENCE;
                let mut stream = match self.stream.take() {
                    Some(stream) if stream.check_open().is_ok() => stream,
                    _ => destination.dial(names, &self.reach, end)?,
                };
                stream.set_end(end);
                stream.write_all(format!("{} {text}", text.len()).as_bytes())?;
                self.stream = Some(stream);
                Ok(())
            }
        }
    }

    /// Passes what was written to the system, and notices a connection that the other side has closed.
    pub fn flush(&mut self) -> io::Result<()> {
        let Some(mut stream) = self.stream.take() else {
            return Ok(());
        };
        stream.set_end(Instant::now() + PATIENCE);
        stream.flush()?;
        stream.check_open()?;
        self.stream = Some(stream);
        Ok(())
    }
}

/// A message that does not fit into a datagram is never sent, however often it is tried.
fn too_long(err: io::Error) -> io::Error {
    match rustix::io::Errno::from_io_error(&err) {
        Some(rustix::io::Errno::MSGSIZE) => {
            io::Error::other(Refused(format!("one message is too long: {err}")))
        }
        _ => err,
    }
}

/// A message as RFC 5424, section 6: no structured data, and JSON as the text.
fn line(message: &Message, host: &str, process: u32) -> String {
    let severity = match message.is_urgent {
        true => ALERT,
        false => NOTICE,
    };
    format!(
        "<{}>1 {} {host} {APP_NAME} {process} {} - {}",
        FACILITY * 8 + severity,
        message.at,
        message.kind,
        message.body
    )
}

/// The name of this machine as RFC 5424 writes it: visible ASCII, at most 255 characters, `-` if it is not known.
fn host_name() -> String {
    let system = rustix::system::uname();
    let name = system.nodename().to_string_lossy().into_owned();
    let name: String = name
        .chars()
        .filter(char::is_ascii_graphic)
        .take(255)
        .collect();
    match name.is_empty() {
        true => "-".to_owned(),
        false => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::Timestamp;

    #[test]
    fn an_address_is_a_socket_or_a_host() {
        let unix = SyslogAddress::parse("unix:/dev/log");
        assert_eq!(unix, Ok(SyslogAddress::Unix(PathBuf::from("/dev/log"))));
        assert!(SyslogAddress::parse("tls:logs.example").unwrap().is_tls());
        assert!(!SyslogAddress::parse("tcp:127.0.0.1:601").unwrap().is_tls());
        assert!(SyslogAddress::parse("tcp:localhost:601").is_ok());
        for bad in [
            "",
            "/dev/log",
            "unix:log",
            "udp:127.0.0.1:514",
            "tcp:127.0.0.1",
            "tcp:10.0.0.1:601",
            "tls:",
            "tls:[::1",
        ] {
            assert!(SyslogAddress::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_line_has_the_form_of_rfc_5424() {
        let mut message = Message::test(Timestamp(1_500)).unwrap();
        message.body = "{}".to_owned();
        assert_eq!(
            line(&message, "host", 7),
            "<85>1 1970-01-01T00:00:01.5Z host latchkey 7 test - {}"
        );
        message.is_urgent = true;
        assert!(line(&message, "host", 7).starts_with("<81>1 "));
    }
}

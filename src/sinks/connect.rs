//! Connections of sinks to other machines. A name is resolved once for each connection ([`Names`]), and an address that is not
//! public must be one that the administrator has named.

use super::Reach;
use super::names::Names;
use crate::domain::keys::address::{AddressList, canonical, parse_address};
use crate::http1::timed::{Timed, left};
use crate::http1::tls::client::{Authorities, TlsStream};
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// The longest time for a delivery: resolving the name, connecting, sending and the answer together.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// The longest time for the connection of a link, and then for its handshake: both fit into a short lease, also over a satellite.
const CONNECT: Duration = Duration::from_millis(1_500);
const HANDSHAKE: Duration = Duration::from_secs(3);

/// A host and a port, and whether the connection is encrypted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Destination {
    /// A name or an address, without brackets.
    pub host: String,
    pub port: u16,
    pub is_tls: bool,
}

/// An open connection.
#[derive(Debug)]
pub enum Stream {
    Plain(Timed<TcpStream>),
    Tls(Box<TlsStream>),
}

impl Destination {
    /// Reads `HOST:PORT`; without a port, `port` is used. An IPv6 address is in brackets.
    pub fn parse(text: &str, port: Option<u16>, is_tls: bool) -> Option<Destination> {
        let (host, rest) = match text.strip_prefix('[') {
            Some(inside) => {
                let (host, rest) = inside.split_once(']')?;
                host.parse::<std::net::Ipv6Addr>().ok()?;
                (host, rest)
            }
            None => text.split_at(text.find(':').unwrap_or(text.len())),
        };
        let port = match rest.strip_prefix(':') {
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().ok()?,
            None if rest.is_empty() => port?,
            _ => return None,
        };
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | ':');
        let fits = !host.is_empty() && host.len() <= 253 && host.chars().all(is_name);
        (fits && port != 0).then(|| Destination {
            host: host.to_owned(),
            port,
            is_tls,
        })
    }

    /// Whether the text names this machine itself: a loopback address, or `localhost`.
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost" || parse_address(&self.host).is_some_and(|ip| ip.is_loopback())
    }

    /// `host:port` as in a `Host` header.
    pub fn authority(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }

    /// The addresses of the host.
    pub fn names(&self) -> Names {
        Names::new(&self.host, self.port)
    }

    /// Opens a connection to an address of the host. From `end` on, everything on it fails. The name may take half of the time.
    pub fn dial(&self, names: &Names, reach: &Reach, end: Instant) -> io::Result<Stream> {
        let found = names.resolve(end - left(end)? / 2)?;
        let admitted = found.iter().find(|one| self.admits(one.ip(), reach));
        let address = admitted.ok_or_else(|| {
            let why = match found.first() {
                None => format!("{} has no address", self.host),
                Some(one) => format!(
                    "{} stands for {}, which is no public address; allow it with notice_allow",
                    self.host,
                    one.ip()
                ),
            };
            io::Error::other(why)
        })?;
        let socket = TcpStream::connect_timeout(address, left(end)?)?;
        let stream = Timed { socket, end };
        if !self.is_tls {
            return Ok(Stream::Plain(stream));
        }
        let authorities = reach.authorities.as_ref();
        let authorities = authorities.ok_or_else(|| io::Error::other("no authorities"))?;
        Ok(Stream::Tls(Box::new(
            authorities.connect(&self.host, stream)?,
        )))
    }

    /// Opens a connection to one address of the name. The administrator has set this destination for this purpose alone, so that it
    /// may be any address; but what is not encrypted stays on this machine.
    pub fn dial_address(
        &self,
        address: &SocketAddr,
        authorities: Option<&Authorities>,
    ) -> io::Result<Stream> {
        if !self.is_tls && !address.ip().is_loopback() {
            let why = format!("{address} is not on this machine; use https:");
            return Err(io::Error::other(why));
        }
        let socket = TcpStream::connect_timeout(address, CONNECT)?;
        // A question is one write, and its answer is waited for.
        socket.set_nodelay(true)?;
        let end = Instant::now() + HANDSHAKE;
        let stream = Timed { socket, end };
        if !self.is_tls {
            return Ok(Stream::Plain(stream));
        }
        let authorities = authorities.ok_or_else(|| io::Error::other("no authorities"))?;
        let stream = authorities.connect(&self.host, stream)?;
        Ok(Stream::Tls(Box::new(stream)))
    }

    /// Whether an address that the name stands for may be connected to. What is not encrypted stays on this machine.
    fn admits(&self, ip: IpAddr, reach: &Reach) -> bool {
        let ip = canonical(ip);
        let is_named = parse_address(&self.host) == Some(ip) && !is_link_local(ip);
        let is_local = self.is_loopback() && ip.is_loopback();
        let in_list = |list: &AddressList| list.blocks().iter().any(|block| block.holds(ip));
        let is_allowed = reach.allowed.as_ref().is_some_and(in_list);
        (self.is_tls || ip.is_loopback()) && (is_named || is_local || is_allowed || is_public(ip))
    }
}

/// Where clouds keep the credentials of their machines.
fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

/// Whether an address is one of the internet, not of a site or of a machine (RFC 6890).
fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            let is_shared = a == 100 && (64..128).contains(&b);
            !(a == 0
                || a >= 240
                || is_shared
                || ip.is_private()
                || ip.is_loopback()
                || ip.is_link_local()
                || ip.is_multicast()
                || ip.is_documentation())
        }
        // Global unicast addresses, without those that stand for an IPv4 address of any kind: 6to4 and Teredo.
        IpAddr::V6(ip) => {
            let [a, b, ..] = ip.segments();
            (0x2000..0x4000).contains(&a) && a != 0x2002 && !(a == 0x2001 && (b == 0 || b == 0xdb8))
        }
    }
}

impl Stream {
    /// Gives all further reads and writes another deadline.
    pub fn set_end(&mut self, end: Instant) {
        match self {
            Stream::Plain(stream) => stream.end = end,
            Stream::Tls(stream) => stream.set_end(end),
        }
    }

    /// Fails if the other side has closed the connection, which a write would notice too late.
    pub fn check_open(&self) -> io::Result<()> {
        let socket = match self {
            Stream::Plain(stream) => &stream.socket,
            Stream::Tls(stream) => stream.socket(),
        };
        let mut byte = [0];
        socket.set_nonblocking(true)?;
        let peeked = socket.peek(&mut byte);
        socket.set_nonblocking(false)?;
        match peeked {
            Ok(0) => Err(io::ErrorKind::ConnectionAborted.into()),
            Err(err) if err.kind() != io::ErrorKind::WouldBlock => Err(err),
            _ => Ok(()),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(stream) => stream.read(into),
            Stream::Tls(stream) => stream.read(into),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(stream) => stream.write(bytes),
            Stream::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Stream::Plain(stream) => stream.flush(),
            Stream::Tls(stream) => stream.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sinks::names::tests::NameServer;

    #[test]
    fn a_destination_is_a_host_and_a_port() {
        let parse = |text: &str| {
            let found = Destination::parse(text, None, true)?;
            Some((found.host, found.port))
        };
        assert_eq!(
            parse("logs.example:6514"),
            Some(("logs.example".into(), 6514))
        );
        assert_eq!(parse("[::1]:6514"), Some(("::1".into(), 6514)));
        for bad in [
            "",
            "logs.example",
            ":6514",
            "logs:0",
            "logs:x",
            "logs:65536",
            "lo gs:1",
            "::1:6514",
            "[::1]",
            "[x]:1",
            "a/b:1",
            "a@b:1",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
        let assumed = Destination::parse("logs.example", Some(443), true);
        assert_eq!(assumed.map(|it| it.port), Some(443));
    }

    #[test]
    fn a_name_server_that_does_not_answer_leaves_time_for_the_addresses_that_are_known() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let destination = Destination::parse("localhost", Some(address.port()), false).unwrap();
        let server = NameServer::new("localhost");
        let reach = Reach {
            authorities: None,
            allowed: None,
        };
        let dial = |left: Duration| destination.dial(&server.names, &reach, Instant::now() + left);
        let silent = dial(Duration::from_millis(40)).unwrap_err();
        assert_eq!(silent.kind(), io::ErrorKind::TimedOut);
        server.answers.send(Ok(vec![address])).unwrap();
        assert!(dial(PATIENCE).is_ok());
        assert!(dial(Duration::from_secs(1)).is_ok());
    }

    #[track_caller]
    fn check(host: &str, is_tls: bool, allowed: &[&str], ip: &str, expected: bool) {
        let destination = Destination {
            host: host.to_owned(),
            port: 443,
            is_tls,
        };
        let allowed = match allowed {
            [] => None,
            list => Some(AddressList::parse("x", list.iter().copied()).unwrap()),
        };
        let reach = Reach {
            authorities: None,
            allowed,
        };
        let found = destination.admits(ip.parse().unwrap(), &reach);
        assert_eq!(found, expected, "{host} {is_tls} {ip}");
    }

    #[test]
    fn a_name_reaches_public_addresses_and_those_that_are_allowed() {
        check("hooks.example", true, &[], "93.184.215.14", true);
        for private in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "fd00::1",
            "fe80::1",
            "ff02::1",
            "::ffff:10.1.2.3",
            "2002:a01:203::1",
            "64:ff9b::a01:203",
        ] {
            check("hooks.example", true, &[], private, false);
        }
        check("hooks.example", true, &["10.0.0.0/8"], "10.1.2.3", true);
        check("hooks.example", true, &["10.0.0.0/8"], "192.168.1.1", false);
        // An address in the setting is no surprise, but the place of credentials is one.
        check("10.1.2.3", true, &[], "10.1.2.3", true);
        check("169.254.169.254", true, &[], "169.254.169.254", false);
        check("localhost", false, &[], "127.0.0.1", true);
        check("localhost", false, &[], "10.1.2.3", false);
        check("127.0.0.1", false, &[], "127.0.0.1", true);
        // Without encryption nothing leaves the machine.
        check("hooks.example", false, &[], "93.184.215.14", false);
        check("10.1.2.3", false, &["10.0.0.0/8"], "10.1.2.3", false);
    }
}

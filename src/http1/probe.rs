//! The only request that this server sends without a sink: one `GET /` without any credential, to see whether a proxy asks for
//! one.
//!
//! It goes over plain HTTP to one address, follows no redirect, and nothing of the answer is kept but its status and
//! whether the challenge is that of Latchkey. Addresses of the local link are refused, because cloud machines have
//! their secrets there.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// The longest time for everything, with the resolution of the name.
const PATIENCE: Duration = Duration::from_secs(4);
/// No more of an answer is read.
const HEAD_BYTES_MAX: usize = 8 * 1024;
/// How the challenge of Latchkey begins.
const CHALLENGE: &str = "bearer realm=\"latchkey\"";

/// What was seen of an answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Answer {
    pub status: u16,
    /// Whether the challenge is that of Latchkey.
    pub is_of_latchkey: bool,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NoAnswer {
    /// Another question is under way.
    Busy,
    NotAllowed,
    NotHttp,
    Refused,
    Silent,
    Unresolved,
}

/// Only one question is under way at a time, so that no client can use this server to send many.
static UNDER_WAY: AtomicBool = AtomicBool::new(false);

/// Asks `address`, a host and a port, for `/` of the host `host`. The caller has checked that both contain nothing but
/// characters of host names.
pub fn ask(address: (String, u16), host: &str) -> Result<Answer, NoAnswer> {
    if UNDER_WAY.swap(true, Ordering::SeqCst) {
        return Err(NoAnswer::Busy);
    }
    let (sender, receiver) = mpsc::channel();
    let host = host.to_owned();
    // Resolving a name has no deadline of its own.
    let started = std::thread::Builder::new()
        .name("probe".to_owned())
        .spawn(move || {
            let answer = exchange(&address, &host);
            UNDER_WAY.store(false, Ordering::SeqCst);
            let _ = sender.send(answer);
        });
    if started.is_err() {
        UNDER_WAY.store(false, Ordering::SeqCst);
        return Err(NoAnswer::Busy);
    }
    receiver
        .recv_timeout(PATIENCE)
        .unwrap_or(Err(NoAnswer::Silent))
}

fn exchange(address: &(String, u16), host: &str) -> Result<Answer, NoAnswer> {
    let end = Instant::now() + PATIENCE;
    let found = (address.0.as_str(), address.1).to_socket_addrs();
    let found: Vec<SocketAddr> = found.map_err(|_| NoAnswer::Unresolved)?.collect();
    let mut allowed = found.iter().filter(|address| is_allowed(address.ip()));
    let allowed = allowed.next().ok_or(match found.is_empty() {
        true => NoAnswer::Unresolved,
        false => NoAnswer::NotAllowed,
    })?;
    let failed = |err: std::io::Error| match err.kind() {
        ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset => NoAnswer::Refused,
        _ => NoAnswer::Silent,
    };
    let mut stream = TcpStream::connect_timeout(allowed, left(end)?).map_err(failed)?;
    let asked = format!(
        "GET / HTTP/1.1\r\nHost: {host}\r\nUser-Agent: Latchkey\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    );
    stream.set_write_timeout(Some(left(end)?)).map_err(failed)?;
    stream.write_all(asked.as_bytes()).map_err(failed)?;
    let mut head = Vec::new();
    let mut piece = [0; 1024];
    while head.len() < HEAD_BYTES_MAX && !head.windows(4).any(|end| end == b"\r\n\r\n") {
        stream.set_read_timeout(Some(left(end)?)).map_err(failed)?;
        match stream.read(&mut piece) {
            Ok(0) => break,
            Ok(length) => head.extend(piece.iter().take(length)),
            Err(err) => return Err(failed(err)),
        }
    }
    seen(&head).ok_or(NoAnswer::NotHttp)
}

fn left(end: Instant) -> Result<Duration, NoAnswer> {
    let left = end.saturating_duration_since(Instant::now());
    (!left.is_zero()).then_some(left).ok_or(NoAnswer::Silent)
}

/// Loopback and private addresses are where proxies are. Link-local ones, and those of [`METADATA_V4`] and
/// [`METADATA_V6`], are where clouds keep credentials of machines. An IPv6 address that stands for an IPv4 address is
/// judged as that one, because a translator in the network sends the request there.
fn is_allowed(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_allowed_v4(ip),
        IpAddr::V6(ip) if ip.is_loopback() => true,
        IpAddr::V6(ip) => {
            let [first, second, ..] = ip.segments();
            let is_metadata = METADATA_V6.contains(&(first, second));
            let is_excluded =
                ip.is_unicast_link_local() || ip.is_multicast() || ip.is_unspecified();
            !(is_excluded || is_metadata) && embedded_v4(ip).is_none_or(is_allowed_v4)
        }
    }
}

fn is_allowed_v4(ip: Ipv4Addr) -> bool {
    let is_excluded = ip.is_link_local() || ip.is_multicast() || ip.is_broadcast();
    !(is_excluded || ip.octets()[0] == 0 || METADATA_V4.contains(&ip))
}

/// Addresses of clouds' metadata services outside the link-local range: Alibaba's, Azure's and Oracle's.
const METADATA_V4: [Ipv4Addr; 3] = [
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(168, 63, 129, 16),
    Ipv4Addr::new(192, 0, 0, 192),
];
/// The first two segments of the addresses of Amazon's, Google's and Oracle's services over IPv6.
const METADATA_V6: [(u16, u16); 3] = [(0xfd00, 0x0ec2), (0xfd20, 0x00ce), (0xfd00, 0x00c1)];

/// The IPv4 address that an IPv6 address stands for: mapped, compatible (RFC 4291, section 2.5.5), translated (RFC 2765,
/// section 2.1), of NAT64 (RFC 6052, and RFC 8215 with a prefix of 96 bits) or of 6to4 (RFC 3056, section 2).
fn embedded_v4(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let of =
        |high: u16, low: u16| Some(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)));
    match ip.segments() {
        [0, 0, 0, 0, 0 | 0xffff, 0, high, low]
        | [0, 0, 0, 0, 0, 0xffff, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x64, 0xff9b, 1, _, _, _, high, low]
        | [0x2002, high, low, ..] => of(high, low),
        _ => None,
    }
}

/// The status of a head, and whether its challenge is that of Latchkey.
fn seen(head: &[u8]) -> Option<Answer> {
    let head = String::from_utf8_lossy(head);
    let mut lines = head.split("\r\n");
    let first = lines.next()?;
    let status = first.strip_prefix("HTTP/1.")?.split(' ').nth(1)?;
    let status: u16 = status
        .parse()
        .ok()
        .filter(|status| (100..600).contains(status))?;
    let is_of_latchkey = lines.take_while(|line| !line.is_empty()).any(|line| {
        line.split_once(':').is_some_and(|(name, value)| {
            let value = value.trim().to_ascii_lowercase();
            name.eq_ignore_ascii_case("www-authenticate") && value.starts_with(CHALLENGE)
        })
    });
    Some(Answer {
        status,
        is_of_latchkey,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_as_far_as_it_says_something() {
        for (head, expected) in [
            (
                "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer realm=\"latchkey\"\r\n\r\n",
                Some((401, true)),
            ),
            (
                "HTTP/1.1 401 \r\nWWW-Authenticate: Basic realm=\"latchkey\"\r\n\r\n",
                Some((401, false)),
            ),
            (
                "HTTP/1.0 200 OK\r\n\r\nwww-authenticate: Bearer realm=\"latchkey\"\r\n",
                Some((200, false)),
            ),
            ("HTTP/2 200\r\n\r\n", None),
            ("HTTP/1.1 999 x\r\n\r\n", None),
            ("SSH-2.0-x\r\n", None),
            ("", None),
        ] {
            let found = seen(head.as_bytes()).map(|answer| (answer.status, answer.is_of_latchkey));
            assert_eq!(found, expected, "{head}");
        }
    }

    #[test]
    fn addresses_of_the_link_are_not_asked() {
        for (ip, allowed) in [
            ("127.0.0.1", true),
            ("10.0.0.1", true),
            ("192.168.1.1", true),
            ("203.0.113.1", true),
            ("::1", true),
            ("fd00::1", true),
            ("169.254.169.254", false),
            ("::ffff:169.254.169.254", false),
            ("fe80::1", false),
            ("fd00:ec2::254", false),
            ("fd00:ec2::23", false),
            ("fd20:ce::254", false),
            ("100.100.100.200", false),
            ("168.63.129.16", false),
            ("192.0.0.192", false),
            ("0.0.0.1", false),
            ("::ffff:100.100.100.200", false),
            ("::169.254.169.254", false),
            ("::ffff:0:169.254.169.254", false),
            ("64:ff9b::169.254.169.254", false),
            ("64:ff9b::168.63.129.16", false),
            ("64:ff9b:1::169.254.169.254", false),
            ("64:ff9b:1:2:3:4:169.254.169.254", false),
            ("2002:a9fe:a9fe::1", false),
            ("64:ff9b::203.0.113.1", true),
            ("::ffff:10.0.0.1", true),
            ("2002:cb00:7101::1", true),
            ("0.0.0.0", false),
            ("::", false),
            ("224.0.0.1", false),
            ("255.255.255.255", false),
        ] {
            assert_eq!(is_allowed(ip.parse().unwrap()), allowed, "{ip}");
        }
    }
}

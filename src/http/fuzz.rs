//! Mutated forwarding headers: the client's address agrees with a plain reading, and no header of a proxy is overlooked.
//!
//! The first line of an input is the peer, each further line a header.

use super::client::{LOCAL_HEADER, Locality, Trust};
use super::request::{Head, Method, Peer, RequestId};
use crate::domain::keys::address::AddressList;
use crate::fuzz::Target;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

#[rustfmt::skip]
const WORDS: &[&str] = &[
    "127.0.0.1:1\n", "10.1.2.3:1\n", "203.0.113.9:1\n", "[::1]:1\n", "[::ffff:10.1.2.3]:1\n", "x-forwarded-for: ", "forwarded: for=", "via: 1.1 x\n", "x_forwarded_for: 1\n",
    "latchkey-local: 1\n", "10.1.9.9", "198.51.100.1", "198.51.100.1:443", "[2001:db8::1]", "[2001:db8::1]:80", "::ffff:198.51.100.2", "2001:db8::2", "127.0.0.1", ", ", ",", "unknown",
    "\"", " ", "\t", "\n", "é", ":0", ":65536", "%eth0", "010.1.1.1",
];

/// Peers of 10.1.0.0/16 are proxies, as is this machine.
fn is_trusted(address: IpAddr) -> bool {
    match plain(address) {
        IpAddr::V4(v4) => v4.is_loopback() || v4.octets()[..2] == [10, 1],
        IpAddr::V6(v6) => v6.is_loopback(),
    }
}

/// An IPv4 address in IPv6 is that IPv4 address.
fn plain(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    }
}

/// One hop: an address, or one with a port that is above 0 and has no leading zeros.
fn hop(text: &str) -> Option<IpAddr> {
    let port = |text: &str| {
        text.parse::<u16>()
            .is_ok_and(|port| port > 0 && port.to_string() == text)
    };
    let bracketed = || {
        let (address, rest) = text.strip_prefix('[')?.split_once(']')?;
        let fits = rest.is_empty() || rest.strip_prefix(':').is_some_and(port);
        address
            .parse::<Ipv6Addr>()
            .ok()
            .filter(|_| fits)
            .map(IpAddr::V6)
    };
    let with_port = || {
        let (address, number) = text.split_once(':')?;
        address
            .parse::<Ipv4Addr>()
            .ok()
            .filter(|_| port(number))
            .map(IpAddr::V4)
    };
    text.parse::<IpAddr>()
        .ok()
        .or_else(bracketed)
        .or_else(with_port)
        .map(plain)
}

/// From the peer outwards, each address is believed only if the one that named it is trusted.
fn client(peer: IpAddr, values: &[&str]) -> Option<IpAddr> {
    let hops = values.join(",");
    let mut at = plain(peer);
    if values.is_empty() {
        return Some(at);
    }
    for text in hops.rsplit(',') {
        if !is_trusted(at) {
            break;
        }
        at = hop(text.trim_matches([' ', '\t']))?;
    }
    Some(at)
}

fn judge(input: &[u8]) -> String {
    let text = String::from_utf8_lossy(input);
    let mut lines = text.lines();
    let Some(peer) = lines
        .next()
        .and_then(|line| line.parse::<SocketAddr>().ok())
    else {
        return "no peer".to_owned();
    };
    let is_name = |name: &str| {
        !name.is_empty()
            && name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b))
    };
    let headers: Vec<(&str, &str)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name, value.trim_matches([' ', '\t'])))
        .filter(|(name, value)| {
            is_name(name)
                && value
                    .bytes()
                    .all(|b| b == b'\t' || (b >= b' ' && b != 0x7f))
        })
        .take(20)
        .collect();
    let head = Head {
        method: Method::GET,
        target: "/".parse().unwrap(),
        is_http_11: true,
        headers: headers.iter().copied().collect(),
        peer: Peer::Tcp {
            peer,
            local: "10.0.0.5:8420".parse().unwrap(),
            is_tls: false,
        },
        id: RequestId::new(0, 0),
    };
    let trust = Trust {
        proxies: Some(AddressList::parse("x", ["10.1.0.0/16"]).unwrap()),
        ..Trust::default()
    };
    let values: Vec<&str> = headers
        .iter()
        .filter(|(name, _)| *name == "x-forwarded-for")
        .map(|(_, value)| *value)
        .collect();
    let found = trust.client_address(&head);
    if values
        .iter()
        .map(|value| value.split(',').count())
        .sum::<usize>()
        < 64
    {
        assert_eq!(found, client(peer.ip(), &values), "{peer} {values:?}");
    }
    let locality = Locality::of(&head);
    let starts = |name: &str| {
        ["forwarded", "via", "x-forwarded", "x-real-", "cf-"]
            .iter()
            .any(|start| name.replace('_', "-").starts_with(start))
    };
    if headers.iter().any(|(name, _)| starts(name)) || !plain(peer.ip()).is_loopback() {
        assert_eq!(locality, Locality::Elsewhere, "{headers:?}");
    }
    let marks: Vec<&str> = headers
        .iter()
        .filter(|(name, _)| *name == LOCAL_HEADER.0)
        .map(|(_, value)| *value)
        .collect();
    assert!(
        locality != Locality::Local || marks == [LOCAL_HEADER.1],
        "{headers:?}"
    );
    let family = found.map(|address| address.is_ipv4());
    format!(
        "{locality:?} {family:?} {} {}",
        values.len().min(2),
        is_trusted(peer.ip())
    )
}

#[test]
fn mutated_forwarding_headers_name_the_same_client() {
    Target {
        name: "forwarded",
        words: WORDS,
        mutations: 3_000,
    }
    .run(judge);
}

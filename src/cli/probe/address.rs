//! The address that is probed, and whether its owner agrees: no server of another owner is probed by accident.

use super::ProbeArgs;
use super::exchange::{Connection, Peer, get};
use crate::cli::failure::{Failure, Result};
use crate::config::owner::as_caller;
use crate::http1::tls::client::Authorities;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

/// The path at which the owner of a host allows the probe.
pub const TOKEN_PATH: &str = "/.well-known/latchkey-probe";

/// The parts of a URL.
#[derive(Debug, Eq, PartialEq)]
pub struct Url {
    pub is_tls: bool,
    /// A name in lower case, or an IP address without brackets.
    pub name: String,
    pub port: u16,
    /// The value of `Host`.
    pub host: String,
    /// The path without a query; begins with a slash.
    pub path: String,
}

impl Url {
    pub fn parse(text: &str) -> Option<Url> {
        let (scheme, rest) = text.split_once("://")?;
        let is_tls = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            _ => return None,
        };
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, "/"),
        };
        let (name, port) = match authority.strip_prefix('[') {
            Some(inner) => {
                let (name, rest) = inner.split_once(']')?;
                name.parse::<std::net::Ipv6Addr>().ok()?;
                let port = match rest {
                    "" => None,
                    rest => Some(rest.strip_prefix(':')?),
                };
                (name, port)
            }
            None => match authority.split_once(':') {
                Some((name, port)) => (name, Some(port)),
                None => (authority, None),
            },
        };
        let is_name = |c: char| c.is_ascii_alphanumeric() || "-.:_".contains(c);
        let is_path = |c: char| c.is_ascii_graphic() && !"?#\\;%\"<>".contains(c);
        if name.is_empty() || !name.chars().all(is_name) || !path.chars().all(is_path) {
            return None;
        }
        // The probe varies the spelling of the path, so the path itself must have only one.
        if path.contains("//") || path.contains("/.") || path.ends_with('.') {
            return None;
        }
        let port = match port {
            None if is_tls => 443,
            None => 80,
            Some(port) if port.bytes().all(|b| b.is_ascii_digit()) => port.parse().ok()?,
            Some(_) => return None,
        };
        Some(Url {
            is_tls,
            name: name.to_ascii_lowercase(),
            port,
            host: authority.to_ascii_lowercase(),
            path: path.to_owned(),
        })
    }
}

/// Reads the URL and finds the address, which stays the same for all requests. The owner of an address other than
/// loopback must agree.
pub fn find(args: &ProbeArgs) -> Result<(Url, Peer)> {
    let url = Url::parse(&args.url).ok_or_else(|| {
        Failure::Usage(format!(
            "{}: this is no URL that can be probed; write http:// or https://, a host and a plain path, without a query, \
             `%`, `;`, `//` and dots at the beginning or the end of a segment, such as https://orders.example/orders",
            args.url
        ))
    })?;
    let address = match args.connect {
        Some(address) => address,
        None => resolved(&url)?,
    };
    let tls = match url.is_tls {
        true => Some(as_caller(|| Authorities::read(args.ca.as_deref()))?),
        false => None,
    };
    let peer = Peer {
        address,
        host: url.host.clone(),
        name: url.name.clone(),
        tls,
    };
    if !is_loopback(address.ip()) && !args.i_own_it {
        check_token(&url, &peer)?;
    }
    Ok((url, peer))
}

pub fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

/// The first address of the name.
fn resolved(url: &Url) -> Result<SocketAddr> {
    let found = (url.name.as_str(), url.port).to_socket_addrs();
    let first = found.ok().and_then(|mut found| found.next());
    first.ok_or_else(|| {
        Failure::refused(format!(
            "{} has no address; before its name exists, use --connect ADDRESS:PORT",
            url.name
        ))
    })
}

/// The content of the file with which the owner of a host allows the probe.
pub fn token(url: &Url) -> String {
    format!("latchkey-probe {}", url.name)
}

fn check_token(url: &Url, peer: &Peer) -> Result<()> {
    let answer = Connection::open(peer)
        .map_err(|err| unreachable(peer, &err.to_string()))?
        .exchange(&get(TOKEN_PATH), "latchkey-probe");
    let agrees =
        answer.is_ok_and(|answer| answer.status == 200 && answer.text().trim() == token(url));
    if agrees {
        return Ok(());
    }
    Err(Failure::refused(format!(
        "{} is not this machine ({}), and nothing was probed. If it is yours, let {TOKEN_PATH} answer with the line `{}` \
         without a key, or use --i-own-it",
        url.name,
        peer.address,
        token(url)
    )))
}

/// Nothing answers at the address.
pub fn unreachable(peer: &Peer, why: &str) -> Failure {
    Failure::refused(format!(
        "the proxy at {} cannot be reached: {why}",
        peer.address
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<(bool, &str, u16, &str, &str)>) {
        let found = Url::parse(text);
        let found = found.as_ref().map(|url| {
            let Url {
                name, host, path, ..
            } = url;
            (
                url.is_tls,
                name.as_str(),
                url.port,
                host.as_str(),
                path.as_str(),
            )
        });
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn a_url_has_one_spelling() {
        check(
            "https://Orders.example/a/b",
            Some((true, "orders.example", 443, "orders.example", "/a/b")),
        );
        check(
            "http://127.0.0.1:8081",
            Some((false, "127.0.0.1", 8081, "127.0.0.1:8081", "/")),
        );
        check(
            "http://[::1]:8081/x/",
            Some((false, "::1", 8081, "[::1]:8081", "/x/")),
        );
        for bad in [
            "orders.example",
            "ftp://a/",
            "http:///x",
            "http://a:/x",
            "http://a:99999/",
            "http://a b/",
            "http://user@a/",
            "http://a/?q=1",
            "http://a//b",
            "http://a/../b",
            "http://a/b.",
            "http://a/%2e",
            "http://a/b;c",
            "http://a/\r\nX: y",
            "http://a\r\n/",
            "http://[::1/",
            "http://[x]/",
        ] {
            check(bad, None);
        }
    }

    #[test]
    fn only_this_machine_is_loopback() {
        for (ip, expected) in [
            ("127.0.0.1", true),
            ("127.8.0.1", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("10.0.0.1", false),
            ("0.0.0.0", false),
            ("::", false),
        ] {
            assert_eq!(is_loopback(ip.parse().unwrap()), expected, "{ip}");
        }
    }
}

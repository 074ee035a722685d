//! The address on which HAProxy asks in its own protocol.

use super::listen;
use crate::error::{Error, Result};
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// The beginning of the path of a Unix socket.
const UNIX: &str = "unix:";

/// An address with a port, or a Unix socket.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum AgentAddress {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl FromStr for AgentAddress {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<AgentAddress, String> {
        let Some(path) = text.strip_prefix(UNIX) else {
            let other = "or unix:/PATH for a Unix socket";
            return listen(text)
                .map(AgentAddress::Tcp)
                .map_err(|why| format!("{why}, {other}"));
        };
        let path = PathBuf::from(path);
        match path.is_absolute() {
            true => Ok(AgentAddress::Unix(path)),
            false => Err(format!(
                "{text:?} names no full path; write unix:/run/latchkey/haproxy.sock"
            )),
        }
    }
}

impl fmt::Display for AgentAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AgentAddress::Tcp(address) => write!(f, "{address}"),
            AgentAddress::Unix(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

impl AgentAddress {
    /// Refuses an address that other machines reach, unless plain connections are allowed: keys cross the network readable.
    /// `others` are the ports of the other listeners.
    pub fn check(&self, allow_plain: bool, mut others: impl Iterator<Item = u16>) -> Result<()> {
        let AgentAddress::Tcp(address) = self else {
            return Ok(());
        };
        if !address.ip().is_loopback() && !allow_plain {
            let why = format!(
                "{address} is reached by other machines, and HAProxy would send keys readable to the network; listen on 127.0.0.1, \
                 or on a Unix socket, or say --allow-plain-http"
            );
            return Err(Error::invalid_text("haproxy-agent", why));
        }
        if address.port() != 0 && others.any(|port| port == address.port()) {
            return Err(Error::invalid_text(
                "haproxy-agent",
                "must have another port than listen and metrics-listen",
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_has_an_address_or_a_full_path() {
        for text in [
            "127.0.0.1:8422",
            "[::1]:8422",
            "unix:/run/latchkey/haproxy.sock",
        ] {
            assert_eq!(text.parse::<AgentAddress>().unwrap().to_string(), text);
        }
        assert_eq!(
            ":8422".parse::<AgentAddress>().unwrap().to_string(),
            "[::]:8422"
        );
        for bad in [
            "",
            "8422",
            "localhost:8422",
            "unix:",
            "unix:haproxy.sock",
            "/run/haproxy.sock",
        ] {
            assert!(bad.parse::<AgentAddress>().is_err(), "{bad}");
        }
    }

    #[test]
    fn other_machines_need_a_setting_and_ports_differ() {
        let check = |text: &str, allow_plain: bool| {
            let address: AgentAddress = text.parse().unwrap();
            address.check(allow_plain, [8420, 9420].into_iter()).is_ok()
        };
        for (text, loopback, anywhere) in [
            ("127.0.0.1:8422", true, true),
            ("[::1]:0", true, true),
            ("unix:/run/x", true, true),
            ("10.0.0.5:8422", false, true),
            (":8422", false, true),
            ("127.0.0.1:8420", false, false),
            ("127.0.0.2:9420", false, false),
        ] {
            assert_eq!(check(text, false), loopback, "{text}");
            assert_eq!(check(text, true), anywhere, "{text}");
        }
    }
}

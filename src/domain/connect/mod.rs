//! The configuration with which a reverse proxy protects one application: the files of `examples/`, with the addresses
//! and names of an installation in the place of those of the example.
//!
//! All values are checked before they get into a file: none can contain what means something in the syntax of a proxy.

mod edits;
mod files;
mod gateway;
mod haproxy;

use crate::domain::text::check_slug;
use crate::domain::uid::Uid;
use crate::error::{Error, Result};
use crate::refusals::connect;
use std::fmt::{Display, Formatter};
use std::net::{IpAddr, Ipv6Addr};

/// The reverse proxies for which there is an example.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Proxy {
    Caddy,
    Envoy,
    /// A gateway in Kubernetes that implements the Gateway API.
    Gateway,
    /// With the Lua action.
    Haproxy,
    /// With Latchkey as its agent.
    HaproxySpoe,
    Nginx,
    Traefik,
}

impl Proxy {
    /// In the order in which they are offered.
    pub const ALL: [Proxy; 7] = [
        Proxy::Nginx,
        Proxy::Caddy,
        Proxy::HaproxySpoe,
        Proxy::Haproxy,
        Proxy::Traefik,
        Proxy::Envoy,
        Proxy::Gateway,
    ];

    pub fn word(self) -> &'static str {
        match self {
            Proxy::Caddy => "caddy",
            Proxy::Envoy => "envoy",
            Proxy::Gateway => "gateway",
            Proxy::Haproxy => "haproxy",
            Proxy::HaproxySpoe => "haproxy-spoe",
            Proxy::Nginx => "nginx",
            Proxy::Traefik => "traefik",
        }
    }

    /// The name as its authors write it.
    pub fn name(self) -> &'static str {
        match self {
            Proxy::Caddy => "Caddy",
            Proxy::Envoy => "Envoy",
            Proxy::Gateway => "Gateway API (Kubernetes)",
            Proxy::Haproxy => "HAProxy (Lua)",
            Proxy::HaproxySpoe => "HAProxy (SPOE)",
            Proxy::Nginx => "nginx",
            Proxy::Traefik => "Traefik",
        }
    }

    pub fn parse(word: &str) -> Option<Proxy> {
        Proxy::ALL.into_iter().find(|proxy| proxy.word() == word)
    }
}

/// A host and a port.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Address {
    /// A name in lower case or an IP address, IPv6 without brackets.
    pub host: String,
    pub port: u16,
}

impl Address {
    /// Reads `127.0.0.1:9000`, `[::1]:9000` or `app.internal:9000`, also with `http://` before it.
    pub fn parse(field: &str, text: &str) -> Result<Address> {
        let text = text.trim();
        if text.starts_with("https://") {
            return Err(Error::invalid(field, connect::plain()));
        }
        let bare = text.strip_prefix("http://").unwrap_or(text);
        let bare = bare.strip_suffix('/').unwrap_or(bare);
        let read = || {
            let (host, port) = bare.rsplit_once(':')?;
            let is_number = port.bytes().all(|b| b.is_ascii_digit());
            let port = port.parse().ok().filter(|port| is_number && *port > 0)?;
            let host = match host
                .strip_prefix('[')
                .and_then(|host| host.strip_suffix(']'))
            {
                Some(inner) => inner.parse::<Ipv6Addr>().ok()?.to_string(),
                None => host_name(host)?,
            };
            Some(Address { host, port })
        };
        read().ok_or_else(|| Error::invalid(field, connect::address()))
    }

    pub fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }
}

/// As in a URL, with brackets around an IPv6 address.
impl Display for Address {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match self.ip() {
            Some(IpAddr::V6(ip)) => write!(f, "[{ip}]:{}", self.port),
            _ => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// What a user has typed; empty texts are left out.
#[derive(Clone, Debug, Default)]
pub struct Typed {
    pub host: String,
    pub upstream: String,
    pub listen: String,
    pub latchkey: String,
    pub catalog: String,
    pub workspace: String,
}

/// One application to protect.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The name under which clients reach the application.
    pub host: String,
    /// The application.
    pub upstream: Address,
    /// Where the proxy listens.
    pub listen: Address,
    /// Where Latchkey listens.
    pub latchkey: Address,
    pub catalog: Option<String>,
    /// By slug or uid.
    pub workspace: Option<String>,
}

/// Where a proxy listens unless the user decides otherwise.
pub const LISTEN: &str = "0.0.0.0:80";
/// Where Latchkey listens by default.
pub const LATCHKEY: &str = "127.0.0.1:8420";

/// The port on which Latchkey is an agent of HAProxy, in the example.
const AGENT_PORT: u16 = 8422;

/// A file of a proxy.
#[derive(Clone, Debug)]
pub struct ConfigFile {
    pub name: String,
    pub text: String,
}

impl Plan {
    /// Checks what was typed, and names everything that is wrong.
    pub fn read(typed: &Typed) -> std::result::Result<Plan, Vec<Error>> {
        let or = |text: &str, otherwise: &str| match text.trim() {
            "" => otherwise.to_owned(),
            text => text.to_owned(),
        };
        let host = host_name(typed.host.trim());
        let host = host.ok_or_else(|| Error::invalid("host", connect::host()));
        let upstream = Address::parse("upstream", &typed.upstream);
        let listen = Address::parse("listen", &or(&typed.listen, LISTEN)).and_then(|listen| {
            let is_ip = listen.ip().is_some();
            is_ip
                .then_some(listen)
                .ok_or_else(|| Error::invalid("listen", connect::listen()))
        });
        let latchkey = Address::parse("latchkey", &or(&typed.latchkey, LATCHKEY));
        let catalog = name("catalog", &typed.catalog);
        let workspace = name("workspace", &typed.workspace);
        match (host, upstream, listen, latchkey, catalog, workspace) {
            (Ok(host), Ok(upstream), Ok(listen), Ok(latchkey), Ok(catalog), Ok(workspace)) => {
                Plan {
                    host,
                    upstream,
                    listen,
                    latchkey,
                    catalog,
                    workspace,
                }
                .checked()
            }
            (host, upstream, listen, latchkey, catalog, workspace) => Err([
                host.err(),
                upstream.err(),
                listen.err(),
                latchkey.err(),
                catalog.err(),
                workspace.err(),
            ]
            .into_iter()
            .flatten()
            .collect()),
        }
    }

    /// Whether the addresses can be written for this proxy; the error names the field.
    pub fn check_for(&self, proxy: Proxy) -> Result<()> {
        match proxy {
            Proxy::Gateway => gateway::check(self),
            Proxy::Caddy
            | Proxy::Envoy
            | Proxy::Haproxy
            | Proxy::HaproxySpoe
            | Proxy::Nginx
            | Proxy::Traefik => Ok(()),
        }
    }

    /// Refuses addresses of which two are one: what listens there would be asked in the place of the other.
    fn checked(self) -> std::result::Result<Plan, Vec<Error>> {
        let mut wrong = Vec::new();
        if self.upstream == self.latchkey {
            let why = connect::address_of_latchkey();
            wrong.push(Error::invalid("upstream", why));
        }
        if self.listen == self.latchkey {
            wrong.push(Error::invalid("listen", connect::address_of_latchkey()));
        }
        if self.listen == self.upstream {
            let why = connect::address_of_application();
            wrong.push(Error::invalid("listen", why));
        }
        match wrong.is_empty() {
            true => Ok(self),
            false => Err(wrong),
        }
    }

    /// The files for a proxy, the main one first.
    pub fn files(&self, proxy: Proxy) -> Result<Vec<ConfigFile>> {
        match proxy {
            Proxy::Caddy => files::caddy(self),
            Proxy::Envoy => files::envoy(self),
            Proxy::Gateway => gateway::files(self),
            Proxy::Haproxy => haproxy::lua(self),
            Proxy::HaproxySpoe => haproxy::spoe(self),
            Proxy::Nginx => files::nginx(self),
            Proxy::Traefik => files::traefik(self),
        }
    }

    /// The query of the question, without a question mark; empty if the question demands nothing.
    fn demands(&self) -> String {
        let of = |name: &str, value: &Option<String>| Some(format!("{name}={}", value.as_ref()?));
        let all = [
            of("catalog", &self.catalog),
            of("workspace", &self.workspace),
        ];
        all.into_iter().flatten().collect::<Vec<_>>().join("&")
    }
}

/// A host name in lower case, or an IPv4 address.
fn host_name(text: &str) -> Option<String> {
    let is_label = |label: &str| {
        let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        (1..=63).contains(&label.len())
            && label.bytes().all(inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let fits = text.len() <= 253 && text.split('.').all(is_label);
    fits.then(|| text.to_ascii_lowercase())
}

/// The slug or the uid of something on this server.
fn name(field: &str, text: &str) -> Result<Option<String>> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    if let Some(uid) = Uid::parse(text) {
        return Ok(Some(uid.to_string()));
    }
    check_slug(field, text).map(|()| Some(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed() -> Typed {
        Typed {
            host: "Orders.Example".to_owned(),
            upstream: "http://10.0.0.7:9000/".to_owned(),
            ..Typed::default()
        }
    }

    #[test]
    fn nothing_with_a_meaning_in_a_configuration_file_is_accepted() {
        let plan = Plan::read(&typed()).unwrap();
        assert_eq!(plan.host, "orders.example");
        assert_eq!(plan.upstream.to_string(), "10.0.0.7:9000");
        assert_eq!(plan.listen.to_string(), LISTEN);
        for bad in [
            "a b", "a;b", "a{b", "a}", "a\"", "a'", "a\nb", "a#b", "a`b", "a\\b", "a$b", "a%b",
            "a/b", "*", "-a", "a-", "", "a..b", ".a", "ä", "a:1", "(a)", "a,b", "a\tb", "a\0b",
            "a|b", "a&b", "a=b", "a?b", "a@b",
        ] {
            let host = Typed {
                host: bad.to_owned(),
                ..typed()
            };
            assert!(Plan::read(&host).is_err(), "{bad:?}");
            for address in [
                format!("{bad}:9000"),
                format!("10.0.0.7:{bad}"),
                format!("[{bad}]:9000"),
            ] {
                for change in [
                    |typed: &mut Typed, address| typed.upstream = address,
                    |typed: &mut Typed, address| typed.latchkey = address,
                    |typed: &mut Typed, address| typed.listen = address,
                ] {
                    let mut typed = typed();
                    change(&mut typed, address.clone());
                    assert!(Plan::read(&typed).is_err(), "{address:?}");
                }
            }
            if !bad.is_empty() {
                let catalog = Typed {
                    catalog: bad.to_owned(),
                    ..typed()
                };
                assert!(Plan::read(&catalog).is_err() || bad == "a-", "{bad:?}");
                let workspace = Typed {
                    workspace: bad.to_owned(),
                    ..typed()
                };
                assert!(Plan::read(&workspace).is_err() || bad == "a-", "{bad:?}");
            }
        }
        for bad in [
            "10.0.0.7",
            "10.0.0.7:0",
            "10.0.0.7:65536",
            "10.0.0.7:+1",
            ":9000",
            "https://a:1",
            "http://a:1/x",
            "[::g]:1",
            "::1:9000",
        ] {
            assert!(Address::parse("upstream", bad).is_err(), "{bad}");
        }
        assert_eq!(
            Address::parse("", "[::1]:9000").unwrap().to_string(),
            "[::1]:9000"
        );
    }

    #[test]
    fn two_programs_cannot_have_one_address() {
        let fields = |upstream: &str, listen: &str, latchkey: &str| -> Vec<String> {
            let typed = Typed {
                upstream: upstream.to_owned(),
                listen: listen.to_owned(),
                latchkey: latchkey.to_owned(),
                ..typed()
            };
            let found = Plan::read(&typed).err().unwrap_or_default();
            found.iter().map(ToString::to_string).collect()
        };
        for (upstream, listen, latchkey, wrong) in [
            ("127.0.0.1:9000", "", "", 0),
            ("127.0.0.1:8420", "", "", 1),
            ("http://127.0.0.1:8420/", "", "", 1),
            ("127.0.0.1:8420", "", "127.0.0.1:9000", 0),
            ("127.0.0.1:9000", "127.0.0.1:9000", "", 1),
            ("127.0.0.1:9000", "127.0.0.1:8420", "", 1),
            ("127.0.0.1:9000", "127.0.0.1:9000", "127.0.0.1:9000", 3),
        ] {
            let found = fields(upstream, listen, latchkey);
            assert_eq!(
                found.len(),
                wrong,
                "{upstream} {listen} {latchkey}: {found:?}"
            );
        }
    }

    #[test]
    fn everything_that_is_wrong_is_named_at_once() {
        let wrong = Typed {
            listen: "name:80".to_owned(),
            catalog: "A B".to_owned(),
            ..Typed::default()
        };
        let fields: Vec<String> = Plan::read(&wrong)
            .unwrap_err()
            .iter()
            .map(|err| match err {
                Error::Invalid { field, .. } => field.clone(),
                other => other.to_string(),
            })
            .collect();
        assert_eq!(fields, ["host", "upstream", "listen", "catalog"]);
    }
}

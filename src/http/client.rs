//! The sender of a request: the client's address behind trusted proxies, and the hosts that this server serves.

use crate::authz::caller::Origin;
use crate::domain::catalogs::path;
use crate::domain::keys::address::{AddressList, canonical, parse_address, parse_hop};
use crate::domain::security_txt::SecurityTxt;
use crate::http::request::{Head, Method, Peer, Request, RequestId};
use arc_swap::ArcSwap;
use std::net::{IpAddr, SocketAddr};
use std::ops::Deref;
use std::sync::Arc;

/// The greatest number of hops of `X-Forwarded-For` that are examined, from the right.
const HOPS_MAX: usize = 64;

/// The configuration of which peers are trusted, which hosts are served, and how answers are written: the settings of
/// requests that SIGHUP replaces together.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// Peers whose forwarding headers are trusted, besides loopback and the Unix socket.
    pub proxies: Option<AddressList>,
    /// The served hosts in the form of [`path::host`], besides `localhost` and the addresses that the server listens
    /// on.
    pub allowed_hosts: Vec<String>,
    /// Origins of other sites that may read answers, exactly as browsers send them.
    pub cors_origins: Vec<String>,
    /// Whether a peer on this machine may verify without a credential.
    pub verify_from_loopback: bool,
    /// Whether numbers beyond 2^53, which a double cannot represent exactly, are sent as texts where a format permits
    /// both.
    pub numbers_as_text: bool,
    /// The port of the address that serves only metrics, if there is one.
    pub metrics_port: Option<u16>,
    /// The user who runs this server. Only this user and root administrate it through the Unix socket.
    pub own_uid: u32,
    /// The operator's `security.txt`, if there is one.
    pub security_txt: Option<SecurityTxt>,
}

/// The trust in force. Every request reads it, and it can be replaced while requests run.
#[derive(Clone)]
pub struct LiveTrust(Arc<ArcSwap<Trust>>);

impl From<Trust> for LiveTrust {
    fn from(trust: Trust) -> LiveTrust {
        LiveTrust(Arc::new(ArcSwap::from_pointee(trust)))
    }
}

impl LiveTrust {
    /// The trust for the present request.
    pub fn now(&self) -> impl Deref<Target = Arc<Trust>> {
        self.0.load()
    }

    /// Replaces the trust from the next request on.
    pub fn replace(&self, trust: Trust) {
        self.0.store(Arc::new(trust));
    }
}

impl Trust {
    /// Whether the forwarding headers of this peer are trusted.
    pub fn trusts(&self, peer: Peer) -> bool {
        match peer {
            Peer::Unix { .. } => true,
            Peer::Tcp { peer, .. } => self.trusts_address(peer.ip()),
        }
    }

    fn trusts_address(&self, address: IpAddr) -> bool {
        let address = canonical(address);
        address.is_loopback()
            || self
                .proxies
                .as_ref()
                .is_some_and(|list| list.holds(address))
    }

    /// The client's address. This is the peer's address or, behind trusted proxies, the right-most address of
    /// `X-Forwarded-For` that is not a trusted proxy. Everything to the left of that address was sent by the client and
    /// is ignored. `None` if a trusted peer forwards anything other than addresses to the right of it: then the
    /// client's address is unknown (attacks 105, 106).
    pub fn client_address(&self, head: &Head) -> Option<IpAddr> {
        if !self.trusts(head.peer) || !head.headers.contains("x-forwarded-for") {
            return peer_address(head);
        }
        let lines = head.headers.all("x-forwarded-for").rev();
        let hops = lines.flat_map(|line| line.rsplit(|byte| *byte == b','));
        let mut farthest = None;
        for (position, hop) in hops.enumerate() {
            if position == HOPS_MAX {
                return None;
            }
            let hop = std::str::from_utf8(hop).ok()?;
            let address = parse_hop(hop.trim_matches([' ', '\t']))?;
            if !self.trusts_address(address) {
                return Some(address);
            }
            farthest = Some(address);
        }
        farthest
    }

    /// Where the request came from, for the audit log and for counters by address. If the client's address is unknown,
    /// the peer's address counts: a client must not get rid of its address by sending nonsense.
    pub fn origin(&self, head: &Head) -> Origin {
        let address = self.client_address(head);
        let counted = address.or_else(|| peer_address(head));
        Origin {
            address,
            counted,
            is_local: self.administrator(head).is_some(),
            source: counted.map_or_else(|| "unix".to_owned(), |address| address.to_string()),
            request_id: head.id.to_string(),
        }
    }

    /// The uid of this machine's administrator, if the request is their own: it is [`Locality::Local`], and came
    /// through the Unix socket from root or from the user who runs this server.
    pub fn administrator(&self, head: &Head) -> Option<u32> {
        self.administrating_uid(head)
            .filter(|_| Locality::of(head) == Locality::Local)
    }

    /// The uid at the other end of the Unix socket, if that user may administrate this server with a local request.
    pub fn administrating_uid(&self, head: &Head) -> Option<u32> {
        match head.peer {
            Peer::Unix { uid } if uid == 0 || uid == self.own_uid => Some(uid),
            Peer::Tcp { .. } | Peer::Unix { .. } => None,
        }
    }

    /// Whether the request came to the address that serves only metrics.
    pub fn is_for_figures(&self, head: &Head) -> bool {
        match head.peer {
            Peer::Tcp { local, .. } => self.metrics_port == Some(local.port()),
            Peer::Unix { .. } => false,
        }
    }

    /// Whether the client's connection is encrypted, according to a trusted proxy or, without its header, according to
    /// the connection itself.
    pub fn is_secure(&self, head: &Head) -> bool {
        let forwarded = head.header("x-forwarded-proto").ok().flatten();
        match forwarded.filter(|_| self.trusts(head.peer)) {
            Some(proto) => proto.eq_ignore_ascii_case("https"),
            None => matches!(head.peer, Peer::Tcp { is_tls: true, .. }),
        }
    }

    /// The URL under which the client reaches this server, for links in answers: `https://host:port`. It comes from the
    /// headers of a trusted proxy (`X-Forwarded-Proto`, `X-Forwarded-Host`) or else from the request itself. It is
    /// empty if neither names a host: a link is then a path.
    pub fn base_url(&self, head: &Head) -> String {
        let scheme = if self.is_secure(head) {
            "https"
        } else {
            "http"
        };
        let forwarded = head.header("x-forwarded-host").ok().flatten();
        let forwarded = forwarded.filter(|_| self.trusts(head.peer));
        let legal = |b: u8| b.is_ascii_alphanumeric() || b".:-_[]".contains(&b);
        match forwarded.or(head.host()) {
            Some(host) if !host.is_empty() && host.bytes().all(legal) => {
                format!("{scheme}://{host}")
            }
            _ => String::new(),
        }
    }

    /// Whether the requested host is one that this server serves; protects against DNS rebinding (attacks 167).
    pub fn answers_for(&self, head: &Head) -> bool {
        let (Peer::Tcp { local, .. }, Some(host)) = (head.peer, head.host()) else {
            return true;
        };
        let Some(host) = path::host(host) else {
            return false;
        };
        host == "localhost" || is_address(&host, local) || self.allowed_hosts.contains(&host)
    }
}

/// The header, and its value, with which a process of this machine declares that it sends a request of its own.
///
/// A request without the headers of a proxy may still have come through a proxy: several proxies add nothing by
/// default. So a local client has to send something that no proxy adds. A page in a browser cannot send it to another
/// origin either: a header of this name makes the browser ask first (a CORS preflight), and no answer of this server
/// permits it.
pub const LOCAL_HEADER: (&str, &str) = ("latchkey-local", "1");

/// Whether a request comes from a process of this machine.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Locality {
    /// It came over the network, or a proxy passed it on.
    Elsewhere,
    /// It came over loopback or the Unix socket, with [`LOCAL_HEADER`] and without any header of a proxy.
    Local,
    /// As `Local`, but without the header: perhaps a proxy that adds no header passed it on.
    Unmarked,
}

impl Locality {
    pub fn of(head: &Head) -> Locality {
        if !head.peer.is_on_this_machine() || is_forwarded(head) {
            return Locality::Elsewhere;
        }
        let (name, value) = LOCAL_HEADER;
        match head.header(name) {
            // Many proxies use HTTP/1.0 to their upstream server by default, and no local client of this project does.
            Ok(Some(sent)) if sent == value && head.is_http_11 => Locality::Local,
            Ok(_) | Err(_) => Locality::Unmarked,
        }
    }
}

impl Request {
    /// A request that this process makes to itself, as user `uid` would through the Unix socket. `None` if the method
    /// or the target is invalid.
    pub fn in_process(
        method: &str,
        target: &str,
        body: Vec<u8>,
        uid: u32,
        id: RequestId,
    ) -> Option<Request> {
        let json = ("content-type", "application/json");
        let json = Some(json).filter(|_| !body.is_empty());
        let head = Head {
            method: Method::from_bytes(method.as_bytes())?,
            target: target.parse().ok()?,
            is_http_11: true,
            headers: [LOCAL_HEADER].into_iter().chain(json).collect(),
            peer: Peer::Unix { uid },
            id,
        };
        Some(Request { head, body })
    }
}

/// Headers that proxies and content networks add. Each entry also matches longer names that begin with it. Names are in
/// lower case, with `-` instead of `_`.
const PROXY_HEADERS: &[&str] = &[
    "cf-",
    "client-ip",
    "fastly-",
    "forwarded",
    "proxy-client-ip",
    "true-client-ip",
    "via",
    "wl-proxy-",
    "x-amzn-trace-id",
    "x-appengine-",
    "x-arr-",
    "x-azure-",
    "x-client-ip",
    "x-cloud-trace-context",
    "x-cluster-client-ip",
    "x-envoy-",
    "x-forwarded",
    "x-host",
    "x-http-forwarded",
    "x-original-",
    "x-originating-ip",
    "x-proxy",
    "x-real-",
    "x-remote-",
    "x-rewrite-url",
    "x-scheme",
    "x-ssl-",
    "x-varnish",
];

/// Whether the request has a header that a proxy adds, so that its peer is not the client.
fn is_forwarded(head: &Head) -> bool {
    head.headers.iter().any(|(name, _)| {
        PROXY_HEADERS.iter().any(|known| {
            let begins = name.get(..known.len());
            begins.is_some_and(|begin| {
                let same =
                    |(sent, known): (&u8, u8)| *sent == known || (known == b'-' && *sent == b'_');
                begin.iter().zip(known.bytes()).all(same)
            })
        })
    })
}

fn peer_address(head: &Head) -> Option<IpAddr> {
    match head.peer {
        Peer::Tcp { peer, .. } => Some(canonical(peer.ip())),
        Peer::Unix { .. } => None,
    }
}

fn is_address(host: &str, local: SocketAddr) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    parse_address(bare).is_some_and(|address| address == canonical(local.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::request::Method;

    fn head(peer: &str, headers: &[(&str, &str)]) -> Head {
        let peer = Peer::Tcp {
            peer: peer.parse().unwrap(),
            local: "10.0.0.5:8420".parse().unwrap(),
            is_tls: false,
        };
        Head {
            method: Method::GET,
            target: "/".parse().unwrap(),
            is_http_11: true,
            headers: headers.iter().copied().collect(),
            peer,
            id: RequestId::new(0, 0),
        }
    }

    #[track_caller]
    fn check(peer: &str, forwarded: &[&str], expected: Option<&str>) {
        let trust = Trust {
            proxies: Some(AddressList::parse("x", ["10.1.0.0/16"]).unwrap()),
            ..Trust::default()
        };
        let headers: Vec<(&'static str, &str)> = forwarded
            .iter()
            .map(|value| ("x-forwarded-for", *value))
            .collect();
        let found = trust.client_address(&head(peer, &headers));
        assert_eq!(
            found,
            expected.map(|text| text.parse().unwrap()),
            "{peer} {forwarded:?}"
        );
    }

    // attacks 105, 106, 108, 111, 113
    #[test]
    fn the_right_most_untrusted_hop_is_the_client() {
        check("203.0.113.9:1", &["10.0.0.1"], Some("203.0.113.9"));
        check("127.0.0.1:1", &[], Some("127.0.0.1"));
        check(
            "127.0.0.1:1",
            &["198.51.100.1, 203.0.113.9"],
            Some("203.0.113.9"),
        );
        check(
            "10.1.2.3:1",
            &["203.0.113.9, 10.1.9.9"],
            Some("203.0.113.9"),
        );
        check(
            "10.1.2.3:1",
            &["203.0.113.9", "10.1.9.9"],
            Some("203.0.113.9"),
        );
        check("10.1.2.3:1", &["127.0.0.1, 10.1.9.9"], Some("127.0.0.1"));
        check(
            "[::ffff:10.1.2.3]:1",
            &["::ffff:203.0.113.9"],
            Some("203.0.113.9"),
        );
        for garbage in ["", "unknown", "203.0.113.9,", "\"::1\"", "fe80::1%eth0"] {
            check("127.0.0.1:1", &[garbage], None);
        }
        check("127.0.0.1:1", &["x, 203.0.113.9"], Some("203.0.113.9"));
        // The form of gateways that add the port of their client.
        for with_port in [
            "203.0.113.9:51234",
            "203.0.113.9:1",
            "198.51.100.1:5, 203.0.113.9:51234, 10.1.9.9:4711",
        ] {
            check("10.1.2.3:1", &[with_port], Some("203.0.113.9"));
        }
        for bracketed in [
            "[2001:db8::1]",
            "[2001:db8::1]:443",
            "x,[2001:db8::1]:65535 ",
        ] {
            check("127.0.0.1:1", &[bracketed], Some("2001:db8::1"));
        }
        check(
            "127.0.0.1:1",
            &["[::ffff:203.0.113.9]:80"],
            Some("203.0.113.9"),
        );
        // The client itself sent everything to the left of its address.
        let far = |hops: usize| {
            format!(
                "{}203.0.113.9{}",
                "x,".repeat(1000),
                ",127.0.0.1".repeat(hops)
            )
        };
        check("127.0.0.1:1", &["é, 203.0.113.9"], Some("203.0.113.9"));
        check("127.0.0.1:1", &["é", "203.0.113.9"], Some("203.0.113.9"));
        check("127.0.0.1:1", &["203.0.113.9", "é"], None);
        check("127.0.0.1:1", &[&far(0)], Some("203.0.113.9"));
        check("127.0.0.1:1", &[&far(HOPS_MAX - 1)], Some("203.0.113.9"));
        check("127.0.0.1:1", &[&far(HOPS_MAX)], None);
    }

    #[test]
    fn who_hides_an_address_is_counted_by_the_peer() {
        let origin = Trust::default().origin(&head("127.0.0.1:1", &[("x-forwarded-for", "é")]));
        assert_eq!(origin.address, None);
        assert_eq!(origin.counted, Some("127.0.0.1".parse().unwrap()));
        assert_eq!(origin.source, "127.0.0.1");
    }

    #[test]
    fn only_its_own_user_and_root_administrate_and_only_in_person() {
        let trust = Trust {
            own_uid: 7,
            ..Trust::default()
        };
        let asked = |peer: Peer, headers: &[(&str, &str)]| {
            let head = Head {
                peer,
                ..head("127.0.0.1:1", headers)
            };
            trust.administrator(&head)
        };
        let unix = |uid: u32| Peer::Unix { uid };
        assert_eq!(
            asked(unix(7), &[LOCAL_HEADER, ("x-request-id", "1")]),
            Some(7)
        );
        assert_eq!(asked(unix(0), &[LOCAL_HEADER]), Some(0));
        assert_eq!(asked(unix(8), &[LOCAL_HEADER]), None);
        assert_eq!(asked(head("127.0.0.1:1", &[]).peer, &[LOCAL_HEADER]), None);
        for unmarked in [
            &[][..],
            &[("latchkey-local", "")],
            &[("latchkey-local", "01")],
            &[("latchkey-local", "true")],
            &[("latchkey-local", "1, 1")],
            &[("latchkey_local", "1")],
            &[LOCAL_HEADER, LOCAL_HEADER],
        ] {
            assert_eq!(asked(unix(7), unmarked), None, "{unmarked:?}");
        }
        for name in [
            "forwarded",
            "via",
            "x-real-ip",
            "x-forwarded-for",
            "x-forwarded-proto",
            "x-forwarded",
            "x_forwarded_for",
            "true-client-ip",
            "cf-connecting-ip",
            "x-client-ip",
            "x-envoy-external-address",
            "x-original-uri",
            "client-ip",
        ] {
            assert_eq!(asked(unix(7), &[LOCAL_HEADER, (name, "")]), None, "{name}");
        }
    }

    #[test]
    fn a_request_is_local_only_if_it_says_so_and_no_proxy_passed_it_on() {
        let of = |peer: &str, headers: &[(&str, &str)]| Locality::of(&head(peer, headers));
        assert_eq!(of("127.0.0.1:1", &[LOCAL_HEADER]), Locality::Local);
        assert_eq!(of("[::ffff:127.0.0.1]:1", &[LOCAL_HEADER]), Locality::Local);
        assert_eq!(of("127.0.0.1:1", &[]), Locality::Unmarked);
        assert_eq!(of("203.0.113.9:1", &[LOCAL_HEADER]), Locality::Elsewhere);
        let proxied = [LOCAL_HEADER, ("x-forwarded-for", "127.0.0.1")];
        assert_eq!(of("127.0.0.1:1", &proxied), Locality::Elsewhere);
        // S11: proxies use HTTP/1.0 by default, and the clients of this project never do.
        let old = Head {
            is_http_11: false,
            ..head("127.0.0.1:1", &[LOCAL_HEADER])
        };
        assert_eq!(Locality::of(&old), Locality::Unmarked);
    }

    // attacks 167
    #[test]
    fn only_known_hosts_are_answered_for() {
        let trust = Trust {
            allowed_hosts: vec!["keys.example".to_owned()],
            ..Trust::default()
        };
        let asked = |host: &str| trust.answers_for(&head("10.0.0.9:1", &[("host", host)]));
        for good in [
            "localhost",
            "LOCALHOST:8420",
            "10.0.0.5:8420",
            "10.0.0.5",
            "keys.example:443",
            "Keys.Example.",
        ] {
            assert!(asked(good), "{good}");
        }
        for bad in [
            "evil.example",
            "10.0.0.6",
            "keys.example.evil",
            "evil-keys.example",
            "127.0.0.1",
            "",
            "a b",
        ] {
            assert!(!asked(bad), "{bad}");
        }
    }
}

//! The original request, read only from the headers that this kind of proxy sets.

use super::{ENVOY, Proxy, gateway};
use crate::domain::catalogs::path;
use crate::http::request::Head;

/// The known parts of the original request.
#[derive(Debug, Default)]
pub struct Original<'a> {
    pub method: Option<&'a str>,
    /// The path as the client sent it, up to the first `?`.
    pub path: Option<&'a str>,
    pub host: Option<&'a str>,
    /// Whether a header is invalid: it is repeated, is not text, or contradicts another one. A gateway must also have
    /// described the request in exactly one way.
    pub faulty: bool,
}

impl<'a> Original<'a> {
    /// Reads the headers of a trusted proxy; the headers of any other peer are ignored.
    pub fn of(head: &'a Head, proxy: Proxy, trusted: bool) -> Original<'a> {
        match proxy {
            Proxy::Gateway | Proxy::GatewayNginx if !trusted => Original {
                faulty: Original::of(head, proxy, true).faulty,
                ..Original::default()
            },
            _ if !trusted => Original::default(),
            Proxy::Envoy => Original {
                method: Some(head.method.as_str()),
                path: head.path().strip_prefix(ENVOY),
                host: head.host(),
                faulty: false,
            },
            Proxy::Gateway => Original {
                method: Some(head.method.as_str()),
                path: gateway::Question::of(head).map(|question| question.original),
                host: head.host(),
                // The gateway describes the request in one way; in the other one, a client may have.
                faulty: GATEWAY_HEADERS
                    .iter()
                    .any(|name| head.headers.contains(name)),
            },
            Proxy::GatewayNginx => {
                let mut original = Original::from_headers(head, "method", "path", "host");
                // A query can only be the client's.
                original.faulty |= !head.query().is_empty();
                original.faulty |= original.method.is_none() || original.path.is_none();
                original
            }
            Proxy::Caddy | Proxy::Forwarding => Original::from_headers(
                head,
                "x-forwarded-method",
                "x-forwarded-uri",
                "x-forwarded-host",
            ),
            Proxy::Nginx => {
                let mut original = Original::from_headers(
                    head,
                    "x-original-method",
                    "x-original-uri",
                    "x-original-host",
                );
                original.faulty |= !agrees(head, "x-original-url", original.path, None);
                original
            }
            Proxy::NginxUrl => Original::from_url(head),
        }
    }

    /// Reads `X-Original-URL: https://host/path?query`, which ingress controllers send. Host and path come only from
    /// this header; the headers that [`Proxy::Nginx`] reads may be present if they have the same values.
    fn from_url(head: &'a Head) -> Original<'a> {
        let read = [
            head.header("x-original-method"),
            head.header("x-original-url"),
        ];
        let faulty = read.iter().any(Result::is_err);
        let [method, url] = read.map(|value| value.ok().flatten());
        let parts = url.and_then(parts);
        let (host, path) = parts.unzip();
        let agrees = agrees(head, "x-original-uri", path, host)
            && agrees(head, "x-original-host", path, host);
        Original {
            method,
            path,
            host,
            faulty: faulty || !agrees,
        }
    }

    fn from_headers(head: &'a Head, method: &str, uri: &str, host: &str) -> Original<'a> {
        let read = [head.header(method), head.header(uri), head.header(host)];
        let faulty = read.iter().any(Result::is_err);
        let [method, uri, host] = read.map(|value| value.ok().flatten());
        Original {
            method,
            path: uri.map(|uri| uri.split_once('?').map_or(uri, |(path, _)| path)),
            host,
            faulty,
        }
    }

    /// Whether the request can be compared with a catalog: method and path are known, and no header is invalid.
    pub fn is_judgeable(&self) -> bool {
        let host_in_doubt = self.host.is_some_and(|host| path::host(host).is_none());
        !self.faulty && !host_in_doubt && self.method.is_some() && self.path.is_some()
    }
}

/// The host and path of a URL; the path is as the client sent it, up to the first `?`.
fn parts(url: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = url.split_once("://")?;
    let known = ["http", "https", "ws", "wss"];
    if !known.iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
        return None;
    }
    let rest = rest.split_once('?').map_or(rest, |(before, _)| before);
    let path = rest.find('/')?;
    let (host, path) = rest.split_at(path);
    path::host(host).map(|_| (host, path))
}

/// Whether a header that another kind of proxy sets is absent or has the same value. If it differs, a client may have
/// added it, or the proxy describes another request than the one that is read here.
fn agrees(head: &Head, name: &str, path: Option<&str>, host: Option<&str>) -> bool {
    let value = match head.header(name) {
        Ok(None) => return true,
        Ok(Some(value)) => value,
        Err(_) => return false,
    };
    match name {
        "x-original-host" => host.and_then(path::host) == path::host(value),
        "x-original-url" => parts(value).map(|(_, path)| path) == path,
        _ => Some(value.split_once('?').map_or(value, |(path, _)| path)) == path,
    }
}

/// The headers with which NGINX Gateway Fabric describes the original request.
const GATEWAY_HEADERS: [&str; 2] = ["method", "path"];

/// The headers with which proxies describe the original request.
const TELLING: [&str; 8] = [
    "X-Original-Method",
    "X-Original-URI",
    "X-Original-URL",
    "X-Original-Host",
    "X-Forwarded-Method",
    "X-Forwarded-Uri",
    "X-Forwarded-Host",
    "X-Rewrite-URL",
];

/// Describes for the log what is wrong with the headers of the proxy. It contains no header value.
pub fn fault(head: &Head, proxy: Proxy, trusted: bool) -> String {
    if !trusted {
        return "the peer is neither on this machine nor one of trusted_proxies".to_owned();
    }
    let needed: &[&str] = match proxy {
        Proxy::Caddy | Proxy::Forwarding => &["X-Forwarded-Method", "X-Forwarded-Uri"],
        Proxy::Envoy => &[],
        Proxy::Gateway => {
            return "the path that the gateway asks does not end in /-, or the question has the original path and also a \
                    header Path or Method"
                .to_owned();
        }
        Proxy::GatewayNginx => &["Path", "Method"],
        Proxy::Nginx => &["X-Original-Method", "X-Original-URI"],
        Proxy::NginxUrl => &["X-Original-Method", "X-Original-URL"],
    };
    let is_there = |name: &&str| head.headers.contains(name.to_ascii_lowercase());
    let missing: Vec<&str> = needed
        .iter()
        .copied()
        .filter(|name| !is_there(name))
        .collect();
    if missing.is_empty() {
        return "a header occurs twice, cannot be read, or contradicts another one".to_owned();
    }
    let others = TELLING
        .iter()
        .copied()
        .filter(|name| !needed.contains(name));
    let found: Vec<&str> = others.filter(is_there).collect();
    let hint = match (
        proxy,
        found.contains(&"X-Original-URL"),
        found.contains(&"X-Original-URI"),
    ) {
        (Proxy::Nginx, true, _) => "; /auth/nginx-url reads X-Original-URL",
        (Proxy::NginxUrl, _, true) => "; /auth/nginx reads X-Original-URI",
        _ => "",
    };
    let found = match found.is_empty() {
        true => "none of another kind".to_owned(),
        false => found.join(", "),
    };
    format!(
        "{} is missing, found was {found}{hint}",
        missing.join(" and ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::request::{Method, Peer, RequestId};

    fn head(uri: &str, headers: &[(&str, &str)]) -> Head {
        let peer = Peer::Unix { uid: 0 };
        Head {
            method: Method::POST,
            target: uri.parse().unwrap(),
            is_http_11: true,
            headers: headers.iter().copied().collect(),
            peer,
            id: RequestId::new(0, 0),
        }
    }

    // attacks 76, 77, 78, 80, 90
    #[test]
    fn only_the_proxys_own_headers_tell_of_the_request() {
        let complete = head(
            "/auth/nginx",
            &[
                ("x-original-method", "GET"),
                ("x-original-uri", "/a?b?c"),
                ("x-original-host", "h"),
            ],
        );
        let read = Original::of(&complete, Proxy::Nginx, true);
        assert_eq!(
            (read.method, read.path, read.host),
            (Some("GET"), Some("/a"), Some("h"))
        );
        assert!(read.is_judgeable());
        assert!(!Original::of(&complete, Proxy::Nginx, false).is_judgeable());
        assert!(!Original::of(&complete, Proxy::Forwarding, true).is_judgeable());

        let doubled = head(
            "/",
            &[
                ("x-forwarded-method", "GET"),
                ("x-forwarded-uri", "/a"),
                ("x-forwarded-uri", "/a"),
            ],
        );
        assert!(!Original::of(&doubled, Proxy::Forwarding, true).is_judgeable());
        let listed = head(
            "/",
            &[
                ("x-forwarded-method", "GET"),
                ("x-forwarded-uri", "/a"),
                ("x-forwarded-host", "a, b"),
            ],
        );
        assert!(!Original::of(&listed, Proxy::Forwarding, true).is_judgeable());
        let other = head(
            "/",
            &[
                ("x-forwarded-method", "GET"),
                ("x-forwarded-prefix", "/a"),
                ("x_forwarded_uri", "/a"),
            ],
        );
        assert!(!Original::of(&other, Proxy::Forwarding, true).is_judgeable());
    }

    #[test]
    fn a_whole_url_has_a_way_of_its_own() {
        let of = |proxy: Proxy, headers: &[(&str, &str)]| {
            let headers = [&[("x-original-method", "GET")], headers].concat();
            let head = head("/auth/nginx-url", &headers);
            let read = Original::of(&head, proxy, true);
            let told = read.is_judgeable().then(|| {
                (
                    read.host.unwrap_or("").to_owned(),
                    read.path.unwrap().to_owned(),
                )
            });
            (told, fault(&head, proxy, true))
        };
        let url = |url: &str| of(Proxy::NginxUrl, &[("x-original-url", url)]).0;
        let found = |host: &str, path: &str| Some((host.to_owned(), path.to_owned()));
        assert_eq!(
            url("https://app.example/a?page=2"),
            found("app.example", "/a")
        );
        assert_eq!(
            url("http://app.example:8080/a/../b//"),
            found("app.example:8080", "/a/../b//")
        );
        assert_eq!(
            url("wss://[2001:db8::1]:443/a?/b?c"),
            found("[2001:db8::1]:443", "/a")
        );
        for bad in [
            "",
            "/a",
            "//app.example/a",
            "app.example/a",
            "ftp://app.example/a",
            "https:///a",
            "https://app.example",
            "https://app.example?/a",
            "https://user@app.example/a",
            "https://a b/a",
            "https://app.example:x/a",
            "https:/app.example/a",
            "https://a, https://b/a",
            "https://a\\b/a",
            "https://app.example#/a",
            " https://app.example/a",
        ] {
            assert_eq!(url(bad), None, "{bad}");
        }
        let both = |uri: &str| {
            of(
                Proxy::NginxUrl,
                &[("x-original-url", "https://h/a?b"), ("x-original-uri", uri)],
            )
            .0
        };
        assert_eq!(both("/a?c"), found("h", "/a"));
        assert_eq!(both("/b"), None);
        assert_eq!(both(""), None);
        let both = |url: &str| {
            of(
                Proxy::Nginx,
                &[("x-original-uri", "/a?b"), ("x-original-url", url)],
            )
            .0
        };
        assert_eq!(both("https://h/a"), found("", "/a"));
        assert_eq!(both("https://h/b"), None);
        assert_eq!(both("/a"), None);
        let host = |host: &str| {
            of(
                Proxy::NginxUrl,
                &[
                    ("x-original-url", "https://h:1/a"),
                    ("x-original-host", host),
                ],
            )
            .0
        };
        assert_eq!(host("H"), found("h:1", "/a"));
        assert_eq!(host("g"), None);
        assert_eq!(host(""), None);
        let doubled = [
            ("x-original-url", "https://h/a"),
            ("x-original-url", "https://h/a"),
        ];
        assert_eq!(of(Proxy::NginxUrl, &doubled).0, None);
        // The log names the missing header, the header that is present instead, and the path that reads the latter.
        let (told, said) = of(Proxy::Nginx, &[("x-original-url", "https://h/a")]);
        assert_eq!(told, None);
        assert_eq!(
            said,
            "X-Original-URI is missing, found was X-Original-URL; /auth/nginx-url reads X-Original-URL"
        );
        let (_, said) = of(Proxy::NginxUrl, &[("x-original-uri", "/a")]);
        assert_eq!(
            said,
            "X-Original-URL is missing, found was X-Original-URI; /auth/nginx reads X-Original-URI"
        );
    }

    #[test]
    fn a_gateway_that_is_not_trusted_describes_nothing() {
        let both = [("path", "/a?b"), ("method", "GET"), ("host", "h")];
        for (path, headers, told, faulty) in [
            (
                "/auth/gateway/-/-/a",
                &both[2..],
                Some(("POST", "/a")),
                false,
            ),
            ("/auth/gateway/-/-", &both[..], Some(("GET", "/a")), false),
            ("/auth/gateway/-/-/a", &both[..], Some(("POST", "/a")), true),
            ("/auth/gateway/-/-", &both[..1], None, true),
            ("/auth/gateway/-/-", &[], None, true),
            ("/auth/gateway/-/-?c", &both[..], Some(("GET", "/a")), true),
        ] {
            let asked = head(path, headers);
            let proxy = gateway::proxy(&asked);
            let read = Original::of(&asked, proxy, true);
            assert_eq!(read.faulty, faulty, "{path} {headers:?}");
            assert_eq!(read.method.zip(read.path), told, "{path} {headers:?}");
            let untrusted = Original::of(&asked, proxy, false);
            assert_eq!(untrusted.faulty, faulty, "{path} {headers:?}");
            assert!(!untrusted.is_judgeable() && untrusted.method.is_none());
        }
    }

    #[test]
    fn envoy_asks_with_the_request_itself() {
        let asked = head("/auth/envoy/a/b/?c=1", &[("host", "api.example")]);
        let read = Original::of(&asked, Proxy::Envoy, true);
        assert_eq!(
            (read.method, read.path, read.host),
            (Some("POST"), Some("/a/b/"), Some("api.example"))
        );
    }
}

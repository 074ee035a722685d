//! The request that the proxy asks about, out of that proxy's own headers and no others.

use super::{ENVOY, Proxy};
use crate::domain::catalog::path;
use crate::http::request::Head;

/// What is known of the original request.
#[derive(Debug, Default)]
pub struct Original<'a> {
    pub method: Option<&'a str>,
    /// As the client sent it, up to the first `?`.
    pub path: Option<&'a str>,
    pub host: Option<&'a str>,
    /// A header that is there could not be read: it occurs twice or is no text or no host.
    faulty: bool,
}

impl<'a> Original<'a> {
    /// Reads the headers of a trusted proxy; of anybody else nothing is known.
    pub fn of(head: &'a Head, proxy: Proxy, trusted: bool) -> Original<'a> {
        match proxy {
            _ if !trusted => Original::default(),
            Proxy::Envoy => Original {
                method: Some(head.method.as_str()),
                path: head.path().strip_prefix(ENVOY),
                host: head.host(),
                faulty: false,
            },
            Proxy::Forwarding => Original::from_headers(
                head,
                "x-forwarded-method",
                "x-forwarded-uri",
                "x-forwarded-host",
            ),
            Proxy::Nginx => Original::from_headers(
                head,
                "x-original-method",
                "x-original-uri",
                "x-original-host",
            ),
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

    /// Whether a catalog can be asked about it: method and path are there, and nothing is in doubt.
    pub fn is_judgeable(&self) -> bool {
        let host_in_doubt = self.host.is_some_and(|host| path::host(host).is_none());
        !self.faulty && !host_in_doubt && self.method.is_some() && self.path.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::request::{Peer, RequestId};
    use http::Method;

    fn head(uri: &str, headers: &[(&str, &str)]) -> Head {
        let peer = Peer::Unix { uid: 0 };
        Head {
            method: Method::POST,
            target: uri.parse().unwrap(),
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
    fn envoy_asks_with_the_request_itself() {
        let asked = head("/auth/envoy/a/b/?c=1", &[("host", "api.example")]);
        let read = Original::of(&asked, Proxy::Envoy, true);
        assert_eq!(
            (read.method, read.path, read.host),
            (Some("POST"), Some("/a/b/"), Some("api.example"))
        );
    }
}

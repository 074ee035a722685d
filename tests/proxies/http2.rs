//! TLS and HTTP/2 between the client and the proxy, with the changes of the examples that `docs/proxies.md` names: the
//! verdicts are those of HTTP/1.1, and what reaches the application is the same. The client is curl.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::harness::application::{self, Seen};
use crate::harness::certificate::Certificate;
use crate::harness::client::Reply;
use crate::harness::proxy::{
    CADDY, CURRENT_CADDY, ENVOY, HAPROXY, HAPROXY_SPOE, NGINX, Proxy, TRAEFIK,
};
use crate::harness::stage::Stage;
use crate::wait;

type Changes<'a> = &'a [(&'a str, &'a str)];

const OF_NGINX: Changes = &[(
    "listen 127.0.0.1:8081;",
    "listen 127.0.0.1:8081 ssl http2;\n        ssl_certificate CERTIFICATE;\n        ssl_certificate_key PRIVATE_KEY;",
)];
const OF_CADDY: Changes = &[(
    "\tbind 127.0.0.1\n",
    "\tbind 127.0.0.1\n\ttls CERTIFICATE PRIVATE_KEY\n",
)];
const OF_HAPROXY: Changes = &[(
    "bind 127.0.0.1:8083",
    "bind 127.0.0.1:8083 ssl crt CERTIFICATE_AND_KEY alpn h2,http/1.1",
)];
const OF_ENVOY: Changes = &[
    (
        "        - filters:\n",
        "        - transport_socket:
            name: envoy.transport_sockets.tls
            typed_config:
              \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
              common_tls_context:
                alpn_protocols: [h2, http/1.1]
                tls_certificates:
                  - certificate_chain: { filename: CERTIFICATE }
                    private_key: { filename: PRIVATE_KEY }
          filters:\n",
    ),
    ("codec_type: HTTP1", "codec_type: AUTO"),
    (
        "key: x-forwarded-proto, value: http }",
        "key: x-forwarded-proto, value: https }",
    ),
];
const OF_TRAEFIK: Changes = &[
    ("    http:\n", "    http:\n      tls: {}\n"),
    (
        "http:\n  routers:\n",
        "tls:\n  certificates:\n    - { certFile: CERTIFICATE, keyFile: PRIVATE_KEY }\nhttp:\n  routers:\n",
    ),
];

#[test]
fn nginx_judges_http2_like_http1() {
    check(&NGINX, OF_NGINX);
}

#[test]
fn caddy_judges_http2_like_http1() {
    check(&CADDY, OF_CADDY);
}

#[test]
fn the_current_caddy_judges_http2_like_http1() {
    check(&CURRENT_CADDY, OF_CADDY);
}

#[test]
fn haproxy_judges_http2_like_http1() {
    check(&HAPROXY, OF_HAPROXY);
}

#[test]
fn haproxy_with_an_agent_judges_http2_like_http1() {
    check(&HAPROXY_SPOE, OF_HAPROXY);
}

#[test]
fn envoy_judges_http2_like_http1() {
    check(&ENVOY, OF_ENVOY);
}

#[test]
fn traefik_judges_http2_like_http1() {
    check(&TRAEFIK, OF_TRAEFIK);
}

/// A client, and the proxy with TLS.
struct Secure {
    stage: Stage,
    certificate: Certificate,
}

#[track_caller]
fn check(proxy: &'static Proxy, changes: Changes) {
    let certificate = Certificate::new(&format!("{} certificate", proxy.name));
    let written: Vec<(&str, String)> = changes
        .iter()
        .map(|(from, to)| (*from, certificate.written(to)))
        .collect();
    let changes: Vec<(&str, &str)> = written.iter().map(|(from, to)| (*from, &to[..])).collect();
    let Some(stage) = Stage::set_with_tls(proxy, &changes) else {
        return;
    };
    let secure = Secure { stage, certificate };
    // Traefik has a certificate of its own until it has read its rules, and refuses every path.
    wait::until("the proxy has read its rules", || {
        !matches!(
            secure.curl("2", ("GET", ""), "/", &[]),
            Reply {
                status: 0 | 404,
                ..
            }
        )
    });
    for version in ["1.1", "2"] {
        println!("{}: HTTP/{version}", proxy.name);
        secure.judges(version);
    }
}

impl Secure {
    /// Sends a request with exactly this path, over this version of HTTP. A POST has this body. A refusal can arrive before a body
    /// was sent, and the end of its stream with it, which curl reports as a failure; so a request that is refused has none.
    fn curl(
        &self,
        version: &str,
        (method, body): (&str, &str),
        target: &str,
        headers: &[&str],
    ) -> Reply {
        let certificate = self.certificate.path();
        let certificate: &Path = &certificate;
        let mut command = Command::new("curl");
        command
            .args(["-s", "-i", "--path-as-is", "--noproxy", "*", "--cacert"])
            .arg(certificate)
            .args([&format!("--http{version}"), "-X", method])
            .arg(format!("https://127.0.0.1:{}{target}", self.stage.port));
        for header in headers {
            command.args(["-H", header]);
        }
        if method == "POST" {
            command.args(["-d", body]);
        }
        let done = command.stdin(Stdio::null()).output().unwrap();
        let answer = String::from_utf8_lossy(&done.stdout);
        assert!(
            answer.is_empty() || answer.starts_with(&format!("HTTP/{version} ")),
            "{answer}"
        );
        Reply::parse(&done.stdout)
    }

    #[track_caller]
    fn passes(&self, version: &str, method: &str, target: &str, headers: &[&str]) -> Seen {
        let reply = self.curl(version, (method, "body"), target, headers);
        assert_eq!(reply.status, 200, "{}", reply.text());
        Seen::new(reply.json())
    }

    #[track_caller]
    fn refuses(&self, version: &str, method: &str, target: &str, headers: &[&str]) -> Reply {
        let before = application::requests();
        let reply = self.curl(version, (method, ""), target, headers);
        assert!(!reply.is_success(), "{target}: {}", reply.text());
        assert_eq!(application::requests(), before, "{target} has passed");
        reply
    }

    fn judges(&self, version: &str) {
        let bearer = |secret: &str| format!("Authorization: Bearer {secret}");
        let (bare, reader) = (
            bearer(&self.stage.bare.secret),
            bearer(&self.stage.reader.secret),
        );
        let writer = bearer(&self.stage.writer.secret);
        let (list, pay) = ("/billing/invoices", "/billing/invoices/7/pay");

        self.passes(version, "GET", "/", &[&bare]);
        let api_key = format!("X-API-Key: {}", self.stage.bare.secret);
        self.passes(version, "GET", "/", &[&api_key]);
        let seen = self.passes(version, "GET", "/billing/invoices?page=2", &[&reader]);
        assert!(
            seen.text().contains(r#""/billing/invoices?page=2""#),
            "{}",
            seen.text()
        );
        assert_eq!(seen.values("X-Auth-Key-Id"), [&self.stage.reader.id]);
        assert!(!seen.text().contains(&self.stage.reader.secret));
        if !seen.values("X-Forwarded-Proto").is_empty() {
            assert_eq!(seen.values("X-Forwarded-Proto"), ["https"]);
        }
        let seen = self.passes(version, "POST", pay, &[&writer]);
        assert_eq!(seen.body(), "body");
        let hosted = self.passes(version, "GET", "/", &[&bare, "Host: api.example"]);
        assert_eq!(hosted.values("Host"), ["api.example"]);

        let none = self.refuses(version, "GET", list, &[]);
        assert_eq!(none.status, 401, "{}", none.text());
        let challenge = none.header("WWW-Authenticate");
        assert_eq!(
            challenge,
            Some(r#"Bearer realm="latchkey", scope="invoices:read""#)
        );
        for headers in [
            &["Authorization: Bearer lk_nonsense"][..],
            &[&bare, "X-API-Key: lk_no"],
            &["Remote-User: owner", "X-Auth-Subject: user:owner"],
        ] {
            let reply = self.refuses(version, "GET", "/", headers);
            assert_eq!(reply.status, 401, "{headers:?}: {}", reply.text());
        }
        for (method, target, key, code) in [
            ("GET", list, &bare, "INSUFFICIENT_SCOPE"),
            ("POST", pay, &reader, "INSUFFICIENT_SCOPE"),
            ("GET", pay, &writer, "UNKNOWN_OPERATION"),
            ("DELETE", list, &writer, "UNKNOWN_OPERATION"),
            ("GET", "/Billing/secrets", &writer, "UNKNOWN_OPERATION"),
        ] {
            let reply = self.refuses(version, method, target, &[key]);
            assert_eq!(reply.status, 403, "{method} {target}: {}", reply.text());
            assert_eq!(reply.header("X-Auth-Code"), Some(code), "{method} {target}");
        }
        for target in [
            "//billing/invoices",
            "/x/../billing/invoices",
            "/x/%2e%2e/billing/invoices",
            "/billing;x/invoices",
            "/billing%2finvoices",
            "/billing/invoices.",
        ] {
            let reply = self.refuses(version, "GET", target, &[&reader]);
            assert_eq!(reply.status, 400, "{target}: {}", reply.text());
        }
        for forged in [
            "Remote-User",
            "remote_user",
            "X-Auth-Subject",
            "X-Auth-Foo",
            "X-Original-URI",
            "X-Forwarded-Uri",
            "X-HTTP-Method-Override",
        ] {
            let header = format!("{forged}: f0rged");
            let seen = self.passes(version, "GET", list, &[&reader, &header]);
            assert!(!seen.text().contains("f0rged"), "{}", seen.text());
        }
    }
}

//! `GET /metrics`: its content, and who may read it. Attacks 132.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use serde_json::json;

use super::metric;
use crate::support::{Address, Server, User, fresh_loopback, wait};

#[test]
fn verdicts_keys_and_commits_are_counted() {
    let server = Server::start();
    let admin = server.admin();
    let key = admin.issue(json!({ "name": "soon", "expires_in_s": 3600 }));
    for _ in 0..7 {
        assert_eq!(server.anonymous().verdict(&key.secret), "VALID");
    }
    assert_eq!(server.anonymous().verdict("nonsense"), "MALFORMED");
    admin
        .post(&format!("/v1/keys/{}/disable", key.id), json!({}))
        .expect(200);
    assert_eq!(server.anonymous().verdict(&key.secret), "DISABLED");

    // The secrets of the callers of this API are verified and counted, too.
    assert!(metric(&server, "latchkey_verdicts_total{code=\"VALID\"}") >= 7.0);
    assert_eq!(
        metric(&server, "latchkey_verdicts_total{code=\"MALFORMED\"}"),
        1.0
    );
    assert_eq!(
        metric(&server, "latchkey_verdicts_total{code=\"DISABLED\"}"),
        1.0
    );
    assert_eq!(metric(&server, "latchkey_keys{state=\"disabled\"}"), 1.0);
    assert_eq!(metric(&server, "latchkey_keys{state=\"active\"}"), 2.0);
    assert_eq!(
        metric(&server, "latchkey_keys_by_lifetime{within=\"1d\"}"),
        1.0
    );
    assert_eq!(
        metric(&server, "latchkey_keys_by_lifetime{within=\"never\"}"),
        2.0
    );
    let verdicts = metric(&server, "latchkey_verify_duration_seconds_count");
    assert!(verdicts >= 9.0, "{verdicts}");
    assert_eq!(
        metric(
            &server,
            "latchkey_verify_duration_seconds_bucket{le=\"+Inf\"}"
        ),
        verdicts
    );
    assert!(metric(&server, "latchkey_commit_duration_seconds_count") >= 2.0);
    assert_eq!(metric(&server, "latchkey_ready"), 1.0);
    assert!(metric(&server, "latchkey_connections") >= 1.0);
    assert!(metric(&server, "latchkey_disk_free_bytes") > 0.0);
}

/// finding e4: scrapers that do not ask for OpenMetrics do not all read it.
#[test]
fn the_format_is_the_one_that_the_scraper_asks_for() {
    let server = Server::start();
    let ask = |accept: Option<&str>| {
        let user = server.anonymous();
        let user = match accept {
            Some(accept) => user.with("Accept", accept),
            None => user,
        };
        let answer = user.get("/metrics").expect(200);
        assert_eq!(answer.header("vary"), Some("Accept"));
        (
            answer.header("content-type").unwrap().to_owned(),
            answer.text(),
        )
    };
    for accept in [
        None,
        Some("*/*"),
        Some("text/plain;version=0.0.4"),
        Some("application/openmetrics-text;q=0.1,text/plain"),
    ] {
        let (kind, text) = ask(accept);
        assert_eq!(
            kind, "text/plain; version=0.0.4; charset=utf-8",
            "{accept:?}"
        );
        assert!(
            text.contains("\n# TYPE latchkey_verdicts_total counter\n"),
            "{text}"
        );
        assert!(text.contains("\n# HELP latchkey_verdicts_total "), "{text}");
        assert!(
            text.contains("\nlatchkey_verdicts_total{code=\"VALID\"} "),
            "{text}"
        );
        assert!(
            text.contains("\n# TYPE latchkey_verify_duration_seconds histogram\n"),
            "{text}"
        );
        assert!(!text.contains("# EOF"), "{text}");
    }
    let prometheus = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
    let (kind, text) = ask(Some(prometheus));
    assert_eq!(
        kind,
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    );
    assert!(
        text.ends_with("# EOF\n") && text.contains("\n# TYPE latchkey_verdicts counter\n"),
        "{text}"
    );
}

// attacks 117, 132 and ASVS 13.4.5
#[test]
fn figures_are_for_this_machine_and_for_who_may_read_the_audit_log() {
    let server = Server::start();
    let forwarded = server.anonymous().with("X-Forwarded-For", "203.0.113.7");
    assert_eq!(forwarded.get("/metrics").status, 401);
    assert_eq!(
        forwarded.clone().bearer("nonsense").get("/metrics").status,
        401
    );
    assert_eq!(server.bearer(&server.secret).get("/metrics").status, 403);
    let scraper = server
        .admin()
        .issue(json!({ "name": "prometheus", "catalog": "latchkey", "scopes": ["audit:read"] }));
    forwarded
        .bearer(&scraper.secret)
        .get("/metrics")
        .expect(200);
    server.anonymous().get("/metrics").expect(200);
    server.local().get("/metrics").expect(200);
    assert_eq!(server.anonymous().post("/metrics", json!({})).status, 405);
}

/// A web page of another site whose host name resolves to this machine cannot read metrics. Probes give the same answer
/// to every client.
// attacks 167
#[test]
fn a_rebound_name_reads_no_figures() {
    let server = Server::start_with(&["--allowed-hosts", "keys.example"], &[]);
    let asks = |path: &str, host: &str, more: &str| {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\n{more}Latchkey-Local: 1\r\nConnection: close\r\n\r\n"
        );
        server.raw(request).statuses()
    };
    assert_eq!(asks("/metrics", "evil.example", ""), [421]);
    assert_eq!(asks("/metrics", "evil.example:80", ""), [421]);
    assert_eq!(asks("http://evil.example/metrics", "localhost", ""), [421]);
    let own = server.address.to_string();
    for host in ["localhost", &own, "keys.example"] {
        assert_eq!(asks("/metrics", host, ""), [200], "{host}");
    }
    // No browser has a credential for such a host name.
    let credential = format!("Authorization: Bearer {}\r\n", server.management_key);
    assert_eq!(asks("/metrics", "evil.example", &credential), [200]);
    for path in ["/healthz", "/readyz"] {
        assert_eq!(asks(path, "10.9.8.7", ""), [200], "{path}");
    }
}

#[test]
fn an_address_for_figures_serves_nothing_else() {
    let address = SocketAddr::from((fresh_loopback(), 9464));
    let server = Server::start_with(&["--metrics-listen", &address.to_string()], &[]);
    let there = User::new(Address::Tcp(address));
    there.get("/metrics").expect(200);
    let any_name = b"GET /metrics HTTP/1.1\r\nHost: scraped.example\r\nConnection: close\r\n\r\n";
    let named = Address::Tcp(address).raw(any_name, wait::PATIENCE);
    assert_eq!(named.statuses(), [200]);
    // Clients behind a proxy may read metrics at this address, too.
    there
        .clone()
        .with("Via", "1.1 proxy")
        .get("/metrics")
        .expect(200);
    for path in ["/healthz", "/v1/keys", "/auth/nginx", "/"] {
        let answer = there.clone().bearer(&server.management_key).get(path);
        assert_eq!(answer.status, 404, "{path}");
    }
    assert_eq!(server.anonymous().get("/metrics").status, 401);
    server.admin().get("/metrics").expect(200);
}

/// Requests cannot create new series.
#[test]
fn the_series_are_always_the_same() {
    let server = Server::start();
    let series = || -> BTreeSet<String> {
        let text = server.anonymous().get("/metrics").expect(200).text();
        let names = text.lines().filter(|line| !line.starts_with('#'));
        names
            .map(|line| line.rsplit_once(' ').unwrap().0.to_owned())
            .collect()
    };
    let before = series();
    let admin = server.admin();
    for number in 0..20 {
        let key = admin.issue(json!({ "name": format!("k{number}") }));
        server.anonymous().verdict(&key.secret);
        server.anonymous().get(&format!("/nowhere/{number}"));
    }
    assert_eq!(series(), before);
    assert!(before.len() < 120, "{}", before.len());
}

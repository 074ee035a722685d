//! Errors of HTTP itself and unknown paths, in the format of the dialect that the path belongs to, and without any
//! effect.

use super::{answer, ask, dialects, mount, words};
use crate::support::Server;

/// Requests that every dialect refuses: what is wrong, the allowed statuses, and the bytes. `PATH` stands for a path of
/// the dialect, `HOST` for the server.
const FAULTS: &[(&str, &[u16], &str)] = &[
    (
        "no such path",
        &[401, 404],
        "GET PATH HTTP/1.1\r\nHost: HOST\r\n\r\n",
    ),
    (
        "no such path, another method",
        &[401, 404, 405],
        "PUT PATH HTTP/1.1\r\nHost: HOST\r\nContent-Length: 0\r\n\r\n",
    ),
    (
        "a method that nobody has",
        &[401, 404, 405],
        "BREW PATH HTTP/1.1\r\nHost: HOST\r\n\r\n",
    ),
    (
        "a method for proxies",
        &[405],
        "TRACE PATH HTTP/1.1\r\nHost: HOST\r\n\r\n",
    ),
    (
        "a method in small letters",
        &[400],
        "get PATH HTTP/1.1\r\nHost: HOST\r\n\r\n",
    ),
    ("no host", &[400], "GET PATH HTTP/1.1\r\n\r\n"),
    (
        "two hosts",
        &[400],
        "GET PATH HTTP/1.1\r\nHost: HOST\r\nHost: HOST\r\n\r\n",
    ),
    (
        "a host that is none",
        &[400],
        "GET PATH HTTP/1.1\r\nHost: a b\r\n\r\n",
    ),
    (
        "a folded header",
        &[400],
        "GET PATH HTTP/1.1\r\nHost: HOST\r\nX: a\r\n b\r\n\r\n",
    ),
    (
        "a bare line feed",
        &[400],
        "GET PATH HTTP/1.1\r\nHost: HOST\nX: a\r\n\r\n",
    ),
    (
        "a fragment in the target",
        &[400],
        "GET PATH?a#b HTTP/1.1\r\nHost: HOST\r\n\r\n",
    ),
    (
        "another version",
        &[505],
        "GET PATH HTTP/2.7\r\nHost: HOST\r\n\r\n",
    ),
    (
        "two lengths",
        &[400],
        "POST PATH HTTP/1.1\r\nHost: HOST\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
    ),
    (
        "a length that is none",
        &[400],
        "POST PATH HTTP/1.1\r\nHost: HOST\r\nContent-Length: +1\r\n\r\na",
    ),
    (
        "length and coding",
        &[400],
        "POST PATH HTTP/1.1\r\nHost: HOST\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "another coding",
        &[400],
        "POST PATH HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: gzip\r\n\r\n",
    ),
    (
        "another expectation",
        &[417],
        "POST PATH HTTP/1.1\r\nHost: HOST\r\nExpect: tea\r\nContent-Length: 0\r\n\r\n",
    ),
    (
        "two credentials",
        &[400, 401, 404],
        "GET PATH HTTP/1.1\r\nHost: HOST\r\nAuthorization: Bearer a\r\nAuthorization: Bearer b\r\n\r\n",
    ),
    (
        "another content type",
        &[401, 404, 405, 415],
        "POST PATH HTTP/1.1\r\nHost: HOST\r\nContent-Type: text/csv\r\nContent-Length: 3\r\n\r\na,b",
    ),
];

fn fill(text: &str, path: &str, host: &str) -> String {
    // The server closes the connection in any case, so that the end of the answer is certain.
    text.replace("PATH", path).replace("HOST", host).replacen(
        "\r\nHost:",
        "\r\nConnection: close\r\nHost:",
        1,
    )
}

#[test]
fn every_fault_is_worded_by_the_dialect_of_its_path() {
    let server = Server::start();
    let host = server.address.to_string();
    let local = server.local();
    let state = || (local.newest_event(), local.get("/v1/keys").ids());
    let before = state();
    let mut owned: Vec<(String, String)> = dialects()
        .into_iter()
        .map(|dialect| (format!("{}/nothing/here", mount(&dialect)), dialect))
        .collect();
    owned.push(("/v1/nothing/here".to_owned(), "native".to_owned()));
    owned.push(("/nothing/here".to_owned(), "native".to_owned()));
    for (path, dialect) in &owned {
        for (what, statuses, text) in FAULTS {
            let answer = answer(&server, &fill(text, path, &host));
            assert!(
                statuses.contains(&answer.status),
                "{dialect}: {what}\n{}",
                answer.exchange()
            );
            words::check(dialect, &answer);
        }
    }
    assert_eq!(state(), before);
    server.assert_alive();
}

#[test]
fn what_is_too_large_is_worded_by_the_dialect_of_its_path() {
    let server = Server::start();
    let host = server.address.to_string();
    let names = dialects();
    for dialect in names.iter().map(String::as_str).chain(["native"]) {
        let path = match dialect {
            "native" => "/nothing".to_owned(),
            dialect => format!("{}/nothing", mount(dialect)),
        };
        let get = |more: &str| format!("GET {path}{more}");
        let line = get(&format!("?{} HTTP/1.1\r\n", "a".repeat(9_000)));
        let header = get(&format!(
            " HTTP/1.1\r\nHost: {host}\r\nX: {}\r\n",
            "a".repeat(33_000)
        ));
        let headers = get(&format!(
            " HTTP/1.1\r\nHost: {host}\r\n{}\r\n",
            "X: a\r\n".repeat(101)
        ));
        for (bytes, status) in [(line, 414), (header, 431), (headers, 431)] {
            let answer = answer(&server, &bytes);
            assert_eq!(answer.status, status, "{}", answer.exchange());
            words::check(dialect, &answer);
        }
        // A dialect that reads bodies refuses this one without reading it; others refuse the path.
        let body = format!(
            "POST {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: 70000\r\n\r\n"
        );
        words::check(dialect, &answer(&server, &body));
    }
}

#[test]
fn a_body_that_breaks_off_or_is_badly_chunked_is_worded_by_the_dialect_of_its_path() {
    let server = Server::start();
    let host = server.address.to_string();
    for dialect in dialects() {
        let path = format!("{}/nothing", mount(&dialect));
        let head = format!("POST {path} HTTP/1.1\r\nHost: {host}\r\n");
        for body in [
            "Transfer-Encoding: chunked\r\n\r\nzz\r\n",
            "Transfer-Encoding: chunked\r\n\r\n1;a=\"\r\n",
        ] {
            words::check(&dialect, &answer(&server, &format!("{head}{body}")));
        }
    }
}

#[test]
fn a_refusal_says_which_methods_there_are() {
    let server = Server::start();
    for dialect in dialects() {
        let path = format!("{}/nothing", mount(&dialect));
        let answer = ask(&server, "TRACE", "localhost", &path).expect(405);
        assert!(answer.header("allow").is_some(), "{}", answer.exchange());
    }
    let answer = ask(&server, "POST", "localhost", "/healthz").expect(405);
    assert_eq!(answer.header("allow"), Some("GET, HEAD"));
}

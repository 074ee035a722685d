//! The answers to refused requests: they do not depend on how a request arrives or on what came before it, and never
//! contain more than their client may receive.

use std::time::Duration;

use super::{check_unharmed, question, verify_head};
use crate::support::{Received, Server, wait};

/// The parts of an answer that do not vary: all but its date and its request id.
fn words(received: &Received) -> String {
    let text = received.text();
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name} in {text}"))
            .to_owned()
    };
    let (id, date) = (value("x-request-id: "), value("date: "));
    text.replace(&id, "ID").replace(&date, "DATE")
}

/// Sends `bytes` in pieces of this size.
fn in_pieces(server: &Server, bytes: &[u8], piece: usize) -> Received {
    let mut connection = server.tcp().connect();
    for part in bytes.chunks(piece) {
        use std::io::Write;
        if connection.write_all(part).is_err() {
            break;
        }
        wait::pause(Duration::from_millis(3));
    }
    connection.receive(wait::PATIENCE)
}

// finding H10
#[test]
fn the_words_of_a_refusal_do_not_depend_on_how_the_request_arrives() {
    let server = Server::start();
    for head in [
        "get /api/v3/about HTTP/1.1\r\nHost: a\r\n\r\n",
        "g",
        "(GET /api/v3/about HTTP/1.1\r\n\r\n",
        "GET /api/v3/about HTTP/1.1\r\n\r\n",
        "GET /api/v3/ab\0out HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /console/\x7f HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /api/v3/about HTTP/1.2\r\nHost: a\r\n\r\n",
        "GET /api/v3/about HTTP/1.1\r\nHost: a\r\nX\r\n\r\n",
        "GET /api/v3/about HTTP/1.1\r\nX: a\nHost: a\r\n\r\n",
        "CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        let send = |piece| {
            let mut bytes = head.as_bytes().to_vec();
            if head.len() == 1 {
                bytes.extend_from_slice(b"et /console HTTP/1.1\r\nHost: a\r\n\r\n");
            }
            words(&in_pieces(&server, &bytes, piece))
        };
        let whole = send(1000);
        assert!(
            whole.starts_with("HTTP/1.1 4") || whole.starts_with("HTTP/1.1 5"),
            "{whole}"
        );
        for piece in [1, 5] {
            assert_eq!(send(piece), whole, "{head:?}, {piece} at a time");
        }
    }
    check_unharmed(&server);
}

// finding H9; RFC 9110, 9.3.2
#[test]
fn a_head_request_that_is_refused_has_no_body() {
    let server = Server::start();
    for rest in [
        " /v1/keys HTTP/1.1\r\n\r\n",
        " /api/v3/about HTTP/1.1\r\nHost: a b\r\n\r\n",
        " /console HTTP/1.2\r\nHost: a\r\n\r\n",
        " /\0",
        "  / HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        let body = |method: &str| {
            let received = server.raw(format!("{method}{rest}"));
            assert!(received.closed);
            let text = received.text();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(
                head.starts_with("HTTP/1.1 400") || head.starts_with("HTTP/1.1 505"),
                "{head}"
            );
            body.to_owned()
        };
        assert_eq!(body("HEAD"), "", "{rest:?}");
        assert_ne!(body("GET"), "", "{rest:?}");
    }
}

// finding H5; RFC 9110, 7.8
#[test]
fn a_request_that_asks_for_another_protocol_is_treated_like_any_other() {
    let server = Server::start();
    let question = question(&server);
    let host = format!("Host: {}\r\n", server.address);
    for upgrade in [
        "Upgrade: h2c\r\n",
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
        "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n",
        "Upgrade: TLS/1.0\r\nUpgrade: x\r\n",
    ] {
        for method in ["GET", "HEAD"] {
            let first = format!("{method} /healthz HTTP/1.1\r\n{host}{upgrade}\r\n");
            let received = server.raw(format!("{first}{first}BAD\r\n\r\n"));
            assert_eq!(received.statuses(), [200, 200, 400], "{first}");
            assert!(received.closed);
        }
        let head = verify_head(&server);
        let good = format!(
            "{head}{upgrade}Content-Length: {}\r\n\r\n{question}",
            question.len()
        );
        let received = server.raw(format!("{good}BAD\r\n\r\n"));
        assert_eq!(received.statuses(), [200, 400], "{good}");
        // A client that is still sending receives the answer.
        let large = format!(
            "{head}{upgrade}Content-Length: 600000\r\n\r\n{}",
            "x".repeat(600_000)
        );
        for _ in 0..5 {
            assert_eq!(server.raw(&large).statuses(), [413], "{upgrade}");
        }
    }
    check_unharmed(&server);
}

// finding H12; RFC 9112, 7.1
#[test]
fn chunk_extensions_and_trailers_are_ignored_up_to_a_bound() {
    let server = Server::start();
    let head = format!("{}Transfer-Encoding: chunked\r\n\r\n", verify_head(&server));
    let question = question(&server);
    let (first, second) = question.split_at(5);
    let body = |extension: &str, trailers: &str| {
        format!(
            "{head}{:x}{extension}\r\n{first}\r\n{:x}{extension}\r\n{second}\r\n0{extension}\r\n{trailers}\r\n",
            first.len(),
            second.len()
        )
    };
    for (extension, trailers) in [
        (";a", ""),
        (";a=b;c=\"d;e\"", ""),
        (" ; a", "X-Checksum: 1\r\n"),
        (
            "",
            "Content-Length: 0\r\nTransfer-Encoding: chunked\r\nHost: b\r\n",
        ),
        (&format!(";a={}", "b".repeat(1000)), ""),
        ("", &format!("X: {}\r\n", "b".repeat(4000))),
    ] {
        let received = server.raw(body(extension, trailers));
        assert_eq!(received.statuses(), [200], "{extension:.20} {trailers:.20}");
    }
    for (extension, trailers) in [
        (&*format!(";a={}", "b".repeat(2000)), ""),
        ("", &*format!("X: {}\r\n", "b".repeat(5000))),
        ("", &*"X: 1\r\n".repeat(1000)),
        ("", "X 1\r\n"),
        (";\n", ""),
    ] {
        let received = server.raw(body(extension, trailers));
        assert_eq!(received.statuses(), [400], "{extension:.20} {trailers:.20}");
        assert!(received.closed);
    }
    check_unharmed(&server);
}

// finding H12
#[test]
fn every_line_of_expect_counts() {
    let server = Server::start();
    let question = question(&server);
    let length = format!("Content-Length: {}\r\n", question.len());
    let ask = |expect: &str| {
        let head = verify_head(&server);
        server.raw(format!(
            "{head}{length}{expect}Connection: close\r\n\r\n{question}"
        ))
    };
    let twice = "Expect: 100-continue\r\nExpect: 100-Continue\r\n";
    for known in [
        "Expect: 100-continue\r\n",
        twice,
        "Expect: 100-continue, 100-continue\r\n",
    ] {
        assert_eq!(ask(known).statuses(), [100, 200], "{known}");
    }
    for unknown in [
        "Expect: 100-continue\r\nExpect: foo\r\n",
        "Expect: foo\r\nExpect: 100-continue\r\n",
        "Expect: 100-continue, foo\r\n",
    ] {
        assert_eq!(ask(unknown).statuses(), [417], "{unknown}");
    }
}

// finding H12; RFC 3986, 3.2.2
#[test]
fn a_host_may_have_what_names_may_have() {
    let server = Server::start();
    let ask = |host: &str| {
        let request = format!("GET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\nBAD\r\n\r\n");
        server.raw(request).statuses()
    };
    for host in ["a=b", "a!$&'()*+,;=b:80", "a.example", "[::1]:80"] {
        assert_eq!(ask(host), [200, 400], "{host}");
    }
    for host in ["a b", "a@b", "a/b", "a?b", "a#b", "a\\b", "a\"b", "a, b"] {
        assert_eq!(ask(host), [400], "{host}");
    }
}

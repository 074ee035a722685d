//! Request lines and headers that two parsers could interpret differently.

use std::io::Write;

use super::{check_refused, check_unharmed, question, verify_head};
use crate::support::{Server, wait};

/// A verification with an additional header line, which makes it invalid.
#[track_caller]
fn check_header(server: &Server, statuses: &[u16], line: impl AsRef<[u8]>) {
    let head = verify_head(server);
    check_refused(
        server,
        statuses,
        [head.as_bytes(), line.as_ref(), b"\r\n\r\n"].concat(),
    );
}

/// The same, together with a correct length and its body.
#[track_caller]
fn check_header_beside_length(server: &Server, statuses: &[u16], line: impl AsRef<[u8]>) {
    let (head, body) = (verify_head(server), question(server));
    let length = format!("Content-Length: {}\r\n", body.len());
    check_refused(
        server,
        statuses,
        [
            head.as_bytes(),
            length.as_bytes(),
            line.as_ref(),
            b"\r\n\r\n",
            body.as_bytes(),
        ]
        .concat(),
    );
}

#[track_caller]
fn check_line(server: &Server, statuses: &[u16], line: impl AsRef<[u8]>) {
    check_refused(
        server,
        statuses,
        [line.as_ref(), b"\r\nHost: a\r\n\r\n"].concat(),
    );
}

// attacks 2 and 11
#[test]
fn a_content_length_is_one_whole_number() {
    let server = Server::start();
    let thirty_digits = "1".repeat(30);
    for value in [
        "9223372036854775808",
        &thirty_digits,
        "5, 5",
        "5,6",
        "+5",
        "-1",
        "0x5",
        "",
        "5 5",
    ] {
        check_header(&server, &[400], format!("Content-Length: {value}"));
    }
    check_unharmed(&server);
}

// attacks 10
#[test]
fn two_content_lengths_are_refused() {
    let server = Server::start();
    let length = question(&server).len();
    check_header_beside_length(&server, &[400], format!("Content-Length: {}", length + 1));
    check_header_beside_length(&server, &[400], "Content-Length: 0");
    check_header_beside_length(&server, &[400], format!("Content-Length: {length}"));
    check_unharmed(&server);
}

// attacks 12
#[test]
fn a_length_and_a_transfer_coding_exclude_each_other() {
    let server = Server::start();
    check_header_beside_length(&server, &[400], "Transfer-Encoding: chunked");
    check_header(
        &server,
        &[400],
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
    );
    check_unharmed(&server);
}

// attacks 13 and 15
#[test]
fn only_exactly_chunked_is_a_transfer_coding() {
    let server = Server::start();
    for value in [
        "identity",
        "gzip",
        "chunked, gzip",
        "gzip, chunked",
        "chunked,",
        "xchunked",
        "",
    ] {
        check_header(&server, &[400, 501], format!("Transfer-Encoding: {value}"));
    }
    check_header(
        &server,
        &[400],
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    );
    check_header(
        &server,
        &[400],
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
    );
    check_header(&server, &[400], "Transfer-Encoding : chunked");
    check_unharmed(&server);
}

// attacks 13: what is accepted
#[test]
fn chunked_is_accepted_in_any_case_and_behind_a_tab() {
    let server = Server::start();
    let body = question(&server);
    for line in [
        "Transfer-Encoding: chunked",
        "transfer-encoding: Chunked",
        "Transfer-Encoding:\tCHUNKED",
    ] {
        let head = verify_head(&server);
        let received = server.raw(format!(
            "{head}{line}\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
            body.len()
        ));
        assert_eq!(received.statuses(), [200], "{line}\n{}", received.text());
    }
    check_unharmed(&server);
}

// attacks 7
#[test]
fn an_endless_header_line_ends_at_the_bound() {
    let server = Server::start();
    let before = server.resident_bytes();
    let mut bytes = format!("{}X-Long: ", verify_head(&server)).into_bytes();
    bytes.resize(bytes.len() + 64 * 1024 * 1024, b'x');
    check_refused(&server, &[431], bytes);
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(
        grown < 16 * 1024 * 1024,
        "{grown} bytes of memory for one header"
    );
    check_unharmed(&server);
}

/// finding c11: headers that proxies pass on, including cookies.
#[test]
fn a_head_is_read_up_to_the_bound_that_is_set() {
    let server = Server::start();
    let key = server.secret.clone();
    check_bound(&server, &key, 32 * 1024);
    let mut server = server.with_args(&["--head-bytes-max", "65536"]);
    server.restart();
    check_bound(&server, &key, 64 * 1024);
    let mut server = server.with_args(&["--head-bytes-max=16384"]);
    server.restart();
    check_bound(&server, &key, 16 * 1024);
}

/// A question of a proxy with cookies up to a certain number of bytes, and one that is one byte longer.
#[track_caller]
fn check_bound(server: &Server, key: &str, bound: usize) {
    let line = format!(
        "GET /auth/traefik HTTP/1.1\r\nHost: {}\r\nX-API-Key: {key}\r\nConnection: close\r\nCookie: a=",
        server.address
    );
    for (bytes, status) in [(bound - 1, 200), (bound, 200), (bound + 1, 431)] {
        let cookie = "x".repeat(bytes - line.len() - 4);
        let received = server.raw(format!("{line}{cookie}\r\n\r\n"));
        assert_eq!(received.statuses(), [status], "{bytes}");
    }
}

/// finding c11: the memory for heads is bounded for all clients together.
#[test]
fn many_slow_clients_with_large_heads_do_not_take_the_memory() {
    let server = Server::start_with(&["--head-bytes-max", "65536"], &[]);
    let before = server.resident_bytes();
    let head = format!("{}Cookie: {}", verify_head(&server), "x".repeat(60 * 1024));
    let slow: Vec<_> = (0..1500)
        .map(|_| {
            let mut connection = server.tcp().connect();
            // The server may close a refused connection while the client still sends.
            let _ = connection.write_all(head.as_bytes());
            connection
        })
        .collect();
    server.call("GET", "/healthz", &[], None).expect(200);
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 110 * 1024 * 1024, "{grown} bytes for 1500 heads");
    // Connections that were slow for a second are closed for others.
    let cookie = "x".repeat(40 * 1024);
    wait::until("a slow connection was closed", || {
        let large = [("Cookie", cookie.as_str())];
        server.call("GET", "/healthz", &large, None).status == 200
    });
    drop(slow);
    check_unharmed(&server);
}

#[test]
fn more_than_100_headers_are_refused() {
    let server = Server::start();
    check_header(&server, &[431], vec!["X-Many: 1"; 101].join("\r\n"));
    check_unharmed(&server);
}

// attacks 9
#[test]
fn an_endless_request_line_ends_at_8_kib() {
    let server = Server::start();
    check_line(
        &server,
        &[414],
        format!("GET /{} HTTP/1.1", "a".repeat(1024 * 1024)),
    );
    check_unharmed(&server);
}

// attacks 21
#[test]
fn folded_headers_are_refused() {
    let server = Server::start();
    for start in [" ", "\t", "\x0b", "\x0c"] {
        check_header_beside_length(&server, &[400], format!("{start}X-Forwarded-For: 10.0.0.1"));
    }
    check_unharmed(&server);
}

// attacks 22
#[test]
fn control_bytes_are_refused_and_never_reflected() {
    let server = Server::start();
    for line in [
        "X-A: a\nX-B: b",
        "X-A: a\rX-B: b",
        "X-A: a\0b",
        "X-A: a\x7fb",
        "X\0A: a",
        "X\x7fA: a",
        "X-A\n: a",
    ] {
        check_header_beside_length(&server, &[400], line);
    }
    let received = check_refused(
        &server,
        &[400],
        "GET /needle\x7f HTTP/1.1\r\nHost: a\r\n\r\n",
    );
    assert!(!received.text().contains("needle"), "{}", received.text());
    check_refused(&server, &[400], "GET / HTTP/1.1\nHost: a\n\n");
    check_unharmed(&server);
}

// attacks 23 and 39
#[test]
fn header_names_are_tokens() {
    let server = Server::start();
    for line in [
        ": x",
        "X A: x",
        "X(A): x",
        "X/A: x",
        "X-\u{e9}: x",
        "no colon",
        "X-A : x",
    ] {
        check_header_beside_length(&server, &[400], line);
    }
    check_unharmed(&server);
}

// attacks 39: a value is bytes, a target is not
#[test]
fn bytes_above_ascii_pass_in_a_value_and_not_in_a_target() {
    let server = Server::start();
    let (head, body) = (verify_head(&server), question(&server));
    let head = format!(
        "{head}Content-Length: {}\r\nConnection: close\r\nX-A: ",
        body.len()
    );
    let received = server.raw([head.as_bytes(), b"\xff\xfe\r\n\r\n", body.as_bytes()].concat());
    assert_eq!(received.statuses(), [200], "{}", received.text());
    check_line(&server, &[400], b"GET /\xff HTTP/1.1");
    check_line(&server, &[400], "GET /\u{e9} HTTP/1.1");
    check_unharmed(&server);
}

// attacks 26
#[test]
fn a_request_line_has_three_parts_and_single_spaces() {
    let server = Server::start();
    for line in [
        "GET  HTTP/1.1",
        "GET / HTTP/1.1 x",
        "GET  / HTTP/1.1",
        "GET /  HTTP/1.1",
        "GET\t/\tHTTP/1.1",
        "GET /",
        "GET",
        " GET / HTTP/1.1",
        "GET / HTTP/1.1 ",
    ] {
        check_line(&server, &[400], line);
    }
    for line in [
        "GET / HTTP/2.0",
        "GET / HTTP/1.2",
        "GET / http/1.1",
        "GET / HTTP/11",
        "PRI * HTTP/2.0",
    ] {
        check_line(&server, &[400, 505], line);
    }
    check_unharmed(&server);
}

// attacks 27
#[test]
fn other_forms_of_target_and_method_are_refused() {
    let server = Server::start();
    for line in [
        "CONNECT a:80 HTTP/1.1",
        "TRACE / HTTP/1.1",
        "GET a:80 HTTP/1.1",
        "GET * HTTP/1.1",
        "get / HTTP/1.1",
    ] {
        check_line(&server, &[400, 405, 501], line);
    }
    check_line(&server, &[400], "GET http://user@a/ HTTP/1.1");
    check_line(
        &server,
        &[400, 414, 501],
        format!("{} / HTTP/1.1", "A".repeat(1024 * 1024)),
    );
    check_unharmed(&server);
}

// attacks 27: the authority of an absolute target is the host, regardless of the Host header
#[test]
fn an_absolute_target_names_the_host() {
    let server = Server::start();
    let ask = |target: &str| {
        let (head, body) = (verify_head(&server), question(&server));
        let head = head.replace("POST /v1/verify", &format!("POST {target}"));
        server
            .raw(format!(
                "{head}Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            ))
            .statuses()
    };
    assert_eq!(ask(&format!("http://{}/v1/verify", server.address)), [200]);
    assert_eq!(ask("http://evil.example/v1/verify"), [421]);
    check_unharmed(&server);
}

// RFC 9112, 3.2
#[test]
fn exactly_one_host_is_needed() {
    let server = Server::start();
    check_refused(&server, &[400], "GET /healthz HTTP/1.1\r\n\r\n");
    check_refused(
        &server,
        &[400],
        "GET /healthz HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
    );
    check_refused(
        &server,
        &[400],
        "GET /healthz HTTP/1.1\r\nHost: a b\r\n\r\n",
    );
    check_unharmed(&server);
}

// attacks 25
#[test]
fn what_is_no_http_is_refused_and_logged_seldom() {
    let server = Server::start();
    let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    for garbage in [
        hello.as_slice(),
        b"SSH-2.0-OpenSSH_9.7\r\n",
        b"\x80\x81\xff\x00\x01",
        b"\0\0\0\0",
    ] {
        check_refused(&server, &[400], garbage);
    }
    let lines_before = server.log().lines().count();
    for _ in 0..200 {
        server.raw(hello);
    }
    let lines = server.log().lines().count() - lines_before;
    assert!(lines < 50, "{lines} lines of log for 200 strangers");
    check_unharmed(&server);
}

// attacks 29
#[test]
fn a_strange_te_header_changes_nothing() {
    let server = Server::start();
    let (head, body) = (verify_head(&server), question(&server));
    let values: Vec<String> = (0..200)
        .map(|at| format!("x;q={}", ["NaN", "inf", "-1", "0.5"][at % 4]))
        .collect();
    let head = format!(
        "{head}TE: {}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        values.join(", "),
        body.len()
    );
    let received = server.raw(format!("{head}{body}"));
    assert_eq!(received.statuses(), [200], "{}", received.text());
    check_unharmed(&server);
}

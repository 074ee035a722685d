//! Bodies that are too long, never arrive, or hide a second request.

use super::{check_refused, check_unharmed, hidden, question, verify_head};
use crate::support::Server;

// attacks 1
#[test]
fn a_giant_length_is_refused_without_reading() {
    let server = Server::start();
    let before = server.resident_bytes();
    let head = verify_head(&server);
    check_refused(
        &server,
        &[413],
        format!("{head}Content-Length: 1000000000000\r\n\r\n"),
    );
    // A route that never reads its body answers as usual, but the bytes that follow are not taken for a request.
    let path = format!("GET /healthz HTTP/1.1\r\nHost: {}\r\n", server.address);
    check_refused(
        &server,
        &[200, 204, 413],
        format!("{path}Content-Length: 1000000000000\r\n\r\n"),
    );
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(
        grown < 8 * 1024 * 1024,
        "{grown} bytes of memory for a length"
    );
    check_unharmed(&server);
}

#[test]
fn a_body_over_64_kib_is_refused_and_one_of_64_kib_is_not() {
    let server = Server::start();
    let (head, question) = (verify_head(&server), question(&server));
    let padded = |bytes: usize| format!("{question}{}", " ".repeat(bytes - question.len()));
    let limit = 64 * 1024;

    let fits = format!(
        "{head}Connection: close\r\nContent-Length: {limit}\r\n\r\n{}",
        padded(limit)
    );
    assert_eq!(server.raw(fits).statuses(), [200]);
    check_refused(
        &server,
        &[413],
        format!(
            "{head}Content-Length: {}\r\n\r\n{}",
            limit + 1,
            padded(limit + 1)
        ),
    );
    let chunked = format!(
        "{head}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{}\r\n0\r\n\r\n",
        limit + 1,
        padded(limit + 1)
    );
    check_refused(&server, &[413], chunked);
    check_unharmed(&server);
}

// attacks 16
#[test]
fn a_body_that_nobody_reads_hides_no_request() {
    let server = Server::start();
    let hidden = hidden(&server);
    let chunk = format!("{:x}\r\n{hidden}\r\n0\r\n\r\n", hidden.len());
    for path in [
        "/no-such-path",
        "/healthz",
        "/v1/no-such-path",
        "/v1/keys",
        "/v1/verify",
    ] {
        for credential in ["", "Authorization: Bearer nobody\r\n"] {
            let head = format!(
                "POST {path} HTTP/1.1\r\nHost: {}\r\n{credential}",
                server.address
            );
            for body in [
                format!("Transfer-Encoding: chunked\r\n\r\n{chunk}"),
                format!("Content-Length: {}\r\n\r\n{hidden}", hidden.len()),
            ] {
                let received = server.raw_to_the_end(format!("{head}{body}"));
                let statuses = received.statuses();
                assert!(
                    statuses.len() == 1,
                    "{path}: {statuses:?}\n{}",
                    received.text()
                );
            }
        }
    }
    check_unharmed(&server);
}

// attacks 18
#[test]
fn a_chunk_size_is_a_hexadecimal_number_and_nothing_else() {
    let server = Server::start();
    let head = format!("{}Transfer-Encoding: chunked\r\n\r\n", verify_head(&server));
    for chunk in [
        "+5\r\n12345",
        "5 \r\n12345",
        "0x5\r\n12345",
        "5\n12345",
        "12345678901234567\r\n1",
        "\r\n",
        "-1\r\n",
        "5\r\n123456\r\n",
    ] {
        check_refused(&server, &[400], format!("{head}{chunk}\r\n0\r\n\r\n"));
    }
    check_unharmed(&server);
}

// attacks 18
#[test]
fn an_endless_chunk_extension_is_refused_at_once() {
    let server = Server::start();
    let before = server.resident_bytes();
    let head = format!("{}Transfer-Encoding: chunked\r\n\r\n", verify_head(&server));
    check_refused(
        &server,
        &[400],
        format!("{head}5;{}", "a".repeat(16 * 1024 * 1024)),
    );
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(
        grown < 8 * 1024 * 1024,
        "{grown} bytes of memory for an extension"
    );
    check_unharmed(&server);
}

// attacks 20
#[test]
fn trailers_are_never_merged_into_the_head() {
    let server = Server::start();
    let body = question(&server);
    let head = format!(
        "POST /v1/keys HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n",
        server.address
    );
    let trailer = format!("Authorization: Bearer {}\r\n", server.management_key);
    let bytes = format!("{head}{:x}\r\n{body}\r\n0\r\n{trailer}\r\n", body.len());
    check_refused(&server, &[400, 401], bytes);
    check_unharmed(&server);
}

// attacks 30
#[test]
fn no_body_is_asked_for_that_will_not_be_read() {
    let server = Server::start();
    let head = verify_head(&server);
    let expecting = format!("{head}Expect: 100-continue\r\nContent-Length: 1000000\r\n\r\n");
    let received = server.raw(&expecting);
    assert_eq!(
        (received.statuses(), received.closed),
        (vec![413], true),
        "{}",
        received.text()
    );

    let nowhere = expecting.replace("/v1/verify", "/no-such-path");
    let received = server.raw(&nowhere);
    assert!(
        !received.statuses().contains(&100) && received.closed,
        "{}",
        received.text()
    );

    check_refused(
        &server,
        &[417],
        format!("{head}Expect: x\r\nContent-Length: 5\r\n\r\n"),
    );
    check_unharmed(&server);
}

// attacks 30: the good case
#[test]
fn a_body_that_will_be_read_is_asked_for() {
    let server = Server::start();
    let (head, body) = (verify_head(&server), question(&server));
    let expecting = format!(
        "{head}Expect: 100-continue\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    assert_eq!(server.raw(expecting).statuses(), [100, 200]);
    check_unharmed(&server);
}

// attacks 31
#[test]
fn connection_options_take_nothing_away() {
    let server = Server::start();
    let (head, body) = (verify_head(&server), question(&server));
    let length = format!("Content-Length: {}\r\n\r\n{body}", body.len());

    let hop = format!(
        "{head}Connection: close, Authorization, Host, Content-Length, X-Forwarded-For\r\n{length}"
    );
    assert_eq!(server.raw(hop).statuses(), [200]);

    // The server does not grant the upgrade: the body is framed as usual, and so is the request after it.
    let upgrade = format!("{head}Connection: Upgrade\r\nUpgrade: websocket\r\n{length}");
    let closing = format!("{head}Connection: close\r\n{length}");
    assert_eq!(
        server.raw(format!("{upgrade}{closing}")).statuses(),
        [200, 200]
    );
    check_unharmed(&server);
}

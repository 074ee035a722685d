//! Many connections, many requests on one connection, and the end of a connection.

use std::io::Write;
use std::time::Duration;

use super::{check_unharmed, question, verify_head};
use crate::support::{Connection, Server, wait};

/// A verification on a connection that stays open.
fn verify_request(server: &Server) -> String {
    let body = question(server);
    format!(
        "{}Content-Length: {}\r\n\r\n{body}",
        verify_head(server),
        body.len()
    )
}

#[track_caller]
fn check_answered(connection: &mut Connection, request: &str) {
    connection
        .write_all(request.as_bytes())
        .expect("the connection is open");
    let response = connection.receive_one().expect("an answer comes");
    assert_eq!(response.status, 200, "{}", response.exchange());
}

// attacks 6: RLIMIT_NOFILE 96 allows 32 connections
#[test]
fn silent_connections_give_way_to_those_that_speak() {
    let server = Server::start_limited(96);
    let request = verify_request(&server);
    let mut member = server.tcp().connect();
    check_answered(&mut member, &request);

    let silent: Vec<Connection> = (0..64).map(|_| server.tcp().connect()).collect();
    for _ in 0..10 {
        let mut newcomer = server.tcp().connect();
        check_answered(&mut newcomer, &request);
    }
    check_unharmed(&server);
    drop(silent);
    check_unharmed(&server);
}

// attacks 6: a body that never comes is no better than a head that never ends
#[test]
fn unsent_bodies_give_way_to_those_that_speak() {
    let server = Server::start_limited(96);
    let head = format!("{}Content-Length: 5\r\n\r\n", verify_head(&server));
    // After ten seconds the server gives up such a body, and the connection is closed anyway.
    wait::quick_run(Duration::from_secs(9), || {
        let unsent: Vec<Connection> = (0..40)
            .map(|_| {
                let mut connection = server.tcp().connect();
                let _ = connection.write_all(head.as_bytes());
                connection
            })
            .collect();
        server.call("GET", "/healthz", &[], None).expect(200);
        drop(unsent);
    });
    check_unharmed(&server);
}

// attacks 6: a client that keeps sending is never the longest idle
#[test]
fn a_busy_member_is_not_disturbed_by_silent_newcomers() {
    let server = Server::start_limited(96);
    let request = verify_request(&server);
    let mut member = server.tcp().connect();
    let mut silent = Vec::new();
    for _ in 0..8 {
        // The server orders connections by ticks of 0.1 s.
        wait::pause(Duration::from_millis(120));
        check_answered(&mut member, &request);
        silent.extend((0..8).map(|_| server.tcp().connect()));
        // The connections before this one are accepted before this request is answered.
        server.call("GET", "/healthz", &[], None).expect(200);
    }
    check_answered(&mut member, &request);
    check_unharmed(&server);
}

// attacks 32
#[test]
fn a_flood_of_pipelined_requests_is_held_back() {
    let server = Server::start();
    let flood = verify_request(&server).repeat(200_000);
    let before = server.resident_bytes();
    let mut connection = server.tcp().connect();
    connection.set_write_timeout(Duration::from_secs(2));
    // The client reads nothing, so sooner or later it can write nothing more.
    assert!(
        connection.write_all(flood.as_bytes()).is_err(),
        "the whole flood was taken"
    );
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(
        grown < 16 * 1024 * 1024,
        "{grown} bytes of memory for one connection"
    );
    check_unharmed(&server);
}

// Normal pipelining: every request is answered, in order.
#[test]
fn pipelined_requests_are_all_answered() {
    let server = Server::start();
    let mut requests = verify_request(&server).repeat(50);
    requests.push_str(&verify_request(&server).replacen("\r\n", "\r\nConnection: close\r\n", 1));
    let received = server.raw(requests);
    assert_eq!(received.statuses(), vec![200; 51], "{}", received.text());
    check_unharmed(&server);
}

// attacks 41
#[test]
fn http_1_0_and_head_are_framed_correctly() {
    let server = Server::start();
    let host = server.address;

    let old = server.raw("GET /healthz HTTP/1.0\r\n\r\nGET /healthz HTTP/1.0\r\n\r\n");
    assert_eq!(
        (old.statuses().len(), old.closed),
        (1, true),
        "{}",
        old.text()
    );

    let kept = format!("GET /healthz HTTP/1.0\r\nHost: {host}\r\nConnection: keep-alive\r\n\r\n");
    let last = format!("GET /healthz HTTP/1.0\r\nHost: {host}\r\n\r\n");
    let received = server.raw(format!("{kept}{last}"));
    assert_eq!(
        (received.statuses().len(), received.closed),
        (2, true),
        "{}",
        received.text()
    );
    assert!(
        received
            .text()
            .to_lowercase()
            .contains("connection: keep-alive"),
        "{}",
        received.text()
    );

    let head = server.call("HEAD", "/healthz", &[], None);
    assert!(head.body.is_empty(), "{}", head.exchange());

    let closing = server.call("GET", "/healthz", &[("Connection", "close")], None);
    assert_eq!(
        closing.header("connection"),
        Some("close"),
        "{}",
        closing.exchange()
    );
    check_unharmed(&server);
}

// What `docs/api.md` promises for every answer, including answers that no route has produced.
#[test]
fn every_answer_carries_the_common_headers() {
    let server = Server::start();
    let refused = server.raw("GET / HTTP/1.1\r\n\r\n").text().to_lowercase();
    let missing = server.raw(format!(
        "GET /no-such-path HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
        server.address
    ));
    for answer in [refused, missing.text().to_lowercase()] {
        for line in [
            "cache-control: no-store\r\n",
            "x-content-type-options: nosniff\r\n",
            "x-request-id: ",
        ] {
            assert!(answer.contains(line), "{line} is missing\n{answer}");
        }
    }
    check_unharmed(&server);
}

// A client that sends a whole request and half-closes still gets its answer.
#[test]
fn a_half_closed_client_is_answered() {
    let server = Server::start();
    let mut connection = server.tcp().connect();
    connection
        .write_all(verify_request(&server).as_bytes())
        .expect("the connection is open");
    if let Connection::Tcp(stream) = &connection {
        stream
            .shutdown(std::net::Shutdown::Write)
            .expect("it can be half closed");
    }
    let received = connection.receive(wait::PATIENCE);
    assert_eq!((received.statuses(), received.closed), (vec![200], true));
    check_unharmed(&server);
}

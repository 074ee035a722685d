//! Slow handshakes, bytes that are no handshake, and the rules of HTTP inside TLS.

use std::io::{Error, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use super::authority::Authority;
use super::client::TlsConnection;
use super::{server, text};
use crate::support::{Server, wait};

/// Sends these bytes and waits until the server closes the connection.
fn send_until_closed(server: &Server, bytes: &[u8]) {
    let mut stream = TcpStream::connect(server.address).expect("it listens");
    stream.write_all(bytes).expect("it can be sent");
    stream
        .set_read_timeout(Some(wait::PATIENCE))
        .expect("a time");
    let ended = stream.read_to_end(&mut Vec::new());
    let is_late = |err: &Error| matches!(err.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
    assert!(!ended.is_err_and(|err| is_late(&err)), "still connected");
}

#[test]
fn a_handshake_that_takes_too_long_is_cut_off() {
    let authority = Authority::new();
    let server = server(&authority, &[]);
    // No bytes, the start of a record, and half of a ClientHello.
    let starts: [&[u8]; 3] = [
        b"",
        b"\x16\x03\x01",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ];
    thread::scope(|scope| {
        let server = &server;
        let times = starts.map(|bytes| {
            scope.spawn(move || {
                let watch = wait::Stopwatch::start();
                send_until_closed(server, bytes);
                watch.time()
            })
        });
        for time in times {
            let time = time.join().expect("it ends");
            assert!(time.as_secs() >= 8, "{time:?}");
        }
    });
    assert_eq!(
        TlsConnection::open(server.address, &authority, &[]).ask_health(),
        Some(200)
    );
}

// attacks 25
#[test]
fn bytes_that_are_no_handshake_end_their_connection_only() {
    let authority = Authority::new();
    let server = server(&authority, &[]);
    for bytes in [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".as_slice(),
        b"SSH-2.0-OpenSSH_9.2\r\n",
        &[0xff; 600],
        &[0x16, 3, 1, 0xff, 0xff, 1],
    ] {
        // An unfinished handshake could last ten seconds.
        wait::quick_run(Duration::from_secs(9), || send_until_closed(&server, bytes));
    }
    server.wait_for_log("a TLS handshake failed", 1);
    assert_eq!(
        TlsConnection::open(server.address, &authority, &[]).ask_health(),
        Some(200)
    );
}

/// As in nginx; the server examines only whether the bytes are HTTP.
#[test]
fn whoever_speaks_plain_http_to_the_tls_port_is_told_so() {
    let authority = Authority::new();
    let server = server(&authority, &[]);
    let body = format!("{{\"key\":\"{}\"}}", server.secret);
    let verify = format!(
        "POST /v1/verify HTTP/1.1\r\nHost: localhost\r\nLatchkey-Local: 1\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let question = format!(
        "GET /auth/nginx HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {}\r\n\r\n",
        server.secret
    );
    for request in [
        verify.as_str(),
        &question,
        "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET /console HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET /healthz HTTP/1.0\r\n\r\n",
    ] {
        let received = server.raw(request);
        assert_eq!(received.statuses(), [400], "{}", received.text());
        let text = received.text();
        // Proxies pass these answers on to their clients, so the answers contain no explanation.
        let has_words = !request.contains("/auth/");
        assert_eq!(text.contains("https://"), has_words, "{text}");
        assert!(!text.contains("VALID"), "{text}");
        assert!(text.to_lowercase().contains("connection: close"), "{text}");
    }
    // The first byte comes alone, and the rest after a pause.
    let mut slow = TcpStream::connect(server.address).expect("it listens");
    slow.write_all(b"G").expect("it can be sent");
    wait::pause(Duration::from_millis(50));
    slow.write_all(b"ET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .expect("it can be sent");
    let mut answer = [0; 12];
    slow.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 400");
    server.wait_for_log("a client spoke plain HTTP on the TLS port", 1);
    assert!(
        !server.log().contains("handshake failed"),
        "{}",
        server.log()
    );
}

#[test]
fn handshakes_that_dawdle_give_way_to_newcomers() {
    let authority = Authority::new();
    let pair = authority.issue("server", 90);
    let (certificate, key) = (text(&pair.0), text(&pair.1));
    let server =
        Server::start_limited_with(80, &["--tls-certificate", &certificate, "--tls-key", &key]);
    wait::quick_run(Duration::from_secs(9), || {
        let silent: Vec<TcpStream> = (0..40)
            .filter_map(|_| TcpStream::connect(server.address).ok())
            .collect();
        let mut client = TlsConnection::open(server.address, &authority, &[]);
        assert_eq!(client.ask_health(), Some(200));
        drop(silent);
    });
}

#[test]
fn the_guard_stands_behind_tls_as_on_a_plain_socket() {
    let authority = Authority::new();
    let server = server(&authority, &[]);
    let ask = |bytes: &[u8]| TlsConnection::open(server.address, &authority, &[]).ask(bytes);
    for (request, status) in [
        (
            "GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5, 5\r\n\r\n",
            400,
        ),
        ("GET /healthz HTTP/1.1\nHost: localhost\n\n", 400),
        (
            "GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            400,
        ),
        (
            "GET /v1/keys HTTP/1.1\r\nHost: evil.example\r\nAuthorization: Bearer x\r\n\r\n",
            421,
        ),
        (
            "POST /v1/verify HTTP/1.1\r\nHost: localhost\r\nLatchkey-Local: 1\r\nContent-Type: application/json\r\nContent-Length: 9999999\r\n\r\n",
            413,
        ),
    ] {
        let answer = ask(request.as_bytes()).unwrap_or_else(|| panic!("no answer to {request}"));
        assert_eq!(answer.0, status, "{request}: {}", answer.1);
    }
    let body = format!("{{\"key\":\"{}\"}}", server.secret);
    let request = format!(
        "POST /v1/verify HTTP/1.1\r\nHost: localhost\r\nLatchkey-Local: 1\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut connection = TlsConnection::open(server.address, &authority, &[]);
    for _ in 0..100 {
        let (status, answer) = connection.ask(request.as_bytes()).expect("an answer");
        assert!(
            status == 200 && answer.contains("\"valid\":true"),
            "{status} {answer}"
        );
    }
    // Two requests at once are answered in order.
    let twice = [
        request.as_bytes(),
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ]
    .concat();
    assert_eq!(connection.ask(&twice).map(|answer| answer.0), Some(200));
    assert_eq!(connection.ask(b"").map(|answer| answer.0), Some(200));
}

//! Clients that are deliberately slow. The deadlines of the real executable are 10 s, so these tests take that long.

use std::io::{Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use super::{check_unharmed, question, verify_head};
use crate::support::{Connection, Received, Server};

/// Longer than the deadline of 10 s, with a margin for a machine that runs all tests at once.
const PATIENCE: Duration = Duration::from_secs(30);

fn connections(server: &Server, count: usize) -> Vec<Connection> {
    (0..count).map(|_| server.tcp().connect()).collect()
}

fn send_all(connections: &mut [Connection], bytes: &[u8]) {
    for connection in connections {
        connection.write_all(bytes).expect("the connection is open");
    }
}

#[track_caller]
fn check_timed_out(received: &Received) {
    let statuses = received.statuses();
    assert!(
        received.closed && matches!(statuses[..], [] | [408]),
        "{statuses:?}\n{}",
        received.text()
    );
}

// attacks 3
#[test]
fn bodies_that_never_come_are_given_up() {
    let server = Server::start();
    let mut waiting = connections(&server, 200);
    let head = format!("{}Content-Length: 100\r\n\r\n{{", verify_head(&server));
    send_all(&mut waiting, head.as_bytes());
    server.assert_alive();
    let deadline = Instant::now() + PATIENCE;
    for connection in &mut waiting {
        check_timed_out(&connection.receive(deadline.saturating_duration_since(Instant::now())));
        if Instant::now() < deadline - Duration::from_secs(22) {
            server.assert_alive();
        }
    }
    check_unharmed(&server);
}

// attacks 5
#[test]
fn trickled_headers_are_given_up() {
    let server = Server::start();
    let mut trickling = connections(&server, 500);
    send_all(&mut trickling, b"GET / HTTP/1.1\r\nX-Slow: ");
    let deadline = Instant::now() + PATIENCE;
    server.assert_alive();
    thread::sleep(Duration::from_secs(4));
    send_all(&mut trickling, b"a");
    server.assert_alive();
    for connection in &mut trickling {
        let received = connection.receive(deadline.saturating_duration_since(Instant::now()));
        check_timed_out(&received);
    }
    check_unharmed(&server);
}

// attacks 33: many answers rather than one large one, so that no buffer of the kernel can hold them
#[test]
fn a_client_that_hardly_reads_is_cut_off() {
    let server = Server::start();
    let body = question(&server);
    let request = format!(
        "{}Content-Length: {}\r\n\r\n{body}",
        verify_head(&server),
        body.len()
    );
    let mut connection = server.tcp().connect();
    connection.set_write_timeout(Duration::from_secs(2));
    assert!(
        connection
            .write_all(request.repeat(200_000).as_bytes())
            .is_err(),
        "the whole flood was taken"
    );

    connection.set_write_timeout(Duration::from_millis(10));
    let deadline = Instant::now() + 2 * PATIENCE;
    loop {
        // The client reads one byte a second; a write fails once the connection has been reset.
        let _ = connection.read(&mut [0]);
        match connection.write(b"x") {
            Err(err) if err.kind() != std::io::ErrorKind::WouldBlock => break,
            _ => assert!(Instant::now() < deadline, "still connected"),
        }
        server.assert_alive();
        thread::sleep(Duration::from_secs(1));
    }
    check_unharmed(&server);
}

//! Clients that are deliberately slow. The deadlines of the real executable are 10 s, so these tests take that long.

use std::io::{Read, Write};
use std::time::Duration;

use super::{check_unharmed, question, verify_head};
use crate::support::{Connection, Received, Server, wait};

/// Shorter than the deadline.
const SOON: Duration = Duration::from_secs(8);

fn connections(server: &Server, count: usize) -> Vec<Connection> {
    (0..count).map(|_| server.tcp().connect()).collect()
}

/// On a busy machine the server may have closed some of the connections already.
fn send_all(connections: &mut [Connection], bytes: &[u8]) {
    for connection in connections {
        let _ = connection.write_all(bytes);
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
    let head = format!("{}Content-Length: 100\r\n\r\n{{", verify_head(&server));
    // Others are answered while these connections wait.
    let mut waiting = wait::quick_run(SOON, || {
        let mut waiting = connections(&server, 200);
        send_all(&mut waiting, head.as_bytes());
        for _ in 0..10 {
            server.assert_alive();
        }
        waiting
    });
    for connection in &mut waiting {
        check_timed_out(&connection.receive(wait::PATIENCE));
    }
    check_unharmed(&server);
}

// attacks 5
#[test]
fn trickled_headers_are_given_up() {
    let server = Server::start();
    let mut trickling = wait::quick_run(SOON, || {
        let mut trickling = connections(&server, 500);
        send_all(&mut trickling, b"GET / HTTP/1.1\r\nX-Slow: ");
        server.assert_alive();
        wait::pause(Duration::from_secs(4));
        send_all(&mut trickling, b"a");
        server.assert_alive();
        trickling
    });
    for connection in &mut trickling {
        check_timed_out(&connection.receive(wait::PATIENCE));
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
    wait::until("the connection was reset", || {
        // The client reads one byte a second; a write fails once the connection has been reset.
        let _ = connection.read(&mut [0]);
        if let Err(err) = connection.write(b"x")
            && err.kind() != std::io::ErrorKind::WouldBlock
        {
            return true;
        }
        server.assert_alive();
        wait::pause(Duration::from_secs(1));
        false
    });
    check_unharmed(&server);
}

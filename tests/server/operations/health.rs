//! `latchkey health`: the check of a container.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use crate::command_line::Line;
use crate::notices::receivers::dripping;
use crate::support::refusal::{self, Ended};
use crate::support::{Server, executable, fresh_folder};

#[test]
fn health_asks_the_server_and_ends_with_what_it_answers() {
    let mut server = Server::start();
    let line = Line::of(&server);
    for args in [&["health"][..], &["health", "--write"]] {
        assert_eq!(line.ok(args).trim(), "healthy");
    }
    // Without the database nothing can be changed, and verification goes on.
    let database = server.data.join("latchkey.db");
    let away = server.data.join("away.db");
    fs::rename(&database, &away).unwrap();
    crate::faults::wait_for_readiness(&server, 503);
    assert_eq!(line.ok(&["health"]).trim(), "healthy");
    let refused = line.run(&["health", "--write"]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(
        refused
            .stderr
            .contains("not healthy: the server answered 503"),
        "{refused:?}"
    );
    fs::rename(&away, &database).unwrap();

    // Without a socket, the address that the user names is asked over TCP.
    let folder = fresh_folder();
    let over_tcp = |address: &str| over_tcp(&folder, address);
    let address = server.address.to_string();
    let asked = over_tcp(&address);
    assert_eq!(
        (asked.code, asked.stdout.trim()),
        (Some(0), "healthy"),
        "{asked:?}"
    );

    server.stop();
    over_tcp(&address).expect_refused(&["not healthy", "does not answer"]);
    let stopped = line.run(&["health", "--listen", &address]);
    assert_eq!(stopped.code, Some(1), "{stopped:?}");
    // It has made nothing.
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
    let _ = fs::remove_dir_all(folder);
}

/// Asks a server of which there is no socket.
fn over_tcp(folder: &Path, address: &str) -> Ended {
    let mut command = executable(None);
    command.args(["health", "--data"]).arg(folder);
    refusal::ended(command.env("LATCHKEY_LISTEN", address))
}

/// A program that gives every request the same answer.
fn answering(answer: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let (mut received, mut piece) = (Vec::new(), [0; 4096]);
            while !received.ends_with(b"\r\n\r\n") {
                match stream.read(&mut piece) {
                    Ok(length @ 1..) => received.extend(&piece[..length]),
                    _ => break,
                }
            }
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    address
}

#[test]
fn another_program_is_not_healthy() {
    let folder = fresh_folder();
    for (address, words) in [
        (
            answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
            "is not latchkey",
        ),
        (
            answering("HTTP/1.1 503 x\r\nContent-Length: 10\r\n\r\n\x1b]0;x\x07\n!\u{9b}"),
            "answered 503",
        ),
        (answering("SSH-2.0-x\r\n"), "does not answer"),
        // Every byte comes within the timeout of a read.
        (dripping(b"HTTP/1.1 200 OK\r\n\r\n"), "does not answer"),
    ] {
        let ended = over_tcp(&folder, &address.to_string());
        ended.expect_refused(&["not healthy", words]);
        let said = ended.stderr.trim_end();
        assert!(!said.contains(char::is_control), "{said:?}");
    }
    // An address that was not named is not asked.
    let mut command = executable(None);
    command.args(["health", "--data"]).arg(&folder);
    let ended = refusal::ended(command.env_remove("LATCHKEY_LISTEN"));
    ended.expect_refused(&["not healthy", "the socket"]);
    assert!(!ended.stderr.contains("127.0.0.1"), "{ended:?}");
    let _ = fs::remove_dir_all(folder);
}

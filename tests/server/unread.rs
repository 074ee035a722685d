//! Clients that do not read their answers, or do not complete their requests: the memory for them is limited and
//! returned, and their connections are closed if others need the slots.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rustix::net::sockopt::set_socket_recv_buffer_size;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};
use serde_json::json;

use crate::support::{Server, together, wait};

const MIB: u64 = 1 << 20;

/// A connection whose client side buffers almost nothing.
fn narrow(address: SocketAddr) -> TcpStream {
    // Otherwise a server that another test starts meanwhile has these sockets too, and no descriptor left for itself.
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).unwrap();
    set_socket_recv_buffer_size(&socket, 2304).unwrap();
    connect(&socket, &address).unwrap();
    TcpStream::from(socket)
}

/// Sends a request on so many connections and reads only the status of each answer; the status is empty if there is no
/// answer.
fn ask_and_not_read(server: &Server, count: usize, request: &str) -> Vec<(TcpStream, String)> {
    let mut asked: Vec<TcpStream> = (0..count)
        .map(|_| {
            let mut stream = narrow(server.address);
            stream.write_all(request.as_bytes()).unwrap();
            stream
        })
        .collect();
    let mut statuses = asked.iter_mut().map(|stream| {
        let mut start = [0; 12];
        stream.set_read_timeout(Some(wait::PATIENCE)).unwrap();
        let read = stream.read_exact(&mut start);
        read.map_or_else(
            |_| String::new(),
            |()| String::from_utf8_lossy(&start[9..]).into_owned(),
        )
    });
    let statuses: Vec<String> = statuses.by_ref().collect();
    asked.into_iter().zip(statuses).collect()
}

/// Waits until the server uses no more than so much memory.
#[track_caller]
fn check_given_back(server: &Server, bytes: u64) {
    wait::until(&format!("{} MiB are in use", bytes / MIB), || {
        server.resident_bytes() <= bytes
    });
}

// finding H2
#[test]
fn answers_that_all_clients_share_are_in_memory_once() {
    let server = Server::start();
    let get = format!(
        "GET /v1/openapi.json HTTP/1.1\r\nHost: {}\r\n",
        server.address
    );
    // The first request assembles the document.
    server
        .call("GET", "/v1/openapi.json", &[], None)
        .expect(200);
    let before = server.resident_bytes();
    for more in ["", "Connection: close\r\n"] {
        // The server cuts off clients that read nothing for ten seconds. 64 requests of one network may wait for a thread.
        let request = format!("{get}{more}\r\n");
        let asked: Vec<_> = wait::quick_run(Duration::from_secs(8), || {
            let groups = (0..8).flat_map(|_| ask_and_not_read(&server, 50, &request));
            groups.collect()
        });
        assert!(asked.iter().all(|(_, status)| status == "200"));
        let grown = server.resident_bytes().saturating_sub(before);
        assert!(grown < 24 * MIB, "{} MiB for 400 clients", grown / MIB);
        server.assert_alive();
        drop(asked);
    }
}

// finding H2
#[test]
fn answers_of_their_own_are_bounded_in_sum_and_verdicts_are_not() {
    let server = Server::start();
    let note = "x".repeat(4000);
    together(4, |thread| {
        for number in 0..40 {
            let name = format!("k{thread}-{number}");
            server
                .admin()
                .issue(json!({ "name": name, "metadata": { "note": note } }));
        }
    });
    let get = format!(
        "GET /v1/keys?limit=500 HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n\r\n",
        server.address, server.management_key
    );
    let list = server.admin().get("/v1/keys?limit=500").expect(200);
    let bytes = list.text().len() as u64;
    assert!(bytes > 600_000, "{bytes} bytes in a list");
    let before = server.resident_bytes();

    let asked = ask_and_not_read(&server, 250, &get);

    let refused = asked.iter().filter(|(_, status)| status == "503").count();
    assert!(refused > 0, "250 lists of {bytes} bytes wait");
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 110 * MIB, "{} MiB", grown / MIB);
    server.assert_alive();
    server.local().get("/healthz").expect(200);
    drop(asked);
    check_given_back(&server, before + 32 * MIB);
    server.admin().get("/v1/keys?limit=500").expect(200);
}

// finding H2
#[test]
fn memory_of_bodies_that_never_came_is_given_back() {
    let server = Server::start();
    let before = server.resident_bytes();
    let head = format!(
        "POST /v1/verify HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: 65536\r\n\r\n",
        server.address
    );
    let part = head + &"{".repeat(60_000);
    let held: Vec<TcpStream> = (0..900)
        .map(|_| {
            let mut stream = TcpStream::connect(server.address).unwrap();
            stream.set_nonblocking(true).unwrap();
            let _ = stream.write(part.as_bytes());
            stream
        })
        .collect();
    server.assert_alive();
    drop(held);
    check_given_back(&server, before + 20 * MIB);
}

// finding H3; RLIMIT_NOFILE 96 allows 32 connections
#[test]
fn clients_that_do_not_read_give_way_to_others() {
    let server = Server::start_limited(96);
    let many = format!("GET /healthz HTTP/1.1\r\nHost: {}\r\n\r\n", server.address).repeat(20_000);
    // Each of these clients has 10 s to read something, or one second if others wait for a slot.
    wait::quick_run(Duration::from_secs(7), || {
        let held: Vec<TcpStream> = (0..60)
            .map(|_| {
                let mut stream = narrow(server.address);
                stream.set_nonblocking(true).unwrap();
                let _ = stream.write(many.as_bytes());
                stream
            })
            .collect();
        server.local().get("/healthz").expect(200);
        server.anonymous().get("/healthz").expect(200);
        drop(held);
    });
    server.assert_alive();
}

// finding H4
#[test]
fn a_new_client_never_gives_way_to_another_while_slow_ones_are_there() {
    let server = Server::start_limited(96);
    let slow: Vec<TcpStream> = (0..24)
        .map(|_| {
            let mut stream = TcpStream::connect(server.address).unwrap();
            stream
                .write_all(b"GET /healthz HTTP/1.1\r\nHost: ")
                .unwrap();
            stream
        })
        .collect();
    wait::pause(Duration::from_millis(1300));
    // Several clients at once, but fewer than the slow ones.
    together(8, |_| {
        server.anonymous().get("/healthz").expect(200);
    });
    drop(slow);
}

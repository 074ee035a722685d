//! Socket activation: while the server is killed and restarted, clients wait and no connection is refused.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};

use super::{init, serve_on};
use crate::support::{fresh_folder, wait};

/// The result of one request on a new connection.
#[derive(Debug, Eq, PartialEq)]
enum End {
    Answered,
    /// The connection was established, and ended before its answer.
    CutOff,
    Refused,
    Wrong(String),
}

fn ask(address: SocketAddr, secret: &str) -> End {
    let mut stream = match TcpStream::connect(address) {
        Ok(stream) => stream,
        Err(err) if err.kind() == ErrorKind::ConnectionRefused => return End::Refused,
        Err(err) => return End::Wrong(err.to_string()),
    };
    let patience = Some(wait::PATIENCE);
    stream.set_read_timeout(patience).expect("a time");
    let request = format!(
        "GET /auth/nginx HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {secret}\r\nConnection: close\r\n\r\n"
    );
    let mut answer = Vec::new();
    let sent = stream.write_all(request.as_bytes());
    let read = stream.read_to_end(&mut answer);
    if answer.starts_with(b"HTTP/1.1 200 ") {
        End::Answered
    } else if answer.is_empty() && (sent.is_err() || read.is_ok() || is_reset(&read)) {
        End::CutOff
    } else {
        End::Wrong(format!(
            "{sent:?} {read:?} {}",
            String::from_utf8_lossy(&answer)
        ))
    }
}

fn is_reset(read: &std::io::Result<usize>) -> bool {
    let kind = read.as_ref().err().map(std::io::Error::kind);
    matches!(
        kind,
        Some(ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
    )
}

// attacks 255
#[test]
fn no_connection_is_refused_while_the_server_is_started_anew() {
    let folder = fresh_folder();
    let (data, log) = (folder.join("data"), folder.join("log"));
    let made = init(&data);
    let secret = made["management_key"].as_str().expect("a secret");
    let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = socket.local_addr().expect("an address");

    let stop = AtomicBool::new(false);
    let (answered, cut_off) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        let mut clients = Vec::new();
        for _ in 0..4 {
            clients.push(scope.spawn(|| {
                while !stop.load(SeqCst) {
                    match ask(address, secret) {
                        End::Answered => answered.fetch_add(1, SeqCst),
                        End::CutOff => cut_off.fetch_add(1, SeqCst),
                        other => {
                            stop.store(true, SeqCst);
                            panic!(
                                "{other:?}\n{}",
                                fs::read_to_string(&log).unwrap_or_default()
                            );
                        }
                    };
                }
            }));
        }
        let wait_for_answers = |count: usize| {
            let enough = answered.load(SeqCst) + count;
            wait::until("enough requests were answered", || {
                answered.load(SeqCst) >= enough || stop.load(SeqCst)
            });
        };
        let mut restarts_cut_off = Vec::new();
        for signal in [Signal::KILL, Signal::TERM, Signal::KILL, Signal::TERM] {
            let mut server = serve_on(&socket, &data, &log, &[]);
            wait_for_answers(200);
            let before = cut_off.load(SeqCst);
            let pid = Pid::from_raw(server.id() as i32).expect("a process id");
            kill_process(pid, signal).expect("it takes signals");
            server.wait().expect("it ends");
            restarts_cut_off.push((signal, cut_off.load(SeqCst) - before));
        }
        // Clients that connected while no server ran are answered by the next one.
        let mut last = serve_on(&socket, &data, &log, &[]);
        wait_for_answers(100);
        stop.store(true, SeqCst);
        for client in clients {
            client.join().expect("the client ends");
        }
        last.kill().expect("it can be killed");
        last.wait().expect("it ends");
        // A normal shutdown completes the requests that have begun; a kill cannot.
        for (signal, cut) in restarts_cut_off {
            assert!(
                signal == Signal::KILL || cut == 0,
                "{signal:?}: {cut} cut off"
            );
            assert!(cut <= 4, "{signal:?}: {cut} cut off");
        }
    });
    let _ = fs::remove_dir_all(folder);
}

#[test]
fn a_socket_that_other_machines_reach_needs_tls_or_leave() {
    let folder = fresh_folder();
    let (data, log) = (folder.join("data"), folder.join("log"));
    init(&data);
    let socket = TcpListener::bind("0.0.0.0:0").expect("a port");
    let status = serve_on(&socket, &data, &log, &[]).wait().expect("it ends");
    assert_eq!(status.code(), Some(1));
    let said = fs::read_to_string(&log).expect("a log");
    assert!(said.contains("is reached by other machines"), "{said}");
    let _ = fs::remove_dir_all(folder);
}

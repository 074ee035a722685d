//! The process: signals, a second instance, the Unix socket, its memory.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use super::{check_unharmed, question, verify_head};
use crate::support::wait::{self, Stopwatch};
use crate::support::{Server, executable, fresh_folder, refusal};

/// An unprivileged user who owns no files.
const NOBODY: u32 = 65534;

/// A server that shuts down may close a connection without an answer if it reads no request from it for this time.
const SOON: Duration = Duration::from_millis(250);

/// Sends requests on one connection until an answer announces the end of the connection. Returns `false` if a request
/// had no answer although it came soon after the previous one, and neither this client nor the server stood still.
fn ask_until_told_to_stop(server: &Server, is_running: &AtomicBool) -> bool {
    let body = question(server);
    let request = format!(
        "{}Content-Length: {}\r\n\r\n{body}",
        verify_head(server),
        body.len()
    );
    let mut connection = server.tcp().connect();
    let mut asked = Stopwatch::start();
    loop {
        let previous = std::mem::replace(&mut asked, Stopwatch::start());
        let sent = connection.write_all(request.as_bytes());
        let Some(response) = sent.ok().and_then(|()| connection.receive_one()) else {
            return previous.time() > SOON;
        };
        assert_eq!(response.status, 200, "{}", response.exchange());
        is_running.store(true, Relaxed);
        if response.header("connection") == Some("close") {
            return true;
        }
    }
}

/// The owner of the files in /proc of a program that waits for its input, and its limit of core dumps.
fn seen_from_outside(program: &Path) -> (u32, String) {
    let mut command = Command::new(program);
    command
        .args(["scan", "-"])
        .env("HOME", "/nonexistent")
        .stdin(Stdio::piped())
        .stdout(Stdio::null());
    if rustix::process::geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    let mut child = command.spawn().unwrap();
    let folder = PathBuf::from(format!("/proc/{}", child.id()));
    // A pipe holds less than this, so that afterwards the program reads its input.
    let input = child.stdin.as_mut().unwrap();
    input.write_all(&[b'\n'; 1 << 20]).unwrap();
    let owner = fs::metadata(folder.join("environ")).unwrap().uid();
    let limits = fs::read_to_string(folder.join("limits")).unwrap();
    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"));
    let core = core.unwrap().split_whitespace().nth(5).unwrap().to_owned();
    drop(child.stdin.take());
    child.wait().unwrap();
    (owner, core)
}

// finding L4
#[test]
fn the_memory_of_every_command_is_closed_to_its_user_and_to_core_dumps() {
    // A copy in a folder from which any user may run it.
    let program = std::env::temp_dir().join(format!("latchkey-closed-{}", std::process::id()));
    fs::copy(env!("CARGO_BIN_EXE_latchkey"), &program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let seen = seen_from_outside(&program);
    fs::remove_file(&program).unwrap();
    assert_eq!(
        seen,
        (0, "0".to_owned()),
        "owner of /proc/PID, hard limit of core dumps"
    );
}

// attacks 43
#[test]
fn sigterm_under_load_loses_no_request() {
    let mut server = Server::start();
    let is_running: [AtomicBool; 8] = Default::default();
    thread::scope(|scope| {
        let clients: Vec<_> = is_running
            .iter()
            .map(|flag| scope.spawn(|| ask_until_told_to_stop(&server, flag)))
            .collect();
        wait::until("each client has an answer", || {
            is_running.iter().all(|flag| flag.load(Relaxed))
        });
        server.signal(Signal::TERM);
        for client in clients {
            assert!(
                client.join().expect("the client ends"),
                "a request was not answered"
            );
        }
    });
    let status = server.wait();
    assert!(status.success(), "{status}\n{}", server.log());

    server.restart();
    check_unharmed(&server);
}

// attacks 43 and 248
#[test]
fn signals_that_are_no_end_leave_the_server_alone() {
    let server = Server::start();
    server.signal(Signal::HUP);
    server.signal(Signal::PIPE);
    server.signal(Signal::STOP);
    server.signal(Signal::CONT);
    check_unharmed(&server);
}

// attacks 248
#[test]
fn a_second_interrupt_ends_at_once() {
    let mut server = Server::start();
    let mut waiting = server.tcp().connect();
    let head = format!("{}Content-Length: 100\r\n\r\n{{", verify_head(&server));
    waiting
        .write_all(head.as_bytes())
        .expect("the connection is open");
    server.assert_alive();
    server.signal(Signal::INT);
    let early = waiting.receive(Duration::from_secs(2));
    assert!(!early.closed, "a request in flight was cut off");
    server.signal(Signal::INT);
    server.wait();
    // Without the second signal, the body would have been refused with 408 before the end, or cut off with a log line.
    assert_eq!(waiting.receive(wait::PATIENCE).text(), "");
    let log = server.log();
    assert!(!log.contains("did not end in time"), "{log}");
}

// attacks 44
#[test]
fn a_second_instance_is_refused() {
    let server = Server::start();
    let same_port = fresh_folder();
    let address = server.address.to_string();
    for (folder, listen) in [
        (same_port.join("data"), address.as_str()),
        (server.data.clone(), "127.0.0.1:0"),
    ] {
        let mut command = executable(None);
        command.args(["serve", "--data"]).arg(&folder);
        let second = refusal::ended(command.args(["--listen", listen]));
        assert!(second.code.is_some_and(|code| code != 0), "{second:?}");
        assert!(!second.stderr.is_empty(), "it ended without a word");
    }
    let _ = fs::remove_dir_all(same_port);
    check_unharmed(&server);
}

// attacks 45, 135
#[test]
fn the_unix_socket_outlives_a_crash_and_is_tidied_up() {
    let mut server = Server::start();
    let socket = server.socket.clone();
    let mode = fs::metadata(&socket)
        .expect("the socket is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(
        server.local().verify(json!({ "key": server.secret }))["valid"],
        true
    );

    server.kill9();
    assert!(socket.exists(), "a crash leaves the socket behind");
    server.restart();
    assert_eq!(
        server.local().verify(json!({ "key": server.secret }))["valid"],
        true
    );
    check_unharmed(&server);

    assert!(server.stop().is_some_and(|status| status.success()));
    assert!(!socket.exists(), "an orderly stop removes the socket");
}

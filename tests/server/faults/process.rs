//! Limits of the process, and closed or full outputs.

use std::fs::File;
use std::io::Write;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::support::{Address, Server, User, executable, wait};

// attacks 243
#[test]
fn a_server_of_64_descriptors_bears_200_connections() {
    let server = Server::start_limited(64);
    let waiting: Vec<_> = (0..200).map(|_| server.tcp().connect()).collect();
    server.assert_alive();
    let issued = server.admin().issue(json!({ "name": "through the crowd" }));
    server.admin().get("/v1/keys").expect(200);
    assert_eq!(server.admin().verdict(&issued.secret), "VALID");
    drop(waiting);
    server.assert_alive();
}

/// Starts a server on the folder of a stopped one, and waits until it answers at the socket.
#[track_caller]
fn serve_again(server: &Server, command: &mut Command) -> Child {
    let child = command
        .args(["serve", "--listen", "127.0.0.1:0", "--data"])
        .arg(&server.data)
        .stdin(Stdio::null())
        .spawn()
        .expect("it can be started");
    wait::until("the server is ready", || {
        let answer = local(server).try_call("GET", "/readyz", None);
        answer.is_some_and(|answer| answer.status == 200)
    });
    child
}

fn local(server: &Server) -> User {
    User::new(Address::Unix(server.socket.clone()))
}

/// Checks that the server verifies, changes keys, writes to the log, and shuts down in order.
#[track_caller]
fn check_works(server: &Server, mut child: Child) {
    let pid = Pid::from_child(&child);
    for _ in 0..5 {
        kill_process(pid, Signal::HUP).expect("it runs"); // causes a line in the log
    }
    let admin = local(server).bearer(&server.management_key);
    let issued = admin.issue(json!({ "name": "unheard" }));
    assert_eq!(admin.verdict(&issued.secret), "VALID");
    kill_process(pid, Signal::TERM).expect("it runs");
    let status = wait::some("the server has ended", || {
        child.try_wait().expect("it can be waited for")
    });
    assert!(status.success(), "{status}");
}

// attacks 247
#[test]
fn closed_outputs_stop_nothing() {
    let mut server = Server::start();
    server.stop();
    let mut shell = Command::new("sh");
    shell.args([
        "-c",
        "exec \"$0\" \"$@\" >&- 2>&-",
        env!("CARGO_BIN_EXE_latchkey"),
    ]);
    let child = serve_again(&server, &mut shell);
    check_works(&server, child);
}

// attacks 247
#[test]
fn outputs_whose_reader_has_gone_stop_nothing() {
    let mut server = Server::start();
    server.stop();
    let (out, err) = (
        std::io::pipe().expect("a pipe"),
        std::io::pipe().expect("a pipe"),
    );
    drop((out.0, err.0));
    let child = serve_again(&server, executable(None).stdout(out.1).stderr(err.1));
    check_works(&server, child);
}

// attacks 247
#[test]
fn a_log_that_nobody_reads_stops_nothing() {
    let mut server = Server::start();
    server.stop();
    let (unread, mut full) = std::io::pipe().expect("a pipe");
    full.write_all(&[b'x'; 65536])
        .expect("as much as a pipe holds");
    let nowhere = File::options()
        .write(true)
        .open("/dev/null")
        .expect("/dev/null is there");
    let child = serve_again(&server, executable(None).stdout(nowhere).stderr(full));
    check_works(&server, child);
    drop(unread);
}

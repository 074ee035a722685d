//! Integration with systemd, whose part these tests play: sockets that stay open without the server, notifications, and
//! credentials.

mod activation;
mod credentials;
mod notify;

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::support::executable;

/// Runs `latchkey serve` on an initialised folder, with this socket as descriptor 3, as systemd passes it.
fn serve_on(socket: &TcpListener, data: &Path, log: &Path, more: &[&str]) -> Child {
    let handed = OwnedFd::from(socket.try_clone().expect("a descriptor"));
    let log = std::fs::File::options()
        .create(true)
        .append(true)
        .open(log)
        .expect("the log can be opened");
    let script = "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" serve \"$@\"";
    Command::new("sh")
        .args(["-c", script])
        .arg(executable(None).get_program())
        .arg("--data")
        .arg(data)
        .args(more)
        .stdin(Stdio::from(handed))
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("it can be started")
}

/// Initialises a folder and returns the output of `init --json`.
fn init(data: &Path) -> serde_json::Value {
    let output = executable(None)
        .args(["init", "--json", "--data"])
        .arg(data)
        .output()
        .expect("it can be started");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|err| panic!("{err}: {output:?}"))
}

//! `openssl s_client` as a client that keeps its connection open.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use super::authority::Authority;

/// An open connection after a successful handshake.
pub struct TlsConnection {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

/// The output of one handshake, from both streams.
pub fn shake_hands(address: SocketAddr, authority: &Authority, more: &[&str]) -> String {
    let output = s_client(address, authority, more)
        .stdin(Stdio::null())
        .output()
        .expect("openssl can be started");
    [output.stdout, output.stderr]
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .concat()
}

fn s_client(address: SocketAddr, authority: &Authority, more: &[&str]) -> Command {
    let mut command = Command::new("openssl");
    command
        .args(["s_client", "-verify_return_error", "-connect"])
        .arg(address.to_string())
        .arg("-CAfile")
        .arg(authority.certificate())
        .args(more);
    command
}

impl TlsConnection {
    pub fn open(address: SocketAddr, authority: &Authority, more: &[&str]) -> TlsConnection {
        let mut child = s_client(address, authority, more)
            .args(["-quiet", "-no_ign_eof", "-nocommands"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl can be started");
        let stdin = child.stdin.take().expect("a pipe");
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        TlsConnection {
            child,
            stdin,
            stdout,
        }
    }

    /// Sends bytes and reads one answer: its status and its body. `None` if the connection has ended.
    pub fn ask(&mut self, bytes: &[u8]) -> Option<(u16, String)> {
        self.stdin.write_all(bytes).ok()?;
        self.stdin.flush().ok()?;
        let mut line = String::new();
        self.stdout.read_line(&mut line).ok()?;
        let status = line.split(' ').nth(1)?.parse().ok()?;
        let mut length = 0;
        loop {
            let mut line = String::new();
            self.stdout.read_line(&mut line).ok()?;
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
            if line.trim().is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        self.stdout.read_exact(&mut body).ok()?;
        Some((status, String::from_utf8_lossy(&body).into_owned()))
    }

    /// The status of `GET /healthz`.
    pub fn ask_health(&mut self) -> Option<u16> {
        let answer = self.ask(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
        answer.map(|(status, _)| status)
    }
}

impl Drop for TlsConnection {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The fingerprint of the certificate that a server presents.
pub fn shown_fingerprint(address: SocketAddr, authority: &Authority) -> String {
    let said = shake_hands(address, authority, &["-showcerts"]);
    let begin = said
        .find("-----BEGIN")
        .unwrap_or_else(|| panic!("no certificate: {said}"));
    let path = authority.folder.join("shown.pem");
    std::fs::write(&path, &said[begin..]).expect("it can be written");
    super::authority::fingerprint(Path::new(&path))
}

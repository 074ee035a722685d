//! The sink `syslog`, with a strict reader of RFC 5424, over a Unix socket, TCP and TLS.

use super::receivers::{certificate, reading};
use super::{notable, sink};
use crate::support::{Server, fresh_folder, wait};
use regex_lite::Regex;
use rustls::{ServerConnection, StreamOwned};
use serde_json::Value;
use std::fs;
use std::io::Read;
use std::net::{Shutdown, TcpListener};
use std::os::unix::net::UnixDatagram;
use std::sync::{Arc, Mutex};
use std::thread;

/// A message, as far as the tests look at it.
#[derive(Debug)]
struct Message {
    priority: u16,
    id: String,
    body: Value,
}

/// Reads a message as the grammar of RFC 5424, section 6, has it; there is no structured data.
fn parsed(text: &str) -> Message {
    let grammar = r"^<(0|[1-9][0-9]{0,2})>1 [0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?Z [!-~]{1,255} ([!-~]{1,48}) ([!-~]{1,128}) ([!-~]{1,32}) - (.*)$";
    let found = Regex::new(grammar).unwrap();
    let found = found
        .captures(text)
        .unwrap_or_else(|| panic!("this is not RFC 5424: {text:?}"));
    assert_eq!(&found[3], "latchkey");
    found[4].parse::<u32>().expect("a process id");
    let priority = found[1].parse().unwrap();
    assert!(priority <= 191, "{text}");
    Message {
        priority,
        id: found[5].to_owned(),
        body: serde_json::from_str(&found[6]).expect("JSON"),
    }
}

/// Takes complete messages off a stream with octet counting (RFC 6587, section 3.4.1).
fn framed(bytes: &[u8]) -> Vec<Message> {
    let mut rest = bytes;
    let mut found = Vec::new();
    while let Some(blank) = rest.iter().position(|byte| *byte == b' ') {
        let length = std::str::from_utf8(&rest[..blank]).unwrap();
        assert!(!length.starts_with('0'), "{length}");
        let length: usize = length.parse().expect("a length");
        let Some(text) = rest.get(blank + 1..blank + 1 + length) else {
            break;
        };
        found.push(parsed(std::str::from_utf8(text).unwrap()));
        rest = &rest[blank + 1 + length..];
    }
    found
}

#[test]
fn a_unix_socket_gets_whole_messages() {
    let folder = fresh_folder();
    let socket = UnixDatagram::bind(folder.join("log")).unwrap();
    socket.set_read_timeout(Some(wait::PATIENCE)).unwrap();
    let place = format!("unix:{}", folder.join("log").display());
    let server = Server::start_with(&["--notice-syslog", &place, "--audit-sinks", "syslog"], &[]);
    let uid = notable(&server.admin(), "alice");
    let mut buffer = vec![0; 65_536];
    let (mut has_notice, mut has_event) = (false, false);
    while !(has_notice && has_event) {
        let length = socket.recv(&mut buffer).unwrap();
        let message = parsed(std::str::from_utf8(&buffer[..length]).unwrap());
        has_event |= message.id == "audit";
        if message.id == "user.credentials_changed" {
            assert_eq!(message.priority, 85);
            assert_eq!(message.body["subject"], format!("user:{uid}"));
            has_notice = true;
        }
    }
    drop(server);
    let _ = fs::remove_dir_all(folder);
}

#[test]
fn a_connection_that_ends_is_opened_again_and_nothing_is_missing() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = format!("tcp:{}", listener.local_addr().unwrap());
    let server = Server::start_with(&["--notice-syslog", &place], &[]);
    let admin = server.admin();
    let has = |text: &Arc<Mutex<Vec<u8>>>, uid: &str| {
        let subject = format!("user:{uid}");
        let messages = framed(&text.lock().unwrap());
        messages
            .iter()
            .any(|message| message.body["subject"] == subject)
    };
    let first = notable(&admin, "alice");
    let (stream, text) = reading(&listener);
    wait::until("the first notice has arrived", || has(&text, &first));
    stream.shutdown(Shutdown::Both).unwrap();
    let second = notable(&admin, "bob");
    let (_stream, text) = reading(&listener);
    wait::until("the second notice has arrived", || has(&text, &second));
}

#[test]
fn tls_is_checked_against_the_authorities_that_are_named() {
    let folder = fresh_folder();
    let (pem, config) = certificate();
    let (own, other) = (folder.join("own.pem"), folder.join("other.pem"));
    fs::write(&own, pem).unwrap();
    fs::write(&other, certificate().0).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let place = format!("tls:localhost:{port}");
    let received: Arc<Mutex<Vec<u8>>> = Arc::default();
    let into = received.clone();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let session = ServerConnection::new(config.clone()).unwrap();
            let mut stream = StreamOwned::new(session, stream);
            let mut piece = [0; 4096];
            while let Ok(count @ 1..) = stream.read(&mut piece) {
                into.lock().unwrap().extend_from_slice(&piece[..count]);
            }
        }
    });
    let ca = |path: &std::path::Path| path.display().to_string();
    let mut server = Server::start_with(
        &["--notice-syslog", &place, "--notice-ca", &ca(&other)],
        &[],
    );
    let uid = notable(&server.admin(), "alice");
    wait::until("the certificate is refused", || {
        sink(&server, "syslog")["failures"].as_u64() > Some(0)
    });
    let why = sink(&server, "syslog")["reason"].to_string();
    assert!(why.contains("certificate"), "{why}");
    assert!(received.lock().unwrap().is_empty());
    server = server.with_args(&["--notice-syslog", &place, "--notice-ca", &ca(&own)]);
    server.restart();
    wait::until("the notice has arrived", || {
        let messages = framed(&received.lock().unwrap());
        let subject = format!("user:{uid}");
        messages
            .iter()
            .any(|message| message.body["subject"] == subject)
    });
    drop(server);
    let _ = fs::remove_dir_all(folder);
}

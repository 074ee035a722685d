//! `latchkey probe` without a proxy: whom it asks, whom it sends a key, and what it leaves behind. `tests/proxies` has
//! the real proxies.

use super::Line;
use crate::notices::receivers::{HANDSHAKE, dripping};
use crate::support::{Address, Server};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{Receiver, channel};

/// A server that gives every request the same answer, and passes on what it has received.
fn answering(answer: &'static str) -> (SocketAddr, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let (mut received, mut piece) = (Vec::new(), [0; 4096]);
            while !received.ends_with(b"\r\n\r\n") {
                match stream.read(&mut piece) {
                    Ok(length @ 1..) => received.extend(&piece[..length]),
                    _ => break,
                }
            }
            // A connection without a request only asked whether the proxy listens.
            if !received.is_empty() {
                let _ = sender.send(String::from_utf8_lossy(&received).into_owned());
                let _ = stream.write_all(answer.as_bytes());
            }
        }
    });
    (address, receiver)
}

/// The address at which this machine is reached as if it were another one.
fn as_another(address: SocketAddr) -> String {
    format!("0.0.0.0:{}", address.port())
}

const NOT_FOUND: &str = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
const AGREES: &str = "HTTP/1.1 200 OK\r\nContent-Length: 29\r\n\r\nlatchkey-probe orders.example";
const EVERYTHING: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn told(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| panic!("not JSON: {text}"))
}

fn state<'a>(told: &'a Value, check: &str) -> &'a str {
    let checks = told["checks"].as_array().unwrap();
    let found = checks.iter().find(|it| it["check"] == check);
    found.unwrap_or_else(|| panic!("no {check}: {told}"))["state"]
        .as_str()
        .unwrap()
}

#[test]
fn an_address_that_does_not_agree_is_not_probed() {
    let server = Server::start();
    let line = Line::of(&server);
    for answer in [NOT_FOUND, EVERYTHING] {
        let (address, received) = answering(answer);
        let elsewhere = as_another(address);
        let ran = line.run(&["probe", "http://orders.example/", "--connect", &elsewhere]);
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(
            ran.stderr.contains("latchkey-probe orders.example"),
            "{ran:?}"
        );
        assert!(ran.stdout.is_empty(), "{ran:?}");
        let asked: Vec<String> = received.try_iter().collect();
        assert_eq!(asked.len(), 1, "{asked:?}");
        assert!(
            asked[0].starts_with("GET /.well-known/latchkey-probe HTTP/1.1\r\n"),
            "{asked:?}"
        );
    }
}

#[test]
fn no_good_key_is_sent_to_another_machine_in_plain_text() {
    let server = Server::start();
    let line = Line::of(&server);
    let (address, received) = answering(AGREES);
    let elsewhere = as_another(address);
    let args = [
        "probe",
        "http://orders.example/",
        "--connect",
        &elsewhere,
        "--json",
    ];
    let before = line.ok(&["audit", "list"]);
    // The token allows the probe; everything that is sent is answered with 200, so the probe finds much.
    let ran = line.run(&args);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let report = told(&ran.stdout);
    assert_eq!(state(&report, "no-key"), "wrong");
    assert_eq!(state(&report, "good-key"), "not_checked");
    assert_eq!(line.ok(&["audit", "list"]), before, "a key was issued");

    let secret = line
        .ok(&["key", "issue", "mine", "--secret-only"])
        .trim()
        .to_owned();
    let file = line.data().join("probe-key");
    std::fs::write(&file, &secret).unwrap();
    let mut with_file = args.to_vec();
    with_file.extend(["--key-file", file.to_str().unwrap()]);
    let ran = line.run(&with_file);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.stderr.contains("--plain-http"), "{ran:?}");
    assert!(
        received
            .try_iter()
            .all(|request| !request.contains(&secret))
    );

    with_file.push("--plain-http");
    let ran = line.run(&with_file);
    assert_eq!(state(&told(&ran.stdout), "good-key"), "ok", "{ran:?}");
    assert!(received.try_iter().any(|request| request.contains(&secret)));
    assert!(!ran.stdout.contains(&secret), "{ran:?}");
}

#[test]
fn an_open_proxy_is_found_and_no_key_stays() {
    let server = Server::start();
    let line = Line::of(&server);
    let (address, received) = answering(EVERYTHING);
    let url = format!("http://{address}/orders");
    let before = line.ok(&["key", "list", "--json"]);
    let ran = line.run(&["probe", &url, "--json"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let report = told(&ran.stdout);
    assert_eq!(report["healthy"], false);
    for check in [
        "no-key",
        "bad-key",
        "head",
        "options",
        "path",
        "two-credentials",
        "forged-address",
        "limit",
        "deleted-key",
    ] {
        assert_eq!(state(&report, check), "wrong", "{check}");
    }
    assert_eq!(state(&report, "application"), "not_checked");
    // Nothing that changes an application was sent, and what was issued is gone.
    let methods: Vec<String> = received
        .try_iter()
        .map(|it| it.split(' ').next().unwrap().to_owned())
        .collect();
    assert!(methods.len() > 25, "{methods:?}");
    assert!(
        methods
            .iter()
            .all(|it| ["GET", "HEAD", "OPTIONS"].contains(&it.as_str())),
        "{methods:?}"
    );
    assert_eq!(line.ok(&["key", "list", "--json"]), before);
    // In the table each line is named once, and what is accepted is no failure.
    let ran = line.run(&["probe", &url, "--proxy", "nginx"]);
    let is_no_key = |line: &str| line.starts_with("WRONG ") && line.contains(" no key ");
    assert!(ran.stdout.lines().any(is_no_key), "{ran:?}");
    assert_eq!(
        ran.stdout.matches("auth_request /_latchkey/any;").count(),
        1,
        "{ran:?}"
    );
    let ran = line.run(&["probe", &url, "--stopped", "--accept", "stopped", "--json"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(state(&told(&ran.stdout), "stopped"), "accepted");
}

/// A server decides how many interim answers it sends, and how long its handshake takes.
#[test]
fn a_server_that_never_comes_to_its_answer_is_reported_and_no_key_stays() {
    let server = Server::start();
    let line = Line::of(&server);
    let before = line.ok(&["key", "list", "--json"]);
    let (address, _received) = answering("HTTP/1.1 100 Continue\r\n\r\n".repeat(60_000).leak());
    let ran = line.run(&["probe", &format!("http://{address}/orders"), "--json"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert_eq!(told(&ran.stdout)["healthy"], false);
    // A user who interrupts a probe knows what it leaves behind.
    assert!(ran.stderr.contains("latchkey key delete "), "{ran:?}");
    assert_eq!(line.ok(&["key", "list", "--json"]), before);

    let folder = crate::support::fresh_folder();
    let ca = folder.join("ca.pem");
    std::fs::write(&ca, crate::notices::receivers::certificate().0).unwrap();
    let url = format!("https://{}/orders", dripping(HANDSHAKE));
    let ran = line.run(&["probe", &url, "--ca", ca.to_str().unwrap()]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("cannot be reached"), "{ran:?}");
    let _ = std::fs::remove_dir_all(folder);
}

#[test]
fn what_cannot_be_probed_is_refused() {
    let mut server = Server::start();
    let line = Line::of(&server);
    for (args, code, words) in [
        (&["probe", "orders.example"][..], 2, "no URL"),
        (&["probe", "http://127.0.0.1/a//b"], 2, "no URL"),
        (
            &["probe", "http://127.0.0.1/", "--accept", "everything"],
            2,
            "everything",
        ),
        (
            &["probe", "http://127.0.0.1/", "--header", "a b"],
            2,
            "letters",
        ),
        (
            &["probe", "http://127.0.0.1/", "--echo", "debug"],
            2,
            "slash",
        ),
        (&["probe", "http://no-such-host.invalid/"], 1, "no address"),
        (&["probe", "http://127.0.0.1:1/"], 1, "cannot be reached"),
        (
            &["probe", "https://127.0.0.1:1/", "--ca", "/no/such/file"],
            1,
            "/no/such/file",
        ),
    ] {
        let ran = line.run(args);
        assert_eq!(ran.code, Some(code), "{ran:?}");
        assert!(ran.stderr.contains(words), "{words}: {ran:?}");
    }
    server.stop();
    let (address, received) = answering(EVERYTHING);
    let ran = line.run(&["probe", &format!("http://{address}/")]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("does not run"), "{ran:?}");
    assert_eq!(received.try_iter().count(), 0);
}

/// Over TLS, against the server itself: its own API asks for keys as an application behind a proxy does.
#[test]
fn tls_is_verified() {
    let folder = crate::support::fresh_folder();
    let (certificate, key) = (folder.join("c.pem"), folder.join("k.pem"));
    let made = crate::support::executable(None)
        .args(["tls", "self-signed", "--host", "localhost", "--certificate"])
        .arg(&certificate)
        .arg("--key")
        .arg(&key)
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let (certificate, key) = (certificate.to_str().unwrap(), key.to_str().unwrap());
    let server = Server::start_with(&["--tls-certificate", certificate, "--tls-key", key], &[]);
    let line = Line::of(&server);
    let Address::Tcp(address) = server.tcp() else {
        panic!("the server listens on TCP");
    };
    let port = address.port();
    let url = format!("https://localhost:{port}/v1/keys");
    let connect = address.to_string();
    let args = ["probe", &url, "--connect", &connect, "--json", "--ca"];
    let ran = line.run(&[&args[..], &[certificate]].concat());
    assert!(!ran.stdout.is_empty(), "{ran:?}");
    let report = told(&ran.stdout);
    for check in ["no-key", "bad-key", "malformed-key"] {
        assert_eq!(state(&report, check), "ok", "{ran:?}");
    }
    // Another name than that of the certificate, and authorities that do not know it.
    let wrong_name = url.replace("localhost", "other.example");
    let ran = line.run(&[
        "probe",
        &wrong_name,
        "--connect",
        &connect,
        "--ca",
        certificate,
    ]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("cannot be reached"), "{ran:?}");
    let _ = std::fs::remove_dir_all(folder);
}

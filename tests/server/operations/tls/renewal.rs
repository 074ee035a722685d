//! New certificates for a running server: connections stay open, and an invalid file keeps the old certificate in use.

use std::fs;

use rustix::process::Signal;

use super::authority::{Authority, fingerprint};
use super::client::{TlsConnection, shown_fingerprint};
use super::serve_with;

// attacks 254
#[test]
fn a_renewed_certificate_is_shown_and_connections_go_on() {
    let authority = Authority::new();
    let pair = authority.issue("server", 90);
    let server = serve_with(&pair, &[]);
    let first = fingerprint(&pair.0);
    assert_eq!(shown_fingerprint(server.address, &authority), first);
    let mut kept = TlsConnection::open(server.address, &authority, &[]);
    assert_eq!(kept.ask_health(), Some(200));

    authority.issue("server", 90);
    let second = fingerprint(&pair.0);
    server.signal(Signal::HUP);
    server.wait_for_log("SIGHUP: the settings were read again", 1);
    assert_eq!(shown_fingerprint(server.address, &authority), second);
    assert_eq!(kept.ask_health(), Some(200));

    // Without a signal, the server notices the change automatically.
    authority.issue("server", 90);
    let third = fingerprint(&pair.0);
    server.wait_for_log(&format!("the TLS certificate is {third} now"), 1);
    assert_eq!(shown_fingerprint(server.address, &authority), third);
    assert_eq!(kept.ask_health(), Some(200));

    // A key that belongs to another certificate, and an expired certificate.
    let other = authority.issue("other", 90);
    fs::copy(&other.1, &pair.1).expect("it can be copied");
    server.signal(Signal::HUP);
    server.wait_for_log("SIGHUP: all settings stay as they were", 1);
    assert!(
        server.log().contains("does not belong to the certificate"),
        "{}",
        server.log()
    );
    authority.issue("server", -1);
    server.signal(Signal::HUP);
    server.wait_for_log("SIGHUP: all settings stay as they were", 2);
    assert!(
        server.log().contains("server.pem ended at"),
        "{}",
        server.log()
    );
    fs::remove_file(&pair.0).expect("it can be removed");
    server.signal(Signal::HUP);
    server.wait_for_log("SIGHUP: all settings stay as they were", 3);
    assert_eq!(shown_fingerprint(server.address, &authority), third);
    assert_eq!(kept.ask_health(), Some(200));
}

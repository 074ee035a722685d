//! The supported versions and cipher suites, as testssl.sh would check them.

use super::authority::Authority;
use super::client::shake_hands;
use super::{serve_with, server};

#[track_caller]
fn check(said: &str, is_spoken: bool, what: &str) {
    let cipher = said.lines().find(|line| line.contains("Cipher is"));
    let cipher = cipher.unwrap_or_else(|| panic!("{what}: {said}"));
    assert_eq!(!cipher.contains("(NONE)"), is_spoken, "{what}: {said}");
}

#[test]
fn tls_1_2_and_1_3_are_spoken_and_nothing_older() {
    let authority = Authority::new();
    let server = server(&authority, &[]);
    for (version, is_spoken) in [
        ("-tls1", false),
        ("-tls1_1", false),
        ("-tls1_2", true),
        ("-tls1_3", true),
    ] {
        // Without this option the client itself would refuse old versions.
        let mut options = vec![version];
        if !is_spoken {
            options.extend(["-cipher", "ALL:@SECLEVEL=0"]);
        }
        check(
            &shake_hands(server.address, &authority, &options),
            is_spoken,
            version,
        );
    }
}

#[test]
fn suites_without_forward_secrecy_or_authenticated_encryption_are_refused() {
    let authority = Authority::new();
    let ec = server(&authority, &[]);
    let rsa = serve_with(&authority.issue_of("rsa", 90, &["rsa:2048"]), &[]);
    for (server, suite, is_spoken) in [
        (&ec, "ECDHE-ECDSA-AES128-GCM-SHA256", true),
        (&ec, "ECDHE-ECDSA-AES256-GCM-SHA384", true),
        (&ec, "ECDHE-ECDSA-CHACHA20-POLY1305", true),
        (&ec, "ECDHE-ECDSA-AES128-SHA", false),
        (&ec, "ECDHE-ECDSA-AES256-SHA384", false),
        (&ec, "ECDHE-ECDSA-AES128-CCM8", false),
        (&ec, "ECDHE-ECDSA-NULL-SHA", false),
        (&rsa, "ECDHE-RSA-AES128-GCM-SHA256", true),
        (&rsa, "ECDHE-RSA-AES128-SHA", false),
        (&rsa, "AES128-GCM-SHA256", false),
        (&rsa, "AES128-SHA", false),
        (&rsa, "DHE-RSA-AES128-GCM-SHA256", false),
        (&rsa, "NULL-SHA256", false),
        (&rsa, "AECDH-AES128-SHA", false),
    ] {
        let suites = format!("{suite}:@SECLEVEL=0");
        let said = shake_hands(server.address, &authority, &["-tls1_2", "-cipher", &suites]);
        check(&said, is_spoken, suite);
        if is_spoken {
            assert!(said.contains("Compression: NONE"), "{said}");
            assert!(said.contains("Secure Renegotiation IS supported"), "{said}");
        }
    }
}

#[test]
fn http_1_1_is_what_is_agreed_on() {
    let authority = Authority::new();
    let server = server(&authority, &[]);
    let said = shake_hands(server.address, &authority, &["-alpn", "h2,http/1.1"]);
    assert!(said.contains("ALPN protocol: http/1.1"), "{said}");
}

//! TLS files with which a start is refused, with helpful messages; and the certificate that Latchkey itself creates.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use super::authority::{Authority, fingerprint};
use super::client::shake_hands;
use super::{serve_with, text};
use crate::support::{executable, refusal};

// attacks 254
#[test]
fn files_that_no_client_could_use_stop_the_start() {
    let authority = Authority::new();
    let [(one, one_key), (_, other_key)] = ["one", "other"].map(|name| authority.issue(name, 90));
    let file = |name: &str, bytes: &[u8]| {
        let path = authority.folder.join(name);
        fs::write(&path, bytes).expect("it can be written");
        fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("the mode can be set");
        path
    };
    let open_key = file("open-key.pem", &fs::read(&one_key).expect("a key"));
    fs::set_permissions(&open_key, Permissions::from_mode(0o644)).expect("the mode can be set");
    let nothing = file("nothing.pem", b"");
    let garbage = file(
        "garbage.pem",
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    );
    let half = file("half.pem", &fs::read(&one).expect("a certificate")[..100]);
    let absent = authority.folder.join("absent.pem");
    let data = authority.folder.join("data");
    for (certificate, key, ca, words) in [
        (
            Some(&one),
            Some(&other_key),
            None,
            &[
                "other-key.pem does not belong to the certificate",
                "one.pem",
            ][..],
        ),
        (
            Some(&one),
            Some(&open_key),
            None,
            &["open-key.pem can be read by every user", "chmod o="],
        ),
        (Some(&one), Some(&one), None, &["can be read by every user"]),
        (
            Some(&one),
            Some(&nothing),
            None,
            &["nothing.pem holds no private key"],
        ),
        (
            Some(&nothing),
            Some(&one_key),
            None,
            &["nothing.pem holds no certificate"],
        ),
        (
            Some(&garbage),
            Some(&one_key),
            None,
            &["garbage.pem cannot be understood"],
        ),
        (Some(&half), Some(&one_key), None, &["half.pem"]),
        (
            Some(&absent),
            Some(&one_key),
            None,
            &["certificate", "absent.pem cannot be read"],
        ),
        (
            Some(&one),
            Some(&absent),
            None,
            &["key", "absent.pem cannot be read"],
        ),
        (
            Some(&one),
            Some(&one_key),
            Some(&nothing),
            &["nothing.pem holds no certificate"],
        ),
        (
            Some(&one),
            None,
            None,
            &["tls-certificate: it is of no use without --tls-key"],
        ),
        (
            None,
            Some(&one_key),
            None,
            &["of no use without --tls-certificate"],
        ),
        (
            None,
            None,
            Some(&one),
            &["of no use without --tls-certificate"],
        ),
    ] {
        for name in ["check-config", "quickstart"] {
            let mut command = executable(None);
            command
                .args([name, "--listen", "127.0.0.1:0", "--data"])
                .arg(&data);
            for (flag, path) in [
                ("--tls-certificate", certificate),
                ("--tls-key", key),
                ("--tls-client-ca", ca),
            ] {
                if let Some(path) = path {
                    command.arg(flag).arg(path);
                }
            }
            refusal::ended(&mut command).expect_refused(words);
        }
    }
}

#[test]
fn a_certificate_that_ends_soon_is_warned_about() {
    let authority = Authority::new();
    let soon = serve_with(&authority.issue("soon", 5), &[]);
    soon.wait_for_log("the TLS certificate ends in 4 days", 1);
    let over = serve_with(&authority.issue("over", -1), &[]);
    over.wait_for_log("the TLS certificate ended at", 1);
    let late = serve_with(&authority.issue("late", 90), &[]);
    assert!(
        !late.log().contains("the TLS certificate"),
        "{}",
        late.log()
    );
}

#[test]
fn a_self_signed_certificate_serves_and_its_fingerprint_is_told() {
    let authority = Authority::new();
    let (certificate, key) = (
        authority.folder.join("ca.pem"),
        authority.folder.join("own-key.pem"),
    );
    fs::remove_file(&certificate).expect("it is there");
    let make = || {
        let mut command = executable(None);
        command.args([
            "tls",
            "self-signed",
            "--json",
            "--host",
            "Keys.example",
            "--days",
            "90",
        ]);
        command
            .arg("--certificate")
            .arg(&certificate)
            .arg("--key")
            .arg(&key);
        refusal::ended(&mut command)
    };
    let made = make();
    assert_eq!(made.code, Some(0), "{made:?}");
    let told: Value = serde_json::from_str(&made.stdout).expect("JSON");
    assert_eq!(told["sha256"], fingerprint(&certificate));
    let mode = fs::metadata(&key)
        .expect("it is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);

    let server = serve_with(&(certificate.clone(), key.clone()), &[]);
    for name in ["keys.example", "localhost"] {
        let said = shake_hands(
            server.address,
            &authority,
            &["-verify_hostname", name, "-servername", name],
        );
        assert!(
            said.contains("Verify return code: 0 (ok)"),
            "{name}: {said}"
        );
    }
    let said = shake_hands(
        server.address,
        &authority,
        &["-verify_hostname", "other.example"],
    );
    assert!(said.contains("ostname mismatch"), "{said}");

    make().expect_refused(&["own-key.pem is there already and is left as it is"]);
    assert_eq!(
        told["sha256"],
        fingerprint(&certificate),
        "{}",
        text(&certificate)
    );
}

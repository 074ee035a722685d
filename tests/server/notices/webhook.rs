//! The sink `webhook`: the form of requests, the signature, and where they never go.

use super::receivers::{HANDSHAKE, Posted, Receiver, certificate, closed_address, dripping};
use super::{notable, sink};
use crate::command_line::Line;
use crate::support::{Server, executable, fresh_folder, wait};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::Ordering::SeqCst;

const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// The reference library, which `dev/python` installs.
const PACKAGE: &str = "standardwebhooks==1.0.0";

/// Writes the key into a private file.
fn key_file(folder: &Path) -> String {
    let path = folder.join("key");
    fs::write(&path, format!("{KEY}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path.display().to_string()
}

#[test]
fn a_notice_is_posted_over_tls_and_signed_as_the_reference_library_expects() {
    let folder = fresh_folder();
    let (pem, config) = certificate();
    let ca = folder.join("ca.pem");
    fs::write(&ca, pem).unwrap();
    let receiver = Receiver::start(Some(config));
    let url = format!("https://localhost:{}/hook?a=b", receiver.address.port());
    let server = Server::start_with(
        &[
            "--notice-webhook",
            &url,
            "--notice-webhook-key",
            &key_file(&folder),
            "--notice-ca",
            &ca.display().to_string(),
        ],
        &[],
    );
    let uid = notable(&server.admin(), "alice");
    let posted = receiver.wait_for(&format!("user:{uid}"));
    assert_eq!(posted.path, "/hook?a=b");
    assert_eq!(
        posted.header("content-type"),
        "application/cloudevents+json"
    );
    let event: Value = serde_json::from_str(&posted.body).unwrap();
    assert_eq!(event["specversion"], "1.0");
    assert_eq!(event["type"], "latchkey.user.credentials_changed");
    assert_eq!(event["id"], posted.header("webhook-id"));
    assert!(!posted.body.contains("anchors"));
    verified(&posted);
    drop(server);
    let _ = fs::remove_dir_all(folder);
}

/// Verifies a request with the library; a body with another byte must be refused.
fn verified(posted: &Posted) {
    let Some(python) = python() else {
        println!("left out: standardwebhooks is not installed (dev/test installs it)");
        return;
    };
    let program = "
import json, sys
from standardwebhooks import Webhook
given = json.load(sys.stdin)
Webhook(given['key']).verify(given['body'], given['headers'])
try:
    Webhook(given['key']).verify(given['body'] + ' ', given['headers'])
except Exception:
    print('verified')
";
    let headers: serde_json::Map<String, Value> = posted
        .headers
        .iter()
        .map(|(name, value)| (name.clone(), json!(value)))
        .collect();
    let given = json!({ "key": KEY, "body": posted.body, "headers": headers });
    let folder = fresh_folder();
    fs::write(folder.join("given"), given.to_string()).unwrap();
    let ran = Command::new(python)
        .args(["-c", program])
        .stdin(fs::File::open(folder.join("given")).unwrap())
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&ran.stdout).trim(),
        "verified",
        "{ran:?}"
    );
    let _ = fs::remove_dir_all(folder);
}

/// `None` if it is not installed, which is a failure only where all tests must run.
fn python() -> Option<PathBuf> {
    let tree = Path::new(env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("LATCHKEY_TEST_ALL").is_some() {
        let mut install = Command::new(tree.join("dev/python"));
        let done = install
            .args(["standardwebhooks", PACKAGE])
            .output()
            .unwrap();
        assert!(done.status.success(), "{done:?}");
    }
    let folder = tree.join("target/python/standardwebhooks");
    let packages = fs::read_to_string(folder.join("packages")).unwrap_or_default();
    (packages.trim() == PACKAGE).then(|| folder.join("bin/python"))
}

#[test]
fn a_notice_that_is_refused_does_not_hold_up_the_audit_log() {
    let folder = fresh_folder();
    let receiver = Receiver::start(None);
    let kind = "latchkey.user.credentials_changed";
    *receiver.forbidden.lock().unwrap() = Some(kind.to_owned());
    let url = format!("http://{}/hook", receiver.address);
    let server = Server::start_with(
        &[
            "--notice-webhook",
            &url,
            "--notice-webhook-key",
            &key_file(&folder),
            "--audit-sinks",
            "webhook",
        ],
        &[],
    );
    let admin = server.admin();
    notable(&admin, "alice");
    receiver.wait_for(kind);
    let uid = notable(&admin, "bob");
    wait::until("the event of the log is posted", || {
        let posted = receiver.posted();
        let mut bodies = posted.iter().map(|one| &one.body);
        bodies.any(|body| {
            let has = |text: &str| body.contains(text);
            has("latchkey.audit") && has("user.password") && has(&uid)
        })
    });
    let state = sink(&server, "webhook");
    assert!(state["notices_pending"].as_u64() > Some(0), "{state}");
    drop(server);
    let _ = fs::remove_dir_all(folder);
}

#[test]
fn a_redirect_is_a_failure_and_a_test_says_so() {
    let folder = fresh_folder();
    let receiver = Receiver::start(None);
    receiver.status.store(302, SeqCst);
    let url = format!("http://{}/hook", receiver.address);
    let server = Server::start_with(
        &[
            "--notice-webhook",
            &url,
            "--notice-webhook-key",
            &key_file(&folder),
        ],
        &[],
    );
    let line = Line::of(&server);
    let ran = line.run(&["notices", "test", "webhook"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("status 302"), "{ran:?}");
    let posted = receiver.posted();
    assert!(posted.iter().all(|one| one.path == "/hook"), "{posted:?}");
    receiver.status.store(200, SeqCst);
    let ran = line.run(&["notices", "test", "webhook"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let sent = receiver.wait_for("latchkey.test");
    assert_eq!(sent.header("user-agent"), "Latchkey");
    let listed = line.run(&["notices", "sinks", "--json"]);
    assert!(listed.stdout.contains("\"webhook\""), "{listed:?}");
    drop(server);
    let _ = fs::remove_dir_all(folder);
}

#[test]
fn a_name_that_stands_for_a_private_address_is_not_connected_to() {
    let folder = fresh_folder();
    let (pem, config) = certificate();
    let ca = folder.join("ca.pem");
    fs::write(&ca, pem).unwrap();
    let receiver = Receiver::start(Some(config));
    // This machine resolves its own name to an address that is not public.
    let hosts = fs::read_to_string("/etc/hosts").unwrap_or_default();
    let alias = hosts
        .lines()
        .filter(|line| line.starts_with("127."))
        .flat_map(|line| line.split_whitespace().skip(1))
        .find(|name| *name != "localhost" && !name.starts_with('#'));
    let Some(alias) = alias else {
        println!("left out: this machine has no other name for itself");
        return;
    };
    let url = format!("https://{alias}:{}/hook", receiver.address.port());
    let server = Server::start_with(
        &[
            "--notice-webhook",
            &url,
            "--notice-webhook-key",
            &key_file(&folder),
            "--notice-ca",
            &ca.display().to_string(),
        ],
        &[],
    );
    let body = json!({ "sink": "webhook" });
    let tested = server
        .admin()
        .post("/v1/notices/test", body)
        .expect(200)
        .json();
    assert_eq!(tested["delivered"], false);
    let why = tested["reason"].as_str().unwrap();
    assert!(why.contains("no public address"), "{why}");
    assert!(receiver.posted().is_empty());
    drop(server);
    let _ = fs::remove_dir_all(folder);
}

#[test]
fn bad_settings_are_refused_before_the_start() {
    let folder = fresh_folder();
    let key = key_file(&folder);
    let open = folder.join("open");
    fs::write(&open, KEY).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o644)).unwrap();
    let open = open.display().to_string();
    let bad = folder.join("bad");
    fs::write(&bad, "secret").unwrap();
    fs::set_permissions(&bad, fs::Permissions::from_mode(0o600)).unwrap();
    let bad = bad.display().to_string();
    let inside = folder.join("data/notices.jsonl").display().to_string();
    let hook = "https://hooks.example/x";
    for (args, why) in [
        (
            vec!["--notice-webhook", "http://hooks.example/x"],
            "not encrypted",
        ),
        (
            vec!["--notice-webhook", "https://a:b@hooks.example/x"],
            "must be https",
        ),
        (vec!["--notice-webhook", hook], "notice-webhook-key"),
        (vec!["--notice-webhook-key", &key], "of no use"),
        (
            vec!["--notice-webhook", hook, "--notice-webhook-key", &open],
            "every user",
        ),
        (
            vec!["--notice-webhook", hook, "--notice-webhook-key", &bad],
            "whsec_",
        ),
        (
            vec!["--notice-syslog", "udp:127.0.0.1:514"],
            "must be unix:",
        ),
        (vec!["--notice-syslog", "tcp:10.0.0.1:601"], "not encrypted"),
        (vec!["--notice-file", "notices.jsonl"], "absolute"),
        (
            vec!["--notice-file", &inside],
            "must not be in the data folder",
        ),
        (vec!["--notice-kinds", "file=key.*"], "not set"),
        (vec!["--notice-kinds", "file=keys"], "no kind"),
        (vec!["--audit-sinks", "file"], "not set"),
        (vec!["--audit-sinks", "pigeon"], "no sink"),
    ] {
        let ran = executable(None)
            .args([
                "check-config",
                "--data",
                &folder.join("data").display().to_string(),
            ])
            .args(&args)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&ran.stderr);
        assert!(
            !ran.status.success() && said.contains(why),
            "{args:?}: {said}"
        );
    }
    let _ = fs::remove_dir_all(folder);
}

#[test]
fn a_receiver_that_does_not_listen_is_named() {
    let folder = fresh_folder();
    let url = format!("http://{}/hook", closed_address());
    let server = Server::start_with(
        &[
            "--notice-webhook",
            &url,
            "--notice-webhook-key",
            &key_file(&folder),
        ],
        &[],
    );
    notable(&server.admin(), "alice");
    wait::until("the webhook has failed", || {
        sink(&server, "webhook")["failures"].as_u64() > Some(0)
    });
    server.wait_for_log("the sink webhook failed", 1);
    drop(server);
    let _ = fs::remove_dir_all(folder);
}

/// Every byte comes within the timeout of a read, so only a deadline for the whole delivery ends this.
#[test]
fn a_receiver_whose_handshake_never_ends_is_a_failure() {
    let folder = fresh_folder();
    let ca = folder.join("ca.pem");
    fs::write(&ca, certificate().0).unwrap();
    let url = format!("https://{}/hook", dripping(HANDSHAKE));
    let server = Server::start_with(
        &[
            "--notice-webhook",
            &url,
            "--notice-webhook-key",
            &key_file(&folder),
            "--notice-ca",
            &ca.display().to_string(),
        ],
        &[],
    );
    notable(&server.admin(), "alice");
    wait::until("the webhook has failed", || {
        sink(&server, "webhook")["failures"].as_u64() > Some(0)
    });
    server.wait_for_log("the sink webhook failed", 1);
    drop(server);
    let _ = fs::remove_dir_all(folder);
}

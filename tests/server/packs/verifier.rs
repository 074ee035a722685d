//! A verifier in another language, which was written from `docs/pack-format.md`, answers as the server does.

use super::{enrol, make, path_of, public_key};
use crate::faults::left_out;
use crate::support::{Server, User, fresh_folder, wait};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// The number of keys that the folder is filled with.
const KEYS: usize = 10_000;
/// The number of secrets in one request.
const BATCH: usize = 100;

/// The verifier's answer for each secret.
fn verified(server: &Server, packs: &[&Path], secrets: &Path) -> Option<Vec<String>> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/packs/verify.py");
    let child = Command::new("python3")
        .arg(script)
        .arg(public_key(server))
        .arg(server.data.join("pepper"))
        .args(packs)
        .stdin(fs::File::open(secrets).unwrap())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .ok()?;
    let output = child.wait_with_output().unwrap();
    let why = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{why}");
    let text = String::from_utf8(output.stdout).unwrap();
    Some(text.lines().map(str::to_owned).collect())
}

/// The server's answer for each secret.
fn answered(user: &User, secrets: &[String]) -> Vec<String> {
    let code = |verdict: &Value| verdict["code"].as_str().unwrap().to_owned();
    let batch = |secrets: &[String]| {
        let items: Vec<Value> = secrets
            .iter()
            .map(|secret| json!({ "key": secret }))
            .collect();
        let answer = user.post("/v1/verify/batch", json!({ "items": items }));
        let answer = answer.expect(200).json();
        answer["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(code)
            .collect::<Vec<_>>()
    };
    secrets.chunks(BATCH).flat_map(batch).collect()
}

#[test]
fn a_verifier_written_from_the_documents_agrees_on_ten_thousand_secrets() {
    if Command::new("python3").arg("--version").output().is_err() {
        return left_out("the verifier in Python: there is no python3");
    }
    let folder = fresh_folder();
    let (server, mut secrets) = Server::start_filled(KEYS);
    let admin = server.admin();
    assert_eq!(secrets.len(), KEYS);
    let special = special(&admin);
    secrets.extend(special.iter().cloned());
    let changed = secrets[0].replacen('_', "_x", 1);
    let other = Server::start();
    secrets.extend([
        "".to_owned(),
        "lk_x".to_owned(),
        changed,
        other.secret.clone(),
    ]);

    enrol(&server, "plant-7", json!({}));
    let local = server.local();
    let base = make(&local, "plant-7", true);
    let check = |packs: &[&Path], expected: &[&str]| {
        let known: Vec<String> = secrets.iter().filter(|s| !s.is_empty()).cloned().collect();
        let file = folder.join("asked");
        fs::write(&file, known.join("\n") + "\n").unwrap();
        let theirs = verified(&server, packs, &file).unwrap();
        let ours = answered(&local, &known);
        assert_eq!(theirs.len(), known.len());
        for ((theirs, ours), secret) in theirs.iter().zip(&ours).zip(&known) {
            assert_eq!(theirs, ours, "{}", &secret[..secret.len().min(14)]);
        }
        for code in expected {
            assert!(ours.iter().any(|known| known == code), "no {code}");
        }
    };
    let all = [
        "VALID",
        "MALFORMED",
        "NOT_FOUND",
        "OWNER_DISABLED",
        "WORKSPACE_DISABLED",
        "DISABLED",
        "NOT_YET_VALID",
        "EXPIRED",
        "IP_NOT_ALLOWED",
        "RATE_LIMITED",
        "USAGE_EXCEEDED",
    ];
    check(&[&path_of(&base)], &all);

    // A hundred changes, which the server and the difference have, and the base has not.
    let ids: Vec<&str> = secrets[..100].iter().map(|secret| &secret[3..13]).collect();
    for (action, ids) in [("delete", &ids[..50]), ("disable", &ids[50..])] {
        let body = json!({ "action": action, "ids": ids });
        admin.post("/v1/keys/batch", body).expect(200);
    }
    let delta = make(&local, "plant-7", false);
    assert_eq!(delta["base"], base["pack"]);
    let bytes = delta["bytes"].as_u64().unwrap();
    assert!(
        bytes <= 10_000,
        "a difference of 100 changes has {bytes} bytes"
    );
    check(&[&path_of(&base), &path_of(&delta)], &all);
}

/// Secrets of keys with everything that decides about a secret without a request.
fn special(admin: &User) -> Vec<String> {
    let issue = |key: Value| admin.issue(key);
    admin.workspace("emea", "root");
    let person = admin.person("bob", "member", "root");
    let mut secrets = Vec::new();
    for key in [
        json!({ "name": "a", "expires_in_s": 1 }),
        json!({ "name": "b", "expires_at": "9000-01-01T00:00:00Z" }),
        json!({ "name": "c", "not_before": "9000-01-01T00:00:00Z" }),
        json!({ "name": "d", "allowed_ips": ["192.0.2.0/24", "2001:db8::1"] }),
        json!({ "name": "e", "rate_limit": { "limit": 0, "window_s": 60 } }),
        json!({ "name": "f", "uses_left": 0 }),
        json!({ "name": "g", "workspace": "emea" }),
        json!({ "name": "h", "owner": person }),
        json!({ "name": "off", "enabled": false }),
        json!({ "name": "i", "metadata": { "team": "red" } }),
        json!({ "name": "j", "expires_at": "2027-01-01T00:00:00.123Z" }),
    ] {
        secrets.push(issue(key).secret);
    }
    wait::until("the first one has expired", || {
        admin.verdict(&secrets[0]) == "EXPIRED"
    });
    let rotated = issue(json!({ "name": "rotated" }));
    secrets.push(rotated.secret.clone());
    let body = json!({ "grace_s": 86_400 });
    secrets.push(admin.rotate(&rotated.id, body).secret);
    let off = json!({ "enabled": false });
    admin.patch("/v1/workspaces/emea", off.clone()).expect(200);
    admin.patch("/v1/users/bob", off).expect(200);
    secrets
}

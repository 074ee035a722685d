//! Attacks 117 and g4. Reports of leaked secrets: the same answer for every text, an event about the key, and what its policy demands.

use super::{changed, decoy, event, events};
use crate::support::{Issued, Server, User, executable, fresh_folder};
use base64ct::{Base64, Encoding};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};
use std::fs;

const URL: &str = "https://wiki.example.com/build?session=x";

fn report(user: &User, secret: &str) {
    let body = json!({ "secret": secret, "url": URL, "source": "wiki search" });
    let answer = user.post("/v1/leaks", body).expect(204);
    assert!(answer.body.is_empty());
}

fn policy(admin: &User, name: &str, on_leak: &str) -> Value {
    let policy = json!({ "name": name, "on_leak": on_leak, "secret_shown": "sealed" });
    admin.post("/v1/policies", policy).expect(201).json()
}

fn issue(admin: &User, policy: &str) -> Issued {
    admin.issue(json!({ "name": policy, "policy": policy }))
}

#[test]
fn a_report_leaves_an_event_without_the_secret_and_does_what_the_policy_demands() {
    let server = Server::start();
    let admin = server.admin();
    for name in ["note", "disable", "rotate"] {
        policy(&admin, name, name);
    }
    let [noted, disabled, rotated] = ["note", "disable", "rotate"].map(|name| issue(&admin, name));
    for key in [&noted, &disabled, &rotated] {
        report(&admin, &key.secret);
        let leaked = event(&admin, "key.leaked", &key.id);
        assert_eq!(changed(&leaked, "url"), "https://wiki.example.com/build");
        assert_eq!(changed(&leaked, "found_by"), "wiki search");
        assert_eq!(changed(&leaked, "still_works"), "true");
        assert!(!leaked.to_string().contains(&key.secret));
    }
    assert_eq!(admin.verdict(&noted.secret), "VALID");
    assert_eq!(admin.verdict(&disabled.secret), "DISABLED");
    assert_eq!(
        event(&admin, "key.disable", &disabled.id)["actor"],
        "system"
    );
    assert_eq!(admin.verdict(&rotated.secret), "NOT_FOUND");
    let path = format!("/v1/keys/{}/reveal", rotated.id);
    let new = admin.post(&path, json!({})).expect(200).json();
    assert_eq!(admin.verdict(new["secret"].as_str().unwrap()), "VALID");
    // A secret that has ended is recorded and changes nothing more.
    report(&admin, &rotated.secret);
    assert_eq!(admin.verdict(new["secret"].as_str().unwrap()), "VALID");
    assert_eq!(
        events(&admin, "key.leaked", &rotated.id).len(),
        1,
        "one event in ten minutes"
    );
    assert_eq!(server.alarm(&rotated.id, "leaked"), Some(2));
}

#[test]
fn only_the_leaked_one_of_two_secrets_ends() {
    let server = Server::start();
    let admin = server.admin();
    policy(&admin, "rotate", "rotate");
    let old = issue(&admin, "rotate");
    let new = admin.rotate(&old.id, json!({ "grace_s": 3600 }));
    report(&admin, &old.secret);
    assert_eq!(admin.verdict(&old.secret), "NOT_FOUND");
    assert_eq!(admin.verdict(&new.secret), "VALID");
}

/// Attack: a reporter learns whose a secret is, or takes another workspace's key out of service.
#[test]
fn a_reporter_learns_nothing_and_reaches_only_its_own_workspaces() {
    let server = Server::start();
    let admin = server.admin();
    admin.workspace("here", "root");
    admin.workspace("there", "root");
    policy(&admin, "disable", "disable");
    let scopes = ["leaks:report"];
    let key =
        json!({ "name": "scanner", "catalog": "latchkey", "scopes": scopes, "workspace": "here" });
    let scanner = server.bearer(&admin.issue(key).secret);
    let in_workspace = |workspace: &str| {
        admin.issue(json!({ "name": "k", "policy": "disable", "workspace": workspace }))
    };
    let (mine, other) = (in_workspace("here"), in_workspace("there"));
    let decoy = decoy(&server);
    for secret in [&mine.secret, &other.secret, &decoy.secret, "lk_nothing", ""] {
        report(&scanner, secret);
    }
    assert_eq!(admin.verdict(&mine.secret), "DISABLED");
    assert_eq!(admin.verdict(&other.secret), "VALID");
    assert!(events(&admin, "key.leaked", &other.id).is_empty());
    scanner.get("/v1/keys").refused(403, "forbidden");
    let writer = json!({ "name": "w", "catalog": "latchkey", "scopes": ["keys:write"] });
    let writer = server.bearer(&admin.issue(writer).secret);
    let body = json!({ "secret": mine.secret });
    writer
        .post("/v1/leaks", body.clone())
        .refused(403, "forbidden");
    server.anonymous().post("/v1/leaks", body).expect(401);
    for (field, body) in [
        ("url", json!({ "secret": "x", "url": "a".repeat(1_001) })),
        ("url", json!({ "secret": "x", "url": "a\nb" })),
        (
            "source",
            json!({ "secret": "x", "source": "a".repeat(101) }),
        ),
        ("secret", json!({ "secret": "a".repeat(4_097) })),
        ("secret", json!({})),
    ] {
        scanner.post("/v1/leaks", body).refused_field(field);
    }
}

/// Attack: a stranger reports in GitHub's name, and learns from the labels which texts are secrets.
#[test]
fn only_a_delivery_that_a_pinned_key_has_signed_is_read() {
    let folder = fresh_folder();
    fs::create_dir_all(&folder).unwrap();
    let keys = folder.join("keys.json");
    let (signer, stranger) = (Signer::new(), Signer::new());
    fs::write(&keys, signer.file("one")).unwrap();
    let bare = Server::start();
    bare.anonymous()
        .post("/v1/leaks/github", json!([]))
        .expect(404);
    let server = Server::start_with(&["--leak-report-keys", keys.to_str().unwrap()], &[]);
    let admin = server.admin();
    policy(&admin, "disable", "disable");
    let key = issue(&admin, "disable");
    let item = |token: &str| json!({ "token": token, "type": "acme_key", "url": "https://git.example/a/b#L7", "source": "content" });
    let body = json!([item(&key.secret), item("lk_nothing"), { "token": 7 }]).to_string();
    let deliver = |identifier: &str, signature: &str, body: &str| {
        let user = server
            .anonymous()
            .with("Github-Public-Key-Identifier", identifier);
        let user = user.with("Github-Public-Key-Signature", signature);
        user.send(
            "POST",
            "/v1/leaks/github",
            "application/json",
            body.as_bytes(),
        )
    };
    let signature = signer.sign(&body);
    deliver("two", &signature, &body).expect(401);
    deliver("one", &stranger.sign(&body), &body).expect(401);
    deliver("one", &signature, &body.replace("acme", "acne")).expect(401);
    deliver("one", "", &body).expect(401);
    server
        .anonymous()
        .send(
            "POST",
            "/v1/leaks/github",
            "application/json",
            body.as_bytes(),
        )
        .expect(401);
    assert_eq!(admin.verdict(&key.secret), "VALID");
    deliver("one", &signer.sign("{}"), "{}").expect(400);

    let labels = deliver("one", &signature, &body).expect(200).json();
    let found: Vec<&str> = labels
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["label"].as_str().unwrap())
        .collect();
    assert_eq!(found, ["true_positive", "false_positive", "false_positive"]);
    assert_eq!(labels[0]["token_type"], "acme_key");
    assert_eq!(labels[0]["token_hash"].as_str().unwrap().len(), 64);
    assert!(!labels.to_string().contains(&key.secret));
    assert_eq!(admin.verdict(&key.secret), "DISABLED");
    let leaked = event(&admin, "key.leaked", &key.id);
    assert_eq!(changed(&leaked, "url"), "https://git.example/a/b");
    assert_eq!(changed(&leaked, "found_by"), "github content");
    assert_eq!(leaked["actor"], "system");
    fs::remove_dir_all(folder).unwrap();
}

/// Attack: a reader of the log, the notices or the alarms finds the reported secret, which still works.
#[test]
fn a_reported_secret_is_not_written_down_wherever_it_stands() {
    let (server, signer) = with_deliveries();
    let admin = server.admin();
    policy(&admin, "note", "note");
    for (url, shown) in [
        (
            "https://git.example/a/SECRET/x",
            "https://git.example/a/…/x",
        ),
        (
            "https://git.example/a/ESCAPED/x",
            "https://git.example/a/…/x",
        ),
        (
            "https://bob:hunter2@h.example/cb#access_token=SECRET",
            "https://h.example/cb",
        ),
    ] {
        for is_delivered in [false, true] {
            let key = issue(&admin, "note");
            let url = url.replace("SECRET", &key.secret);
            let url = url.replace("ESCAPED", &key.secret.replace('_', "%5F"));
            if is_delivered {
                // The end of a long text must not cut the secret.
                let source = format!("{}{}", " ".repeat(50), key.secret);
                let item = json!({ "token": key.secret, "url": url, "source": source });
                deliver(&server, &signer, &json!([item]));
            } else {
                let body = json!({ "secret": key.secret, "url": url, "source": key.secret });
                admin.post("/v1/leaks", body).expect(204);
            }
            let leaked = event(&admin, "key.leaked", &key.id);
            assert_eq!(changed(&leaked, "url"), shown);
            let found_by = changed(&leaked, "found_by");
            assert!(found_by.as_str().unwrap().ends_with('…'), "{found_by}");
            let notices = admin.get("/v1/notices").expect(200).json();
            let shown_key = admin.key(&key.id);
            for text in [&leaked, &notices, &shown_key].map(Value::to_string) {
                for part in [&key.secret[20..50], "hunter2", "access_token"] {
                    assert!(!text.contains(part), "{text}");
                }
            }
        }
    }
}

/// Attack: each of several reports of one secret ends the newest secret, which only the first of them was about.
#[test]
fn several_reports_at_once_replace_a_secret_once() {
    let server = Server::start();
    let admin = server.admin();
    policy(&admin, "rotate", "rotate");
    for _ in 0..4 {
        let key = issue(&admin, "rotate");
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| report(&admin, &key.secret));
            }
        });
        assert_eq!(events(&admin, "key.rotate", &key.id).len(), 1);
        assert_eq!(admin.verdict(&key.secret), "NOT_FOUND");
    }
}

/// Attack: a reporter guesses the secrets of a key of another workspace, so that its client is refused, or so that the
/// other reports of a delivery are not taken.
#[test]
fn wrong_texts_in_reports_neither_keep_a_client_out_nor_stop_other_reports() {
    let (server, signer) = with_deliveries();
    let admin = server.admin();
    policy(&admin, "disable", "disable");
    let key = issue(&admin, "disable");
    // `htpasswd -nbBC 4 alice password`
    let digest = "$2y$04$.k9hecJyFHrgfJDEuwjaIOWAIJmindjmVjv5/0y2fDIJzsBwawFlO";
    let alice = json!({ "name": "alice", "digest": digest, "found_by": "alice:" }).to_string();
    let path = "/v1/keys/import?source=jsonl";
    let imported = admin.send("POST", path, "application/jsonl", alice.as_bytes());
    assert_eq!(imported.expect(200).json()["taken"], 1);
    let wrong = |number: usize| format!("alice:wrong{number}");
    for number in 0..12 {
        report(&admin, &wrong(number));
    }
    let items: Vec<Value> = (12..100)
        .map(|number| json!({ "token": wrong(number) }))
        .chain([json!({ "token": key.secret })])
        .collect();
    let labels = deliver(&server, &signer, &json!(items));
    assert_eq!(labels[0]["label"], "false_positive");
    assert_eq!(labels[88]["label"], "true_positive");
    assert_eq!(admin.verdict(&key.secret), "DISABLED");
    assert_eq!(admin.verdict("alice:password"), "VALID");
}

/// A server that takes deliveries, and who signs them.
fn with_deliveries() -> (Server, Signer) {
    let folder = fresh_folder();
    fs::create_dir_all(&folder).unwrap();
    let (keys, signer) = (folder.join("keys.json"), Signer::new());
    fs::write(&keys, signer.file("one")).unwrap();
    let server = Server::start_with(&["--leak-report-keys", keys.to_str().unwrap()], &[]);
    fs::remove_dir_all(folder).unwrap();
    (server, signer)
}

/// The labels of a signed delivery.
fn deliver(server: &Server, signer: &Signer, items: &Value) -> Value {
    let body = items.to_string();
    let user = server.anonymous();
    let user = user.with("Github-Public-Key-Identifier", "one");
    let user = user.with("Github-Public-Key-Signature", &signer.sign(&body));
    let path = "/v1/leaks/github";
    let answer = user.send("POST", path, "application/json", body.as_bytes());
    answer.expect(200).json()
}

/// A key pair for deliveries.
struct Signer(EcdsaKeyPair);

impl Signer {
    fn new() -> Signer {
        let (random, algorithm) = (SystemRandom::new(), &ECDSA_P256_SHA256_ASN1_SIGNING);
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        Signer(EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap())
    }

    fn sign(&self, body: &str) -> String {
        let signature = self.0.sign(&SystemRandom::new(), body.as_bytes()).unwrap();
        Base64::encode_string(signature.as_ref())
    }

    /// The file of its public key.
    fn file(&self, identifier: &str) -> String {
        let before = [
            0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06,
            0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
        ];
        let der = [&before[..], self.0.public_key().as_ref()].concat();
        let text = Base64::encode_string(&der);
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n");
        json!({ "public_keys": [{ "key_identifier": identifier, "key": pem, "is_current": true }] })
            .to_string()
    }
}

#[test]
fn a_scan_reports_what_it_finds() {
    let server = Server::start();
    let admin = server.admin();
    policy(&admin, "disable", "disable");
    let key = issue(&admin, "disable");
    let folder = fresh_folder();
    fs::create_dir_all(&folder).unwrap();
    fs::write(
        folder.join("a.txt"),
        format!("x\n{}\nlk_nothing\n", key.secret),
    )
    .unwrap();
    let scan = |args: &[&str]| {
        let mut command = executable(None);
        command
            .arg("scan")
            .args(args)
            .arg(&folder)
            .arg("--data")
            .arg(&server.data);
        command.output().unwrap()
    };
    scan(&[]);
    assert_eq!(admin.verdict(&key.secret), "VALID");
    let ran = scan(&["--report", "--no-ignore"]);
    let told = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(told.contains("1 text was reported"), "{told}");
    assert_eq!(admin.verdict(&key.secret), "DISABLED");
    let leaked = event(&admin, "key.leaked", &key.id);
    let url = changed(&leaked, "url");
    assert!(url.as_str().unwrap().ends_with("a.txt:2"), "{url}");
    assert_eq!(changed(&leaked, "found_by"), "latchkey scan");
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_decoy_that_is_reported_stays_a_decoy() {
    let server = Server::start();
    let (admin, decoy) = (server.admin(), decoy(&server));
    report(&admin, &decoy.secret);
    event(&admin, "key.leaked", &decoy.id);
    assert!(events(&admin, "key.tripped", &decoy.id).is_empty());
    assert_eq!(admin.key(&decoy.id)["state"], "active");
}

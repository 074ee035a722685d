//! `latchkey scan`: planted secrets.

use super::{Line, running_and_stopped};
use crate::support::{Server, fresh_folder};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

/// A tree with one secret in a plain file and one in a file that .gitignore leaves out.
fn planted(secret: &str, ignored: &str) -> PathBuf {
    let tree = fresh_folder();
    fs::create_dir_all(tree.join("src")).unwrap();
    fs::create_dir_all(tree.join(".git")).unwrap();
    fs::write(tree.join(".gitignore"), "*.log\n").unwrap();
    fs::write(
        tree.join("src/config.py"),
        format!("# key\nKEY = \"{secret}\"\n"),
    )
    .unwrap();
    fs::write(tree.join("debug.log"), format!("used {ignored}\n")).unwrap();
    fs::write(tree.join(".git/packed"), secret).unwrap();
    tree
}

fn found(line: &Line, args: &[&str]) -> Vec<Value> {
    let ran = line.run(&[&["scan", "--json"], args].concat());
    assert_eq!(ran.code, Some(1), "{ran:?}");
    serde_json::from_str(&ran.stdout).unwrap()
}

#[test]
fn a_planted_secret_is_found_with_its_key_and_never_printed() {
    running_and_stopped(|line| {
        let secret = line.ok(&["key", "issue", "leaked", "--secret-only"]);
        let secret = secret.trim_end();
        let tree = planted(secret, secret);
        let path = tree.to_str().unwrap();

        let findings = found(line, &[path]);
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert!(
            findings[0]["path"]
                .as_str()
                .unwrap()
                .ends_with("src/config.py")
        );
        assert_eq!(findings[0]["line"], 2);
        assert_eq!(findings[0]["known"], "secret");
        assert_eq!(findings[0]["key"]["name"], "leaked");
        assert_eq!(findings[0]["key"]["state"], "active");
        assert_eq!(found(line, &["--no-ignore", path]).len(), 2);

        let ran = line.run(&["scan", path]);
        assert_eq!(ran.code, Some(1));
        assert!(ran.stdout.contains("src/config.py:2") && ran.stdout.contains("working secret"));
        assert!(!ran.stdout.contains(secret) && !ran.stderr.contains(secret));

        // Looking is no use: the key was not used by this.
        let id = &secret[3..13];
        assert_eq!(line.json(&["key", "show", id])["use_count"], 0);

        let rotated = line.ok(&["key", "rotate", id, "--secret-only"]);
        assert_eq!(found(line, &[path])[0]["known"], "id");
        let piped = line.run_with_input(&["scan", "--json", "-"], &rotated);
        assert!(piped.stdout.contains("\"known\":\"secret\""), "{piped:?}");
        fs::remove_dir_all(tree).unwrap();
    });
}

#[test]
fn a_rotation_that_waits_for_first_use_is_not_ended_by_a_scan() {
    let server = Server::start();
    let line = Line::of(&server);
    let key = server.admin().issue(json!({"name":"x"}));
    let new = server
        .admin()
        .rotate(&key.id, json!({"until_first_use": true}));
    let ran = line.run_with_input(&["scan", "--json", "-"], &new.secret);
    assert!(ran.stdout.contains("\"known\":\"secret\""), "{ran:?}");
    assert_eq!(server.admin().verdict(&key.secret), "VALID");
}

#[test]
fn without_a_store_shapes_alone_are_told() {
    let server = Server::start();
    let other = Line::at(Path::new("/nowhere/at/all"));
    let tree = planted(&server.secret, &server.secret);
    let path = tree.to_str().unwrap();
    let findings = found(&other, &[path]);
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0]["known"], Value::Null);

    let strange = Server::start();
    let findings = found(&Line::of(&strange), &[path]);
    assert_eq!(findings[0]["known"], "nothing");
    fs::remove_dir_all(tree).unwrap();
}

#[test]
fn a_clean_tree_exits_with_nought_and_a_missing_one_does_not() {
    let tree = fresh_folder();
    let almost = format!("lk_{}", "a".repeat(59));
    fs::write(tree.join("a.txt"), almost).unwrap();
    let line = Line::at(Path::new("/nowhere/at/all"));
    let path = tree.to_str().unwrap();
    assert_eq!(line.ok(&["scan", path]), "");
    assert_eq!(line.json(&["scan", path]), json!([]));
    line.refused(&["scan", "/nowhere/at/all"], 1);
    line.refused(&["scan"], 2);
    fs::remove_dir_all(tree).unwrap();
}

#[test]
fn identifying_needs_the_right_to_verify() {
    let server = Server::start();
    let reader = json!({"name":"r","catalog":"latchkey","scopes":["keys:read"]});
    let reader = server.admin().issue(reader);
    let body = json!({"items": [server.secret, "junk"]});
    server
        .bearer(&reader.secret)
        .post("/v1/keys/identify", body.clone())
        .expect(403);
    let answer = server
        .admin()
        .post("/v1/keys/identify", body)
        .expect(200)
        .json();
    assert_eq!(answer["items"][0]["known"], "secret");
    assert_eq!(answer["items"][1], json!({"known":"nothing","key":null}));
    let many = json!({"items": vec!["x"; 101]});
    server.admin().post("/v1/keys/identify", many).expect(422);
}

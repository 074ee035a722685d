//! Bad files: they change nothing, and everything that reports them names the file and the line.

use super::{Files, draw, refused};
use crate::command_line::Line;
use crate::support::{Server, executable};
use rustix::process::Signal;
use serde_json::json;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// The files with errors, and the first error of each as its first line names it.
fn bad_files() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/keys.d/bad");
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut all: Vec<_> = entries
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(&path).unwrap())
        })
        .collect();
    all.sort();
    assert!(all.len() >= 20, "only {} files", all.len());
    all
}

#[test]
fn twenty_bad_files_change_nothing_and_are_named_with_their_line() {
    let files = Files::new();
    let (good, other) = (draw("good"), draw("other"));
    files.write("10.toml", &good.with(""));
    let server = files.server();
    let before = server.local().newest_event()["seq"].clone();
    // This change waits as long as any file is bad.
    files.write("10.toml", &(good.with("") + &other.with("")));
    for (name, text) in bad_files() {
        let path = files.write_whole(&name, &text);
        let path = path.display().to_string();
        let head = text.lines().next().unwrap().strip_prefix("# ").unwrap();
        let expected = format!("{path}:{}", head.replace("{path}", &path));
        for args in [&["keys", "apply"][..], &["keys", "drift"]] {
            let said = Line::of(&server).refused(args, 1);
            assert!(said.contains(expected.trim_end()), "{expected}\n{said}");
            assert!(said.contains("nothing was changed"), "{said}");
        }
        files.remove(&name);
    }
    assert_eq!(server.local().newest_event()["seq"], before);
    assert_eq!(server.anonymous().verdict(&good.secret), "VALID");
    assert_eq!(server.anonymous().verdict(&other.secret), "NOT_FOUND");
    assert_eq!(super::apply(&server), ["issue other"]);
}

#[test]
fn a_secret_in_a_file_is_refused_and_never_shown() {
    let files = Files::new();
    let drawn = draw("one");
    let server = files.server();
    let path = files.write("10.toml", &format!("# {}\n", drawn.secret));
    let said = Line::of(&server).refused(&["keys", "apply"], 1);
    let expected = format!(
        "{}:2: this line holds a secret; put its digest here: latchkey key digest",
        path.display()
    );
    assert!(said.contains(&expected), "{said}");
    let tail = &drawn.secret[drawn.secret.len() - 20..];
    assert!(!said.contains(tail) && !server.log().contains(tail));
}

#[test]
fn a_bad_file_at_a_start_serves_what_was_applied_last() {
    let files = Files::new();
    let drawn = draw("one");
    files.write("10.toml", &drawn.with(""));
    let mut server = files.server();
    let bad = files.write(
        "20.toml",
        "[[key]]\nname = \"two\"\ndigest = \"sha256:477fe4\"\n",
    );
    let words = format!("{}:4: digest must be a digest", bad.display());
    server.restart();
    assert_eq!(server.anonymous().verdict(&drawn.secret), "VALID");
    let ready = server.ready();
    assert!(server.log().contains(&words), "{}", server.log());
    let refused = ready["files_refused"][0].as_str().unwrap();
    assert!(refused.contains(&words), "{ready}");
    // Only the administrator of the machine is shown the details.
    assert_eq!(server.anonymous().get("/readyz").text(), "ready\n");
    let ran = Line::of(&server).run(&["doctor"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stdout.contains(&words), "{ran:?}");

    // Strict: the start fails.
    server.stop();
    let start = |args: &[&str]| {
        let ran = executable(None)
            .args([
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--keys",
                files.arg(),
                "--data",
            ])
            .arg(&server.data)
            .args(args)
            .output()
            .unwrap();
        (ran.status.code(), String::from_utf8(ran.stderr).unwrap())
    };
    let (code, said) = start(&["--keys-strict"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(&words), "{said}");
    let checked = Line::of(&server).refused(&["check-config", "--keys", files.arg()], 1);
    assert!(checked.contains(&words), "{checked}");

    files.remove("20.toml");
    server = server.with_args(&["--keys", files.arg(), "--keys-strict"]);
    server.restart();
    assert_eq!(server.ready()["files_refused"], json!([]));
}

#[test]
fn a_bad_file_at_sighup_changes_nothing_and_a_good_one_is_applied() {
    let files = Files::new();
    let (one, two) = (draw("one"), draw("two"));
    files.write("10.toml", &one.with(""));
    let server = files.server();
    let bad = files.write("20.toml", &format!("{}colour = \"red\"\n", two.with("")));
    server.signal(Signal::HUP);
    server.wait_for_log("SIGHUP: all settings stay as they were", 1);
    assert!(
        server
            .log()
            .contains(&format!("{}:8: there is no member colour", bad.display())),
        "{}",
        server.log()
    );
    assert_eq!(server.anonymous().verdict(&one.secret), "VALID");
    assert_eq!(server.anonymous().verdict(&two.secret), "NOT_FOUND");

    files.write("20.toml", &two.with(""));
    server.signal(Signal::HUP);
    server.wait_for_log("SIGHUP: the settings were read again", 1);
    assert_eq!(server.anonymous().verdict(&two.secret), "VALID");
}

#[test]
fn files_that_others_can_write_and_folders_that_are_gone_are_refused() {
    let files = Files::new();
    let drawn = draw("one");
    let path = files.write("10.toml", &drawn.with(""));
    let mut server = files.server();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o664)).unwrap();
    let complaints = refused(&server);
    assert!(
        complaints[0].contains("can be changed by other users (mode 664)"),
        "{complaints:?}"
    );
    assert_eq!(server.anonymous().verdict(&drawn.secret), "VALID");
    fs::remove_dir_all(files.path()).unwrap();
    let complaints = refused(&server);
    assert!(
        complaints[0].contains("the folder cannot be read"),
        "{complaints:?}"
    );
    server.restart();
    assert_eq!(server.anonymous().verdict(&drawn.secret), "VALID");
}

#[test]
fn two_files_with_the_same_id_or_digest_are_both_named() {
    let files = Files::new();
    let drawn = draw("one");
    let first = files.write("10.toml", &drawn.with(""));
    let again = drawn.with("").replace("name = \"one\"", "name = \"two\"");
    let second = files.write("20.toml", &again);
    let server = files.server();
    let complaints = refused(&server);
    let (first, second) = (first.display().to_string(), second.display().to_string());
    for (path, other) in [(&first, &second), (&second, &first)] {
        for what in ["id", "digest"] {
            let words = format!("{path}:2: this {what} stands at {other}:2 already");
            assert!(
                complaints.iter().any(|line| line.contains(&words)),
                "{words}\n{complaints:?}"
            );
        }
    }
}

#[test]
fn an_id_or_a_digest_of_another_key_is_refused() {
    let files = Files::new();
    let server = files.server();
    let issued = server.local().issue(json!({ "name": "by hand" }));
    let drawn = draw("one");
    files.write(
        "10.toml",
        &format!(
            "[[key]]\nname = \"one\"\nid = \"{}\"\ndigest = \"{}\"\n",
            issued.id, drawn.digest
        ),
    );
    let complaints = refused(&server);
    assert!(
        complaints[0].contains(&format!(
            "the id {} is that of a key that no file declares",
            issued.id
        )),
        "{complaints:?}"
    );
    assert_eq!(server.anonymous().verdict(&issued.secret), "VALID");
}

#[test]
fn only_administrators_of_the_whole_server_apply_files() {
    let server = Server::start_with(&["--keys", "none"], &[]);
    let reader =
        json!({ "name": "r", "catalog": "latchkey", "scopes": ["keys:read", "keys:write"] });
    let key = server.admin().issue(reader);
    for response in [
        server.bearer(&key.secret).get("/v1/declared"),
        server
            .bearer(&key.secret)
            .post("/v1/declared/apply", json!({})),
    ] {
        response.expect(403);
    }
    let compared = server.admin().get("/v1/declared").expect(200).json();
    assert_eq!(compared["folders"], json!([]));
    assert_eq!(compared["settled"], true);
}

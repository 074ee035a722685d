//! `/.well-known/security.txt`: off by default, served as the operator has written it, and checked before it is used.

use std::fs;
use std::path::PathBuf;

use rustix::process::Signal;

use crate::support::refusal::ended;
use crate::support::{Server, executable, fresh_folder};

const PATH: &str = "/.well-known/security.txt";
const GOOD: &str =
    "# Reports\nContact: mailto:security@keys.example\nExpires: 2100-01-01T00:00:00Z\n";

fn file(text: &str) -> PathBuf {
    let path = fresh_folder().join("security.txt");
    fs::write(&path, text).unwrap();
    path
}

#[test]
fn there_is_no_security_txt_unless_a_setting_names_one() {
    let server = Server::start();
    let answer = server.anonymous().get(PATH).expect(404);
    assert_eq!(answer.text(), "not found\n");
    // Other paths of that folder belong to nothing, as before.
    server
        .anonymous()
        .get("/.well-known/other")
        .refused(404, "not-found");
}

#[test]
fn the_file_is_served_as_it_is_to_everybody() {
    let path = file(GOOD);
    let server = Server::start_with(&["--security-txt", path.to_str().unwrap()], &[]);
    let named = format!("GET {PATH} HTTP/1.1\r\nHost: any.example\r\nConnection: close\r\n\r\n");
    assert_eq!(server.raw(named).statuses(), [200]);
    let answer = server.anonymous().get(PATH).expect(200);
    assert_eq!(answer.text(), GOOD);
    assert_eq!(
        answer.header("content-type"),
        Some("text/plain; charset=utf-8")
    );
    let head = server.call("HEAD", PATH, &[], None).expect(200);
    let length = GOOD.len().to_string();
    assert_eq!(head.header("content-length"), Some(length.as_str()));
    server
        .anonymous()
        .post(PATH, serde_json::json!({}))
        .expect(405);
    server.anonymous().get(&format!("{PATH}/x")).expect(404);
    // The console and the API are where they were.
    assert_eq!(server.anonymous().get("/console/sign-in").status, 200);
    server.admin().get("/v1/keys").expect(200);
    server.assert_alive();

    // SIGHUP reads the file again, and a bad file changes nothing.
    let changed = GOOD.replace("security@", "psirt@");
    fs::write(&path, &changed).unwrap();
    server.signal(Signal::HUP);
    server.wait_for_log("SIGHUP: the settings were read again", 1);
    assert_eq!(server.anonymous().get(PATH).expect(200).text(), changed);
    fs::write(&path, "Contact: nobody\n").unwrap();
    server.signal(Signal::HUP);
    server.wait_for_log("SIGHUP: all settings stay as they were", 1);
    assert_eq!(server.anonymous().get(PATH).expect(200).text(), changed);
    let past = GOOD.replace("2100", "2001");
    fs::write(&path, &past).unwrap();
    server.signal(Signal::HUP);
    server.wait_for_log(
        "security_txt: the file has expired at 2001-01-01T00:00:00Z",
        1,
    );
    assert_eq!(server.anonymous().get(PATH).expect(200).text(), past);
}

#[test]
fn a_security_txt_that_breaks_the_rfc_stops_the_start() {
    for (text, why) in [
        ("Expires: 2100-01-01T00:00:00Z\n", "no Contact"),
        ("Contact: mailto:a@b.example\n", "Expires once"),
        (
            "Contact: a@b.example\nExpires: 2100-01-01T00:00:00Z\n",
            "line 1",
        ),
    ] {
        let path = file(text);
        let mut command = executable(None);
        command.args(["check-config", "--security-txt"]).arg(&path);
        let ended = ended(&mut command);
        assert_ne!(ended.code, Some(0), "{ended:?}");
        assert!(ended.stderr.contains(why), "{ended:?}");
        assert!(ended.stderr.contains(path.to_str().unwrap()), "{ended:?}");
    }
    let mut command = executable(None);
    command.args(["check-config", "--security-txt", "/nowhere/security.txt"]);
    assert!(ended(&mut command).stderr.contains("cannot be read"));
}

//! Everything is applied or nothing: after a kill, on an unchanged start, after a restore.

use super::{Files, apply, apply_command, draw, draw_with, verbs};
use crate::command_line::Line;
use crate::faults::left_out;
use crate::keeping::kill::Killer;
use crate::keeping::restore::{back_up, restore};
use crate::support::{Server, fresh_folder};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    fs::create_dir_all(to).unwrap();
    let mode = fs::metadata(from).unwrap().permissions();
    fs::set_permissions(to, mode).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

#[test]
fn killed_at_any_step_the_store_has_all_changes_or_none() {
    let Some(killer) = Killer::build() else {
        return left_out("a C compiler");
    };
    let files = Files::new();
    let old = ["edited", "rotated", "deleted", "replaced"].map(draw);
    let text: String = old.iter().map(|drawn| drawn.with("")).collect();
    files.write("10.toml", &format!("absent = \"delete\"\n{text}"));
    let mut server = files.server();
    server.stop();
    let rotated = draw_with(&["rotated", "--id", &old[1].id]);
    let new = [
        old[0].with("scopes = [\"a\"]"),
        rotated.with(""),
        draw("replaced").with(""),
        draw("new").with("uses_left = 3"),
        "[[policy]]\nname = \"p\"\n[[catalog]]\nname = \"c\"\nscopes = [{ name = \"s\" }]\n"
            .to_owned(),
    ];
    files.write("10.toml", &format!("absent = \"delete\"\n{}", new.concat()));
    let data = fresh_folder().join("data");
    let changes = |data: &Path| {
        let line = Line::at(data);
        let args = ["keys", "apply", "--dry-run", "--keys", files.arg()];
        verbs(&line.json(&args)).len()
    };
    copy(&server.data, &data);
    let all = changes(&data);
    assert_eq!(
        all, 8,
        "edit, rotate, two deletions, two issues, a policy, a catalog"
    );
    let (mut before, mut after) = (0, 0);
    let seen = std::cell::RefCell::new((&mut before, &mut after));
    let prepare = || {
        copy(&server.data, &data);
        apply_command(&data, &files)
    };
    let steps = killer.each_step(3, prepare, |step, output| {
        let found = changes(&data);
        let mut seen = seen.borrow_mut();
        match found {
            0 => *seen.1 += 1,
            found if found == all => *seen.0 += 1,
            found => panic!("step {step}: {found} of {all} changes are left\n{output:?}"),
        }
    });
    assert!(before > 1 && after > 1, "{before} {after} of {steps}");
    let _ = fs::remove_dir_all(data.parent().unwrap());
}

#[test]
fn what_was_applied_already_writes_nothing() {
    let files = Files::new();
    let stanzas: String = (0..20)
        .map(|n| draw(&format!("key {n}")).with(""))
        .collect();
    files.write("10.toml", &stanzas);
    files.write(
        "20.toml",
        "[[policy]]\nname = \"p\"\n[[catalog]]\nname = \"c\"\nscopes = [{ name = \"s\" }]\n",
    );
    let server = files.server();
    let wal = server.data.join("latchkey.db-wal");
    let size = || fs::metadata(&wal).unwrap().len();
    let event = server.local().newest_event()["seq"].clone();
    let before = size();
    for count in 1..=3 {
        server.signal(Signal::HUP);
        server.wait_for_log("SIGHUP: the settings were read again", count);
    }
    assert_eq!(apply(&server), Vec::<String>::new());
    Line::of(&server).ok(&["keys", "drift"]);
    assert_eq!(size(), before);
    assert_eq!(server.local().newest_event()["seq"], event);
}

#[test]
fn an_old_backup_and_the_files_give_what_the_files_say() {
    let files = Files::new();
    let [edited, rotated, deleted, disabled, plain] =
        ["edited", "rotated", "deleted", "disabled", "plain"].map(draw);
    let old = [&edited, &rotated, &deleted, &disabled, &plain].map(|drawn| drawn.with(""));
    files.write("10.toml", &format!("absent = \"delete\"\n{}", old.concat()));
    let mut server = files.server();
    let backup = back_up(&server);

    let new_secret = draw_with(&["rotated", "--id", &rotated.id]);
    let late = draw("late");
    let new = [
        edited.with("scopes = [\"a\"]\nallowed_ips = [\"192.0.2.1\"]"),
        new_secret.with(""),
        disabled.with(""),
        plain.with(""),
        late.with(""),
    ];
    files.write("10.toml", &format!("absent = \"delete\"\n{}", new.concat()));
    apply(&server);
    let path = format!("/v1/keys/{}/disable", disabled.id);
    server.local().post(&path, json!({})).expect(200);

    restore(&mut server, &backup, &[]);
    server.restart();
    let verdict = |secret: &str| server.anonymous().verdict(secret);
    assert_eq!(verdict(&plain.secret), "VALID");
    assert_eq!(verdict(&late.secret), "VALID", "the file declares it");
    assert_eq!(verdict(&new_secret.secret), "VALID");
    assert_eq!(verdict(&rotated.secret), "NOT_FOUND");
    assert_eq!(verdict(&deleted.secret), "NOT_FOUND");
    assert_eq!(
        verdict(&disabled.secret),
        "DISABLED",
        "it was disabled by hand"
    );
    assert_eq!(
        verdict(&edited.secret),
        "IP_NOT_ALLOWED",
        "the file declares all its limits"
    );
    let asked = json!({ "key": edited.secret, "ip": "192.0.2.1", "scopes": ["a"] });
    assert_eq!(server.local().verify(asked)["code"], "VALID");

    // What was deleted before the restore does not come back with its stanza.
    files.write(
        "10.toml",
        &format!("absent = \"delete\"\n{}{}", new.concat(), deleted.with("")),
    );
    let applied = Line::of(&server).json(&["keys", "apply"]);
    assert_eq!(verbs(&applied), Vec::<String>::new(), "{applied}");
    assert_eq!(server.anonymous().verdict(&deleted.secret), "NOT_FOUND");
}

#[test]
fn no_secret_is_in_the_files_the_store_or_the_log() {
    let files = Files::new();
    let drawn = draw("one");
    files.write("10.toml", &drawn.with(""));
    let server = files.server();
    assert_eq!(server.anonymous().verdict(&drawn.secret), "VALID");
    let scan = |path: &Path| {
        let line = Line::at(Path::new("/nowhere"));
        line.run(&["scan", "--no-ignore", "--json", path.to_str().unwrap()])
    };
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/keys.d");
    for path in [files.path(), &fixtures, &server.data] {
        let ran = scan(path);
        assert_eq!(ran.code, Some(0), "{}: {ran:?}", path.display());
        let found: Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!(found, json!([]));
    }
    // The scan finds one that is there.
    fs::write(files.path().join("note"), &drawn.secret).unwrap();
    assert_eq!(scan(files.path()).code, Some(1));
    assert!(!server.log().contains(&drawn.secret));
}

#[test]
fn a_server_without_folders_declares_nothing() {
    let server = Server::start_with(&["--keys", "none"], &[]);
    let line = Line::of(&server);
    assert_eq!(line.json(&["keys", "apply"])["files"], json!([]));
    assert_eq!(line.json(&["key", "list", "--source", "file"]), json!([]));
    server.local().get("/v1/keys?source=files").expect(400);
}

//! A command that root runs works with the rights of the owner of the data folder, regardless of the files that this
//! owner has created in it: finding S7. Needs root.

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::thread;

use rustix::process::Uid;
use rustix::thread::set_thread_res_uid;
use serde_json::{Value, json};

use super::{OTHER, give_away, joined, names, text};
use crate::command_line::Line;
use crate::faults::left_out;
use crate::support::Server;

/// A data folder of another user, whose server has been stopped.
struct Foreign {
    data: PathBuf,
    top: PathBuf,
}

impl Drop for Foreign {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.top);
    }
}

/// A folder that every user may enter and only root may change.
fn open_folder() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = format!(
        "latchkey-{}-{}",
        std::process::id(),
        COUNT.fetch_add(1, Relaxed)
    );
    let top = std::env::temp_dir().join(name);
    fs::create_dir(&top).unwrap();
    fs::set_permissions(&top, Permissions::from_mode(0o755)).unwrap();
    top
}

/// `None` without the rights of root, which are needed to change the owner of a folder.
fn foreign() -> Option<Foreign> {
    let top = open_folder();
    let data = top.join("data");
    let mut server = Server::start_at(&data);
    server.stop();
    if give_away(&data) {
        return Some(Foreign { data, top });
    }
    let _ = fs::remove_dir_all(top);
    left_out("a folder of another user: only root can give one away");
    None
}

#[track_caller]
fn check_all_belong_to_the_other(folder: &Path) {
    for name in names(folder) {
        let path = folder.join(name);
        let found = fs::symlink_metadata(&path).unwrap();
        assert_eq!(found.uid(), OTHER, "{}", path.display());
        if found.is_dir() {
            check_all_belong_to_the_other(&path);
        }
    }
}

#[test]
fn root_works_as_the_owner_of_the_folder_and_its_files_are_its_own() {
    let Some(server) = foreign() else { return };
    let line = Line::at(&server.data);
    line.issue("a");
    let events = line.json(&["audit", "list", "--action", "key.issue", "--limit", "1"]);
    assert_eq!(events[0]["actor"], format!("local:{OTHER}"));
    // Files that root names are read and written with the rights of root.
    let private = open_folder();
    fs::set_permissions(&private, Permissions::from_mode(0o700)).unwrap();
    let backup = private.join("b.db");
    line.ok(&["backup", text(&backup)]);
    let phrase = private.join("phrase");
    fs::write(&phrase, "a long passphrase for tests\n").unwrap();
    let secrets = private.join("secrets");
    line.ok(&[
        "secrets",
        "backup",
        text(&secrets),
        "--passphrase-file",
        text(&phrase),
    ]);
    let bundle = private.join("bundle.json");
    line.ok(&["support-bundle", text(&bundle)]);
    for path in [&backup, &secrets, &bundle] {
        let made = fs::metadata(path).unwrap();
        assert_eq!((made.uid(), made.mode() & 0o777), (0, 0o600), "{path:?}");
    }
    assert_eq!(names(&private).len(), 4, "nothing else is left");
    assert!(
        names(&server.data.join("backups")).is_empty(),
        "it was moved"
    );
    line.ok(&["restore", text(&backup), "--yes"]);
    line.ok(&[
        "secrets",
        "restore",
        text(&secrets),
        "--passphrase-file",
        text(&phrase),
    ]);
    line.ok(&["tls", "self-signed"]);
    assert_eq!(line.run(&["doctor"]).code, Some(0));
    check_all_belong_to_the_other(&server.data);
    let _ = fs::remove_dir_all(private);
}

#[test]
fn whoever_owns_the_folder_leads_root_nowhere() {
    let Some(server) = foreign() else { return };
    let line = Line::at(&server.data);
    let root = open_folder();
    let precious = root.join("precious");
    let keep = || {
        let _ = fs::remove_dir_all(&precious);
        fs::create_dir(&precious).unwrap();
        for name in ["passwd", "latchkey.db", "asked-20260101T000000Z.db"] {
            fs::write(precious.join(name), "IMPORTANT").unwrap();
        }
    };
    let is_kept = || {
        names(&precious).len() == 3
            && names(&precious)
                .iter()
                .all(|name| fs::read(precious.join(name)).unwrap() == b"IMPORTANT")
    };
    let out = root.join("out.db");
    for name in [
        "backups",
        "tombstones",
        "latchkey.lock",
        "latchkey.db-wal",
        "latchkey.db",
        "pepper",
        "latchkey.db.restored",
        "latchkey.db.new",
        "restoring",
        "latchkey.sock",
    ] {
        for target in ["", "passwd"] {
            keep();
            let path = server.data.join(name);
            let saved = root.join("saved");
            let is_there = fs::rename(&path, &saved).is_ok();
            symlink(precious.join(target), &path).unwrap();
            for command in [
                &["backup", text(&out)][..],
                &["backup"],
                &["key", "list"],
                &["key", "issue", "x"],
                &["audit", "verify"],
                &["doctor"],
            ] {
                // Some of these commands succeed and some are refused; only their effects matter.
                line.run(command);
                assert!(is_kept(), "{name} -> {target}: {command:?}");
            }
            let _ = fs::remove_file(&out);
            let _ = fs::remove_file(&path);
            if is_there {
                let _ = fs::rename(&saved, &path);
            }
        }
    }
    let _ = fs::remove_dir_all(root);
}

/// A fake server of the folder: it runs as this user and gives the same answer to every request.
fn serve_as(uid: u32, socket: PathBuf, answer: Value) {
    let (ready, is_ready) = std::sync::mpsc::channel();
    thread::spawn(move || {
        set_thread_res_uid(None, Uid::from_raw(uid), None).unwrap();
        let listener = UnixListener::bind(&socket).unwrap();
        ready.send(()).unwrap();
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut head = [0; 4096];
            let _ = stream.read(&mut head);
            let body = answer.to_string();
            let _ = write!(
                stream,
                "HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
        }
    });
    is_ready.recv().unwrap();
}

fn answer(file: &str) -> Value {
    json!({ "file": file, "bytes": 1, "made_at": "2026-01-01T00:00:00Z", "scheduled": false })
}

#[test]
fn a_false_server_of_the_owner_has_nothing_removed_or_taken() {
    let Some(server) = foreign() else { return };
    let root = open_folder();
    let etc = joined(&root, "etc");
    fs::create_dir(&etc).unwrap();
    fs::write(etc.join("passwd"), "IMPORTANT").unwrap();
    fs::set_permissions(&root, Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&etc, Permissions::from_mode(0o755)).unwrap();
    let backups = server.data.join("backups");
    let _ = fs::remove_dir_all(&backups);
    symlink(&etc, &backups).unwrap();
    serve_as(
        OTHER,
        server.data.join("latchkey.sock"),
        answer("/x/passwd"),
    );
    let out = root.join("out.db");
    let line = Line::at(&server.data);
    let told = line.refused(&["backup", text(&out)], 1);
    assert!(told.contains("is a link or no folder"), "{told}");
    // First the name is a link, then it is a file of another user.
    fs::remove_file(&backups).unwrap();
    fs::create_dir(&backups).unwrap();
    symlink(etc.join("passwd"), backups.join("passwd")).unwrap();
    give_away(&backups);
    let told = line.refused(&["backup", text(&out)], 1);
    assert!(told.contains("is a link"), "{told}");
    fs::remove_file(backups.join("passwd")).unwrap();
    fs::hard_link(etc.join("passwd"), backups.join("passwd")).unwrap();
    line.refused(&["backup", text(&out)], 1);
    assert_eq!(fs::read(etc.join("passwd")).unwrap(), b"IMPORTANT");
    assert_eq!(names(&root), ["etc"], "neither a backup nor half of one");
    let _ = fs::remove_dir_all(root);
}

#[test]
fn a_server_of_a_third_user_is_asked_nothing() {
    let Some(server) = foreign() else { return };
    // The fake server must be able to create its socket in the folder.
    fs::set_permissions(&server.data, Permissions::from_mode(0o777)).unwrap();
    serve_as(OTHER + 1, server.data.join("latchkey.sock"), answer("x"));
    fs::set_permissions(
        server.data.join("latchkey.sock"),
        Permissions::from_mode(0o777),
    )
    .unwrap();
    fs::set_permissions(&server.data, Permissions::from_mode(0o700)).unwrap();
    let told = Line::at(&server.data).refused(&["key", "issue", "x"], 1);
    assert!(told.contains("nothing was sent"), "{told}");
}

#[test]
fn a_folder_that_a_third_user_can_exchange_is_refused() {
    let Some(server) = foreign() else { return };
    let top = open_folder();
    fs::set_permissions(&top, Permissions::from_mode(0o755)).unwrap();
    let shared = joined(&top, "shared");
    fs::create_dir(&shared).unwrap();
    symlink(&server.data, shared.join("data")).unwrap();
    let line = Line::at(&shared.join("data"));
    line.ok(&["key", "list"]);
    fs::set_permissions(&shared, Permissions::from_mode(0o777)).unwrap();
    let told = line.refused(&["key", "list"], 1);
    assert!(
        told.contains("could put another folder in its place"),
        "{told}"
    );
    let _ = fs::remove_dir_all(top);
}

#[test]
fn root_does_not_serve_the_folder_of_another_user() {
    let Some(server) = foreign() else { return };
    for command in ["serve", "quickstart"] {
        let told = Line::at(&server.data).refused(&[command, "--listen", "127.0.0.1:0"], 1);
        assert!(
            told.contains(&format!("belongs to user {OTHER}"))
                && told.contains("run it as that user"),
            "{told}"
        );
    }
    check_all_belong_to_the_other(&server.data);
}

//! Files of the data folder that are not what they should be: each command goes on or names the file, and none calls that an internal
//! error.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;

use super::{give_away, joined, names, text};
use crate::command_line::Line;
use crate::support::{Server, fresh_folder};

/// What a file, or a folder, is turned into.
const KINDS: [&str; 4] = ["the other kind", "dangling link", "unreadable", "empty"];
/// What is not read: the lock and the socket are made again.
const NOT_READ: [&str; 2] = ["latchkey.lock", "latchkey.sock"];

/// Files that are only there at times.
const AT_TIMES: [(&str, &str); 6] = [
    ("backups-elsewhere", "/nowhere\n"),
    ("known-nodes", ""),
    ("latchkey.toml", ""),
    ("links-at-stop", "plant-7 1\n"),
    ("longest-lease", "10\n"),
    ("hmac-keys/one", "key\n"),
];

/// A stopped server with a site, and every file that it can have.
fn furnished() -> Server {
    let mut server = Server::start();
    let line = Line::of(&server);
    let folder = fresh_folder();
    let passphrase = joined(&folder, "passphrase");
    fs::write(&passphrase, "seven lanterns over the harbour\n").unwrap();
    let file = joined(&folder, "enrolment");
    let add = ["site", "add", "plant-7", "--workspace", "root", "--out"];
    let with = [text(&file), "--passphrase-file", text(&passphrase)];
    line.ok(&[&add[..], &with].concat());
    line.ok(&["pack", "make", "--site", "plant-7", "--out", text(&folder)]);
    line.ok(&["pack", "rotate-key"]);
    server.stop();
    let private = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode));
    fs::create_dir(server.data.join("hmac-keys")).unwrap();
    private(&server.data.join("hmac-keys"), 0o700).unwrap();
    for (name, content) in AT_TIMES {
        let path = server.data.join(name);
        fs::write(&path, content).unwrap();
        private(&path, 0o600).unwrap();
    }
    let _ = fs::remove_dir_all(folder);
    server
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    fs::set_permissions(to, fs::metadata(from).unwrap().permissions()).unwrap();
    for name in names(from) {
        let path = joined(from, &name);
        match path.is_dir() {
            true => copy(&path, &joined(to, &name)),
            false if path.is_file() => drop(fs::copy(&path, joined(to, &name)).unwrap()),
            false => {}
        }
    }
}

/// Turns a file or folder into something else; `false` if there is no such thing.
fn turn(path: &Path, kind: &str) -> bool {
    let is_folder = path.is_dir();
    let mode = |mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    let remove = || match is_folder {
        true => fs::remove_dir_all(path).unwrap(),
        false => fs::remove_file(path).unwrap(),
    };
    match kind {
        "the other kind" if is_folder => {
            remove();
            fs::write(path, "x").unwrap();
            mode(0o600);
        }
        "the other kind" => {
            remove();
            fs::create_dir(path).unwrap();
            mode(0o700);
        }
        "dangling link" => {
            remove();
            symlink("/nowhere/at-all", path).unwrap();
        }
        "empty" if is_folder => return false,
        "empty" => fs::write(path, "").unwrap(),
        _ => mode(0),
    }
    true
}

#[test]
fn no_strange_file_of_the_data_folder_is_an_internal_error() {
    let server = furnished();
    let top = fresh_folder();
    fs::set_permissions(&top, Permissions::from_mode(0o755)).unwrap();
    let data = joined(&top, "data");
    for name in names(&server.data) {
        if NOT_READ.contains(&&*name) {
            continue;
        }
        for kind in KINDS {
            for command in [
                &["pack", "rotate-key"][..],
                &["site", "list"],
                &["doctor"],
                &["check-config"],
            ] {
                let _ = fs::remove_dir_all(&data);
                copy(&server.data, &data);
                if !turn(&joined(&data, &name), kind) {
                    continue;
                }
                // Root can read everything, so it works as another user, to whom the file does not belong.
                if give_away(&data) && kind == "unreadable" {
                    chown(joined(&data, &name), Some(0), Some(0)).unwrap();
                }
                let ran = Line::at(&data).run(command);
                let shown = format!("{name} as {kind}, {command:?}: {ran:?}");
                let said = format!("{}{}", ran.stdout, ran.stderr);
                assert!(!said.contains("internal error"), "{shown}");
                assert!(matches!(ran.code, Some(0 | 1)), "{shown}");
                let is_doctor = command == ["doctor"];
                assert!(
                    is_doctor || ran.code == Some(0) || said.contains(&name),
                    "{shown}"
                );
            }
        }
    }
    let _ = fs::remove_dir_all(top);
}

/// It may have keys that the database lacks, which nothing else has.
#[test]
fn a_file_of_signing_keys_that_cannot_be_read_is_named_and_left_alone() {
    let server = furnished();
    let line = Line::of(&server);
    let file = server.data.join("signing-keys");
    let kept = fs::read(&file).unwrap();
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    let said = line.refused(&["pack", "rotate-key"], 1);
    assert!(
        said.contains("signing-keys") && said.contains("move it away"),
        "{said}"
    );
    let ran = line.run(&["doctor"]);
    assert!(ran.stdout.contains("signing-keys"), "{ran:?}");
    assert!(file.is_dir());
    fs::remove_dir(&file).unwrap();
    line.ok(&["pack", "rotate-key"]);
    let written = fs::read(&file).unwrap();
    assert!(written.starts_with(&kept) && written.len() > kept.len());
}

//! A command follows no link, replaces no file and leaves no file open to others, even if another user has created
//! something at the path that the command writes to: finding S1.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use super::{joined, names, text};
use crate::command_line::{Line, running_and_stopped};
use crate::support::{Server, fresh_folder};

const PASSPHRASE: &str = "a long passphrase for tests\n";

/// Every command that writes a file to a path from its caller, with the arguments before that path.
fn commands() -> Vec<Vec<&'static str>> {
    vec![
        vec!["backup"],
        vec!["secrets", "backup"],
        vec!["support-bundle"],
        vec!["tls", "self-signed", "--certificate", "@other", "--key"],
        vec!["tls", "self-signed", "--key", "@other", "--certificate"],
    ]
}

fn run(line: &Line, command: &[&str], file: &Path) -> crate::command_line::Ran {
    let other = file.with_extension("other");
    let mut arguments: Vec<&str> = command
        .iter()
        .map(|word| match *word {
            "@other" => text(&other),
            word => word,
        })
        .collect();
    arguments.push(text(file));
    let ran = line.run_with_input(&arguments, &PASSPHRASE.repeat(2));
    let _ = fs::remove_file(other);
    ran
}

#[test]
fn a_command_neither_follows_nor_replaces_what_is_planted() {
    running_and_stopped(|line| {
        for command in commands() {
            let folder = fresh_folder();
            let victim = joined(&folder, "victim");
            fs::write(&victim, "kept").unwrap();
            fs::set_permissions(&victim, Permissions::from_mode(0o600)).unwrap();
            let planted = joined(&folder, "out");
            for plant in ["link", "dangling link", "second name", "file", "folder"] {
                match plant {
                    "link" => symlink(&victim, &planted).unwrap(),
                    "dangling link" => symlink(joined(&folder, "nowhere"), &planted).unwrap(),
                    "second name" => fs::hard_link(&victim, &planted).unwrap(),
                    "file" => fs::write(&planted, "").unwrap(),
                    _ => fs::create_dir(&planted).unwrap(),
                }
                let ran = run(line, &command, &planted);
                assert_eq!(ran.code, Some(1), "{command:?} {plant}: {ran:?}");
                assert!(
                    ran.stderr.contains("is there already"),
                    "{command:?} {plant}: {ran:?}"
                );
                assert_eq!(names(&folder), ["out", "victim"], "{command:?} {plant}");
                assert_eq!(fs::read(&victim).unwrap(), b"kept");
                match plant {
                    "folder" => fs::remove_dir(&planted).unwrap(),
                    _ => fs::remove_file(&planted).unwrap(),
                }
            }
            let _ = fs::remove_dir_all(folder);
        }
    });
}

/// An earlier version used the name with `.partial` as the temporary name.
#[test]
fn a_file_under_a_foreseeable_temporary_name_is_left_alone() {
    running_and_stopped(|line| {
        for command in commands() {
            let folder = fresh_folder();
            let victim = joined(&folder, "victim");
            fs::write(&victim, "kept").unwrap();
            for suffix in [".partial", ".tmp", ".new", "-journal", "-wal"] {
                symlink(&victim, joined(&folder, &format!("out{suffix}"))).unwrap();
            }
            let ran = run(line, &command, &joined(&folder, "out"));
            assert_eq!(ran.code, Some(0), "{command:?}: {ran:?}");
            assert_eq!(fs::read(&victim).unwrap(), b"kept", "{command:?}");
            let made = fs::symlink_metadata(joined(&folder, "out")).unwrap();
            let is_public = command.last() == Some(&"--certificate");
            let open = if is_public { 0o022 } else { 0o077 };
            assert!(made.is_file() && made.nlink() == 1 && made.mode() & open == 0);
            assert_eq!(names(&folder).len(), 7, "{command:?}: nothing else is left");
            let _ = fs::remove_dir_all(folder);
        }
    });
}

/// SQLite does not write directly to a folder where other users can create files, because they could create the files
/// that it opens next to the copy.
#[test]
fn a_backup_into_a_folder_open_to_all_is_whole_and_private() {
    running_and_stopped(|line| {
        for mode in [0o777, 0o1777, 0o775] {
            let folder = fresh_folder();
            fs::set_permissions(&folder, Permissions::from_mode(mode)).unwrap();
            let file = joined(&folder, "b.db");
            line.ok(&["backup", text(&file)]);
            assert_eq!(names(&folder), ["b.db"]);
            assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
            let database = rusqlite::Connection::open(&file).unwrap();
            let events: i64 = database
                .query_row("SELECT count(*) FROM audit_events", [], |row| row.get(0))
                .unwrap();
            assert!(events > 0);
            let _ = fs::remove_dir_all(folder);
        }
        let left = names(line.data());
        assert!(
            !left.iter().any(|name| name.contains("partial")),
            "{left:?}"
        );
    });
}

#[test]
fn secrets_of_keys_made_in_bulk_go_to_a_new_file_or_nothing_is_made() {
    let folder = fresh_folder();
    let victim = joined(&folder, "victim");
    fs::write(&victim, "kept").unwrap();
    symlink(&victim, joined(&folder, "secrets")).unwrap();
    let data = joined(&folder, "data");
    let line = Line::at(&data);
    let secrets = joined(&folder, "secrets");
    let make = ["init", "--keys", "3", "--secrets", text(&secrets)];
    let told = line.refused(&make, 1);
    assert!(told.contains("is there already"), "{told}");
    assert_eq!(fs::read(&victim).unwrap(), b"kept");
    assert!(!data.join("latchkey.db").exists());
    fs::remove_file(&secrets).unwrap();
    line.ok(&make);
    assert_eq!(fs::read_to_string(&secrets).unwrap().lines().count(), 3);
    assert_eq!(fs::metadata(&secrets).unwrap().mode() & 0o777, 0o600);
    let _ = fs::remove_dir_all(folder);
}

#[test]
fn manual_pages_take_the_place_of_links_and_not_of_their_targets() {
    let folder = fresh_folder();
    let victim = joined(&folder, "victim");
    fs::write(&victim, "kept").unwrap();
    let pages = joined(&folder, "man1");
    fs::create_dir(&pages).unwrap();
    symlink(&victim, joined(&pages, "latchkey.1")).unwrap();
    let line = Line::at(Path::new("nowhere"));
    // The pages are written twice, because an upgrade overwrites existing pages.
    for _ in 0..2 {
        line.ok(&["man", "--out", text(&pages)]);
    }
    assert_eq!(fs::read(&victim).unwrap(), b"kept");
    assert!(
        fs::symlink_metadata(joined(&pages, "latchkey.1"))
            .unwrap()
            .is_file()
    );
    assert!(pages.join("latchkey-key-issue.1").is_file());
    assert!(names(&pages).iter().all(|name| name.ends_with(".1")));
    let _ = fs::remove_dir_all(folder);
}

/// The next command removes the temporary files of a killed process from the data folder.
#[test]
fn temporary_files_of_a_killed_process_do_not_stay_in_the_data_folder() {
    let mut server = Server::start();
    server.stop();
    let left = format!(".latchkey-{}.partial", "0".repeat(32));
    fs::create_dir_all(server.data.join("backups")).unwrap();
    for folder in [server.data.clone(), server.data.join("backups")] {
        fs::write(folder.join(&left), "half").unwrap();
    }
    Line::of(&server).ok(&["key", "list"]);
    assert!(!names(&server.data).contains(&left));
    assert!(names(&server.data.join("backups")).is_empty());
}

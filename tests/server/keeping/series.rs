//! Backups in another place: `latchkey backup --into DIR --keep N`, and what the server knows of them.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::metric;
use crate::command_line::{Line, running_and_stopped};
use crate::support::{Server, fresh_folder};

fn backups(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// Makes a backup in this folder and returns its path.
fn make(line: &Line, folder: &Path, keep: &str) -> PathBuf {
    let into = folder.to_str().unwrap();
    let said = line.ok(&["backup", "--into", into, "--keep", keep, "--json"]);
    let told: Value = serde_json::from_str(&said).unwrap_or_else(|err| panic!("{err}: {said}"));
    assert_eq!(told["elsewhere"], true, "{said}");
    told["file"].as_str().unwrap().into()
}

#[test]
fn the_newest_good_backups_of_a_folder_are_kept_and_no_other_file_is_touched() {
    running_and_stopped(|line| {
        let folder = fresh_folder();
        // Files of others, one of them under a name of this form.
        let others = ["latchkey-20200101T000000Z.db", "notes.txt"].map(|name| folder.join(name));
        others.iter().for_each(|path| fs::write(path, "x").unwrap());
        let first = make(line, &folder, "2");
        let second = make(line, &folder, "2");
        let third = make(line, &folder, "2");
        assert!(!first.exists() && second.exists() && third.exists());
        assert!(
            others.iter().all(|path| path.exists()),
            "{:?}",
            backups(&folder)
        );

        // A damaged one does not count, and stays for someone to look at.
        fs::write(&third, "cut").unwrap();
        let into = folder.to_str().unwrap();
        let ran = line.run(&["backup", "--into", into, "--keep", "2"]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert!(ran.stderr.contains("is no good backup any more"), "{ran:?}");
        assert!(second.exists() && third.exists());
        let fifth = make(line, &folder, "2");
        assert!(!second.exists() && third.exists() && fifth.exists());
        assert_eq!(backups(&folder).len(), 5);

        let gone = folder.join("gone");
        let ran = line.run(&["backup", "--into", gone.to_str().unwrap(), "--keep", "2"]);
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(ran.stderr.contains("is not a folder"), "{ran:?}");
        let ran = line.run(&["backup", "--keep", "2"]);
        assert_eq!(ran.code, Some(2), "{ran:?}");
        let _ = fs::remove_dir_all(folder);
    });
}

#[test]
fn a_false_list_has_neither_new_backups_nor_those_of_others_removed() {
    running_and_stopped(|line| {
        let folder = fresh_folder();
        let [first, second, third] = [(); 3].map(|()| make(line, &folder, "9"));
        let bytes = fs::metadata(&first).unwrap().len();
        let others = [
            "latchkey-20200101T000000Z.db",
            "latchkey-20200101T000000Z-00000000.db",
            "latchkey-important.db",
        ];
        let others = others.map(|name| folder.join(name));
        for other in &others {
            fs::copy(&first, other).unwrap();
        }
        // Who owns the data folder can write the list of backups, while root may run the command.
        let entry = |at: &str, path: &Path| format!("{at} {bytes} {}\n", path.display());
        let mut list: String = [
            entry("29900101T000000Z", &first),
            entry("29900102T000000Z", &first),
            entry("29900103T000000Z", &second),
            entry("19990101T000000Z", &third),
        ]
        .concat();
        for other in &others {
            list += &entry("20200101T000000Z", other);
        }
        fs::write(line.data().join("backups-elsewhere"), list).unwrap();
        let into = folder.to_str().unwrap();
        let said = line.ok(&["backup", "--into", into, "--keep", "2", "--json"]);
        let told: Value = serde_json::from_str(&said).unwrap();
        let fourth = Path::new(told["file"].as_str().unwrap());
        assert!(fourth.exists() && third.exists(), "{said}");
        assert!(!first.exists() && !second.exists(), "{said}");
        assert_eq!(told["removed"], json!([second, first]), "{said}");
        assert!(others.iter().all(|other| other.exists()), "{said}");
        let _ = fs::remove_dir_all(folder);
    });
}

#[test]
fn every_spelling_of_the_folder_means_the_same_backups() {
    running_and_stopped(|line| {
        let outer = fresh_folder();
        let folder = outer.join("bk");
        fs::create_dir(&folder).unwrap();
        symlink("bk", outer.join("link")).unwrap();
        let first = make(line, &folder, "1");
        let second = make(line, &outer.join("bk/../bk"), "1");
        assert!(!first.exists() && second.exists());
        let third = make(line, &outer.join("link"), "1");
        assert_eq!(backups(&folder).len(), 1);
        assert!(!second.exists() && third.exists());
        let _ = fs::remove_dir_all(outer);
    });
}

#[test]
fn a_copy_that_cannot_be_moved_does_not_stay_in_the_data_folder() {
    let server = Server::start();
    let folder = fresh_folder();
    fs::create_dir(folder.join("mine")).unwrap();
    // The server cannot write to this path, and this command may write only a few kilobytes to a file.
    let ran = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 8; exec \"$0\" \"$@\""])
        .arg(env!("CARGO_BIN_EXE_latchkey"))
        .args(["backup", "/proc/self/cwd/mine/b.db", "--data"])
        .arg(&server.data)
        .current_dir(&folder)
        .output()
        .unwrap();
    assert_eq!(ran.status.code(), Some(1), "{ran:?}");
    assert_eq!(backups(&server.data.join("backups")).len(), 0, "{ran:?}");
    assert_eq!(backups(&folder.join("mine")).len(), 0, "{ran:?}");
    let text = server.anonymous().get("/metrics").expect(200).text();
    assert!(!text.contains("\nlatchkey_backup_age_seconds "), "{text}");
    let _ = fs::remove_dir_all(folder);
}

#[test]
fn a_backup_from_the_future_hides_no_other() {
    let mut server = Server::start();
    let line = Line::of(&server);
    let future = "29900101T000000Z";
    let folder = server.data.join("backups");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(format!("asked-{future}.db")), "wrong").unwrap();
    let list = format!("{future} 5 /mnt/wrong.db\n");
    fs::write(server.data.join("backups-elsewhere"), list).unwrap();
    server.restart();
    let wrong = "made while the clock was wrong";
    let told = line.run(&["doctor"]).stdout;
    assert!(told.contains(wrong), "{told}");
    let text = server.anonymous().get("/metrics").expect(200).text();
    assert!(!text.contains("\nlatchkey_backup_age_seconds "), "{text}");

    let made: Value = serde_json::from_str(&line.ok(&["backup", "--json"])).unwrap();
    for _ in ["running", "started anew"] {
        let age = metric(&server, "latchkey_backup_age_seconds");
        assert!((0.0..3600.0).contains(&age), "{age}");
        let told = line.run(&["doctor"]).stdout;
        let latest = format!("the latest is {}", made["file"].as_str().unwrap());
        assert!(told.contains(&latest) && !told.contains(wrong), "{told}");
        let listed = server.local().get("/v1/backups").expect(200).json();
        assert_eq!(listed["items"][0]["file"], made["file"], "{listed}");
        server.restart();
    }
}

#[test]
fn the_newest_backup_is_known_wherever_it_was_made() {
    let mut server = Server::start();
    let line = Line::of(&server);
    let folder = fresh_folder();
    let path = folder.join("monday.db");
    line.ok(&["backup", path.to_str().unwrap()]);
    let latest = format!("the latest is {}", path.display());
    server.restart();
    assert!(metric(&server, "latchkey_backup_age_seconds") < 3600.0);
    for _ in ["running", "stopped"] {
        let told = line.run(&["doctor"]).stdout;
        assert!(
            told.contains(&latest) && told.contains("(not looked into)"),
            "{told}"
        );
        server.stop();
    }
    server.restart();
    let listed = server.local().get("/v1/backups").expect(200).json();
    assert_eq!(listed["items"][0]["elsewhere"], true, "{listed}");

    // A typing error in a path is no failure of the schedule.
    let nowhere = folder.join("none/b.db");
    assert_eq!(
        line.run(&["backup", nowhere.to_str().unwrap()]).code,
        Some(1)
    );
    assert_eq!(metric(&server, "latchkey_backup_failures_total"), 0.0);
    let _ = fs::remove_dir_all(folder);
}

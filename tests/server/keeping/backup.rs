//! Backups: complete, made while the server works, and never half written. Attacks 208, 225, 232, promise P8.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use serde_json::{Value, json};

use super::kill::Killer;
use super::metric;
use crate::command_line::{Line, running_and_stopped};
use crate::durability::file;
use crate::faults::left_out;
use crate::support::{Issued, PASSWORD, Server, executable, fresh_folder, together, wait};

#[test]
fn a_backup_is_a_private_file_and_replaces_nothing() {
    running_and_stopped(|line| {
        let folder = fresh_folder();
        let path = folder.join("b.db");
        let said = line.ok(&["backup", path.to_str().unwrap()]);
        assert!(
            said.contains("b.db") && said.contains("secrets backup"),
            "{said}"
        );
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(
            fs::read_dir(&folder).unwrap().count(),
            1,
            "nothing else is left"
        );
        let before = fs::read(&path).unwrap();
        let again = line.run(&["backup", path.to_str().unwrap()]);
        assert_eq!(again.code, Some(1), "{again:?}");
        assert!(again.stderr.contains("is there already"), "{again:?}");
        assert_eq!(fs::read(&path).unwrap(), before);
        let nowhere = folder.join("none/b.db");
        let refused = line.run(&["backup", nowhere.to_str().unwrap()]);
        assert!(refused.stderr.contains("cannot be written"), "{refused:?}");
        let told: Value = serde_json::from_str(&line.ok(&["backup", "--json"])).unwrap();
        let own = PathBuf::from(told["file"].as_str().unwrap());
        assert_eq!(
            fs::metadata(&own).unwrap().len(),
            told["bytes"].as_u64().unwrap()
        );
        let _ = fs::remove_dir_all(folder);
    });
}

/// Simulates systemd, under which the server may write only to its own folder: `/proc/self` is a different path for
/// each process.
#[test]
fn a_backup_lands_where_the_command_says_even_if_the_server_cannot_write_there() {
    let server = Server::start();
    let folder = fresh_folder();
    fs::create_dir(folder.join("mine")).unwrap();
    let ran = executable(None)
        .args(["backup", "/proc/self/cwd/mine/b.db", "--json", "--data"])
        .arg(&server.data)
        .current_dir(&folder)
        .output()
        .unwrap();
    assert!(ran.status.success(), "{ran:?}");
    let told: Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!(told["file"], "/proc/self/cwd/mine/b.db");
    let made = fs::metadata(folder.join("mine/b.db")).unwrap();
    assert_eq!(told["bytes"], made.len());
    assert_eq!(made.permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(folder.join("mine")).unwrap().count(), 1);
    let own = fs::read_dir(server.data.join("backups")).unwrap();
    assert_eq!(own.count(), 0, "it was moved");
    let _ = fs::remove_dir_all(folder);
}

// attacks 117, 208
#[test]
fn only_owners_back_up_and_only_the_machine_says_where() {
    let server = Server::start();
    let admin = server.admin();
    admin.person("olga", "owner", "root");
    for role in ["administrator", "key_manager", "auditor", "member"] {
        admin.person(role, role, "root");
        let user = server.anonymous().signed_in(role, PASSWORD);
        assert_eq!(user.post("/v1/backups", json!({})).status, 403, "{role}");
        assert_eq!(user.get("/v1/backups").status, 403, "{role}");
    }
    let owner = server.anonymous().signed_in("olga", PASSWORD);
    let made = owner.post("/v1/backups", json!({})).expect(201).json();
    assert_eq!(
        owner.get("/v1/backups").expect(200).json()["items"][0],
        made
    );
    let elsewhere = json!({ "file": "/tmp/latchkey-no.db" });
    assert_eq!(owner.post("/v1/backups", elsewhere.clone()).status, 403);
    assert_eq!(
        server.anonymous().post("/v1/backups", json!({})).status,
        401
    );
    let relative = server
        .local()
        .post("/v1/backups", json!({ "file": "b.db" }));
    assert_eq!(relative.expect(422).json()["field"], "file");
    assert_eq!(owner.post("/v1/backups/secrets", json!({})).status, 403);
    let events = admin
        .get("/v1/audit-events?action=backup.create")
        .expect(200)
        .json();
    let outcomes: Vec<&str> = events["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["outcome"].as_str().unwrap())
        .collect();
    assert!(
        outcomes.contains(&"allowed") && outcomes.contains(&"denied"),
        "{events}"
    );
    assert!(metric(&server, "latchkey_backup_age_seconds") < 60.0);
}

// promise P8, attacks 225
#[test]
fn a_backup_under_load_holds_all_that_was_acknowledged_before() {
    let server = Server::start();
    let admin = server.admin();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let (admin, stop) = (admin.clone(), &stop);
            scope.spawn(move || {
                let mut number = 0;
                while !stop.load(Relaxed) {
                    admin.issue(json!({ "name": format!("load {worker} {number}") }));
                    number += 1;
                }
            });
        }
        for round in 0..5 {
            let marker = admin.issue(json!({ "name": format!("before {round}") }));
            let made = server
                .local()
                .post("/v1/backups", json!({}))
                .expect(201)
                .json();
            check_holds(made["file"].as_str().unwrap(), &marker);
        }
        stop.store(true, Relaxed);
    });
}

/// Backups that are requested at the same moment could get the same name.
#[test]
fn of_backups_at_once_each_that_is_told_of_is_whole() {
    let server = Server::start();
    let key = server.admin().issue(json!({ "name": "k" }));
    let mut files = BTreeSet::new();
    for _ in 0..5 {
        let made = together(8, |_| server.local().post("/v1/backups", json!({})));
        let told: Vec<String> = made
            .into_iter()
            .filter(|answer| answer.status != 409)
            .map(|answer| {
                let made = answer.expect(201).json();
                made["file"].as_str().unwrap().to_owned()
            })
            .collect();
        assert!(!told.is_empty(), "none was made");
        for file in told {
            check_holds(&file, &key);
            assert!(files.insert(file.clone()), "{file} was told of twice");
        }
    }
    let there = fs::read_dir(server.data.join("backups")).unwrap().count();
    assert_eq!(there, files.len(), "nothing else is left");
    let events = server
        .admin()
        .get("/v1/audit-events?action=backup.create&limit=500");
    let events = events.expect(200).json();
    assert_eq!(
        events["items"].as_array().unwrap().len(),
        files.len(),
        "{events}"
    );
}

/// Checks that the backup is a complete database and contains the key.
#[track_caller]
fn check_holds(backup: &str, key: &Issued) {
    let folder = fresh_folder();
    fs::copy(backup, folder.join("latchkey.db")).unwrap();
    let log = file::check(&folder);
    let issued = ("key.issue".to_owned(), key.id.clone());
    assert!(log.contains_key(&issued), "{} is missing", key.id);
    assert!(
        log.keys().any(|(action, _)| action == "backup.create"),
        "its own event is missing"
    );
    let _ = fs::remove_dir_all(folder);
}

#[test]
fn backups_come_by_themselves_and_the_oldest_go() {
    let mut server = Server::start();
    let folder = server.data.join("backups");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("asked-20200101T000000Z.db"), "asked").unwrap();
    for day in 1..=5 {
        let name = format!("scheduled-2020010{day}T000000Z.db");
        fs::write(folder.join(name), "old").unwrap();
    }
    // A backup from a day when the clock was wrong: it must not prevent new backups until that date.
    fs::write(folder.join("scheduled-29900101T000000Z.db"), "wrong").unwrap();
    server.stop();
    let mut server = server.with_args(&["--backup-every", "1h", "--backup-keep", "3"]);
    server.restart();
    let names = || {
        let mut names: Vec<String> = fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    wait::until("there are as many backups as stay", || names().len() == 4);
    let kept = names();
    assert_eq!(
        kept[..3],
        [
            "asked-20200101T000000Z.db",
            "scheduled-20200104T000000Z.db",
            "scheduled-20200105T000000Z.db"
        ]
    );
    wait::pause(Duration::from_secs(3));
    assert_eq!(names(), kept, "the next one is an hour away");
}

#[test]
fn a_scheduled_backup_that_fails_is_counted_and_told() {
    let mut server = Server::start();
    let folder = server.data.join("backups");
    let _ = fs::remove_dir(&folder);
    fs::write(&folder, "a file in the way").unwrap();
    fs::set_permissions(&folder, Permissions::from_mode(0o600)).unwrap();
    server.stop();
    let mut server = server.with_args(&["--backup-every", "1h", "--backup-keep", "3"]);
    server.restart();
    server.wait_for_log("the scheduled backup failed", 1);
    assert_eq!(metric(&server, "latchkey_backup_failures_total"), 1.0);
    let line = Line::of(&server);
    let told = line.run(&["doctor"]);
    assert_eq!(told.code, Some(1), "{told:?}");
    assert!(told.stdout.contains("failed   backups"), "{told:?}");
    assert!(told.stdout.contains("scheduled one failed"), "{told:?}");
    // A backup on request fails as well, with an error for the caller alone; then the folder is writable again.
    server.admin().post("/v1/backups", json!({})).expect(503);
    assert_eq!(metric(&server, "latchkey_backup_failures_total"), 1.0);
    fs::remove_file(&folder).unwrap();
    line.ok(&["backup"]);
}

// attacks 212, 225
#[test]
fn a_backup_that_is_killed_at_any_step_leaves_none_or_a_whole_one() {
    let Some(killer) = Killer::build() else {
        return left_out("kills at each step: there is no C compiler");
    };
    let mut server = Server::start();
    let key = server.admin().issue(json!({ "name": "k" }));
    server.stop();
    let folder = fresh_folder();
    let path = folder.join("b.db");
    let steps = killer.each_step(
        1,
        || {
            let _ = fs::remove_file(&path);
            let mut command = executable(None);
            command
                .arg("backup")
                .arg(&path)
                .arg("--data")
                .arg(&server.data);
            command
        },
        |step, output| {
            if path.exists() {
                check_holds(path.to_str().unwrap(), &key);
            }
            let done = output.status.success();
            assert!(path.exists() || !done, "step {step}: done, and no file");
        },
    );
    assert!(steps > 20, "only {steps} steps were met");
    file::check(&server.data);
    Line::of(&server).ok(&["audit", "verify"]);
    let _ = fs::remove_dir_all(folder);
}

/// A deleted database file is still open in the server, and can be backed up.
#[test]
fn a_database_that_was_deleted_can_be_saved() {
    let mut server = Server::start();
    let key = server.admin().issue(json!({ "name": "k" }));
    for name in ["latchkey.db", "latchkey.db-wal", "latchkey.db-shm"] {
        let _ = fs::remove_file(server.data.join(name));
    }
    let line = Line::of(&server);
    let saved = fresh_folder().join("saved.db");
    line.ok(&["backup", saved.to_str().unwrap()]);
    server.stop();
    line.ok(&["restore", saved.to_str().unwrap(), "--yes"]);
    server.restart();
    assert_eq!(server.anonymous().verdict(&key.secret), "VALID");
    server.assert_alive();
}

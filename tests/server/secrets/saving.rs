//! Backups of the key files, backups of the database from before a rotation, and files that the server cannot replace.

use super::{in_file, retire, rotate, versions};
use crate::command_line::Line;
use crate::keeping::restore::{back_up, restore};
use crate::support::{Server, executable, fresh_folder, refusal};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const PASSPHRASE: &str = "correct horse battery\n";

fn save(line: &Line, file: &Path) {
    let args = ["secrets", "backup", file.to_str().unwrap()];
    let saved = line.run_with_input(&args, PASSPHRASE);
    assert_eq!(saved.code, Some(0), "{saved:?}");
}

/// The check of `doctor` with this name.
fn check(line: &Line, name: &str) -> Value {
    let doctor = line.run(&["doctor", "--json"]);
    let doctor: Value = serde_json::from_str(&doctor.stdout).unwrap();
    let checks = doctor["checks"].as_array().unwrap();
    let own = checks.iter().find(|check| check["name"] == name);
    own.unwrap().clone()
}

#[test]
fn a_rotation_makes_the_backup_of_the_key_files_stale() {
    let server = Server::start();
    let line = Line::of(&server);
    let folder = fresh_folder();
    let name = "backup of key files";
    let first = check(&line, name);
    assert!(
        first["text"].as_str().unwrap().contains("none was ever"),
        "{first}"
    );
    save(&line, &folder.join("first"));
    assert_eq!(check(&line, name)["finding"], "ok");
    assert_eq!(server.admin().newest_event()["action"], "secrets.backup");
    rotate(&server, "seal-key");
    let stale = check(&line, name);
    assert_eq!(stale["finding"], "warning", "{stale}");
    let text = stale["text"].as_str().unwrap();
    assert!(
        text.contains("stale") && text.contains("seal key"),
        "{text}"
    );
    let status = server.admin().get("/v1/secrets").json();
    assert_eq!(status["unsaved"], json!(["seal-key"]));
    // A copy that was made before the rotation, and is noted after it, is stale, too.
    let saved = json!({ "pepper": 1, "sealing_key": 1, "seal_key": 1 });
    server
        .local()
        .post("/v1/backups/secrets", saved)
        .expect(204);
    assert_eq!(check(&line, name)["finding"], "warning");
    save(&line, &folder.join("second"));
    assert_eq!(check(&line, name)["finding"], "ok");
    assert!(versions(&server.admin(), "seal-key")[1]["backed_up_at"].is_string());
    let _ = fs::remove_dir_all(folder);
}

#[test]
fn a_backup_of_the_database_from_before_a_rotation_is_restored_and_brought_up_to_date() {
    let mut server = Server::start();
    let admin = server.admin();
    let key = admin.issue(json!({ "name": "k" }));
    let folder = fresh_folder();
    let older = folder.join("older");
    save(&Line::of(&server), &older);
    let backup = back_up(&server);
    for file in super::FILES {
        rotate(&server, file);
    }
    restore(&mut server, &backup, &[]);
    server.restart();
    let admin = server.admin();
    assert_eq!(admin.verdict(&key.secret), "VALID");
    crate::support::wait::until("everything is sealed again", || {
        let all = versions(&server.admin(), "seal-key");
        all.len() == 2 && all[1]["settled"] == true && all[0]["rows"] == 0
    });
    Line::of(&server).ok(&["doctor"]);

    // Once the version is retired, the backup needs the key files of its time.
    let ending = json!({ "file": "pepper", "version": 1, "disable_unseen": true });
    retire(&server, ending).expect(200);
    server.stop();
    let line = Line::of(&server);
    let refused = line.refused(&["restore", backup.to_str().unwrap(), "--yes"], 1);
    assert!(refused.contains("lacks version 1"), "{refused}");
    line.ok(&["key", "list"]);
    let new = folder.join("new/data");
    fs::create_dir(folder.join("new")).unwrap();
    let new = Line::at(&new);
    let back = new.run_with_input(&["secrets", "restore", older.to_str().unwrap()], PASSPHRASE);
    assert_eq!(back.code, Some(0), "{back:?}");
    new.ok(&["restore", backup.to_str().unwrap(), "--yes"]);
    let verified = new.run_with_input(&["key", "verify"], &format!("{}\n", key.secret));
    assert!(verified.stdout.contains("VALID"), "{verified:?}");
    let _ = fs::remove_dir_all(folder);
}

#[test]
fn a_folder_with_newer_versions_has_what_an_older_backup_of_the_key_files_has() {
    let mut server = Server::start();
    let folder = fresh_folder();
    let older = folder.join("older");
    fs::create_dir(server.data.join("hmac-keys")).unwrap();
    let hmac = server.data.join("hmac-keys/old-system");
    fs::write(&hmac, b"\x00[key]\n").unwrap();
    fs::set_permissions(&hmac, fs::Permissions::from_mode(0o600)).unwrap();
    save(&Line::of(&server), &older);
    rotate(&server, "pepper");
    server.stop();
    let line = Line::of(&server);
    let args = ["secrets", "restore", older.to_str().unwrap()];
    let back = line.run_with_input(&args, PASSPHRASE);
    assert!(back.stdout.contains("nothing was changed"), "{back:?}");
    assert_eq!(in_file(&server.data, "pepper"), [1, 2]);
    // The HMAC keys of other systems are in it, too.
    fs::remove_file(&hmac).unwrap();
    let back = line.run_with_input(&args, PASSPHRASE);
    assert!(back.stdout.contains("hmac-keys/old-system"), "{back:?}");
    assert_eq!(fs::read(&hmac).unwrap(), b"\x00[key]\n");
    let mode = fs::metadata(&hmac).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // The other way round, the file would lose nothing, but it is not replaced.
    let newer = folder.join("newer");
    save(&line, &newer);
    let text = fs::read_to_string(server.data.join("pepper")).unwrap();
    let first = text.lines().next().unwrap();
    fs::write(server.data.join("pepper"), format!("{first}\n")).unwrap();
    let args = ["secrets", "restore", newer.to_str().unwrap()];
    let refused = line.run_with_input(&args, PASSPHRASE);
    assert!(refused.stderr.contains("is another one"), "{refused:?}");
    let _ = fs::remove_dir_all(folder);
}

/// The service manager provides the files, so an administrator replaces their sources.
#[test]
fn credentials_are_rotated_and_retired_by_hand() {
    let mut server = Server::start();
    let key = server.admin().issue(json!({ "name": "k" }));
    server.stop();
    let folder = fresh_folder();
    let credentials = folder.join("credentials");
    fs::create_dir(&credentials).unwrap();
    for file in super::FILES {
        fs::rename(server.data.join(file), credentials.join(file)).unwrap();
    }
    let run = |args: &[&str]| {
        let mut command = executable(None);
        command.args(args).arg("--data").arg(&server.data);
        command.env("CREDENTIALS_DIRECTORY", &credentials);
        refusal::ended(&mut command)
    };
    let refused = run(&["secrets", "rotate"]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    for words in [
        "credential of the service manager",
        "printf '2 %s",
        "restart the server",
    ] {
        assert!(refused.stderr.contains(words), "{words}: {refused:?}");
    }
    assert_eq!(in_file(&credentials, "pepper"), [1]);

    let source = credentials.join("pepper");
    let text = fs::read_to_string(&source).unwrap();
    fs::write(&source, format!("{text}2 {}\n", "ab".repeat(32))).unwrap();
    let file = folder.join("secret");
    fs::write(&file, &key.secret).unwrap();
    let verify = ["key", "verify", "--secret-file", file.to_str().unwrap()];
    let verified = run(&verify);
    assert!(verified.stdout.contains("VALID"), "{verified:?}");
    let status = run(&["secrets", "status"]);
    assert!(status.stdout.contains("2 (newest)"), "{status:?}");
    let retired = run(&[
        "secrets",
        "retire",
        "pepper",
        "1",
        "--disable-unseen",
        "--yes",
    ]);
    assert_eq!(retired.code, Some(0), "{retired:?}");
    assert!(retired.stdout.contains("remove the line"), "{retired:?}");
    assert_eq!(in_file(&credentials, "pepper"), [1, 2]);
    // Until the line is removed, the version is there again after each start.
    let status = run(&["secrets", "status", "--json"]);
    assert!(status.stdout.contains("\"version\":1"), "{status:?}");
    run(&["secrets", "retire", "pepper", "1"]);
    fs::write(&source, format!("2 {}\n", "ab".repeat(32))).unwrap();
    let verified = run(&verify);
    assert!(verified.stdout.contains("VALID"), "{verified:?}");
    let _ = fs::remove_dir_all(folder);
}

//! Restore: it accepts only a complete backup of this server, and gives back no access that was withdrawn.
//! Attacks 195, 212, 221.

use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use serde_json::{Value, json};

use super::kill::Killer;
use crate::command_line::Line;
use crate::durability::file;
use crate::faults::left_out;
use crate::people::second_factor::{enrol, sign_in};
use crate::support::{PASSWORD, Server, executable, fresh_folder};

pub fn back_up(server: &Server) -> PathBuf {
    let made = server
        .local()
        .post("/v1/backups", json!({}))
        .expect(201)
        .json();
    PathBuf::from(made["file"].as_str().unwrap())
}

/// Stops the server, restores, and returns the output of the command.
#[track_caller]
pub fn restore(server: &mut Server, backup: &Path, more: &[&str]) -> Value {
    server.stop();
    let mut args = vec!["restore", backup.to_str().unwrap(), "--yes", "--json"];
    args.extend(more);
    let said = Line::of(server).ok(&args);
    serde_json::from_str(&said).unwrap()
}

/// The old secret of a rotation that was ended since the backup stays ended. What happened before the backup is in it: the
/// newest secret is not taken for the one that was replaced.
#[test]
fn a_restore_ends_the_old_secret_that_was_ended_since_and_keeps_the_newest() {
    let mut server = Server::start();
    let admin = server.admin();
    let [before, since, twice] =
        ["before", "since", "twice"].map(|name| admin.issue(json!({ "name": name })));
    let rotate = |id: &str| admin.rotate(id, json!({ "grace_s": 3_600 }));
    let [newer_before, newer_since, newer_twice] =
        [&before, &since, &twice].map(|key| rotate(&key.id));
    let end = |id: &str| admin.delete(&format!("/v1/keys/{id}/previous")).expect(204);
    end(&before.id);
    end(&twice.id);
    let backup = back_up(&server);
    end(&since.id);
    let newest_twice = rotate(&twice.id);

    restore(&mut server, &backup, &[]);
    server.restart();
    let verdict = |secret: &str| server.anonymous().verdict(secret);
    assert_eq!(verdict(&before.secret), "NOT_FOUND");
    assert_eq!(
        verdict(&newer_before.secret),
        "VALID",
        "it was the newest one already"
    );
    assert_eq!(verdict(&since.secret), "NOT_FOUND", "it was ended since");
    assert_eq!(verdict(&newer_since.secret), "VALID");
    assert_eq!(
        verdict(&newer_twice.secret),
        "NOT_FOUND",
        "it was replaced since"
    );
    assert_eq!(
        verdict(&newest_twice.secret),
        "NOT_FOUND",
        "the backup is older"
    );
}

#[test]
fn nobody_gets_in_again_who_was_shut_out_since_the_backup() {
    let mut server = Server::start();
    let admin = server.admin();
    let issue = |name: &str| admin.issue(json!({ "name": name }));
    let [stays, deleted, disabled, rotated, narrowed, reopened] = [
        "stays", "deleted", "disabled", "rotated", "narrowed", "reopened",
    ]
    .map(issue);
    let counted = admin.issue(json!({ "name": "counted", "uses_left": 5 }));
    admin.workspace("closed", "root");
    admin.workspace("gone", "root");
    let in_closed = admin.issue(json!({ "name": "c", "workspace": "closed" }));
    for name in ["off", "gone", "changed", "demoted"] {
        admin.person(name, "key_manager", "root");
    }
    let owned = admin.issue(json!({ "name": "owned", "owner": "gone" }));
    let catalog =
        json!({ "scopes": [{ "name": "a:read" }, { "name": "b:read" }], "operations": [] });
    admin.put("/v1/catalogs/shop", catalog).expect(201);
    let shopper = admin.issue(json!({ "name": "s", "catalog": "shop", "scopes": ["a:read"] }));
    let buyer = admin.issue(json!({ "name": "b", "catalog": "shop", "scopes": ["b:read"] }));
    let session = server.anonymous().signed_in("demoted", PASSWORD);
    let backup = back_up(&server);

    let path = |key: &crate::support::Issued| format!("/v1/keys/{}", key.id);
    admin.delete(&path(&deleted)).expect(204);
    admin
        .post(&format!("{}/disable", path(&disabled)), json!({}))
        .expect(200);
    let newer = admin.rotate(&rotated.id, json!({}));
    admin
        .patch(&path(&narrowed), json!({ "allowed_ips": ["192.0.2.1"] }))
        .expect(200);
    admin
        .post(&format!("{}/disable", path(&reopened)), json!({}))
        .expect(200);
    admin
        .post(&format!("{}/enable", path(&reopened)), json!({}))
        .expect(200);
    for _ in 0..5 {
        assert_eq!(server.anonymous().verdict(&counted.secret), "VALID");
    }
    admin
        .patch("/v1/workspaces/closed", json!({ "enabled": false }))
        .expect(200);
    admin.delete("/v1/workspaces/gone").expect(204);
    admin
        .patch("/v1/users/off", json!({ "enabled": false }))
        .expect(200);
    admin.delete("/v1/users/gone").expect(204);
    let password = json!({ "password": "nine herons on a cold pier" });
    admin
        .post("/v1/users/changed/password", password)
        .expect(204);
    let roles = json!({ "roles": [{ "workspace": "root", "role": "member" }] });
    admin.put("/v1/users/demoted/roles", roles).expect(200);
    let smaller = json!({ "scopes": [{ "name": "b:read" }], "operations": [] });
    admin.put("/v1/catalogs/shop", smaller).expect(200);
    let late = issue("late");

    let said = restore(&mut server, &backup, &[]);
    assert_eq!(said["tombstones"], true, "{said}");
    server.restart();
    let verdict = |secret: &str| server.anonymous().verdict(secret);
    assert_eq!(verdict(&stays.secret), "VALID");
    assert_eq!(verdict(&reopened.secret), "VALID", "it was open in the end");
    assert_eq!(verdict(&deleted.secret), "NOT_FOUND");
    assert_eq!(verdict(&disabled.secret), "DISABLED");
    assert_eq!(
        verdict(&rotated.secret),
        "NOT_FOUND",
        "its secret was replaced"
    );
    assert_eq!(
        verdict(&newer.secret),
        "NOT_FOUND",
        "nobody knows the new one any more"
    );
    assert_eq!(verdict(&narrowed.secret), "DISABLED");
    assert_eq!(verdict(&counted.secret), "USAGE_EXCEEDED");
    assert_eq!(verdict(&in_closed.secret), "WORKSPACE_DISABLED");
    assert_eq!(verdict(&owned.secret), "OWNER_DISABLED");
    assert_eq!(
        verdict(&late.secret),
        "NOT_FOUND",
        "it came after the backup"
    );
    assert_eq!(
        verdict(&shopper.secret),
        "DISABLED",
        "it had lost its scope"
    );
    let asked = admin.verify(json!({ "key": buyer.secret, "scopes": ["b:read"] }));
    assert_eq!(
        asked["code"], "INSUFFICIENT_SCOPE",
        "the catalog waits: {asked}"
    );
    assert_eq!(session.get("/v1/keys").status, 401, "sessions end");
    for (user, password) in [
        ("off", PASSWORD),
        ("gone", PASSWORD),
        ("changed", PASSWORD),
        ("demoted", PASSWORD),
    ] {
        let body = json!({ "user_name": user, "password": password });
        let answer = server.anonymous().post("/v1/sessions", body);
        assert_eq!(answer.status, 401, "{user}: {}", answer.exchange());
    }
    assert_eq!(admin.get("/v1/workspaces/gone").status, 404);

    let event = admin
        .get("/v1/audit-events?action=server.restore")
        .expect(200)
        .json();
    assert_eq!(
        event["items"][0]["changes"]["keys_deleted"],
        json!(["0", "1"]),
        "{event}"
    );
    // An administrator can enable the objects that may be used again.
    admin
        .post(&format!("{}/enable", path(&narrowed)), json!({}))
        .expect(200);
    assert_eq!(verdict(&narrowed.secret), "VALID");
    let again = admin.rotate(&rotated.id, json!({}));
    assert_eq!(verdict(&again.secret), "VALID");
    let line = Line::of(&server);
    line.ok(&["audit", "verify"]);
    server.stop();
    assert!(!server.log().contains("older copy"), "{}", server.log());
    server.restart();
    assert_eq!(
        server.anonymous().verdict(&narrowed.secret),
        "VALID",
        "and stays open"
    );
}

#[test]
fn a_restore_names_the_users_whose_recovery_codes_it_has_deleted() {
    let mut server = Server::start();
    server.admin().person("alice", "member", "root");
    let (_, codes) = enrol(&server.local(), "alice");
    let backup = back_up(&server);
    sign_in(&server, "alice", Some(&codes[0]));
    let said = restore(&mut server, &backup, &[]);
    let line = "users without recovery codes, to make new ones (1): alice";
    let mut closed = said["closed"].as_array().unwrap().iter();
    assert!(closed.any(|one| one == line), "{said}");
    server.restart();
    let events = server
        .admin()
        .get("/v1/audit-events?action=server.restore")
        .expect(200)
        .json();
    assert_eq!(
        events["items"][0]["changes"]["users_without_recovery_codes"],
        json!(["0", "1"]),
        "{events}"
    );
}

/// Restores a backup that was made after the first restore, and one that was made before it; the two have different
/// histories.
#[test]
fn a_second_restore_from_another_history_brings_nobody_back_either() {
    let mut server = Server::start();
    let admin = server.admin();
    let first = back_up(&server);
    let key = admin.issue(json!({ "name": "k" }));
    let second = back_up(&server);
    admin.delete(&format!("/v1/keys/{}", key.id)).expect(204);
    restore(&mut server, &first, &[]);
    restore(&mut server, &second, &[]);
    server.restart();
    assert_eq!(server.anonymous().verdict(&key.secret), "NOT_FOUND");
}

#[test]
fn an_older_copy_put_there_by_hand_is_closed_at_the_next_start() {
    let mut server = Server::start();
    let admin = server.admin();
    let key = admin.issue(json!({ "name": "k" }));
    let backup = back_up(&server);
    admin.delete(&format!("/v1/keys/{}", key.id)).expect(204);
    server.stop();
    fs::copy(&backup, server.data.join("latchkey.db")).unwrap();
    server.restart();
    assert_eq!(server.anonymous().verdict(&key.secret), "NOT_FOUND");
    assert!(server.log().contains("older copy"), "{}", server.log());
    server.stop();
    let told = server.log().matches("older copy").count();
    server.restart();
    assert_eq!(
        server.log().matches("older copy").count(),
        told,
        "once is enough"
    );
}

/// A lost file of tombstones is created again from the audit log, and an incomplete line loses at most itself.
#[test]
fn tombstones_survive_a_lost_file_and_a_torn_line() {
    let mut server = Server::start();
    let admin = server.admin();
    let key = admin.issue(json!({ "name": "k" }));
    let other = admin.issue(json!({ "name": "other" }));
    let backup = back_up(&server);
    admin.delete(&format!("/v1/keys/{}", key.id)).expect(204);
    server.kill9();
    let file = server.data.join("tombstones");
    fs::remove_file(&file).unwrap();
    server.restart();
    admin.delete(&format!("/v1/keys/{}", other.id)).expect(204);
    server.kill9();
    // Cuts the last line, which is a mark, in the middle.
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, &bytes[..bytes.len() - 9]).unwrap();
    server.restart();
    restore(&mut server, &backup, &[]);
    server.restart();
    assert_eq!(server.anonymous().verdict(&key.secret), "NOT_FOUND");
    assert_eq!(server.anonymous().verdict(&other.secret), "NOT_FOUND");
}

#[test]
fn a_new_machine_needs_the_secrets_first() {
    let mut server = Server::start();
    let key = server.admin().issue(json!({ "name": "k" }));
    let backup = back_up(&server);
    let line = Line::of(&server);
    let folder = fresh_folder();
    let secrets = folder.join("secrets");
    let passphrase = "correct horse battery\n";
    let saved = line.run_with_input(
        &["secrets", "backup", secrets.to_str().unwrap()],
        passphrase,
    );
    assert_eq!(saved.code, Some(0), "{saved:?}");
    let pepper = fs::read_to_string(server.data.join("pepper")).unwrap();
    let locked = fs::read_to_string(&secrets).unwrap();
    assert!(!locked.contains(pepper.trim()[2..].get(..20).unwrap()));
    assert_eq!(server.admin().newest_event()["action"], "secrets.backup");
    let short = line.run_with_input(
        &["secrets", "backup", folder.join("x").to_str().unwrap()],
        "short\n",
    );
    assert_eq!(short.code, Some(1), "{short:?}");

    let new = Line::at(&folder.join("data"));
    let early = new.run(&["restore", backup.to_str().unwrap(), "--yes"]);
    assert!(early.stderr.contains("secrets restore"), "{early:?}");
    let wrong = new.run_with_input(
        &["secrets", "restore", secrets.to_str().unwrap()],
        "incorrect horse\n",
    );
    assert!(wrong.stderr.contains("cannot be opened"), "{wrong:?}");
    let back = new.run_with_input(
        &["secrets", "restore", secrets.to_str().unwrap()],
        passphrase,
    );
    assert_eq!(back.code, Some(0), "{back:?}");
    let said = new.ok(&["restore", backup.to_str().unwrap(), "--yes"]);
    assert!(said.contains("is not known"), "{said}");
    let verified = new.run_with_input(&["key", "verify"], &format!("{}\n", key.secret));
    assert!(verified.stdout.contains("VALID"), "{verified:?}");
    // The secrets of another server are never overwritten.
    let mut other = Server::start();
    other.stop();
    let refused = Line::of(&other).run_with_input(
        &["secrets", "restore", secrets.to_str().unwrap()],
        passphrase,
    );
    assert!(refused.stderr.contains("is another one"), "{refused:?}");
    server.stop();
    let _ = fs::remove_dir_all(folder);
}

// attacks 195, 221, 227, 234
#[test]
fn what_is_no_backup_of_this_server_is_refused_and_nothing_changes() {
    let mut server = Server::start();
    let good = fs::read(back_up(&server)).unwrap();
    let foreign = Server::start();
    let foreign = fs::read(back_up(&foreign)).unwrap();
    let running = Line::of(&server).run(&["restore", "/dev/null", "--yes"]);
    assert!(running.stderr.contains("stop it first"), "{running:?}");
    server.stop();
    let before = fs::read(server.data.join("latchkey.db")).unwrap();
    let folder = fresh_folder();
    let altered = |name: &str, sql: &str| {
        let path = folder.join(name);
        fs::write(&path, &good).unwrap();
        Connection::open(&path).unwrap().execute_batch(sql).unwrap();
        fs::read(path).unwrap()
    };
    let flipped = {
        let mut bytes = good.clone();
        for page in (8192..bytes.len()).step_by(4096) {
            bytes[page] ^= 0x55;
        }
        bytes
    };
    let other = {
        let path = folder.join("other");
        Connection::open(&path)
            .unwrap()
            .execute_batch("CREATE TABLE t (a)")
            .unwrap();
        fs::read(path).unwrap()
    };
    let trigger =
        "CREATE TRIGGER t AFTER DELETE ON sessions BEGIN UPDATE keys SET enabled = 1; END";
    let cases: [(&str, Vec<u8>, &str); 13] = [
        ("empty", Vec::new(), "damaged or no database"),
        (
            "text",
            b"no database at all".to_vec(),
            "damaged or no database",
        ),
        ("cut", good[..good.len() / 2].to_vec(), "latchkey: "),
        ("flipped", flipped, "latchkey: "),
        ("another product's", other, "not a Latchkey database"),
        (
            "newer",
            altered("n", "PRAGMA user_version = 99"),
            "newer Latchkey",
        ),
        (
            "never released",
            altered("z", "PRAGMA user_version = 0"),
            "no release ever wrote",
        ),
        (
            "a trigger",
            altered("t", trigger),
            "trigger t does not belong there",
        ),
        (
            "a view",
            altered("v", "CREATE VIEW v AS SELECT 1"),
            "view v does not belong there",
        ),
        (
            "no index",
            altered("i", "DROP INDEX keys_owner"),
            "index keys_owner is missing",
        ),
        (
            "a column",
            altered("c", "ALTER TABLE keys ADD COLUMN x TEXT"),
            "table keys is not what it should be",
        ),
        (
            "a changed event",
            altered("e", "UPDATE audit_events SET actor = 'x' WHERE seq = 2"),
            "tampered with: event 2",
        ),
        ("another server's", foreign, "pepper"),
    ];
    for (name, bytes, words) in cases {
        let path = folder.join("backup.db");
        fs::write(&path, bytes).unwrap();
        let ran = Line::of(&server).run(&["restore", path.to_str().unwrap(), "--yes"]);
        assert_eq!(ran.code, Some(1), "{name}: {ran:?}");
        assert!(ran.stderr.contains(words), "{name}: {ran:?}");
        assert!(
            !ran.stderr.contains("latchkey.db.restored"),
            "{name}: {ran:?}"
        );
        assert_eq!(
            fs::read(server.data.join("latchkey.db")).unwrap(),
            before,
            "{name}"
        );
        let left: Vec<_> = fs::read_dir(&server.data)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.contains("restor") || name.contains("before"))
            .collect();
        assert!(left.is_empty(), "{name}: {left:?}");
    }
    let path = folder.join("backup.db");
    fs::write(&path, &good).unwrap();
    fs::write(folder.join("backup.db-wal"), "frames").unwrap();
    let ran = Line::of(&server).run(&["restore", path.to_str().unwrap(), "--yes"]);
    assert!(ran.stderr.contains("copy of a database in use"), "{ran:?}");
    let database = server.data.join("latchkey.db");
    let ran = Line::of(&server).run(&["restore", database.to_str().unwrap(), "--yes"]);
    assert!(ran.stderr.contains("is the database itself"), "{ran:?}");
    let asked = Line::of(&server).run(&["restore", path.to_str().unwrap()]);
    assert_ne!(asked.code, Some(0), "{asked:?}");
    server.restart();
    server.assert_alive();
    let _ = fs::remove_dir_all(folder);
}

// attacks 212
#[test]
fn a_restore_that_is_killed_at_any_step_leaves_the_old_or_the_new() {
    let Some(killer) = Killer::build() else {
        return left_out("kills at each step: there is no C compiler");
    };
    let mut server = Server::start();
    let admin = server.admin();
    let deleted = admin.issue(json!({ "name": "deleted" }));
    let backup = back_up(&server);
    admin
        .delete(&format!("/v1/keys/{}", deleted.id))
        .expect(204);
    let late = admin.issue(json!({ "name": "late" }));
    // Killed with a write-ahead log next to the database, which is the difficult case.
    server.kill9();
    let original = server.data.clone();
    let folder = fresh_folder();
    let data = folder.join("data");
    let (mut olds, mut news) = (0, 0);
    let seen = std::cell::RefCell::new((&mut olds, &mut news));
    let steps = killer.each_step(
        3,
        || {
            let _ = fs::remove_dir_all(&data);
            copy_folder(&original, &data);
            let mut command = executable(None);
            command
                .arg("restore")
                .arg(&backup)
                .args(["--yes", "--data"])
                .arg(&data);
            command
        },
        |step, output| {
            let line = Line::at(&data);
            let verdict = |secret: &str| {
                let ran = line.run_with_input(&["key", "verify", "--json"], &format!("{secret}\n"));
                let told: Value = serde_json::from_str(&ran.stdout)
                    .unwrap_or_else(|_| panic!("step {step}: {ran:?}"));
                told["code"].as_str().unwrap().to_owned()
            };
            assert_eq!(verdict(&deleted.secret), "NOT_FOUND", "step {step}");
            let is_old = verdict(&late.secret) == "VALID";
            assert!(
                !(is_old && output.status.success()),
                "step {step}: done, and still the old one"
            );
            line.ok(&["audit", "verify"]);
            file::check(&data);
            let mut seen = seen.borrow_mut();
            *if is_old { &mut *seen.0 } else { &mut *seen.1 } += 1;
        },
    );
    assert!(
        olds > 0 && news > 1,
        "{steps} steps: {olds} old, {news} new"
    );
    let _ = fs::remove_dir_all(folder);
}

pub fn copy_folder(from: &Path, to: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::create_dir(to).unwrap();
    fs::set_permissions(to, fs::Permissions::from_mode(0o700)).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
        }
    }
}

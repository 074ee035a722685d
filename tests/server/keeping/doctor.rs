//! `latchkey doctor` and the support bundle. Attacks 137, 139, 202, 206, 232.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::command_line::{Line, Ran, running_and_stopped};
use crate::support::{PASSWORD, Server, fresh_folder};

fn doctor(line: &Line) -> (Ran, Value) {
    let ran = line.run(&["doctor", "--json"]);
    let told = serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("{ran:?}"));
    (ran, told)
}

/// The result of one check.
#[track_caller]
fn finding<'a>(told: &'a Value, name: &str) -> &'a Value {
    let checks = told["checks"].as_array().unwrap();
    let check = checks.iter().find(|check| check["name"] == name);
    check.unwrap_or_else(|| panic!("no {name} in {told}"))
}

#[track_caller]
fn check_failed(data: &Path, name: &str, words: &str) {
    let (ran, told) = doctor(&Line::at(data));
    let check = finding(&told, name);
    assert_eq!(ran.code, Some(1), "{told}");
    assert_eq!(check["finding"], "failed", "{told}");
    assert!(check["text"].as_str().unwrap().contains(words), "{check}");
    assert!(!check["advice"].as_str().unwrap().is_empty(), "{check}");
}

#[test]
fn a_healthy_server_is_told_so_running_or_not() {
    running_and_stopped(|line| {
        line.ok(&[
            "key",
            "issue",
            "k",
            "--allow-ip",
            "192.0.2.0/24",
            "--expires-in",
            "30d",
        ]);
        let edited = line.ok(&["key", "issue", "other", "--secret-only"]);
        line.ok(&["key", "edit", &edited[3..13], "--name", "new"]);
        line.ok(&["key", "disable", &edited[3..13]]);
        line.ok(&["key", "rotate", &edited[3..13]]);
        line.ok(&["key", "delete", &edited[3..13], "--yes"]);
        let (ran, told) = doctor(line);
        assert_eq!(ran.code, Some(0), "{told}");
        assert_eq!(told["healthy"], true, "{told}");
        for check in told["checks"].as_array().unwrap() {
            let is_backup =
                ["backups", "backup of key files"].contains(&check["name"].as_str().unwrap());
            let wanted = if is_backup { "warning" } else { "ok" };
            assert_eq!(check["finding"], wanted, "{check}");
        }
        let text = line.ok(&["doctor"]);
        assert!(
            text.contains("ok       audit log") && text.contains("Not seen by this"),
            "{text}"
        );
    });
}

// attacks 139, 206
#[test]
fn rows_that_were_changed_past_the_server_are_named() {
    let mut server = Server::start();
    let admin = server.admin();
    let issue = |name: &str| admin.issue(json!({ "name": name }));
    let (off, ended, moved, gone) = (issue("off"), issue("ended"), issue("moved"), issue("gone"));
    admin.workspace("below", "root");
    let disable = format!("/v1/keys/{}/disable", off.id);
    admin.post(&disable, json!({})).expect(200);
    let end = json!({ "expires_in_s": 60 });
    admin
        .patch(&format!("/v1/keys/{}", ended.id), end)
        .expect(200);
    admin.delete(&format!("/v1/keys/{}", gone.id)).expect(204);
    server.stop();
    let database = Connection::open(server.data.join("latchkey.db")).unwrap();
    for (sql, id) in [
        ("UPDATE keys SET enabled = 1 WHERE id = ?1", &off.id),
        ("UPDATE keys SET expires_at = NULL WHERE id = ?1", &ended.id),
        (
            "UPDATE keys SET workspace_uid = (SELECT uid FROM workspaces WHERE slug = 'below') WHERE id = ?1",
            &moved.id,
        ),
        ("UPDATE keys SET deleted_at = NULL WHERE id = ?1", &gone.id),
    ] {
        assert_eq!(database.execute(sql, [id]).unwrap(), 1, "{sql}");
    }
    drop(database);
    for (id, member) in [
        (&off.id, "enabled"),
        (&ended.id, "expires_at"),
        (&moved.id, "workspace"),
        (&gone.id, "deleted"),
    ] {
        check_failed(
            &server.data,
            "keys and audit log",
            &format!("key {id}: {member}"),
        );
    }
}

/// Runs SQL statements on the database, outside the server.
#[track_caller]
fn tamper(data: &Path, sql: &str) {
    let database = Connection::open(data.join("latchkey.db")).unwrap();
    database.pragma_update(None, "foreign_keys", false).unwrap();
    database
        .execute_batch(sql)
        .unwrap_or_else(|err| panic!("{sql}: {err}"));
}

/// A change that was undone leaves no trace, and no other row is reported meanwhile.
// attacks 139, 206
#[test]
fn whoever_changes_users_workspaces_policies_or_catalogs_past_the_server_is_found_out() {
    let mut server = Server::start();
    let admin = server.admin();
    admin.workspace("emea", "root");
    admin.person("alice", "member", "root");
    let bob = admin.person("bob", "member", "root");
    admin.delete(&format!("/v1/users/{}", bob)).expect(204);
    let catalog = json!({
        "scopes": [{ "name": "a:read" }, { "name": "a:write" }],
        "operations": [{ "id": "list", "method": "GET", "path": "/a", "access": "read", "any_of": ["a:read"] }],
    });
    admin.put("/v1/catalogs/shop", catalog).expect(201);
    admin
        .put(
            "/v1/catalogs/gone",
            json!({ "scopes": [], "operations": [] }),
        )
        .expect(201);
    admin.delete("/v1/catalogs/gone").expect(204);
    server.stop();
    let line = Line::at(&server.data);
    assert_eq!(doctor(&line).0.code, Some(0));
    let kept = fresh_folder().join("kept.db");
    fs::copy(server.data.join("latchkey.db"), &kept).unwrap();
    for (sql, name, words) in [
        ("UPDATE role_bindings SET role = 'owner' WHERE role = 'member'", "users", "user alice"),
        ("UPDATE users SET enabled = 0 WHERE user_name = 'alice'", "users", "user alice"),
        (
            "UPDATE users SET password_digest = (SELECT password_digest FROM users WHERE user_name = 'alice')
             WHERE user_name = 'owner'",
            "users",
            "user owner",
        ),
        ("UPDATE users SET deleted_at = NULL WHERE user_name = 'bob'", "users", "user bob"),
        ("DELETE FROM users WHERE user_name = 'alice'", "users", "(last recorded: event"),
        (
            "DELETE FROM row_seals WHERE id = (SELECT uid FROM users WHERE user_name = 'alice');
             DELETE FROM users WHERE user_name = 'alice'",
            "users",
            "user.create",
        ),
        (
            "INSERT INTO users (uid, number, user_name, home_uid, password_digest, password_seal_key, enabled, generation, created_at)
                 SELECT '00000000-0000-4000-8000-000000000000', 4711, 'mallory', home_uid, password_digest, password_seal_key,
                        1, 0, 0 FROM users WHERE user_name = 'alice'",
            "users",
            "user mallory",
        ),
        ("UPDATE workspaces SET enabled = 0 WHERE slug = 'emea'", "workspaces", "workspace emea"),
        ("UPDATE policies SET can_rotate = 1 - can_rotate WHERE name = 'standard'", "policies", "policy standard"),
        ("UPDATE policies SET self_rotation = 'grace' WHERE name = 'standard'", "policies", "policy standard"),
        ("UPDATE catalog_operations SET any_of = 'a:write' WHERE catalog = 'shop'", "catalogs", "catalog shop"),
        ("UPDATE catalog_scopes SET implies = 'a:write' WHERE name = 'a:read'", "catalogs", "catalog shop"),
        ("DELETE FROM catalogs WHERE name = 'shop'", "catalogs", "catalog shop"),
        ("INSERT INTO catalogs (name) VALUES ('gone')", "catalogs", "catalog gone"),
        ("UPDATE row_seals SET seq = seq + 100 WHERE id = 'shop'", "catalogs", "catalog shop"),
    ] {
        tamper(&server.data, sql);
        check_failed(&server.data, &format!("{name} as recorded"), words);
        let (_, told) = doctor(&line);
        for other in ["users", "workspaces", "policies", "catalogs"] {
            let wanted = if other == name { "failed" } else { "ok" };
            let check = finding(&told, &format!("{other} as recorded"));
            assert_eq!(check["finding"], wanted, "{sql}: {check}");
        }
        fs::copy(&kept, server.data.join("latchkey.db")).unwrap();
    }
    assert_eq!(doctor(&line).0.code, Some(0));
    // An unchecked name in the database cannot move the cursor.
    tamper(
        &server.data,
        "UPDATE users SET user_name = 'x' || char(27) || '[2j' WHERE user_name = 'alice'",
    );
    let told = line.run(&["doctor"]);
    assert!(told.stdout.contains("user x\\u{1b}[2j"), "{told:?}");
}

#[test]
fn an_older_row_with_its_older_seal_does_not_fit_the_log() {
    let mut server = Server::start();
    let alice = server.admin().person("alice", "key_manager", "root");
    server.stop();
    let older = fresh_folder().join("older.db");
    fs::copy(server.data.join("latchkey.db"), &older).unwrap();
    let line = Line::at(&server.data);
    line.ok(&["user", "disable", "alice"]);
    let put_back = format!(
        "ATTACH '{}' AS older;
         UPDATE users SET (enabled, generation) =
             (SELECT enabled, generation FROM older.users WHERE uid = '{uid}') WHERE uid = '{uid}';
         UPDATE row_seals SET (seq, seal) =
             (SELECT seq, seal FROM older.row_seals WHERE id = '{uid}') WHERE id = '{uid}';",
        older.display(),
        uid = alice,
    );
    tamper(&server.data, &put_back);
    check_failed(&server.data, "users as recorded", "user alice");
}

#[test]
fn a_session_that_was_given_to_somebody_else_is_named() {
    let mut server = Server::start();
    let admin = server.admin();
    admin.person("alice", "member", "root");
    admin.person("bob", "member", "root");
    server.anonymous().signed_in("alice", PASSWORD);
    let form = format!("grant_type=password&username=bob&password={PASSWORD}");
    let form = form.replace(' ', "+");
    let kind = "application/x-www-form-urlencoded";
    let anonymous = server.anonymous();
    let token = anonymous.send("POST", "/api/v3/token", kind, form.as_bytes());
    token.expect(200);
    server.stop();
    let line = Line::at(&server.data);
    assert_eq!(doctor(&line).0.code, Some(0));
    let kept = fresh_folder().join("kept.db");
    fs::copy(server.data.join("latchkey.db"), &kept).unwrap();
    let owner = "(SELECT uid FROM users WHERE user_name = 'owner')";
    let bob = "(SELECT uid FROM users WHERE user_name = 'bob')";
    for sql in [
        format!("UPDATE sessions SET user_uid = {owner} WHERE user_uid = {bob}"),
        format!("UPDATE refresh_tokens SET user_uid = {owner} WHERE user_uid = {bob}"),
        format!(
            "UPDATE sessions SET acting_uid = user_uid, acting_generation = generation, acting_family = id,
                 user_uid = {owner} WHERE user_uid = {bob}"
        ),
    ] {
        tamper(&server.data, &sql);
        check_failed(&server.data, "sessions and audit log", "not of the user");
        fs::copy(&kept, server.data.join("latchkey.db")).unwrap();
    }
}

/// The traces of a repeated change, or of one that another change has overtaken, are not reported.
#[test]
fn a_user_who_was_disabled_twice_or_deleted_while_signed_in_is_no_finding() {
    let mut server = Server::start();
    let admin = server.admin();
    admin.person("alice", "member", "root");
    let bob = admin.person("bob", "member", "root");
    for name in ["alice", "bob"] {
        server.anonymous().signed_in(name, PASSWORD);
    }
    for enabled in [false, false, true, true, false] {
        let edit = json!({ "enabled": enabled });
        admin.patch("/v1/users/alice", edit).expect(200);
    }
    admin.delete(&format!("/v1/users/{bob}")).expect(204);
    let check = |line: &Line| {
        let (ran, told) = doctor(line);
        assert_eq!(ran.code, Some(0), "{told}");
        for name in ["users as recorded", "sessions and audit log"] {
            assert_eq!(finding(&told, name)["finding"], "ok", "{told}");
        }
    };
    check(&Line::of(&server));
    server.stop();
    check(&Line::at(&server.data));
}

/// A change by the server seals the row again. The earlier change outside the server is recorded as an event.
#[test]
fn a_later_change_does_not_make_tampering_good() {
    let mut server = Server::start();
    server.admin().person("alice", "member", "root");
    server.stop();
    tamper(
        &server.data,
        "UPDATE role_bindings SET role = 'owner' WHERE role = 'member'",
    );
    server.restart();
    server.wait_for_log("user alice (last recorded: event", 1);
    let line = Line::of(&server);
    line.ok(&["user", "edit", "alice", "--email", "alice@example.com"]);
    let (ran, told) = doctor(&line);
    assert_eq!(ran.code, Some(0), "{told}");
    let check = finding(&told, "users as recorded");
    assert_eq!(check["finding"], "warning", "{check}");
    assert!(
        check["text"]
            .as_str()
            .unwrap()
            .contains("user alice (event"),
        "{check}"
    );
    let events = line.ok(&["audit", "list", "--action", "user.tampered", "--json"]);
    assert!(events.contains("past Latchkey"), "{events}");
    line.ok(&["audit", "verify"]);
}

#[test]
fn a_row_that_was_planted_is_named() {
    let mut server = Server::start();
    server.stop();
    let database = Connection::open(server.data.join("latchkey.db")).unwrap();
    let columns = "number, name, description, workspace_uid, policy, scopes, read_only, enabled, metadata, created_by, created_at, hint";
    let sql = format!(
        "INSERT INTO keys (id, {columns}) SELECT 'plantedkey', number + 100, {} FROM keys LIMIT 1",
        columns.trim_start_matches("number, ")
    );
    assert_eq!(database.execute(&sql, []).unwrap(), 1);
    drop(database);
    check_failed(
        &server.data,
        "keys and audit log",
        "key plantedkey was never issued",
    );
}

#[test]
fn the_id_of_the_node_is_read_and_its_rights_are_judged_after_a_start() {
    let mut server = Server::start();
    let node_id = server.data.join("node-id");
    let id = fs::read_to_string(&node_id).unwrap();
    for wrong in [
        "",
        &id[1..],
        &"0".repeat(32),
        &format!("{}0", id.trim_end()),
    ] {
        fs::write(&node_id, wrong).unwrap();
        check_failed(&server.data, "node id", "32 hexadecimal digits");
    }
    server.stop();
    // The command does not start here, and the cause is named once.
    let (_, told) = doctor(&Line::at(&server.data));
    let checks = told["checks"].as_array().unwrap();
    let failed = checks.iter().filter(|check| check["finding"] == "failed");
    assert_eq!(failed.count(), 1, "{told}");
    fs::write(&node_id, &id).unwrap();
    fs::set_permissions(&node_id, Permissions::from_mode(0o644)).unwrap();
    let (ran, told) = doctor(&Line::at(&server.data));
    assert_eq!(finding(&told, "file modes")["finding"], "ok", "{told}");
    assert_eq!(finding(&told, "node id")["finding"], "ok", "{told}");
    assert_eq!(ran.code, Some(0), "{told}");
    assert!(
        ran.stderr.contains("these rights were taken away"),
        "{ran:?}"
    );
}

#[test]
fn each_fault_is_told_with_what_to_do() {
    let mut server = Server::start();
    let data = server.data.clone();
    // A certificate is public, but doctor would report that other users can change it.
    Line::at(&data).ok(&["tls", "self-signed"]);
    assert_eq!(doctor(&Line::at(&data)).0.code, Some(0));
    let certificate = data.join("tls-certificate.pem");
    fs::set_permissions(&certificate, Permissions::from_mode(0o664)).unwrap();
    check_failed(&data, "file modes", "tls-certificate.pem (664)");
    fs::remove_file(certificate).unwrap();
    fs::write(data.join("note"), "x").unwrap();
    fs::set_permissions(data.join("note"), Permissions::from_mode(0o644)).unwrap();
    check_failed(&data, "file modes", "note (644)");
    fs::remove_file(data.join("note")).unwrap();

    for name in ["pepper", "sealing-key", "seal-key"] {
        let text = fs::read(data.join(name)).unwrap();
        fs::remove_file(data.join(name)).unwrap();
        check_failed(&data, "key files", "cannot be read");
        fs::write(data.join(name), &text).unwrap();
        fs::set_permissions(data.join(name), Permissions::from_mode(0o600)).unwrap();
    }

    fs::rename(data.join("tombstones"), data.join("elsewhere")).unwrap();
    check_failed(&data, "tombstones", "is not there");
    fs::rename(data.join("elsewhere"), data.join("tombstones")).unwrap();

    fs::rename(data.join("latchkey.db"), data.join("elsewhere")).unwrap();
    check_failed(&data, "writing", "deleted or replaced");
    fs::rename(data.join("elsewhere"), data.join("latchkey.db")).unwrap();

    // While the server runs, too, rows are compared with what was last written.
    server.admin().person("alice", "member", "root");
    server.admin().workspace("emea", "root");
    let catalog = json!({ "scopes": [{ "name": "a:read" }], "operations": [] });
    let put = server.admin().put("/v1/catalogs/shop", catalog);
    put.expect(201);
    server.anonymous().signed_in("alice", PASSWORD);
    for (sql, name, words) in [
        (
            "UPDATE keys SET read_only = 1 WHERE name = 'sample'",
            "keys and audit log",
            "differ",
        ),
        (
            "UPDATE role_bindings SET role = 'owner' WHERE role = 'member'",
            "users as recorded",
            "alice",
        ),
        (
            "UPDATE workspaces SET enabled = 0 WHERE slug = 'emea'",
            "workspaces as recorded",
            "emea",
        ),
        (
            "UPDATE policies SET can_rotate = 0 WHERE name = 'standard'",
            "policies as recorded",
            "standard",
        ),
        (
            "DELETE FROM catalog_scopes WHERE catalog = 'shop'",
            "catalogs as recorded",
            "shop",
        ),
        (
            "UPDATE sessions SET expires_at = expires_at + 1000",
            "sessions and audit log",
            "changed in another way",
        ),
    ] {
        let database = Connection::open(data.join("latchkey.db")).unwrap();
        assert_eq!(database.execute(sql, []).unwrap(), 1, "{sql}");
        drop(database);
        check_failed(&data, name, words);
    }

    server.stop();
    let database = Connection::open(data.join("latchkey.db")).unwrap();
    database
        .execute("UPDATE audit_events SET actor = 'x' WHERE seq = 2", [])
        .unwrap();
    drop(database);
    check_failed(&data, "audit log", "tampered with: event 2");
    let mut bytes = fs::read(data.join("latchkey.db")).unwrap();
    bytes[..16].copy_from_slice(b"no database here");
    fs::write(data.join("latchkey.db"), bytes).unwrap();
    check_failed(&data, "server", "damaged or no database");
}

// attacks 137, 138, 202
#[test]
fn a_support_bundle_holds_no_secret_no_digest_and_no_name() {
    let mut server = Server::start();
    let admin = server.admin();
    admin.person("alicia", "key_manager", "root");
    let user = server.anonymous().signed_in("alicia", PASSWORD);
    let mut hidden = vec![
        server.management_key.clone(),
        server.secret.clone(),
        server.owner_password.clone(),
        PASSWORD.to_owned(),
    ];
    for number in 0..10 {
        let key = user.issue(json!({ "name": format!("payroll {number}") }));
        hidden.push(admin.rotate(&key.id, json!({ "grace_s": 60 })).secret);
        hidden.push(key.secret);
        server
            .anonymous()
            .bearer(hidden.last().unwrap())
            .get("/v1/keys");
        // A client may send a secret in a place where a name is expected.
        admin.get(&format!("/v1/keys/{}", hidden[hidden.len() - 1]));
    }
    for name in ["pepper", "sealing-key", "seal-key"] {
        let text = fs::read_to_string(server.data.join(name)).unwrap();
        hidden.push(text.trim().split_once(' ').unwrap().1.to_owned());
    }
    let check = |server: &Server, hidden: &[String]| {
        let path = fresh_folder().join("bundle.json");
        Line::of(server).ok(&["support-bundle", path.to_str().unwrap()]);
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let text = fs::read_to_string(&path).unwrap();
        let bundle: Value = serde_json::from_str(&text).unwrap();
        assert!(bundle["server"]["events"].as_array().unwrap().len() > 20);
        for secret in hidden {
            let part = secret.get(13..).unwrap_or(secret);
            assert!(!text.contains(part), "{part} is in the bundle");
        }
        for name in ["alicia", "payroll"] {
            assert!(!text.contains(name), "{name} is in the bundle");
        }
        text
    };
    check(&server, &hidden);
    // A result that names a user appears only on this machine, not in the bundle.
    tamper(
        &server.data,
        "UPDATE users SET email = 'x@y' WHERE user_name = 'alicia'",
    );
    check_failed(&server.data, "users as recorded", "alicia");
    check(&server, &hidden);
    server.stop();
    let text = check(&server, &hidden);
    // The bundle contains no digest of a secret or a password, no sealed copy and no seal of the log.
    let database = Connection::open(server.data.join("latchkey.db")).unwrap();
    let mut digests = 0;
    for sql in [
        "SELECT digest FROM secrets",
        "SELECT password_digest FROM users WHERE password_digest IS NOT NULL",
        "SELECT fingerprint FROM peppers",
        "SELECT seal FROM audit_head",
        "SELECT previous FROM audit_events WHERE seq > 1",
    ] {
        let mut statement = database.prepare(sql).unwrap();
        let rows = statement
            .query_map([], |row| row.get::<_, Vec<u8>>(0))
            .unwrap();
        for digest in rows.map(Result::unwrap) {
            let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            assert!(!text.to_lowercase().contains(&hex[..16]), "{sql}");
            digests += 1;
        }
    }
    assert!(digests > 20);
}

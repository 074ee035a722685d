//! A data folder of every released schema can be opened, and everything in it works. Promise P10.
//!
//! `src/store/migrations/` tests that a migration is complete or has no effect, also when it is killed;
//! `folder::database` tests that a newer database is refused and stays unchanged.

use std::fs::{self, Permissions};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::command_line::Line;
use crate::durability::file;
use crate::support::{Server, fresh_folder};

const HELP: &str = "If schema.sql has changed: before the first release of this schema, run dev/fixture and commit what it \
                    makes; after it, add a step to src/store/migrations, and run dev/fixture.";

#[test]
fn every_released_schema_opens_with_all_that_is_in_it() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/schema");
    let mut seen = 0;
    for entry in fs::read_dir(fixtures).expect("there are fixtures") {
        let fixture = entry.unwrap().path();
        let folder = fresh_folder();
        let data = data_of(&fixture, &folder);
        let line = Line::at(&data);
        check_folder(&line);
        let verdicts = fs::read_to_string(fixture.join("verdicts.txt")).unwrap();
        for expected in verdicts.lines() {
            let (code, secret) = expected.split_once(' ').unwrap();
            let ran = line.run_with_input(&["key", "verify", "--json"], &format!("{secret}\n"));
            let told: Value =
                serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("{ran:?}\n{HELP}"));
            assert_eq!(told["code"], code, "{}: {told}\n{HELP}", fixture.display());
            seen += 1;
        }
        line.ok(&["audit", "verify"]);
        check_migrated(&line);
        file::check(&data);
        let _ = fs::remove_dir_all(folder);
    }
    assert!(seen >= 10, "{seen}");
}

/// The doctor finds no fault in the folder.
#[track_caller]
fn check_folder(line: &Line) {
    let doctor = line.run(&["doctor", "--json"]);
    let told: Value = serde_json::from_str(&doctor.stdout).unwrap();
    // The date is later than what the fixture has recorded, and not believed for a while.
    let checks = told["checks"].as_array().unwrap().iter();
    let mut failed = checks.filter(|it| it["finding"] == "failed" && it["name"] != "clock");
    assert_eq!(failed.next(), None, "{told}\n{HELP}");
}

/// Creates a data folder with the content of a fixture.
fn data_of(fixture: &Path, folder: &Path) -> PathBuf {
    let data = folder.join("data");
    fs::DirBuilder::new().mode(0o700).create(&data).unwrap();
    for name in [
        "latchkey.db",
        "pepper",
        "sealing-key",
        "seal-key",
        "tombstones",
    ] {
        if !fixture.join(name).exists() {
            // Schema 5 brought the seal key.
            continue;
        }
        fs::copy(fixture.join(name), data.join(name)).unwrap();
        fs::set_permissions(data.join(name), Permissions::from_mode(0o600)).unwrap();
    }
    data
}

/// Under schema 4 the pepper bound passwords to their users, and now the seal key does.
#[test]
fn a_password_of_schema_4_is_bound_anew_at_the_next_sign_in() {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/schema/4");
    let mut server = Server::start();
    server.stop();
    fs::remove_dir_all(&server.data).unwrap();
    let data = data_of(&fixture, server.data.parent().unwrap());
    server.restart();
    let bound_by = || -> (Option<i64>, Option<i64>) {
        let sql = "SELECT password_pepper, password_seal_key FROM users WHERE user_name = 'alice'";
        let database = Connection::open(data.join("latchkey.db")).unwrap();
        let columns = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
        database.query_row(sql, [], columns).unwrap()
    };
    let mode = fs::metadata(data.join("seal-key"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let session = |password: &str| {
        let body = json!({ "user_name": "alice", "password": password });
        server.anonymous().post("/v1/sessions", body).status
    };
    assert_eq!(session("seven lanterns over the harbou"), 401);
    assert_eq!(bound_by(), (Some(1), None));
    for _ in 0..2 {
        assert_eq!(session("seven lanterns over the harbour"), 201);
        assert_eq!(bound_by(), (None, Some(1)));
    }
    assert_eq!(session("seven lanterns over the harbou"), 401);
    server.stop();
    check_folder(&Line::at(&data));
    // Without the seal key, the folder is of no use, and no new one is made.
    let kept = fs::read(data.join("seal-key")).unwrap();
    fs::remove_file(data.join("seal-key")).unwrap();
    let refused = Line::at(&data).run(&["key", "list"]);
    assert!(
        refused.stderr.contains("seal-key is missing"),
        "{refused:?}"
    );
    assert!(!data.join("seal-key").exists());
    fs::write(data.join("seal-key"), kept).unwrap();
    fs::set_permissions(data.join("seal-key"), Permissions::from_mode(0o600)).unwrap();
    Line::at(&data).ok(&["key", "list"]);
}

/// Until schema 3 an operation without scopes was for every key of its catalog, and so it stays.
#[test]
fn an_operation_without_scopes_stays_open_to_every_key() {
    for schema in ["1", "2"] {
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/schema");
        let folder = fresh_folder();
        let data = data_of(&fixture.join(schema), &folder);
        let database = Connection::open(data.join("latchkey.db")).unwrap();
        let without_scopes: i64 = database
            .query_row(
                "SELECT count(*) FROM catalog_operations WHERE any_of = ''",
                [],
                |row| row.get(0),
            )
            .unwrap();
        assert!(without_scopes > 0, "{schema}");
        drop(database);
        let line = Line::at(&data);
        let catalogs = line.json(&["catalog", "list"]);
        let operations = catalogs
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|it| it["operations"].as_array().unwrap());
        let (mut open, mut scoped) = (0, 0);
        for operation in operations {
            match operation["any_key"] == true {
                true => open += 1,
                false => scoped += i64::from(!operation["any_of"].as_array().unwrap().is_empty()),
            }
        }
        assert_eq!(open, without_scopes, "{schema}: {catalogs}");
        assert!(scoped > 0, "{schema}");
        let _ = fs::remove_dir_all(folder);
    }
}

/// Sessions and refresh tokens of schema 1 had no seals, and one that was assigned to another user outside the server
/// must not be sealed.
#[test]
fn whoever_was_signed_in_under_schema_1_signs_in_again() {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/schema/1");
    let folder = fresh_folder();
    let data = data_of(&fixture, &folder);
    let database = Connection::open(data.join("latchkey.db")).unwrap();
    for sql in [
        "INSERT INTO sessions (id, digest, pepper, user_uid, generation, read_only, issued_at, expires_at)
         SELECT 'aaaaaaaaaa', zeroblob(32), 1, uid, 0, 0, 1, 9000000000000000 FROM users LIMIT 1",
        "INSERT INTO refresh_tokens (id, digest, pepper, user_uid, generation, read_only, issued_at, expires_at, family, session_id)
         SELECT 'aaaaaaaaa1', zeroblob(32), 1, uid, 0, 0, 1, 9000000000000000, 'aaaaaaaaaa', 'aaaaaaaaaa' FROM users LIMIT 1",
    ] {
        assert_eq!(database.execute(sql, []).unwrap(), 1);
    }
    drop(database);
    Line::at(&data).ok(&["audit", "verify"]);
    let database = Connection::open(data.join("latchkey.db")).unwrap();
    for table in ["sessions", "refresh_tokens"] {
        let sql = format!("SELECT count(*) FROM {table}");
        let left: i64 = database.query_row(&sql, [], |row| row.get(0)).unwrap();
        assert_eq!(left, 0, "{table}");
    }
    let _ = fs::remove_dir_all(folder);
}

/// "Everything may be edited" is stored as such: a member that a later version adds can be edited after an upgrade,
/// too.
fn check_migrated(line: &Line) {
    let standard = line.json(&["policy", "show", "standard"]);
    assert_eq!(standard["editable"], serde_json::json!(["*"]));
    // No user has edited the policy, so it has the values that a first start sets today.
    assert_eq!(standard["keys_per_owner_max"], 1_000);
    // Keys that could be rotated may still rotate themselves; keys that could not must not begin to.
    assert_eq!(standard["self_rotation"], "at_once");
    let aware = line.json(&["policy", "show", "aware"]);
    assert_eq!(aware["self_rotation"], "no");
    // What programs make is replaced and not refused, and a limit of requests is a bound.
    let token = line.json(&["policy", "show", "adverity-token"]);
    assert_eq!(token["at_owner_max"], "replace");
    let awaretrain = line.json(&["policy", "show", "awaretrain"]);
    let minute = serde_json::json!({ "limit": 60, "window_s": 60 });
    assert_eq!(awaretrain["rate_limit_max"], minute);
    for other in [&standard, &aware] {
        assert_eq!(other["at_owner_max"], "refuse");
        assert_eq!(other["rate_limit_max"], Value::Null);
    }
}

/// Lists find the metadata of keys that were issued before there was a table of it.
#[test]
fn keys_of_schema_2_are_found_by_their_metadata() {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/schema/2");
    let folder = fresh_folder();
    let data = data_of(&fixture, &folder);
    let database = Connection::open(data.join("latchkey.db")).unwrap();
    let sql = "UPDATE keys SET metadata = '{\"customer\":\"7\",\"n\":{\"x\":1}}'
               WHERE id = (SELECT min(id) FROM keys WHERE deleted_at IS NULL)";
    assert_eq!(database.execute(sql, []).unwrap(), 1);
    drop(database);
    let line = Line::at(&data);
    let found = |member: &str| line.json(&["key", "list", "--metadata", member]);
    assert_eq!(found("customer=7").as_array().map(Vec::len), Some(1));
    assert_eq!(found("x=1").as_array().map(Vec::len), Some(0));
    let _ = fs::remove_dir_all(folder);
}

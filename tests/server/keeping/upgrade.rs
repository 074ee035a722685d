//! A data folder of every released schema opens, and everything in it works. Promise P10.
//!
//! That a migration is whole or not at all, also when it is killed, is shown in `src/store/migrations/`; that a
//! newer database is refused untouched, in `folder::database`.

use std::fs::{self, Permissions};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use serde_json::Value;

use crate::command_line::Line;
use crate::durability::file;
use crate::support::fresh_folder;

const HELP: &str = "If schema.sql has changed: before the first release of this schema, run dev/fixture and commit what it \
                    makes; after it, raise SCHEMA_VERSION, add a step to src/store/migrations, and run dev/fixture.";

#[test]
fn every_released_schema_opens_with_all_that_is_in_it() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/schema");
    let mut seen = 0;
    for entry in fs::read_dir(fixtures).expect("there are fixtures") {
        let fixture = entry.unwrap().path();
        let folder = fresh_folder();
        let data = data_of(&fixture, &folder);
        let line = Line::at(&data);
        let doctor = line.run(&["doctor", "--json"]);
        let told: Value = serde_json::from_str(&doctor.stdout).unwrap();
        assert_eq!(
            told["healthy"],
            true,
            "{}: {told}\n{HELP}",
            fixture.display()
        );
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

/// A data folder with what a fixture has.
fn data_of(fixture: &Path, folder: &Path) -> PathBuf {
    let data = folder.join("data");
    fs::DirBuilder::new().mode(0o700).create(&data).unwrap();
    for name in ["latchkey.db", "pepper", "sealing-key", "tombstones"] {
        fs::copy(fixture.join(name), data.join(name)).unwrap();
        fs::set_permissions(data.join(name), Permissions::from_mode(0o600)).unwrap();
    }
    data
}

/// Sessions and refresh tokens of schema 1 had no seals: one that somebody gave to another user must not be sealed.
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

/// "Everything may be edited" is stored as such: a member that is added later can be edited after an upgrade too.
fn check_migrated(line: &Line) {
    let standard = line.json(&["policy", "show", "standard"]);
    assert_eq!(standard["editable"], serde_json::json!(["*"]));
    // Nobody has edited it, so it has what a first start gives it now.
    assert_eq!(standard["keys_per_owner_max"], 1_000);
    // Keys that could be rotated may go on rotating themselves; those that could not do not begin to.
    assert_eq!(standard["self_rotation"], "at_once");
    let aware = line.json(&["policy", "show", "aware"]);
    assert_eq!(aware["self_rotation"], "no");
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

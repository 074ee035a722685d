//! A data folder of every released schema opens, and everything in it works. Promise P10.
//!
//! That a migration is whole or not at all, also when it is killed, is shown in `src/store/migrations/`; that a
//! newer database is refused untouched, in `folder::database`.

use std::fs::{self, Permissions};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

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
        let data = folder.join("data");
        fs::DirBuilder::new().mode(0o700).create(&data).unwrap();
        for name in ["latchkey.db", "pepper", "sealing-key", "tombstones"] {
            fs::copy(fixture.join(name), data.join(name)).unwrap();
            fs::set_permissions(data.join(name), Permissions::from_mode(0o600)).unwrap();
        }
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

/// "Everything may be edited" is stored as such: a member that is added later can be edited after an upgrade too.
fn check_migrated(line: &Line) {
    let standard = line.json(&["policy", "show", "standard"]);
    assert_eq!(standard["editable"], serde_json::json!(["*"]));
}

//! Tables of other programs in the database: backups and restores leave them out and name them. If such a table or
//! another object could change the behaviour of Latchkey, the backup is refused.

use std::fs;

use rusqlite::Connection;
use serde_json::Value;

use crate::command_line::Line;
use crate::support::{Server, fresh_folder};

/// The tables of Litestream, of `ANALYZE`, and of an administrator.
const HARMLESS: &str = "CREATE TABLE _litestream_seq (id INTEGER PRIMARY KEY, seq INTEGER);
    CREATE TABLE _litestream_lock (id INTEGER);
    INSERT INTO _litestream_seq VALUES (1, 42);
    CREATE TABLE notes (id INTEGER PRIMARY KEY AUTOINCREMENT, text TEXT UNIQUE);
    INSERT INTO notes (text) VALUES ('a secret note');
    CREATE INDEX notes_text ON notes (text);
    CREATE INDEX by_description ON keys (description);
    ANALYZE";
const NAMES: [&str; 5] = [
    "_litestream_lock",
    "_litestream_seq",
    "notes",
    "sqlite_stat1",
    "by_description",
];

fn change(server: &Server, sql: &str) {
    let database = Connection::open(server.data.join("latchkey.db")).unwrap();
    database.execute_batch(sql).unwrap();
}

fn check(doctor: &Value, name: &str) -> Value {
    let checks = doctor["checks"].as_array().unwrap();
    checks
        .iter()
        .find(|check| check["name"] == name)
        .unwrap()
        .clone()
}

fn doctor(line: &Line, code: i32) -> Value {
    let ran = line.run(&["doctor", "--json"]);
    assert_eq!(ran.code, Some(code), "{ran:?}");
    serde_json::from_str(&ran.stdout).unwrap()
}

// findings b2, b3
#[test]
fn tables_of_other_programs_are_left_out_of_a_backup_that_can_be_restored() {
    let mut server = Server::start();
    let line = Line::of(&server);
    let id = line.issue("kept");
    change(&server, HARMLESS);
    let folder = fresh_folder();
    let file = folder.join("b.db");
    let ran = line.run(&["backup", file.to_str().unwrap(), "--json"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let made: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(made["left_out"].as_array().unwrap().len(), NAMES.len());
    for name in NAMES {
        assert!(made["left_out"].to_string().contains(name), "{made}");
        assert!(
            ran.stderr.contains(name) && ran.stderr.contains("doctor"),
            "{ran:?}"
        );
    }
    // The backup contains neither their tables nor the content of these.
    let bytes = fs::read(&file).unwrap();
    let holds = |text: &str| {
        bytes
            .windows(text.len())
            .any(|part| part == text.as_bytes())
    };
    assert!(!holds("litestream") && !holds("a secret note"));

    // Doctor names the tables, and its advice works.
    let told = check(&doctor(&line, 0), "schema");
    assert_eq!(told["finding"], "warning");
    let advice = told["advice"].as_str().unwrap();
    assert!(!advice.contains("restore a backup"), "{advice}");
    for name in NAMES {
        assert!(told["text"].as_str().unwrap().contains(name), "{told}");
    }
    // The server keeps working with these tables after a restart, and an older backup that contains them can be
    // restored.
    server.stop();
    server.restart();
    server.stop();
    let older = folder.join("older.db");
    fs::copy(server.data.join("latchkey.db"), &older).unwrap();
    for (backup, names) in [(&file, &[][..]), (&older, &NAMES[..])] {
        let restored = line.run(&["restore", backup.to_str().unwrap(), "--yes", "--json"]);
        assert_eq!(restored.code, Some(0), "{restored:?}");
        let told: Value = serde_json::from_str(&restored.stdout).unwrap();
        assert_eq!(
            told["left_out"].as_array().unwrap().len(),
            names.len(),
            "{told}"
        );
        assert_eq!(check(&doctor(&line, 0), "schema")["finding"], "ok");
        assert!(line.ok(&["key", "show", &id]).contains("kept"));
    }
    change(&server, HARMLESS);
    let (_, statements) = advice.split_once("latchkey.db: ").unwrap();
    change(&server, statements);
    assert_eq!(check(&doctor(&line, 0), "schema")["finding"], "ok");
    let _ = fs::remove_dir_all(folder);
}

// attacks 195
#[test]
fn what_could_change_the_server_stops_a_backup_and_doctor_says_how_to_remove_it() {
    let mut server = Server::start();
    let line = Line::of(&server);
    line.issue("one");
    server.stop();
    let folder = fresh_folder();
    for (make, name, statement) in [
        (
            "CREATE TRIGGER spy AFTER INSERT ON keys BEGIN SELECT 1; END",
            "trigger spy",
            "DROP TRIGGER \"spy\";",
        ),
        (
            "CREATE VIEW spy AS SELECT 1",
            "view spy",
            "DROP VIEW \"spy\";",
        ),
        (
            "CREATE UNIQUE INDEX spy ON keys (name)",
            "index spy",
            "DROP INDEX \"spy\";",
        ),
        (
            "CREATE INDEX spy ON keys (name) WHERE name > 'a'",
            "index spy",
            "DROP INDEX \"spy\";",
        ),
        (
            "CREATE TABLE spy (x TEXT REFERENCES keys (id))",
            "table spy",
            "DROP TABLE \"spy\";",
        ),
    ] {
        change(&server, make);
        let file = folder.join("b.db");
        let told = line.refused(&["backup", file.to_str().unwrap()], 1);
        assert!(
            told.contains(name) && told.contains("doctor"),
            "{make}: {told}"
        );
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0, "{make}");
        let told = check(&doctor(&line, 1), "schema");
        assert_eq!(told["finding"], "failed", "{make}");
        assert!(told["text"].as_str().unwrap().contains(name), "{told}");
        assert!(
            told["advice"].as_str().unwrap().contains(statement),
            "{told}"
        );
        change(&server, statement);
        line.ok(&["backup", file.to_str().unwrap()]);
        fs::remove_file(file).unwrap();
    }
    let _ = fs::remove_dir_all(folder);
}

/// Every way to make a backup refuses a database that a restore would refuse.
#[test]
fn a_backup_that_a_restore_would_refuse_is_not_made() {
    let mut server = Server::start();
    Line::of(&server).issue("one");
    server.stop();
    change(&server, "UPDATE audit_events SET actor = 'x' WHERE seq = 2");
    let mut server = server.with_args(&["--backup-every", "1h"]);
    server.restart();
    server.wait_for_log("the scheduled backup failed", 1);
    let backups = server.data.join("backups");
    assert_eq!(fs::read_dir(&backups).map_or(0, Iterator::count), 0);
    let told = Line::of(&server).refused(&["backup"], 1);
    for words in [
        "a restore would refuse it",
        "tampered with: event 2",
        "doctor",
    ] {
        assert!(told.contains(words), "{told}");
    }
    assert_eq!(fs::read_dir(&backups).map_or(0, Iterator::count), 0);
}

// finding N10
#[test]
fn doctor_says_that_the_folder_is_the_wrong_one_and_nothing_else() {
    let folder = fresh_folder();
    let file = folder.join("file");
    fs::write(&file, "x").unwrap();
    let empty = folder.join("empty");
    fs::create_dir(&empty).unwrap();
    for (data, words) in [
        (folder.join("nowhere"), "is not there"),
        (file.join("below"), "cannot be looked into"),
        (file, "is not a folder"),
        (empty.clone(), "holds no data of Latchkey"),
        (folder.clone(), "holds no data of Latchkey"),
    ] {
        let line = Line::at(&data);
        let told = doctor(&line, 1);
        let checks = told["checks"].as_array().unwrap();
        assert_eq!(
            (checks.len(), &checks[0]["finding"]),
            (1, &"failed".into()),
            "{told}"
        );
        assert_eq!(checks[0]["name"], "data folder");
        assert!(
            checks[0]["text"].as_str().unwrap().contains(words),
            "{told}"
        );
        assert!(
            checks[0]["advice"]
                .as_str()
                .unwrap()
                .contains("is --data right?"),
            "{told}"
        );
        let text = line.run(&["doctor"]).stdout;
        assert!(
            !text.contains("ok  ") && !text.contains("secrets restore"),
            "{text}"
        );
    }
    assert_eq!(fs::read_dir(&empty).unwrap().count(), 0, "nothing was made");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 2);
    let _ = fs::remove_dir_all(folder);
}

//! A machine with a wrong date. The server runs with `wrong_date.c` loaded before its C library, so that tests can set
//! its wall clock while the steady clock continues.

use rusqlite::Connection;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use super::{DAY_S, ends_with, ready, recorded};
use crate::command_line::Line;
use crate::faults::left_out;
use crate::support::{Server, fresh_folder};

const YEAR_S: i64 = 365 * DAY_S;

/// A library that makes the wall clock of a process wrong.
pub struct Date {
    folder: PathBuf,
}

impl Date {
    /// `None` if there is no C compiler.
    pub fn build() -> Option<Date> {
        let folder = fresh_folder();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/server/clock/wrong_date.c");
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(folder.join("wrong_date.so"))
            .arg(source)
            .status();
        built
            .is_ok_and(|status| status.success())
            .then_some(Date { folder })
    }

    /// Makes the wall clock wrong by so many seconds.
    pub fn set(&self, seconds: i64) {
        let file = self.folder.join("date");
        fs::write(file.with_extension("new"), seconds.to_string()).unwrap();
        fs::rename(file.with_extension("new"), file).unwrap();
    }

    /// A first start with a wall clock that is wrong by so many seconds.
    fn server(&self, seconds: i64) -> Server {
        self.set(seconds);
        let env = self.env();
        let env: Vec<(&str, &str)> = env
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        Server::start_with(&[], &env)
    }

    /// The environment of a process whose clock is wrong.
    pub fn env(&self) -> [(&'static str, String); 2] {
        let path = |name: &str| self.folder.join(name).display().to_string();
        [
            ("LD_PRELOAD", path("wrong_date.so")),
            ("LATCHKEY_TEST_DATE", path("date")),
        ]
    }
}

impl Drop for Date {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

pub fn left_out_date() {
    left_out("a wrong date: there is no C compiler");
}

/// Days from the right time to the end of a new key that is valid for a year.
fn days_of_a_year(server: &Server) -> i64 {
    let key = server
        .local()
        .issue(json!({ "name": "a year", "expires_in_s": YEAR_S }));
    let shown = server.local().key(&key.id);
    days_from_now(&shown["expires_at"])
}

/// Days from the right time to another one.
fn days_from_now(at: &Value) -> i64 {
    let text = at.as_str().unwrap();
    let part = |range: std::ops::Range<usize>| text[range].parse::<i64>().unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let seconds = part(11..13) * 3_600 + part(14..16) * 60 + part(17..19);
    let at_s = days_since_1970(part(0..4), part(5..7), part(8..10)) * DAY_S + seconds;
    (at_s - now.as_secs() as i64).div_euclid(DAY_S)
}

fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    // Counts years from March, so that a leap day is the last day of its year.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let leap_days = year / 4 - year / 100 + year / 400;
    year * 365 + leap_days + (153 * month + 2) / 5 + day - 719_469
}

// attacks 237: N0
#[test]
fn a_date_that_falls_back_keeps_no_key_alive() {
    let Some(date) = Date::build() else {
        return left_out_date();
    };
    for back in [3_600, 31 * DAY_S, 40 * YEAR_S] {
        let mut server = date.server(0);
        let key = server
            .local()
            .issue(json!({ "name": "short", "expires_in_s": 3 }));
        let rotated = server.local().issue(json!({ "name": "rotated" }));
        server.local().rotate(&rotated.id, json!({ "grace_s": 3 }));
        date.set(-back);
        let told = ready(&server);
        assert_eq!(told["clock"]["state"], "behind");
        assert!(
            told["clock"]["advice"]
                .as_str()
                .unwrap()
                .contains("latchkey clock accept")
        );
        ends_with(&server, &key.secret, "EXPIRED");
        ends_with(&server, &rotated.secret, "NOT_FOUND");
        // The key also stays expired after a restart, whether the server was stopped or killed.
        server.stop();
        server.restart();
        assert_eq!(server.anonymous().verdict(&key.secret), "EXPIRED");
        server.kill9();
        server.restart();
        assert_eq!(server.anonymous().verdict(&key.secret), "EXPIRED");
        // After the date is corrected, the clock is in step, and no recorded time has changed.
        date.set(0);
        assert_eq!(ready(&server)["clock"]["state"], "in_step");
        assert_eq!(server.anonymous().verdict(&key.secret), "EXPIRED");
        assert!((364..=365).contains(&days_of_a_year(&server)));
    }
}

// attacks 237: N2
#[test]
fn a_first_start_at_a_date_that_cannot_be_right_is_not_believed() {
    let Some(date) = Date::build() else {
        return left_out_date();
    };
    for wrong in [30 * YEAR_S, 9 * YEAR_S, -20 * YEAR_S] {
        let mut server = date.server(wrong);
        let log = server.log();
        assert!(log.contains("which cannot be right"), "{log}");
        let told = ready(&server);
        let state = if wrong > 0 { "ahead" } else { "behind" };
        assert_eq!(told["clock"]["state"], state, "{told}");
        // A corrected date is accepted immediately and completely, while the server runs or across a restart.
        if wrong > 10 * YEAR_S {
            server.stop();
            date.set(0);
            server.restart();
        } else {
            date.set(0);
        }
        assert_eq!(ready(&server)["clock"]["state"], "in_step");
        assert!((364..=365).contains(&days_of_a_year(&server)));
    }
}

// attacks 237: S2
#[test]
fn steps_one_after_the_other_do_not_carry_the_recorded_time_far() {
    let Some(date) = Date::build() else {
        return left_out_date();
    };
    let mut server = date.server(0);
    let start = recorded(&ready(&server));
    // A malicious time server adds 23 hours each time, with a request and a change in between, and restarts.
    for step in 1..=40 {
        date.set(step * 23 * 3_600);
        server.local().issue(json!({ "name": "k" }));
        ready(&server);
        if step % 10 == 0 {
            server.stop();
            server.restart();
        }
    }
    let gained = days_from_now(&ready(&server)["clock"]["mark"]);
    assert!((-1..=0).contains(&gained), "since {start}: {gained}");
    date.set(0);
    assert!((364..=365).contains(&days_of_a_year(&server)));
    server.stop();
    server.restart();
    assert!((364..=365).contains(&days_of_a_year(&server)));
}

// attacks 237, 239
#[test]
fn a_machine_that_was_off_has_the_right_time_without_help() {
    let Some(date) = Date::build() else {
        return left_out_date();
    };
    for off in [10 * 3_600, 21 * DAY_S, 300 * DAY_S, 3 * YEAR_S] {
        let mut server = date.server(0);
        let key = server
            .local()
            .issue(json!({ "name": "ends meanwhile", "expires_in_s": off - 60 }));
        let later = server
            .local()
            .issue(json!({ "name": "goes on", "expires_in_s": off + 600 }));
        server.stop();
        // Simulates another boot, whose uptime starts at zero.
        let database = Connection::open(server.data.join("latchkey.db")).unwrap();
        let changed = database.execute("UPDATE clock SET boot = 'another'", []);
        assert_eq!(changed, Ok(1));
        drop(database);
        date.set(off);
        server.restart();
        assert_eq!(server.anonymous().verdict(&key.secret), "EXPIRED");
        assert_eq!(server.anonymous().verdict(&later.secret), "VALID");
        let told = ready(&server);
        assert_eq!(told["clock"]["now"], told["clock"]["wall"]);
        let days = days_of_a_year(&server) - 365;
        assert!((off / DAY_S - 1..=off / DAY_S).contains(&days), "{days}");
    }
}

// attacks 237: S2
#[test]
fn what_was_begun_at_a_date_far_ahead_ends_when_the_date_is_corrected() {
    let Some(date) = Date::build() else {
        return left_out_date();
    };
    let server = date.server(0);
    date.set(20 * YEAR_S);
    let far = server
        .local()
        .issue(json!({ "name": "far", "expires_in_s": YEAR_S }));
    let (name, password) = (&server.owner_user_name, &server.owner_password);
    let session = server.anonymous().signed_in(name, password);
    session.get("/v1/users").expect(200);
    date.set(0);
    assert_eq!(ready(&server)["clock"]["state"], "in_step");
    session.get("/v1/users").expect(401);
    // The end of the key is wrong; the command finds it although the recorded time was never wrong.
    assert!(days_from_now(&server.local().key(&far.id)["expires_at"]) > 7_000);
    let doctor = Line::of(&server).ok(&["doctor"]);
    assert!(doctor.contains("latchkey clock accept"), "{doctor}");
    let accepted = Line::of(&server).json(&["clock", "accept", "--yes"]);
    assert_eq!(accepted["keys_issued"][0]["id"], far.id.as_str());
    assert_eq!(accepted["keys_disabled_count"], 0);
    assert!((364..=365).contains(&days_from_now(&server.local().key(&far.id)["expires_at"])));
    assert_eq!(server.anonymous().verdict(&far.secret), "VALID");
    let doctor = Line::of(&server).ok(&["doctor"]);
    assert!(!doctor.contains("latchkey clock"), "{doctor}");
}

/// The backup has events of a date that was ahead. What was withdrawn after the date was corrected has earlier times, and is
/// nevertheless newer than the backup.
#[test]
fn what_was_withdrawn_after_a_wrong_date_stays_so_after_a_restore() {
    let Some(date) = Date::build() else {
        return left_out_date();
    };
    let mut server = date.server(0);
    let local = server.local();
    let narrowed = local.issue(json!({ "name": "narrowed" }));
    date.set(40 * DAY_S);
    let rotated = local.issue(json!({ "name": "rotated" }));
    let made = local.post("/v1/backups", json!({})).expect(201).json();
    date.set(0);
    let key = format!("/v1/keys/{}", narrowed.id);
    local
        .patch(&key, json!({ "allowed_ips": ["192.0.2.1"] }))
        .expect(200);
    local.rotate(&rotated.id, json!({}));

    server.stop();
    Line::of(&server).ok(&["restore", made["file"].as_str().unwrap(), "--yes"]);
    server.restart();
    assert_eq!(server.anonymous().verdict(&narrowed.secret), "DISABLED");
    assert_eq!(server.anonymous().verdict(&rotated.secret), "NOT_FOUND");
}

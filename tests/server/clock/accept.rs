//! `latchkey clock`: displays and corrects a wrong recorded time.

use serde_json::{Value, json};

use super::{DAY_S, ready, restart_with_mark};
use crate::command_line::{Line, running_and_stopped};
use crate::keeping::restore::restore;
use crate::support::Server;

fn ids(list: &Value) -> Vec<&str> {
    let list = list.as_array().unwrap();
    list.iter().map(|key| key["id"].as_str().unwrap()).collect()
}

fn year(at: &Value) -> i64 {
    at.as_str().unwrap()[..4].parse().unwrap()
}

// attacks 237: S2
#[test]
fn a_recorded_time_that_is_too_late_is_put_right_and_nobody_gets_in_by_it() {
    let mut server = Server::start();
    let issue = |server: &Server, name: &str, days: i64| {
        server
            .local()
            .issue(json!({ "name": name, "expires_in_s": days * DAY_S }))
    };
    let old = issue(&server, "ends in between", 30);
    let off = issue(&server, "disabled already", 30);
    server
        .local()
        .post(&format!("/v1/keys/{}/disable", off.id), json!({}))
        .expect(200);
    let long = issue(&server, "ends long after", 20 * 365);
    let endless = server.local().issue(json!({ "name": "no end" }));
    let right = year(&ready(&server)["clock"]["wall"]);

    restart_with_mark(&mut server, 3650);
    assert_eq!(server.anonymous().verdict(&old.secret), "EXPIRED");
    let new = issue(&server, "issued in between", 365);
    let rotated = server.local().issue(json!({ "name": "rotated" }));
    server
        .local()
        .rotate(&rotated.id, json!({ "grace_s": 3_600 }));
    server.local().edit(
        &long.id,
        json!({ "expires_at": format!("{}-01-01T00:00:00Z", right + 12) }),
    );
    let (name, password) = (&server.owner_user_name, &server.owner_password);
    let session = server.anonymous().signed_in(name, password);
    assert_eq!(year(&server.local().key(&new.id)["expires_at"]), right + 11);

    // Only the administrator of the machine may correct the time, after the command has listed the effects.
    let refused = server.admin().post("/v1/clock/accept", json!({}));
    refused.refused(403, "forbidden");
    session
        .post("/v1/clock/accept", json!({}))
        .refused(403, "forbidden");
    server
        .anonymous()
        .post("/v1/clock/accept", json!({}))
        .expect(401);
    let shown = server.admin().get("/v1/clock").expect(200).json();
    assert_eq!(shown["state"], "behind");
    let plan = server
        .local()
        .post("/v1/clock/accept", json!({ "dry_run": true }))
        .expect(200)
        .json();
    assert_eq!(plan["changed"], false);
    assert_eq!(ids(&plan["keys_disabled"]), [old.id.as_str()]);
    let mut issued = [new.id.as_str(), rotated.id.as_str(), long.id.as_str()];
    issued.sort_unstable();
    assert_eq!(ids(&plan["keys_issued"]), issued);
    assert_eq!(plan["graces_ended"], 1);
    assert!(plan["sessions_ended"].as_u64().unwrap() >= 1);
    assert_eq!(server.anonymous().verdict(&old.secret), "EXPIRED");
    assert_eq!(ready(&server)["clock"]["state"], "behind");

    let done = server
        .local()
        .post("/v1/clock/accept", json!({}))
        .expect(200)
        .json();
    assert_eq!(
        (&done["changed"], year(&done["now"])),
        (&json!(true), right)
    );
    let check = |server: &Server| {
        assert_eq!(ready(server)["clock"]["state"], "in_step");
        for (secret, verdict) in [
            (&old.secret, "DISABLED"),
            (&off.secret, "DISABLED"),
            (&endless.secret, "VALID"),
            (&new.secret, "VALID"),
            (&rotated.secret, "VALID"),
        ] {
            assert_eq!(server.anonymous().verdict(secret), verdict);
        }
        assert!(year(&server.local().key(&new.id)["expires_at"]) <= right + 1);
        // The edit set an end of more than a year after the wrong time.
        assert!(year(&server.local().key(&long.id)["expires_at"]) <= right + 3);
        session.get("/v1/users").expect(401);
    };
    check(&server);
    let events = server.local().get("/v1/audit-events?limit=20").json();
    let events = events["items"].as_array().unwrap();
    let accept = events
        .iter()
        .find(|event| event["action"] == "clock.accept");
    let accept = accept.expect("it is in the audit log");
    assert!(accept["actor"].as_str().unwrap().starts_with("local:"));
    assert_eq!(year(&accept["at"]), right);
    let disabled = events
        .iter()
        .any(|event| event["action"] == "key.disable" && event["target_id"] == old.id.as_str());
    assert!(disabled, "{events:?}");

    // The correction survives every kind of restart, and then there is nothing left to accept.
    server.kill9();
    server.restart();
    check(&server);
    server.stop();
    server.restart();
    check(&server);
    let again = server.local().post("/v1/clock/accept", json!({})).json();
    assert_eq!(again["changed"], false, "{again}");
    let doctor = Line::of(&server).json(&["doctor"]);
    assert_eq!(doctor["healthy"], true, "{doctor}");
}

// attacks 237
#[test]
fn a_date_that_is_ahead_is_recorded_when_it_is_accepted() {
    let mut server = Server::start();
    restart_with_mark(&mut server, -1000);
    assert_eq!(ready(&server)["clock"]["state"], "ahead");
    let done = Line::of(&server).json(&["clock", "accept", "--yes"]);
    assert_eq!(done["changed"], true);
    assert_eq!(done["keys_disabled_count"], 0);
    assert_eq!(ready(&server)["clock"]["state"], "in_step");
    assert_eq!(server.anonymous().verdict(&server.secret), "VALID");
    server.kill9();
    server.restart();
    assert_eq!(ready(&server)["clock"]["state"], "in_step");
}

#[test]
fn the_command_shows_the_clock_and_asks_before_it_changes_it() {
    running_and_stopped(|line| {
        let shown = line.ok(&["clock"]);
        for word in ["state", "in_step", "wall", "mark", "now", "allowance"] {
            assert!(shown.contains(word), "{word}: {shown}");
        }
        let json = line.json(&["clock"]);
        assert_eq!(
            (&json["state"], &json["advice"]),
            (&json!("in_step"), &Value::Null)
        );
        let nothing = line.ok(&["clock", "accept"]);
        assert!(nothing.contains("There is nothing to accept"), "{nothing}");
    });
    let mut server = Server::start();
    restart_with_mark(&mut server, 100);
    for stopped in [false, true] {
        if stopped {
            server.stop();
        }
        let line = Line::of(&server);
        let asked = line.refused(&["clock", "accept"], 2);
        assert!(asked.contains("--yes"), "{asked}");
        let plan = line.ok(&["clock", "accept", "--dry-run"]);
        assert!(plan.contains("Nothing was changed"), "{plan}");
        assert_eq!(line.json(&["clock"])["state"], "behind");
    }
    let line = Line::of(&server);
    let done = line.ok(&["clock", "accept", "--yes"]);
    assert!(done.contains("Accepted"), "{done}");
    assert_eq!(line.json(&["clock"])["state"], "in_step");
    server.restart();
    assert_eq!(ready(&server)["clock"]["state"], "in_step");
}

// attacks 237: S2
#[test]
fn a_restore_brings_no_wrong_time_back() {
    let mut server = Server::start();
    let dated = server
        .local()
        .issue(json!({ "name": "dated", "expires_in_s": 30 * DAY_S }));
    let good = server.data.join("good.db");
    Line::of(&server).ok(&["backup", good.to_str().unwrap()]);
    let right = year(&ready(&server)["clock"]["wall"]);
    restart_with_mark(&mut server, 3650);
    // Creates a tombstone with a wrong time, and a backup with wrong times in its mark and its events.
    let gone = server.local().issue(json!({ "name": "gone" }));
    server
        .local()
        .delete(&format!("/v1/keys/{}", gone.id))
        .expect(204);
    let bad = server.data.join("bad.db");
    Line::of(&server).ok(&["backup", bad.to_str().unwrap()]);
    for backup in [&good, &bad] {
        let done = restore(&mut server, backup, &[]);
        assert_eq!(year(&done["now"]), right, "{done}");
        server.restart();
        let told = ready(&server);
        assert_eq!(told["clock"]["state"], "in_step", "{told}");
        assert_eq!(year(&told["clock"]["now"]), right);
        // A key that had ended at the wrong time stays disabled until an administrator enables it.
        let verdict = server.anonymous().verdict(&dated.secret);
        assert_eq!(verdict, "DISABLED");
        assert_eq!(server.anonymous().verdict(&server.secret), "VALID");
        let key = server
            .local()
            .issue(json!({ "name": "a year", "expires_in_s": 365 * DAY_S }));
        assert!(year(&server.local().key(&key.id)["expires_at"]) <= right + 1);
    }
    // After the correction, a restore of a later backup disables nothing because of the wrong time.
    let after = server
        .local()
        .issue(json!({ "name": "after", "expires_in_s": 30 * DAY_S }));
    let later = server.data.join("later.db");
    Line::of(&server).ok(&["backup", later.to_str().unwrap()]);
    let done = restore(&mut server, &later, &[]);
    assert_eq!(done["doubted"], Value::Null, "{done}");
    server.restart();
    assert_eq!(server.anonymous().verdict(&after.secret), "VALID");
}

// attacks 223, 237
#[test]
fn a_backup_of_a_wrong_time_revives_nothing_that_was_changed_after_the_correction() {
    let mut server = Server::start();
    restart_with_mark(&mut server, 3650);
    let issue = |server: &Server, name: &str| {
        server
            .local()
            .issue(json!({ "name": name, "scopes": ["a", "b"] }))
    };
    let (narrowed, rotated) = (issue(&server, "narrowed"), issue(&server, "rotated"));
    let bad = server.data.join("bad.db");
    Line::of(&server).ok(&["backup", bad.to_str().unwrap()]);
    Line::of(&server).ok(&["clock", "accept", "--yes"]);
    server
        .local()
        .edit(&narrowed.id, json!({ "scopes": ["a"] }));
    server.local().rotate(&rotated.id, json!({}));
    restore(&mut server, &bad, &[]);
    server.restart();
    assert_eq!(server.anonymous().verdict(&narrowed.secret), "DISABLED");
    assert_ne!(server.anonymous().verdict(&rotated.secret), "VALID");
}

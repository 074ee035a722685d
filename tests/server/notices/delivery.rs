//! Delivery to a file: at least once, in order, with the same ids, however often the server is killed, and not stopped
//! by a sink that fails.

use super::receivers::Receiver;
use super::{about, lines, notable, sink};
use crate::support::{Server, fresh_folder, wait};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::Ordering::SeqCst;

/// How often the server is killed, unless LATCHKEY_TEST_KILLS has another number.
const KILLS: usize = 20;

#[test]
fn every_event_and_every_notice_arrives_however_often_the_server_is_killed() {
    let folder = fresh_folder();
    let path = folder.join("notices.jsonl");
    let file = path.display().to_string();
    let kills = std::env::var("LATCHKEY_TEST_KILLS").ok();
    let kills = kills.map_or(KILLS, |number| number.parse().unwrap());
    let mut server = Server::start().with_args(&["--notice-file", &file, "--audit-sinks", "file"]);
    server.restart();
    server.wait_until_ready();
    let mut users = Vec::new();
    for number in 0..kills {
        users.push(notable(&server.admin(), &format!("user{number}")));
        // The server is killed before, while, or after the notice is found, stored, sent, and its position stored.
        if number % 3 > 0 {
            let has =
                |events: &[Value]| !about(events, &format!("user:{}", users[number])).is_empty();
            let enough = number % 3 == 1 || number % 2 == 0;
            wait::until("something is sent", || !enough || has(&lines(&path)));
        }
        server.kill9();
        server.restart();
        server.wait_until_ready();
    }
    let last = server.admin().newest_event()["seq"].as_i64().unwrap();
    let mut events = Vec::new();
    wait::until("everything is sent", || {
        events = lines(&path);
        let notices = |uid: &String| {
            let subject = format!("user:{uid}");
            let found = about(&events, &subject);
            found
                .iter()
                .any(|it| it["type"] == "latchkey.user.credentials_changed")
        };
        let sent = events.iter().filter_map(|it| it["data"]["seq"].as_i64());
        let is_audit = events
            .iter()
            .any(|it| it["type"] == "latchkey.audit" && it["data"]["seq"] == last);
        users.iter().all(notices) && is_audit && sent.count() > 0
    });
    // What was sent twice is the same in every byte.
    let mut by_id: HashMap<String, &Value> = HashMap::new();
    for event in &events {
        let id = event["id"].as_str().unwrap().to_owned();
        assert_eq!(*by_id.entry(id).or_insert(event), event);
    }
    // Each notice has one id.
    for uid in &users {
        let subject = format!("user:{uid}");
        let found = about(&events, &subject);
        let found = found
            .iter()
            .filter(|it| it["type"] == "latchkey.user.credentials_changed");
        let mut ids: Vec<&str> = found.map(|it| it["id"].as_str().unwrap()).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 1, "{uid}");
    }
    // The events have no gap, are in order apart from repeats, and each has the hash of the one before.
    let audit: Vec<&Value> = events
        .iter()
        .filter(|it| it["type"] == "latchkey.audit")
        .collect();
    let mut newest: Option<&Value> = None;
    for event in audit {
        let seq = event["data"]["seq"].as_i64().unwrap();
        if let Some(before) = newest {
            let known = before["data"]["seq"].as_i64().unwrap();
            assert!(seq <= known + 1, "event {} is missing", known + 1);
            if seq <= known {
                continue;
            }
            assert_eq!(event["data"]["previous"], before["data"]["hash"]);
        }
        newest = Some(event);
    }
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let text = fs::read_to_string(&path).unwrap();
    assert!(!text.contains(&server.secret) && !text.contains("anchors"));
    drop(server);
    let _ = fs::remove_dir_all(folder);
}

#[test]
fn a_sink_that_is_down_gets_everything_later_and_stops_nothing() {
    let receiver = Receiver::start(None);
    receiver.status.store(500, SeqCst);
    let folder = fresh_folder();
    let file = folder.join("notices.jsonl");
    let (path, key) = (file.display().to_string(), folder.join("key"));
    fs::write(&key, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let url = format!("http://{}/hook", receiver.address);
    let key = key.display().to_string();
    let server = Server::start_with(
        &[
            "--notice-file",
            &path,
            "--notice-webhook",
            &url,
            "--notice-webhook-key",
            &key,
        ],
        &[],
    );
    let admin = server.admin();
    let first = notable(&admin, "alice");
    wait::until("the file has the notice", || {
        !about(&lines(&file), &format!("user:{first}")).is_empty()
    });
    wait::until("the webhook has failed", || {
        sink(&server, "webhook")["failures"].as_u64() > Some(0)
    });
    let state = sink(&server, "webhook");
    assert!(state["reason"].as_str().unwrap().contains("500"), "{state}");
    assert!(state["notices_pending"].as_u64() > Some(0), "{state}");
    assert_eq!(sink(&server, "file")["failures"], 0);
    let metrics = server
        .local()
        .with("Latchkey-Local", "1")
        .get("/metrics")
        .text();
    assert!(
        metrics.contains("latchkey_notices_pending{sink=\"webhook\"}"),
        "{metrics}"
    );
    assert!(
        metrics.contains("latchkey_notice_failures_total{sink=\"webhook\"}"),
        "{metrics}"
    );
    let doctor = server.local().get("/v1/doctor").expect(200).text();
    assert!(doctor.contains("webhook failed at"), "{doctor}");
    server.assert_alive();
    let second = notable(&admin, "bob");
    receiver.status.store(200, SeqCst);
    // The next attempt is made after a pause, or with a test.
    let tested = admin.post("/v1/notices/test", json!({ "sink": "webhook" }));
    assert_eq!(tested.expect(200).json()["delivered"], true);
    for uid in [first, second] {
        receiver.wait_for(&format!("user:{uid}"));
    }
    wait::until("nothing waits", || {
        sink(&server, "webhook")["notices_pending"] == 0
    });
    assert_eq!(sink(&server, "webhook")["reason"], Value::Null);
    drop(server);
    let _ = fs::remove_dir_all(folder);
}

#[test]
fn a_storm_is_one_notice_in_ten_minutes_and_a_filter_leaves_out_the_rest() {
    let folder = fresh_folder();
    let file = folder.join("notices.jsonl");
    let path = file.display().to_string();
    let server = Server::start_with(
        &[
            "--notice-file",
            &path,
            "--notice-kinds",
            "file=user.*",
            "--notice-workspaces",
            "file=emea",
        ],
        &[],
    );
    let admin = server.admin();
    admin.workspace("emea", "root");
    let outside = notable(&admin, "outside");
    let uid = admin.person("inside", "member", "emea");
    for number in 0..30 {
        let body = json!({ "password": format!("{number} anchors in the meadow") });
        admin
            .post(&format!("/v1/users/{uid}/password"), body)
            .expect(204);
    }
    wait::until("the notice is sent", || {
        !about(&lines(&file), &format!("user:{uid}")).is_empty()
    });
    wait::until("nothing waits", || {
        sink(&server, "file")["notices_pending"] == 0
    });
    let found = lines(&file);
    assert!(about(&found, &format!("user:{outside}")).is_empty());
    assert_eq!(found.len(), 1, "{found:?}");
    drop(server);
    let _ = fs::remove_dir_all(folder);
}

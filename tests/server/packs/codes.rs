//! Revocations as QR codes, and reports.

use super::enrol;
use crate::command_line::Line;
use crate::support::{Server, fresh_folder};
use serde_json::{Value, json};
use std::fs;

#[test]
fn keys_that_have_ended_are_written_as_codes() {
    let server = Server::start();
    let (admin, line) = (server.admin(), Line::of(&server));
    let folder = fresh_folder();
    let file = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let make = |qr: &str| line.run(&["pack", "make", "--revocations", "--qr", qr]);
    enrol(&server, "plant-7", json!({}));
    let none = make("-");
    assert_eq!(none.code, Some(1), "{none:?}");
    let ids: Vec<String> = (0..321)
        .map(|_| admin.issue(json!({ "name": "x" })).id)
        .collect();
    for ids in ids.chunks(100) {
        let body = json!({ "action": "delete", "ids": ids });
        admin.post("/v1/keys/batch", body).expect(200);
    }
    let on_terminal = make("-");
    assert_eq!(on_terminal.code, Some(0), "{:?}", on_terminal.stderr);
    assert!(on_terminal.stdout.contains("1 of 2") && on_terminal.stdout.contains("█▀▀▀▀▀█"));
    for (name, files) in [
        ("a.svg", &["a-1.svg", "a-2.svg"][..]),
        ("b.png", &["b-1.png", "b-2.png"]),
        ("c.txt", &["c.txt"]),
    ] {
        let made = make(&file(name));
        assert_eq!(made.code, Some(0), "{made:?}");
        for name in files {
            assert!(folder.join(name).exists(), "{name}");
        }
    }
    let svg = fs::read_to_string(folder.join("a-1.svg")).unwrap();
    // A code of version 39 has 173 modules along each side, and a border of four.
    assert!(svg.contains("viewBox=\"0 0 181 181\""), "{}", &svg[..120]);
    let texts = fs::read_to_string(folder.join("c.txt")).unwrap();
    let lengths: Vec<usize> = texts.lines().map(str::len).collect();
    assert!(
        lengths.len() == 2 && lengths.iter().all(|length| *length <= 4_296),
        "{lengths:?}"
    );
    assert!(texts.lines().all(|text| text.starts_with("LKREV1:")));
    let wrong = make(&file("d.gif"));
    assert_eq!(wrong.code, Some(2), "{wrong:?}");
    // One that was enabled again is no revocation.
    let key = admin.issue(json!({ "name": "again" }));
    let since = server.local().newest_event()["seq"].as_u64().unwrap();
    admin
        .post(&format!("/v1/keys/{}/disable", key.id), json!({}))
        .expect(200);
    let ask = |since: u64| {
        server
            .local()
            .post("/v1/packs/revocations", json!({ "since": since }))
    };
    assert_eq!(ask(since).expect(200).json()["keys"], 1);
    admin
        .post(&format!("/v1/keys/{}/enable", key.id), json!({}))
        .expect(200);
    ask(since).expect(409);
}

#[test]
fn what_is_no_report_of_a_site_is_refused() {
    let server = Server::start();
    enrol(&server, "plant-7", json!({}));
    let folder = fresh_folder();
    let line = Line::of(&server);
    let collect = || line.run(&["site", "collect", folder.to_str().unwrap(), "--json"]);
    assert_eq!(collect().code, Some(1));
    fs::create_dir(folder.join("plant-7")).unwrap();
    let forged = "latchkey.report/v1 server.example\nsite plant-7\nserver 0e1c2f6a-5b1d-4c8e-9a57-3f0b6d2c4e11\n\
                  life 0e1c2f6a-5b1d-4c8e-9a57-3f0b6d2c4e11\nreport 1 at 2026-11-29T06:00:00Z\npack 1 reign 1 events 1\n\n\
                  hmac 47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n";
    for (name, text) in [
        ("a.lkreport", ""),
        ("b.lkreport", "x\nsite nowhere\n"),
        ("plant-7/c.lkreport", forged),
    ] {
        fs::write(folder.join(name), text).unwrap();
    }
    fs::write(folder.join("d.txt"), "").unwrap();
    let refused = collect();
    assert_eq!(refused.code, Some(1), "{refused:?}");
    let rows: Vec<Value> = serde_json::from_str(&refused.stdout).unwrap();
    assert_eq!(rows.len(), 3, "{rows:?}");
    assert!(
        rows.iter().all(|row| row["refused"].is_string()),
        "{rows:?}"
    );
    let why = rows[2]["refused"].as_str().unwrap();
    assert!(why.contains("not made with the key of its site"), "{why}");
    let list = server.local().get("/v1/sites").expect(200).json();
    assert_eq!(list["items"][0]["applied"], Value::Null);
}

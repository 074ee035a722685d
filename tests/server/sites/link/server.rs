//! The server's half of the link, without a site: who may ask, and the answer to a change when no site is linked. What sites are
//! answered is tested in `src/ops/packs/feed`, and with real sites in the files next to this one.

use serde_json::json;

use super::{await_verdict, follow, link, url_of};
use crate::command_line::Line;
use crate::sites::Site;
use crate::support::{Response, Server, wait};

/// A question of a site, with a tag that is none.
fn question(site: &str) -> String {
    format!(
        "latchkey.question/v1 server.example\nsite {site}\nserver 6a1f0c1e-5b1d-4c8e-9a57-3f0b6d2c4e11\n\
         life 6a1f0c1e-5b1d-4c8e-9a57-3f0b6d2c4e11\nnonce {0} applied {0} arrived {0}\nprocess {0} question 1\nreign 0 pack 0 base 0 events 0 {1}\nlease 10\n\
         report 0\n\nhmac {1}\n",
        "0".repeat(32),
        "A".repeat(43) + "=",
    )
}

fn ask(server: &Server, body: &str, more: &[(&str, &str)]) -> Response {
    let headers = [&[("Content-Type", "text/plain")], more].concat();
    server.call("POST", "/v1/feed", &headers, Some(body.as_bytes()))
}

/// attacks 117
#[test]
fn only_the_key_of_a_site_is_answered() {
    let server = Server::start();
    // Before there is a site, and with one: no caller learns which sites there are.
    for round in 0..2 {
        let own = format!("Bearer {}", server.management_key);
        for more in [&[][..], &[("Authorization", own.as_str())]] {
            for site in ["plant-7", "ship-2"] {
                let answer = ask(&server, &question(site), more).expect(401);
                assert_eq!(answer.json()["code"], "unauthenticated", "{site}");
                assert_eq!(answer.json()["detail"], "a valid credential is needed");
            }
        }
        if round == 0 {
            drop(Site::enrol(&server, "plant-7", &[]));
        }
    }
    server.assert_alive();
}

#[test]
fn what_is_no_question_is_refused() {
    let server = Server::start();
    let _site = Site::enrol(&server, "plant-7", &[]);
    let good = question("plant-7");
    for body in ["", "nonsense", "a\nsite ../x\n", "a\nsite plant-7\nb"] {
        let answer = ask(&server, body, &[]).expect(400);
        assert_eq!(answer.json()["code"], "invalid-request", "{body:?}");
    }
    server
        .call(
            "POST",
            "/v1/feed",
            &[("Content-Type", "application/json")],
            Some(good.as_bytes()),
        )
        .expect(415);
    server.call("GET", "/v1/feed", &[], None).expect(405);
    ask(&server, &good.repeat(300), &[]).expect(413);
    server
        .call(
            "POST",
            "/v1/feed?x=1",
            &[("Content-Type", "text/plain")],
            Some(good.as_bytes()),
        )
        .expect(400);
    server.assert_alive();
}

#[test]
fn a_change_that_waits_says_that_no_site_is_linked() {
    let server = Server::start();
    let _site = Site::enrol(&server, "plant-7", &[]);
    let admin = server.admin();
    let issue = || admin.issue(json!({ "name": "k" }));
    let sites = |answer: Response| answer.header("latchkey-sites").map(str::to_owned);
    let none = Some("none".to_owned());
    let key = issue();
    let path = |more: &str| format!("/v1/keys/{}{more}", key.id);
    let rotated = admin
        .post(&path("/rotate?wait=sites"), json!({}))
        .expect(200);
    assert!(rotated.json()["secret"].is_string());
    assert_eq!(sites(rotated), none);
    let edited = admin.patch(&path("?wait=sites"), json!({ "description": "x" }));
    assert_eq!(sites(edited.expect(200)), none);
    let disabled = admin
        .post(&path("/disable?wait=sites"), json!({}))
        .expect(200);
    assert_eq!(sites(disabled), none);
    let batch = json!({ "action": "enable", "ids": [key.id] });
    let enabled = admin.post("/v1/keys/batch?wait=sites", batch).expect(200);
    assert_eq!(sites(enabled), none);
    assert_eq!(sites(admin.delete(&path("")).expect(204)), None);
    let other = issue();
    let path = format!("/v1/keys/{}?wait=sites", other.id);
    assert_eq!(sites(admin.delete(&path).expect(204)), none);
    // A refused change waits for nothing.
    let unknown = "/v1/keys/0000000000?wait=sites";
    assert_eq!(sites(admin.delete(unknown).expect(404)), None);
    for bad in [
        "wait=site",
        "wait=",
        "wait=sites&wait=sites",
        "wait=sites&x=1",
    ] {
        let third = issue();
        admin
            .delete(&format!("/v1/keys/{}?{bad}", third.id))
            .expect(400);
        assert_eq!(admin.verdict(&third.secret), "VALID", "{bad}");
    }
    admin.get("/v1/keys?wait=sites").expect(400);
}

#[test]
fn commands_wait_for_sites_and_set_how_long_one_may_answer() {
    let mut server = Server::start_with(&["--ends-wait-for-sites"], &[]);
    let site = Site::enrol(&server, "plant-7", &["--max-stale", "30s"]);
    let line = Line::of(&server);
    let shown = line.json(&["site", "show", &site.name]);
    assert_eq!(shown["max_stale_s"], 30);
    assert_eq!(shown["linked"], false);
    assert_eq!(shown["asked_at"], serde_json::Value::Null);
    line.ok(&["site", "edit", &site.name, "--max-stale", "2s"]);
    assert_eq!(line.json(&["site", "list"])[0]["max_stale_s"], 2);
    for bad in ["1s", "25h"] {
        let ran = line.run(&["site", "edit", &site.name, "--max-stale", bad]);
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(ran.stderr.contains("--max-stale"), "{ran:?}");
    }
    assert_eq!(line.json(&["site", "list"])[0]["max_stale_s"], 2);
    let admin = server.admin();
    let keys: Vec<_> = (0..4)
        .map(|_| admin.issue(json!({ "name": "k" })))
        .collect();
    let told = line.ok(&["key", "disable", &keys[0].id, "--wait-sites"]);
    assert!(told.contains("no site is linked"), "{told}");
    let told = line.ok(&[
        "key",
        "delete",
        &keys[1].id,
        &keys[2].id,
        "--yes",
        "--wait-sites",
    ]);
    assert!(told.contains("no site is linked"), "{told}");
    // With the setting all ends wait; without a linked site they need not, and say nothing about it.
    let answer = admin
        .delete(&format!("/v1/keys/{}", keys[0].id))
        .expect(204);
    assert_eq!(answer.header("latchkey-sites"), None);
    server.stop();
    let ran = line.run(&["key", "delete", &keys[3].id, "--yes", "--wait-sites"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("needs the running server"), "{ran:?}");
    server.restart();
    assert_eq!(server.admin().verdict(&keys[3].secret), "VALID");
}

/// What the pack had is of no interest at a site that is further.
#[test]
fn a_linked_site_is_shown_with_what_the_link_has_brought() {
    let server = Server::start();
    let site = Site::enrol(&server, "plant-7", &[]);
    let admin = server.admin();
    let first = admin.issue(json!({ "name": "first" }));
    let running = follow(&site, &url_of(&server), "10m");
    await_verdict(&running, &first.secret, "VALID");
    let line = Line::of(&server);
    let before = line.json(&["site", "show", "plant-7"]);
    let keys = before["keys"].as_u64().unwrap();
    assert_eq!(before["given_keys"], keys);
    assert_eq!(before["applied"], before["pack"]);
    assert_eq!(before["unread_event"], serde_json::Value::Null);
    for name in ["second", "third"] {
        admin.issue(json!({ "name": name }));
    }
    let newest = admin.get("/v1/audit-events/chain").expect(200).json()["events"].clone();
    let listed = || line.json(&["site", "list"])[0].clone();
    wait::until("the site has all events", || {
        let found = listed();
        found["applied_events"].as_u64() >= newest.as_u64() && found["lag_events"] == 0
    });
    let after = listed();
    // No pack was made since.
    assert_eq!(after["pack"], before["pack"]);
    assert_eq!(after["keys"], keys + 2);
    let shown = line.ok(&["site", "list"]);
    let row = shown.lines().find(|row| row.contains("plant-7")).unwrap();
    assert!(shown.contains("EVENTS") && row.contains(&after["applied_events"].to_string()));
}

#[test]
fn the_link_of_a_site_that_is_gone_is_dropped_by_hand() {
    let mut server = Server::start();
    let site = Site::enrol(&server, "plant-7", &["--max-stale", "10h"]);
    let key = server.admin().issue(json!({ "name": "k" }));
    let mut running = follow(&site, &url_of(&server), "10h");
    await_verdict(&running, &key.secret, "VALID");
    running.kill9();
    let line = Line::of(&server);
    // Only the administrator of the server drops a link, and the API does not make one.
    let admin = server.admin();
    let refused = admin.patch("/v1/sites/plant-7", json!({ "linked": true }));
    assert_eq!(refused.expect(422).json()["field"], "linked");
    assert_eq!(line.json(&["site", "show", "plant-7"])["linked"], true);
    let told = line.ok(&["site", "edit", "plant-7", "--unlink"]);
    assert!(
        told.contains("No change waits for plant-7 any more"),
        "{told}"
    );
    let shown = line.json(&["site", "show", "plant-7"]);
    assert_eq!(
        (&shown["linked"], &shown["asked_at"]),
        (&false.into(), &serde_json::Value::Null)
    );
    assert!(shown["may_answer_until"].is_string(), "{shown}");
    let ended = admin
        .delete(&format!("/v1/keys/{}?wait=sites", key.id))
        .expect(204);
    assert_eq!(ended.header("latchkey-sites"), Some("plant-7=dropped"));
    server.kill9();
    server.restart();
    let other = server.admin().issue(json!({ "name": "other" }));
    let path = format!("/v1/keys/{}?wait=sites", other.id);
    let ended = server.admin().delete(&path).expect(204);
    assert_eq!(ended.header("latchkey-sites"), Some("none"));
    // It was not gone after all.
    let running = follow(&site, &url_of(&server), "10h");
    wait::until("the site is linked again", || link(&running)["up"] == true);
    await_verdict(&running, &key.secret, "NOT_FOUND");
    assert_eq!(line.json(&["site", "show", "plant-7"])["linked"], true);
}

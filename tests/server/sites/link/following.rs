//! Sites that follow their server: what it changes is in force there, and what waits for them is valid nowhere afterwards.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use serde_json::{Value, json};

use super::{await_verdict, follow, link, url_of, verdict};
use crate::command_line::Line;
use crate::sites::Site;
use crate::support::{Server, together, wait};

/// The sites that an answer has waited for.
fn waited_for(answer: &crate::support::Response) -> String {
    answer
        .header("latchkey-sites")
        .unwrap_or_default()
        .to_owned()
}

#[test]
fn a_site_follows_its_server_without_any_file() {
    let server = Server::start();
    let site = Site::enrol(&server, "plant-7", &[]);
    let admin = server.admin();
    let key = admin.issue(json!({ "name": "k" }));
    let running = follow(&site, &url_of(&server), "10s");
    await_verdict(&running, &key.secret, "VALID");
    assert_eq!(running.call("GET", "/readyz", &[], None).status, 200);
    let new = admin.issue(json!({ "name": "new" }));
    await_verdict(&running, &new.secret, "VALID");
    admin.edit(&key.id, json!({ "enabled": false }));
    await_verdict(&running, &key.secret, "DISABLED");
    admin.edit(&key.id, json!({ "enabled": true }));
    await_verdict(&running, &key.secret, "VALID");
    admin.delete(&format!("/v1/keys/{}", key.id)).expect(204);
    await_verdict(&running, &key.secret, "NOT_FOUND");
    let link = link(&running);
    assert_eq!((&link["up"], &link["fault"]), (&json!(true), &Value::Null));
    let left = link["left_s"].as_f64().unwrap();
    assert!(left > 0.0 && left <= 10.0, "{link}");
    let metrics = running.local().get("/metrics").expect(200).text();
    assert!(metrics.contains("latchkey_link_up 1"), "{metrics}");
    // The command line names each member.
    let shown = site.line.ok(&["site", "status"]);
    assert!(shown.contains("link server "), "{shown}");
}

/// Many rounds with eight sites: as soon as the end of a key is answered, no site finds it valid, and every site had applied it
/// or has no lease any more.
#[test]
fn what_has_ended_with_all_sites_is_valid_at_none_of_them() {
    const SITES: usize = 8;
    const ROUNDS: usize = 24;
    let server = Server::start();
    let admin = server.admin();
    let sites: Vec<Site> = (0..SITES)
        .map(|number| Site::enrol(&server, &format!("plant-{number}"), &[]))
        .collect();
    let url = url_of(&server);
    let running: Vec<Server> = sites.iter().map(|site| follow(site, &url, "10s")).collect();
    for round in 0..ROUNDS {
        let key = admin.issue(json!({ "name": format!("k{round}") }));
        for site in &running {
            await_verdict(site, &key.secret, "VALID");
        }
        let (has_ended, stops) = (AtomicBool::new(false), AtomicBool::new(false));
        let path = format!("/v1/keys/{}", key.id);
        // One thread ends the key, the others ask the sites without a pause.
        together(SITES + 1, |thread| {
            if let Some(site) = running.get(thread) {
                while !stops.load(SeqCst) {
                    let has_ended = has_ended.load(SeqCst);
                    let found = verdict(site, &key.secret);
                    assert!(
                        !has_ended || found != "VALID",
                        "round {round} site {thread}"
                    );
                }
                return;
            }
            let answer = match round % 3 {
                0 => admin.delete(&format!("{path}?wait=sites")).expect(204),
                1 => admin
                    .patch(&format!("{path}?wait=sites"), json!({ "enabled": false }))
                    .expect(200),
                _ => admin
                    .post(&format!("{path}/rotate?wait=sites"), json!({}))
                    .expect(200),
            };
            has_ended.store(true, SeqCst);
            let waited = waited_for(&answer);
            for site in &running {
                assert_ne!(verdict(site, &key.secret), "VALID", "round {round}");
            }
            stops.store(true, SeqCst);
            for number in 0..SITES {
                let applied = format!("plant-{number}=applied");
                assert!(waited.contains(&applied), "round {round}: {waited}");
            }
        });
    }
}

#[test]
fn the_first_use_of_a_new_secret_at_a_site_ends_the_older_one_everywhere() {
    let server = Server::start();
    let site = Site::enrol(&server, "plant-7", &[]);
    let admin = server.admin();
    let key = admin.issue(json!({ "name": "k" }));
    let running = follow(&site, &url_of(&server), "10s");
    let new = admin.rotate(&key.id, json!({ "until_first_use": true }));
    await_verdict(&running, &key.secret, "VALID");
    assert_eq!(admin.verdict(&key.secret), "VALID");
    await_verdict(&running, &new.secret, "VALID");
    assert_eq!(verdict(&running, &key.secret), "NOT_FOUND");
    wait::until("the server has heard of the first use", || {
        admin.verdict(&key.secret) == "NOT_FOUND"
    });
    assert_eq!(admin.verdict(&new.secret), "VALID");
    assert_eq!(verdict(&running, &key.secret), "NOT_FOUND");
}

#[test]
fn uses_at_a_site_are_counted_at_the_server_and_an_end_there_is_proposed() {
    let server = Server::start();
    let site = Site::enrol(&server, "plant-7", &[]);
    let admin = server.admin();
    let key = admin.issue(json!({ "name": "k" }));
    let running = follow(&site, &url_of(&server), "10s");
    await_verdict(&running, &key.secret, "VALID");
    let uses = |key: &Value| key["usage"]["uses"].as_u64().or(key["uses"].as_u64());
    let before = uses(&admin.key(&key.id));
    for _ in 0..5 {
        assert_eq!(verdict(&running, &key.secret), "VALID");
    }
    wait::until("the uses have arrived", || {
        uses(&admin.key(&key.id)) >= before.map(|before| before + 5)
    });
    site.line.ok(&["site", "disable", &key.id, "--yes"]);
    wait::until("the server has heard that the key ended there", || {
        let shown = Line::of(&server).json(&["site", "show", "plant-7"]);
        shown["ended_there"].to_string().contains(&key.id)
    });
    assert_eq!(admin.verdict(&key.secret), "VALID", "only a proposal");
}

#[test]
fn a_counted_key_is_lent_over_the_link() {
    let server = Server::start();
    let site = Site::enrol(&server, "plant-7", &[]);
    let admin = server.admin();
    let running = follow(&site, &url_of(&server), "10s");
    let key = admin.issue(json!({ "name": "k", "uses_left": 3 }));
    for _ in 0..3 {
        await_verdict(&running, &key.secret, "VALID");
    }
    await_verdict(&running, &key.secret, "USAGE_EXCEEDED");
    assert_eq!(admin.verdict(&key.secret), "USAGE_EXCEEDED");
}

/// A link is more recent than a pack that was made before: the pack is older, and no sign of a restore.
#[test]
fn a_site_that_was_linked_takes_no_pack_from_before() {
    let server = Server::start();
    let site = Site::enrol(&server, "plant-7", &[]);
    let admin = server.admin();
    let line = Line::of(&server);
    let make = || {
        let stick = site.stick();
        let out = ["pack", "make", "--site", "plant-7", "--out"];
        line.ok(&[&out[..], &[stick.to_str().unwrap()]].concat());
    };
    let (ends, stays) = (
        admin.issue(json!({ "name": "ends" })),
        admin.issue(json!({ "name": "stays" })),
    );
    make();
    site.apply();
    let mut running = follow(&site, &url_of(&server), "10s");
    await_verdict(&running, &ends.secret, "VALID");
    // It travels slowly.
    make();
    admin
        .delete(&format!("/v1/keys/{}?wait=sites", ends.id))
        .expect(204);
    assert_eq!(verdict(&running, &ends.secret), "NOT_FOUND");
    running.stop();
    let refused = site.try_apply(&site.stick());
    assert!(
        refused.stderr.contains("older than what the link"),
        "{refused:?}"
    );
    assert_eq!(site.status()["fork"], "no");
    // Without the link, nothing is in force until a pack is as new as the link was.
    let alone = site.serve();
    assert_eq!(verdict(&alone, &ends.secret), "PACK_STALE");
    make();
    site.apply();
    assert_eq!(verdict(&alone, &ends.secret), "NOT_FOUND");
    assert_eq!(verdict(&alone, &stays.secret), "VALID");
}

#[test]
fn a_server_that_is_restored_is_a_fork_over_the_link() {
    let mut server = Server::start();
    let site = Site::enrol(&server, "plant-7", &[]);
    let admin = server.admin();
    let (gone, stays) = (
        admin.issue(json!({ "name": "gone" })),
        admin.issue(json!({ "name": "stays" })),
    );
    let running = follow(&site, &url_of(&server), "2s");
    await_verdict(&running, &gone.secret, "VALID");
    let line = Line::of(&server);
    let backup = site.path("backup.db");
    line.ok(&["backup", backup.to_str().unwrap()]);
    admin
        .delete(&format!("/v1/keys/{}?wait=sites", gone.id))
        .expect(204);
    server.stop();
    line.ok(&["restore", backup.to_str().unwrap(), "--yes"]);
    server.restart();
    wait::until("the site has noticed it", || {
        site.status()["fork"] == "seen"
    });
    await_verdict(&running, &stays.secret, "PACK_STALE");
    assert_ne!(verdict(&running, &gone.secret), "VALID");
    let checks = line.run(&["doctor"]).stdout;
    let finding = "site plant-7 knows events that this server does not have";
    assert!(checks.contains(finding), "{checks}");
    let reset = site.line.ok(&["site", "reset", "--yes"]);
    assert!(reset.contains("this site asks http://"), "{reset}");
    await_verdict(&running, &stays.secret, "VALID");
    assert_ne!(verdict(&running, &gone.secret), "VALID");
    let checks = line.run(&["doctor"]).stdout;
    assert!(!checks.contains(finding), "{checks}");
}

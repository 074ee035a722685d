//! A linked site that is killed at any moment of a step: what it has confirmed is never undone, with the link and without it.

use std::thread;
use std::time::Duration;

use serde_json::json;

use super::{await_verdict, follow, url_of, verdict};
use crate::command_line::Line;
use crate::sites::Site;
use crate::support::{Random, Server, wait};

#[test]
fn a_site_that_is_killed_during_a_step_undoes_nothing_that_it_has_confirmed() {
    const ROUNDS: usize = 20;
    let server = Server::start();
    let site = Site::enrol(&server, "plant-7", &[]);
    let (admin, line, url) = (server.admin(), Line::of(&server), url_of(&server));
    let mut random = Random::seeded();
    let (mut applied, mut over) = (0, 0);
    // Kills come earlier after a step that was confirmed, and later after one that was not, so that both happen on any machine.
    let mut longest_us = 10_000;
    for round in 0..ROUNDS {
        let ends = admin.issue(json!({ "name": format!("ends{round}") }));
        let stays = admin.issue(json!({ "name": format!("stays{round}") }));
        // The pack of the site has the key, so that its files alone would find it valid.
        let stick = site.stick();
        let out = ["pack", "make", "--site", "plant-7", "--out"];
        line.ok(&[&out[..], &[stick.to_str().unwrap()]].concat());
        site.apply();
        let mut running = follow(&site, &url, "2s");
        await_verdict(&running, &ends.secret, "VALID");
        let path = format!("/v1/keys/{}?wait=sites", ends.id);
        let ending = {
            let admin = admin.clone();
            thread::spawn(move || admin.delete(&path).expect(204))
        };
        wait::pause(Duration::from_micros(random.below(longest_us)));
        running.kill9();
        let answer = ending.join().unwrap();
        let confirmed = answer.header("latchkey-sites") == Some("plant-7=applied");
        if confirmed {
            applied += 1;
            longest_us = longest_us * 2 / 3 + 1;
            // Without the link, too.
            let alone = site.serve();
            assert_ne!(verdict(&alone, &ends.secret), "VALID", "round {round}");
        } else {
            over += 1;
            longest_us = longest_us * 3 / 2;
        }
        let running = follow(&site, &url, "2s");
        wait::until("the site follows again", || {
            assert_ne!(verdict(&running, &ends.secret), "VALID", "round {round}");
            verdict(&running, &stays.secret) == "VALID"
        });
        assert_eq!(verdict(&running, &ends.secret), "NOT_FOUND");
    }
    assert!(applied > 0 && over > 0, "{applied} applied, {over} not");
}

//! Links that are cut, held up, changed or repeated: a site that does not hear from its server gives no verdict any more, and
//! follows again when it does.

use std::time::Duration;

use serde_json::json;

use super::relay::{Mode, Relay};
use super::{await_verdict, follow, link, url_of, verdict};
use crate::command_line::Line;
use crate::sites::Site;
use crate::support::{Server, wait};

/// The span of all leases here.
const MAX_STALE: &str = "2s";
const MAX_STALE_TIME: Duration = Duration::from_secs(2);

/// A site behind a relay, in a mode: a key that the server ends meanwhile is found valid for the span of the lease at most, and
/// afterwards never again, also when everything passes again.
#[track_caller]
fn check(mode: Mode) {
    let server = Server::start();
    let site = Site::enrol(&server, "plant-7", &[]);
    let admin = server.admin();
    let relay = Relay::before(server.address);
    let running = follow(&site, &relay.url(), MAX_STALE);
    for round in 0..2 {
        let key = admin.issue(json!({ "name": format!("k{round}") }));
        let stays = admin.issue(json!({ "name": format!("stays{round}") }));
        await_verdict(&running, &key.secret, "VALID");
        relay.await_answers();
        relay.set(mode);
        // From here on no question of the site has its answer, so no lease lasts longer than from here.
        let watch = wait::Stopwatch::start();
        admin.delete(&format!("/v1/keys/{}", key.id)).expect(204);
        wait::until("the site gives no verdict", || {
            let asked_at = watch.time();
            let found = verdict(&running, &key.secret);
            assert!(found != "VALID" || asked_at < MAX_STALE_TIME, "{mode:?}");
            // With pieces of answers left out, the end may have got through.
            found == "PACK_STALE"
        });
        for _ in 0..20 {
            assert_eq!(verdict(&running, &stays.secret), "PACK_STALE", "{mode:?}");
        }
        let ready = running.call("GET", "/readyz", &[], None).expect(503);
        assert!(
            ready.text().starts_with("not ready: PACK_STALE"),
            "{ready:?}"
        );
        let before = relay.questions();
        wait::until("the site asks again and again", || {
            relay.questions() > before || mode == Mode::Cut
        });
        relay.set(Mode::Pass);
        wait::until("the site follows again", || {
            assert_ne!(verdict(&running, &key.secret), "VALID", "{mode:?}");
            verdict(&running, &stays.secret) == "VALID"
        });
        wait::until("the end of the key has arrived", || {
            let found = verdict(&running, &key.secret);
            assert_ne!(found, "VALID", "{mode:?}");
            found == "NOT_FOUND"
        });
        // A question that was held up may arrive now, and take the answer of one that the site has asked since.
        wait::until("the link is up", || link(&running)["up"] == true);
    }
    let answer = admin.delete(&format!(
        "/v1/keys/{}?wait=sites",
        admin.issue(json!({ "name": "last" })).id
    ));
    let waited = answer.expect(204);
    let waited = waited.header("latchkey-sites").unwrap_or_default();
    assert!(has_ended_at("plant-7", waited), "{mode:?}: {waited}");
}

/// Whether a change is in force at a site, by the header of its answer. On a busy machine, the short lease may have ended first.
fn has_ended_at(site: &str, waited: &str) -> bool {
    ["applied", "lease-over"]
        .iter()
        .any(|how| waited.split(", ").any(|one| one == format!("{site}={how}")))
}

#[test]
fn a_site_that_is_cut_off_gives_no_verdict_after_its_lease() {
    check(Mode::Cut);
}

#[test]
fn answers_that_are_held_up_renew_no_lease_when_they_come() {
    check(Mode::Hold);
}

#[test]
fn an_answer_in_which_a_bit_is_changed_renews_no_lease() {
    check(Mode::Flip);
}

#[test]
fn an_answer_to_an_earlier_question_renews_no_lease() {
    check(Mode::Replay);
}

#[test]
fn half_an_answer_renews_no_lease() {
    check(Mode::Halve);
}

/// While a site is cut off, a change that waits for the sites waits until its lease is over.
#[test]
fn a_change_waits_for_the_lease_of_a_site_that_is_cut_off() {
    let server = Server::start();
    let (near, far) = (
        Site::enrol(&server, "near", &[]),
        Site::enrol(&server, "far", &[]),
    );
    let admin = server.admin();
    let relay = Relay::before(server.address);
    let near_by = follow(&near, &url_of(&server), MAX_STALE);
    let far_away = follow(&far, &relay.url(), MAX_STALE);
    for round in 0..3 {
        let key = admin.issue(json!({ "name": format!("k{round}") }));
        await_verdict(&near_by, &key.secret, "VALID");
        await_verdict(&far_away, &key.secret, "VALID");
        relay.set(if round % 2 == 0 {
            Mode::Hold
        } else {
            Mode::Cut
        });
        let path = format!("/v1/keys/{}?wait=sites", key.id);
        let answer = admin.delete(&path).expect(204);
        let waited = answer
            .header("latchkey-sites")
            .unwrap_or_default()
            .to_owned();
        // The answer to the last question before the change may have been on the way.
        assert!(has_ended_at("near", &waited), "{waited}");
        assert!(has_ended_at("far", &waited), "{waited}");
        assert_ne!(verdict(&near_by, &key.secret), "VALID");
        assert_ne!(verdict(&far_away, &key.secret), "VALID");
        relay.set(Mode::Pass);
        await_verdict(&far_away, &key.secret, "NOT_FOUND");
    }
}

#[test]
fn sites_go_on_within_their_lease_while_the_server_is_away_and_follow_after() {
    let mut server = Server::start();
    let site = Site::enrol(&server, "plant-7", &[]);
    Line::of(&server).ok(&["site", "edit", "plant-7", "--max-stale", "10m"]);
    let admin = server.admin();
    let key = admin.issue(json!({ "name": "k" }));
    let running = follow(&site, &url_of(&server), "10m");
    await_verdict(&running, &key.secret, "VALID");
    for _ in 0..3 {
        server.kill9();
        wait::until("the site has noticed it", || link(&running)["up"] == false);
        assert_eq!(verdict(&running, &key.secret), "VALID");
        server.restart();
        wait::until("the site follows again", || link(&running)["up"] == true);
    }
    server
        .admin()
        .delete(&format!("/v1/keys/{}", key.id))
        .expect(204);
    await_verdict(&running, &key.secret, "NOT_FOUND");
}

//! Sites and servers that are stopped in order: with long leases, no change waits for what cannot answer any more.

use serde_json::json;

use super::{await_verdict, follow, url_of, verdict};
use crate::command_line::Line;
use crate::sites::Site;
use crate::support::{Response, Server, User, wait};

/// A lease that no test waits for.
const MAX_STALE: &str = "1h";

/// Ends a key, and returns the sites that the answer names.
#[track_caller]
fn end(admin: &User, id: &str) -> String {
    let answer: Response = admin.delete(&format!("/v1/keys/{id}?wait=sites"));
    let sites = answer
        .expect(204)
        .header("latchkey-sites")
        .map(str::to_owned);
    sites.unwrap()
}

#[test]
fn a_site_that_is_stopped_and_started_again_holds_up_no_change() {
    let server = Server::start();
    let site = Site::enrol(&server, "plant-7", &["--max-stale", MAX_STALE]);
    let admin = server.admin();
    let keys = [1, 2, 3].map(|number| admin.issue(json!({ "name": format!("k{number}") })));
    let mut running = follow(&site, &url_of(&server), MAX_STALE);
    await_verdict(&running, &keys[0].secret, "VALID");
    assert_eq!(end(&admin, &keys[0].id), "plant-7=applied");
    assert_eq!(verdict(&running, &keys[0].secret), "NOT_FOUND");
    running.stop();
    assert_eq!(end(&admin, &keys[1].id), "none");
    let running = follow(&site, &url_of(&server), MAX_STALE);
    await_verdict(&running, &keys[2].secret, "VALID");
    assert_eq!(end(&admin, &keys[2].id), "plant-7=applied");
    assert_eq!(verdict(&running, &keys[2].secret), "NOT_FOUND");
}

#[test]
fn a_server_that_is_stopped_and_started_again_knows_who_has_its_newest_word() {
    let mut server = Server::start();
    let site = Site::enrol(&server, "plant-7", &["--max-stale", MAX_STALE]);
    let key = server.admin().issue(json!({ "name": "k" }));
    let running = follow(&site, &url_of(&server), MAX_STALE);
    await_verdict(&running, &key.secret, "VALID");
    server.restart();
    assert_eq!(end(&server.admin(), &key.id), "plant-7=applied");
    assert_eq!(verdict(&running, &key.secret), "NOT_FOUND");
}

#[test]
fn a_site_that_was_removed_gives_no_verdict_and_holds_up_no_change() {
    let server = Server::start();
    let site = Site::enrol(&server, "plant-7", &["--max-stale", MAX_STALE]);
    let admin = server.admin();
    let key = admin.issue(json!({ "name": "k" }));
    let running = follow(&site, &url_of(&server), MAX_STALE);
    await_verdict(&running, &key.secret, "VALID");
    Line::of(&server).ok(&["site", "remove", "plant-7", "--yes"]);
    await_verdict(&running, &key.secret, "PACK_STALE");
    wait::until("the server has heard of it", || {
        matches!(&*end(&admin, &key.id), "none" | "plant-7=lease-over")
    });
}

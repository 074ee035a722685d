//! Pages that show the state of the server.

use crate::harness::browser::Browser;
use crate::support::Server;
use serde_json::json;

#[test]
fn the_overview_tells_what_there_is_and_what_wants_looking_at() {
    let server = Server::start();
    let admin = server.admin();
    for (name, days) in [("backup", 2), ("web shop", 9), ("reporting", 40)] {
        let seconds = days * 86_400;
        let key = admin.issue(json!({ "name": name, "expires_in_s": seconds }));
        for _ in 0..days {
            admin.verify(json!({ "key": key.secret }));
        }
    }
    let off = admin.issue(json!({ "name": "old" }));
    admin
        .post(&format!("/v1/keys/{}/disable", off.id), json!({}))
        .expect(200);
    admin.verify(json!({ "key": off.secret }));
    let Some(browser) = Browser::signed_in(&server) else {
        return;
    };
    browser.go("/console");
    browser.sees("web shop");
    browser.sees_not("reporting");
    browser.inspect("overview");
    browser.go("/console/policies");
    browser.sees("5 policies for clients of other systems");
    browser.inspect("policies");
    browser.go("/console/policies/standard");
    browser.sees("Its events in the audit log");
    browser.inspect("policy");
    browser.go("/console/catalogs");
    browser.inspect("catalogs");
    browser.go("/console/catalogs/awaretrain");
    browser.fill("path", "/public/v1/users");
    browser.press("Try it");
    browser.sees("user:read");
    browser.inspect("catalog");
}

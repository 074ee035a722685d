//! Pages that show the state of the server.

use crate::harness::browser::Browser;
use crate::support::{Server, fresh_folder, wait};
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

#[test]
fn what_an_administrator_should_hear_of_is_listed_until_it_was_seen() {
    let server = Server::start();
    let admin = server.admin();
    let decoys = json!({ "name": "decoys", "decoy": true });
    admin.post("/v1/policies", decoys).expect(201);
    let bait = admin.issue(json!({ "name": "backup of the payroll", "policy": "decoys" }));
    admin.issue(json!({ "name": "web shop", "expires_in_s": 86_400 }));
    admin.issue(json!({ "name": "reporting", "expires_in_s": 6 * 86_400 }));
    admin.person("carol", "key_manager", "root");
    admin.verify(json!({ "key": bait.secret }));
    let Some(browser) = Browser::signed_in(&server) else {
        return;
    };
    wait::until("the decoy is noticed", || {
        let found = admin.get("/v1/notices").expect(200).text();
        found.contains("payroll") || found.contains(&bait.id)
    });
    browser.navigate_containing("Notices");
    browser.sees("backup of the payroll");
    browser.inspect("notices");
    browser.press("Mark all as read");
    browser.sees_no_more("Mark all as read");
    browser.inspect("notices-seen");
}

#[test]
fn all_checks_are_run_from_the_overview() {
    let server = Server::start();
    let Some(browser) = Browser::signed_in(&server) else {
        return;
    };
    browser.go("/console");
    browser.press("Run all checks");
    browser.sees("Run all checks");
    browser.inspect("doctor-before");
    browser.press("Run all checks");
    browser.sees("have found something");
    browser.inspect("doctor");
}

#[test]
fn keys_of_another_system_are_previewed_before_they_are_imported() {
    let server = Server::start();
    let Some(browser) = Browser::signed_in(&server) else {
        return;
    };
    browser.navigate("Keys");
    browser.press("Import keys");
    browser.sees("The system that the file comes from.");
    browser.inspect("key-import");
    let folder = fresh_folder();
    let file = folder.join("keys.jsonl");
    let digest = |byte: char| byte.to_string().repeat(64);
    let lines = [
        json!({ "name": "shop", "digest": format!("sha256:{}", digest('a')), "scopes": ["orders:read"] }),
        json!({ "name": "billing", "digest": format!("sha256:{}", digest('b')) }),
        json!({ "name": "strange", "digest": format!("sha256:{}", digest('d')), "policy": "nothing" }),
    ];
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    std::fs::write(&file, text).unwrap();
    browser.find("#source option[value=jsonl]").click();
    browser.find("#file").type_in(file.to_str().unwrap());
    browser.press("Preview");
    browser.sees("2 keys are taken");
    browser.inspect("key-import-preview");
    browser.press("Import these keys");
    browser.sees("2 keys were imported");
    browser.inspect("key-import-done");
}

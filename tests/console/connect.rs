//! Connecting an application, and what users choose for their own pages, in the browser.

use crate::harness::browser::Browser;
use crate::support::Server;
use serde_json::json;

#[test]
fn an_application_is_connected() {
    let server = Server::start();
    let Some(browser) = Browser::signed_in(&server) else {
        return;
    };
    browser.navigate("Connect");
    browser.inspect("connect");
    browser.fill("host", "orders.example");
    browser.fill("upstream", "127.0.0.1");
    browser.press("Show the configuration");
    browser.sees("such as 127.0.0.1:9000.");
    browser.driver.complaints();
    browser.inspect("connect-refused");
    browser.fill("upstream", "127.0.0.1:9000");
    browser.press("Show the configuration");
    browser.sees("server_name orders.example;");
    browser.inspect("connect-files");
    browser.fill("address", "127.0.0.1:1");
    browser.press("Check it");
    browser.sees("Nothing listens on this address.");
    browser.inspect("connect-checked");
}

#[test]
fn language_colours_and_time_zone_are_chosen() {
    let server = Server::start();
    let Some(browser) = Browser::signed_in(&server) else {
        return;
    };
    browser.go("/console/account/preferences");
    browser.inspect("preferences");
    browser.find("#theme option[value=dark]").click();
    browser
        .find("#time_zone option[value='Europe/Berlin']")
        .click();
    browser.press("Save");
    browser.sees("Your choices are saved.");
    browser.inspect("account-dark");
    let ground = "return getComputedStyle(document.body).backgroundColor";
    assert_eq!(browser.driver.run(ground), json!("rgb(18, 21, 19)"));
    browser.go("/console/account/preferences");
    browser.find("#theme option[value=light]").click();
    browser.press("Save");
    browser.sees("Your choices are saved.");
    assert_eq!(browser.driver.run(ground), json!("rgb(245, 246, 244)"));
}

#[test]
fn other_systems_and_workspaces_are_in_order() {
    let server = Server::start_with(&["--systems", "all"], &[]);
    let admin = server.admin();
    for (slug, name, parent) in [
        ("europe", "Europe", "root"),
        ("shop", "Shop", "europe"),
        ("asia", "Asia", "root"),
    ] {
        let body = json!({ "slug": slug, "name": name, "parent": parent });
        admin.post("/v1/workspaces", body).expect(201);
    }
    admin.issue(json!({ "name": "web shop", "workspace": "shop" }));
    let Some(browser) = Browser::signed_in(&server) else {
        return;
    };
    browser.go("/console/workspaces");
    browser.sees("Shop");
    browser.inspect("workspaces-tree");
    browser.press("Shop");
    browser.sees("Europe");
    browser.inspect("workspace-numbers");
    browser.go("/console/keys");
    browser.driver.run("document.activeElement.blur()");
    browser.driver.run("document.body.dispatchEvent(new KeyboardEvent('keydown', { key: '/', bubbles: true, cancelable: true }))");
    let name = browser.driver.run("return document.activeElement.name");
    assert_eq!(name, json!("q"));
}

//! The life of a key, in a browser.

use crate::harness::browser::Browser;
use crate::support::Server;

#[test]
fn a_key_is_created_used_changed_rotated_and_deleted() {
    let server = Server::start();
    let Some(browser) = Browser::signed_in(&server) else {
        return;
    };
    let admin = server.admin();
    browser.navigate("Keys");
    browser.sees("sample");
    browser.inspect("keys");
    browser.press("New key");
    browser.sees("What kind of key?");
    browser.inspect("key-choose");
    browser.press_containing("standard");

    // A refusal is shown at its field, and no input is lost.
    browser.fill("name", "billing");
    browser.fill("description", "Nightly export");
    browser.press("More options");
    browser.fill("allowed_ips", "127.0.0.1\n10.0.0.0/40");
    browser.inspect("key-create");
    browser.press("Create key");
    browser.sees("Line 2");
    browser.driver.complaints();
    browser.inspect("key-create-refused");
    assert_eq!(browser.find("[name=name]").property("value"), "billing");
    assert_eq!(
        browser.find("[name=description]").property("value"),
        "Nightly export"
    );
    browser.fill("allowed_ips", "127.0.0.1\n::1");
    browser.fill("scopes_free", "invoices:read\ninvoices:write");
    browser.press("Create key");

    browser.sees("Key created");
    let secret = browser.find("#secret").text();
    assert_eq!(
        admin.verdict(&secret),
        "IP_NOT_ALLOWED",
        "it works, from the right address"
    );
    browser.inspect("key-created");
    browser.press("Copy");
    browser.sees("Copied.");
    // The browser asks before users leave the page, but not after they confirm that they have stored the secret.
    browser.press("I have stored it");
    browser.sees("About this key");
    browser.sees("Nightly export");
    browser.sees_not(&secret[..30]);
    browser.inspect("key");

    browser.press("Edit");
    browser.find("[name=allowed_ips]").clear();
    browser.fill("name", "billing 2");
    browser.inspect("key-edit");
    browser.press("Save");
    browser.sees("The key has been changed.");
    browser.sees("billing 2");
    assert_eq!(admin.verdict(&secret), "VALID");

    browser.press("Rotate");
    browser.choose("stops working at once");
    browser.inspect("key-rotate");
    browser.press("Rotate");
    browser.sees("A new secret");
    let second = browser.find("#secret").text();
    assert_eq!(admin.verdict(&secret), "NOT_FOUND");
    assert_eq!(admin.verdict(&second), "VALID");
    browser.press("I have stored it");

    browser.press("Disable");
    browser.sees("The key is disabled.");
    assert_eq!(admin.verdict(&second), "DISABLED");
    browser.press("Enable");
    browser.sees("The key is enabled.");
    assert_eq!(admin.verdict(&second), "VALID");
    browser
        .driver
        .command("POST", "/refresh", Some(serde_json::json!({})));
    browser.sees("key.rotate");

    browser.press("Delete");
    browser.sees("Delete this key?");
    browser.inspect("key-delete");
    browser.press("Delete permanently");
    browser.sees("The key has been deleted permanently.");
    assert_eq!(admin.verdict(&second), "NOT_FOUND");
    browser.fill("q", "billing");
    browser.press("Apply");
    browser.sees("No key matches.");
}

// attacks 185
#[test]
fn leaving_a_new_secret_is_asked_about() {
    let server = Server::start();
    let Some(browser) = Browser::signed_in(&server) else {
        return;
    };
    browser.go("/console/keys/new?policy=standard");
    browser.fill("name", "loser");
    browser.press("Create key");
    browser.sees("after you leave this page");
    let secret = browser.find("#secret").text();
    // WebDriver answers such dialogs automatically, so the test looks at the event instead.
    let asks = "const event = new Event('beforeunload', { cancelable: true });
         dispatchEvent(event); return event.defaultPrevented";
    assert_eq!(browser.driver.run(asks), true);
    // The same form, sent again, makes no second key and shows no secret.
    let nothing = serde_json::json!({});
    browser.driver.command("POST", "/refresh", Some(nothing));
    browser.sees("cannot be shown again");
    assert_eq!(browser.driver.run(asks), false);
    // Going back shows no secret either, and the browser keeps none.
    let nothing = serde_json::json!({});
    browser.driver.command("POST", "/back", Some(nothing));
    browser.find("main");
    let kept = browser.driver.run(
        "return [document.documentElement.outerHTML, JSON.stringify({ ...localStorage }), JSON.stringify({ ...sessionStorage }), location.href].join()",
    );
    assert!(!kept.as_str().unwrap().contains(&secret));
    let keys = server.admin().get("/v1/keys?q=loser").expect(200).json();
    assert_eq!(keys["items"].as_array().unwrap().len(), 1);
}

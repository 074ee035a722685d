//! The life of a key, in a browser.

use crate::harness::browser::Browser;
use crate::support::Server;
use serde_json::json;

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
    browser.driver.command("POST", "/refresh", Some(json!({})));
    browser.sees("Key rotated");

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

#[test]
fn keys_are_found_and_changed_together() {
    let server = Server::start();
    let Some(browser) = Browser::signed_in(&server) else {
        return;
    };
    let admin = server.admin();
    admin.workspace("emea", "root");
    let catalog = json!({
        "scopes": [
            { "name": "invoices:read", "label": "Read invoices" },
            { "name": "invoices:write", "label": "Create and change invoices", "implies": ["invoices:read"] },
        ],
        "operations": [
            { "id": "list", "method": "GET", "path": "/invoices", "any_of": ["invoices:read"], "access": "read" },
            { "id": "make", "method": "POST", "path": "/invoices", "any_of": ["invoices:write"], "access": "write" },
        ],
    });
    admin.put("/v1/catalogs/billing", catalog).expect(201);
    for number in 0..420 {
        admin.issue(json!({
            "name": format!("Importer {number:03}"), "workspace": if number % 3 == 0 { "emea" } else { "root" },
            "catalog": "billing", "scopes": ["invoices:read"], "expires_in_s": 1_000_000 + number * 40_000,
        }));
    }
    let key = admin.issue(json!({ "name": "pasted" }));

    browser.go("/console/keys");
    browser.sees("1 to 50 of 423 keys");
    browser.inspect("keys-many");
    browser.press("More filters");
    browser.find("#expiring option[value='30']").click();
    browser.find("#created_by option:nth-child(2)").click();
    browser.press("Apply");
    browser.sees("Clear all");
    browser.inspect("keys-filtered");
    browser.press("Clear all");
    browser.sees("1 to 50 of 423 keys");
    browser.press("Columns");
    browser.find("#column-created").click();
    browser.inspect("keys-columns");
    browser.press("Show these columns");
    browser.sees("1 to 50 of 423 keys");
    browser.find("#tick-all").click();
    browser.press("Disable");
    browser.sees("Disable 50 keys?");
    browser.inspect("key-bulk");
    browser.press("Disable 50 keys");
    browser.sees("50 keys are disabled.");
    browser.inspect("key-bulk-done");
    browser.press("Back to the list");
    browser.find("#all").click();
    browser.press("Change the end");
    browser.sees("keys?");
    browser.inspect("key-bulk-extend");
    browser.press("Cancel");
    browser.find("#tick-all").click();
    browser.find("#bulk button[value=delete]").click();
    browser.sees("Type the number");
    browser.inspect("key-bulk-delete");
    browser.press("Cancel");

    browser.fill("q", &key.secret);
    browser.press("Apply");
    browser.sees("is the secret of this key");
    assert!(browser.place().ends_with(&key.id), "{}", browser.place());
    browser.go("/console/keys");
    browser.fill(
        "q",
        "lk_0123456789012345678901234567890123456789012345678901234567890",
    );
    browser.press("Apply");
    browser.sees("This looks like a secret");
    browser.inspect("key-search-secret");

    browser.go("/console/keys/new?policy=standard");
    browser.find("#catalog option[value=billing]").click();
    browser.sees("Create and change invoices");
    browser.find(".opens summary").click();
    browser.press("More options");
    browser.fill("rate_limit", "60");
    browser.inspect("key-create-catalog");
}

#[test]
fn typing_filters_the_list_and_the_focus_stays() {
    let server = Server::start();
    let Some(browser) = Browser::signed_in(&server) else {
        return;
    };
    let admin = server.admin();
    for name in ["north importer", "south importer"] {
        admin.issue(json!({ "name": name }));
    }
    let secret = admin.issue(json!({ "name": "pasted" })).secret;
    browser.go("/console/keys");
    browser.sees("south importer");
    browser.driver.run(
        "window.asked = []; const own = window.fetch;
         window.fetch = (place, how) => { asked.push(how.body.get('q')); return own(place, how); }",
    );
    browser.fill("q", "north");
    browser.sees_no_more("south importer");
    browser.sees("north importer");
    browser.sees("1 key");
    let state = "return [document.activeElement.id, document.activeElement.value].join()";
    assert_eq!(browser.driver.run(state), "q,north");
    assert_eq!(browser.place(), "/console/keys?q=north");
    browser.inspect("keys-typed");
    // What the list had before works in the new one.
    browser.find("#tick-all").click();
    let ticked = "return document.querySelectorAll('[name=\"ids[]\"]:checked').length";
    assert_eq!(browser.driver.run(ticked), 1);
    // A secret is not sent while it is typed, and a part of it is in no address.
    let emptied = "const field = document.querySelector('#q'); field.value = '';
         field.dispatchEvent(new Event('input'))";
    browser.driver.run(emptied);
    browser.sees("south importer");
    browser.fill("q", &secret);
    browser.driver.run(emptied);
    browser.fill("q", "south");
    browser.sees_no_more("north importer");
    let asked = browser.driver.run("return asked.join(' ')");
    let asked = asked.as_str().unwrap().to_owned();
    assert!(asked.ends_with("south"), "{asked}");
    assert!(
        !asked.contains(&secret[..secret.find('_').unwrap() + 12]),
        "{asked}"
    );
    // Without the script, the button does the same.
    browser.press("Apply");
    browser.sees("south importer");
    assert_eq!(browser.place(), "/console/keys?q=south");
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
    let nothing = json!({});
    browser.driver.command("POST", "/refresh", Some(nothing));
    browser.sees("cannot be shown again");
    assert_eq!(browser.driver.run(asks), false);
    // Going back shows no secret either, and the browser keeps none.
    let nothing = json!({});
    browser.driver.command("POST", "/back", Some(nothing));
    browser.find("main");
    let kept = browser.driver.run(
        "return [document.documentElement.outerHTML, JSON.stringify({ ...localStorage }), JSON.stringify({ ...sessionStorage }), location.href].join()",
    );
    assert!(!kept.as_str().unwrap().contains(&secret));
    let keys = server.admin().get("/v1/keys?q=loser").expect(200).json();
    assert_eq!(keys["items"].as_array().unwrap().len(), 1);
}

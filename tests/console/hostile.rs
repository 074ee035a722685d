//! Hostile texts, and large numbers of everything.

use crate::harness::browser::Browser;
use crate::harness::filled::Filled;
use crate::support::Server;
use serde_json::json;

// attacks 181
#[test]
fn what_others_wrote_is_shown_and_does_nothing() {
    let server = Server::start();
    let admin = server.admin();
    let script =
        "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">";
    let long = "x".repeat(100);
    let many: Vec<String> = (0..1000).map(|n| format!("resource{n:03}:read")).collect();
    let scopes: Vec<_> = many
        .iter()
        .map(|name| json!({ "name": name, "label": format!("{name} {script}") }))
        .collect();
    admin
        .put(
            "/v1/catalogs/many",
            json!({ "scopes": scopes, "operations": [] }),
        )
        .expect(201);
    let key = admin.issue(json!({
        "name": "'\"><svg onload=alert(1)>", "description": script, "catalog": "many",
        "scopes": many[..200], "metadata": { "a": script },
    }));
    admin.issue(json!({ "name": long }));
    admin.issue(json!({ "name": "\u{627}\u{644}\u{639}\u{631}\u{628}\u{64a}\u{629} key" }));
    let Some(browser) = Browser::signed_in(&server) else {
        return;
    };
    browser.go("/console/keys");
    browser.sees("<svg onload=alert(1)>");
    browser.inspect("hostile-keys");
    browser.go(&format!("/console/keys/{}", key.id));
    browser.sees("<script>");
    browser.sees("and 180 more");
    browser.sees_not("resource150:read");
    browser.inspect("hostile-key");
    browser.press("and 180 more");
    browser.sees("resource199:read");
    browser.go(&format!("/console/keys/{}/edit", key.id));
    browser.sees("resource199:read");
    browser.sees_not("resource200:read");
    browser.sees("and 800 more");
    browser.go("/console/catalogs/many");
    browser.sees("and 950 more");
    browser.find("[data-filter]").type_in("resource777");
    browser.sees("resource777:read");
    browser.go("/console/keys/new?policy=standard&catalog=many");
    // Further entries are folded, and the filter finds them there.
    browser.sees("resource039:read");
    browser.sees_not("resource040:read");
    browser.inspect("hostile-create");
    browser.press("and 960 more");
    browser.sees("resource999:read");
    browser.press("and 960 more");
    browser.sees_not("resource999:read");
    browser.find("[data-filter]").type_in("resource421");
    browser.sees_not("resource422:read");
    browser.find("[value='resource421:read']").click();
    browser.fill("name", "one of a thousand");
    browser.press("Create key");
    browser.sees("Key created");
    browser.driver.run("onbeforeunload = null");
    browser.press("I have stored it");
    browser.go("/console/audit");
    browser.sees("onload=alert(1)");
    assert_eq!(
        browser.driver.run("return document.title"),
        "Audit log · Latchkey"
    );
    assert_eq!(browser.driver.complaints(), Vec::<String>::new());
}

#[test]
fn a_key_is_found_among_ten_thousand() {
    let server = Filled::start(10_000);
    let Some(browser) = Browser::open_at(server.address) else {
        return;
    };
    browser.sign_in("owner", &server.owner_password);
    browser.navigate("Keys");
    browser.sees("1 to 50 of 10,001 keys");
    browser.press("Next");
    browser.sees("51 to 100 of 10,001 keys");
    browser.inspect("keys-many");
    browser.fill("q", "\"filled 9876\"");
    browser.press("Apply");
    browser.sees("1 key");
    browser.press("filled 9876");
    browser.sees("About this key");
}

//! The clicks that the documents of four systems describe, followed literally.

use crate::harness::browser::Browser;
use crate::support::{Server, code};
use serde_json::json;

/// A browser whose navigation has the page of a policy.
fn with_page(server: &Server, policy: &str) -> Option<Browser> {
    let browser = Browser::signed_in(server)?;
    browser.go(&format!("/console/policies/{policy}"));
    let form = format!("form[action='/console/policies/{policy}/page'] button");
    browser.find(&form).click();
    browser.sees("The page is in the navigation.");
    Some(browser)
}

/// What is on the clipboard.
fn clipboard(browser: &Browser) -> String {
    let permissions = json!({ "permissions": ["clipboardReadWrite"] });
    browser
        .driver
        .devtools("Browser.grantPermissions", permissions);
    let read =
        "navigator.clipboard.readText().then(arguments[0], (err) => arguments[0](String(err)))";
    let text = browser.driver.run_async(read);
    text.as_str().unwrap_or_default().to_owned()
}

// 1A-5 to 1A-8, 1A-11, 1A-17, 1A-19, 1A-29
#[test]
fn awares_tokens_are_created_copied_and_deleted() {
    let server = Server::start();
    let Some(browser) = with_page(&server, "aware") else {
        return;
    };
    browser.sees("System Settings");
    browser.navigate_to_system("Aware");
    browser.sees("There are no keys yet");
    browser.inspect("aware-empty");
    browser.sees("API Tokens");
    browser.press("+ API Token");
    browser.fill("name", "archive");
    browser.choose("Data Holds Read-only");
    browser.choose("Data Holds Full Access");
    browser.inspect("aware-create");
    browser.press("Create");
    browser.sees("Key created");
    let secret = browser.find("#secret").text();
    assert!(secret.starts_with("aware_"));
    browser.inspect("aware-created");
    browser.press("Copy");
    browser.sees("Copied.");
    // Another text is put on the clipboard, so that the next step is visible.
    browser.press("Copy this");
    browser.press("Done");
    // The permissions stand next to each token.
    browser.sees("Data Holds Full Access");
    browser.inspect("aware");
    // The secret can be copied again at any time: one press puts it on the clipboard, and it never appears in the page.
    let list = browser.place();
    browser.press("Copy");
    browser.sees("Copied.");
    assert_eq!(clipboard(&browser), secret);
    assert_eq!(browser.place(), list);
    let page = browser
        .driver
        .run("return document.documentElement.outerHTML");
    assert!(!page.as_str().unwrap().contains(&secret[..30]));
    assert_eq!(browser.driver.complaints(), Vec::<String>::new());
    // A browser without a clipboard shows the page that users without scripts get.
    let absent = "Object.defineProperty(navigator, 'clipboard', { value: { write: () => Promise.reject() } })";
    browser.driver.run(absent);
    browser.press("Copy");
    browser.sees("The secret again");
    assert_eq!(browser.find("#secret").text(), secret);
    browser.press("Done");
    assert_eq!(server.admin().newest_event()["action"], "key.reveal");
    let headers = [
        ("X-Aware-Api-Key", secret.as_str()),
        ("X-Original-Method", "GET"),
        ("X-Original-URI", "/external/dataholds/v1"),
    ];
    server
        .call("GET", "/auth/nginx?catalog=aware", &headers, None)
        .expect(200);
    browser.press("Delete");
    browser.sees("Delete this API token?");
    browser.press("Delete");
    browser.sees("The key has been deleted permanently.");
    server
        .call("GET", "/auth/nginx?catalog=aware", &headers, None)
        .expect(401);
}

// 1B-4 to 1B-19
#[test]
fn awaretrains_keys_are_created_edited_and_deleted() {
    let server = Server::start();
    let Some(browser) = with_page(&server, "awaretrain") else {
        return;
    };
    browser.navigate_to_system("Awaretrain");
    browser.sees("super manager");
    browser.press("New API Key");
    browser.sees("Create API Key");
    browser.fill("name", "HR sync");
    let now = server.anonymous().get("/healthz");
    assert_eq!(now.status, 200);
    let most = browser.find("[name=expires_on]").property("max");
    let most = most.as_str().unwrap().to_owned();
    browser.set("expires_on", &most);
    browser.choose("List users, user details");
    browser.fill("allowed_ips", "10.0.0.0/8");
    browser.press("Save");
    browser.sees("Line 1 must be a single address");
    browser.driver.complaints();
    assert_eq!(browser.find("[name=name]").property("value"), "HR sync");
    assert_eq!(browser.find("[name=expires_on]").property("value"), most);
    assert_eq!(browser.find("#scopes-0").property("checked"), true);
    browser.fill("allowed_ips", "192.0.2.7\n2001:db8::7");
    browser.inspect("awaretrain-create");
    browser.press("Save");
    // A dialog shows the key, for this one time.
    browser.find("dialog #secret");
    browser.sees("The secret is shown only this time");
    let secret = browser.find("#secret").text();
    let verdict = server
        .admin()
        .verify(json!({ "key": secret, "ip": "192.0.2.7" }));
    assert_eq!(verdict["valid"], true, "{verdict}");
    browser.press("Close");
    browser.sees("HR sync");
    // The list shows the chosen last day.
    browser.sees(&most);
    browser.sees_not(&secret);
    browser.inspect("awaretrain");
    browser.press("Edit");
    browser.fill("name", "HR sync 2");
    browser.press("Save");
    browser.sees("HR sync 2");
    browser.navigate_to_system("Awaretrain");
    browser.press("Delete");
    browser.sees("Delete this API key?");
    browser.press("Delete");
    browser.sees("The key has been deleted permanently.");
}

// 1C-12 to 1C-22
#[test]
fn adveritys_keys_are_created_and_revoked_by_name() {
    let server = Server::start();
    server.admin().workspace("emea", "root");
    let Some(browser) = with_page(&server, "adverity-ui") else {
        return;
    };
    browser.navigate_to_system("Adverity");
    browser.press("Create key");
    browser.fill("name", "reporting");
    browser.find("#workspace option[value=emea]").click();
    browser.choose("Read-only");
    browser.inspect("adverity-create");
    browser.press("Create API key");
    let secret = browser.find("dialog #secret").text();
    browser.press("Copy");
    browser.sees("Copied.");
    browser.press("Close");
    // It cannot be copied again.
    browser.sees("reporting");
    browser.sees_not(&secret);
    let verdict = server
        .admin()
        .verify(json!({ "key": secret, "workspace": "emea" }));
    assert_eq!(verdict["scopes"], json!(["all:read"]));
    browser.press("Select an action");
    browser.inspect("adverity");
    if !browser.driver.has("details[open] summary") {
        browser.press("Select an action");
    }
    browser.press("Revoke");
    browser.fill("confirm_name", "reportin");
    browser.press("Delete API key");
    browser.sees("That is not the name of this key.");
    browser.driver.complaints();
    browser.inspect("adverity-revoke");
    browser.fill("confirm_name", "reporting");
    browser.press("Delete API key");
    browser.sees("The key has been deleted permanently.");
    assert_eq!(server.admin().verdict(&secret), "NOT_FOUND");
}

// 1D-4 to 1D-9, 1D-14, 1D-15, 1D-26
#[test]
fn vspcs_keys_are_created_disabled_enabled_and_removed() {
    let server = Server::start();
    let Some(browser) = with_page(&server, "vspc") else {
        return;
    };
    browser.navigate_to_system("Veeam");
    browser.sees("REST API Keys");
    browser.press("New");
    browser.press("Simple Key (Recommended)");
    browser.sees("Create Key");
    // All missing values are reported together, each at its field.
    browser.press("Create");
    browser.sees("Must not be empty.");
    assert_eq!(
        browser
            .driver
            .run("return document.querySelectorAll('.refusal').length"),
        2
    );
    browser.driver.complaints();
    browser.inspect("vspc-create-refused");
    browser.fill("description", "Nightly billing");
    browser.choose("REST API requests");
    browser.choose("Read-only");
    browser.inspect("vspc-create");
    browser.press("Create");
    let secret = browser.find("dialog #secret").text();
    browser.press("Copy key to clipboard");
    browser.sees("Copied.");
    browser.press("OK");
    // It was shown only then.
    browser.sees("Nightly billing");
    browser.sees_not(&secret);
    browser.inspect("vspc");
    assert_eq!(server.admin().verdict(&secret), "VALID");
    browser.press("Edit");
    assert!(!browser.driver.has("[name=scopes\\[\\]], [name=read_only]"));
    browser.fill("description", "Monthly billing");
    browser.press("Save");
    browser.sees("Monthly billing");
    browser.inspect("vspc-key");
    browser.navigate_to_system("Veeam");
    browser.sees("Monthly billing");
    browser.sees_not("Nightly billing");
    browser.press("Disable");
    browser.sees("Disable Key");
    browser.sees("Monthly billing");
    browser.press("Yes");
    browser.sees("The key is disabled.");
    assert_eq!(server.admin().verdict(&secret), "DISABLED");
    browser.press("Enable");
    browser.sees("The key is enabled.");
    assert_eq!(server.admin().verdict(&secret), "VALID");
    browser.press("Remove");
    browser.sees("Delete API Key");
    browser.press("Yes");
    browser.sees("The key has been deleted permanently.");
    assert_eq!(server.admin().verdict(&secret), "NOT_FOUND");
}

// 1B-3, 1C-14
#[test]
fn an_auditor_sees_the_systems_keys_and_no_button() {
    let server = Server::start_with(&["--systems", "all"], &[]);
    let admin = server.admin();
    admin.person("ada", "auditor", "root");
    admin.issue(json!({ "name": "ci", "policy": "adverity-ui", "scopes": ["all:read"] }));
    let Some(browser) = Browser::open(&server) else {
        return;
    };
    browser.sign_in("ada", crate::support::PASSWORD);
    browser.inspect("auditor-overview");
    browser.navigate_to_system("Adverity");
    browser.sees("ci");
    browser.inspect("auditor-adverity");
    // The search is a form that changes nothing.
    assert!(
        !browser.driver.has(
            "main form[method=post]:not([role=search]), main td .button, main .button.primary"
        )
    );
    browser.press_containing("ci");
    browser.sees("About this key");
    assert!(
        !browser
            .driver
            .has("main form[method=post], main .page-head .button")
    );
}

// 1D-33
#[test]
fn whoever_has_one_time_codes_is_asked_for_one_on_a_second_page() {
    let server = Server::start();
    let Some(browser) = Browser::open(&server) else {
        return;
    };
    let user = server
        .anonymous()
        .signed_in(&server.owner_user_name, &server.owner_password);
    let drawn = user.get("/api/v3/authentication/keys/totp-secret").json();
    let secret = drawn["data"]["secret"].as_str().unwrap().to_owned();
    let me = user.get("/api/v3/users/me").json();
    let path = format!(
        "/api/v3/users/{}/logins/totp?secretUrl=otpauth%3A%2F%2Ftotp%2Fx%3Fsecret%3D{secret}&code={}&description=Phone&scopes=ui",
        me["data"]["instanceUid"].as_str().unwrap(),
        code(&secret, 0)
    );
    user.call("POST", &path, None).expect(200);
    browser.go("/console/keys");
    browser.fill("user_name", &server.owner_user_name);
    browser.fill("password", &server.owner_password);
    browser.press("Sign in");
    browser.sees("One-time code");
    browser.inspect("sign-in-code");
    browser.fill("code", "000000");
    browser.press("Sign in");
    browser.sees("This code is wrong");
    browser.driver.complaints();
    browser.fill("code", &code(&secret, 1));
    browser.press("Sign in");
    browser.find("nav");
    // The sign-in leads to the requested page.
    assert!(browser.place().starts_with("/console/keys"));
}

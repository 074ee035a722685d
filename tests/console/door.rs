//! Coming in and going out.

use crate::harness::browser::Browser;
use crate::support::{PASSWORD, Server};

#[test]
fn the_owner_signs_in_looks_around_and_signs_out() {
    let server = Server::start();
    let Some(browser) = Browser::open(&server) else {
        return;
    };
    browser.go("/");
    browser.sees("Sign in");
    browser.inspect("sign-in");
    browser.fill("user_name", &server.owner_user_name);
    browser.fill("password", "something else entirely");
    browser.press("Sign in");
    browser.sees("The user name or the password is wrong.");
    browser.driver.complaints();
    browser.inspect("sign-in-refused");
    assert_eq!(
        browser.find("[name=user_name]").property("value"),
        server.owner_user_name
    );
    browser.fill("password", &server.owner_password);
    browser.press("Sign in");
    browser.sees("Overview");

    browser.go("/console/nowhere");
    browser.driver.complaints();
    browser.sees("Not found");
    browser.inspect("error");

    browser.go("/console/account");
    browser.sees("This browser");
    browser.inspect("account");
    browser
        .driver
        .click_path("//button[normalize-space()='Sign out']");
    browser.find("[name=user_name]");
    browser.go("/console/account");
    browser.find("[name=user_name]");
    browser.fill("user_name", &server.owner_user_name);
    browser.fill("password", &server.owner_password);
    browser.press("Sign in");
    browser.sees("Your account");
    assert_eq!(browser.place(), "/console/account");
}

#[test]
fn a_password_is_changed_and_other_sessions_end() {
    let server = Server::start();
    let Some(browser) = Browser::signed_in(&server) else {
        return;
    };
    browser.go("/console/account");
    browser.fill("current_password", &server.owner_password);
    browser.fill("password", PASSWORD);
    browser.fill("password_again", PASSWORD);
    browser.press("Change the password");
    browser.sees("Your password has been changed.");
    assert_eq!(
        server
            .anonymous()
            .post(
                "/v1/sessions",
                serde_json::json!({
                    "user_name": server.owner_user_name, "password": server.owner_password,
                })
            )
            .status,
        401
    );
}

#[test]
fn what_was_typed_outlives_the_session() {
    let server = Server::start();
    let Some(browser) = Browser::signed_in(&server) else {
        return;
    };
    browser.go("/console/keys/new?policy=standard");
    browser.fill("name", "Größe & <more>");
    browser.fill("description", "typed before the end");
    browser.fill("scopes_free", "invoices:read\ninvoices:write");
    browser.driver.command("DELETE", "/cookie/latchkey", None);
    browser.press("Create key");
    browser.sees("What you typed is kept");
    browser.driver.complaints();
    browser.inspect("sign-in-kept");
    browser.fill("user_name", &server.owner_user_name);
    browser.fill("password", &server.owner_password);
    browser.press("Sign in");
    browser.sees("Continue where you stopped");
    browser.sees("Größe & <more>");
    browser.press("Continue");
    browser.sees("Key created");
    let keys = server.admin().get("/v1/keys?q=more").expect(200).json();
    assert_eq!(keys["items"][0]["name"], "Größe & <more>");
    assert_eq!(
        keys["items"][0]["scopes"],
        serde_json::json!(["invoices:read", "invoices:write"])
    );
}

//! Users, roles and workspaces in the browser, and the log of their changes.

use crate::harness::browser::Browser;
use crate::support::{PASSWORD, Server};

#[test]
fn users_workspaces_and_the_log_are_managed() {
    let server = Server::start();
    let Some(browser) = Browser::signed_in(&server) else {
        return;
    };
    browser.navigate("Workspaces");
    browser.inspect("workspaces");
    browser.press("New workspace");
    browser.fill("name", "Europe");
    browser.inspect("workspace-create");
    browser.press("Create workspace");
    browser.sees("The workspace has been created.");
    browser.inspect("workspace");
    browser.press("Disable");
    browser.sees("The workspace has been changed.");
    browser.press("Enable");

    browser.navigate("Users");
    browser.press("New user");
    browser.fill("user_name", "Grace");
    browser.fill("password", "short");
    browser.press("Create user");
    browser.sees("at least 12");
    browser.driver.complaints();
    browser.inspect("user-create-refused");
    browser.fill("user_name", "grace");
    browser.fill("password", PASSWORD);
    browser.find("#role option[value=key_manager]").click();
    browser.find("#role_place option[value=europe]").click();
    browser.press("Create user");
    browser.sees("The user has been created.");
    browser.sees("Key manager: keys");
    browser.inspect("user");
    browser.find("#role option[value=auditor]").click();
    browser.find("#role_place option[value=root]").click();
    browser.press("Add a role");
    browser.sees("Auditor: reads");
    browser.press("Disable");
    browser.sees("The user has been changed.");
    browser.press("Enable");
    browser.navigate("Users");
    browser.sees("grace");
    browser.inspect("users");

    browser.navigate("Audit log");
    browser.sees("user.create");
    browser.inspect("audit");
    browser.press("Check the chain");
    browser.sees("The chain is intact");
    browser.fill("action", "user.roles");
    browser.press("Apply");
    // The previous page contains the next text too.
    browser.sees_no_more("The chain is intact");
    browser.sees("user.roles");
    browser.sees_not("workspace.create");

    // Users do not see pages and actions that only other users have.
    browser
        .driver
        .click_path("//button[normalize-space()='Sign out']");
    browser.sign_in("grace", PASSWORD);
    browser.go("/console/users");
    browser.sees_not("New workspace");
    browser.go("/console/keys/new?policy=standard");
    browser.driver.complaints();
    browser.fill("name", "hers");
    browser.find("#workspace option[value=europe]").click();
    browser.press("Create key");
    browser.sees("Key created");
}

#[test]
fn a_user_is_deleted_after_the_password_was_given_again() {
    let mut server = Server::start();
    server.admin().person("leaver", "member", "root");
    let Some(browser) = Browser::signed_in(&server) else {
        return;
    };
    // Twenty minutes later.
    server.stop();
    let database = rusqlite::Connection::open(server.data.join("latchkey.db")).unwrap();
    let sql = "UPDATE clock SET mark = mark + 1200000";
    assert!(database.execute(sql, []).unwrap() > 0);
    drop(database);
    server.restart();
    browser.go("/console/users");
    browser.press("leaver");
    browser.press("Delete this user");
    browser.sees("Delete this user?");
    browser.inspect("user-delete");
    browser.press("Delete permanently");
    browser.sees("Confirm your password");
    browser.driver.complaints();
    browser.inspect("confirm");
    browser.fill("password", &server.owner_password);
    browser.press("Confirm");
    browser.sees("Continue where you stopped");
    browser.inspect("resume");
    browser.press("Continue");
    browser.sees("The user has been deleted.");
}

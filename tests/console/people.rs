//! Users, roles and workspaces in the browser, and the log of their changes.

use crate::harness::browser::Browser;
use crate::support::{PASSWORD, Server, code};

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
    browser.sees("Role in europe");
    browser.inspect("user");
    browser.find("#role option[value=auditor]").click();
    browser.find("#role_place option[value=root]").click();
    browser.press("Save the roles");
    browser.sees("Role in root");
    browser.press("Disable");
    browser.sees("The user has been changed.");
    browser.press("Enable");
    browser.navigate("Users");
    browser.sees("grace");
    browser.inspect("users");

    browser.navigate("Audit log");
    browser.sees("User created");
    browser.inspect("audit");
    browser.press("Verify integrity");
    browser.sees("The audit log is intact");
    browser.find("#action option[value='user.roles']").click();
    browser.press("Apply");
    // The previous page contains the next text too.
    browser.sees_no_more("The audit log is intact");
    browser.sees("Roles changed");
    browser.sees_not("created grace");
    browser.inspect("audit-filtered");

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
fn two_step_sign_in_is_set_up_used_and_reset() {
    let server = Server::start();
    server.admin().person("alice", "key_manager", "root");
    let Some(browser) = Browser::open(&server) else {
        return;
    };
    browser.sign_in("alice", PASSWORD);
    browser.go("/console/account");
    browser.sees("Your password alone signs you in.");
    browser.inspect("account-off");
    browser.press("Set up");
    browser.sees("Scan this code with the app");
    browser.inspect("two-step");
    let secret = browser.find("#secret").text().replace(' ', "");
    browser.fill("code", "000000");
    browser.press("Switch on");
    browser.sees("This is not the code");
    browser.driver.complaints();
    browser.inspect("two-step-refused");
    assert_eq!(browser.find("#secret").text().replace(' ', ""), secret);
    browser.fill("code", &code(&secret, 0));
    browser.press("Switch on");
    browser.sees("Your recovery codes");
    browser.inspect("recovery-codes");
    let codes = browser.find("#codes").text();
    let codes: Vec<&str> = codes.split_whitespace().collect();
    assert_eq!(codes.len(), 10, "{codes:?}");
    browser.press("I have stored the codes");
    browser.sees("10 left");
    browser.inspect("account");
    browser.press("Switch off");
    browser.sees("Switch off two-step sign-in?");
    browser.inspect("two-step-off");
    browser
        .driver
        .click_path("//button[normalize-space()='Sign out']");
    browser.sees("Sign in");
    browser.fill("user_name", "alice");
    browser.fill("password", PASSWORD);
    browser.press("Sign in");
    browser.sees("enter one of your recovery codes");
    browser.inspect("sign-in-code");
    browser.fill("code", codes[0]);
    browser.press("Sign in");
    browser.find("nav");
    browser.go("/console/account");
    browser.sees("9 left");
    browser
        .driver
        .click_path("//button[normalize-space()='Sign out']");

    browser.sign_in(&server.owner_user_name, &server.owner_password);
    browser.go("/console/users");
    browser.sees("Last sign-in");
    browser.inspect("users-two-step");
    browser.press("alice");
    browser.sees("9 left");
    browser.inspect("user-two-step");
    browser.press("Reset");
    browser.sees("Two-step sign-in has been reset.");
}

#[test]
fn a_role_that_needs_two_step_sign_in_leads_to_it() {
    let server = Server::start_with(&["--second-factor-roles", "auditor"], &[]);
    server.admin().person("alice", "auditor", "root");
    let Some(browser) = Browser::open(&server) else {
        return;
    };
    browser.go("/console/keys");
    browser.fill("user_name", "alice");
    browser.fill("password", PASSWORD);
    browser.press("Sign in");
    browser.sees("Your role needs two-step sign-in.");
    browser.inspect("two-step-must");
    let secret = browser.find("#secret").text().replace(' ', "");
    browser.fill("code", &code(&secret, 0));
    browser.press("Switch on");
    browser.sees("Two-step sign-in is on.");
    browser.inspect("recovery-codes-must");
    browser.press("I have stored the codes");
    browser.find("nav");
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

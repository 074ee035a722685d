//! Policies, catalogs, workspaces, backups, and files of the log in the browser.

use crate::harness::browser::Browser;
use crate::support::Server;
use serde_json::json;

#[test]
fn a_policy_is_made_and_keys_follow_it() {
    let server = Server::start();
    let Some(browser) = Browser::signed_in(&server) else {
        return;
    };
    browser.navigate("Policies");
    browser.press("New policy");
    browser.fill("name", "device");
    browser.fill("description", "One for each device.");
    browser.find("#expiry option[value=required]").click();
    browser.fill("life_max", "0");
    browser.press("Create policy");
    browser.sees("Must be more than zero");
    browser.driver.complaints();
    browser.inspect("policy-create-refused");
    browser.fill("life_max", "30");
    browser.press("All other rules");
    browser.choose("Keys can be rotated");
    browser.press("Create policy");
    browser.sees("The policy has been created.");
    browser.sees("30 days");
    browser.sees_not("Keys can be rotated");
    browser.inspect("policy-of-devices");

    browser.go("/console/policies/device/edit");
    browser.inspect("policy-edit");
    browser.fill("life_max", "7");
    browser.press("Save");
    browser.sees("The policy has been changed.");
    browser.sees("7 days");
    server
        .admin()
        .issue(json!({ "name": "k", "policy": "device", "expires_in_s": 60 }));
    browser.go("/console/policies/device/delete");
    browser.inspect("policy-delete");
    browser.press("Delete permanently");
    browser.sees("Keys of policy device exist");
    browser.driver.complaints();
    browser.press("Cancel");
    browser.sees("One for each device.");
}

#[test]
fn a_catalog_is_put_and_its_keys_follow() {
    let server = Server::start();
    let Some(browser) = Browser::signed_in(&server) else {
        return;
    };
    browser.navigate("Catalogs");
    browser.press("New catalog");
    browser.fill("name", "billing");
    browser.inspect("catalog-create");
    browser.press("Save");
    browser.sees("The catalog applies from the next request on");
    browser.sees("Read invoices");
    let admin = server.admin();
    admin.issue(json!({ "name": "loser", "catalog": "billing", "scopes": ["invoices:write"] }));
    browser.press("Edit");
    browser.fill("definition", "{\"scopes\": [{\"name\": \"a b\"}]}");
    browser.press("Save");
    browser.sees("scopes[0].name");
    browser.driver.complaints();
    browser.inspect("catalog-edit-refused");
    browser.fill(
        "definition",
        "{\"scopes\": [{\"name\": \"invoices:read\", \"label\": \"Read\"}]}",
    );
    browser.press("Save");
    browser.sees("Keys have lost scopes");
    browser.inspect("catalog-lost-scopes");
    browser.press("loser");
    browser.sees("About this key");
}

#[test]
fn a_workspace_goes_with_all_that_is_in_it() {
    let server = Server::start();
    let admin = server.admin();
    admin.workspace("europe", "root");
    admin.workspace("france", "europe");
    admin.issue(json!({ "name": "there", "workspace": "france" }));
    let Some(browser) = Browser::signed_in(&server) else {
        return;
    };
    browser.go("/console/workspaces/europe");
    browser.press("Delete this workspace");
    browser.sees("1 workspace below it");
    browser.inspect("workspace-delete");
    browser.fill("confirm_name", "europa");
    browser.press("Delete permanently");
    browser.sees("That is not europe.");
    browser.driver.complaints();
    browser.fill("confirm_name", "europe");
    browser.press("Delete permanently");
    browser.sees("The workspace has been deleted.");
    admin.get("/v1/workspaces/france").expect(404);
}

#[test]
fn a_backup_is_made() {
    let server = Server::start();
    let Some(browser) = Browser::signed_in(&server) else {
        return;
    };
    browser.navigate("Backups");
    browser.sees("There is no backup yet.");
    browser.press("Make a backup now");
    browser.sees("The backup has been made.");
    browser.sees("latchkey restore /");
    browser.inspect("backups");
}

#[test]
fn a_catalog_is_made_of_an_openapi_document() {
    let server = Server::start();
    let Some(browser) = Browser::signed_in(&server) else {
        return;
    };
    browser.navigate("Catalogs");
    browser.press("Import OpenAPI");
    browser.inspect("catalog-import");
    browser.fill("name", "billing");
    let document = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/openapi/billing-3.0.yaml"
    );
    browser.find("#file").type_in(document);
    browser.press("Preview the catalog");
    browser.sees("1 operation is closed to all keys");
    browser.inspect("catalog-preview");
    browser.press("Save");
    browser.sees("The catalog applies from the next request on");
    browser.sees("GET /invoices");

    browser.go("/console/import-catalog");
    browser.fill("name", "billing");
    browser.press("Or the text of the document");
    browser.fill("document", "swagger: '2.0'");
    browser.press("Preview the catalog");
    browser.sees("This is a Swagger 2.0 document");
    browser.driver.complaints();
    browser.inspect("catalog-import-refused");
}

//! Slugs and user names that are no longer in use are not available to other tenants.

use serde_json::{Value, json};

use crate::keeping::restore::{back_up, restore};
use crate::support::{PASSWORD, Response, Server, User};

const REFUSED: &str =
    "this name cannot be used; choose another one, or ask an administrator of the root workspace";

/// Two tenants with an administrator each.
fn tenants() -> (Server, User) {
    let server = Server::start();
    let admin = server.admin();
    admin.workspace("emea", "root");
    admin.workspace("apac", "root");
    admin.person("adm", "administrator", "emea");
    admin.person("apu", "member", "apac");
    let adm = server.anonymous().signed_in("adm", PASSWORD);
    (server, adm)
}

fn create(user: &User, slug: &str) -> Response {
    user.post("/v1/workspaces", json!({ "slug": slug, "parent": "emea" }))
}

fn rename(user: &User, from: &str, to: &str) -> Response {
    user.patch(&format!("/v1/workspaces/{from}"), json!({ "slug": to }))
}

fn join(user: &User, name: &str) -> Response {
    user.post(
        "/v1/users",
        json!({ "user_name": name, "workspace": "emea" }),
    )
}

#[track_caller]
fn refused(response: Response) {
    assert_eq!(response.refused(409, "conflict")["detail"], REFUSED);
}

/// finding S13
#[test]
fn a_slug_that_became_free_is_given_again_only_by_who_manages_the_root() {
    let (mut server, adm) = tenants();
    let admin = server.admin();
    admin.workspace("below", "apac");
    admin.workspace("oceania", "root");
    create(&adm, "mine").expect(201);
    rename(&admin, "oceania", "pacific").expect(200);
    admin.delete("/v1/users/apu").expect(204);
    admin
        .delete("/v1/workspaces/apac?recursive=true")
        .expect(204);
    for restarted in [false, true] {
        if restarted {
            server.kill9();
            server.restart();
        }
        for slug in ["apac", "below", "oceania"] {
            refused(create(&adm, slug));
            refused(rename(&adm, "mine", slug));
        }
    }
    // A slug that was never in use is available.
    let named = |name: &str| json!({ "slug": name, "name": name, "parent": "emea" });
    adm.post("/v1/workspaces", named("other")).expect(201);
    // The former slug of a workspace is available to that workspace, and to no other.
    rename(&adm, "mine", "yours").expect(200);
    refused(create(&adm, "mine"));
    rename(&adm, "yours", "mine").expect(200);
    refused(create(&adm, "yours"));
    // A caller who manages the root may use such names; other callers still may not.
    let admin = server.admin();
    create(&admin, "apac").expect(201);
    rename(&server.local(), "other", "below").expect(200);
    refused(rename(&adm, "mine", "oceania"));
    let scopes = |scopes: Value| {
        let key = json!({ "name": "m", "catalog": "latchkey", "scopes": scopes });
        server.bearer(&admin.issue(key).secret)
    };
    refused(create(&scopes(json!(["workspaces:write"])), "oceania"));
    create(
        &scopes(json!(["workspaces:write", "server:admin"])),
        "oceania",
    )
    .expect(201);
}

/// finding S13
#[test]
fn a_name_of_a_deleted_user_is_given_again_only_by_who_manages_the_root() {
    let (server, adm) = tenants();
    let admin = server.admin();
    admin.delete("/v1/users/apu").expect(204);
    refused(join(&adm, "apu"));
    refused(join(&adm, "APU"));
    join(&adm, "apu2").expect(201);
    adm.delete("/v1/users/apu2").expect(204);
    refused(join(&adm, "apu2"));
    join(&admin, "apu").expect(201);
    admin.delete("/v1/users/apu").expect(204);
    refused(join(&adm, "apu"));
    join(&server.local(), "apu").expect(201);
}

/// finding L2
#[test]
fn a_name_that_another_tenant_has_is_refused_like_one_that_was_given_up() {
    let (server, adm) = tenants();
    server.admin().workspace("gone", "root");
    server.admin().delete("/v1/workspaces/gone").expect(204);
    create(&adm, "mine").expect(201);
    for slug in ["apac", "gone"] {
        refused(create(&adm, slug));
        refused(rename(&adm, "mine", slug));
    }
    refused(join(&adm, "apu"));
    // If the caller can see the object that has the name, the answer names it.
    let detail = |response: Response| response.refused(409, "conflict")["detail"].clone();
    assert_eq!(
        detail(create(&adm, "mine")),
        "there is a workspace mine already"
    );
    assert_eq!(detail(join(&adm, "adm")), "there is a user adm already");
    assert_eq!(
        detail(join(&server.admin(), "apu")),
        "there is a user apu already"
    );
}

/// finding S13
#[test]
fn names_stay_retired_after_a_restore() {
    let (mut server, _) = tenants();
    let before = back_up(&server);
    let admin = server.admin();
    // Two of the names exist in the backup, and the others were first used and given up after it.
    admin.delete("/v1/users/apu").expect(204);
    admin
        .delete("/v1/workspaces/apac?recursive=true")
        .expect(204);
    admin.workspace("short-lived", "root");
    rename(&admin, "short-lived", "renamed").expect(200);
    admin.delete("/v1/workspaces/renamed").expect(204);
    admin.person("brief", "member", "emea");
    admin.delete("/v1/users/brief").expect(204);
    restore(&mut server, &before, &[]);
    server.restart();
    let adm = server.anonymous().signed_in("adm", PASSWORD);
    for slug in ["apac", "short-lived", "renamed"] {
        refused(create(&adm, slug));
    }
    for name in ["apu", "brief"] {
        refused(join(&adm, name));
    }
}

//! Actions that need more than a click: the password again, or a name that the user types.

use crate::clock::restart_with_mark_ms;
use crate::console::Visitor;
use crate::support::Server;
use serde_json::json;

/// Starts the server again as if all users had signed in twenty minutes ago.
fn restart_later(server: &mut Server) {
    restart_with_mark_ms(server, 20 * 60_000);
}

// attacks 186
#[test]
fn what_is_grave_asks_for_the_password_once_more() {
    let mut server = Server::start();
    let admin = server.admin();
    admin.person("leaver", "member", "root");
    admin.workspace("europe", "root");
    admin.issue(json!({ "name": "there", "workspace": "europe" }));
    let manages = admin.issue(json!({
        "name": "manages", "catalog": "latchkey", "scopes": ["keys:read"],
    }));
    let body = json!({ "name": "managing", "catalog": "latchkey" });
    admin.post("/v1/policies", body).expect(201);
    let hint = admin.key(&manages.id)["hint"].as_str().unwrap().to_owned();
    let mut owner = Visitor::owner(&server);
    restart_later(&mut server);
    let admin = server.admin();
    let events = || admin.newest_event()["seq"].clone();
    let before = events();
    let root = [
        ("policy", "standard"),
        ("name", "root key"),
        ("catalog", "latchkey"),
        ("scopes[]", "server:admin"),
    ];
    let by_policy = [
        ("policy", "managing"),
        ("name", "root key"),
        ("scopes[]", "server:admin"),
    ];
    let rotate = [("grace", "none"), ("hint", hint.as_str())];
    let key = |what: &str| format!("/console/keys/{}/{what}", manages.id);
    for (path, fields) in [
        ("/console/keys/new", &root[..]),
        ("/console/keys/new", &by_policy[..]),
        (&*key("rotate"), &rotate[..]),
        (
            &*key("edit"),
            &[("before", "name=manages"), ("name", "other")][..],
        ),
        ("/console/users/leaver/delete", &[][..]),
        (
            "/console/users/leaver/password",
            &[("password", "nine anchors in the meadow")][..],
        ),
        (
            "/console/workspaces/europe/delete",
            &[("confirm_name", "europe")][..],
        ),
    ] {
        owner.get("/console/account").expect(200);
        owner.post(path, fields).expect(403);
        assert!(owner.page.contains("Confirm your password"), "{path}");
        assert_eq!(owner.value("carried_to").as_deref(), Some(path));
        assert_eq!(events(), before, "{path}");
    }
    // A wrong password is refused; after the right one, the user need not enter the form again.
    let carried = |owner: &Visitor| {
        (
            owner.value("carried_to").unwrap(),
            owner.value("carried_form").unwrap(),
        )
    };
    let (to, form) = carried(&owner);
    let fields = |password| {
        [
            ("carried_to", to.as_str()),
            ("carried_form", form.as_str()),
            ("password", password),
        ]
    };
    owner.post("/console/confirm", &fields("wrong")).expect(403);
    let password = server.owner_password.clone();
    owner
        .post("/console/confirm", &fields(&password))
        .expect(200);
    assert_eq!(owner.value("confirm_name").as_deref(), Some("europe"));
    owner.post(&to, &[("confirm_name", "europe")]).expect(303);
    admin.get("/v1/workspaces/europe").expect(404);
    // A password is not kept while the user confirms: it is typed again on the page of the other user.
    let path = "/console/users/leaver/password";
    let page = owner.post(path, &[]).expect(303);
    let place = "/console/users/leaver#set-password";
    assert_eq!(page.header("location"), Some(place));
    owner.get("/console/users/leaver").expect(200);
    let fields = [("password", "nine anchors in the meadow")];
    owner.post(path, &fields).expect(303);
    let leaver = server.anonymous();
    leaver.signed_in("leaver", "nine anchors in the meadow");
}

#[test]
fn a_workspace_with_contents_goes_when_its_name_was_typed() {
    let server = Server::start();
    let admin = server.admin();
    admin.workspace("europe", "root");
    admin.workspace("france", "europe");
    let key = admin.issue(json!({ "name": "there", "workspace": "france" }));
    let mut owner = Visitor::owner(&server);
    let path = "/console/workspaces/europe/delete";
    let page = owner.get(path).expect(200).text();
    assert!(page.contains("1 workspace below it") && page.contains("1 key"));
    // Without the name, or with a wrong one, nothing is deleted.
    owner.post(path, &[]).expect(409);
    owner.post(path, &[("confirm_name", "France")]).expect(409);
    assert!(owner.page.contains("That is not europe."));
    assert_eq!(admin.verdict(&key.secret), "VALID");
    owner.post(path, &[("confirm_name", "europe")]).expect(303);
    assert_eq!(admin.verdict(&key.secret), "NOT_FOUND");
    admin.get("/v1/workspaces/france").expect(404);
    // An empty workspace needs no name.
    admin.workspace("asia", "root");
    let page = owner
        .get("/console/workspaces/asia/delete")
        .expect(200)
        .text();
    assert!(page.contains("The workspace is empty.") && !page.contains("confirm_name"));
    owner
        .post("/console/workspaces/asia/delete", &[])
        .expect(303);
    admin.get("/v1/workspaces/asia").expect(404);
}

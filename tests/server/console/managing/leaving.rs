//! What remains of deleted users and workspaces: management keys, and names that become free. Findings S9, S13.

use crate::console::Visitor;
use crate::support::{PASSWORD, Server};
use serde_json::{Value, json};

#[test]
fn the_page_of_a_user_who_goes_names_the_keys_that_belong_to_nobody() {
    let server = Server::start();
    let admin = server.admin();
    let mut owner = Visitor::owner(&server);
    let key_of = |name: &str| {
        admin.person(name, "owner", "root");
        let user = server.anonymous().signed_in(name, PASSWORD);
        let key = json!({ "name": "left <behind>", "catalog": "latchkey", "scopes": ["keys:read"], "owner": null });
        user.issue(key)
    };
    let works = |secret: &str| server.bearer(secret).get("/v1/keys").status == 200;
    for (name, fields, ends) in [
        ("ann", &[("end_keys", "yes")][..], true),
        ("bob", &[][..], false),
    ] {
        let key = key_of(name);
        owner
            .get(&format!("/console/users/{name}/delete"))
            .expect(200);
        assert!(
            owner.page.contains("left &#60;behind&#62;")
                || owner.page.contains("left &lt;behind&gt;")
        );
        assert!(
            owner
                .page
                .contains("name=\"end_keys\" value=\"yes\" checked")
        );
        owner
            .post(&format!("/console/users/{name}/delete"), fields)
            .expect(303);
        assert_eq!(works(&key.secret), !ends, "{name}");
    }
    let key = key_of("cat");
    owner.get("/console/users/cat").expect(200);
    assert!(
        owner
            .page
            .contains("name=\"end_keys\" value=\"yes\" checked")
    );
    owner
        .post(
            "/console/users/cat",
            &[("enabled", "no"), ("end_keys", "yes")],
        )
        .expect(303);
    assert!(!works(&key.secret));
    owner.get("/console/users/cat").expect(200);
    assert!(!owner.page.contains("name=\"end_keys\""));
    // Without such keys the form has no box to tick.
    admin.person("dot", "member", "root");
    owner.get("/console/users/dot/delete").expect(200);
    assert!(!owner.page.contains("end_keys"));
    // The list of keys can be filtered by the user who made them.
    owner.get("/console/keys?created_by=user%3Abob").expect(200);
    assert!(owner.page.contains("1 key"), "{}", owner.page);
    owner
        .get("/console/keys?created_by=user%3Anobody")
        .expect(200);
    assert!(owner.page.contains("No key matches."));
    owner.get("/console/keys?created_by=bob").expect(200);
    assert!(owner.page.contains("user:NAME"));
}

#[test]
fn a_management_key_made_in_the_console_belongs_to_its_maker_unless_nobody_is_chosen() {
    let server = Server::start();
    let admin = server.admin();
    admin.person("adm", "administrator", "root");
    let mut owner = Visitor::owner(&server);
    let mut adm = Visitor::new(&server);
    adm.sign_in("adm", PASSWORD).expect(303);
    let newest = |name: &str| -> Value {
        let found = admin.get(&format!("/v1/keys?q={name}")).expect(200).json();
        found["items"][0].clone()
    };
    let fields = |name: &'static str, owner: &'static str| {
        [
            ("policy", "standard"),
            ("name", name),
            ("owner", owner),
            ("catalog", "latchkey"),
            ("scopes[]", "keys:read"),
            ("workspace", "root"),
            ("read_only", "no"),
        ]
    };
    owner
        .get("/console/keys/new?policy=standard&catalog=latchkey")
        .expect(200);
    assert!(owner.page.contains(":nobody"));
    owner
        .post("/console/keys/new", &fields("first", ""))
        .expect(200);
    assert_eq!(newest("first")["owner"], server.owner_user_name.as_str());
    owner
        .post("/console/keys/new", &fields("second", ":nobody"))
        .expect(200);
    assert_eq!(newest("second")["owner"], Value::Null);
    adm.get("/console/keys/new?policy=standard&catalog=latchkey")
        .expect(200);
    assert!(!adm.page.contains(":nobody"));
    adm.post("/console/keys/new", &fields("third", ":nobody"))
        .expect(403);
    assert!(adm.page.contains("server:admin"));
    adm.post("/console/keys/new", &fields("fourth", ""))
        .expect(200);
    assert_eq!(newest("fourth")["owner"], "adm");
}

#[test]
fn the_console_says_that_a_name_that_becomes_free_stays_reserved() {
    let server = Server::start();
    server.admin().workspace("emea", "root");
    server.admin().person("ann", "member", "emea");
    let mut owner = Visitor::owner(&server);
    for page in [
        "/console/workspaces/emea",
        "/console/workspaces/emea/delete",
        "/console/users/ann/delete",
    ] {
        owner.get(page).expect(200);
        assert!(owner.page.contains("stays reserved"), "{page}");
    }
}

#[test]
fn a_key_that_rotated_itself_is_marked_on_its_page() {
    let server = Server::start();
    let key = server.admin().issue(json!({ "name": "k" }));
    let own = server.bearer(&key.secret);
    own.post("/v1/whoami/rotate", json!({})).expect(200);
    let mut owner = Visitor::owner(&server);
    owner.get(&format!("/console/keys/{}", key.id)).expect(200);
    assert!(owner.page.contains("with its own secret, from 127.0.0.1"));
}

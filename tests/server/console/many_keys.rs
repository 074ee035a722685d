//! Changing many keys at once in the console, and the forms of one key.

use super::Visitor;
use crate::support::{PASSWORD, Server};
use serde_json::json;

/// A period means the same as in the form of a new key: not more than the policy of each key permits.
#[test]
fn a_period_is_cut_to_what_the_policy_of_each_key_permits() {
    let server = Server::start();
    let admin = server.admin();
    let policy = json!({ "name": "weekly", "expiry": "required", "expiry_s_max": 7 * 86_400 });
    admin.post("/v1/policies", policy).expect(201);
    let free = admin.issue(json!({ "name": "free" }));
    let weekly =
        admin.issue(json!({ "name": "bound", "policy": "weekly", "expires_in_s": 86_400 }));
    let before = admin.key(&weekly.id)["expires_at"].clone();
    let ids = format!("{} {}", free.id, weekly.id);
    let mut owner = Visitor::owner(&server);
    let fields = [("ids", ids.as_str()), ("do", "extend"), ("life", "7")];
    owner
        .post("/console/keys/bulk/confirmed", &fields)
        .expect(200);
    let end = |id: &str| admin.key(id)["expires_at"].as_str().unwrap().to_owned();
    assert_ne!(json!(end(&weekly.id)), before);
    assert!(end(&weekly.id) <= end(&free.id));

    // An address of which a part has no meaning stands for no keys.
    for query in ["state=activ", "q=a&q=b", "%zz", "colour=red"] {
        owner
            .post(
                "/console/keys/bulk",
                &[("do", "disable"), ("all", "yes"), ("query", query)],
            )
            .expect(422);
    }
}

#[test]
fn ticked_keys_are_disabled_enabled_extended_and_deleted_after_a_confirmation() {
    let server = Server::start();
    let admin = server.admin();
    let keys = ["one", "two"].map(|name| admin.issue(json!({ "name": name })));
    let other = admin.issue(json!({ "name": "other" }));
    let ids = format!("{} {}", keys[0].id, keys[1].id);
    let mut owner = Visitor::owner(&server);
    let ask = |owner: &mut Visitor, deed: &str| {
        let ticked = [
            ("ids[]", keys[0].id.as_str()),
            ("ids[]", &keys[1].id),
            ("do", deed),
        ];
        owner.post("/console/keys/bulk", &ticked).expect(200);
    };
    let states = |expected: &str| {
        for key in &keys {
            assert_eq!(admin.verdict(&key.secret), expected);
        }
    };
    ask(&mut owner, "disable");
    assert!(owner.page.contains("Disable 2 keys?"), "{}", owner.page);
    states("VALID");
    let act = |owner: &mut Visitor, more: &[(&str, &str)]| {
        let fields = [&[("ids", ids.as_str())], more].concat();
        owner.post("/console/keys/bulk/confirmed", &fields)
    };
    act(&mut owner, &[("do", "disable")]).expect(200);
    assert!(owner.page.contains("2 keys are disabled."));
    states("DISABLED");
    let events = admin
        .get("/v1/audit-events?action=key.disable")
        .expect(200)
        .json();
    assert_eq!(
        events["items"].as_array().unwrap().len(),
        2,
        "one event a key"
    );
    // The way back is one button and its confirmation.
    owner
        .post("/console/keys/bulk", &[("ids", &ids), ("do", "enable")])
        .expect(200);
    act(&mut owner, &[("do", "enable")]).expect(200);
    states("VALID");

    ask(&mut owner, "extend");
    act(&mut owner, &[("do", "extend")]).expect(422);
    assert!(
        owner.page.contains("Choose when the keys expire."),
        "{}",
        owner.page
    );
    act(&mut owner, &[("do", "extend"), ("life", "30")]).expect(200);
    assert!(!admin.key(&keys[0].id)["expires_at"].is_null());
    act(&mut owner, &[("do", "extend"), ("life", "never")]).expect(200);
    assert!(admin.key(&keys[0].id)["expires_at"].is_null());

    ask(&mut owner, "delete");
    for wrong in ["", "1", "two"] {
        act(&mut owner, &[("do", "delete"), ("number", wrong)]).expect(422);
        states("VALID");
    }
    act(&mut owner, &[("do", "delete"), ("number", "2")]).expect(200);
    states("NOT_FOUND");
    assert_eq!(admin.verdict(&other.secret), "VALID");
    // Nothing ticked changes nothing, and nonsense is refused.
    owner
        .post("/console/keys/bulk", &[("do", "delete")])
        .expect(303);
    owner
        .post(
            "/console/keys/bulk",
            &[("do", "explode"), ("ids[]", &other.id)],
        )
        .expect(422);
    owner
        .post(
            "/console/keys/bulk",
            &[("do", "delete"), ("ids[]", "no id")],
        )
        .expect(404);
    let many = vec![other.id.as_str(); 1_001].join(" ");
    owner
        .post("/console/keys/bulk", &[("do", "delete"), ("ids", &many)])
        .expect(200);
}

#[test]
fn all_that_match_are_changed_as_they_were_when_it_was_asked() {
    let server = Server::start();
    let admin = server.admin();
    for number in 0..60 {
        admin.issue(json!({ "name": format!("batch {number}") }));
    }
    let mut owner = Visitor::owner(&server);
    owner.get("/console/keys?q=batch").expect(200);
    assert!(owner.page.contains("All 60 that match"), "{}", owner.page);
    owner
        .post(
            "/console/keys/bulk",
            &[("all", "yes"), ("query", "q=batch"), ("do", "disable")],
        )
        .expect(200);
    assert!(owner.page.contains("Disable 60 keys?"));
    let ids = owner.value("ids").unwrap();
    // This key fits the filter, and came too late.
    let late = admin.issue(json!({ "name": "batch late" }));
    owner
        .post(
            "/console/keys/bulk/confirmed",
            &[("ids", &ids), ("do", "disable")],
        )
        .expect(200);
    assert!(
        owner.page.contains("60 keys are disabled."),
        "{}",
        owner.page
    );
    assert_eq!(admin.verdict(&late.secret), "VALID");
}

#[test]
fn each_key_that_stays_as_it_is_is_named_with_the_reason() {
    let server = Server::start();
    let admin = server.admin();
    let policy = json!({ "name": "careful", "confirm_name": true, "can_disable": false });
    admin.post("/v1/policies", policy).expect(201);
    admin.person("kim", "member", "root");
    let plain = admin.issue(json!({ "name": "plain", "owner": "kim" }));
    let careful = admin.issue(json!({ "name": "careful one", "policy": "careful" }));
    let ids = format!("{} {}", plain.id, careful.id);
    let mut owner = Visitor::owner(&server);
    let both = [("ids[]", plain.id.as_str()), ("ids[]", &careful.id)];
    owner
        .post(
            "/console/keys/bulk",
            &[&both[..], &[("do", "delete")]].concat(),
        )
        .expect(200);
    assert!(
        owner.page.contains("1 key stays as it is"),
        "{}",
        owner.page
    );
    assert!(owner.page.contains("asks for its name to be typed"));
    assert_eq!(owner.value("ids").as_deref(), Some(plain.id.as_str()));
    owner
        .post(
            "/console/keys/bulk",
            &[&both[..], &[("do", "disable")]].concat(),
        )
        .expect(200);
    assert!(
        owner.page.contains("does not permit this"),
        "{}",
        owner.page
    );

    // A form that names more than the page did changes no more than its sender may.
    let mut kim = Visitor::new(&server);
    kim.sign_in("kim", PASSWORD).expect(303);
    kim.post(
        "/console/keys/bulk/confirmed",
        &[("ids", &ids), ("do", "disable")],
    )
    .expect(200);
    assert_eq!(admin.verdict(&careful.secret), "VALID");
    assert_eq!(admin.verdict(&plain.secret), "DISABLED");
    owner
        .post(
            "/console/keys/bulk/confirmed",
            &[("ids", &ids), ("do", "disable")],
        )
        .expect(200);
    assert!(owner.page.contains("careful one"), "{}", owner.page);
    assert_eq!(admin.verdict(&careful.secret), "VALID");
}

#[test]
fn a_new_key_gets_the_end_that_was_chosen() {
    let server = Server::start();
    let admin = server.admin();
    let short = json!({ "name": "short", "expiry": "required", "expiry_s_max": 2_592_000 });
    admin.post("/v1/policies", short).expect(201);
    let mut owner = Visitor::owner(&server);
    owner.get("/console/keys/new?policy=standard").expect(200);
    let chosen = |page: &str| {
        let before = page.split(" checked><label for=\"life-").nth(1).unwrap();
        before.split('"').next().unwrap().to_owned()
    };
    assert_eq!(chosen(&owner.page), "90");
    let end = |name: &str, fields: &[(&str, &str)], owner: &mut Visitor, status| {
        let policy = if name.starts_with("short") {
            "short"
        } else {
            "standard"
        };
        let named = [
            ("policy", policy),
            ("name", name),
            ("read_only", "no"),
            ("workspace", "root"),
        ];
        let token = owner.token();
        let all = [&[("form_token", token.as_str())][..], &named, fields].concat();
        owner.send("/console/keys/new", &all).expect(status);
        let found = admin.get(&format!("/v1/keys?q={name}")).expect(200).json();
        found["items"][0]["expires_at"].as_str().map(str::to_owned)
    };
    assert!(
        end(
            "a90",
            &[("life", "90"), ("expires_on", "")],
            &mut owner,
            200
        )
        .unwrap()
        .ends_with("T00:00:00Z")
    );
    assert_eq!(end("never", &[("life", "never")], &mut owner, 200), None);
    let day = end(
        "day",
        &[("life", "date"), ("expires_on", "2039-12-31")],
        &mut owner,
        200,
    );
    assert_eq!(day.as_deref(), Some("2040-01-01T00:00:00Z"));
    // Two answers to one question are none, at the field.
    end(
        "both",
        &[("life", "7"), ("expires_on", "2039-12-31")],
        &mut owner,
        422,
    );
    assert!(owner.page.contains("also entered a day"), "{}", owner.page);
    end("none", &[("life", "date")], &mut owner, 422);
    end("odd", &[("life", "8")], &mut owner, 422);
    // The policy's longest life is offered, and nothing beyond it.
    owner.get("/console/keys/new?policy=short").expect(200);
    assert_eq!(chosen(&owner.page), "30");
    assert!(!owner.page.contains("life-90") && !owner.page.contains("life-never"));
    assert!(end("short30", &[("life", "30")], &mut owner, 200).is_some());
    end("shortest", &[("life", "90")], &mut owner, 422);
}

#[test]
fn the_first_kind_of_key_is_a_key_of_your_own_and_other_systems_are_folded() {
    let server = Server::start();
    server
        .admin()
        .post("/v1/policies", json!({ "name": "partner" }))
        .expect(201);
    let mut owner = Visitor::owner(&server);
    let page = owner.get("/console/keys/new").expect(200).text();
    let place = |text: &str| page.find(text).unwrap_or_else(|| panic!("{text}: {page}"));
    assert!(place("A key of your own") < place("policy=partner"));
    assert!(place("policy=partner") < place("Keys for clients of another system ("));
    assert!(place("Keys for clients of another system (") < place("policy=vspc"));
}

#[test]
fn a_disabled_key_is_enabled_again_from_the_notice() {
    let server = Server::start();
    let admin = server.admin();
    let key = admin.issue(json!({ "name": "switched" }));
    let mut owner = Visitor::owner(&server);
    let path = format!("/console/keys/{}", key.id);
    owner.post(&format!("{path}/disable"), &[]).expect(303);
    owner.get(&path).expect(200);
    let notice = owner.page.split("note-good").nth(1).unwrap();
    assert!(
        notice.contains(&format!("action=\"{path}/enable\"")),
        "{notice}"
    );
    assert!(notice.contains("Enable again"));
    owner.post(&format!("{path}/enable"), &[]).expect(303);
    assert_eq!(admin.verdict(&key.secret), "VALID");
}

#[test]
fn a_scope_says_which_requests_it_opens() {
    let server = Server::start();
    let catalog = json!({
        "scopes": [{ "name": "invoices:read" }, { "name": "invoices:write", "implies": ["invoices:read"] }],
        "operations": [
            { "id": "list", "method": "GET", "path": "/invoices", "any_of": ["invoices:read"], "access": "read" },
            { "id": "make", "method": "POST", "path": "/invoices", "any_of": ["invoices:write"], "access": "write" },
        ],
    });
    server.admin().put("/v1/catalogs/shop", catalog).expect(201);
    let mut owner = Visitor::owner(&server);
    let page = owner
        .get("/console/keys/new?policy=standard&catalog=shop")
        .expect(200)
        .text();
    let of = |scope: &str| {
        let part = page.split(&format!("value=\"{scope}\"")).nth(1).unwrap();
        part.split("class=\"choice\"").next().unwrap().to_owned()
    };
    assert!(of("invoices:read").contains("GET /invoices"), "{page}");
    assert!(!of("invoices:read").contains("POST /invoices"));
    assert!(of("invoices:write").contains("GET /invoices"));
    assert!(of("invoices:write").contains("POST /invoices"));
}

#[test]
fn keys_on_the_page_of_another_system_are_ticked_as_soon_as_there_are_two() {
    let server = Server::start();
    let admin = server.admin();
    let issue = |name: &str| {
        admin.issue(json!({
            "name": name, "policy": "aware", "scopes": ["audit_logs:read"], "owner": server.owner_user_name,
        }))
    };
    let first = issue("one");
    let mut owner = Visitor::owner(&server);
    let page = owner.get("/console/keys?policy=aware").expect(200).text();
    assert!(!page.contains("id=\"bulk\""), "{page}");
    let second = issue("two");
    let page = owner.get("/console/keys?policy=aware").expect(200).text();
    assert!(page.contains("id=\"bulk\""), "{page}");
    let ids = format!("{} {}", first.id, second.id);
    let fields = [
        ("ids[]", first.id.as_str()),
        ("ids[]", &second.id),
        ("do", "delete"),
        ("query", "policy=aware"),
    ];
    let asked = owner.post("/console/keys/bulk", &fields).expect(200).text();
    let current = asked.split("aria-current=\"page\"").next().unwrap();
    assert!(current.ends_with("policy=aware\" "), "{asked}");
    let fields = [
        ("ids", ids.as_str()),
        ("do", "delete"),
        ("number", "2"),
        ("query", "policy=aware"),
    ];
    let done = owner.post("/console/keys/bulk/confirmed", &fields);
    let done = done.expect(200).text();
    assert!(done.contains("/console/keys?policy=aware"), "{done}");
    for key in [&first, &second] {
        let gone = admin.get(&format!("/v1/keys/{}", key.id)).json();
        assert_eq!(gone["state"], "deleted", "{gone}");
    }
    // Where each name has to be typed, many keys are not deleted together.
    for name in ["a", "b"] {
        admin.issue(json!({ "name": name, "policy": "adverity-ui", "scopes": ["all:read"] }));
    }
    let page = owner
        .get("/console/keys?policy=adverity-ui")
        .expect(200)
        .text();
    assert!(!page.contains("value=\"delete\""), "{page}");
}

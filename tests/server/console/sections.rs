//! The pages about the keys of one system: they use the system's own terms, and have no field without a meaning there.

use super::Visitor;
use crate::support::{Server, User};
use serde_json::json;

/// The text of a page without tags, with blanks merged.
fn words(page: &str) -> String {
    let mut text = String::new();
    for part in page.split('<') {
        let behind = part.split_once('>').map_or(part, |(_, behind)| behind);
        text.push_str(behind);
        text.push(' ');
    }
    let text = text.replace("&#38;", "&").replace("&#39;", "'");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn page(visitor: &mut Visitor, path: &str) -> String {
    words(&visitor.get(path).expect(200).text())
}

/// The present year according to the server.
fn year(admin: &User) -> i32 {
    let key = admin.issue(json!({ "name": "when" }));
    let created = admin.key(&key.id)["created_at"].clone();
    created.as_str().unwrap()[..4].parse().unwrap()
}

/// The value of a fact on the page about a key, if the page names the fact.
fn fact(page: &str, name: &str) -> Option<String> {
    let rest = page.split(&format!("<dt>{name}</dt>")).nth(1)?;
    let value = rest.split("<bdi>").nth(1)?.split('<').next()?;
    Some(value.to_owned())
}

// finding D4; 1A-13, 1B-13, 1C-17
#[test]
fn a_page_says_what_a_key_may_in_the_words_of_its_system() {
    let server = Server::start();
    let admin = server.admin();
    let end = format!("{}-01-01T00:00:00Z", year(&admin) + 1);
    let read_vspc = json!({ "name": "k", "policy": "vspc", "catalog": "vspc", "scopes": ["rest"], "read_only": true });
    let write_vspc =
        json!({ "name": "k", "policy": "vspc", "catalog": "vspc", "scopes": ["rest"] });
    let mut owner = Visitor::owner(&server);
    let user = server
        .anonymous()
        .signed_in(&server.owner_user_name, &server.owner_password);
    for (asked, access, scopes) in [
        (
            json!({ "name": "k", "policy": "aware", "owner": "owner", "scopes": ["audit_logs:read"] }),
            None,
            "Permissions Audit Logs Read-only",
        ),
        (
            json!({ "name": "k", "policy": "aware", "owner": "owner", "scopes": ["data_holds:full"] }),
            None,
            "Permissions Data Holds Full Access",
        ),
        (
            json!({ "name": "k", "policy": "awaretrain", "scopes": ["user:read"], "expires_at": end }),
            None,
            "Scope (permissions) List users, user details",
        ),
        (
            json!({ "name": "k", "policy": "adverity-ui", "scopes": ["all:read"] }),
            None,
            "Permissions Read-only",
        ),
        (read_vspc, Some("Read-only"), "Scopes REST API requests"),
        (write_vspc, Some("Full access"), "Scopes REST API requests"),
        (
            json!({ "name": "k" }),
            Some("Read and write"),
            "Scopes None",
        ),
        (
            json!({ "name": "k", "read_only": true }),
            Some("Read-only"),
            "Scopes None",
        ),
    ] {
        let policy = asked["policy"].as_str().unwrap_or("standard").to_owned();
        let key = user.issue(asked);
        let shown = owner.get(&format!("/console/keys/{}", key.id));
        let shown = shown.expect(200).text();
        assert_eq!(fact(&shown, "Access").as_deref(), access, "{policy}");
        assert!(
            words(&shown).contains(scopes),
            "{policy}: {}",
            words(&shown)
        );
        admin.delete(&format!("/v1/keys/{}?confirm_name=k", key.id));
    }
}

/// The headings of a list's columns.
fn columns(page: &str) -> Vec<String> {
    let head = page.split("<thead>").nth(1).unwrap();
    let head = head.split("</thead>").next().unwrap();
    let cells = head.split("<th ").skip(1);
    cells.map(|cell| words(&format!("<{cell}"))).collect()
}

// findings D4, D5b, D16; 1B-5, 1C-17, 1D-26
#[test]
fn a_list_has_the_columns_that_mean_something_there() {
    let server = Server::start();
    let admin = server.admin();
    let end = format!("{}-01-01T00:00:00Z", year(&admin) + 1);
    admin.workspace("emea", "root");
    let user = server
        .anonymous()
        .signed_in(&server.owner_user_name, &server.owner_password);
    for (asked, expected, row) in [
        (
            json!({ "name": "k", "policy": "aware", "owner": "owner", "scopes": ["audit_logs:read"] }),
            &["Name", "State", "Permissions", "Last used", "Actions"][..],
            "Audit Logs Read-only",
        ),
        (
            json!({ "name": "k", "policy": "awaretrain", "scopes": ["user:read"], "expires_at": end }),
            &[
                "Name",
                "State",
                "Scope (permissions)",
                "Last used",
                "Expires at",
                "Actions",
            ],
            "-12-31 (in ",
        ),
        (
            json!({ "name": "k", "policy": "adverity-ui", "scopes": ["all:read"], "workspace": "emea" }),
            &[
                "Name",
                "State",
                "Permissions",
                "Workspace",
                "Last used",
                "Actions",
            ],
            "Read-only emea Never",
        ),
        (
            json!({ "name": "k", "description": "k", "policy": "vspc", "catalog": "vspc", "scopes": ["rest"], "read_only": true }),
            &[
                "Description",
                "State",
                "Scopes",
                "Access",
                "Last used",
                "Actions",
            ],
            "REST API requests Read-only Never",
        ),
    ] {
        let policy = asked["policy"].as_str().unwrap().to_owned();
        user.issue(asked);
        let mut owner = Visitor::owner(&server);
        let list = owner.get(&format!("/console/keys?policy={policy}"));
        let list = list.expect(200).text();
        assert_eq!(columns(&list), expected, "{policy}");
        assert!(words(&list).contains(row), "{policy}: {}", words(&list));
    }
}

// finding D11; 1B-5, 1B-35
#[test]
fn an_end_is_the_day_that_was_chosen() {
    let server = Server::start();
    let admin = server.admin();
    // The last day of a month, so that the midnight at its end belongs to another month.
    let day = format!("{}-01-31", year(&admin) + 1);
    let mut owner = Visitor::owner(&server);
    owner.get("/console/keys/new?policy=awaretrain").expect(200);
    let nonce = owner.value("nonce").unwrap();
    let fields = [
        ("policy", "awaretrain"),
        ("nonce", nonce.as_str()),
        ("name", "HR sync"),
        ("expires_on", day.as_str()),
        ("scopes[]", "user:read"),
    ];
    owner.post("/console/keys/new", &fields).expect(200);
    let keys = admin.get("/v1/keys?policy=awaretrain").expect(200).json();
    let id = keys["items"][0]["id"].as_str().unwrap().to_owned();
    let detail = format!("/console/keys/{id}");
    for path in ["/console/keys?policy=awaretrain", "/console/keys", &detail] {
        let shown = page(&mut owner, path);
        assert!(shown.contains(&format!("{day} (in ")), "{path}: {shown}");
    }
    let edit = owner.get(&format!("{detail}/edit")).expect(200).text();
    assert!(edit.contains(&format!("name=\"expires_on\" value=\"{day}\"")));
}

// finding D5b; 1D-6, 1D-26
#[test]
fn the_name_of_a_described_key_follows_its_description() {
    let server = Server::start();
    let mut owner = Visitor::owner(&server);
    let form = owner.get("/console/keys/new?policy=vspc").expect(200);
    let form = form.text();
    let label = form.split("<label for=\"description\">").nth(1).unwrap();
    assert!(label.starts_with("Description</label>"), "{label:.60}");
    let nonce = owner.value("nonce").unwrap();
    let send = |owner: &mut Visitor, description: &str| {
        let fields = [
            ("policy", "vspc"),
            ("nonce", nonce.as_str()),
            ("description", description),
            ("scopes[]", "rest"),
            ("read_only", "yes"),
        ];
        owner.post("/console/keys/new", &fields)
    };
    for empty in ["", "  "] {
        let refused = send(&mut owner, empty).expect(422).text();
        let field = refused.split("id=\"description\"").nth(1).unwrap();
        let said = words(field.split("</div>").next().unwrap());
        assert!(said.contains("Must not be empty."), "{said}");
        assert!(!refused.contains("note note-bad"));
    }
    let long = format!(" Nightly {} ", "b".repeat(150));
    send(&mut owner, &long).expect(200);
    let keys = server.admin().get("/v1/keys?policy=vspc").expect(200);
    let id = keys.json()["items"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(server.admin().key(&id)["name"], long.trim()[..100]);
    let edit = format!("/console/keys/{id}/edit");
    let page_before = owner.get(&edit).expect(200).text();
    let before = owner.value("before").unwrap();
    assert!(!page_before.contains("(optional)"));
    let change = |owner: &mut Visitor, description: &str| {
        let fields = [("before", before.as_str()), ("description", description)];
        owner.post(&edit, &fields)
    };
    let refused = change(&mut owner, " ").expect(422).text();
    assert!(words(&refused).contains("Must not be empty."));
    change(&mut owner, "Monthly billing").expect(303);
    let key = server.admin().key(&id);
    assert_eq!(
        (&key["name"], &key["description"]),
        (&json!("Monthly billing"), &json!("Monthly billing"))
    );
    for path in [
        "/console/keys?policy=vspc".to_owned(),
        format!("/console/keys/{id}/disable"),
    ] {
        let shown = page(&mut owner, &path);
        assert!(shown.contains("Monthly billing") && !shown.contains("Nightly"));
    }
}

/// The refusals on a page, in the order of the fields.
fn refusals(page: &str) -> Vec<String> {
    let parts = page.split("class=\"refusal\">").skip(1);
    parts
        .map(|part| part.split('<').next().unwrap().to_owned())
        .collect()
}

// finding D16; 1B-12
#[test]
fn a_form_names_all_that_is_wrong_at_once_each_at_its_field() {
    let server = Server::start();
    let mut owner = Visitor::owner(&server);
    let send = |owner: &mut Visitor, policy: &str, fields: &[(&str, &str)]| {
        owner
            .get(&format!("/console/keys/new?policy={policy}"))
            .expect(200);
        let nonce = owner.value("nonce").unwrap();
        let mut all = vec![("policy", policy), ("nonce", nonce.as_str())];
        all.extend(fields);
        let page = owner.post("/console/keys/new", &all).expect(422).text();
        refusals(&page)
    };
    let said = send(&mut owner, "awaretrain", &[]);
    assert_eq!(said.len(), 3, "{said:?}");
    assert!(said[0].starts_with("Must not be empty"));
    assert!(said[1].contains("keys of policy awaretrain expire"));
    let fields = [
        ("name", ""),
        ("expires_on", "2099-01-01"),
        ("scopes[]", "nothing:read"),
        (
            "allowed_ips",
            "192.0.2.1\n192.0.2.*\n10.0.0.0/8\n2001:db8::1",
        ),
    ];
    let said = send(&mut owner, "awaretrain", &fields);
    assert_eq!(said.len(), 4, "{said:?}");
    assert!(
        said[3].contains("Line 2") && said[3].contains("Line 3"),
        "{said:?}"
    );
    assert!(!said[3].contains("Line 1 ") && !said[3].contains("Line 4"));
    let fields = [
        ("name", " x"),
        ("description", "\u{202e}"),
        ("scopes_free", "a\"b"),
        ("expires_on", "2001-01-01"),
        ("starts_on", "soon"),
        ("allowed_ips", "a"),
        ("rate_limit", "many"),
        ("uses_left", "-1"),
        ("metadata", "[]"),
        ("prefix", "LKS"),
    ];
    let said = send(&mut owner, "standard", &fields);
    assert_eq!(said.len(), fields.len(), "{said:?}");
    assert_eq!(
        server.admin().get("/v1/keys").expect(200).ids().len(),
        Server::start()
            .admin()
            .get("/v1/keys")
            .expect(200)
            .ids()
            .len(),
        "none of them made a key"
    );
    // An edit is the same.
    let key = server.admin().issue(json!({ "name": "billing" }));
    let edit = format!("/console/keys/{}/edit", key.id);
    owner.get(&edit).expect(200);
    let before = owner.value("before").unwrap();
    let fields = [
        ("before", before.as_str()),
        ("name", ""),
        ("expires_on", "2001-01-01"),
        ("allowed_ips", "a\nb"),
        ("rate_limit", "99999999999"),
        ("metadata", "{"),
    ];
    let said = refusals(&owner.post(&edit, &fields).expect(422).text());
    assert_eq!(said.len(), 5, "{said:?}");
    assert_eq!(server.admin().key(&key.id)["name"], "billing");
}

// finding D16; 1B-3, 1B-11, 1B-13, 1B-14, 1B-17, 1B-21
#[test]
fn the_words_of_the_documents_stand_where_people_need_them() {
    let server = Server::start();
    let mut owner = Visitor::owner(&server);
    for (policy, said) in [
        (
            "awaretrain",
            &[
                "Only users with the super manager role have permission to manage API keys.",
                "Scope (permissions)",
                "Keep this date as short as possible, not longer than a year.",
                "Wildcards or ranges are not supported.",
                "IP whitelist (optional)",
                "A detailed overview of all scopes",
            ][..],
        ),
        (
            "aware",
            &[
                "Permissions assigned to a token cannot be modified.",
                "Full Access contains all permissions of the corresponding Read-only.",
            ],
        ),
        (
            "adverity-ui",
            &[
                "Administrator permissions in the root workspace",
                "up to 5 keys per workspace",
                "They do not expire.",
                "Select workspace",
                "all its child workspaces",
            ],
        ),
        (
            "vspc",
            &[
                "until the associated user identity is disabled or deleted",
                "access only to GET operations",
            ],
        ),
    ] {
        let form = owner.get(&format!("/console/keys/new?policy={policy}"));
        let form = form.expect(200).text();
        let shown = words(&form);
        for phrase in said {
            assert!(shown.contains(phrase), "{policy}: {phrase}");
        }
        let catalog = policy.split('-').next().unwrap();
        let link = format!("<a href=\"/console/catalogs/{catalog}\">");
        assert!(form.contains(&link), "{policy}");
        let list = page(&mut owner, &format!("/console/keys?policy={policy}"));
        assert!(
            list.contains(said[0]) || policy == "adverity-ui",
            "{policy}"
        );
    }
}

// Hints that are no longer true after an owner's edit are not shown.
#[test]
fn what_a_system_says_of_its_keys_is_said_while_it_is_so() {
    let server = Server::start();
    let mut owner = Visitor::owner(&server);
    let form = "/console/keys/new?policy=awaretrain";
    assert!(page(&mut owner, form).contains("ranges are not supported"));
    let edit = json!({ "addresses": "cidr" });
    let path = "/v1/policies/awaretrain";
    server.admin().patch(path, edit).expect(200);
    let shown = page(&mut owner, form);
    assert!(!shown.contains("not supported"), "{shown}");
    assert!(shown.contains("One address or range per line"), "{shown}");
    let edit = json!({ "addresses": "exact", "description": "for people" });
    server.admin().patch(path, edit).expect(200);
    assert!(page(&mut owner, form).contains("ranges are not supported"));
}

// finding D16: the line that tries a key asks about a request of its own system; a repeated form gives advice that can
// be followed.
#[test]
fn what_is_said_of_a_secret_fits_its_policy() {
    let server = Server::start();
    let admin = server.admin();
    let end = format!("{}-02-28", year(&admin) + 1);
    let mut owner = Visitor::owner(&server);
    for (policy, fields, line, again) in [
        (
            "aware",
            &[
                ("name", "k"),
                ("owner", "owner"),
                ("scopes[]", "signal_events:read"),
            ][..],
            "?catalog=aware' -H 'X-Original-Method: POST' -H 'X-Original-URI: /external/signal/events/v1' -H 'x-aware-api-key: ",
            "can be copied from its page",
        ),
        (
            "awaretrain",
            &[
                ("name", "k"),
                ("scopes[]", "license:read"),
                ("expires_on", &end),
            ],
            "?catalog=awaretrain' -H 'X-Original-Method: GET' -H 'X-Original-URI: /public/v1/license' -H 'Authorization: Bearer ",
            "delete the key and create another one",
        ),
        (
            "adverity-ui",
            &[("name", "k"), ("scopes", "all:read"), ("workspace", "root")],
            "?catalog=adverity' -H 'X-Original-Method: GET' -H 'X-Original-URI: /api' -H 'Authorization: Bearer ",
            "rotate the key",
        ),
        (
            "vspc",
            &[
                ("description", "k"),
                ("scopes[]", "rest"),
                ("read_only", "yes"),
            ],
            "?catalog=vspc' -H 'X-Original-Method: GET' -H 'X-Original-URI: /api/v3/about' -H 'Authorization: Bearer ",
            "",
        ),
        (
            "standard",
            &[("name", "k"), ("workspace", "root")],
            "/auth/nginx -H 'Authorization: Bearer ",
            "rotate the key",
        ),
    ] {
        owner
            .get(&format!("/console/keys/new?policy={policy}"))
            .expect(200);
        let (nonce, token) = (owner.value("nonce").unwrap(), owner.token());
        let mut all = vec![
            ("form_token", token.as_str()),
            ("policy", policy),
            ("nonce", nonce.as_str()),
        ];
        all.extend(fields);
        let made = owner.send("/console/keys/new", &all).expect(200).text();
        let made = words(&made);
        assert!(made.contains(line), "{policy}: {made}");
        // The shown command works.
        let secret = made.split("Secret ").nth(1).unwrap();
        let secret = secret.split(' ').next().unwrap();
        let curl = made.split("curl -i ").nth(1).unwrap();
        let value = |name: &str| {
            let rest = curl.split(&format!("-H '{name}: ")).nth(1)?;
            rest.split('\'').next()
        };
        let names = [
            "X-Original-Method",
            "X-Original-URI",
            "Authorization",
            "x-aware-api-key",
        ];
        let headers = names.map(|name| value(name).map(|value| (name, value)));
        let headers: Vec<(&str, &str)> = headers.into_iter().flatten().collect();
        let path = curl.split("/auth/nginx").nth(1).unwrap();
        let query = path.split([' ', '\'']).next().unwrap();
        server
            .call("GET", &format!("/auth/nginx{query}"), &headers, None)
            .expect(200);
        let repeated = owner.send("/console/keys/new", &all).expect(200).text();
        let repeated = words(&repeated);
        assert!(!repeated.contains(secret), "{policy}");
        assert!(repeated.contains(again), "{policy}: {repeated}");
        let policy = admin.get(&format!("/v1/policies/{policy}")).json();
        if policy["can_rotate"] == false {
            assert!(!repeated.contains("rotate"), "{repeated}");
        }
    }
}

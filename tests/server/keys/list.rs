//! Lists of keys: every filter, and pages without gaps or repetitions.

use std::collections::BTreeSet;

use serde_json::json;

use crate::support::{PASSWORD, Server, User, together, wait};

/// The names on one page, sorted.
#[track_caller]
fn names(user: &User, query: &str) -> Vec<String> {
    let page = user.get(&format!("/v1/keys?{query}")).expect(200).json();
    let items = page["items"].as_array().unwrap();
    let mut names: Vec<String> = items
        .iter()
        .map(|key| key["name"].as_str().unwrap().to_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn a_list_can_be_narrowed_by_every_filter() {
    let server = Server::start();
    let admin = server.admin();
    let emea = admin.workspace("emea", "root");
    admin.workspace("paris", "emea");
    admin.workspace("apac", "root");
    admin.person("alice", "member", "emea");
    for key in [
        json!({ "name": "in emea", "workspace": "emea", "owner": "alice" }),
        json!({ "name": "in paris", "workspace": "paris", "expires_in_s": 3600 }),
        json!({ "name": "in apac", "workspace": "apac", "expires_in_s": 7200 }),
        json!({ "name": "off", "workspace": "apac", "enabled": false }),
        json!({ "name": "early", "workspace": "apac", "not_before": "2990-01-01T00:00:00Z" }),
    ] {
        admin.issue(key);
    }
    let brief = json!({ "name": "brief", "workspace": "apac", "expires_in_s": 3000 });
    let brief = admin.issue(brief);
    let gone = admin.issue(json!({ "name": "gone", "workspace": "apac" }));
    admin.delete(&format!("/v1/keys/{}", gone.id)).expect(204);

    assert_eq!(names(&admin, "workspace=emea"), ["in emea", "in paris"]);
    assert_eq!(
        names(&admin, &format!("workspace={emea}")),
        ["in emea", "in paris"]
    );
    assert_eq!(names(&admin, "owner=alice"), ["in emea"]);
    assert_eq!(names(&admin, "owner=ALICE"), ["in emea"]);
    assert_eq!(names(&admin, "policy=standard&workspace=emea").len(), 2);
    assert!(names(&admin, "policy=other").is_empty());
    assert_eq!(names(&admin, "state=disabled"), ["off"]);
    assert_eq!(names(&admin, "state=not_yet_valid"), ["early"]);
    assert_eq!(names(&admin, "state=deleted"), ["gone"]);
    assert_eq!(names(&admin, "state=owner_disabled").len(), 0);
    assert_eq!(
        names(&admin, "expiring_within_s=4000"),
        ["brief", "in paris"]
    );
    assert_eq!(
        names(&admin, "expiring_within_s=8000&q=%22in+paris%22"),
        ["in paris"]
    );
    admin.edit(&brief.id, json!({ "expires_in_s": 1 }));
    wait::until("the key has expired", || {
        names(&admin, "state=expired") == ["brief"]
    });
    assert_eq!(
        names(&admin, "expiring_within_s=4000"),
        ["in paris"],
        "what has ended does not end soon"
    );
    assert_eq!(names(&admin, "state=active&workspace=apac"), ["in apac"]);
    assert!(
        !names(&admin, "").contains(&"gone".to_owned()),
        "deleted keys are shown on demand only"
    );

    admin
        .patch("/v1/workspaces/emea", json!({ "enabled": false }))
        .expect(200);
    admin
        .patch("/v1/users/alice", json!({ "enabled": false }))
        .expect(200);
    assert_eq!(names(&admin, "state=owner_disabled"), ["in emea"]);
    assert_eq!(names(&admin, "state=workspace_disabled"), ["in paris"]);
}

#[test]
fn a_list_can_be_narrowed_by_members_of_the_metadata() {
    let server = Server::start();
    let admin = server.admin();
    for (name, metadata) in [
        ("text", json!({ "customer": "7", "plan": "pro" })),
        (
            "number",
            json!({ "customer": 7, "plan": "free", "nested": { "customer": 8 } }),
        ),
        (
            "flag",
            json!({ "beta": true, "customer": null, "list": [7] }),
        ),
        (
            "odd",
            json!({ "a.b": "c=d&e", "": "x", "ü": "x", "quoted": "\"🚀\"", "long": 1.5 }),
        ),
        ("none", json!({})),
    ] {
        admin.issue(json!({ "name": name, "metadata": metadata }));
    }
    for (query, expected) in [
        ("metadata.customer=7", vec!["number", "text"]),
        ("metadata.customer=7&metadata.plan=pro", vec!["text"]),
        ("metadata.customer=7&metadata.plan=none", vec![]),
        ("metadata.customer=8", vec![]),
        ("metadata.customer=null", vec![]),
        ("metadata.customer=", vec![]),
        ("metadata.Customer=7", vec![]),
        ("metadata.list=7", vec![]),
        ("metadata.beta=true", vec!["flag"]),
        ("metadata.a.b=c%3Dd%26e", vec!["odd"]),
        ("metadata.quoted=%22%F0%9F%9A%80%22", vec!["odd"]),
        ("metadata.long=1.5", vec!["odd"]),
        ("metadata.customer=7&q=num", vec!["number"]),
        ("metadata.customer=7&state=disabled", vec![]),
        ("metadata.customer=7%27%20OR%201%3D1", vec![]),
        ("metadata.customer=%25", vec![]),
    ] {
        assert_eq!(names(&admin, query), expected, "{query}");
    }
    // An edit changes what the filter finds, and so does a deletion.
    let id = admin
        .issue(json!({ "name": "new", "metadata": { "customer": 9 } }))
        .id;
    assert_eq!(names(&admin, "metadata.customer=9"), ["new"]);
    admin.edit(&id, json!({ "metadata": { "customer": 10 } }));
    assert!(names(&admin, "metadata.customer=9").is_empty());
    admin.edit(&id, json!({ "description": "x" }));
    assert_eq!(names(&admin, "metadata.customer=10"), ["new"]);
    admin.delete(&format!("/v1/keys/{id}")).expect(204);
    assert!(names(&admin, "metadata.customer=10").is_empty());
    assert_eq!(names(&admin, "metadata.customer=10&state=deleted"), ["new"]);
    // Each page begins where the page before it ended.
    for number in 0..5 {
        admin.issue(json!({ "name": format!("p{number}"), "metadata": { "page": true } }));
    }
    let (mut seen, mut cursor) = (0, String::new());
    loop {
        let page = admin
            .get(&format!("/v1/keys?metadata.page=true&limit=2{cursor}"))
            .expect(200)
            .json();
        seen += page["items"].as_array().unwrap().len();
        match page["next_cursor"].as_str() {
            None => break,
            Some(next) => cursor = format!("&cursor={next}"),
        }
    }
    assert_eq!(seen, 5);
    for bad in [
        "metadata=7",
        "metadata.=x",
        "metadata.%C3%BC=x",
        "metadata.$.customer=7",
        "metadata.customer%27=7",
        "metadata.a=1&metadata.a=2",
        "metadata.a=1&metadata.b=1&metadata.c=1&metadata.d=1&metadata.e=1&metadata.f=1",
    ] {
        admin
            .get(&format!("/v1/keys?{bad}"))
            .refused(400, "invalid-request");
    }
    // A caller who may not see a key does not find it.
    admin.workspace("apac", "root");
    let reader =
        json!({ "name": "r", "catalog": "latchkey", "scopes": ["keys:read"], "workspace": "apac" });
    let reader = admin.issue(reader);
    let by = server.bearer(&reader.secret);
    assert!(names(&by, "metadata.customer=7").is_empty());
}

/// attacks 126
#[test]
fn parameters_that_cannot_be_understood_are_refused() {
    let server = Server::start();
    let admin = server.admin();
    for query in [
        "limit=0",
        "limit=501",
        "limit=-1",
        "limit=1.5",
        "limit=",
        "limit=1&limit=2",
        "limit=1&%6cimit=1",
        "state=sleeping",
        "state=",
        "cursor=x",
        "cursor=",
        // The form of older versions: the id of a key, which the caller may not know.
        "cursor=0000000001",
        "expiring_within_s=soon",
        "page=2",
        "q=%ff",
        "q=%z",
        "limit[]=1",
    ] {
        let response = admin.get(&format!("/v1/keys?{query}"));
        response.refused(400, "invalid-request");
    }
    admin
        .get("/v1/keys?workspace=nowhere")
        .refused_field("workspace");
    admin.get("/v1/keys?owner=nobody").refused_field("owner");
    admin
        .get(&format!("/v1/keys?q={}", "%25a".repeat(51)))
        .refused_field("q");
}

#[test]
fn pages_hold_every_key_once() {
    let server = Server::start();
    let admin = server.admin();
    let made: BTreeSet<String> = together(10, |thread| {
        (0..25)
            .map(|own| {
                admin
                    .issue(json!({ "name": format!("page {thread} {own}") }))
                    .id
            })
            .collect::<Vec<_>>()
    })
    .into_iter()
    .flatten()
    .collect();
    assert_eq!(made.len(), 250);

    for limit in [7, 100, 250] {
        let mut seen: Vec<String> = Vec::new();
        let mut cursor = String::new();
        let mut pages = 0;
        loop {
            let page = admin
                .get(&format!("/v1/keys?q=page&limit={limit}{cursor}"))
                .expect(200);
            seen.extend(page.ids());
            pages += 1;
            // A key that is created or deleted behind the cursor does not affect the following pages.
            let passing = admin.issue(json!({ "name": "passing" }));
            admin
                .delete(&format!("/v1/keys/{}", passing.id))
                .expect(204);
            match page.json()["next_cursor"].as_str() {
                Some(next) => {
                    assert!(!seen.iter().any(|id| next.contains(id.as_str())), "{next}");
                    cursor = format!("&cursor={next}");
                }
                None => break,
            }
        }
        let distinct: BTreeSet<String> = seen.iter().cloned().collect();
        assert_eq!((seen.len(), &distinct), (250, &made), "pages of {limit}");
        assert_eq!(pages, 250_usize.div_ceil(limit), "no empty page at the end");
    }
    assert_eq!(
        admin.get("/v1/keys").expect(200).ids().len(),
        100,
        "the default page"
    );
}

/// attacks 187, 190
#[test]
fn a_search_text_is_text_and_no_pattern() {
    let server = Server::start();
    let admin = server.admin();
    for name in [
        "100% sure",
        "snake_case",
        r"back\slash",
        "o'clock",
        "Größe",
        "plain",
    ] {
        admin.issue(json!({ "name": name }));
    }
    for (query, expected) in [
        ("%25", "100% sure"),
        ("e_c", "snake_case"),
        ("%5C", r"back\slash"),
        ("'", "o'clock"),
        ("'%20OR%201=1--", ""),
        ("%25a%25", ""),
        ("Gr%C3%B6%C3%9Fe", "Größe"),
        ("SNAKE", "snake_case"),
        ("k*", ""),
        ("%22plain%22", "plain"),
        ("%22plain%20sure%22", ""),
        ("plain%20NEAR%20sure", ""),
        ("name:plain", ""),
        ("plain*", ""),
    ] {
        let found = names(&admin, &format!("q={query}"));
        let expected: Vec<&str> = Some(expected)
            .filter(|name| !name.is_empty())
            .into_iter()
            .collect();
        assert_eq!(found, expected, "q={query}");
    }
    let plain = &admin.get("/v1/keys?q=plain").expect(200).ids()[0];
    assert_eq!(
        names(&admin, &format!("q={plain}")),
        ["plain"],
        "an id is found too"
    );
}

#[test]
fn everybody_lists_what_he_may_see_wherever_it_is_and_once() {
    let server = Server::start();
    let admin = server.admin();
    admin.workspace("emea", "root");
    admin.workspace("paris", "emea");
    admin.workspace("apac", "root");
    let roles = json!([
        { "workspace": "emea", "role": "key_manager" },
        { "workspace": "apac", "role": "member" },
    ]);
    let body =
        json!({ "user_name": "kim", "password": PASSWORD, "workspace": "apac", "roles": roles });
    admin.post("/v1/users", body).expect(201);
    for key in [
        json!({ "name": "emea", "workspace": "emea" }),
        json!({ "name": "paris, own", "workspace": "paris", "owner": "kim" }),
        json!({ "name": "apac", "workspace": "apac" }),
        json!({ "name": "apac, own", "workspace": "apac", "owner": "kim" }),
        json!({ "name": "root", "workspace": "root" }),
    ] {
        admin.issue(key);
    }
    let kim = server.anonymous().signed_in("kim", PASSWORD);
    assert_eq!(names(&kim, ""), ["apac, own", "emea", "paris, own"]);
    assert_eq!(names(&kim, "owner=kim"), ["apac, own", "paris, own"]);
    assert_eq!(names(&kim, "workspace=emea"), ["emea", "paris, own"]);
    assert_eq!(names(&kim, "workspace=apac"), ["apac, own"]);
    assert_eq!(names(&kim, "workspace=apac&owner=kim"), ["apac, own"]);

    admin.person("mia", "member", "apac");
    admin.issue(json!({ "name": "mia's", "workspace": "apac", "owner": "mia" }));
    let mia = server.anonymous().signed_in("mia", PASSWORD);
    assert_eq!(names(&mia, ""), ["mia's"]);
}

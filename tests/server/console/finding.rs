//! Finding keys in the console: words, secrets, filters, columns, order and pages.

use super::Visitor;
use crate::support::{PASSWORD, Server};
use serde_json::json;

/// The names of the keys on the last page, in its order.
fn names(visitor: &Visitor) -> Vec<String> {
    let rows = visitor.page.split("<a class=\"name\"").skip(1);
    let name = |row: &str| {
        row.split("<bdi>")
            .nth(1)?
            .split('<')
            .next()
            .map(str::to_owned)
    };
    rows.filter_map(name).collect()
}

#[track_caller]
fn list(visitor: &mut Visitor, query: &str) -> Vec<String> {
    visitor.get(&format!("/console/keys?{query}")).expect(200);
    names(visitor)
}

#[test]
fn all_that_the_console_shows_of_a_key_can_be_searched_in_any_order() {
    let server = Server::start();
    let admin = server.admin();
    admin.workspace("emea", "root");
    admin.person("alice", "member", "emea");
    let key = admin.issue(json!({
        "name": "Nightly export", "description": "for the new invoicing", "contact": "ops@example.com",
        "workspace": "emea", "owner": "alice", "scopes": ["invoices:read"], "metadata": { "team": "north" },
    }));
    let hint = admin.key(&key.id)["hint"].as_str().unwrap().to_owned();
    let (start, tail) = hint.split_once('…').unwrap();
    let mut owner = Visitor::owner(&server);
    for text in [
        "export nightly",
        "INVOICING",
        "ops@example",
        "emea alice",
        "invoices:read",
        "team=north",
        "north export",
        &key.id,
        &hint,
        &format!("{start}...{tail}"),
        start,
        &format!("…{tail}"),
        &format!("{tail} standard"),
    ] {
        let answer = owner.post("/console/keys", &[("q", text)]).expect(303);
        let to = answer.header("location").unwrap().to_owned();
        assert!(to.starts_with("/console/keys?q="), "{to}");
        owner.get(&to).expect(200);
        assert_eq!(names(&owner), ["Nightly export"], "{text}");
        // The API finds the same.
        let found = admin.get(&to.replace("/console", "/v1")).expect(200).json();
        assert_eq!(found["items"][0]["id"], key.id.as_str(), "{text}");
    }
    for absent in ["export daily", "team=south", "\"export nightly\""] {
        let answer = owner.post("/console/keys", &[("q", absent)]).expect(303);
        owner.get(answer.header("location").unwrap()).expect(200);
        assert!(names(&owner).is_empty(), "{absent}");
        assert!(owner.page.contains("No key matches."));
    }
}

#[test]
fn a_pasted_secret_leads_to_its_key_and_is_in_no_address_and_on_no_page() {
    let server = Server::start();
    let admin = server.admin();
    let key = admin.issue(json!({ "name": "found" }));
    let mut owner = Visitor::owner(&server);
    for text in [
        key.secret.clone(),
        format!("  {}\n", key.secret),
        format!("Authorization: Bearer {}", key.secret),
        format!("API_KEY={}", key.secret),
    ] {
        let answer = owner.post("/console/keys", &[("q", &text)]).expect(303);
        let page = format!("/console/keys/{}", key.id);
        assert_eq!(answer.header("location"), Some(page.as_str()));
        owner.get(&page).expect(200);
        assert!(owner.page.contains("is the secret of this key"));
        assert!(!owner.page.contains(&key.secret));
    }
    // A secret that opens nothing any more, one that no key has, and part of one.
    admin
        .post(&format!("/v1/keys/{}/rotate", key.id), json!({}))
        .expect(200);
    let page = owner
        .post("/console/keys", &[("q", &key.secret)])
        .expect(200)
        .text();
    assert!(
        page.contains("no longer the secret") && page.contains(">found<"),
        "{page}"
    );
    assert!(!page.contains(&key.secret));
    let gone = admin.issue(json!({ "name": "gone" }));
    admin.delete(&format!("/v1/keys/{}", gone.id)).expect(204);
    let strange = "other_0123456789012345678901234567890123456789";
    for (text, words) in [
        (&gone.secret[..], "no longer the secret"),
        (&gone.secret[..50], "looks like a secret"),
        (strange, "looks like a secret"),
    ] {
        let page = owner
            .post("/console/keys", &[("q", text)])
            .expect(200)
            .text();
        assert!(page.contains(words), "{page}");
        assert!(!page.contains(text));
    }
    assert!(!server.log().contains(&key.secret[3..]), "no log has it");

    // Without a session nothing is kept for later, as other forms are.
    let mut stranger = Visitor::new(&server);
    let fields = [("q", key.secret.as_str()), ("form_token", "none")];
    let answer = stranger.send("/console/keys", &fields).expect(303);
    assert_eq!(answer.header("location"), Some("/console/sign-in"));
    assert!(
        answer
            .header("set-cookie")
            .is_none_or(|it| !it.contains(&key.secret))
    );
}

#[test]
fn an_address_with_a_secret_is_answered_with_one_without() {
    let server = Server::start();
    let key = server.admin().issue(json!({ "name": "found" }));
    let secret = &key.secret;
    for visitor in [&mut Visitor::owner(&server), &mut Visitor::new(&server)] {
        for (query, left) in [
            (format!("q={secret}"), ""),
            (format!("q={secret}&state=active"), "?state=active"),
            (format!("owner={secret}"), ""),
        ] {
            let answer = visitor.get(&format!("/console/keys?{query}")).expect(303);
            let to = format!("/console/keys{left}");
            assert_eq!(answer.header("location"), Some(to.as_str()));
        }
    }
}

#[test]
fn a_user_who_may_not_verify_keys_learns_nothing_from_a_secret() {
    let server = Server::start();
    let admin = server.admin();
    admin.person("aud", "auditor", "root");
    let key = admin.issue(json!({ "name": "secretive" }));
    let mut auditor = Visitor::new(&server);
    auditor.sign_in("aud", PASSWORD).expect(303);
    let page = auditor
        .post("/console/keys", &[("q", &key.secret)])
        .expect(200)
        .text();
    assert!(
        page.contains("do not allow you to look up secrets"),
        "{page}"
    );
    assert!(!page.contains("secretive") && !page.contains(&key.secret));
}

#[test]
fn the_secret_of_another_system_leads_to_its_key_too() {
    let server = Server::start();
    let admin = server.admin();
    let secret = "kong-consumer-0007";
    // Its SHA-256.
    let digest = "589f4b0fb5cb0663c7bc55f3d328d6e8646de1c0dc1e1f383e4ceefe84d143a3";
    let line = json!({ "name": "imported", "digest": format!("sha256:{digest}") });
    admin
        .send(
            "POST",
            "/v1/keys/import?source=kong",
            "application/jsonl",
            line.to_string().as_bytes(),
        )
        .expect(200);
    let mut owner = Visitor::owner(&server);
    let answer = owner.post("/console/keys", &[("q", secret)]).expect(303);
    let to = answer.header("location").unwrap().to_owned();
    assert!(!to.contains('?'), "{to}");
    owner.get(&to).expect(200);
    assert!(owner.page.contains("imported") && !owner.page.contains(secret));
    owner.get(&format!("/console/keys?q={secret}")).expect(303);
    assert_eq!(list(&mut owner, "source=import"), ["imported"]);
    assert_eq!(list(&mut owner, "secrets=weak"), ["imported"]);
    // The API answers the same question.
    let found = admin
        .post("/v1/keys/identify", json!({ "items": [secret] }))
        .expect(200)
        .json();
    assert_eq!(found["items"][0]["known"], "secret", "{found}");
}

#[test]
fn every_filter_narrows_the_list_and_is_a_link_that_removes_it() {
    let server = Server::start();
    let admin = server.admin();
    let soon =
        admin.issue(json!({ "name": "soon", "expires_in_s": 2_000_000, "scopes": ["a:read"] }));
    admin.issue(json!({ "name": "endless", "scopes": ["b:read"] }));
    admin
        .post(
            &format!("/v1/keys/{}/rotate", soon.id),
            json!({ "grace_s": 3600 }),
        )
        .expect(200);
    let mut owner = Visitor::owner(&server);
    for (query, expected) in [
        ("expiring=30&q=o", vec!["soon"]),
        ("expiring=7&q=o", vec![]),
        ("expiring=never&q=endless", vec!["endless"]),
        ("scope=a%3Aread", vec!["soon"]),
        ("secrets=two", vec!["soon"]),
        ("secrets=weak", vec![]),
        ("unused=90", vec![]),
        ("source=file", vec![]),
        ("source=issued&scope=b%3Aread", vec!["endless"]),
    ] {
        assert_eq!(list(&mut owner, query), expected, "{query}");
        assert!(owner.page.contains("class=\"chip\""), "{query}");
    }
    list(&mut owner, "scope=a%3Aread&secrets=two");
    for link in [
        "/console/keys?secrets=two\"",
        "/console/keys?scope=a%3Aread\"",
        "/console/keys\"",
    ] {
        let link = link.replace('&', "&#38;");
        assert!(owner.page.contains(&format!("href=\"{link}")), "{link}");
    }
    // Who made keys is chosen from those who did, in words.
    let picker = owner
        .page
        .split("<select id=\"created_by\"")
        .nth(1)
        .unwrap();
    let picker = picker.split("</select>").next().unwrap();
    assert!(picker.contains(">Key "), "{picker}");
    for (query, expected) in [
        ("unused_for_s=0&q=soon", 1),
        ("unused_for_s=3600&q=soon", 0),
        ("never_expires=true&q=soon", 0),
        ("has_previous=true", 1),
        ("has_previous=false&q=soon", 0),
        ("weak=true", 0),
        ("source=issued&scope=a:read", 1),
    ] {
        let found = admin.get(&format!("/v1/keys?{query}")).expect(200).json();
        assert_eq!(
            found["items"].as_array().unwrap().len(),
            expected,
            "{query}"
        );
    }
    admin.get("/v1/keys?weak=maybe").expect(400);
    admin.get("/v1/keys?source=elsewhere").expect(400);
}

#[test]
fn a_list_is_sorted_by_state_scopes_and_maker() {
    let server = Server::start();
    let admin = server.admin();
    let maker =
        json!({ "name": "maker", "catalog": "latchkey", "scopes": ["keys:read", "keys:write"] });
    let maker = server.bearer(&admin.issue(maker).secret);
    let mut owner = Visitor::owner(&server);
    for (by, name, scope, enabled) in [
        (&admin, "one row", "b:read", true),
        (&admin, "two row", "c:read", false),
        (&maker, "three row", "a:read", true),
    ] {
        by.issue(json!({ "name": name, "scopes": [scope], "enabled": enabled }));
    }
    for (sort, expected) in [
        ("scopes", ["three row", "one row", "two row"]),
        ("-scopes", ["two row", "one row", "three row"]),
    ] {
        let found = list(&mut owner, &format!("q=row&sort={sort}"));
        assert_eq!(found, expected, "{sort}");
    }
    assert_eq!(list(&mut owner, "q=row&sort=state")[2], "two row");
    assert_eq!(list(&mut owner, "q=row&sort=-state")[0], "two row");
    let by_maker = list(&mut owner, "q=row&sort=created_by");
    assert!(
        by_maker[0] == "three row" || by_maker[2] == "three row",
        "{by_maker:?}"
    );
    let back: Vec<String> = list(&mut owner, "q=row&sort=-created_by")
        .into_iter()
        .rev()
        .collect();
    assert_eq!(back, by_maker);
    // The number of uses has a heading that sorts nothing.
    let chosen = [("columns[]", "uses"), ("query", "q=row")];
    owner.post("/console/keys/columns", &chosen).expect(303);
    list(&mut owner, "q=row");
    assert!(
        owner.page.contains("<th scope=\"col\">Uses</th>"),
        "{}",
        owner.page
    );
    assert!(owner.page.contains("sort=state"), "{}", owner.page);
}

#[test]
fn columns_are_chosen_and_sorted_both_ways_and_a_long_list_has_numbered_pages() {
    let server = Server::start();
    let admin = server.admin();
    for number in 0..120 {
        admin.issue(json!({ "name": format!("batch {number:03}"), "description": "=cmd" }));
    }
    let mut owner = Visitor::owner(&server);
    assert_eq!(list(&mut owner, "q=batch&sort=name")[0], "batch 000");
    assert!(owner.page.contains("1 to 50 of 120 keys"), "{}", owner.page);
    assert!(owner.page.contains("aria-sort=\"ascending\""));
    assert!(owner.page.contains("sort=-name"));
    assert_eq!(list(&mut owner, "q=batch&sort=-name")[0], "batch 119");
    let beyond = owner
        .get("/console/keys?q=batch&sort=name&page=99")
        .expect(303);
    let last = "/console/keys?q=batch&sort=name&page=3";
    assert_eq!(beyond.header("location"), Some(last));
    assert_eq!(list(&mut owner, "q=batch&sort=name&page=3").len(), 20);
    assert_eq!(list(&mut owner, "q=batch&sort=-newest")[0], "batch 000");
    assert!(
        !owner.page.contains("Created by</a>") && !owner.page.contains("data-label=\"Policy\"")
    );
    let chosen = [
        ("columns[]", "policy"),
        ("columns[]", "uses"),
        ("query", "q=batch"),
    ];
    let answer = owner.post("/console/keys/columns", &chosen).expect(303);
    assert_eq!(answer.header("location"), Some("/console/keys?q=batch"));
    list(&mut owner, "q=batch");
    assert!(
        owner.page.contains("data-label=\"Policy\"") && owner.page.contains("data-label=\"Uses\"")
    );
    assert!(!owner.page.contains("data-label=\"Scopes\""));

    // The file has the same columns, and all pages.
    let file = owner
        .get("/console/keys/export?q=batch&sort=name")
        .expect(200);
    assert_eq!(
        file.header("content-disposition"),
        Some("attachment; filename=\"keys.csv\"")
    );
    let lines: Vec<String> = file.text().split("\r\n").map(str::to_owned).collect();
    assert_eq!(
        lines[0],
        "\"id\",\"name\",\"hint\",\"state\",\"policy\",\"use_count\""
    );
    assert_eq!(lines.len(), 122);
    assert!(lines[120].contains("\"batch 119\""), "{}", lines[120]);
}

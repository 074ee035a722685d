//! The audit log: its complete export, and its events of refused pages.

use crate::console::Visitor;
use crate::support::{PASSWORD, Server, wait};
use rusqlite::Connection;
use serde_json::{Value, json};

/// Makes so many events at once: keys without a seal, each of which the start closes with an event.
fn add_events(server: &mut Server, count: u32) {
    let many = json!({ "scopes": [{ "name": "a:b", "label": "" }], "operations": [] });
    server.admin().put("/v1/catalogs/many", many).expect(201);
    server.admin().issue(json!({
        "name": "pattern", "catalog": "many", "scopes": ["a:b"],
    }));
    server.stop();
    let database = Connection::open(server.data.join("latchkey.db")).unwrap();
    let columns = "name, description, workspace_uid, owner_uid, policy, catalog, scopes, read_only, enabled, metadata, created_by, created_at, hint";
    let numbers = format!(
        "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {count})"
    );
    for sql in [
        format!(
            "{numbers} INSERT INTO keys (id, number, {columns})
             SELECT printf('%010d', n), 1000 + n, {columns} FROM keys, n WHERE name = 'pattern'"
        ),
        format!(
            "{numbers} INSERT INTO secrets (key_id, digest, pepper, created_at, until_first_use, scheme, is_foreign)
             SELECT printf('%010d', n), digest, pepper, secrets.created_at, until_first_use, scheme, is_foreign
             FROM secrets JOIN keys ON keys.id = key_id, n WHERE keys.name = 'pattern'"
        ),
    ] {
        database.execute(&sql, []).unwrap();
    }
    drop(database);
    server.restart();
    wait::until("each key has its event", || {
        server.admin().newest_event()["seq"].as_u64() >= Some(u64::from(count))
    });
}

/// The hidden fields of each form of a page that downloads a file.
fn files(page: &str) -> Vec<Vec<(String, String)>> {
    let forms = page.split("action=\"/console/audit/export\"").skip(1);
    let fields = |form: &str| {
        let form = form.split("</form>").next().unwrap();
        let inputs = form.split("name=\"").skip(1);
        let pair = |input: &str| {
            let name = input.split('"').next().unwrap().to_owned();
            let value = input.split("value=\"").nth(1).unwrap();
            (name, value.split('"').next().unwrap().to_owned())
        };
        inputs.map(pair).collect()
    };
    forms.map(fields).collect()
}

#[test]
fn an_export_is_complete_however_long_the_log_is() {
    let mut server = Server::start();
    add_events(&mut server, 10_200);
    let mut owner = Visitor::owner(&server);
    owner.get("/console/audit").expect(200);
    owner
        .post("/console/audit/export", &[("format", "jsonl")])
        .expect(200);
    assert!(
        owner
            .page
            .contains("The audit log does not fit into one file")
    );
    let files = files(&owner.page);
    assert_eq!(files.len(), 2, "{}", owner.page);
    let mut seen: Vec<u64> = Vec::new();
    for fields in &files {
        let fields: Vec<(&str, &str)> = fields.iter().map(|(n, v)| (&**n, &**v)).collect();
        let response = owner.send("/console/audit/export", &fields).expect(200);
        let disposition = response.header("content-disposition").unwrap();
        assert!(disposition.starts_with("attachment; filename=\"audit-log-"));
        assert!(disposition.ends_with(".jsonl\""));
        for line in response.text().lines() {
            let event: Value = serde_json::from_str(line).unwrap();
            seen.push(event["seq"].as_u64().unwrap());
        }
    }
    let newest = seen[0];
    assert!(newest > 10_200);
    let expected: Vec<u64> = (1..=newest).rev().collect();
    assert!(seen == expected, "every event once, the newest first");
    // Each download is an event.
    let events = server.admin().get("/v1/audit-events?action=audit.export");
    assert_eq!(events.json()["items"].as_array().unwrap().len(), 2);

    // A request for a part of the log must name a valid part.
    owner.get("/console/audit").expect(200);
    for (after, before) in [("0", "20000"), ("5", "5"), ("5", "4"), ("0", "x")] {
        let fields = [("after", after), ("before", before)];
        let status = owner.post("/console/audit/export", &fields).status;
        assert!(status == 400 || status == 422, "{after} {before}: {status}");
        owner.get("/console/audit").expect(200);
    }
}

#[test]
fn an_export_is_one_file_with_every_member_where_it_fits() {
    let server = Server::start();
    server
        .admin()
        .issue(json!({ "name": "=1+1", "description": "a, \"b\"" }));
    let mut owner = Visitor::owner(&server);
    owner.get("/console/audit").expect(200);
    let fields = [("format", "csv"), ("action", "key.issue")];
    let response = owner.post("/console/audit/export", &fields).expect(200);
    let text = response.text();
    let disposition = response.header("content-disposition");
    assert_eq!(disposition, Some("attachment; filename=\"audit-log.csv\""));
    assert!(text.starts_with("seq,at,actor,action,target_kind,target_id,workspace,source,request_id,outcome,reason,changes,previous\r\n"));
    assert!(
        text.lines()
            .skip(1)
            .all(|line| line.contains("\"key.issue\""))
    );

    owner.get("/console/audit").expect(200);
    let fields = [("format", "jsonl")];
    let response = owner.post("/console/audit/export", &fields).expect(200);
    let first: Value = serde_json::from_str(response.text().lines().next().unwrap()).unwrap();
    let api = server.admin().get("/v1/audit-events?limit=100").json();
    let same = api["items"].as_array().unwrap().iter();
    let same = same.clone().find(|event| event["seq"] == first["seq"]);
    assert_eq!(same, Some(&first), "members are those of the API");
}

#[test]
fn pages_that_were_refused_are_recorded() {
    let server = Server::start();
    server.admin().person("reader", "member", "root");
    let mut reader = Visitor::new(&server);
    reader.sign_in("reader", PASSWORD).expect(303);
    for path in [
        "/console/backups",
        "/console/new-policy",
        "/console/new-catalog",
    ] {
        reader.get(path).expect(403);
        let event = server.admin().newest_event();
        assert_eq!(event["action"], "server.read", "{event}");
        assert_eq!(event["outcome"], "denied");
        assert_eq!(event["actor"], "user:reader");
        assert_eq!(event["target_id"], path);
    }
    // Verifying the chain only reads, although a form requests it.
    reader.post("/console/audit/chain", &[]).expect(403);
    let event = server.admin().newest_event();
    assert_eq!(event["outcome"], "denied", "{event}");
    assert_eq!(event["target_id"], "/console/audit/chain");
}

/// What the rows of a page say was done.
fn done(page: &str) -> Vec<String> {
    let rows = page.split("<td class=\"what\"").skip(1);
    let action = |row: &str| {
        let rest = row.split("<strong>").nth(1).unwrap();
        rest.split('<').next().unwrap().to_owned()
    };
    rows.map(action).collect()
}

#[test]
fn events_are_found_by_names_and_ids_and_lead_to_their_things() {
    let server = Server::start();
    let admin = server.admin();
    admin.person("alice", "key_manager", "root");
    let key = admin.issue(json!({ "name": "billing job" }));
    let mut owner = Visitor::owner(&server);
    let id = &key.id;
    for (query, actions) in [
        ("target=billing%20job".to_owned(), &["Key created"][..]),
        (format!("target={id}"), &["Key created"]),
        (format!("target=key:{id}"), &["Key created"]),
        (format!("target=user:{id}"), &[]),
        (
            "target=alice&action=user.create".to_owned(),
            &["User created"],
        ),
        (
            "target=user:alice&action=user.create".to_owned(),
            &["User created"],
        ),
        ("actor=owner&action=session".to_owned(), &["Signed in"]),
        (
            "actor=user:owner&action=session.create".to_owned(),
            &["Signed in"],
        ),
        ("outcome=denied".to_owned(), &[]),
        ("since=2000-01-01&until=2000-01-02".to_owned(), &[]),
        (
            "workspace=root&action=key.issue&target=billing%20job".to_owned(),
            &["Key created"],
        ),
    ] {
        let page = owner
            .get(&format!("/console/audit?{query}"))
            .expect(200)
            .text();
        assert_eq!(done(&page), actions, "{query}");
    }
    let page = owner.get(&format!("/console/audit?target={id}")).text();
    assert!(page.contains(&format!(
        "<a href=\"/console/keys/{id}\"><bdi>billing job</bdi></a>"
    )));
    assert!(page.contains("action=key.issue"), "a cell sets its filter");
    for (query, said) in [
        ("action=key.create", "is not an action of the audit log"),
        ("workspace=nowhere", "is not a workspace"),
        ("outcome=maybe", "one of the offered values"),
    ] {
        let page = owner
            .get(&format!("/console/audit?{query}"))
            .expect(422)
            .text();
        assert!(page.to_lowercase().contains(said), "{query}");
        assert!(done(&page).is_empty(), "{query}");
    }
    // A deleted user keeps the name.
    admin.delete("/v1/users/alice").expect(204);
    let page = owner.get("/console/audit?action=user.delete").text();
    assert_eq!(done(&page), ["User deleted"]);
    assert!(page.contains("<bdi>alice</bdi>"), "{page}");
}

#[test]
fn the_api_takes_names_and_says_which_actions_there_are() {
    let server = Server::start();
    let admin = server.admin();
    admin.person("alice", "auditor", "root");
    let key = admin.issue(json!({ "name": "billing job" }));
    let actions = |query: &str| {
        let found = admin.get(&format!("/v1/audit-events?{query}")).expect(200);
        let found = found.json()["items"].as_array().unwrap().clone();
        let action = |event: &Value| event["action"].as_str().unwrap().to_owned();
        found.iter().map(action).collect::<Vec<_>>()
    };
    assert!(
        actions("action=policy")
            .iter()
            .all(|it| it == "policy.install")
    );
    assert_eq!(actions("target=alice&action=user.create"), ["user.create"]);
    assert_eq!(actions(&format!("target=key:{}", key.id)), ["key.issue"]);
    assert_eq!(actions("target=billing%20job"), ["key.issue"]);
    assert!(actions("outcome=denied").is_empty());
    for query in ["action=key.create", "outcome=maybe", "workspace=nowhere"] {
        let refused = admin.get(&format!("/v1/audit-events?{query}")).expect(422);
        let is_named = refused.text().contains("key.rotate");
        assert_eq!(is_named, query.starts_with("action"), "{query}");
    }
}

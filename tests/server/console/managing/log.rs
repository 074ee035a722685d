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
            "{numbers} INSERT INTO secrets (key_id, digest, pepper, created_at, until_first_use)
             SELECT printf('%010d', n), digest, pepper, secrets.created_at, until_first_use
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

//! `latchkey audit`, and the actors that the log records.

use super::{Line, running_and_stopped};
use crate::support::Server;
use serde_json::Value;

#[test]
fn a_command_is_recorded_as_the_local_user() {
    running_and_stopped(|line| {
        let id = line.issue("billing");
        let events = line.json(&["audit", "list", "--target", &id]);
        let uid = rustix::process::geteuid().as_raw();
        assert_eq!(events[0]["actor"], format!("local:{uid}"));
        assert_eq!(events[0]["source"], "unix");
        assert_eq!(events[0]["action"], "key.issue");
        assert!(
            line.ok(&["audit", "list"])
                .contains(&format!("local:{uid}"))
        );
        let last = line.json(&["audit", "list", "--limit", "2"]);
        assert_eq!(last.as_array().map(Vec::len), Some(2));
    });
}

#[test]
fn the_log_is_exported_whole_and_that_is_recorded() {
    running_and_stopped(|line| {
        let id = line.issue("=1+1");
        line.ok(&["key", "edit", &id, "--name", "plain"]);
        let jsonl = line.ok(&["audit", "export", "--format", "jsonl"]);
        let first: Value = serde_json::from_str(jsonl.lines().next().unwrap()).unwrap();
        assert_eq!(first["action"], "audit.export");
        assert_eq!(first["seq"], jsonl.lines().count());

        let csv = line.ok(&["audit", "export", "--format", "csv"]);
        assert!(csv.starts_with("seq,at,actor,action,"));
        assert_eq!(csv.matches("seq,at").count(), 1);
        assert_eq!(csv.lines().count(), jsonl.lines().count() + 2);
        let none = line.ok(&[
            "audit",
            "export",
            "--format",
            "csv",
            "--until",
            "2001-01-01T00:00:00Z",
        ]);
        assert_eq!(none.lines().count(), 1);
        line.refused(&["audit", "export", "--since", "yesterday"], 1);
    });
}

#[test]
fn the_oldest_events_are_cut_off_and_the_rest_is_provable() {
    running_and_stopped(|line| {
        line.issue("billing");
        line.issue("other");
        let before = line.json(&["audit", "list", "--limit", "1"])[0]["seq"].clone();
        let cut = line.json(&["audit", "prune", "--keep", "1"]);
        assert_eq!(cut["first_seq"], before);
        let left = line.json(&["audit", "list"]);
        assert_eq!(left.as_array().map(Vec::len), Some(2));
        assert_eq!(left[0]["action"], "audit.prune");
        assert!(line.ok(&["audit", "verify"]).contains("2 events"));
        let none = line.ok(&["audit", "prune", "--before", "2001-01-01T00:00:00Z"]);
        assert!(none.contains("nothing to cut"), "{none}");
        line.refused(&["audit", "prune", "--before", "2999-01-01T00:00:00Z"], 1);
        line.refused(&["audit", "prune"], 2);
        line.refused(&["audit", "prune", "--keep", "1", "--before", "x"], 2);
    });
}

#[test]
fn a_long_export_links_to_its_next_page() {
    let server = Server::start();
    let admin = server.admin();
    let all = admin
        .get("/v1/audit-events?actor=system")
        .expect(200)
        .json();
    let all_but_one = all["items"].as_array().unwrap().len() - 1;
    let page = admin
        .get(&format!(
            "/v1/audit-events?format=csv&limit={all_but_one}&actor=system"
        ))
        .expect(200);
    assert_eq!(page.header("content-type"), Some("text/csv; charset=utf-8"));
    assert_eq!(page.text().lines().count(), 1 + all_but_one);
    let link = page.header("link").unwrap();
    let next = link.strip_prefix('<').unwrap().split_once('>').unwrap().0;
    assert!(
        next.contains("actor=system") && next.contains("cursor="),
        "{next}"
    );
    let rest = admin.get(next).expect(200);
    assert_eq!(
        rest.text().lines().count(),
        1,
        "no headings on a further page"
    );
    assert_eq!(rest.header("link"), None);
    admin.get("/v1/audit-events?format=xml").expect(400);
    admin
        .get("/v1/audit-events?format=csv&limit=10001")
        .expect(400);
    assert_eq!(
        admin
            .get("/v1/audit-events?format=json&limit=1")
            .expect(200)
            .json()["items"][0]["action"],
        "audit.export"
    );
}

#[test]
fn an_intact_log_is_verified_and_a_tampered_row_is_named() {
    let mut server = Server::start();
    let line = Line::of(&server);
    line.issue("a");
    line.issue("b");
    assert_eq!(line.json(&["audit", "verify"])["intact"], true);
    server.stop();
    let intact = line.ok(&["audit", "verify"]);
    assert!(intact.starts_with("the audit log is intact: "), "{intact}");

    let database = rusqlite::Connection::open(server.data.join("latchkey.db")).unwrap();
    let changed = database.execute("UPDATE audit_events SET actor = 'nobody' WHERE seq = 4", []);
    assert_eq!(changed.unwrap(), 1);
    drop(database);

    let said = line.refused(&["audit", "verify"], 1);
    assert_eq!(
        said,
        "latchkey: the audit log was tampered with: event 4 was changed\n"
    );
    server.restart();
    let ran = line.run(&["audit", "verify", "--json"]);
    assert_eq!(ran.code, Some(1));
    assert_eq!(
        ran.stdout,
        "{\"intact\":false,\"first_bad\":\"event 4 was changed\"}\n"
    );
}

#[test]
fn the_chain_is_told_to_those_who_may_read_the_whole_log() {
    let server = Server::start();
    let reader = serde_json::json!({"name":"auditor","catalog":"latchkey","scopes":["audit:read"]});
    let auditor = server.admin().issue(reader);
    let answer = server.bearer(&auditor.secret).get("/v1/audit-events/chain");
    assert_eq!(answer.expect(200).json()["intact"], true);
    server
        .bearer(&server.secret)
        .get("/v1/audit-events/chain")
        .expect(403);
    server.anonymous().get("/v1/audit-events/chain").expect(401);
}

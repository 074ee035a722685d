//! Which events a user sees: none of another tenant.

use serde_json::{Value, json};

use crate::support::{PASSWORD, Server, User};

/// All events that a user sees, read in pages of the given length.
#[track_caller]
fn events(user: &User, limit: usize) -> Vec<Value> {
    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let path = format!("/v1/audit-events?limit={limit}{cursor}");
        let page = user.get(&path).expect(200).json();
        seen.extend(page["items"].as_array().unwrap().clone());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return seen,
        }
    }
}

#[test]
fn an_auditor_of_a_workspace_sees_its_events_and_those_below_and_no_others() {
    let server = Server::start();
    let admin = server.admin();
    let emea = admin.workspace("emea", "root");
    let paris = admin.workspace("paris", "emea");
    admin.workspace("apac", "root");
    admin.person("ann", "auditor", "emea");
    admin.person("mia", "member", "apac");
    let of_emea = admin.issue(json!({ "name": "e", "workspace": "emea" }));
    for name in ["a", "b"] {
        admin.issue(json!({ "name": name, "workspace": "apac" }));
        admin.issue(json!({ "name": name, "workspace": "paris" }));
    }
    let mia = server.anonymous().signed_in("mia", PASSWORD);
    mia.get("/v1/audit-events?limit=1").expect(200);
    let ann = server.anonymous().signed_in("ann", PASSWORD);
    ann.delete(&format!("/v1/keys/{}", of_emea.id))
        .refused(403, "forbidden");

    let seen = events(&ann, 100);
    let actions: Vec<&str> = seen
        .iter()
        .map(|event| event["action"].as_str().unwrap())
        .collect();
    assert_eq!(
        actions,
        [
            "key.delete",
            "key.issue",
            "key.issue",
            "key.issue",
            "user.create",
            "workspace.create",
            "workspace.create"
        ]
    );
    assert_eq!(seen[0]["outcome"], "denied");
    for event in &seen {
        let place = event["workspace"].as_str().unwrap();
        assert!(place == emea || place == paris, "{event}");
    }
    for limit in [1, 2, 3, 7] {
        assert_eq!(events(&ann, limit), seen, "pages of {limit}");
    }
    // No filter finds more events than the list contains.
    for event in events(&admin, 500) {
        let path = format!(
            "/v1/audit-events?target={}",
            event["target_id"].as_str().unwrap()
        );
        for found in ann.get(&path).expect(200).json()["items"]
            .as_array()
            .unwrap()
        {
            assert!(seen.contains(found), "{found}");
        }
    }
    // A member may not read the log of the workspace, so the list is empty.
    assert!(events(&mia, 100).is_empty());
    assert!(events(&admin, 100).len() > seen.len());
}

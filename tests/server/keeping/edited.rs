//! A backup that was edited outside the server. Attacks 195, 206.

use rusqlite::Connection;
use serde_json::json;

use super::restore::{back_up, restore};
use crate::command_line::Line;
use crate::support::Server;

/// Backups are stored for months. Objects that were edited in a backup are disabled, like objects that were changed
/// since the backup.
#[test]
fn whoever_edits_a_backup_lets_nobody_in() {
    let mut server = Server::start();
    let admin = server.admin();
    admin.person("alice", "member", "root");
    admin.person("bob", "member", "root");
    admin.workspace("emea", "root");
    let (on, off) = (
        admin.issue(json!({ "name": "on" })),
        admin.issue(json!({ "name": "off" })),
    );
    admin
        .post(&format!("/v1/keys/{}/disable", off.id), json!({}))
        .expect(200);
    let catalog = json!({ "scopes": [{ "name": "a:read" }], "operations": [] });
    admin.put("/v1/catalogs/shop", catalog).expect(201);
    let backup = back_up(&server);
    Connection::open(&backup)
        .unwrap()
        .execute_batch(&format!(
            "UPDATE role_bindings SET role = 'owner'
                 WHERE user_uid = (SELECT uid FROM users WHERE user_name = 'alice');
             UPDATE keys SET enabled = 1 WHERE id = '{}';
             UPDATE catalog_scopes SET implies = 'b:write' WHERE catalog = 'shop';",
            off.id
        ))
        .unwrap();
    let told = restore(&mut server, &backup, &[]);
    let altered = json!(["user alice", "catalog shop", format!("key {}", off.id)]);
    assert_eq!(told["altered"], altered, "{told}");
    server.restart();
    let admin = server.admin();
    let enabled = |path: &str| admin.get(path).expect(200).json()["enabled"].clone();
    assert_eq!(enabled("/v1/users/alice"), false);
    assert_eq!(enabled("/v1/users/bob"), true);
    assert_eq!(admin.key(&off.id)["enabled"], false);
    assert_eq!(admin.key(&on.id)["enabled"], true);
    let shop = admin.get("/v1/catalogs/shop").expect(200).json();
    assert_eq!(shop["scopes"], json!([]), "{shop}");
    // An event records why the object was disabled.
    Line::of(&server).ok(&["audit", "verify"]);
    let events = Line::of(&server).ok(&["audit", "list", "--action", "user.tampered"]);
    assert!(events.contains("user.tampered"), "{events}");
}

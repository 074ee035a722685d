//! The page that imports keys.

use super::{digest, lines};
use crate::console::Visitor;
use crate::support::Server;
use serde_json::json;

#[test]
fn a_file_is_previewed_and_then_imported() {
    let server = Server::start();
    let admin = server.admin();
    let mut owner = Visitor::owner(&server);
    owner.get("/console/keys").expect(200);
    assert!(
        owner.page.contains("/console/import-keys"),
        "{}",
        owner.page
    );
    owner.get("/console/import-keys").expect(200);
    let bad = json!({ "name": "<bad>", "digest": digest("another"), "policy": "nothing" });
    let file = format!("{}{bad}\n", lines(1..=2));
    let fields = [
        ("source", "jsonl"),
        ("workspace", "root"),
        ("policy", "standard"),
    ];
    owner
        .upload("/console/import-keys", &fields, &file)
        .expect(200);
    for words in [
        "2 keys are taken",
        "1 thing is not taken",
        "no policy",
        "&#60;bad&#62;",
    ] {
        assert!(owner.page.contains(words), "{words}: {}", owner.page);
    }
    assert_eq!(admin.verify(json!({ "key": "secret 1" }))["valid"], false);
    let hidden: Vec<(&str, String)> = ["source", "workspace", "policy", "file_sha256"]
        .map(|name| (name, owner.value(name).unwrap()))
        .to_vec();
    let lines = lines(1..=2);
    let mut fields: Vec<(&str, &str)> = hidden
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    fields.push(("lines", &lines));
    owner
        .upload("/console/import-keys/confirm", &fields, "")
        .expect(200);
    assert!(
        owner.page.contains("2 keys were imported"),
        "{}",
        owner.page
    );
    assert_eq!(admin.verify(json!({ "key": "secret 1" }))["valid"], true);
    owner.get("/console/import-keys").expect(200);
    let fields = [
        ("source", "jsonl"),
        ("workspace", "root"),
        ("policy", "standard"),
    ];
    for (file, words) in [("{", "line 1"), ("", "no keys")] {
        owner
            .upload("/console/import-keys", &fields, file)
            .expect(422);
        assert!(owner.page.to_lowercase().contains(words), "{}", owner.page);
    }
}

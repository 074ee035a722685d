//! Retiring a version: refused as long as something needs it, and ended on request.

use super::{in_database, in_file, retire, reveal, rotate, sign_in, versions, with_copy};
use crate::command_line::Line;
use crate::support::{PASSWORD, Server, fresh_folder, wait};
use serde_json::json;
use std::fs;

#[test]
fn a_pepper_is_retired_when_every_key_was_used_and_every_session_is_over() {
    let mut server = Server::start();
    let admin = server.admin();
    let [first, second] = ["a", "b"].map(|name| admin.issue(json!({ "name": name })));
    admin.person("alice", "member", "root");
    let session = sign_in(&server, "alice");
    rotate(&server, "pepper");
    let wanted = json!({ "file": "pepper", "version": 1 });
    let refusal = || {
        let refused = retire(&server, wanted.clone()).expect(409).json();
        refused["detail"].as_str().unwrap().to_owned()
    };
    let said = refusal();
    for words in [&*first.id, &second.id, "1 session (", "--disable-unseen"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    for secret in [&first.secret, &second.secret, &server.secret] {
        assert_eq!(admin.verdict(secret), "VALID");
    }
    wait::until("no key needs the old pepper", || {
        versions(&admin, "pepper")[0]["secrets"] == 0
    });
    let said = refusal();
    assert!(
        said.contains("1 session (") && !said.contains("of a key"),
        "{said}"
    );
    assert_eq!(in_file(&server.data, "pepper"), [1, 2]);
    session.delete("/v1/sessions/current").expect(204);
    let retired = retire(&server, wanted).expect(200).json();
    assert_eq!(retired["keys_disabled"], 0, "{retired}");
    assert_eq!(retired["left_in"], json!(null));
    assert_eq!(in_file(&server.data, "pepper"), [2]);
    assert_eq!(in_database(&server.data, "pepper"), [2]);
    let event = admin.newest_event();
    assert_eq!(event["action"], "secrets.retire");
    assert_eq!(event["changes"]["version"], json!(["1", ""]));
    for _ in 0..2 {
        for secret in [&first.secret, &second.secret] {
            assert_eq!(server.admin().verdict(secret), "VALID");
        }
        server.restart();
    }
    Line::of(&server).ok(&["doctor"]);
}

#[test]
fn what_was_not_used_is_disabled_or_ended_on_request() {
    let (mut server, copied) = with_copy();
    let admin = server.admin();
    let used = admin.issue(json!({ "name": "used" }));
    let unseen = admin.issue(json!({ "name": "unseen" }));
    let disabled = admin.issue(json!({ "name": "disabled" }));
    admin
        .post(&format!("/v1/keys/{}/disable", disabled.id), json!({}))
        .expect(200);
    let rotated = admin.issue(json!({ "name": "rotated" }));
    admin.person("alice", "member", "root");
    let session = sign_in(&server, "alice");
    rotate(&server, "pepper");
    // The newest secret of this key is under the new pepper, the older one, in its grace period, is not.
    let newest = admin.rotate(&rotated.id, json!({ "grace_s": 3600 }));
    assert_eq!(admin.verdict(&used.secret), "VALID");
    assert_eq!(reveal(&server, &copied), json!(copied.secret));

    let wanted = json!({ "file": "pepper", "version": 1, "disable_unseen": true });
    let retired = retire(&server, wanted).expect(200).json();
    // Besides the three of this test: the sample key.
    assert_eq!(retired["keys_disabled"], 4, "{retired}");
    assert_eq!(retired["secrets_ended"], 1, "{retired}");
    assert_eq!(retired["sessions_ended"], 1, "{retired}");
    let check = |server: &Server| {
        let admin = server.admin();
        assert_eq!(admin.verdict(&used.secret), "VALID");
        assert_eq!(admin.verdict(&newest.secret), "VALID");
        for secret in [&unseen, &disabled, &copied, &rotated] {
            assert_eq!(admin.verdict(&secret.secret), "NOT_FOUND", "{}", secret.id);
        }
        assert_eq!(admin.key(&unseen.id)["state"], "disabled");
        session.get("/v1/keys").expect(401);
    };
    check(&server);
    server.restart();
    check(&server);
    Line::of(&server).ok(&["doctor"]);
    let admin = server.admin();
    let events = admin.get("/v1/audit-events?action=key.disable").json();
    let told = events["items"].to_string();
    assert!(
        told.contains("version 1 of the pepper was retired"),
        "{told}"
    );
    // Nothing of the old secret is left: not even the copy that could be shown.
    let path = format!("/v1/keys/{}/reveal", copied.id);
    admin.post(&path, json!({})).expect(409);
    admin
        .post(&format!("/v1/keys/{}/enable", unseen.id), json!({}))
        .expect(200);
    assert_eq!(admin.verdict(&unseen.secret), "NOT_FOUND");
    let again = admin.rotate(&unseen.id, json!({}));
    assert_eq!(admin.verdict(&again.secret), "VALID");
}

#[test]
fn a_seal_key_is_retired_when_every_user_has_signed_in() {
    let mut server = Server::start();
    let admin = server.admin();
    for name in ["alice", "bob"] {
        admin.person(name, "member", "root");
    }
    rotate(&server, "seal-key");
    let wanted = json!({ "file": "seal-key", "version": 1 });
    sign_in(&server, "alice");
    let refused = retire(&server, wanted.clone()).expect(409).json();
    let said = refused["detail"].as_str().unwrap();
    assert!(
        said.contains("2 passwords (") && said.contains("bob"),
        "{said}"
    );
    assert!(!said.contains("alice") && !said.contains("row"), "{said}");
    sign_in(&server, "bob");
    let mut ending = wanted.clone();
    ending["disable_unseen"] = json!(true);
    let retired = retire(&server, ending).expect(200).json();
    // That of the owner.
    assert_eq!(retired["passwords_removed"], 1, "{retired}");
    assert_eq!(in_file(&server.data, "seal-key"), [2]);
    server.restart();
    for name in ["alice", "bob"] {
        sign_in(&server, name);
    }
    let body = json!({ "user_name": server.owner_user_name, "password": server.owner_password });
    server.anonymous().post("/v1/sessions", body).expect(401);
    let path = format!("/v1/users/{}/password", server.owner_user_name);
    let body = json!({ "password": PASSWORD });
    server.local().post(&path, body).expect(204);
    sign_in(&server, &server.owner_user_name);
    Line::of(&server).ok(&["doctor"]);
}

#[test]
fn the_newest_and_an_unknown_version_stay() {
    let server = Server::start();
    for file in super::FILES {
        retire(&server, json!({ "file": file, "version": 1 })).expect(409);
        retire(&server, json!({ "file": file, "version": 2 })).expect(404);
    }
    rotate(&server, "sealing-key");
    retire(
        &server,
        json!({ "file": "sealing-key", "version": 1, "disable_unseen": true }),
    )
    .refused_field("disable_unseen");
}

/// A repeated import recognises keys by marks under the seal key, which cannot be made again.
#[test]
fn marks_of_imported_keys_go_with_the_seal_key_on_request_alone() {
    let server = Server::start();
    let line = Line::of(&server);
    let folder = fresh_folder();
    let file = folder.join("keys.jsonl");
    let imported = json!({ "name": "imported", "digest": format!("sha256:{}", "ab".repeat(32)) });
    fs::write(&file, format!("{imported}\n")).unwrap();
    let import = ["import", "jsonl", file.to_str().unwrap()];
    line.ok(&import);
    rotate(&server, "seal-key");
    // The mark of the older version is recognised.
    line.ok(&import);
    let listed = server.admin().get("/v1/keys?q=imported").expect(200).json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 1, "{listed}");
    let mut wanted = json!({ "file": "seal-key", "version": 1 });
    let refused = retire(&server, wanted.clone()).expect(409).json();
    let said = refused["detail"].as_str().unwrap();
    assert!(said.contains("1 mark of an imported key"), "{said}");
    wanted["disable_unseen"] = json!(true);
    let retired = retire(&server, wanted).expect(200).json();
    assert_eq!(retired["marks_forgotten"], 1, "{retired}");
    line.ok(&["doctor"]);
    let _ = fs::remove_dir_all(folder);
}

//! `latchkey import` and `latchkey export`: from other systems, and from one server to another.

use super::{digest, lines};
use crate::command_line::{Line, running_and_stopped};
use crate::support::{Server, fresh_folder};
use serde_json::{Value, json};

#[test]
fn a_file_is_imported_whether_the_server_runs_or_not() {
    running_and_stopped(|line| {
        let folder = fresh_folder();
        let file = folder.join("keys.jsonl");
        let bad = json!({ "name": "bad", "digest": digest("another"), "policy": "nothing" });
        std::fs::write(&file, format!("{}{bad}\n", lines(1..=2))).unwrap();
        let file = file.to_str().unwrap();
        let dry = line.run(&["import", "jsonl", file, "--dry-run"]);
        assert!(dry.stdout.contains("2 keys would be imported"), "{dry:?}");
        let listed = line.run(&["key", "list", "--json"]);
        assert!(!listed.stdout.contains("import:jsonl"), "{listed:?}");
        let real = line.run(&["import", "jsonl", file]);
        assert_eq!(real.code, Some(1), "{real:?}");
        for words in [
            "2 keys imported, 0 there already, 1 not taken",
            "no policy",
            "SHA-256 ",
        ] {
            assert!(real.stdout.contains(words), "{words}: {real:?}");
        }
        let again = line.run(&["import", "jsonl", file, "--json"]);
        let again: Value = serde_json::from_str(&again.stdout).unwrap();
        assert_eq!((&again["taken"], &again["present"]), (&json!(0), &json!(2)));
        assert_eq!(again["not_taken"][0]["line"], 3, "{again}");
        let _ = std::fs::remove_dir_all(folder);
    });
}

#[test]
fn a_file_that_is_malformed_changes_nothing() {
    let server = Server::start();
    let line = Line::of(&server);
    for (source, text) in [
        ("jsonl", "{"),
        ("unkey", "x"),
        ("htpasswd", "alice"),
        ("kong", "["),
    ] {
        let ran = line.run_with_input(&["import", source, "-"], text);
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(ran.stderr.contains("line "), "{ran:?}");
        assert!(ran.stderr.contains("nothing was imported"), "{ran:?}");
    }
    let ran = line.run(&["import", "unknown", "-"]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
}

/// The folder of a new server with the pepper of another one.
fn with_pepper_of(server: &Server) -> Server {
    let mut other = Server::start();
    other.stop();
    let pepper = |of: &Server| std::fs::read_to_string(of.data.join("pepper")).unwrap();
    let line = pepper(server);
    let secret = line.trim().split_once(' ').unwrap().1;
    let file = other.data.join("pepper");
    let own = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{own}2 {secret}\n")).unwrap();
    other.restart();
    other.wait_until_ready();
    other
}

#[test]
fn every_key_of_an_export_works_on_a_server_with_the_same_pepper() {
    let one = Server::start();
    let admin = one.admin();
    admin.workspace("emea", "root");
    let plain = admin.issue(json!({ "name": "plain" }));
    let limited = admin.issue(json!({
        "name": "limited", "workspace": "emea", "scopes": ["a:read"], "read_only": true,
        "allowed_ips": ["10.0.0.0/8"], "rate_limit": { "limit": 5, "window_s": 60 }, "uses_left": 7,
        "metadata": { "plan": "gold" }, "description": "d", "contact": "c",
    }));
    let file = "/v1/keys/import?source=kong";
    let sent = admin.send("POST", file, "application/jsonl", lines(1..=2).as_bytes());
    sent.expect(200);
    assert_eq!(admin.verify(json!({ "key": "secret 1" }))["valid"], true);
    let export = Line::of(&one).run(&["export"]);
    assert_eq!(export.code, Some(0), "{export:?}");
    for secret in [&plain.secret, &limited.secret, "secret 1", "secret 2"] {
        assert!(!export.stdout.contains(secret));
    }
    let exported = admin
        .get("/v1/audit-events?action=key.export")
        .expect(200)
        .json();
    assert_eq!(exported["items"].as_array().unwrap().len(), 1);

    let other = with_pepper_of(&one);
    let line = Line::of(&other);
    let dry = line.run_with_input(&["import", "jsonl", "-", "--json"], &export.stdout);
    let report: Value = serde_json::from_str(&dry.stdout).unwrap();
    let told = report["not_taken"].as_array().unwrap();
    assert_eq!(told.len(), 1, "{report}");
    assert!(
        told[0]["why"]
            .as_str()
            .unwrap()
            .contains("no workspace emea here; create it")
    );
    other.admin().workspace("emea", "root");
    let ran = line.run_with_input(&["import", "jsonl", "-", "--json"], &export.stdout);
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(report["refused"], 0, "{report}");
    let there = other.admin();
    for secret in [&plain.secret, "secret 1", "secret 2"] {
        assert_eq!(
            there.verify(json!({ "key": secret }))["valid"],
            true,
            "{secret}"
        );
    }
    let ask = json!({ "key": limited.secret, "ip": "10.1.2.3" });
    let verdict = there.verify(ask);
    assert_eq!(
        (&verdict["valid"], &verdict["uses_left"]),
        (&json!(true), &json!(6)),
        "{verdict}"
    );
    there.get("/v1/whoami").expect(200);
    assert_eq!(
        one.bearer(&one.management_key)
            .get("/v1/whoami")
            .expect(200)
            .status,
        200
    );
    let (was, is) = (admin.key(&limited.id), there.key(&limited.id));
    for member in [
        "name",
        "scopes",
        "read_only",
        "allowed_ips",
        "rate_limit",
        "metadata",
        "contact",
        "created_at",
    ] {
        assert_eq!(was[member], is[member], "{member}");
    }

    let stranger = Server::start();
    let ran =
        Line::of(&stranger).run_with_input(&["import", "jsonl", "-", "--json"], &export.stdout);
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    let whys: Vec<&str> = report["not_taken"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["why"].as_str().unwrap())
        .collect();
    assert!(
        whys.iter().any(|why| why.contains("does not have")),
        "{whys:?}"
    );
    assert_eq!(
        stranger.admin().verify(json!({ "key": plain.secret }))["valid"],
        false
    );
}

#[test]
fn files_with_exported_keys_are_applied_on_a_server_with_the_same_pepper() {
    let one = Server::start();
    let admin = one.admin();
    let own = admin.issue(json!({ "name": "own", "metadata": { "plan": "gold" } }));
    let path = "/v1/keys/import?source=kong";
    let sent = admin.send("POST", path, "application/jsonl", lines(1..=2).as_bytes());
    sent.expect(200);
    assert_eq!(admin.verify(json!({ "key": "secret 1" }))["valid"], true);
    let export = Line::of(&one).run(&["export", "--format", "keys.d"]).stdout;
    let stanzas = export.split("\n[[key]]\n");
    // Only the settings permit files to declare keys that manage the server.
    let kept: Vec<&str> = stanzas
        .filter(|it| !it.contains("catalog = \"latchkey\""))
        .collect();
    let folder = fresh_folder();
    let file = folder.join("10-keys.toml");
    std::fs::write(&file, kept.join("\n[[key]]\n")).unwrap();
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&file, private).unwrap();
    let mut other = with_pepper_of(&one);
    other.stop();
    let mut other = other.with_args(&["--keys", folder.to_str().unwrap()]);
    other.restart();
    other.wait_until_ready();
    let there = other.admin();
    for secret in [&own.secret, "secret 1", "secret 2"] {
        let verdict = there.verify(json!({ "key": secret }));
        assert_eq!(
            verdict["valid"],
            true,
            "{secret}: {verdict}\n{}",
            other.log()
        );
    }
    let key = there.key(&own.id);
    assert_eq!(key["metadata"], json!({ "plan": "gold" }));
    assert!(
        key["source"].as_str().unwrap().starts_with("file:"),
        "{key}"
    );
    let _ = std::fs::remove_dir_all(folder);
}

#[test]
fn an_export_has_pages_and_is_for_administrators_of_the_root_alone() {
    let server = Server::start();
    let admin = server.admin();
    for name in ["one", "two", "two"] {
        admin.issue(json!({ "name": name }));
    }
    let first = admin.get("/v1/keys/export?limit=3").expect(200);
    let next = first.header("link").unwrap().to_owned();
    let next = next.trim_start_matches('<').split_once('>').unwrap().0;
    let second = admin.get(next).expect(200);
    let all = first.text() + &second.text();
    assert_eq!(all.lines().count(), 5, "{all}");
    assert!(
        all.lines()
            .all(|line| line.contains("\"digest\":\"latchkey:"))
    );
    let stanzas = admin
        .get("/v1/keys/export?format=keys.d")
        .expect(200)
        .text();
    assert_eq!(stanzas.matches("[[key]]").count(), 5, "{stanzas}");
    assert_eq!(stanzas.matches("name = \"two\"\n").count(), 0, "{stanzas}");
    assert_eq!(stanzas.matches("name = \"one\"\n").count(), 1, "{stanzas}");
    let partial =
        json!({ "name": "p", "catalog": "latchkey", "scopes": ["keys:write", "keys:read"] });
    let partial = server.bearer(&admin.issue(partial).secret);
    partial.get("/v1/keys/export").expect(403);
    for bad in ["format=xml", "limit=0", "limit=10001", "cursor=x", "x=1"] {
        admin.get(&format!("/v1/keys/export?{bad}")).expect(400);
    }
    let output = fresh_folder().join("out.toml");
    let ran = Line::of(&server).run(&[
        "export",
        "--format",
        "keys.d",
        "--output",
        output.to_str().unwrap(),
    ]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), ""), "{ran:?}");
    assert!(
        std::fs::read_to_string(&output)
            .unwrap()
            .contains("version = 1")
    );
    let _ = std::fs::remove_dir_all(output.parent().unwrap());
}

/// A stored digest is no secret in any form, so a stolen database opens nothing.
#[test]
fn a_digest_of_an_export_opens_nothing() {
    let server = Server::start();
    let admin = server.admin();
    let sent = admin.send(
        "POST",
        "/v1/keys/import?source=x",
        "application/jsonl",
        lines(1..=1).as_bytes(),
    );
    sent.expect(200);
    let export = admin.get("/v1/keys/export").expect(200).text();
    for line in export.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let text = line["digest"].as_str().unwrap();
        for presented in [text, text.split_once(':').unwrap().1] {
            assert_eq!(
                admin.verify(json!({ "key": presented }))["valid"],
                false,
                "{line}"
            );
        }
    }
    assert!(export.contains(&digest("secret 1")));
}

#[test]
fn an_import_into_an_unknown_workspace_names_the_command_that_creates_it() {
    let server = Server::start();
    let file = fresh_folder().join("keys.jsonl");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, lines(1..=1)).unwrap();
    let args = [
        "import",
        "jsonl",
        file.to_str().unwrap(),
        "--workspace",
        "nowhere",
    ];
    let said = Line::of(&server).refused(&args, 1);
    assert!(said.contains("latchkey workspace create nowhere"), "{said}");
}

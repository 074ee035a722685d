//! `latchkey key` and `latchkey usage`.

use super::{Line, running_and_stopped};
use crate::support::Server;
use serde_json::json;

#[test]
fn a_key_lives_its_whole_life_on_the_command_line() {
    running_and_stopped(|line| {
        let id = line.issue("billing");
        assert!(line.ok(&["key", "list"]).contains("billing"));
        assert!(line.ok(&["key", "list"]).starts_with("ID  "));
        let shown = line.ok(&["key", "show", &id]);
        assert!(shown.contains("name          billing"), "{shown}");

        let edit = [
            "key",
            "edit",
            &id,
            "--name",
            "new name",
            "--rate-limit",
            "60/1m",
            "--allow-ip",
            "10.0.0.0/8,::1",
        ];
        let edited = line.json(&edit);
        assert_eq!(edited["name"], "new name");
        assert_eq!(edited["rate_limit"], json!({"limit":60,"window_s":60}));
        assert_eq!(edited["allowed_ips"].as_array().map(Vec::len), Some(2));
        let opened = [
            "key",
            "edit",
            &id,
            "--rate-limit",
            "none",
            "--allow-ip",
            "none",
        ];
        assert!(line.json(&opened)["rate_limit"].is_null());

        assert!(line.ok(&["key", "disable", &id]).contains("now disabled"));
        assert_eq!(
            line.json(&["key", "list", "--state", "disabled"])[0]["id"],
            *id
        );
        assert!(line.ok(&["key", "enable", &id]).contains("now active"));
        assert_eq!(
            line.json(&["key", "list", "--search", "new nam"])[0]["id"],
            *id
        );

        line.ok(&["usage", &id]);
        assert_eq!(line.json(&["usage", &id]), json!([]));

        assert_eq!(
            line.ok(&["key", "delete", &id, "--yes"]),
            format!("deleted key {id}\n")
        );
        line.refused(&["key", "enable", &id], 1);
    });
}

#[test]
fn a_secret_is_shown_once_and_alone_if_asked() {
    running_and_stopped(|line| {
        let secret = line.ok(&["key", "issue", "ci", "--secret-only"]);
        assert_eq!(secret.trim_end().len(), 62, "{secret}");
        let ran = line.run_with_input(&["key", "verify"], &secret);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert!(ran.stdout.contains("VALID"));

        let id = &secret[3..13];
        let new = line.ok(&["key", "rotate", id, "--secret-only"]);
        assert_ne!(new, secret);
        let old = line.run_with_input(&["key", "verify", "--json"], &secret);
        assert_eq!(old.code, Some(1), "{old:?}");
        assert!(old.stdout.contains("NOT_FOUND"), "{old:?}");
        assert!(!line.ok(&["key", "show", id]).contains(new.trim_end()));
    });
}

#[test]
fn a_secret_is_read_from_a_file_and_never_from_arguments() {
    let server = Server::start();
    let line = Line::of(&server);
    let file = server.data.join("secret");
    std::fs::write(&file, format!("{}\n", server.secret)).unwrap();
    let path = file.to_str().unwrap();
    let verdict = line.json(&["key", "verify", "--secret-file", path]);
    assert_eq!(verdict["valid"], true);
    line.refused(&["key", "verify", &server.secret], 2);
}

#[test]
fn expiring_keys_make_the_exit_code_one() {
    running_and_stopped(|line| {
        assert_eq!(line.ok(&["key", "expiring", "--within", "14d"]), "");
        line.ok(&["key", "issue", "soon", "--expires-in", "12h"]);
        line.ok(&["key", "issue", "later", "--expires-in", "30d"]);
        let ran = line.run(&["key", "expiring", "--within", "14d"]);
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(ran.stdout.contains("soon") && !ran.stdout.contains("later"));
        assert_eq!(
            line.run(&["key", "expiring", "--within", "15m"]).code,
            Some(0)
        );
        assert_eq!(
            line.json(&["key", "expiring", "--within", "30s"]),
            json!([])
        );
    });
}

#[test]
fn refusals_are_the_servers_sentence_with_the_option() {
    running_and_stopped(|line| {
        let said = line.refused(&["key", "issue", "x", "--workspace", "nowhere"], 1);
        assert_eq!(said, "latchkey: --workspace: there is no such workspace\n");
        let said = line.refused(&["key", "issue", "x", "--owner", "nobody"], 1);
        assert!(said.starts_with("latchkey: --owner: "), "{said}");
        let said = line.refused(&["key", "show", "0000000000"], 1);
        assert_eq!(said, "latchkey: there is no such key\n");
    });
}

#[test]
fn all_pages_of_a_list_are_joined() {
    let mut server = Server::start();
    server.stop();
    let line = Line::of(&server);
    let catalog = json!({"name":"filled","scopes":[],"operations":[]}).to_string();
    assert_eq!(
        line.run_with_input(&["catalog", "put", "-"], &catalog).code,
        Some(0)
    );
    server.restart();
    for number in 0..501 {
        server
            .admin()
            .issue(json!({"name": format!("key {number}"), "catalog": "filled"}));
    }
    let keys = line.json(&["key", "list"]);
    assert_eq!(keys.as_array().map(Vec::len), Some(503));
    assert_eq!(line.ok(&["key", "list"]).lines().count(), 504);
}

#[test]
fn several_keys_are_switched_and_deleted_in_one_command_or_none_is() {
    running_and_stopped(|line| {
        let ids =
            ["one", "two"].map(|name| line.json(&["key", "issue", name])["key"]["id"].clone());
        let [one, two] = [&ids[0], &ids[1]].map(|id| id.as_str().unwrap());
        let said = line.ok(&["key", "disable", one, two]);
        assert_eq!(
            said,
            format!(
                "disabled key {one} (one), which is now disabled\ndisabled key {two} (two), which is now disabled\n"
            )
        );
        let keys = line.json(&["key", "enable", two, one]);
        assert_eq!(keys[0]["name"], "two");
        assert_eq!(keys[1]["state"], "active");
        let said = line.refused(&["key", "delete", "--yes", one, "0000000000", two], 1);
        assert_eq!(said, "latchkey: key 0000000000: there is no such key\n");
        line.refused(&["key", "delete", "--yes"], 2);
        line.refused(
            &[
                "key",
                "delete",
                "--yes",
                one,
                "--confirm-name",
                "a",
                "--confirm-name",
                "b",
            ],
            2,
        );
        assert_eq!(line.json(&["key", "show", one])["state"], "active");
        let said = line.ok(&["key", "delete", "--yes", one, two]);
        assert_eq!(said, format!("deleted key {one}\ndeleted key {two}\n"));
        assert_eq!(line.json(&["key", "show", two])["state"], "deleted");
    });
}

#[test]
fn keys_are_listed_by_members_of_their_metadata() {
    running_and_stopped(|line| {
        line.ok(&[
            "key",
            "issue",
            "a",
            "--metadata",
            r#"{"customer":"7","a.b-c":"x&y=z"}"#,
        ]);
        line.ok(&["key", "issue", "b", "--metadata", r#"{"customer":"8"}"#]);
        for args in [["--metadata", "customer=7"], ["--metadata", "a.b-c=x&y=z"]] {
            let keys = line.json(&[&["key", "list"], &args[..]].concat());
            assert_eq!(keys.as_array().map(Vec::len), Some(1), "{keys}");
            assert_eq!(keys[0]["name"], "a");
        }
        line.refused(&["key", "list", "--metadata", "customer"], 2);
        line.refused(&["key", "list", "--metadata", "a b=7"], 1);
    });
}

#[test]
fn a_key_is_handed_over() {
    running_and_stopped(|line| {
        line.ok(&["user", "create", "ada"]);
        let id = line.json(&["key", "issue", "a"])["key"]["id"].clone();
        let id = id.as_str().unwrap();
        assert_eq!(
            line.json(&["key", "edit", id, "--owner", "ada"])["owner"],
            "ada"
        );
        assert!(line.json(&["key", "edit", id, "--no-owner"])["owner"].is_null());
        line.refused(&["key", "edit", id, "--owner", "ada", "--no-owner"], 2);
    });
}

//! The life of a declared key: it is drawn, declared, edited, renamed, masked and taken away.

use super::{Drawn, Files, apply, draw, draw_with, named, verbs};
use crate::command_line::{Line, running_and_stopped};
use crate::support::Server;
use serde_json::json;

#[test]
fn a_drawn_secret_opens_what_its_stanza_says() {
    let files = Files::new();
    let drawn = draw("prometheus");
    let stanza = drawn.with(
        "scopes = [\"metrics:read\"]\nallowed_ips = [\"127.0.0.0/8\"]\nexpires_at = \"2999-12-31\"\n\
         metadata = { team = \"ops\" }\nrate_limit = { limit = 1000, window_s = 60 }",
    );
    let path = files.write("10-site.toml", &format!("\n{stanza}"));
    let mut server = files.server();

    let key = named(&server, "prometheus");
    assert_eq!(key["id"], *drawn.id);
    assert_eq!(key["source"], format!("file:{}:3", path.display()));
    assert_eq!(key["scopes"], json!(["metrics:read"]));
    assert_eq!(key["expires_at"], "3000-01-01T00:00:00Z");
    assert_eq!(key["metadata"], json!({ "team": "ops" }));
    assert_eq!(key["created_by"], "system");
    let event = server.local().newest_event();
    assert_eq!(event["action"], "key.issue");
    assert_eq!(event["actor"], "system");
    assert_eq!(event["source"], key["source"]);
    let reason = event["reason"].as_str().unwrap();
    assert!(reason.contains("SHA-256"), "{reason}");

    let asked = json!({ "key": drawn.secret, "scopes": ["metrics:read"] });
    let verdict = || server.local().verify(asked.clone())["code"].clone();
    // Without an address, a key with an address list is not accepted.
    assert_eq!(verdict(), "IP_NOT_ALLOWED");
    assert_eq!(server.anonymous().verdict(&drawn.secret), "IP_NOT_ALLOWED");
    let asked = json!({ "key": drawn.secret, "scopes": ["metrics:read"], "ip": "127.0.0.1" });
    assert_eq!(server.local().verify(asked.clone())["code"], "VALID");
    let other = json!({ "key": drawn.secret, "scopes": ["other"], "ip": "127.0.0.1" });
    assert_eq!(server.local().verify(other)["code"], "INSUFFICIENT_SCOPE");

    let events = |server: &Server| {
        let page = server.local().get("/v1/audit-events").expect(200).json();
        let items = page["items"].as_array().unwrap().clone();
        let of_files = |event: &&serde_json::Value| event["source"] == key["source"];
        items.iter().filter(of_files).count()
    };
    assert_eq!(events(&server), 1);
    server.restart();
    assert_eq!(server.local().verify(asked)["code"], "VALID");
    assert_eq!(events(&server), 1);
    assert_eq!(apply(&server), Vec::<String>::new());
}

#[test]
fn the_command_works_whether_the_server_runs_or_not() {
    running_and_stopped(|line| {
        let files = Files::new();
        let drawn = draw("ci");
        files.write("10.toml", &drawn.with(""));
        // The server reads no such folder.
        if line.run(&["keys", "apply", "--keys", "none"]).code != Some(0) {
            let said = line.refused(&["keys", "apply", "--keys", files.arg()], 1);
            assert!(said.contains("the running server reads"), "{said}");
            return;
        }
        let args = ["keys", "drift", "--keys", files.arg()];
        let ran = line.run(&args);
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(ran.stdout.contains("issue"), "{ran:?}");
        let applied = line.json(&["keys", "apply", "--dry-run", "--keys", files.arg()]);
        assert_eq!(verbs(&applied), ["issue ci"]);
        assert_eq!(line.json(&["key", "list", "--source", "file"]), json!([]));
        let applied = line.json(&["keys", "apply", "--keys", files.arg()]);
        assert_eq!(verbs(&applied), ["issue ci"]);
        assert_eq!(line.run(&args).code, Some(0));
        let listed = line.json(&["key", "list", "--source", "file"]);
        assert_eq!(listed[0]["id"], *drawn.id);
        let ran = line.run_with_input(&["key", "verify"], &drawn.secret);
        assert_eq!(ran.code, Some(0), "{ran:?}");
    });
}

#[test]
fn an_edit_of_the_file_is_an_edit_of_the_key() {
    let files = Files::new();
    let drawn = draw("one");
    files.write(
        "10.toml",
        &drawn.with("scopes = [\"a\", \"b\"]\nuses_left = 5\ndescription = \"x\""),
    );
    let server = files.server();
    let verdict = || server.anonymous().verdict(&drawn.secret);
    assert_eq!(verdict(), "VALID");

    files.write(
        "10.toml",
        &drawn.with("scopes = [\"b\"]\nuses_left = 5\nnot_before = \"2000-01-01\""),
    );
    let applied = Line::of(&server).json(&["keys", "apply"]);
    assert_eq!(verbs(&applied), ["edit one"]);
    assert_eq!(
        applied["changes"][0]["members"],
        json!(["description", "scopes", "not_before"])
    );
    let key = named(&server, "one");
    assert_eq!(
        (&key["scopes"], &key["description"]),
        (&json!(["b"]), &json!(""))
    );
    // The number of uses was not touched in the file, so those that are spent stay spent.
    assert_eq!(key["uses_left"], 4);

    files.write(
        "10.toml",
        &drawn.with("scopes = [\"b\"]\nuses_left = 9\nnot_before = \"2000-01-01\""),
    );
    assert_eq!(apply(&server), ["edit one"]);
    assert_eq!(named(&server, "one")["uses_left"], 9);

    files.write(
        "10.toml",
        &drawn.with("scopes = [\"b\"]\nuses_left = 9\nenabled = false"),
    );
    assert_eq!(apply(&server), ["edit one"]);
    assert_eq!(verdict(), "DISABLED");
    files.write("10.toml", &drawn.with("scopes = [\"b\"]\nuses_left = 9"));
    assert_eq!(apply(&server), ["enable one"]);
    assert_eq!(verdict(), "VALID");

    // Another line, and nothing else: no event, and the new place.
    let before = server.local().newest_event()["seq"].clone();
    files.write(
        "10.toml",
        &format!(
            "\n\n# A comment\n{}",
            drawn.with("uses_left = 9\nscopes = [\"b\"]")
        ),
    );
    assert_eq!(apply(&server), Vec::<String>::new());
    let source = named(&server, "one")["source"].clone();
    assert!(source.as_str().unwrap().ends_with("10.toml:5"), "{source}");
    assert_eq!(server.local().newest_event()["seq"], before);
    assert_eq!(verdict(), "VALID");
}

#[test]
fn a_key_keeps_its_id_when_its_name_changes() {
    let files = Files::new();
    let (one, two) = (draw("one"), draw("two"));
    files.write("10.toml", &(one.with("") + &two.with("")));
    let server = files.server();
    let rename = |drawn: &Drawn, to: &str| {
        let name = drawn.stanza.lines().nth(1).unwrap();
        drawn.with("").replace(name, &format!("name = \"{to}\""))
    };
    files.write("10.toml", &(rename(&one, "three") + &two.with("")));
    assert_eq!(apply(&server), ["edit three"]);
    assert_eq!(named(&server, "three")["id"], *one.id);

    // Each has the name of the other.
    files.write("10.toml", &(rename(&one, "two") + &rename(&two, "three")));
    let mut changes = apply(&server);
    changes.sort();
    assert_eq!(changes, ["edit three", "edit two"]);
    for drawn in [&one, &two] {
        assert_eq!(server.anonymous().verdict(&drawn.secret), "VALID");
    }
    assert_eq!(named(&server, "two")["id"], *one.id);
}

#[test]
fn a_new_digest_is_a_rotation_and_the_old_one_never_comes_back() {
    let files = Files::new();
    let old = draw("one");
    files.write("10.toml", &old.with(""));
    let server = files.server();
    let new = draw_with(&["one", "--id", &old.id]);
    assert_eq!(new.id, old.id);
    files.write("10.toml", &new.with(""));
    assert_eq!(apply(&server), ["rotate one"]);
    assert_eq!(server.anonymous().verdict(&new.secret), "VALID");
    assert_eq!(server.anonymous().verdict(&old.secret), "NOT_FOUND");
    let event = server.local().newest_event();

    files.write("10.toml", &old.with(""));
    let applied = Line::of(&server).json(&["keys", "apply"]);
    assert_eq!(verbs(&applied), Vec::<String>::new());
    let warning = applied["warnings"][0]["reason"].as_str().unwrap();
    let date = &event["at"].as_str().unwrap()[..10];
    let expected = format!(
        "digest was ended {date} (event {}); draw a new secret",
        event["seq"]
    );
    assert_eq!(warning, expected);
    assert_eq!(applied["warnings"][0]["line"], 2);
    assert_eq!(server.anonymous().verdict(&new.secret), "VALID");
    assert_eq!(server.anonymous().verdict(&old.secret), "NOT_FOUND");
    assert_eq!(Line::of(&server).run(&["keys", "drift"]).code, Some(1));

    // Another id is another key; the first one ends.
    let other = draw("one");
    files.write("10.toml", &other.with(""));
    assert_eq!(apply(&server), ["delete one", "issue one"]);
    assert_eq!(server.anonymous().verdict(&new.secret), "NOT_FOUND");
    assert_eq!(server.anonymous().verdict(&other.secret), "VALID");
}

#[test]
fn what_a_file_names_no_more_is_kept_disabled_or_deleted() {
    for (absent, verb, verdict) in [
        ("", "release", "VALID"),
        ("absent = \"keep\"\n", "release", "VALID"),
        ("absent = \"disable\"\n", "disable", "DISABLED"),
        ("absent = \"delete\"\n", "delete", "NOT_FOUND"),
    ] {
        let files = Files::new();
        let (stays, goes) = (draw("stays"), draw("goes"));
        let both = format!("{absent}{}{}", stays.with(""), goes.with(""));
        files.write("10.toml", &both);
        let server = files.server();
        files.write("10.toml", &format!("{absent}{}", stays.with("")));
        assert_eq!(apply(&server), [format!("{verb} goes")], "{absent}");
        assert_eq!(
            server.anonymous().verdict(&goes.secret),
            verdict,
            "{absent}"
        );
        assert_eq!(server.anonymous().verdict(&stays.secret), "VALID");
        // Once is enough.
        assert_eq!(apply(&server), Vec::<String>::new(), "{absent}");

        files.write("10.toml", &both);
        let applied = Line::of(&server).json(&["keys", "apply"]);
        match verb {
            "delete" => {
                let warning = applied["warnings"][0]["reason"].as_str().unwrap();
                assert!(warning.starts_with("digest was ended"), "{warning}");
                assert_eq!(server.anonymous().verdict(&goes.secret), "NOT_FOUND");
            }
            _ => assert_eq!(
                server.anonymous().verdict(&goes.secret),
                "VALID",
                "{applied}"
            ),
        }
    }
}

#[test]
fn a_file_that_is_gone_disables_at_most() {
    let files = Files::new();
    let drawn = draw("one");
    files.write(
        "10.toml",
        &format!("absent = \"delete\"\n{}", drawn.with("")),
    );
    let server = files.server();
    files.remove("10.toml");
    assert_eq!(apply(&server), ["disable one"]);
    assert_eq!(server.anonymous().verdict(&drawn.secret), "DISABLED");
    files.write(
        "10.toml",
        &format!("absent = \"delete\"\n{}", drawn.with("")),
    );
    assert_eq!(apply(&server), ["enable one"]);
    assert_eq!(server.anonymous().verdict(&drawn.secret), "VALID");
}

#[test]
fn a_later_folder_replaces_and_masks_the_keys_of_an_earlier_one() {
    let (maker, site) = (Files::new(), Files::new());
    let [plain, replaced, masked] = ["plain", "replaced", "masked"].map(draw);
    let all = [&plain, &replaced, &masked].map(|drawn| drawn.with("scopes = [\"maker\"]"));
    maker.write("10.toml", &all.concat());
    let own = draw("replaced");
    let mask = "[[key]]\nname = \"masked\"\nmask = true\n";
    let args = ["--keys", maker.arg(), "--keys", site.arg()];
    let mut server = Server::start_with(&args, &[]);
    assert_eq!(server.anonymous().verdict(&masked.secret), "VALID");

    site.write("10.toml", &(own.with("scopes = [\"site\"]") + mask));
    let mut changes = apply(&server);
    changes.sort();
    assert_eq!(
        changes,
        ["delete replaced", "disable masked", "issue replaced"]
    );
    assert_eq!(server.anonymous().verdict(&masked.secret), "DISABLED");
    assert_eq!(server.anonymous().verdict(&replaced.secret), "NOT_FOUND");
    assert_eq!(server.anonymous().verdict(&own.secret), "VALID");
    assert_eq!(named(&server, "plain")["scopes"], json!(["maker"]));
    assert_eq!(named(&server, "replaced")["scopes"], json!(["site"]));
    server.restart();
    assert_eq!(server.anonymous().verdict(&masked.secret), "DISABLED");

    // Without the mask, the key of the maker is there again.
    site.write("10.toml", &own.with("scopes = [\"site\"]"));
    assert_eq!(apply(&server), ["enable masked"]);
    assert_eq!(server.anonymous().verdict(&masked.secret), "VALID");

    // A mask of nothing is probably a typing error.
    site.write(
        "10.toml",
        &(own.with("scopes = [\"site\"]") + &mask.replace("masked", "maskd")),
    );
    let applied = Line::of(&server).json(&["keys", "apply"]);
    let warning = applied["warnings"][0]["reason"].as_str().unwrap();
    assert!(
        warning.contains("no earlier folder declares a key maskd"),
        "{warning}"
    );
}

#[test]
fn a_command_or_a_start_without_the_folder_takes_nothing_away_by_mistake() {
    let files = Files::new();
    let drawn = draw("one");
    files.write(
        "10.toml",
        &format!("absent = \"delete\"\n{}", drawn.with("")),
    );
    let mut server = files.server();
    server.stop();
    let line = Line::of(&server);
    let said = line.refused(&["keys", "apply"], 1);
    let words = format!("it is not named now; add --keys {}", files.arg());
    assert!(said.contains(&words), "{said}");
    let mut server = server.with_args(&["--keys", "none"]);
    server.restart();
    assert_eq!(server.anonymous().verdict(&drawn.secret), "VALID");
    let edit = json!({ "description": "x" });
    let path = format!("/v1/keys/{}", drawn.id);
    server.local().patch(&path, edit.clone()).expect(409);

    // A start with other folders means it.
    let mut server = server.with_args(&[]);
    server.restart();
    assert_eq!(server.anonymous().verdict(&drawn.secret), "DISABLED");
    server.local().patch(&path, edit).expect(200);
}

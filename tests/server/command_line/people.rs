//! `latchkey user`, `latchkey workspace` and `latchkey policy`.

use super::running_and_stopped;
use crate::support::Server;
use serde_json::json;

const PASSWORD: &str = "seven quiet lamps by the pier";

#[test]
fn workspaces_are_managed() {
    running_and_stopped(|line| {
        assert_eq!(line.json(&["workspace", "create", "emea"])["slug"], "emea");
        let paris = [
            "workspace",
            "create",
            "paris",
            "--name",
            "Paris office",
            "--parent",
            "emea",
        ];
        assert!(line.ok(&paris).contains("Paris office"));
        assert!(line.ok(&["workspace", "list"]).contains("paris"));
        assert_eq!(
            line.json(&["workspace", "disable", "paris"])["enabled"],
            false
        );
        assert_eq!(
            line.json(&["workspace", "enable", "paris"])["enabled"],
            true
        );
        let moved = line.json(&["workspace", "edit", "paris", "--parent", "root"]);
        assert_eq!(
            moved["parent"],
            line.json(&["workspace", "show", "root"])["uid"]
        );
        assert_eq!(
            line.ok(&["workspace", "delete", "paris", "--yes"]),
            "deleted workspace paris\n"
        );
        line.refused(&["workspace", "show", "paris"], 1);
        line.ok(&["workspace", "create", "lyon", "--parent", "emea"]);
        line.refused(&["workspace", "delete", "emea", "--yes"], 1);
        let said = line.refused(&["workspace", "delete", "emea"], 2);
        assert!(said.contains("--yes"), "{said}");
        line.ok(&["workspace", "delete", "emea", "--recursive", "--yes"]);
        line.refused(&["workspace", "show", "lyon"], 1);
    });
}

#[test]
fn users_are_managed() {
    running_and_stopped(|line| {
        line.ok(&["workspace", "create", "emea"]);
        let create = [
            "user",
            "create",
            "alice",
            "--workspace",
            "emea",
            "--role",
            "auditor@root,key_manager@emea",
        ];
        let alice = line.json(&create);
        assert_eq!(alice["roles"].as_array().map(Vec::len), Some(2), "{alice}");
        let table = line.ok(&["user", "list"]);
        assert!(table.contains("key_manager@emea"), "{table}");
        let edited = line.json(&["user", "edit", "alice", "--email", "alice@example.com"]);
        assert_eq!(edited["email"], "alice@example.com");
        assert!(line.json(&["user", "edit", "alice", "--email", "none"])["email"].is_null());
        assert_eq!(line.json(&["user", "disable", "alice"])["enabled"], false);
        assert_eq!(line.json(&["user", "enable", "alice"])["enabled"], true);
        let roles = line.json(&["user", "roles", "alice", "--set", "member@emea"]);
        assert_eq!(
            roles["roles"],
            json!([{"workspace":"emea","role":"member"}])
        );
        assert_eq!(
            line.json(&["user", "roles", "alice", "--clear"])["roles"],
            json!([])
        );
        let shown = line.ok(&["user", "roles", "alice"]);
        let mut lines = shown.lines();
        assert!(
            lines.any(|line| line.starts_with("roles ") && line.ends_with(" -")),
            "{shown}"
        );
        line.refused(&["user", "roles", "alice", "--set", "king@emea"], 1);
        assert_eq!(
            line.ok(&["user", "delete", "alice", "--yes"]),
            "deleted user alice\n"
        );
        line.refused(&["user", "show", "alice"], 1);
    });
}

#[test]
fn passwords_come_from_standard_input_or_a_file() {
    let mut server = Server::start();
    let line = super::Line::of(&server);
    let typed = format!("{PASSWORD}\n");
    let created = line.run_with_input(&["user", "create", "bob", "--password"], &typed);
    assert_eq!(created.code, Some(0), "{created:?}");
    let sign_in = |server: &Server, password: &str| {
        let body = json!({"user_name":"bob","password":password});
        server.anonymous().post("/v1/sessions", body).status
    };
    assert_eq!(sign_in(&server, PASSWORD), 201);

    server.stop();
    let file = server.data.join("new-password");
    std::fs::write(&file, "another long password\n").unwrap();
    let path = file.to_str().unwrap();
    line.ok(&["user", "password", "bob", "--password-file", path]);
    server.restart();
    assert_eq!(sign_in(&server, PASSWORD), 401);
    assert_eq!(sign_in(&server, "another long password"), 201);

    let short = line.run_with_input(&["user", "password", "bob"], "short\n");
    assert_eq!(short.code, Some(1));
    assert!(
        short.stderr.starts_with("latchkey: password: "),
        "{short:?}"
    );
    assert_eq!(line.run(&["user", "password", "bob"]).code, Some(2));
}

#[test]
fn policies_are_shown() {
    running_and_stopped(|line| {
        assert!(line.ok(&["policy", "list"]).contains("standard"));
        let listed = line.json(&["policy", "list"]);
        let standard = |policy: &serde_json::Value| policy["name"] == "standard";
        assert!(listed.as_array().unwrap().iter().any(standard));
        assert_eq!(
            line.json(&["policy", "show", "standard"])["expiry"],
            "optional"
        );
        line.refused(&["policy", "show", "none"], 1);
    });
}

#[test]
fn policies_are_put_and_deleted_and_a_sealed_secret_is_revealed() {
    running_and_stopped(|line| {
        let mut policy = line.json(&["policy", "show", "standard"]);
        policy["name"] = json!("strict");
        policy["secret_shown"] = json!("sealed");
        let put = |policy: &serde_json::Value| {
            line.run_with_input(&["policy", "put", "-", "--json"], &policy.to_string())
        };
        let created = put(&policy);
        assert_eq!(created.code, Some(0), "{created:?}");
        policy["description"] = json!("Stricter");
        let edited = put(&policy);
        assert_eq!(edited.code, Some(0), "{edited:?}");
        assert!(edited.stdout.contains("Stricter"));

        let issue = ["key", "issue", "x", "--policy", "strict", "--secret-only"];
        let secret = line.ok(&issue);
        let id = &secret[3..13];
        assert_eq!(line.ok(&["key", "reveal", id, "--secret-only"]), secret);

        policy["name"] = json!("unused");
        assert_eq!(put(&policy).code, Some(0));
        line.ok(&["policy", "delete", "unused", "--yes"]);
        line.refused(&["policy", "show", "unused"], 1);
    });
}

/// finding S9
#[test]
fn leaving_users_name_the_management_keys_that_belong_to_nobody() {
    running_and_stopped(|line| {
        let issued = line.json(&[
            "key",
            "issue",
            "by hand",
            "--catalog",
            "latchkey",
            "--scope",
            "keys:read",
            "--no-owner",
        ]);
        assert!(issued["key"]["owner"].is_null());
        let told = line.ok(&[
            "key",
            "list",
            "--created-by",
            "local:0",
            "--search",
            "by hand",
        ]);
        let other = line.ok(&["key", "list", "--created-by", "user:nobody"]);
        let actor = issued["key"]["created_by"].as_str().unwrap();
        assert_eq!(told.contains("by hand"), actor == "local:0");
        let own = line.ok(&["key", "list", "--created-by", actor]);
        assert!(own.contains("by hand") && !other.contains("by hand"));
        line.ok(&["user", "create", "alice"]);
        assert_eq!(
            line.json(&["user", "disable", "alice"])["ownerless_keys"],
            json!([])
        );
        line.ok(&["user", "disable", "alice", "--end-keys"]);
        let said = line.ok(&["user", "delete", "alice", "--end-keys", "--yes"]);
        assert_eq!(said, "deleted user alice\n");
    });
}

/// finding S9
#[test]
fn keys_that_a_deleted_user_made_are_printed() {
    let server = Server::start();
    let admin = server.admin();
    let line = super::Line::of(&server);
    for (user, more, words) in [
        ("ann", &[][..], "still work"),
        ("bob", &["--end-keys"][..], "now deleted"),
    ] {
        admin.person(user, "owner", "root");
        let signed_in = server.anonymous().signed_in(user, crate::support::PASSWORD);
        let key = json!({ "name": "left behind", "catalog": "latchkey", "scopes": ["keys:read"], "owner": null });
        let key = signed_in.issue(key);
        let mut disable = vec!["user", "disable", user];
        disable.extend(more);
        let said = line.ok(&disable);
        assert!(said.contains(&key.id) && said.contains(words), "{said}");
        let works = server.bearer(&key.secret).get("/v1/keys").status == 200;
        assert_eq!(works, more.is_empty());
        let said = line.ok(&["user", "delete", user, "--yes"]);
        assert_eq!(said.contains(&key.id), more.is_empty(), "{said}");
    }
}

//! Policies and catalogs in the same files, and the rules that hold for keys of files as for any other.

use super::{Files, apply, draw, named, refused};
use serde_json::json;

const CATALOG: &str = "[[catalog]]\nname = \"metrics\"\nscopes = [{ name = \"metrics:read\", label = \"Read metrics\" }]\n\
                       [[catalog.operations]]\nid = \"read\"\nmethod = \"GET\"\npath = \"/metrics\"\naccess = \"read\"\n\
                       any_of = [\"metrics:read\"]\n";
const POLICY: &str = "[[policy]]\nname = \"short\"\nexpiry = \"required\"\nexpiry_s_max = 31536000\ncatalog = \"metrics\"\n";

/// The first day of a month, five to six months after a time.
fn half_a_year_after(at: &str) -> String {
    let (year, month): (u32, u32) = (at[..4].parse().unwrap(), at[5..7].parse().unwrap());
    match month {
        1..=6 => format!("{year}-{:02}-01", month + 6),
        _ => format!("{}-{:02}-01", year + 1, month - 6),
    }
}

#[test]
fn policies_and_catalogs_are_declared_in_the_same_files() {
    let files = Files::new();
    let drawn = draw("prometheus");
    let members = "policy = \"short\"\nscopes = [\"metrics:read\"]\nexpires_at = 2999-01-01\n";
    let path = files.write("10.toml", &(drawn.with(members) + POLICY + CATALOG));
    let server = files.server();
    // A year at most.
    assert!(server.log().contains("expires_at"), "{}", server.log());
    assert_eq!(refused(&server).len(), 1);
    assert!(refused(&server)[0].starts_with(&format!("{}:2: expires_at", path.display())));
    assert_eq!(
        server.local().get("/v1/policies/short").status,
        404,
        "nothing is applied"
    );

    let newest = server.local().newest_event();
    let members = members.replace(
        "2999-01-01",
        &half_a_year_after(newest["at"].as_str().unwrap()),
    );
    files.write("10.toml", &(drawn.with(&members) + POLICY + CATALOG));
    let mut changes = apply(&server);
    changes.sort();
    assert_eq!(changes, ["create short", "issue prometheus", "put metrics"]);
    let policy = server.local().get("/v1/policies/short").expect(200).json();
    assert_eq!(policy["expiry_s_max"], 31_536_000);
    assert!(
        policy["source"].as_str().unwrap().starts_with("file:"),
        "{policy}"
    );
    let catalog = server
        .local()
        .get("/v1/catalogs/metrics")
        .expect(200)
        .json();
    assert_eq!(catalog["operations"][0]["path"], "/metrics");
    assert!(catalog["source"].as_str().unwrap().starts_with("file:"));
    assert_eq!(named(&server, "prometheus")["policy"], "short");
    assert_eq!(apply(&server), Vec::<String>::new());

    // Both are changed in the file and nowhere else.
    for refusal in [
        server
            .local()
            .patch("/v1/policies/short", json!({ "description": "x" })),
        server.local().delete("/v1/policies/short"),
        server
            .local()
            .put("/v1/catalogs/metrics", json!({ "scopes": [] })),
        server.local().delete("/v1/catalogs/metrics"),
    ] {
        let refusal = refusal.expect(409).text();
        assert!(refusal.contains("is declared in"), "{refusal}");
        assert!(refusal.contains("10.toml:"), "{refusal}");
    }

    // While keys follow it, a policy becomes stricter and nothing else.
    let looser = POLICY.replace("31536000", "63072000");
    files.write("10.toml", &(drawn.with(&members) + &looser + CATALOG));
    assert!(
        refused(&server)[0].contains("can only be made stricter")
            || refused(&server)[0].contains("stricter"),
        "{:?}",
        refused(&server)
    );
    let stricter = POLICY.replace("31536000", "31530000");
    files.write("10.toml", &(drawn.with(&members) + &stricter + CATALOG));
    assert_eq!(apply(&server), ["edit short"]);

    // Taken out of the file, they stay and are edited by hand again.
    files.write("10.toml", &drawn.with(&members));
    let mut changes = apply(&server);
    changes.sort();
    assert_eq!(changes, ["release metrics", "release short"]);
    let description = json!({ "description": "by hand" });
    server
        .local()
        .patch("/v1/policies/short", description)
        .expect(200);
}

#[test]
fn a_catalog_that_loses_a_scope_is_refused_while_a_file_gives_it_to_a_key() {
    let files = Files::new();
    let drawn = draw("one");
    let key = drawn.with("catalog = \"shop\"\nscopes = [\"a\"]");
    let catalog = |scope: &str| {
        format!(
            "[[catalog]]\nname = \"shop\"\nscopes = [{{ name = \"{scope}\" }}, {{ name = \"c\" }}]\n"
        )
    };
    files.write("10.toml", &(key.clone() + &catalog("a")));
    let server = files.server();
    assert_eq!(named(&server, "one")["scopes"], json!(["a"]));
    files.write("10.toml", &(key + &catalog("b")));
    let complaints = refused(&server);
    assert!(
        complaints[0].contains("10.toml:2: scopes[0]"),
        "{complaints:?}"
    );
    assert_eq!(
        named(&server, "one")["scopes"],
        json!(["a"]),
        "nothing is applied"
    );
}

#[test]
fn a_stanza_that_breaks_its_policy_or_names_what_is_not_there_is_refused_with_its_line() {
    let files = Files::new();
    let good = draw("good");
    files.write("10.toml", &good.with(""));
    let server = files.server();
    let policy = json!({ "name": "tight", "expiry": "required", "addresses": "off", "keys_per_workspace_max": 1 });
    server.local().post("/v1/policies", policy).expect(201);
    for (members, reason) in [
        ("policy = \"tight\"", "expires_at"),
        (
            "policy = \"tight\"\nexpires_at = 2999-01-01\nallowed_ips = [\"192.0.2.1\"]",
            "allowed_ips",
        ),
        ("policy = \"none\"", "policy"),
        ("workspace = \"nowhere\"", "workspace"),
        ("owner = \"nobody\"", "owner"),
        ("catalog = \"none\"\nscopes = [\"a\"]", "catalog"),
        ("expires_at = 1999-01-01", "expires_at"),
        ("allowed_ips = [\"192.0.2.1/8\"]", "allowed_ips[0]"),
        (
            "not_before = 2999-01-02\nexpires_at = 2999-01-01",
            "not_before",
        ),
        ("rate_limit = { limit = 1, window_s = 0 }", "rate_limit"),
    ] {
        let bad = draw("bad");
        let path = files.write("20.toml", &format!("\n{}", bad.with(members)));
        let complaints = refused(&server);
        assert_eq!(complaints.len(), 1, "{members}: {complaints:?}");
        let start = format!("{}:3: {reason}", path.display());
        assert!(
            complaints[0].starts_with(&start),
            "{members}: {complaints:?}"
        );
        assert_eq!(server.anonymous().verdict(&bad.secret), "NOT_FOUND");
        assert_eq!(server.anonymous().verdict(&good.secret), "VALID");
    }
    // Two keys of a policy that allows one in a workspace.
    let two =
        ["one", "two"].map(|name| draw(name).with("policy = \"tight\"\nexpires_at = 2999-01-01"));
    files.write("20.toml", &two.concat());
    let complaints = refused(&server);
    assert_eq!(complaints.len(), 1, "{complaints:?}");
    assert!(
        complaints[0].contains("policy tight allows 1 key in a workspace"),
        "{complaints:?}"
    );
}

#[test]
fn the_policy_the_workspace_and_the_catalog_of_a_key_never_change() {
    let files = Files::new();
    let drawn = draw("one");
    files.write("10.toml", &drawn.with(""));
    let server = files.server();
    server.local().workspace("emea", "root");
    server
        .local()
        .post("/v1/policies", json!({ "name": "other" }))
        .expect(201);
    for (member, before) in [
        (
            "workspace = \"emea\"",
            "workspace of a key never changes: it is root",
        ),
        (
            "policy = \"other\"",
            "policy of a key never changes: it is standard",
        ),
    ] {
        files.write("10.toml", &drawn.with(member));
        let complaints = refused(&server);
        assert!(complaints[0].contains(before), "{complaints:?}");
    }
}

#[test]
fn rights_on_this_server_need_a_setting_that_is_not_in_the_files() {
    let files = Files::new();
    let drawn = draw("deploy");
    files.write(
        "10.toml",
        &drawn.with("catalog = \"latchkey\"\nscopes = [\"keys:read\"]"),
    );
    let mut server = files.server();
    let complaints = refused(&server);
    assert!(
        complaints[0].contains("keys_allow_management"),
        "{complaints:?}"
    );
    let list =
        |server: &crate::support::Server| server.bearer(&drawn.secret).get("/v1/keys").status;
    assert_eq!(list(&server), 401);

    let args = ["--keys", files.arg(), "--keys-allow-management"];
    server = server.with_args(&args);
    server.restart();
    assert_eq!(list(&server), 200);

    // Never with the secret of another system.
    files.write(
        "10.toml",
        &format!(
            "[[key]]\nname = \"foreign\"\n{}catalog = \"latchkey\"\nscopes = [\"keys:read\"]\n",
            super::digest("a-secret-of-another-system")
        ),
    );
    let complaints = refused(&server);
    assert!(
        complaints[0].contains("its strength is unknown"),
        "{complaints:?}"
    );
}

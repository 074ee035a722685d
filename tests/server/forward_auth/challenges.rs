//! Challenges: what a refused client learns about the credential that it needs (RFC 6750, RFC 9728).

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::support::{Server, User};

const REALM: &str = "Bearer realm=\"latchkey\"";
const INVALID: &str = "Bearer realm=\"latchkey\", error=\"invalid_token\"";
const LACKS: &str = "Bearer realm=\"latchkey\", error=\"insufficient_scope\"";
const URL: &str = "https://api.example/.well-known/oauth-protected-resource";

fn put(server: &Server, name: &str, metadata: Option<&str>) {
    let operation = |id: &str, path: &str, members: Value| {
        let mut operation = json!({ "id": id, "method": "GET", "path": path, "access": "read" });
        let members = members.as_object().unwrap().clone();
        operation.as_object_mut().unwrap().extend(members);
        operation
    };
    let mut catalog = json!({
        "scopes": [{ "name": "r" }, { "name": "w" }, { "name": "x" }],
        "operations": [
            operation("one", "/one", json!({ "any_of": ["w", "r"] })),
            operation("all", "/all", json!({ "all_of": ["w", "r"], "any_of": ["x"] })),
            operation("any", "/any", json!({ "any_key": true })),
            operation("closed", "/closed", json!({ "any_of": [] })),
        ],
    });
    if let Some(url) = metadata {
        catalog["resource_metadata"] = json!(url);
    }
    let path = format!("/v1/catalogs/{name}");
    server.admin().put(&path, catalog).expect(201);
}

/// The only challenge of an answer.
fn challenge(user: &User, path: &str, query: &str) -> (u16, Option<String>) {
    let user = user.clone().with("X-Forwarded-Method", "GET");
    let user = user.with("X-Forwarded-Uri", path);
    let answer = user.get(&format!("/auth/traefik?{query}"));
    let all = answer.headers.iter();
    let all = all.filter(|(name, _)| name == "www-authenticate");
    let all: Vec<&String> = all.map(|(_, value)| value).collect();
    assert!(all.len() <= 1, "{all:?}");
    (answer.status, all.first().map(|value| (*value).clone()))
}

#[test]
fn a_request_without_an_accepted_key_learns_which_scopes_it_needs() {
    let server = Server::start();
    put(&server, "some", None);
    let nobody = server.anonymous();
    let bad = server.bearer("lk_no_such_secret");
    for (path, query, scopes) in [
        ("/one", "catalog=some", "r w"),
        ("/all", "catalog=some", "r w x"),
        ("/one", "catalog=some&scope=x", "r w x"),
        ("/one", "scope=b,a", "a b"),
        ("/any", "catalog=some", ""),
        ("/closed", "catalog=some", ""),
        ("/unknown", "catalog=some", ""),
        ("/one//", "catalog=some", ""),
        ("/one", "catalog=nothing", ""),
        ("/one", "catalogue=some", ""),
        ("/one", "workspace=root", ""),
        ("/one", "", ""),
    ] {
        let named = match scopes {
            "" => String::new(),
            scopes => format!(", scope=\"{scopes}\""),
        };
        // Without a credential the answer names no error (RFC 6750, section 3.1).
        let expected = (401, Some(format!("{REALM}{named}")));
        assert_eq!(challenge(&nobody, path, query), expected, "{path} {query}");
        let expected = match query {
            // The question itself is wrong, so no key is judged.
            "catalog=nothing" | "catalogue=some" => (403, None),
            _ => (401, Some(format!("{INVALID}{named}"))),
        };
        assert_eq!(challenge(&bad, path, query), expected, "{path} {query}");
    }
    // A client of Caddy that names a catalog in its own query learns nothing of it.
    let caddy = nobody.with("X-Forwarded-Method", "GET");
    let caddy = caddy.with("X-Forwarded-Uri", "/one?catalog=some");
    let answer = caddy.get("/auth/caddy?catalog=some").expect(401);
    assert_eq!(answer.header("www-authenticate"), Some(REALM));
}

#[test]
fn a_challenge_names_the_metadata_of_its_catalog() {
    let server = Server::start();
    put(&server, "some", Some(URL));
    put(&server, "other", None);
    let told = format!("resource_metadata=\"{URL}\"");
    let nobody = server.anonymous();
    let of = |catalog: &str| {
        let key = json!({ "name": "k", "catalog": catalog, "scopes": ["w"] });
        server.bearer(&server.admin().issue(key).secret)
    };
    let expected = (401, Some(format!("{REALM}, scope=\"r w\", {told}")));
    assert_eq!(challenge(&nobody, "/one", "catalog=some"), expected);
    let expected = (401, Some(format!("{REALM}, {told}")));
    assert_eq!(challenge(&nobody, "/unknown", "catalog=some"), expected);
    let expected = (403, Some(format!("{LACKS}, scope=\"r x\", {told}")));
    assert_eq!(challenge(&of("some"), "/all", "catalog=some"), expected);
    let expected = (403, Some(format!("{LACKS}, {told}")));
    assert_eq!(challenge(&of("other"), "/all", "catalog=some"), expected);
    // Another refusal is not about scopes, and has no challenge.
    assert_eq!(
        challenge(&of("some"), "/unknown", "catalog=some"),
        (403, None)
    );
    let expected = (401, Some(format!("{REALM}, scope=\"r w\"")));
    assert_eq!(challenge(&nobody, "/one", "catalog=other"), expected);
    let expected = (401, Some(REALM.to_owned()));
    assert_eq!(challenge(&nobody, "/one", "workspace=root"), expected);
}

#[test]
fn the_metadata_of_a_catalog_is_a_url_that_a_challenge_can_contain() {
    let server = Server::start();
    let admin = server.admin();
    let longest = format!("https://a/{}", "x".repeat(490));
    for good in [URL, "https://api.example:8443/a?b=c", longest.as_str()] {
        let body = json!({ "resource_metadata": good });
        let status = admin.put("/v1/catalogs/some", body).status;
        assert!(matches!(status, 200 | 201), "{good}");
        let shown = admin.get("/v1/catalogs/some").json();
        assert_eq!(shown["resource_metadata"], good);
    }
    let too_long = format!("{longest}x");
    for bad in [
        "",
        "http://api.example/a",
        "https://",
        "https:///a",
        "https://a b/",
        "https://a/\"",
        "https://a/\\",
        "https://a/#b",
        "https://a/\u{e9}",
        "https://a/\r\nX: y",
        "https://user@a/",
        too_long.as_str(),
    ] {
        let body = json!({ "resource_metadata": bad });
        let refused = admin.put("/v1/catalogs/some", body);
        refused.refused_field("resource_metadata");
    }
    // A change is in the audit log, and a catalog without the member has none.
    admin.put("/v1/catalogs/some", json!({})).expect(200);
    let shown = admin.get("/v1/catalogs/some").json();
    assert_eq!(shown.get("resource_metadata"), None, "{shown}");
}

/// The package and its version; `dev/python` installs it below `target/`.
const MCP: &str = "mcp==2.3.0";

/// Prints what the client of the Model Context Protocol takes from the challenge of an answer.
const READER: &str = "
import sys, httpx2
from mcp.client.auth import utils
url, headers = sys.argv[1], dict(pair.split('=', 1) for pair in sys.argv[2:])
answer = httpx2.get(url, headers=headers)
print(answer.status_code)
print(utils.extract_scope_from_www_auth(answer))
print(utils.extract_resource_metadata_from_www_auth(answer))
print(utils.extract_field_from_www_auth(answer, 'error'))
";

/// The Python of the package. `None` if it is not installed, which is a failure only where all tests must run.
fn python() -> Option<PathBuf> {
    let tree = Path::new(env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("LATCHKEY_TEST_ALL").is_some() {
        let mut install = Command::new(tree.join("dev/python"));
        let done = install.args(["mcp", MCP]).output().unwrap();
        assert!(done.status.success(), "{done:?}");
    }
    let folder = tree.join("target/python/mcp");
    let packages = std::fs::read_to_string(folder.join("packages")).unwrap_or_default();
    (packages.trim() == MCP).then(|| folder.join("bin/python3"))
}

#[test]
fn clients_of_the_model_context_protocol_read_the_challenges() {
    let Some(python) = python() else {
        println!("left out: {MCP} is not installed (dev/test installs it)");
        return;
    };
    let server = Server::start();
    put(&server, "some", Some(URL));
    let key = json!({ "name": "k", "catalog": "some", "scopes": ["w"] });
    let secret = server.admin().issue(key).secret;
    let read = |path: &str, more: &[String]| {
        let url = format!("http://{}/auth/traefik?catalog=some", server.address);
        let told = Command::new(&python)
            .args(["-c", READER, &url, "X-Forwarded-Method=GET"])
            .arg(format!("X-Forwarded-Uri={path}"))
            .args(more)
            .output()
            .unwrap();
        assert!(told.status.success(), "{told:?}");
        let text = String::from_utf8(told.stdout).unwrap();
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(read("/one", &[]), ["401", "r w", URL, "None"]);
    assert_eq!(read("/any", &[]), ["401", "None", URL, "None"]);
    let bearer = |secret: &str| [format!("Authorization=Bearer {secret}")];
    let bad = read("/one", &bearer("lk_no_such_secret"));
    assert_eq!(bad, ["401", "r w", URL, "invalid_token"]);
    let lacking = read("/all", &bearer(&secret));
    assert_eq!(lacking, ["403", "r x", URL, "insufficient_scope"]);
}

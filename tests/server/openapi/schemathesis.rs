//! schemathesis, which creates thousands of valid and invalid requests from the document, and compares every answer
//! with it: no server error; no status, media type, header or body that the document does not describe; and no success
//! where the document describes a refusal.
//!
//! Only `dev/test` runs it everywhere. The seed is fixed, and so is the number of requests.

use super::Description;
use crate::support::{PASSWORD, Server, fresh_folder};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The package and its version; `dev/python` installs it below `target/`.
const PACKAGE: &str = "schemathesis==4.32.5";

/// Routes that can end the sessions of any user: the long run would find its own one by following what lists answer.
const SESSIONS: &str = "^/v1/users/.id./sessions";

/// Routes that end the credential of their caller, or that require a key as the caller.
const OWN: [&str; 3] = ["/v1/whoami", "/v1/whoami/rotate", "/v1/sessions/current"];

const CONFIG: &str = "
hooks = \"hooks.py\"
[checks.positive_data_acceptance]
# What names a workspace that is not there is refused, and no schema can say so.
enabled = false
[checks.object_level_authorization]
# tests/authorization_matrix does that for every pair of caller and route.
enabled = false
[checks.use_after_free]
# A key that was deleted stays to be read, in the state `deleted`.
enabled = false
[checks.negative_data_rejection]
expected-statuses = [400, 401, 403, 404, 405, 409, 413, 415, 422, 429]
";

/// How bodies of JSON lines are sent. What the document forbids, a body that is no text, becomes a line that is no object.
const HOOKS: &str = "
import json
import schemathesis

@schemathesis.serializer('application/jsonl')
def json_lines(ctx, value):
    text = value if isinstance(value, str) else json.dumps([value])
    return text.encode('utf-8', 'surrogatepass')
";

/// `None` if it is not installed, which is a failure only where all tests must run.
fn program() -> Option<PathBuf> {
    let tree = Path::new(env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("LATCHKEY_TEST_ALL").is_some() {
        let mut install = Command::new(tree.join("dev/python"));
        let done = install.args(["schemathesis", PACKAGE]).output().unwrap();
        assert!(done.status.success(), "{done:?}");
    }
    let folder = tree.join("target/python/schemathesis");
    let packages = std::fs::read_to_string(folder.join("packages")).unwrap_or_default();
    (packages.trim() == PACKAGE).then(|| folder.join("bin/schemathesis"))
}

#[test]
fn no_request_gets_an_answer_that_is_not_described() {
    let Some(program) = program() else {
        println!("left out: schemathesis is not installed (dev/test installs it)");
        return;
    };
    let server = Server::start();
    let admin = server.admin();
    let folder = fresh_folder();
    let document = prepared(&server);
    std::fs::write(folder.join("openapi.json"), document.to_string()).unwrap();
    std::fs::write(folder.join("schemathesis.toml"), CONFIG).unwrap();
    std::fs::write(folder.join("hooks.py"), HOOKS).unwrap();

    // The credential of the long run is an access token: no edit of keys or policies can end it, and the last owner
    // cannot be deleted. Routes that do end it, and routes that require a key, have separate runs with separate keys.
    let token = server
        .anonymous()
        .signed_in(&server.owner_user_name, &server.owner_password);
    let spare = |name: &str| {
        let scopes = json!(["keys:write", "keys:verify", "audit:read", "users:write"]);
        let body = json!({ "name": name, "catalog": "latchkey", "scopes": scopes });
        format!("Bearer {}", admin.issue(body).secret)
    };
    let plain = admin.issue(json!({ "name": "plain" })).secret;
    let some = "examples,coverage";
    let all = "examples,coverage,fuzzing,stateful";
    let apart = format!("^/auth/|{SESSIONS}");
    let runs: [(&str, String, &[&str], &str); 6] = [
        ("whoami", spare("a"), &["--include-path", OWN[0]], some),
        ("rotation", spare("b"), &["--include-path", OWN[1]], some),
        ("signing out", spare("c"), &["--include-path", OWN[2]], some),
        (
            "sessions of users",
            spare("d"),
            &["--include-path-regex", SESSIONS],
            some,
        ),
        (
            "forward-auth",
            format!("Bearer {plain}"),
            &["--include-path-regex", "^/auth/"],
            "examples,coverage,fuzzing",
        ),
        (
            "everything else",
            token.authorization(),
            &[
                "--exclude-path",
                OWN[0],
                "--exclude-path",
                OWN[1],
                "--exclude-path",
                OWN[2],
                "--exclude-path-regex",
                &apart,
            ],
            all,
        ),
    ];
    for (name, credential, filters, phases) in runs {
        let url = format!("http://{}", server.address);
        let mut command = Command::new(&program);
        command
            .current_dir(&folder)
            .args(["--config-file", "schemathesis.toml", "run", "openapi.json"])
            .args(["--url", &url, "--phases", phases, "--no-color"])
            .args(["--seed", "1", "--max-examples", "20", "--workers", "1"])
            .args(["--continue-on-failure", "--request-timeout", "60"])
            .args(["--header", &format!("Authorization: {credential}")])
            .args(filters)
            .stdin(Stdio::null());
        let (success, report) = ended(command, &folder);
        let summary = report.rsplit("= SUMMARY =").next().unwrap_or_default();
        println!("schemathesis on {name}:{}", summary.trim_start_matches('='));
        assert!(success, "schemathesis on {name}\n{report}");
    }
    // The token is still valid after all runs, and the server works. The other credentials may have ended.
    token
        .post("/v1/policies", json!({ "name": "afterwards" }))
        .expect(201);
    let body = json!({ "name": "after", "policy": "afterwards" });
    let after = token.post("/v1/keys", body).expect(201).json();
    let asked = json!({ "key": after["secret"] });
    let verdict = server.anonymous().post("/v1/verify", asked).expect(200);
    assert_eq!(verdict.json()["code"], "VALID");
    assert!(!server.log().contains("panic"), "{}", server.log());
    let _ = std::fs::remove_dir_all(folder);
}

/// The document as the server sends it, but with only one kind of credential, because a request has one; and with
/// examples of existing objects.
fn prepared(server: &Server) -> Value {
    let admin = server.admin();
    admin.workspace("emea", "root");
    let sealed = json!({ "name": "sealed", "secret_shown": "sealed" });
    admin.post("/v1/policies", sealed).expect(201);
    let catalog = json!({ "scopes": [{ "name": "invoices:read" }] });
    admin.put("/v1/catalogs/billing", catalog).expect(201);
    let user = json!({ "user_name": "alice", "password": PASSWORD, "workspace": "emea" });
    admin.post("/v1/users", user).expect(201);
    let key = admin.issue(json!({ "name": "billing", "workspace": "emea", "policy": "sealed" }));

    let text = Description::of(server).0.to_string();
    let mut document: Value = serde_json::from_str(&text.replace("k3J9aQ0xZb", &key.id)).unwrap();
    let schemes = document["components"]["securitySchemes"].as_object_mut();
    schemes.unwrap().remove("apiKey");
    let without_key = |security: &mut Value| {
        if let Some(ways) = security.as_array_mut() {
            ways.retain(|way| way.get("apiKey").is_none());
        }
    };
    without_key(&mut document["security"]);
    let paths = document["paths"].as_object_mut().unwrap();
    // This server has no keys of GitHub, and so no such route; tests/server/tripwires/leaks.rs has one with keys.
    paths.remove("/v1/leaks/github").expect("the path");
    for item in paths.values_mut() {
        for operation in item.as_object_mut().unwrap().values_mut() {
            if let Some(security) = operation.get_mut("security") {
                without_key(security);
            }
        }
    }
    document
}

/// Whether the command succeeded, and its output.
fn ended(mut command: Command, folder: &Path) -> (bool, String) {
    let path = folder.join("report");
    let file = std::fs::File::create(&path).unwrap();
    let status = command
        .stdout(file.try_clone().unwrap())
        .stderr(file)
        .status()
        .unwrap();
    let report = std::fs::read_to_string(&path).unwrap_or_default();
    (status.success(), report)
}

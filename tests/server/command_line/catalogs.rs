//! `latchkey catalog`: catalogs from JSON files and from OpenAPI documents.

use super::{Line, running_and_stopped};
use serde_json::{Value, json};
use std::path::Path;

const YAML: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/fixtures/openapi/billing-3.0.yaml"
);
const JSON: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/fixtures/openapi/files-3.1.json"
);

#[test]
fn catalogs_are_put_shown_and_deleted() {
    running_and_stopped(|line| {
        let catalog = json!({
            "name": "billing",
            "scopes": [{"name":"i:read","label":"Read","implies":[]}],
            "operations": [{"id":"list","method":"GET","path":"/i","host":null,"access":"read","any_of":["i:read"]}],
        });
        let put = line.run_with_input(&["catalog", "put", "-"], &catalog.to_string());
        assert_eq!(put.stdout, "created catalog billing\n", "{put:?}");
        assert_eq!(line.json(&["catalog", "show", "billing"]), catalog);
        let shown = line.ok(&["catalog", "show", "billing"]);
        assert!(shown.contains("GET") && shown.contains("i:read"), "{shown}");
        let list = line.ok(&["catalog", "list"]);
        let row = list.lines().find(|line| line.starts_with("billing "));
        let row: Vec<&str> = row.unwrap().split_whitespace().collect();
        assert_eq!(row, ["billing", "1", "1"], "{list}");
        line.ok(&["catalog", "delete", "billing", "--yes"]);
        line.refused(&["catalog", "show", "billing"], 1);
        line.refused(&["catalog", "delete", "latchkey", "--yes"], 1);
    });
}

#[test]
fn a_yaml_document_of_3_0_becomes_a_catalog() {
    running_and_stopped(|line| {
        let ran = line.run(&["catalog", "import", YAML, "--name", "billing"]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let catalog = line.json(&["catalog", "show", "billing"]);
        let operation = |id: &str| -> Value {
            let all = catalog["operations"].as_array().unwrap();
            all.iter()
                .find(|it| it["id"] == id)
                .cloned()
                .unwrap_or_default()
        };
        assert_eq!(
            operation("listInvoices")["any_of"],
            json!(["invoices:read"])
        );
        assert_eq!(operation("listInvoices")["access"], "read");
        assert_eq!(operation("createInvoice")["access"], "write");
        let either = json!(["invoices:admin", "invoices:write"]);
        assert_eq!(operation("deleteInvoice")["any_of"], either);
        assert_eq!(operation("GET /status")["any_key"], json!(true));
        let both = json!(["invoices:admin", "invoices:write"]);
        assert_eq!(operation("approveInvoice")["all_of"], both);
        assert_eq!(operation("exportInvoice")["path"], "/export/{id}.csv");
        // What is not mapped is closed.
        assert_eq!(operation("GET /health")["any_of"], json!([]));
        assert_eq!(catalog["operations"].as_array().map(Vec::len), Some(7));
        assert_eq!(catalog["scopes"][1]["label"], "Read invoices");

        let told = "not mapped: GET /health: it is open to everybody";
        assert!(ran.stderr.contains(told), "{}", ran.stderr);
        assert!(
            ran.stderr.contains("has the base path /v1"),
            "{}",
            ran.stderr
        );
        let summary = "6 operations and 3 scopes mapped, 1 operation not mapped and closed";
        assert!(ran.stderr.contains(summary), "{}", ran.stderr);
        let shown = line.ok(&["catalog", "show", "billing"]);
        for opened_by in ["nobody", "any key", "invoices:admin and invoices:write"] {
            assert!(shown.contains(opened_by), "{opened_by}: {shown}");
        }
    });
}

#[test]
fn a_json_document_of_3_1_is_shown_by_a_dry_run() {
    let line = Line::at(Path::new("/nowhere/at/all"));
    let args = [
        "catalog",
        "import",
        JSON,
        "--name",
        "files",
        "--dry-run",
        "--base-path",
        "/api",
        "--host",
        "files.example",
    ];
    let catalog: Value = serde_json::from_str(&line.ok(&args)).unwrap();
    assert_eq!(
        catalog["operations"][0],
        json!({"id":"readFile","method":"GET","path":"/api/files/{id}","host":"files.example","access":"read","any_of":["files:read"]})
    );
    assert_eq!(catalog["operations"][1]["any_of"], json!([]));
    assert_eq!(catalog["operations"].as_array().map(Vec::len), Some(2));
    let said = line.run(&args).stderr;
    assert!(
        said.contains("PUT /files/{id}: it needs several credentials together"),
        "{said}"
    );
}

#[test]
fn a_catalog_may_say_that_its_application_tells_case() {
    running_and_stopped(|line| {
        for (more, expected) in [(&["--case-sensitive"][..], json!(true)), (&[], json!(null))] {
            let args = [&["catalog", "import", YAML, "--name", "billing"], more].concat();
            line.ok(&args);
            let shown = line.json(&["catalog", "show", "billing"]);
            assert_eq!(shown["case_sensitive"], expected, "{args:?}");
        }
    });
}

#[test]
fn what_is_no_openapi_document_is_refused() {
    let line = Line::at(Path::new("/nowhere/at/all"));
    for text in ["{}", "swagger: '2.0'", "a: [", "openapi: 3.0.0\npaths: {}"] {
        let args = ["catalog", "import", "-", "--name", "x", "--dry-run"];
        let ran = line.run_with_input(&args, text);
        assert_eq!(ran.code, Some(1), "{text}: {ran:?}");
    }
}

const EITHER: &str = r#"
openapi: 3.0.3
paths:
  /drawings/{id}: {get: {security: [{application: ["drawings:read"]}, {personal: []}]}}
  /about: {get: {}}
components:
  securitySchemes:
    application: {type: oauth2, flows: {}}
    personal: {type: apiKey, in: header, name: X-Token}
    browser: {type: apiKey, in: cookie, name: sid}
"#;

#[test]
fn what_a_document_leaves_open_is_said_with_the_import() {
    let line = Line::at(Path::new("/nowhere/at/all"));
    let import = |more: &[&str]| {
        let args = [
            &["catalog", "import", "-", "--name", "x", "--dry-run"],
            more,
        ]
        .concat();
        line.run_with_input(&args, EITHER)
    };
    let ran = import(&[]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("choose the security scheme"), "{ran:?}");
    let operation = |more: &[&str], path: &str| -> Value {
        let ran = import(more);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let catalog: Value = serde_json::from_str(&ran.stdout).unwrap();
        let all = catalog["operations"].as_array().unwrap();
        all.iter()
            .find(|it| it["path"] == path)
            .cloned()
            .unwrap_or_default()
    };
    let drawing = |more: &[&str]| operation(more, "/drawings/{id}");
    assert_eq!(drawing(&["--scheme", "personal"])["any_key"], json!(true));
    let scoped = drawing(&["--scheme", "application"]);
    assert_eq!(scoped["any_of"], json!(["drawings:read"]));
    let personal = ["--scheme", "personal"];
    assert_eq!(operation(&personal, "/about")["any_of"], json!([]));
    let any_key = [&personal[..], &["--default", "any-key"]].concat();
    assert_eq!(operation(&any_key, "/about")["any_key"], json!(true));
    let closed = [&personal[..], &["--default", "closed"]].concat();
    assert_eq!(operation(&closed, "/about")["any_of"], json!([]));
    for (more, code, said) in [
        (["--scheme", "nobody"], 1, "there is no security scheme"),
        (["--scheme", "browser"], 1, "no key can stand for"),
        (["--default", "open"], 2, "any-key"),
        (["--base-path", "v1"], 2, "begins with a slash"),
        (["--base-path", "/a/../b"], 2, "is no path"),
        (["--host", "API.example"], 2, "is no host name"),
    ] {
        let ran = import(&more);
        assert_eq!(ran.code, Some(code), "{more:?}: {ran:?}");
        assert!(ran.stderr.contains(said), "{more:?}: {ran:?}");
        assert_eq!(ran.stdout, "", "{more:?}");
    }
}

/// findings a01, a02, a04, a06: every operation that the importer reports as not mapped is closed, in every spelling of
/// the request.
#[test]
fn what_is_not_mapped_is_denied() {
    const SHAPES: &str = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/openapi/shapes-3.2.yaml"
    );
    let server = crate::support::Server::start();
    let line = Line::of(&server);
    let ran = line.run(&["catalog", "import", SHAPES, "--name", "shapes"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let admin = server.admin();
    let key =
        admin.issue(json!({ "name": "all", "catalog": "shapes", "scopes": ["a", "b", "c", "d"] }));
    let bare = admin.issue(json!({ "name": "none", "catalog": "shapes" }));
    let asked = |secret: &str, method: &str, path: &str| {
        let question =
            json!({ "key": secret, "catalog": "shapes", "method": method, "path": path });
        admin.verify(question)
    };
    for (method, path) in [
        ("GET", "/reports/payroll"),
        ("HEAD", "/reports/payroll"),
        ("GET", "/reports/cookie"),
        ("GET", "/reports/elsewhere"),
        ("DELETE", "/reports/elsewhere"),
        ("GET", "/reports/7.json"),
        ("POST", "/reports/7:lock"),
        ("QUERY", "/reports/query"),
        ("COPY", "/reports/copy"),
        ("GET", "/reports/optional"),
    ] {
        for secret in [&key.secret, &bare.secret] {
            let verdict = asked(secret, method, path);
            assert_eq!(
                verdict["code"], "INSUFFICIENT_SCOPE",
                "{method} {path}: {verdict}"
            );
            assert_eq!(
                verdict.get("detail").filter(|it| !it.is_null()),
                None,
                "{method} {path}: {verdict}"
            );
            for resembling in [
                path.to_uppercase(),
                format!("{path}/"),
                format!("{path}.xml"),
            ] {
                let verdict = asked(secret, method, &resembling);
                assert_eq!(
                    verdict["code"], "INSUFFICIENT_SCOPE",
                    "{method} {resembling}: {verdict}"
                );
            }
        }
        let told = ran
            .stderr
            .lines()
            .filter(|line| line.starts_with("not mapped: "));
        let segment = path.rsplit('/').next().unwrap().trim_start_matches('7');
        let mut told = told.filter(|line| line.contains(segment));
        assert!(told.next().is_some(), "{path}: {}", ran.stderr);
    }
    for (method, path, all, none) in [
        ("GET", "/reports/7", true, true),
        ("HEAD", "/reports/7", true, true),
        ("DELETE", "/reports/7", true, false),
        ("GET", "/reports/both", true, false),
        ("POST", "/reports/7:cancel", true, false),
    ] {
        assert_eq!(
            asked(&key.secret, method, path)["valid"],
            all,
            "{method} {path}"
        );
        assert_eq!(
            asked(&bare.secret, method, path)["valid"],
            none,
            "{method} {path}"
        );
    }
    let one = admin.issue(json!({ "name": "one", "catalog": "shapes", "scopes": ["a"] }));
    assert_eq!(asked(&one.secret, "GET", "/reports/both")["valid"], false);
}

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
        assert_eq!(operation("GET /status")["any_of"], json!([]));
        assert_eq!(catalog["operations"].as_array().map(Vec::len), Some(4));
        assert_eq!(catalog["scopes"][1]["label"], "Read invoices");

        for (operation, why) in [
            ("POST /invoices/{id}/approve", "several scopes together"),
            ("GET /health", "open to everybody"),
            ("GET /export/{id}.csv", "path"),
        ] {
            let line = ran.stderr.lines().find(|line| line.contains(operation));
            let line = line.unwrap_or_else(|| panic!("{operation}: {}", ran.stderr));
            assert!(
                line.starts_with("not mapped: ") && line.contains(why),
                "{line}"
            );
        }
        assert!(
            ran.stderr.contains("has the base path /v1"),
            "{}",
            ran.stderr
        );
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
    assert_eq!(catalog["operations"].as_array().map(Vec::len), Some(1));
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

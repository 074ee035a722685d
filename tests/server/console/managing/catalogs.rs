//! Large catalogs, and catalogs from OpenAPI documents.

use crate::console::Visitor;
use crate::support::{PASSWORD, Server};
use serde_json::{Value, json};

const YAML: &str = include_str!("../../../fixtures/openapi/billing-3.0.yaml");

/// Sends a form with a file, as browsers do.
fn definition(operations: usize) -> Value {
    let operation = |n: usize| {
        json!({
            "id": format!("operation-{n}"), "method": "GET", "path": format!("/things/{n}/{{id}}"), "access": "read",
            "any_of": ["things:read"],
        })
    };
    json!({
        "scopes": [{ "name": "things:read", "label": "Read \"things\"" }],
        "operations": (0..operations).map(operation).collect::<Vec<_>>(),
    })
}

/// The content of a text area.
fn text_of(page: &str, name: &str) -> String {
    let field = page.split(&format!("name=\"{name}\"")).nth(1).unwrap();
    let text = field
        .split_once('>')
        .unwrap()
        .1
        .split("</textarea>")
        .next()
        .unwrap();
    text.trim_start_matches('\n')
        .replace("&#34;", "\"")
        .replace("&#38;", "&")
}

#[test]
fn a_catalog_as_large_as_the_api_takes_is_edited() {
    let server = Server::start();
    let admin = server.admin();
    let whole = definition(20_000);
    admin.put("/v1/catalogs/large", whole).expect(201);
    let mut owner = Visitor::owner(&server);
    owner.get("/console/catalogs/large/edit").expect(200);
    let text = text_of(&owner.page, "definition");
    assert!(text.len() > 2_000_000, "{}", text.len());
    let edited = text.replace("operation-19999", "the-last");
    let fields = [("definition", edited.as_str())];
    owner
        .upload("/console/catalogs/large/edit", &fields, "")
        .expect(303);
    let catalog = admin.get("/v1/catalogs/large").json();
    assert_eq!(catalog["operations"][19_999]["id"], "the-last");
    assert_eq!(catalog["operations"][0]["id"], "operation-0");
    // Browsers send the other kind of form like this.
    owner.get("/console/catalogs/large/edit").expect(200);
    let less = edited.replace("the-last", "last-again");
    owner
        .post("/console/catalogs/large/edit", &[("definition", &less)])
        .expect(303);
    assert_eq!(
        admin.get("/v1/catalogs/large").json()["operations"][19_999]["id"],
        "last-again"
    );

    // The server reads such large bodies only from users who are signed in.
    owner.get("/console/account").expect(200);
    let session = std::mem::take(&mut owner.cookies);
    let answer = owner.upload("/console/catalogs/large/edit", &fields, "");
    answer.expect(413);
    assert!(owner.page.contains("your session has ended"));
    owner.cookies = session;
    // And it reads them only at the endpoints that need them.
    owner.get("/console/account").expect(200);
    owner
        .upload("/console/account/password", &fields, "")
        .expect(413);
    owner.get("/console/account").expect(200);
    owner
        .upload("/console/account/password", &[("password", "x")], "")
        .expect(415);
    assert_eq!(
        admin.get("/v1/catalogs/large").json()["operations"][19_999]["id"],
        "last-again"
    );
}

#[test]
fn a_catalog_comes_out_of_an_openapi_document_once_it_was_looked_at() {
    let server = Server::start();
    let admin = server.admin();
    let mut owner = Visitor::owner(&server);
    owner.get("/console/catalogs").expect(200);
    assert!(owner.page.contains("/console/import-catalog"));
    owner.get("/console/import-catalog").expect(200);
    let fields = [
        ("name", "billing"),
        ("base_path", ""),
        ("host", ""),
        ("document", "Ignored if a file is chosen"),
    ];
    owner
        .upload("/console/import-catalog", &fields, YAML)
        .expect(200);
    for said in [
        "6 operations",
        "1 operation is closed to all keys",
        "all of <code>invoices:admin, invoices:write</code>",
        "one of <code>invoices:admin, invoices:write</code>",
        "any key",
        "GET /health",
        "It is open to everybody",
        "has the base path /v1",
        "<button class=\"small\" name=\"base_path\" value=\"/v1\">Use /v1</button>",
    ] {
        assert!(owner.page.contains(said), "{said}: {}", owner.page);
    }
    // The button repeats the import of the same document.
    let repeated = owner.value("document").unwrap();
    assert!(repeated.contains("/invoices"));
    assert!(!owner.page.contains("The catalog billing exists already"));
    admin.get("/v1/catalogs/billing").expect(404);
    let made = text_of(&owner.page, "definition");
    let fields = [("name", "billing"), ("definition", made.as_str())];
    owner
        .upload("/console/new-catalog", &fields, "")
        .expect(303);
    let catalog = admin.get("/v1/catalogs/billing").expect(200).json();
    assert_eq!(catalog["operations"].as_array().map(Vec::len), Some(7));
    owner.get("/console/catalogs/billing").expect(200);
    for said in ["no key", "any key", "all of <code>"] {
        assert!(owner.page.contains(said), "{said}: {}", owner.page);
    }
    for (request, said) in [
        (
            "method=GET&path=/health",
            "closes this operation to all keys",
        ),
        (
            "method=HEAD&path=/health",
            "closes this operation to all keys",
        ),
        (
            "method=POST&path=/invoices/7/approve",
            "needs all of these scopes",
        ),
        (
            "method=HEAD&path=/status",
            "every key of the catalog may send it",
        ),
    ] {
        owner
            .get(&format!("/console/catalogs/billing?{request}"))
            .expect(200);
        assert!(owner.page.contains(said), "{request}: {}", owner.page);
    }

    // The text replaces an existing catalog, below a base path of a host.
    owner.get("/console/import-catalog").expect(200);
    let fields = [
        ("name", "billing"),
        ("base_path", "/v1"),
        ("host", "api.example"),
        ("document", YAML),
    ];
    owner.post("/console/import-catalog", &fields).expect(200);
    assert!(owner.page.contains("The catalog billing exists already"));
    assert!(
        owner
            .page
            .contains("action=\"/console/catalogs/billing/edit\"")
    );
    assert!(!owner.page.contains("has the base path"));
    let made = text_of(&owner.page, "definition");
    owner
        .upload(
            "/console/catalogs/billing/edit",
            &[("definition", &made)],
            "",
        )
        .expect(303);
    let catalog = admin.get("/v1/catalogs/billing").json();
    assert_eq!(catalog["operations"][0]["host"], "api.example");
    assert!(
        catalog["operations"][0]["path"]
            .as_str()
            .unwrap()
            .starts_with("/v1/")
    );
}

// attacks 194
#[test]
fn what_is_no_openapi_document_is_refused_beside_its_field() {
    let server = Server::start();
    let mut owner = Visitor::owner(&server);
    let before = server.admin().get("/v1/catalogs").text();
    let mut bomb = String::from("openapi: 3.1.0\na0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
    for level in 1..12 {
        let items = vec![format!("*a{}", level - 1); 10].join(",");
        bomb.push_str(&format!("a{level}: &a{level} [{items}]\n"));
    }
    let deep = format!("a: {}{}", "[".repeat(100_000), "]".repeat(100_000));
    let huge = format!(
        "a: &a {}\nb: [{}]\n",
        "x".repeat(1_000_000),
        "*a,".repeat(100_000)
    );
    for (name, base_path, host, document, said) in [
        ("", "", "", YAML, "Must"),
        ("latchkey", "", "", YAML, "built-in"),
        ("a b", "", "", YAML, "Must be 1 to 63 characters"),
        ("a", "v1", "", YAML, "Must start with a slash"),
        ("a", "", "API.example:80", YAML, "Must be a host name"),
        ("a", "", "", " ", "Is required, as a file or as text"),
        (
            "a",
            "",
            "",
            "{\"openapi\":\"2.0\"}",
            "This is no OpenAPI document",
        ),
        ("a", "", "", "a: 1\na: 2\n", "is there twice"),
        ("a", "", "", "[1, 2", "This is neither JSON nor YAML"),
        ("a", "", "", &bomb, "The document has more than"),
        ("a", "", "", &deep, "recursion limit"),
        ("a", "", "", &huge, "bytes of text"),
    ] {
        owner.get("/console/import-catalog").expect(200);
        let fields = [("name", name), ("base_path", base_path), ("host", host)];
        owner
            .upload("/console/import-catalog", &fields, document)
            .expect(422);
        let told = owner.page.split("class=\"refusal\"").nth(1);
        let told = told.unwrap_or_else(|| panic!("{said}: {}", owner.page));
        let told = told.split("</p>").next().unwrap();
        assert!(
            told.to_lowercase().contains(&said.to_lowercase()),
            "{said}: {told}"
        );
    }
    // If nothing can be imported, there is nothing to save.
    let none = "{\"openapi\":\"3.1.0\",\"paths\":{\"/a\":{\"get\":{}}}}";
    owner.get("/console/import-catalog").expect(200);
    owner
        .upload("/console/import-catalog", &[("name", "a")], none)
        .expect(200);
    assert!(owner.page.contains("None of the operations"));
    assert!(!owner.page.contains(">Save<"));
    assert_eq!(server.admin().get("/v1/catalogs").text(), before);

    server.admin().person("manager", "key_manager", "root");
    let mut manager = Visitor::new(&server);
    manager.sign_in("manager", PASSWORD).expect(303);
    manager.get("/console/import-catalog").expect(403);
    manager.get("/console/account").expect(200);
    manager
        .upload("/console/import-catalog", &[("name", "a")], YAML)
        .expect(403);
}

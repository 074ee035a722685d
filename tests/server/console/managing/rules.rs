//! Policies and catalogs in the console: the same rules apply as in the API.

use crate::console::Visitor;
use crate::support::{PASSWORD, Server};
use serde_json::json;

/// All fields of a form on a page, as a browser would send them.
pub fn filled(page: &str) -> Vec<(String, String)> {
    let form = ["class=\"card fields", "class=\"fields"]
        .iter()
        .find_map(|class| page.split(class).nth(1));
    let form = form.unwrap();
    let form = form.split("</form>").next().unwrap();
    let mut fields = Vec::new();
    for tag in form.split('<').skip(1) {
        let attribute = |name: &str| {
            let rest = tag.split(&format!(" {name}=\"")).nth(1)?;
            let value = rest.split('"').next()?;
            Some(value.replace("&#34;", "\"").replace("&#38;", "&"))
        };
        let (open, _) = tag.split_once('>').unwrap_or((tag, ""));
        match open.split(' ').next().unwrap() {
            "input" if open.contains("type=\"checkbox\"") => {
                let value = || (attribute("name").unwrap(), attribute("value").unwrap());
                fields.extend(open.ends_with(" checked").then(value));
            }
            // A field without a name, such as the filter of a long list, is not sent.
            "input" => {
                let value = attribute("value").unwrap_or_default();
                fields.extend(attribute("name").map(|name| (name, value)));
            }
            "select" => fields.push((attribute("name").unwrap(), String::new())),
            "option" if open.ends_with(" selected") => {
                fields.last_mut().unwrap().1 = attribute("value").unwrap();
            }
            _ => {}
        }
    }
    fields
}

fn set(fields: &mut Vec<(String, String)>, name: &str, value: &str) {
    fields.retain(|(known, _)| known != name);
    fields.push((name.to_owned(), value.to_owned()));
}

fn send(visitor: &mut Visitor, path: &str, fields: &[(String, String)]) -> u16 {
    let fields: Vec<(&str, &str)> = fields.iter().map(|(n, v)| (&**n, &**v)).collect();
    visitor.send(path, &fields).status
}

#[test]
fn a_policy_is_made_edited_and_deleted() {
    let server = Server::start();
    let admin = server.admin();
    let mut owner = Visitor::owner(&server);
    let page = owner.get("/console/new-policy").expect(200).text();
    let mut fields = filled(&page);
    set(&mut fields, "name", "device");
    set(&mut fields, "description", "Keys of \"devices\" & more");
    set(&mut fields, "expiry", "required");
    set(&mut fields, "life_max", "90");
    set(&mut fields, "life_unit", "days");
    set(&mut fields, "rate_limit", "100");
    set(&mut fields, "headers", "bearer x-device-key");
    assert_eq!(send(&mut owner, "/console/new-policy", &fields), 303);
    let made = admin.get("/v1/policies/device").expect(200).json();
    let standard = admin.get("/v1/policies/standard").expect(200).json();
    for (member, value) in standard.as_object().unwrap() {
        let expected = match member.as_str() {
            "name" => json!("device"),
            "description" => json!("Keys of \"devices\" & more"),
            "expiry" => json!("required"),
            "expiry_s_max" => json!(90 * 86_400),
            "rate_limit" => json!({ "limit": 100, "window_s": 60 }),
            "headers" => json!(["bearer", "x-device-key"]),
            // The form begins with the rules of a service key.
            "owner" => json!("forbidden"),
            "tied_to" => json!("workspace"),
            _ => value.clone(),
        };
        assert_eq!(made[member], expected, "{member}");
    }

    // A refusal is shown at its field, and the input stays.
    let page = owner
        .get("/console/policies/device/edit")
        .expect(200)
        .text();
    let before = filled(&page);
    for (name, bad, said) in [
        ("headers", "cookie", "is a header with a meaning of its own"),
        ("life_max", "0", "Must be more than zero"),
        ("per_owner", "many", "Must be a whole number"),
        ("prefix", "LOUD", "prefix"),
    ] {
        let mut fields = before.clone();
        set(&mut fields, name, bad);
        let status = send(&mut owner, "/console/policies/device/edit", &fields);
        assert_eq!(status, 422, "{name}");
        assert!(owner.page.contains("class=\"refusal\""), "{name}");
        assert!(
            owner.page.to_lowercase().contains(&said.to_lowercase()),
            "{name}"
        );
        assert!(owner.page.contains(&format!("value=\"{bad}\"")), "{name}");
    }

    // A member that another user has changed in the meantime keeps that user's value.
    admin
        .patch("/v1/policies/device", json!({ "keys_per_owner_max": 7 }))
        .expect(200);
    let mut fields = before.clone();
    set(&mut fields, "life_max", "30");
    assert_eq!(
        send(&mut owner, "/console/policies/device/edit", &fields),
        303
    );
    let edited = admin.get("/v1/policies/device").expect(200).json();
    assert_eq!(edited["expiry_s_max"], 30 * 86_400);
    assert_eq!(edited["keys_per_owner_max"], 7);

    // While keys follow the policy, it can only be made stricter, and it cannot be deleted.
    admin.issue(json!({ "name": "one", "policy": "device", "expires_in_s": 60 }));
    let page = owner
        .get("/console/policies/device/edit")
        .expect(200)
        .text();
    let mut fields = filled(&page);
    set(&mut fields, "life_max", "60");
    assert_eq!(
        send(&mut owner, "/console/policies/device/edit", &fields),
        409
    );
    assert!(owner.page.contains("can only be made stricter"));
    owner.get("/console/policies/device/delete").expect(200);
    owner
        .post("/console/policies/device/delete", &[])
        .expect(409);
    assert!(owner.page.contains("Keys of policy device exist"));
    assert_eq!(
        admin.get("/v1/policies/device").json()["expiry_s_max"],
        30 * 86_400
    );

    admin
        .post("/v1/policies", json!({ "name": "unused" }))
        .expect(201);
    owner.get("/console/policies/unused/delete").expect(200);
    owner
        .post("/console/policies/unused/delete", &[])
        .expect(303);
    admin.get("/v1/policies/unused").expect(404);
}

#[test]
fn a_catalog_is_put_and_deleted() {
    let server = Server::start();
    let admin = server.admin();
    let mut owner = Visitor::owner(&server);
    owner.get("/console/new-catalog").expect(200);
    let text = r#"{"scopes":[{"name":"a:read","label":"<b>"},{"name":"a:write"}],
                   "operations":[{"id":"x","method":"GET","path":"/x/{id}","access":"read","any_of":["a:read"]}]}"#;
    let fields = [("name", "shop"), ("definition", text)];
    owner.post("/console/new-catalog", &fields).expect(303);
    let key = admin.issue(json!({
        "name": "loser", "catalog": "shop", "scopes": ["a:read", "a:write"],
    }));
    // A new catalog never replaces an existing one.
    owner.get("/console/new-catalog").expect(200);
    owner.post("/console/new-catalog", &fields).expect(409);
    assert!(owner.page.contains("The catalog shop exists already."));

    let page = owner.get("/console/catalogs/shop/edit").expect(200).text();
    assert!(page.contains("&#60;b&#62;") && !page.contains("<b>"));
    for (bad, said) in [
        ("", "not a JSON object"),
        ("{\"name\":\"other\"}", "Must have the name shop"),
        ("{\"scopes\":[{\"name\":\"a b\"}]}", "scopes[0].name"),
        (
            r#"{"operations":[{"id":"x","method":"GET","path":"/x","access":"read","any_of":["nothing"]}]}"#,
            "operations[0].any_of",
        ),
    ] {
        owner
            .post("/console/catalogs/shop/edit", &[("definition", bad)])
            .expect(422);
        let page = owner.page.replace("&#34;", "\"");
        assert!(page.contains(said), "{bad}: {page}");
    }
    // The answer names the keys that lose a scope.
    let less = r#"{"scopes":[{"name":"a:read","label":""}],"operations":[]}"#;
    owner.get("/console/catalogs/shop/edit").expect(200);
    let fields = [("definition", less)];
    owner
        .post("/console/catalogs/shop/edit", &fields)
        .expect(200);
    assert!(
        owner
            .page
            .contains("1 key had a scope that no longer exists")
    );
    assert!(owner.page.contains(&format!("/console/keys/{}", key.id)));
    assert_eq!(admin.key(&key.id)["scopes"], json!(["a:read"]));

    owner.get("/console/catalogs/shop/delete").expect(200);
    owner.post("/console/catalogs/shop/delete", &[]).expect(409);
    let fields = [("name", "unused"), ("definition", less)];
    owner.get("/console/new-catalog").expect(200);
    owner.post("/console/new-catalog", &fields).expect(303);
    owner.get("/console/catalogs/unused/delete").expect(200);
    owner
        .post("/console/catalogs/unused/delete", &[])
        .expect(303);
    admin.get("/v1/catalogs/unused").expect(404);
    // No user can change the built-in catalog.
    let page = owner.get("/console/catalogs/latchkey").expect(200).text();
    assert!(!page.contains("/catalogs/latchkey/edit"));
    let fields = [("definition", less)];
    owner
        .post("/console/catalogs/latchkey/edit", &fields)
        .expect(409);
}

#[test]
fn whoever_may_only_read_rules_is_offered_no_change_and_makes_none() {
    let server = Server::start();
    server.admin().person("manager", "key_manager", "root");
    let mut manager = Visitor::new(&server);
    manager.sign_in("manager", PASSWORD).expect(303);
    let page = manager.get("/console/policies").expect(200).text();
    assert!(!page.contains("/edit\"") && !page.contains("/new-policy"));
    let page = manager.get("/console/catalogs").expect(200).text();
    assert!(!page.contains("/new-catalog"));
    for path in [
        "/console/new-policy",
        "/console/policies/standard/edit",
        "/console/policies/aware/delete",
        "/console/new-catalog",
        "/console/catalogs/aware/edit",
        "/console/catalogs/aware/delete",
    ] {
        manager.get(path).expect(403);
        manager.get("/console/account").expect(200);
        let fields = [("name", "x"), ("definition", "{}")];
        let status = manager.post(path, &fields).status;
        assert!(matches!(status, 403 | 422), "{path}: {status}");
    }
    let policies = server.admin().get("/v1/policies").text();
    let fresh = Server::start().admin().get("/v1/policies").text();
    assert_eq!(policies, fresh);
}

//! Translation: every text that the console shows to people comes from its one language file.

use super::Visitor;
use super::managing::filled;
use crate::support::{Server, fresh_folder};
use serde_json::json;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// Words on the pages of these tests that belong to no language: names, and what the tests typed.
const NAMES: &str = "billing Latchkey Bearer Token owner root Root latchkey standard aware awaretrain adverity vspc \
                     sample management shop conf nginx Caddy Traefik Envoy Lua SPOE Gateway API Kubernetes GET POST PUT PATCH DELETE HEAD OPTIONS UTC system api key token ui";

/// A language file whose texts have no ASCII letters.
fn foreign() -> PathBuf {
    let english = crate::support::executable(None)
        .arg("console-texts")
        .output()
        .unwrap();
    let english = String::from_utf8(english.stdout).unwrap();
    let mut by_words = false;
    let mut file = String::new();
    for line in english.lines() {
        if line.starts_with('[') {
            by_words = line == "[given]";
        }
        let line = match line.split_once(" = ") {
            _ if line.starts_with(['[', '#']) || line.is_empty() => line.to_owned(),
            _ if by_words => format!("{line} = {}", wide(line)),
            Some((name, text)) => format!("{name} = {}", wide(text)),
            None => line.to_owned(),
        };
        file.push_str(&line);
        file.push('\n');
    }
    let folder = fresh_folder();
    let path = folder.join("wide.txt");
    std::fs::write(&path, file).unwrap();
    path
}

/// Replaces ASCII letters by full-width letters, except in the places of arguments. Of a place such as
/// `{count:line is|lines are}`, the words are replaced.
fn wide(text: &str) -> String {
    // Since the brace that is open.
    let mut place = String::new();
    let mut wide = String::new();
    for c in text.chars() {
        let argument = place.strip_prefix('{').map(|place| place.split_once(':'));
        let is_open = match argument {
            None => true,
            Some(None) => false,
            Some(Some((name, _))) => name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'),
        };
        wide.push(match c {
            'a'..='z' | 'A'..='Z' if is_open => char::from_u32(u32::from(c) + 0xfee0).unwrap(),
            c => c,
        });
        match c {
            '}' => place.clear(),
            c if c == '{' || !place.is_empty() => place.push(c),
            _ => {}
        }
    }
    wide
}

/// The text of a page that people read, without the parts that are the same in every language.
fn read(page: &str) -> String {
    let mut text = String::new();
    let mut rest = page;
    while let Some(start) = rest.find('<') {
        text.push_str(&rest[..start]);
        let tag = rest[start..].split('>').next().unwrap();
        let name = tag[1..].split([' ', '\n']).next().unwrap();
        rest = &rest[start + tag.len() + 1..];
        for spoken in ["aria-label", "placeholder", "title", "alt", "data-copied"] {
            let begins = format!(" {spoken}=\"");
            if let Some(said) = tag.split(&begins).nth(1) {
                text.push_str(&format!(" \n{}\n ", said.split('"').next().unwrap()));
            }
        }
        // These elements contain identifiers, commands and user input; the names of places, and of languages in
        // themselves.
        let is_name = name == "optgroup" || name == "option" && tag.contains(" lang=");
        if is_name || matches!(name, "code" | "pre" | "textarea" | "script") {
            let end = format!("</{name}>");
            rest = rest.split_once(&end).map_or("", |(_, rest)| rest);
        }
        text.push('\n');
    }
    text
}

/// The words of a page that have ASCII letters and are no names.
fn english_in(page: &str) -> BTreeSet<String> {
    read(page)
        .split([' ', '\n', '(', ')', ',', ';', '.', '“', '”'])
        .filter(|word| word.len() > 1 && word.bytes().all(|b| b.is_ascii_alphabetic()))
        .filter(|word| !NAMES.split(' ').any(|name| name == *word))
        // Ids are left out: a word has no capital letter after its first one.
        .filter(|word| !word[1..].contains(char::is_uppercase) || *word == word.to_uppercase())
        .map(str::to_owned)
        .collect()
}

/// Pages that contain English words, with these words.
#[derive(Default)]
struct Found(Vec<String>);

impl Found {
    fn look(&mut self, what: &str, page: &str) {
        let english = english_in(page);
        if !english.is_empty() {
            self.0.push(format!("{what}: {english:?}"));
        }
    }

    #[track_caller]
    fn nothing(self) {
        assert!(self.0.is_empty(), "{}", self.0.join("\n"));
    }
}

/// Pages below `/console`.
const PAGES: &str = "/account /account/preferences /keys /keys?state=active&sort=name /keys?state=wrong /keys?page=x /keys?7=1 /keys/new \
                     /keys/new?policy=standard /keys/new?policy=aware /keys/new?policy=awaretrain /keys/new?policy=adverity-ui \
                     /keys/new?policy=vspc /keys/new?policy=standard&catalog=latchkey /keys?policy=aware /keys?policy=awaretrain \
                     /keys?policy=adverity-ui /keys?policy=vspc /doctor /policies /policies/standard /policies/aware /new-policy?template=partner /policies/standard/edit /policies/aware/edit \
                     /policies/aware/delete /new-policy /catalogs /catalogs/latchkey /catalogs/aware /catalogs/awaretrain \
                     /catalogs/awaretrain?method=GET&path=/public/v1/users /catalogs/aware/edit /catalogs/aware/delete /new-catalog /import-catalog /import-keys \
                     /users /users?q=7 /users/new /users/owner /users/owner/delete /account/two-step/off /account/recovery-codes \
                     /workspaces /workspaces/new /workspaces/root /audit /audit?since=nonsense /backups /connect \
                     /connect?host=7&upstream=7:1 /keys/0000000000";

#[test]
fn every_page_speaks_the_language_of_the_file() {
    let mut found = Found::default();
    let texts = foreign();
    let server = Server::start_with(&["--console-texts", texts.to_str().unwrap()], &[]);
    let admin = server.admin();
    let mut visitor = Visitor::new(&server);
    for path in [
        "/console/sign-in",
        "/console/setup",
        "/console/none",
        "/console/assets/none",
    ] {
        visitor.get(path);
        found.look(path, &visitor.page);
    }
    let key =
        admin.issue(json!({ "name": "7", "expires_in_s": 86_400, "allowed_ips": ["10.0.0.1"] }));
    admin.verify(json!({ "key": key.secret }));
    for policy in ["aware", "awaretrain", "adverity-ui", "vspc"] {
        let mut owner = Visitor::owner(&server);
        owner.get("/console/policies").expect(200);
        let path = format!("/console/policies/{policy}/page");
        owner.post(&path, &[("on", "yes")]).expect(303);
    }
    let mut owner = Visitor::owner(&server);
    let id = &key.id;
    let own =
        ["", "/edit", "/rotate", "/delete", "/disable"].map(|page| format!("/keys/{id}{page}"));
    let own = own.iter().map(String::as_str);

    for path in PAGES.split(' ').chain([""]).chain(own) {
        owner.get(&format!("/console{path}"));
        found.look(path, &owner.page);
    }
    let page = owner.get("/console/account/two-step").expect(200).text();
    let (start, rest) = page.split_once("id=\"secret\"").unwrap();
    let (_, end) = rest.split_once("</code>").unwrap();
    found.look("/account/two-step", &format!("{start}>{end}"));
    owner.get("/console/account").expect(200);
    owner.post("/console/audit/chain", &[]).expect(200);
    found.look("the chain", &owner.page);
    owner.post("/console/backups", &[]).expect(303);
    owner.get("/console/backups").expect(200);
    found.look("backups", &owner.page);
    owner.get("/console/import-catalog").expect(200);
    let document = include_str!("../../fixtures/openapi/billing-3.0.yaml").replace("invoices", "7");
    let fields = [("name", "billing"), ("document", document.as_str())];
    owner.post("/console/import-catalog", &fields).expect(200);
    found.look("import", &owner.page);
    owner.get("/console/import-keys").expect(200);
    let digest = "7".repeat(64);
    let line = |policy: &str| {
        json!({ "name": "7", "digest": format!("sha256:{digest}"), "policy": policy }).to_string()
    };
    let fields = [("source", "jsonl")];
    for file in [line("standard"), line("7")] {
        owner
            .upload("/console/import-keys", &fields, &file)
            .expect(200);
        found.look("import of keys", &owner.page);
        owner.get("/console/import-keys").expect(200);
    }
    found.nothing();
}

/// Forms with one error each: the page, the fields that differ from it, and the address.
type Refused<'a> = (&'a str, &'a [(&'a str, &'a str)]);

#[test]
fn every_refusal_speaks_the_language_of_the_file() {
    let mut found = Found::default();
    let texts = foreign();
    let server = Server::start_with(&["--console-texts", texts.to_str().unwrap()], &[]);
    let admin = server.admin();
    let mut owner = Visitor::owner(&server);
    let key = admin.issue(json!({ "name": "7" }));
    for slug in ["shop", "9"] {
        admin
            .post("/v1/workspaces", json!({ "slug": slug, "name": slug }))
            .expect(201);
    }
    admin.post("/v1/policies", json!({
        "name": "1", "keys_per_workspace_max": 1, "name_unique": true, "confirm_name": true, "expiry": "required", "expiry_s_max": 60,
    })).expect(201);
    admin.issue(json!({ "name": "8", "policy": "1", "expires_in_s": 50, "workspace": "shop" }));
    admin
        .post(
            "/v1/users",
            json!({ "user_name": "2", "workspace": "shop" }),
        )
        .expect(201);
    let mut elsewhere = Vec::new();
    let long = "9".repeat(600);
    let many = "10.0.0.1\n".repeat(101);
    let new = "/keys/new?policy=standard";
    let edit = format!("/keys/{}/edit", key.id);
    let refused: &[Refused<'_>] = &[
        (new, &[("name", "")]),
        (new, &[("name", " 7")]),
        (new, &[("name", &long)]),
        (new, &[("name", "\u{202e}")]),
        (new, &[("name", "e\u{301}")]),
        (new, &[("description", &long)]),
        (new, &[("workspace", "nowhere")]),
        (new, &[("owner", "3")]),
        (new, &[("expires_on", "soon")]),
        (new, &[("expires_on", "2001-01-01")]),
        (
            new,
            &[("starts_on", "2040-01-01"), ("expires_on", "2035-01-01")],
        ),
        (new, &[("allowed_ips", "10.0.0.1\n10.0.0.300")]),
        (new, &[("allowed_ips", "10.0.0.1/8")]),
        (new, &[("allowed_ips", &many)]),
        (new, &[("rate_limit", "0")]),
        (new, &[("rate_limit", "99999999999")]),
        (new, &[("rate_limit", "many")]),
        (new, &[("rate_limit", "5"), ("rate_window", "0")]),
        (new, &[("uses_left", "99999999999999999")]),
        (new, &[("metadata", "[]")]),
        (new, &[("prefix", "7")]),
        (new, &[("prefix", "lks")]),
        (new, &[("scopes", "a b")]),
        (new, &[("catalog", "7")]),
        (new, &[("catalog", "awaretrain"), ("scopes[]", "7")]),
        ("/keys/new?policy=awaretrain", &[("name", "7")]),
        (
            "/keys/new?policy=awaretrain",
            &[
                ("name", "7"),
                ("expires_on", "2099-01-01"),
                ("scopes[]", "user:read"),
            ],
        ),
        (
            "/keys/new?policy=vspc",
            &[("description", "7"), ("expires_on", "2099-01-01")],
        ),
        ("/keys/new?policy=1", &[("name", "7")]),
        (
            "/keys/new?policy=1",
            &[("name", "7"), ("expires_on", "2099-01-01")],
        ),
        (&edit, &[("name", "")]),
        (&edit, &[("rate_limit", "x")]),
        ("/new-policy", &[("name", "")]),
        ("/new-policy", &[("name", "standard")]),
        ("/new-policy", &[("name", "7"), ("headers", "cookie")]),
        ("/new-policy", &[("name", "7"), ("headers", "")]),
        ("/new-policy", &[("name", "7"), ("headers", "A")]),
        ("/new-policy", &[("name", "7"), ("prefix", "A")]),
        ("/new-policy", &[("name", "7"), ("catalog", "7")]),
        ("/new-policy", &[("name", "7"), ("life_max", "0")]),
        ("/new-policy", &[("name", "7"), ("months_max", "100000")]),
        (
            "/new-policy",
            &[("name", "7"), ("expiry", "forbidden"), ("life_max", "5")],
        ),
        ("/new-policy", &[("name", "7"), ("per_owner", "9999999999")]),
        ("/new-policy", &[("name", "7"), ("issued_by", "wrong")]),
        (
            "/new-policy",
            &[("name", "7"), ("rules[]", "acts_for_owner")],
        ),
        ("/policies/1/edit", &[("life_max", "500")]),
        ("/new-catalog", &[("name", "")]),
        ("/new-catalog", &[("name", "aware")]),
        ("/new-catalog", &[("name", "latchkey")]),
        ("/new-catalog", &[("name", "7"), ("definition", "[]")]),
        ("/new-catalog", &[("name", "7"), ("definition", "{")]),
        (
            "/new-catalog",
            &[
                ("name", "7"),
                ("definition", "{\"scopes\":[{\"name\":\"a b\"}]}"),
            ],
        ),
        (
            "/new-catalog",
            &[("name", "7"), ("definition", "{\"scopes\":[{}]}")],
        ),
        (
            "/new-catalog",
            &[
                ("name", "7"),
                (
                    "definition",
                    "{\"scopes\":[{\"name\":\"a\",\"implies\":[\"b\"]}]}",
                ),
            ],
        ),
        (
            "/new-catalog",
            &[("name", "7"), ("definition", "{\"scope\":[]}")],
        ),
        (
            "/new-catalog",
            &[("name", "7"), ("definition", "{\"scopes\":true}")],
        ),
        (
            "/new-catalog",
            &[
                ("name", "7"),
                (
                    "definition",
                    "{\"operations\":[{\"id\":\"1\",\"method\":\"get\",\"path\":\"/\",\"access\":\"read\",\"any_of\":[]}]}",
                ),
            ],
        ),
        (
            "/new-catalog",
            &[
                ("name", "7"),
                (
                    "definition",
                    "{\"operations\":[{\"id\":\"1\",\"method\":\"GET\",\"path\":\"/{\",\"access\":\"read\",\"any_of\":[]}]}",
                ),
            ],
        ),
        (
            "/new-catalog",
            &[
                ("name", "7"),
                (
                    "definition",
                    "{\"operations\":[{\"id\":\"1\",\"method\":\"GET\",\"path\":\"/\",\"access\":\"all\",\"any_of\":[]}]}",
                ),
            ],
        ),
        ("/import-catalog", &[("name", "")]),
        ("/import-catalog", &[("name", "latchkey")]),
        ("/import-catalog", &[("name", "7")]),
        ("/import-catalog", &[("name", "7"), ("document", "{}")]),
        (
            "/import-catalog",
            &[("name", "7"), ("document", "7: 1\n7: 2")],
        ),
        ("/import-catalog", &[("name", "7"), ("base_path", "7")]),
        ("/import-catalog", &[("name", "7"), ("host", "A")]),
        ("/users/new", &[("user_name", "")]),
        ("/users/new", &[("user_name", "owner")]),
        ("/users/new", &[("user_name", "3"), ("email", "7")]),
        ("/users/new", &[("user_name", "3"), ("password", "short")]),
        (
            "/users/new",
            &[("user_name", "3"), ("password", "password1234")],
        ),
        (
            "/users/new",
            &[("user_name", "3"), ("workspace", "nowhere")],
        ),
        ("/workspaces/new", &[("name", "")]),
        ("/workspaces/new", &[("name", "7"), ("slug", "shop")]),
        ("/workspaces/new", &[("name", "7"), ("slug", "-")]),
        ("/workspaces/new", &[("name", "7"), ("parent", "nowhere")]),
        (
            "/workspaces/shop",
            &[("name", "7"), ("slug", "7"), ("parent", "shop")],
        ),
        ("/workspaces/shop", &[("name", "7"), ("slug", "root")]),
    ];
    for (page, fields) in refused {
        owner.get(&format!("/console{page}")).expect(200);
        let mut all = filled(&owner.page);
        for (name, value) in *fields {
            all.retain(|(known, _)| known != name);
            all.push((name.to_string(), value.to_string()));
        }
        let path = page.split('?').next().unwrap();
        let all: Vec<(&str, &str)> = all.iter().map(|(n, v)| (&**n, &**v)).collect();
        let answer = owner.send(&format!("/console{path}"), &all);
        let what = format!("{page} {fields:?}");
        assert!(
            (400..500).contains(&answer.status),
            "{what}: {}",
            answer.status
        );
        let told = owner.page.contains("class=\"refusal\"")
            || owner.page.contains("role=\"alert\"")
            || owner.page.contains("error");
        assert!(told, "{what}: {}", owner.page);
        // A value that is refused is a field of the form.
        let at_field = ["aria-invalid=\"true\"", "data-refused"]
            .iter()
            .any(|mark| owner.page.contains(mark));
        if answer.status == 422 && !at_field {
            elsewhere.push(what.clone());
        }
        found.look(&what, &owner.page);
    }
    assert_eq!(elsewhere, [""; 0], "refused, and at no field of the form");
    // Requests whose error cannot be shown in a form.
    let id = &key.id;
    for (path, fields) in [
        (format!("/keys/{id}/rotate"), vec![("grace", "wrong")]),
        (
            format!("/keys/{id}/rotate"),
            vec![("hint", "other"), ("grace", "none")],
        ),
        (format!("/keys/{id}/reveal"), vec![]),
        (
            "/keys/new?policy=adverity-token".to_owned(),
            vec![("name", "7")],
        ),
        ("/policies/standard/delete".to_owned(), vec![]),
        ("/policies/1/delete".to_owned(), vec![]),
        ("/catalogs/latchkey/delete".to_owned(), vec![]),
        ("/catalogs/aware/delete".to_owned(), vec![]),
        (
            "/catalogs/latchkey/edit".to_owned(),
            vec![("definition", "{}")],
        ),
        ("/users/owner/delete".to_owned(), vec![]),
        ("/users/owner".to_owned(), vec![("enabled", "no")]),
        (
            "/users/owner/password".to_owned(),
            vec![("password", "short")],
        ),
        (
            "/users/owner/roles".to_owned(),
            vec![("places[]", "root"), ("former[]", "owner"), ("roles[]", "")],
        ),
        ("/workspaces/root/delete".to_owned(), vec![]),
        (
            "/workspaces/shop/delete".to_owned(),
            vec![("confirm_name", "shop")],
        ),
        ("/workspaces/root".to_owned(), vec![("enabled", "no")]),
        (
            "/account/password".to_owned(),
            vec![
                ("current_password", "7"),
                ("password", "8"),
                ("password_again", "9"),
            ],
        ),
        ("/account/sessions/0/end".to_owned(), vec![]),
        (
            "/audit/export".to_owned(),
            vec![("format", "csv"), ("since", "7")],
        ),
        (
            "/sign-in".to_owned(),
            vec![("user_name", "7"), ("password", "8")],
        ),
        ("/setup".to_owned(), vec![("code", "7")]),
    ] {
        owner.get("/console/account");
        let answer = owner.post(&format!("/console{path}"), &fields);
        assert!(answer.status >= 400, "{path} {fields:?}: {}", answer.status);
        found.look(&path, &owner.page);
    }
    found.nothing();
}

#[test]
fn a_file_that_is_none_of_a_language_stops_the_start() {
    let folder = fresh_folder();
    let path = folder.join("texts.txt");
    for (text, said) in [
        ("[nav]\nkeis = x\n", "nav.keis"),
        ("[nav]\nkeys\n", "line 2"),
        ("[when]\nago = {} {}\n", "a place {}"),
    ] {
        std::fs::write(&path, text).unwrap();
        let checked = crate::support::executable(None)
            .args(["check-config", "--console-texts"])
            .arg(&path)
            .output()
            .unwrap();
        let err = String::from_utf8_lossy(&checked.stderr).into_owned();
        assert!(
            !checked.status.success() && err.contains(said),
            "{text}: {err}"
        );
    }
    std::fs::write(&path, "[nav]\nkeys = Schlüssel\n").unwrap();
    let checked = crate::support::executable(None)
        .args(["check-config", "--console-texts"])
        .arg(&path)
        .output()
        .unwrap();
    assert!(checked.status.success());
    std::fs::remove_dir_all(folder).unwrap();
}

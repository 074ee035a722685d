//! Rows that somebody has changed past the server open nothing: after a start, after a restore, and while it runs.
//! Attacks 139, 195, 206.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use rusqlite::types::Value as Cell;
use rusqlite::{Connection, params};
use serde_json::{Value, json};

use super::restore::{back_up, restore};
use crate::command_line::Line;
use crate::support::{Issued, PASSWORD, Server, User, code, fresh_folder};
use crate::vspc::second_factor::register;

/// Tables without seals, and why a changed row opens nothing there.
const UNSEALED: &[(&str, &str)] = &[
    (
        "audit_checkpoint",
        "has the HMAC of the audit log's beginning; doctor and restore compare it",
    ),
    (
        "audit_events",
        "a chain of hashes; doctor and restore walk it",
    ),
    (
        "audit_head",
        "has the HMAC of the audit log's end; doctor and restore compare it",
    ),
    ("clock", "the time; it is judged in ops/clock.rs"),
    (
        "console_pages",
        "which policies have a page of their own in the console's navigation",
    ),
    (
        "idempotency_keys",
        "its request is sealed; what it names is shown to whoever may see that anyway",
    ),
    ("key_usage", "counters that nothing is decided by"),
    ("numbers", "the file of tombstones says the same"),
    (
        "peppers",
        "fingerprints; the server does not start unless they fit the pepper",
    ),
    (
        "sealing_keys",
        "fingerprints; the server does not start unless they fit the sealing key",
    ),
    ("usage_hours", "counters that nothing is decided by"),
    ("usage_totals", "counters that nothing is decided by"),
];

/// Something that works, and the row that it hangs on.
enum Hangs {
    /// A key is VALID.
    OnKey(String),
    /// A key of a catalog is VALID for an operation of it.
    OnCatalog(String),
    /// The user signs in; with a code if there is a secret of codes.
    OnUser(String, Option<String>),
    /// The token is good.
    OnSession(String),
    /// The refresh token can be exchanged.
    OnRefreshToken(String),
}

struct Instance {
    table: String,
    column: String,
    /// Finds the row: a column and its value.
    row: (&'static str, String),
    hangs: Hangs,
}

/// A server with an instance for each column of each sealed table, and one of each kind that nobody touches.
struct World {
    server: Server,
    instances: Vec<Instance>,
    untouched: Vec<Hangs>,
}

fn columns(database: &Connection, table: &str) -> Vec<String> {
    let mut statement = database
        .prepare("SELECT name FROM pragma_table_info(?1)")
        .unwrap();
    let rows = statement.query_map([table], |row| row.get(0)).unwrap();
    rows.map(Result::unwrap).collect()
}

fn tables(database: &Connection) -> Vec<String> {
    let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name";
    let mut statement = database.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| row.get(0)).unwrap();
    rows.map(Result::unwrap).collect()
}

fn sign_in(server: &Server, name: &str, secret: Option<&str>) -> Option<User> {
    let mut body = json!({ "user_name": name, "password": PASSWORD });
    if let Some(secret) = secret {
        body["code"] = json!(code(secret, 1));
    }
    let answer = server.local().post("/v1/sessions", body);
    let token = (answer.status == 201).then(|| answer.json()["access_token"].clone())?;
    Some(server.bearer(token.as_str()?))
}

fn refresh(server: &Server, form: &str) -> (u16, Value) {
    let kind = "application/x-www-form-urlencoded";
    let answer = server
        .local()
        .send("POST", "/api/v3/token", kind, form.as_bytes());
    (answer.status, answer.json())
}

impl World {
    fn new() -> World {
        let mut world = World {
            server: Server::start(),
            instances: Vec::new(),
            untouched: Vec::new(),
        };
        let database = Connection::open(world.server.data.join("latchkey.db")).unwrap();
        let admin = world.server.admin();
        admin.workspace("elsewhere", "root");
        admin
            .post("/v1/policies", json!({ "name": "other" }))
            .expect(201);
        let known: Vec<&str> = UNSEALED.iter().map(|(table, _)| *table).collect();
        let all = tables(&database);
        for table in &known {
            assert!(all.iter().any(|it| it == table), "there is no {table}");
        }
        let mut number = 0;
        for table in all.iter().filter(|table| !known.contains(&table.as_str())) {
            for column in columns(&database, table) {
                number += 1;
                let (row, hangs) = world.made(table, number);
                world.instances.push(Instance {
                    table: table.clone(),
                    column,
                    row,
                    hangs,
                });
            }
            number += 1;
            let (_, hangs) = world.made(table, number);
            world.untouched.push(hangs);
        }
        world
    }

    /// A thing with a row of this table, and what hangs on it.
    fn made(&self, table: &str, number: usize) -> ((&'static str, String), Hangs) {
        let admin = self.server.admin();
        let name = format!("n{number}");
        let id_of = |key: &Issued| key.id.clone();
        let key = |body: Value| {
            let mut whole = json!({ "name": name, "scopes": ["a:read"], "metadata": { "a": 1 } });
            for (member, value) in body.as_object().unwrap() {
                whole[member] = value.clone();
            }
            admin.issue(whole)
        };
        match table {
            "keys" => {
                let key = key(json!({ "rate_limit": { "limit": 9, "window_s": 60 } }));
                (("id", id_of(&key)), Hangs::OnKey(key.secret))
            }
            "secrets" => {
                let key = key(json!({}));
                (("key_id", id_of(&key)), Hangs::OnKey(key.secret))
            }
            "key_uses" => {
                let key = key(json!({ "uses_left": 40 }));
                (("key_id", id_of(&key)), Hangs::OnKey(key.secret))
            }
            "users" | "role_bindings" | "row_seals" => {
                let uid = admin.person(&name, "member", "root");
                let column = match table {
                    "users" => "uid",
                    "role_bindings" => "user_uid",
                    _ => "id",
                };
                ((column, uid), Hangs::OnUser(name, None))
            }
            "authenticators" => {
                let uid = admin.person(&name, "member", "root");
                let user = sign_in(&self.server, &name, None).unwrap();
                let (_, secret) = register(&user, &uid);
                (("user_uid", uid), Hangs::OnUser(name, Some(secret)))
            }
            "workspaces" => {
                let uid = admin.workspace(&name, "root");
                let key = key(json!({ "workspace": name }));
                (("uid", uid), Hangs::OnKey(key.secret))
            }
            "policies" => {
                admin
                    .post("/v1/policies", json!({ "name": name }))
                    .expect(201);
                let key = key(json!({ "policy": name }));
                (("name", name), Hangs::OnKey(key.secret))
            }
            "policy_roles" => {
                let policy = json!({
                    "name": name, "issued_by": "owner", "acts_for_owner": true,
                    "roles": { "member": { "scopes": ["*"] } },
                });
                admin.post("/v1/policies", policy).expect(201);
                admin.person(&name, "member", "root");
                let user = sign_in(&self.server, &name, None).unwrap();
                let key = user.issue(json!({ "name": name, "policy": name }));
                (("policy", name), Hangs::OnKey(key.secret))
            }
            "catalogs" | "catalog_scopes" | "catalog_operations" => {
                let catalog = json!({
                    "scopes": [{ "name": "a:read" }],
                    "operations": [{ "id": "list", "method": "GET", "path": "/a", "access": "read", "any_of": ["a:read"] }],
                });
                admin
                    .put(&format!("/v1/catalogs/{name}"), catalog)
                    .expect(201);
                let key = key(json!({ "catalog": name }));
                let column = if table == "catalogs" {
                    "name"
                } else {
                    "catalog"
                };
                ((column, name), Hangs::OnCatalog(key.secret))
            }
            "sessions" => {
                admin.person(&name, "member", "root");
                let body = json!({ "user_name": name, "password": PASSWORD });
                let token = self
                    .server
                    .local()
                    .post("/v1/sessions", body)
                    .expect(201)
                    .json();
                let token = token["access_token"].as_str().unwrap().to_owned();
                (("id", token[4..14].to_owned()), Hangs::OnSession(token))
            }
            "refresh_tokens" => {
                admin.person(&name, "member", "root");
                let password = PASSWORD.replace(' ', "+");
                let form = format!("grant_type=password&username={name}&password={password}");
                let (status, pair) = refresh(&self.server, &form);
                assert_eq!(status, 200, "{pair}");
                let token = pair["refresh_token"].as_str().unwrap().to_owned();
                let id = token.split_once('_').unwrap().1[..10].to_owned();
                (("id", id), Hangs::OnRefreshToken(token))
            }
            other => {
                panic!("decide whether {other} is sealed: see schema.sql and src/store/seals/")
            }
        }
    }

    fn works(&self, hangs: &Hangs) -> bool {
        let verdict = |question: Value| self.server.admin().verify(question)["code"] == "VALID";
        match hangs {
            Hangs::OnKey(secret) => verdict(json!({ "key": secret })),
            Hangs::OnCatalog(secret) => {
                verdict(json!({ "key": secret, "method": "GET", "path": "/a" }))
            }
            Hangs::OnUser(name, secret) => sign_in(&self.server, name, secret.as_deref()).is_some(),
            Hangs::OnSession(token) => self.server.bearer(token).get("/v1/users").status != 401,
            Hangs::OnRefreshToken(token) => {
                let form = format!("grant_type=refresh_token&refresh_token={token}");
                refresh(&self.server, &form).0 == 200
            }
        }
    }

    /// Changes each instance's column in the database of a stopped server, whatever the schema says of its values; or in
    /// a backup, as far as the schema lets it: the others are refused as damaged. Returns how many were changed; those
    /// that were not are forgotten.
    fn change_all(&mut self, file: &Path, lenient: bool) -> usize {
        let database = Connection::open(file).unwrap();
        let pragmas = match lenient {
            true => "PRAGMA foreign_keys = OFF; PRAGMA ignore_check_constraints = ON",
            false => "PRAGMA foreign_keys = ON",
        };
        database.execute_batch(pragmas).unwrap();
        self.instances.retain(|one| {
            let (table, column, (by, value)) = (&one.table, &one.column, &one.row);
            let select = format!("SELECT {column} FROM {table} WHERE {by} = ?1");
            let now: Cell = database
                .query_row(&select, [value], |row| row.get(0))
                .unwrap_or_else(|err| panic!("{select} ({value}): {err}"));
            let new = other(&database, table, column, now);
            let update = format!("UPDATE {table} SET {column} = ?1 WHERE {by} = ?2");
            let changed = database.execute(&update, params![new, value]);
            assert!(
                !lenient || changed == Ok(1),
                "{update} {new:?} ({value}): {changed:?}"
            );
            changed == Ok(1)
        });
        self.instances.len()
    }

    /// Names the columns whose change has closed nothing.
    #[track_caller]
    fn check(&self, counts: impl Fn(&Hangs) -> bool) {
        let open: Vec<String> = self
            .instances
            .iter()
            .filter(|one| counts(&one.hangs) && self.works(&one.hangs))
            .map(|one| format!("{}.{}", one.table, one.column))
            .collect();
        assert!(
            open.is_empty(),
            "still open: {open:?}\n{}",
            self.server.log()
        );
        for (place, hangs) in self.untouched.iter().enumerate() {
            assert!(
                !counts(hangs) || self.works(hangs),
                "{place} was not touched and does not work\n{}",
                self.server.log()
            );
        }
    }
}

/// Another value that the column could have.
fn other(database: &Connection, table: &str, column: &str, now: Cell) -> Cell {
    let text = |text: &str| Cell::Text(text.to_owned());
    let lone = |sql: &str| {
        database
            .query_row(sql, [], |row| row.get::<_, Cell>(0))
            .unwrap()
    };
    match column {
        "workspace_uid" | "home_uid" | "parent_uid" => {
            return lone("SELECT uid FROM workspaces WHERE slug = 'elsewhere'");
        }
        "owner_uid" | "acting_uid" => {
            return lone("SELECT uid FROM users WHERE user_name = 'owner'");
        }
        "uid" | "user_uid" => return text("00000000-0000-4000-8000-000000000000"),
        "policy" => return text("other"),
        "editable" => return text("name"),
        "allowed_ips" => return text("0.0.0.0/0"),
        "metadata" => return text(r#"{"a":2}"#),
        _ => {}
    }
    let sql = "SELECT sql FROM sqlite_schema WHERE name = ?1";
    let sql: String = database.query_row(sql, [table], |row| row.get(0)).unwrap();
    if let Some((_, rest)) = sql.split_once(&format!("({column} IN ('")) {
        let words = rest.split_once(')').unwrap().0.trim_end_matches('\'');
        let mut words = words.split("', '").map(text);
        return words.find(|word| *word != now).unwrap();
    }
    let kind = "SELECT type FROM pragma_table_info(?1) WHERE name = ?2";
    let kind: String = database
        .query_row(kind, [table, column], |row| row.get(0))
        .unwrap();
    match now {
        Cell::Integer(number @ (0 | 1)) => Cell::Integer(1 - number),
        Cell::Integer(number) => Cell::Integer(number + 1_000_000),
        Cell::Text(mut old) => {
            let last = old.pop();
            old.push(if last == Some('z') { 'y' } else { 'z' });
            Cell::Text(old)
        }
        Cell::Blob(old) => Cell::Blob(vec![7; old.len()]),
        Cell::Null if kind == "INTEGER" => Cell::Integer(1_000),
        Cell::Null if kind == "TEXT" => text("0"),
        Cell::Null => Cell::Blob(vec![7; 32]),
        Cell::Real(_) => unreachable!("tables are strict"),
    }
}

#[test]
fn after_a_start_nothing_is_open_that_hangs_on_a_changed_column() {
    let mut world = World::new();
    world.server.stop();
    let file = world.server.data.join("latchkey.db");
    let changed = world.change_all(&file, true);
    assert!(changed > 110, "{changed}");
    world.server.restart();
    world.check(|_| true);
    Line::of(&world.server).ok(&["audit", "verify"]);
    // Whatever was closed stays closed.
    world.server.restart();
    world.check(|hangs| !matches!(hangs, Hangs::OnRefreshToken(_) | Hangs::OnUser(_, Some(_))));
}

#[test]
fn after_a_restore_nothing_is_open_that_hangs_on_a_changed_column() {
    let mut world = World::new();
    let backup = back_up(&world.server);
    let changed = world.change_all(&backup, false);
    assert!(changed > 70, "{changed}");
    restore(&mut world.server, &backup, &["--keep-uses"]);
    world.server.restart();
    // Sessions end with a restore.
    world.check(|hangs| !matches!(hangs, Hangs::OnRefreshToken(_) | Hangs::OnSession(_)));
}

/// Runs statements on the database of a server that is stopped.
#[track_caller]
fn change(data: &Path, sql: &str) {
    let database = Connection::open(data.join("latchkey.db")).unwrap();
    database
        .execute_batch(sql)
        .unwrap_or_else(|err| panic!("{sql}: {err}"));
}

/// The text and the advice of a failed check of doctor.
#[track_caller]
fn failed(line: &Line, name: &str) -> (String, String) {
    let told: Value = serde_json::from_str(&line.run(&["doctor", "--json"]).stdout).unwrap();
    let checks = told["checks"].as_array().unwrap();
    let check = checks.iter().find(|check| check["name"] == name).unwrap();
    assert_eq!(check["finding"], "failed", "{told}");
    let text = |member: &str| check[member].as_str().unwrap().to_owned();
    (text("text"), text("advice"))
}

#[test]
fn what_was_closed_is_named_and_opens_again_once_it_is_accepted() {
    let mut server = Server::start();
    let admin = server.admin();
    let key =
        admin.issue(json!({ "name": "k", "scopes": ["a:read"], "metadata": { "t": "north" } }));
    admin.person("alice", "member", "root");
    admin
        .post("/v1/policies", json!({ "name": "mine" }))
        .expect(201);
    let of_policy = admin.issue(json!({ "name": "p", "policy": "mine" }));
    server.stop();
    change(
        &server.data,
        &format!(
            r#"UPDATE keys SET scopes = 'a:read a:write', metadata = '{{"t":"south"}}' WHERE id = '{}';
               UPDATE users SET email = 'mallory@example.com' WHERE user_name = 'alice';
               UPDATE policies SET expiry_s_max = NULL, can_rotate = 0 WHERE name = 'mine';"#,
            key.id
        ),
    );
    server.restart();
    let (admin, line) = (server.admin(), Line::of(&server));
    assert_eq!(admin.verdict(&key.secret), "DISABLED");
    server.wait_for_log(&format!("key {} (last recorded: event", key.id), 1);
    assert_eq!(admin.verdict(&of_policy.secret), "DISABLED");
    assert_eq!(admin.key(&key.id)["state"], "disabled");
    assert_eq!(admin.key(&of_policy.id)["state"], "disabled");
    assert_eq!(
        admin.get("/v1/users/alice").expect(200).json()["enabled"],
        false
    );
    for (name, found, accept) in [
        (
            "keys and audit log",
            format!("key {}: scopes, metadata", key.id),
            "doctor accept key",
        ),
        (
            "users as recorded",
            "user alice".to_owned(),
            "doctor accept user",
        ),
        (
            "policies as recorded",
            "policy mine".to_owned(),
            "doctor accept policy",
        ),
    ] {
        let (text, advice) = failed(&line, name);
        assert!(text.contains(&found), "{text}");
        assert!(advice.contains(accept), "{advice}");
    }
    let events = line.ok(&["audit", "list", "--action", "key.tampered", "--json"]);
    assert!(events.contains(&key.id), "{events}");

    // Nobody opens it again from elsewhere, or issues keys of such a policy.
    let enable = format!("/v1/keys/{}/enable", key.id);
    let refused = admin.post(&enable, json!({})).expect(409).text();
    assert!(refused.contains("doctor accept key"), "{refused}");
    let refused = admin.patch("/v1/users/alice", json!({ "enabled": true }));
    assert!(refused.expect(409).text().contains("doctor accept user"));
    let refused = admin.post("/v1/keys", json!({ "name": "n", "policy": "mine" }));
    assert!(refused.expect(409).text().contains("doctor accept policy"));
    let refused = admin.patch("/v1/policies/mine", json!({ "description": "x" }));
    assert!(refused.expect(409).text().contains("doctor accept policy"));
    let body = json!({ "kind": "key", "id": key.id });
    admin.post("/v1/doctor/accept", body).expect(403);

    let said = line.ok(&["doctor", "accept", "key", &key.id]);
    assert!(
        said.contains(&format!("latchkey key enable {}", key.id)),
        "{said}"
    );
    line.ok(&["doctor", "accept", "user", "alice"]);
    line.ok(&["doctor", "accept", "policy", "mine"]);
    assert_eq!(admin.verdict(&of_policy.secret), "VALID");
    assert_eq!(admin.verdict(&key.secret), "DISABLED");
    admin.post(&enable, json!({})).expect(200);
    assert_eq!(admin.verdict(&key.secret), "VALID");
    admin
        .patch("/v1/users/alice", json!({ "enabled": true }))
        .expect(200);
    server.anonymous().signed_in("alice", PASSWORD);
    let ran = line.run(&["doctor"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let again = line.refused(&["doctor", "accept", "key", &key.id], 1);
    assert!(again.contains("nothing to accept"), "{again}");
    line.refused(&["doctor", "accept", "pepper", "1"], 1);
    line.refused(&["doctor", "accept", "user", "nobody"], 1);
    server.restart();
    assert_eq!(server.admin().verdict(&key.secret), "VALID");
    Line::of(&server).ok(&["audit", "verify"]);
}

#[test]
fn an_older_key_with_its_older_seal_and_older_uses_are_closed() {
    let mut server = Server::start();
    let admin = server.admin();
    let [rotated, disabled, counted] = ["rotated", "disabled", "counted"]
        .map(|name| admin.issue(json!({ "name": name, "uses_left": 5 })));
    server.stop();
    let older = fresh_folder().join("older.db");
    fs::copy(server.data.join("latchkey.db"), &older).unwrap();
    server.restart();
    let admin = server.admin();
    admin.rotate(&rotated.id, json!({}));
    admin
        .post(&format!("/v1/keys/{}/disable", disabled.id), json!({}))
        .expect(200);
    admin.edit(&counted.id, json!({ "uses_left": 1 }));
    assert_eq!(admin.verdict(&counted.secret), "VALID");
    server.stop();
    let put_back = |id: &str| {
        format!(
            "DELETE FROM secrets WHERE key_id = '{id}';
             INSERT INTO secrets SELECT * FROM older.secrets WHERE key_id = '{id}';
             UPDATE keys SET (enabled, rotated_at, hint, seal) =
                 (SELECT enabled, rotated_at, hint, seal FROM older.keys WHERE id = '{id}') WHERE id = '{id}';
             UPDATE key_uses SET (uses_left, seal) =
                 (SELECT uses_left, seal FROM older.key_uses WHERE key_id = '{id}') WHERE key_id = '{id}';"
        )
    };
    let uses = format!(
        "UPDATE key_uses SET (uses_left, seal) =
             (SELECT uses_left, seal FROM older.key_uses WHERE key_id = '{id}') WHERE key_id = '{id}';",
        id = counted.id
    );
    let attach = format!("ATTACH '{}' AS older;", older.display());
    change(
        &server.data,
        &[attach, put_back(&rotated.id), put_back(&disabled.id), uses].concat(),
    );
    server.restart();
    for key in [&rotated, &disabled, &counted] {
        assert_eq!(server.admin().verdict(&key.secret), "DISABLED");
    }
}

/// What was changed while the server runs is found at the next sign-in, use or change of it.
#[test]
fn what_is_changed_past_a_running_server_lets_nobody_in() {
    let server = Server::start();
    let admin = server.admin();
    admin.person("alice", "member", "root");
    admin.person("bob", "member", "root");
    let counted = admin.issue(json!({ "name": "c", "uses_left": 3 }));
    let moved = admin.issue(json!({ "name": "m" }));
    for _ in 0..3 {
        assert_eq!(admin.verdict(&counted.secret), "VALID");
    }
    change(
        &server.data,
        &format!(
            "UPDATE users SET (password_digest, password_pepper) =
                 (SELECT password_digest, password_pepper FROM users WHERE user_name = 'alice') WHERE user_name = 'bob';
             UPDATE key_uses SET uses_left = 1000 WHERE key_id = '{}';
             UPDATE keys SET scopes = 'a:write' WHERE id = '{}';",
            counted.id, moved.id
        ),
    );
    let session = json!({ "user_name": "bob", "password": PASSWORD });
    server.anonymous().post("/v1/sessions", session).expect(401);
    server.anonymous().signed_in("alice", PASSWORD);
    assert_ne!(admin.verdict(&counted.secret), "VALID");
    // A change of the same thing does not make it good.
    admin.edit(&moved.id, json!({ "name": "n" }));
    assert_eq!(admin.verdict(&moved.secret), "DISABLED");
    assert_eq!(admin.key(&moved.id)["enabled"], false);
}

/// Of two policies one is changed past the server; a change of the other does not bring that into force.
#[test]
fn a_change_of_one_policy_brings_no_other_one_into_force() {
    let server = Server::start();
    let admin = server.admin();
    for name in ["one", "two"] {
        admin
            .post(
                "/v1/policies",
                json!({ "name": name, "secret_shown": "sealed" }),
            )
            .expect(201);
    }
    let sealed = admin.issue(json!({ "name": "s", "policy": "two" }));
    change(
        &server.data,
        "UPDATE policies SET tied_to = 'workspace' WHERE name = 'one'",
    );
    // This drops sealed copies, which are part of what is sealed of a key.
    admin
        .patch("/v1/policies/two", json!({ "secret_shown": "once" }))
        .expect(200);
    admin.get("/v1/policies/one").expect(404);
    let mut server = server;
    server.restart();
    assert_eq!(server.admin().verdict(&sealed.secret), "VALID");
}

/// A workspace that was moved below another one is out of the reach of whoever manages that.
#[test]
fn a_workspace_that_was_moved_goes_back_to_its_parent() {
    let mut server = Server::start();
    let admin = server.admin();
    for slug in ["mine", "yours"] {
        admin.workspace(slug, "root");
    }
    admin.person("mallory", "administrator", "mine");
    let key = admin.issue(json!({ "name": "k", "workspace": "yours" }));
    server.stop();
    let moved = "UPDATE workspaces SET parent_uid = (SELECT uid FROM workspaces WHERE slug = 'mine') WHERE slug = 'yours'";
    change(&server.data, moved);
    server.restart();
    assert_eq!(server.admin().verdict(&key.secret), "WORKSPACE_DISABLED");
    let mallory = server.anonymous().signed_in("mallory", PASSWORD);
    mallory.get(&format!("/v1/keys/{}", key.id)).expect(404);
    mallory.get("/v1/workspaces/yours").expect(404);
    let line = Line::of(&server);
    line.ok(&["doctor", "accept", "workspace", "yours"]);
    line.ok(&["workspace", "enable", "yours"]);
    assert_eq!(server.admin().verdict(&key.secret), "VALID");
}

/// Ordinary work leaves no row that does not fit its seal.
#[test]
fn whatever_the_server_does_itself_fits_its_seal() {
    let mut server = Server::start();
    let admin = server.admin();
    admin.person("alice", "key_manager", "root");
    let catalog = |scopes: Value| json!({ "scopes": scopes, "operations": [] });
    let both = json!([{ "name": "a:read" }, { "name": "b:read" }]);
    admin.put("/v1/catalogs/shop", catalog(both)).expect(201);
    let shopper =
        json!({ "name": "s", "catalog": "shop", "scopes": ["a:read", "b:read"], "uses_left": 9 });
    let keys: BTreeMap<&str, Issued> = [
        "edited",
        "rotated",
        "graced",
        "counted",
        "uncounted",
        "deleted",
        "shopper",
    ]
    .into_iter()
    .map(|name| (name, admin.issue(shopper.clone())))
    .collect();
    let path = |name: &str| format!("/v1/keys/{}", keys[name].id);
    admin.edit(
        &keys["edited"].id,
        json!({ "metadata": { "x": "é" }, "allowed_ips": ["127.0.0.1"] }),
    );
    let new = admin.rotate(&keys["rotated"].id, json!({}));
    let graced = admin.rotate(
        &keys["graced"].id,
        json!({ "grace_s": 600, "until_first_use": true }),
    );
    assert_eq!(admin.verdict(&graced.secret), "VALID");
    admin.edit(&keys["uncounted"].id, json!({ "uses_left": null }));
    admin.delete(&path("deleted")).expect(204);
    for _ in 0..4 {
        assert_eq!(admin.verdict(&keys["counted"].secret), "VALID");
    }
    admin
        .put("/v1/catalogs/shop", catalog(json!([{ "name": "a:read" }])))
        .expect(200);
    server.anonymous().signed_in("alice", PASSWORD);
    for stopped in [false, true] {
        if stopped {
            server.stop();
        }
        let ran = Line::at(&server.data).run(&["doctor", "--json"]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
    }
    server.restart();
    let admin = server.admin();
    for secret in [&new.secret, &graced.secret, &keys["uncounted"].secret] {
        assert_eq!(admin.verdict(secret), "VALID");
    }
    assert_eq!(admin.key(&keys["counted"].id)["uses_left"], 5);
    assert!(!server.log().contains("past Latchkey"), "{}", server.log());
}

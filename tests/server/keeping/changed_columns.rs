//! If any column of a sealed table is changed outside the server, nothing that depends on it grants access: after a
//! start and after a restore. Attacks 139, 195, 206.

use std::path::Path;

use rusqlite::types::Value as Cell;
use rusqlite::{Connection, params};
use serde_json::{Value, json};

use super::restore::{back_up, restore};
use super::unsealed::UNSEALED;
use crate::command_line::Line;
use crate::people::second_factor::enrol;
use crate::support::{Issued, PASSWORD, Server, User, code};
use crate::vspc::second_factor::register;

/// Columns of sealed tables that no seal covers, and why a changed one grants nothing.
const UNSEALED_COLUMNS: &[(&str, &[&str], &str)] = &[
    (
        "sites",
        &[
            "pack",
            "base",
            "life",
            "report",
            "reported_at",
            "applied",
            "applied_events",
        ],
        "what is known of packs and reports; a site refuses a number a second time",
    ),
    (
        "site_lent",
        &["site"],
        "a row of another site is missing at this one, which then has fewer uses",
    ),
];

/// Something that works only if its row is unchanged.
enum Hangs {
    /// A key is VALID.
    Key(String),
    /// A key of a catalog is VALID for an operation of it.
    Catalog(String),
    /// The user signs in; with a one-time code if there is a secret for codes.
    User(String, Option<String>),
    /// The access token is accepted.
    Session(String),
    /// The refresh token can be exchanged.
    RefreshToken(String),
    /// A pack is made for the site.
    Site(String),
}

struct Instance {
    table: String,
    column: String,
    /// Identifies the row: a column and its value.
    row: (&'static str, String),
    hangs: Hangs,
}

/// A server with one instance for each column of each sealed table, and one unchanged instance for each table.
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
            let is_sealed = |column: &String| {
                let mut all = UNSEALED_COLUMNS.iter();
                !all.any(|(of, columns, _)| of == table && columns.contains(&column.as_str()))
            };
            for column in columns(&database, table).into_iter().filter(is_sealed) {
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

    /// Creates an object with a row in this table, and returns the row and what depends on it.
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
                (("id", id_of(&key)), Hangs::Key(key.secret))
            }
            "secrets" => {
                let key = key(json!({}));
                (("key_id", id_of(&key)), Hangs::Key(key.secret))
            }
            "key_uses" => {
                let key = key(json!({ "uses_left": 40 }));
                (("key_id", id_of(&key)), Hangs::Key(key.secret))
            }
            "users" | "role_bindings" | "row_seals" => {
                let uid = admin.person(&name, "member", "root");
                let column = match table {
                    "users" => "uid",
                    "role_bindings" => "user_uid",
                    _ => "id",
                };
                ((column, uid), Hangs::User(name, None))
            }
            "authenticators" => {
                let uid = admin.person(&name, "member", "root");
                let user = sign_in(&self.server, &name, None).unwrap();
                let (_, secret) = register(&user, &uid);
                (("user_uid", uid), Hangs::User(name, Some(secret)))
            }
            "recovery_codes" => {
                let uid = admin.person(&name, "member", "root");
                let secret = enrol(&self.server.local(), &name).0;
                let database = Connection::open(self.server.data.join("latchkey.db")).unwrap();
                let sql = "SELECT hex(digest) FROM recovery_codes WHERE user_uid = ?1 LIMIT 1";
                let digest = database.query_row(sql, [uid], |row| row.get(0)).unwrap();
                (("hex(digest)", digest), Hangs::User(name, Some(secret)))
            }
            "workspaces" => {
                let uid = admin.workspace(&name, "root");
                let key = key(json!({ "workspace": name }));
                (("uid", uid), Hangs::Key(key.secret))
            }
            "policies" => {
                admin
                    .post("/v1/policies", json!({ "name": name }))
                    .expect(201);
                let key = key(json!({ "policy": name }));
                (("name", name), Hangs::Key(key.secret))
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
                (("policy", name), Hangs::Key(key.secret))
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
                ((column, name), Hangs::Catalog(key.secret))
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
                (("id", token[4..14].to_owned()), Hangs::Session(token))
            }
            "refresh_tokens" => {
                admin.person(&name, "member", "root");
                let password = PASSWORD.replace(' ', "+");
                let form = format!("grant_type=password&username={name}&password={password}");
                let (status, pair) = refresh(&self.server, &form);
                assert_eq!(status, 200, "{pair}");
                let token = pair["refresh_token"].as_str().unwrap().to_owned();
                let id = token.split_once('_').unwrap().1[..10].to_owned();
                (("id", id), Hangs::RefreshToken(token))
            }
            "sites" | "site_parts" | "site_lent" => {
                let workspace = admin.workspace(&name, "root");
                let body = json!({
                    "name": name, "workspaces": [workspace], "passphrase": "nine anchors in the meadow", "server": "server.example",
                });
                self.server.local().post("/v1/sites", body).expect(201);
                key(json!({ "workspace": name, "uses_left": 500 }));
                let hangs = Hangs::Site(name.clone());
                assert!(self.works(&hangs));
                (
                    (if table == "sites" { "name" } else { "site" }, name),
                    hangs,
                )
            }
            other => {
                panic!("decide whether {other} is sealed: see schema.sql and src/store/seals/")
            }
        }
    }

    fn works(&self, hangs: &Hangs) -> bool {
        let verdict = |question: Value| self.server.admin().verify(question)["code"] == "VALID";
        match hangs {
            Hangs::Key(secret) => verdict(json!({ "key": secret })),
            Hangs::Catalog(secret) => {
                verdict(json!({ "key": secret, "method": "GET", "path": "/a" }))
            }
            Hangs::User(name, secret) => sign_in(&self.server, name, secret.as_deref()).is_some(),
            Hangs::Session(token) => self.server.bearer(token).get("/v1/users").status != 401,
            Hangs::RefreshToken(token) => {
                let form = format!("grant_type=refresh_token&refresh_token={token}");
                refresh(&self.server, &form).0 == 200
            }
            Hangs::Site(name) => {
                let body = json!({ "sites": [name] });
                self.server.local().post("/v1/packs", body).status == 201
            }
        }
    }

    /// Changes the column of each instance in the database of a stopped server, without the checks of the schema; or in
    /// a backup, where the schema applies, because a backup that violates it is refused as damaged. Returns how many
    /// instances were changed; the others are dropped.
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

    /// Fails with the names of the columns whose change has not disabled anything.
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

/// Another value that the column could contain.
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
    // Everything that was disabled stays disabled.
    world.server.restart();
    world.check(|hangs| !matches!(hangs, Hangs::RefreshToken(_) | Hangs::User(_, Some(_))));
}

#[test]
fn after_a_restore_nothing_is_open_that_hangs_on_a_changed_column() {
    let mut world = World::new();
    let backup = back_up(&world.server);
    let changed = world.change_all(&backup, false);
    assert!(changed > 70, "{changed}");
    restore(&mut world.server, &backup, &["--keep-uses"]);
    world.server.restart();
    // A restore ends all sessions.
    world.check(|hangs| !matches!(hangs, Hangs::RefreshToken(_) | Hangs::Session(_)));
}

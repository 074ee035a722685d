//! Secrets of other systems: they work after an import as before, and their digests are replaced at the first good use.

use base64ct::Encoding;
use ring::digest::{SHA256, digest};
use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};

use crate::faults::{disk::Disk, left_out};
use crate::support::{Random, Server, wait};

/// How often the server is killed. The number of the specification is 200; LATCHKEY_TEST_KILLS sets it.
const KILLS: u32 = 25;

fn sha256(secret: &str) -> String {
    let bytes = digest(&SHA256, secret.as_bytes());
    let hex: String = bytes
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("sha256:{hex}")
}

/// Imports keys with these members, one a line.
fn import(server: &Server, keys: &[Value]) {
    let lines: Vec<String> = keys.iter().map(Value::to_string).collect();
    let body = lines.join("\n");
    let path = "/v1/keys/import?source=jsonl";
    let report = server
        .admin()
        .send("POST", path, "application/jsonl", body.as_bytes())
        .expect(200)
        .json();
    assert_eq!(report["taken"], keys.len(), "{report}");
}

fn import_secrets(server: &Server, secrets: &[String]) {
    let keys: Vec<Value> = (secrets.iter().enumerate())
        .map(
            |(number, secret)| json!({ "name": format!("key {number}"), "digest": sha256(secret) }),
        )
        .collect();
    import(server, &keys);
}

/// The number of secrets of other systems in the database, by scheme.
fn stored(server: &Server, is_own: bool) -> i64 {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
    let database = Connection::open_with_flags(server.data.join("latchkey.db"), flags).unwrap();
    let sql = "SELECT count(*) FROM secrets WHERE is_foreign = 1 AND (scheme = 1) = ?1";
    database.query_row(sql, [is_own], |row| row.get(0)).unwrap()
}

fn secrets(count: usize) -> Vec<String> {
    (0..count)
        .map(|number| format!("sk-live-{number:08}-of-another-system"))
        .collect()
}

#[test]
fn imported_secrets_work_at_once_and_after_one_use_all_are_under_the_pepper() {
    let mut server = Server::start();
    let secrets = secrets(40);
    import_secrets(&server, &secrets);
    assert_eq!((stored(&server, false), stored(&server, true)), (40, 0));
    let local = server.local();
    for secret in &secrets {
        let verdict = local.verify(json!({ "key": secret }));
        assert_eq!(verdict["code"], "VALID", "{verdict}");
        assert_eq!(local.verdict(&sha256(secret)), "NOT_FOUND");
    }
    wait::until("every digest is replaced", || stored(&server, true) == 40);
    for secret in &secrets {
        assert_eq!(local.verdict(secret), "VALID");
    }
    let events = server
        .admin()
        .get("/v1/audit-events?action=secrets.upgrade")
        .expect(200)
        .json();
    let events = events["items"].as_array().unwrap();
    let replaced: i64 = events
        .iter()
        .map(|event| event["changes"]["digests"][1].as_str().unwrap())
        .map(|count| count.parse::<i64>().unwrap())
        .sum();
    assert_eq!(replaced, 40, "{events:?}");
    server.restart();
    for secret in &secrets {
        assert_eq!(server.local().verdict(secret), "VALID");
    }
    let key = server
        .admin()
        .get("/v1/keys?q=%22key+7%22")
        .expect(200)
        .json();
    let key = &key["items"][0];
    assert_eq!(
        (&key["weak"], &key["source"]),
        (&json!(true), &json!("import:jsonl"))
    );
    let id = key["id"].as_str().unwrap();
    let rotated = server.admin().rotate(id, json!({ "grace_s": 60 }));
    assert!(rotated.secret.starts_with("lk_"), "{}", rotated.key);
    assert!(rotated.key["weak"].is_null(), "{}", rotated.key);
    // Both work during the grace period, and the older one ends with the key.
    assert_eq!(server.local().verdict(&rotated.secret), "VALID");
    assert_eq!(server.local().verdict(&secrets[7]), "VALID");
    server.admin().delete(&format!("/v1/keys/{id}")).expect(204);
    for gone in [&rotated.secret, &secrets[7]] {
        assert_eq!(server.local().verdict(gone), "NOT_FOUND");
    }
}

#[test]
fn a_foreign_secret_opens_nothing_on_the_server_itself() {
    let server = Server::start();
    let secrets = secrets(1);
    import_secrets(&server, &secrets);
    for path in ["/v1/keys", "/v1/whoami"] {
        assert_eq!(server.bearer(&secrets[0]).get(path).status, 401, "{path}");
    }
}

#[test]
fn killed_at_any_moment_of_the_upgrade_every_secret_goes_on_working() {
    let mut server = Server::start();
    let secrets = secrets(60);
    import_secrets(&server, &secrets);
    let mut random = Random::from(5);
    let kills = std::env::var("LATCHKEY_TEST_KILLS").ok();
    let kills = kills.map_or(KILLS, |text| text.parse().unwrap());
    for round in 0..kills {
        let first = random.below(secrets.len() as u64) as usize;
        for secret in secrets.iter().cycle().skip(first).take(4) {
            assert_eq!(
                server.local().verdict(secret),
                "VALID",
                "round {round}: {secret}"
            );
        }
        // Upgrades are written at most a second after the use.
        wait::pause(std::time::Duration::from_millis(
            random.below(40) * (round % 3) as u64,
        ));
        server.kill9();
        server.restart();
    }
    for secret in &secrets {
        assert_eq!(server.local().verdict(secret), "VALID", "{secret}");
    }
    wait::until("every digest is replaced", || stored(&server, true) == 60);
}

#[test]
fn on_a_full_disk_the_old_digest_goes_on_working_and_is_replaced_later() {
    let Some(disk) = Disk::mount("4m") else {
        return left_out("a full disk: nothing can be mounted here");
    };
    let server = Server::start_at(&disk.0.join("data"));
    let secrets = secrets(10);
    import_secrets(&server, &secrets);
    disk.fill();
    for _ in 0..3 {
        for secret in &secrets {
            assert_eq!(server.local().verdict(secret), "VALID");
        }
        disk.fill();
    }
    disk.free();
    wait::until("every digest is replaced", || {
        for secret in &secrets {
            assert_eq!(server.local().verdict(secret), "VALID");
        }
        stored(&server, true) == 10
    });
}

/// `htpasswd -nbBC 4 alice password`
const HTPASSWD: &str = "$2y$04$.k9hecJyFHrgfJDEuwjaIOWAIJmindjmVjv5/0y2fDIJzsBwawFlO";

#[test]
fn a_password_of_htpasswd_works_in_basic_where_the_policy_allows_the_header() {
    let server = Server::start();
    let policy = json!({ "name": "basic", "headers": ["bearer", "basic"], "owner": "optional" });
    server.admin().post("/v1/policies", policy).expect(201);
    import(
        &server,
        &[json!({ "name": "alice", "digest": HTPASSWD, "found_by": "alice:", "policy": "basic" })],
    );
    let ask = |credentials: &str| {
        let encoded = base64ct::Base64::encode_string(credentials.as_bytes());
        let value = format!("Basic {encoded}");
        let headers = [
            ("Authorization", value.as_str()),
            ("X-Original-Method", "GET"),
            ("X-Original-URI", "/"),
        ];
        server.call("GET", "/auth/nginx", &headers, None).status
    };
    for wrong in [
        "alice:wrong",
        "bob:password",
        "alice:",
        ":password",
        "password:alice",
    ] {
        assert_eq!(ask(wrong), 401, "{wrong}");
    }
    assert_eq!(ask("alice:password"), 200);
    wait::until("the digest is replaced", || stored(&server, true) == 1);
    assert_eq!(ask("alice:password"), 200);
    assert_eq!(ask("alice:passworD"), 401);
}

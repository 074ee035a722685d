//! Keys move here from the systems that made them: real dumps of better-auth, djangorestframework-api-key and htpasswd are
//! imported with the command line, their clients pass nginx with the secrets that they have, and afterwards the database
//! has these secrets under the pepper. The configuration of nginx is taken from the page about moving.

use std::collections::BTreeMap;

use base64ct::Encoding;
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;

use crate::harness::client::{Reply, Request, get};
use crate::harness::proxy::NGINX;
use crate::harness::stage::Stage;
use crate::made::{self, Made};
use crate::wait;

/// The scheme of a digest under the pepper.
const PEPPERED: i64 = 1;

const PAGE: &str = include_str!("../../docs/moving-here.md");

/// A dump of a system, and what is expected of its import.
struct Move {
    made: &'static Made,
    /// The source and the file, as `latchkey import` takes them.
    source: &'static str,
    file: &'static str,
    policy: Option<&'static str>,
    /// A request as the clients of the system send it.
    request: fn(secret: &str) -> Request,
    /// The names of the keys that work here, which is at most what the system itself accepts.
    working: &'static [&'static str],
    /// The names of the keys that are taken and do not work.
    closed: &'static [&'static str],
    /// The names of the keys that are not taken.
    refused: usize,
}

#[test]
fn keys_of_better_auth_pass_nginx_and_get_under_the_pepper() {
    let Some(made) = made::better_auth() else {
        return;
    };
    let question = [("/auth/nginx;", "/auth/nginx?header=x-api-key;")];
    assert!(section("better-auth").contains("`?header=x-api-key`"));
    let Some(mut stage) = Stage::set_changed(&NGINX, &question) else {
        return;
    };
    check(
        &mut stage,
        &Move {
            made,
            source: "better-auth",
            file: "auth.db",
            policy: None,
            request: |secret| get("/").header("X-API-Key", secret),
            working: &["plain", "full", "refilled"],
            closed: &["disabled"],
            // Its limit cannot be kept: "odd window".
            refused: 1,
        },
    );
}

#[test]
fn keys_of_djangorestframework_api_key_pass_nginx_and_get_under_the_pepper() {
    let Some(made) = made::drf() else {
        return;
    };
    let map = block("djangorestframework-api-key", "nginx");
    let in_question = "proxy_set_header Authorization $key_header;";
    assert!(section("djangorestframework-api-key").contains(in_question));
    let upstream = "    upstream latchkey {";
    let changes = [
        (upstream, format!("{map}\n{upstream}")),
        (
            "proxy_set_header Authorization $http_authorization;",
            in_question.to_owned(),
        ),
    ];
    let changes = changes.each_ref().map(|(from, to)| (*from, to.as_str()));
    let Some(mut stage) = Stage::set_changed(&NGINX, &changes) else {
        return;
    };
    check(
        &mut stage,
        &Move {
            made,
            source: "drf",
            file: "keys.csv",
            policy: None,
            request: |secret| get("/").header("Authorization", &format!("Api-Key {secret}")),
            working: &["plain", "ends", "of version 2"],
            closed: &[],
            // "ended" and "revoked".
            refused: 2,
        },
    );
}

#[test]
fn passwords_of_htpasswd_pass_nginx_and_get_under_the_pepper() {
    let Some(made) = made::htpasswd() else {
        return;
    };
    let Some(mut stage) = Stage::set(&NGINX) else {
        return;
    };
    let commands = block("htpasswd", "sh");
    let policy = commands.split('\'').nth(1).unwrap();
    let policy: Value = serde_json::from_str(policy).unwrap();
    assert_eq!(policy["name"], "clients", "{commands}");
    let file = made.file("clients.json");
    std::fs::write(&file, policy.to_string()).unwrap();
    let put = stage
        .latchkey
        .run(&["policy", "put", file.to_str().unwrap()]);
    assert!(put.status.success(), "{put:?}");
    check(
        &mut stage,
        &Move {
            made,
            source: "htpasswd",
            file: "htpasswd",
            policy: Some("clients"),
            request: |credentials| {
                let encoded = base64ct::Base64::encode_string(credentials.as_bytes());
                get("/").header("Authorization", &format!("Basic {encoded}"))
            },
            working: &["alice", "bob"],
            closed: &[],
            // MD5, SHA-1 and SHA-512-crypt: "carol", "dave" and "erin".
            refused: 3,
        },
    );
}

#[track_caller]
fn check(stage: &mut Stage, it: &Move) {
    let secrets = &it.made.secrets;
    let is_good =
        |secret: &made::MadeSecret| secret.works && it.working.contains(&secret.name.as_str());
    let (good, bad): (Vec<_>, Vec<_>) = secrets.iter().partition(|secret| is_good(secret));
    assert_eq!(good.len(), it.working.len(), "the system accepts them");
    for secret in secrets {
        refuses(stage, &(it.request)(&secret.secret), &secret.name);
    }

    let taken = it.working.len() + it.closed.len();
    let dry = import(stage, it, true);
    assert_eq!(
        (&dry["taken"], &dry["refused"]),
        (&taken.into(), &it.refused.into()),
        "{dry}"
    );
    assert!(schemes(stage).is_empty(), "a dry run changes nothing");
    let real = import(stage, it, false);
    assert_eq!(
        (&real["taken"], &real["refused"]),
        (&taken.into(), &it.refused.into()),
        "{real}"
    );
    let before = schemes(stage);
    let names = || it.working.iter().chain(it.closed);
    assert!(before.keys().eq(&sorted(names())), "{before:?}");
    assert!(
        before.values().all(|scheme| *scheme != PEPPERED),
        "{before:?}"
    );

    for secret in &good {
        refuses(stage, &(it.request)(&wrong(&secret.secret)), &secret.name);
        passes(stage, &(it.request)(&secret.secret), &secret.name);
    }
    for secret in &bad {
        refuses(stage, &(it.request)(&secret.secret), &secret.name);
    }
    wait::until(
        "the digest of every used secret is under the pepper",
        || {
            let now = schemes(stage);
            it.working.iter().all(|name| now[*name] == PEPPERED)
        },
    );
    let after = schemes(stage);
    for name in it.closed {
        assert_eq!(after[*name], before[*name], "{name} was never used");
    }

    for is_new in [false, true] {
        if is_new {
            stage.latchkey.stop();
            stage.latchkey.restart();
        }
        for secret in &good {
            passes(stage, &(it.request)(&secret.secret), &secret.name);
            refuses(stage, &(it.request)(&wrong(&secret.secret)), &secret.name);
        }
        for secret in &bad {
            refuses(stage, &(it.request)(&secret.secret), &secret.name);
        }
    }
    let again = import(stage, it, false);
    assert_eq!(
        (&again["taken"], &again["present"]),
        (&0.into(), &taken.into()),
        "{again}"
    );
    let unchanged = schemes(stage);
    assert_eq!(unchanged, after, "a second import changes no key");
}

fn passes(stage: &Stage, request: &Request, name: &str) {
    let reply = answered(stage, request);
    assert_eq!(reply.status, 200, "{name}: {}", reply.text());
}

fn refuses(stage: &Stage, request: &Request, name: &str) {
    let reply = answered(stage, request);
    assert_eq!(reply.status, 401, "{name}: {}", reply.text());
}

/// nginx answers 503 if the first use under a slow scheme takes longer than its patience, and after a restart of Latchkey;
/// a client asks again then.
fn answered(stage: &Stage, request: &Request) -> Reply {
    wait::some("nginx gets a verdict in time", || {
        let reply = stage.send(request);
        (reply.status != 503).then_some(reply)
    })
}

/// Runs `latchkey import`, and returns what it prints.
#[track_caller]
fn import(stage: &Stage, it: &Move, dry_run: bool) -> Value {
    let file = it.made.file(it.file);
    let mut args = vec!["import", it.source, file.to_str().unwrap(), "--json"];
    args.extend(it.policy.iter().flat_map(|policy| ["--policy", policy]));
    args.extend(dry_run.then_some("--dry-run"));
    let ran = stage.latchkey.run(&args);
    // Some keys of each file are not taken.
    assert_eq!(ran.status.code(), Some(1), "{ran:?}");
    let report: Value = serde_json::from_slice(&ran.stdout).unwrap();
    let whole = report["not_taken"].as_array().unwrap().iter();
    let whole = whole.filter(|row| row["whole_key"] == true).count();
    assert_eq!(whole, it.refused, "{report}");
    report
}

/// The scheme of the secret of each imported key in the database, by the name of the key.
fn schemes(stage: &Stage) -> BTreeMap<String, i64> {
    let file = stage.latchkey.data().join("latchkey.db");
    let database = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let sql = "SELECT keys.name, secrets.scheme FROM secrets JOIN keys ON keys.id = secrets.key_id \
               WHERE secrets.is_foreign = 1";
    let mut rows = database.prepare(sql).unwrap();
    let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
    rows.unwrap().map(Result::unwrap).collect()
}

/// A secret of the same form with another last character.
fn wrong(secret: &str) -> String {
    let mut wrong = secret.to_owned();
    let last = if wrong.pop() == Some('x') { 'y' } else { 'x' };
    wrong + last.encode_utf8(&mut [0; 4])
}

fn sorted<'a>(names: impl Iterator<Item = &'a &'static str>) -> Vec<String> {
    let mut names: Vec<String> = names.map(|name| (*name).to_owned()).collect();
    names.sort();
    names
}

/// The section of the page about moving for one system.
fn section(system: &str) -> &'static str {
    let heading = format!("\n## {system}\n");
    let (_, rest) = PAGE.split_once(&heading).unwrap();
    rest.split("\n## ").next().unwrap()
}

/// The last block of code in this language of the section.
fn block(system: &str, language: &str) -> &'static str {
    let begin = format!("\n```{language}\n");
    let rest = section(system).rsplit(&begin).next().unwrap();
    rest.split_once("```").unwrap().0
}

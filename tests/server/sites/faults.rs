//! What goes wrong at a site: its process is killed while it applies a pack, its clock is wrong, its server is restored, the
//! process tries to connect to something.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use super::{Pair, Site};
use crate::clock::date::{Date, left_out_date};
use crate::command_line::Line;
use crate::faults::left_out;
use crate::keeping::kill::Killer;
use crate::support::{Server, executable};

const DAY_S: i64 = 86_400;

/// The command is killed before one step after another. Afterwards the site has the old pack or the new one.
#[test]
fn a_site_that_is_killed_while_it_applies_a_pack_has_the_old_or_the_new_one() {
    let Some(killer) = Killer::build() else {
        return left_out("kills while applying: there is no C compiler");
    };
    let pair = Pair::new();
    let site = &pair.site;
    let admin = pair.server.admin();
    let (stays, ends) = (
        admin.issue(json!({ "name": "a" })),
        admin.issue(json!({ "name": "b" })),
    );
    pair.bring();
    admin.delete(&format!("/v1/keys/{}", ends.id)).expect(204);
    pair.make(&["--whole"]);
    let work = site.path("work");
    let stick = site.stick();
    let prepare = || {
        Site::copy(site.data(), &work);
        let mut command = executable(None);
        command
            .args(["pack", "apply", "--data"])
            .arg(&work)
            .arg(&stick);
        command
    };
    let seen = std::cell::Cell::new((0, 0));
    let check = |step: u32, output: &std::process::Output| {
        let running = Server::serve_site(&work, &[], &[]);
        let pack = running.local().get("/v1/site").expect(200).json()["pack"].clone();
        let verdict = |secret: &str| running.local().verdict(secret);
        assert_eq!(verdict(&stays.secret), "VALID", "step {step}");
        let (old, new) = seen.get();
        match pack.as_u64() {
            Some(1) => {
                assert_eq!(verdict(&ends.secret), "VALID", "step {step}");
                assert!(!output.status.success(), "step {step}: {output:?}");
                seen.set((old + 1, new));
            }
            Some(2) => {
                assert_eq!(verdict(&ends.secret), "NOT_FOUND", "step {step}");
                seen.set((old, new + 1));
            }
            _ => panic!("step {step}: {pack}"),
        }
    };
    killer.each_step(3, prepare, check);
    let (old, new) = seen.get();
    assert!(old > 3 && new > 0 && old + new >= 8, "{old} old, {new} new");
}

fn site_with_date(date: &Date, site: &Site, args: &[&str]) -> Server {
    let env = date.env();
    let env: Vec<(&str, &str)> = env
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    site.serve_with(args, &env)
}

fn since_1970_s() -> i64 {
    let now = std::time::SystemTime::now();
    now.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64
}

/// A site without a battery: it begins at 1970, and what has ended by the time at which its pack was made has ended.
#[test]
fn a_site_whose_clock_is_at_1970_knows_the_time_at_which_its_pack_was_made() {
    let Some(date) = Date::build() else {
        return left_out_date();
    };
    let pair = Pair::new();
    let admin = pair.server.admin();
    let over = admin.issue(json!({ "name": "over", "expires_in_s": 1 }));
    let key = admin.issue(json!({ "name": "k", "expires_in_s": 3600 }));
    crate::support::wait::until("the key has ended", || {
        admin.verdict(&over.secret) == "EXPIRED"
    });
    // Packs are made at whole seconds.
    crate::support::wait::pause(std::time::Duration::from_secs(1));
    pair.make(&[]);
    // As if the site had been enrolled at 1970, too: all that it knows is when its version was released.
    let database = rusqlite::Connection::open(pair.site.data().join("latchkey.db")).unwrap();
    let released = 1_793_491_200_000_i64;
    let forgotten = "UPDATE clock SET mark = ?1, settled = 0, boot = NULL, uptime_ms = NULL";
    database.execute(forgotten, [released]).unwrap();
    drop(database);
    date.set(-since_1970_s());
    let mut running = site_with_date(&date, &pair.site, &[]);
    pair.site.apply();
    for _ in 0..2 {
        assert_eq!(running.local().verdict(&key.secret), "VALID");
        assert_eq!(running.local().verdict(&over.secret), "EXPIRED");
        running.restart();
    }
}

#[test]
fn a_pack_tells_its_age_and_gives_no_verdict_after_its_end() {
    let Some(date) = Date::build() else {
        return left_out_date();
    };
    let pair = Pair::new();
    let key = pair.server.admin().issue(json!({ "name": "k" }));
    pair.bring();
    date.set(0);
    let running = site_with_date(&date, &pair.site, &[]);
    let auth =
        |running: &Server| running.call("GET", "/auth/nginx", &[("X-API-Key", &key.secret)], None);
    let fresh = auth(&running).expect(200);
    assert_eq!(fresh.header("x-auth-stale"), None);
    date.set(4 * DAY_S);
    let aging = auth(&running).expect(200);
    let age: i64 = aging.header("x-auth-stale").unwrap().parse().unwrap();
    assert!((4 * DAY_S..5 * DAY_S).contains(&age), "{age}");
    date.set(7 * DAY_S + 60);
    assert_eq!(auth(&running).status, 503);
    let answer = running
        .local()
        .post("/v1/verify", json!({ "key": key.secret }))
        .expect(503);
    assert!(answer.text().contains("PACK_STALE"), "{}", answer.text());
    assert_eq!(answer.json()["code"], "pack-stale");
    assert_eq!(running.call("GET", "/readyz", &[], None).status, 503);
    // A wrong date that is corrected has ended nothing.
    date.set(0);
    auth(&running).expect(200);
    drop(running);
    date.set(7 * DAY_S + 60);
    let running = site_with_date(&date, &pair.site, &["--stale", "warn"]);
    let warned = auth(&running).expect(200);
    assert!(warned.header("x-auth-stale").is_some());
}

#[test]
fn a_restored_server_is_a_fork_until_an_operator_decides() {
    let pair = Pair::new();
    let Pair { mut server, site } = pair;
    let admin = server.admin();
    let (gone, stays) = (
        admin.issue(json!({ "name": "gone" })),
        admin.issue(json!({ "name": "stays" })),
    );
    let line = Line::of(&server);
    let stick = site.stick();
    let make = |more: &[&str]| {
        let out = [
            "pack",
            "make",
            "--site",
            "plant-7",
            "--out",
            stick.to_str().unwrap(),
        ];
        line.ok(&[&out[..], more].concat());
    };
    make(&[]);
    site.apply();
    let backup = site.path("backup.db");
    line.ok(&["backup", backup.to_str().unwrap()]);
    admin.delete(&format!("/v1/keys/{}", gone.id)).expect(204);
    make(&[]);
    site.apply();
    let running = site.serve();
    assert_eq!(running.local().verdict(&gone.secret), "NOT_FOUND");
    server.stop();
    line.ok(&["restore", backup.to_str().unwrap(), "--yes"]);
    server.restart();
    make(&["--whole"]);
    let ran = site.try_apply(&stick);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("was restored from a backup"), "{ran:?}");
    assert_eq!(site.status()["fork"], "seen");
    assert_eq!(running.local().verdict(&stays.secret), "VALID");
    site.line.ok(&["site", "reset", "--yes"]);
    site.apply();
    assert_eq!(site.status()["fork"], "no");
    assert_eq!(running.local().verdict(&stays.secret), "VALID");
    assert_ne!(running.local().verdict(&gone.secret), "VALID");
}

/// A library that ends a process which connects to another machine, or to this one over the network.
#[test]
fn a_site_opens_no_connection() {
    let pair = Pair::new();
    let library = pair.site.path("connects.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/server/sites/connects.c");
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(&library)
        .arg(source)
        .status();
    if !built.is_ok_and(|status| status.success()) {
        return left_out("connections of a site: there is no C compiler");
    }
    let key = pair.server.admin().issue(json!({ "name": "k" }));
    let told = pair.site.path("connected");
    let env = [
        ("LD_PRELOAD", library.to_str().unwrap()),
        ("LATCHKEY_TEST_CONNECTED", told.to_str().unwrap()),
    ];
    let running = pair.site.serve_with(&[], &env);
    pair.bring();
    assert_eq!(running.local().verdict(&key.secret), "VALID");
    pair.bring();
    running.local().get("/metrics").expect(200);
    pair.site.line.ok(&[
        "site",
        "report",
        "--out",
        pair.site.stick().to_str().unwrap(),
    ]);
    drop(running);
    assert!(!told.exists(), "{:?}", std::fs::read_to_string(told));
    // The library works: a program that connects is noticed.
    let mut client = executable(None);
    client
        .args(["health", "--listen", "127.0.0.1:1", "--data"])
        .arg(pair.site.path("none"))
        .envs(env);
    let _ = client.output();
    assert!(pair.site.path("connected").exists(), "nothing was noticed");
}

//! Kills at random times: of a site that serves while packs are brought to it, of `pack apply`, of a server and of `pack make`.
//! Afterwards the site has the old pack or the new one, and never loses one that was acknowledged.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::json;

use super::Pair;
use crate::support::{Address, Random, Server, executable, wait};

/// The number of kills in a plain run; the number of the specification is 200, which `LATCHKEY_TEST_KILLS` sets.
const KILLS: u64 = 24;

fn kills() -> u64 {
    let given = std::env::var("LATCHKEY_TEST_KILLS").ok();
    given.map_or(KILLS, |text| text.parse().unwrap())
}

/// A key is enabled and disabled in turn, so that each pack has another verdict than the one before.
fn switch(pair: &Pair, id: &str, round: u64) {
    let action = if round.is_multiple_of(2) {
        "disable"
    } else {
        "enable"
    };
    let path = format!("/v1/keys/{id}/{action}");
    pair.server.admin().post(&path, json!({})).expect(200);
}

/// Makes the next pack, whole or not. Returns its number, that of the whole one before it, and the bytes of both.
fn made(pair: &Pair, whole: bool) -> (u64, Option<u64>, Vec<u8>) {
    let local = pair.server.local();
    let body = json!({ "sites": ["plant-7"], "whole": whole });
    let answer = local.post("/v1/packs", body).expect(201).json();
    let pack = &answer["items"][0];
    let number = pack["pack"].as_u64().unwrap();
    let fetch = |number: u64| {
        local
            .get(&format!("/v1/packs/plant-7/{number}"))
            .expect(200)
            .body
    };
    let mut bytes = fetch(number);
    let base = pack["base"].as_u64().filter(|base| *base > 0);
    if let Some(base) = base {
        bytes.extend(fetch(base));
    }
    (number, base, bytes)
}

/// What a site has: the number of its pack, and whether it accepts a secret.
fn state(site: &Server, secret: &str) -> (u64, String) {
    let local = site.local();
    let pack = local.get("/v1/site").expect(200).json()["pack"].as_u64();
    (pack.unwrap(), local.verdict(secret))
}

fn verdict_of(round: u64) -> &'static str {
    if round.is_multiple_of(2) {
        "DISABLED"
    } else {
        "VALID"
    }
}

/// A request that the death of the server may leave without an answer. Returns whether it succeeded.
fn applies(socket: &std::path::Path, bytes: &[u8]) -> bool {
    let address = Address::Unix(socket.to_owned());
    let headers = [
        ("Content-Type", "application/octet-stream"),
        ("Latchkey-Local", "1"),
    ];
    let answer = address.try_call("POST", "/v1/site/packs", &headers, Some(bytes));
    answer.is_some_and(|answer| answer.status / 100 == 2)
}

#[test]
fn a_site_that_is_killed_while_it_serves_has_the_old_pack_or_the_new_one() {
    let pair = Pair::new();
    let key = pair.server.admin().issue(json!({ "name": "k" }));
    pair.bring();
    let mut running = pair.site.serve();
    let mut random = Random::seeded();
    // The verdict that each pack has.
    let mut verdicts = BTreeMap::from([(1, "VALID")]);
    let (mut has, mut seen) = (1, (0, 0));
    for round in 0..kills() {
        switch(&pair, &key.id, round);
        let (number, base, bytes) = made(&pair, random.below(3) == 0);
        verdicts.insert(number, verdict_of(round));
        let socket = running.socket.clone();
        let after = Duration::from_micros(random.below(30_000));
        let acknowledged = thread::scope(|scope| {
            let applied = scope.spawn(|| applies(&socket, &bytes));
            wait::pause(after);
            running.kill9();
            applied.join().unwrap()
        });
        running.restart();
        let (pack, verdict) = state(&running, &key.secret);
        // The whole pack that came with it is a pack, too.
        let is_base = base == Some(pack) && pack > has;
        assert!(
            pack == has || pack == number || is_base,
            "round {round}: {pack}, not {has} or {number}"
        );
        assert!(
            !acknowledged || pack == number,
            "round {round}: an acknowledged pack is lost"
        );
        assert_eq!(verdict, verdicts[&pack], "round {round}: pack {pack}");
        match pack == has {
            true => seen.0 += 1,
            false => seen.1 += 1,
        }
        has = pack;
    }
    println!("{} kills left the old pack, {} the new one", seen.0, seen.1);
    // It goes on as if nothing had happened.
    switch(&pair, &key.id, 1);
    pair.bring();
    assert_eq!(running.local().verdict(&key.secret), "VALID");
}

fn is_pack(path: &Path) -> bool {
    path.extension().is_some_and(|end| end == "lkpack")
}

fn spawn(args: &[&str], data: &std::path::Path) -> Child {
    let mut command = executable(None);
    command
        .args(args)
        .arg("--data")
        .arg(data)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.spawn().expect("the command can be started")
}

/// Kills a command after a time. Returns whether it had ended with success before.
fn killed_after(mut child: Child, after: Duration) -> bool {
    wait::pause(after);
    let _ = child.kill();
    child.wait().unwrap().success()
}

/// `pack make` writes a pack under its name when it is complete. The server may give a number to a pack that nobody gets.
#[test]
fn a_command_that_is_killed_while_it_makes_packs_leaves_whole_files() {
    let mut pair = Pair::new();
    let key = pair.server.admin().issue(json!({ "name": "k" }));
    pair.bring();
    let running = pair.site.serve();
    let mut random = Random::seeded();
    let out = pair.site.path("stick").display().to_string();
    let mut looked_at = HashSet::new();
    for round in 0..kills() {
        switch(&pair, &key.id, round);
        let make = ["pack", "make", "--all", "--out", &out];
        let after = Duration::from_millis(random.below(120));
        let child = spawn(&make, &pair.server.data);
        if round % 4 == 3 {
            // The server dies, and not the command.
            wait::pause(after);
            pair.server.kill9();
            let _ = child.wait_with_output();
            pair.server.restart();
        } else {
            killed_after(child, after);
        }
        for path in pair.site.packs().into_iter().filter(|path| is_pack(path)) {
            if looked_at.insert(path.clone()) {
                pair.line().ok(&["pack", "show", path.to_str().unwrap()]);
            }
        }
    }
    switch(&pair, &key.id, 0);
    pair.make(&[]);
    pair.site.apply();
    assert_eq!(running.local().verdict(&key.secret), "DISABLED");
    // What an interrupted command has left has not the name of a pack.
    for path in pair.site.packs().iter().filter(|path| !is_pack(path)) {
        let name = path.file_name().unwrap().to_string_lossy();
        assert!(name.starts_with(".latchkey-"), "{name}");
    }
    let of_server = std::fs::read_dir(pair.server.data.join("packs/plant-7")).unwrap();
    assert!(
        of_server.count() <= 2,
        "the server keeps the newest and its base"
    );
}

/// A command that applies a pack to a folder that nothing serves.
#[test]
fn a_command_that_is_killed_while_it_applies_loses_nothing() {
    let pair = Pair::new();
    let key = pair.server.admin().issue(json!({ "name": "k" }));
    pair.bring();
    let mut random = Random::seeded();
    let stick = pair.site.stick().display().to_string();
    let mut has = 1;
    for round in 0..kills().div_ceil(3) {
        switch(&pair, &key.id, round);
        pair.make(&[]);
        let child = spawn(&["pack", "apply", &stick], pair.site.data());
        let done = killed_after(child, Duration::from_millis(random.below(80)));
        let pack = pair.site.status()["pack"].as_u64().unwrap();
        assert!(pack >= has, "{pack} after {has}");
        assert!(
            !done || pack > has,
            "round {round}: an applied pack is lost"
        );
        has = pack;
    }
    pair.site.try_apply(&pair.site.stick());
    let shown = pair.line().json(&["site", "show", "plant-7"]);
    assert_eq!(pair.site.status()["pack"], shown["pack"]);
    let files = std::fs::read_dir(pair.site.data().join("packs")).unwrap();
    assert!(files.count() <= 2, "more than the newest and its base");
}

//! `latchkey probe` against each proxy: it finds nothing in the examples, and each fault that is put into a copy of
//! them, with the line that was changed.

mod caddy;
mod envoy;
mod haproxy;
mod haproxy_spoe;
mod nginx;
mod traefik;

use serde_json::Value;

use crate::harness::proxy::{CADDY, ENVOY, HAPROXY, HAPROXY_SPOE, NGINX, Proxy, TRAEFIK};
use crate::harness::stage::Stage;

/// Where the probe listens in the place of the application.
const UPSTREAM: &str = "127.0.0.1:9001";

/// A fault in a configuration.
struct Seed {
    fault: &'static str,
    changes: &'static [(&'static str, &'static str)],
    /// The check that fails.
    check: &'static str,
    /// A line that the probe names.
    line: &'static str,
}

/// Faults that show while Latchkey runs, and those that show while it does not.
struct Seeds {
    /// Moves the application to [`UPSTREAM`].
    moved: (&'static str, &'static str),
    running: &'static [Seed],
    stopped: &'static [Seed],
}

#[test]
fn the_probe_finds_faults_of_nginx() {
    finds(&NGINX, &nginx::SEEDS);
}

#[test]
fn the_probe_finds_faults_of_caddy() {
    finds(&CADDY, &caddy::SEEDS);
}

#[test]
fn the_probe_finds_faults_of_haproxy() {
    finds(&HAPROXY, &haproxy::SEEDS);
}

#[test]
fn the_probe_finds_faults_of_haproxy_with_an_agent() {
    finds(&HAPROXY_SPOE, &haproxy_spoe::SEEDS);
}

#[test]
fn the_probe_finds_faults_of_envoy() {
    finds(&ENVOY, &envoy::SEEDS);
}

#[test]
fn the_probe_finds_faults_of_traefik() {
    finds(&TRAEFIK, &traefik::SEEDS);
}

#[track_caller]
fn finds(proxy: &'static Proxy, seeds: &Seeds) {
    assert!(seeds.running.len() + seeds.stopped.len() >= 12);
    // The unchanged example, with an application that shows what it gets.
    let Some(mut stage) = Stage::set(proxy) else {
        return;
    };
    let echoed = probe(&stage, "/", &["--echo", "/open"]);
    nothing_wrong(&echoed);
    assert_eq!(state(&echoed, "forged-identity"), ["ok"], "{echoed}");

    let moved = [seeds.moved];
    stage.change(&moved);
    if stage.keeps_trailers() {
        let told = probe_all(&stage, "/", &["--upstream", UPSTREAM]);
        let seed = Seed {
            fault: "headers behind the body are passed on",
            changes: &[],
            check: "forged-trailers",
            line: "option http-drop-request-trailers",
        };
        let mut missed = Vec::new();
        look_for(&seed, &told, &mut missed);
        assert!(missed.is_empty(), "{missed:?}");
    }
    nothing_wrong(&probe(&stage, "/", &["--upstream", UPSTREAM]));
    let catalog = |stage: &Stage| {
        let args = [
            "--catalog",
            "billing",
            "--scope",
            "invoices:read",
            "--upstream",
            UPSTREAM,
        ];
        probe(stage, "/billing/invoices", &args)
    };
    let whole = catalog(&stage);
    nothing_wrong(&whole);
    assert!(!whole.to_string().contains("not_checked"), "{whole}");

    let mut missed = Vec::new();
    for seed in seeds.running {
        stage.change(&[&moved, seed.changes].concat());
        look_for(seed, &catalog(&stage), &mut missed);
    }
    stage.latchkey.stop();
    let stopped = |stage: &Stage| {
        probe(
            stage,
            "/billing/invoices",
            &["--stopped", "--upstream", UPSTREAM],
        )
    };
    for seed in seeds.stopped {
        stage.change(&[&moved, seed.changes].concat());
        look_for(seed, &stopped(&stage), &mut missed);
    }
    stage.change(&moved);
    nothing_wrong(&stopped(&stage));
    assert!(missed.is_empty(), "{}: {missed:#?}", proxy.name);
}

/// Runs the probe, and returns its JSON. What an old HAProxy cannot do is accepted.
fn probe(stage: &Stage, path: &str, args: &[&str]) -> Value {
    let accepted: &[&str] = match stage.keeps_trailers() {
        true => &["--accept", "forged-trailers"],
        false => &[],
    };
    probe_all(stage, path, &[args, accepted].concat())
}

fn probe_all(stage: &Stage, path: &str, args: &[&str]) -> Value {
    let url = format!("http://127.0.0.1:{}{path}", stage.port);
    let proxy = stage.folder_name();
    let mut all = vec!["probe", &url, "--json", "--proxy", proxy];
    all.extend(args);
    let done = stage.latchkey.run(&all);
    let told: Value = serde_json::from_slice(&done.stdout).unwrap_or_else(|_| panic!("{done:?}"));
    let code = if told["healthy"] == true { 0 } else { 1 };
    assert_eq!(done.status.code(), Some(code), "{done:?}");
    // No key is ever printed.
    assert!(
        !String::from_utf8_lossy(&done.stdout).contains("lk_"),
        "{told}"
    );
    told
}

fn checks(told: &Value) -> impl Iterator<Item = &Value> {
    told["checks"].as_array().unwrap().iter()
}

/// The states of all checks of this name.
fn state<'a>(told: &'a Value, check: &str) -> Vec<&'a str> {
    let found = checks(told).filter(|it| it["check"] == check);
    found.map(|it| it["state"].as_str().unwrap()).collect()
}

#[track_caller]
fn nothing_wrong(told: &Value) {
    let wrong: Vec<&Value> = checks(told).filter(|it| it["state"] == "wrong").collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(told["checks"].as_array().unwrap().len() > 1, "{told}");
}

fn look_for(seed: &Seed, told: &Value, missed: &mut Vec<String>) {
    let wrong: Vec<&Value> = checks(told).filter(|it| it["state"] == "wrong").collect();
    let names_line = |check: &Value| {
        let lines = check["lines"].as_array().unwrap();
        lines.iter().any(|line| line["text"] == seed.line)
    };
    let found = wrong
        .iter()
        .any(|it| it["check"] == seed.check && names_line(it));
    println!("  {}: {found}, {} wrong", seed.fault, wrong.len());
    if !found {
        let expected =
            checks(told).filter(|it| it["check"] == seed.check && it["state"] != "wrong");
        let seen: Vec<String> = wrong
            .into_iter()
            .chain(expected)
            .map(|it| {
                let facts = [&it["check"], &it["state"], &it["tried"], &it["came"]];
                facts.map(Value::to_string).join(" ")
            })
            .collect();
        missed.push(format!("{}: {seen:?}", seed.fault));
    }
}

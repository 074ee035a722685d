//! The unchanged files of `examples/`, with the real nginx, Caddy, HAProxy, Envoy and Traefik and the real server:
//! which requests pass, which do not, and what the application learns. Each behaviour is tested with each proxy. Keys of
//! other systems are moved here in front of nginx (`moving`).
//!
//! The examples listen on fixed ports, so one proxy is tested at a time. Numbers in comments are those of the list of
//! attacks in the project's notes.

// Clippy's exception for tests does not apply to helpers of integration tests.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::expect_used)]

mod agent;
mod bodies;
mod connect;
mod decisions;
mod faults;
mod forgery;
mod gateway;
mod harness;
mod http2;
mod identity;
#[path = "../server/imports/made.rs"]
#[allow(dead_code)]
mod made;
mod moving;
mod paths;
mod probe;
mod questions;
mod revocation;
mod silent;
#[path = "../server/support/wait.rs"]
#[allow(dead_code)]
mod wait;
mod words;

use std::panic::{AssertUnwindSafe, catch_unwind};

use harness::proxy::{CADDY, CURRENT_CADDY, ENVOY, HAPROXY, HAPROXY_SPOE, NGINX, Proxy, TRAEFIK};
use harness::stage::Stage;

/// A sentence, and the function that tests whether it is true.
type Behaviour = (&'static str, fn(&mut Stage));

/// In this order: faults come last because they start another server.
const BEHAVIOURS: &[&[Behaviour]] = &[
    decisions::BEHAVIOURS,
    identity::BEHAVIOURS,
    forgery::BEHAVIOURS,
    paths::BEHAVIOURS,
    bodies::BEHAVIOURS,
    revocation::BEHAVIOURS,
    faults::BEHAVIOURS,
];

#[test]
fn nginx_guards_the_application() {
    check(&NGINX);
}

#[test]
fn caddy_guards_the_application() {
    check(&CADDY);
}

#[test]
fn the_current_caddy_guards_the_application() {
    check(&CURRENT_CADDY);
}

#[test]
fn envoy_guards_the_application() {
    check(&ENVOY);
}

#[test]
fn haproxy_guards_the_application() {
    check(&HAPROXY);
}

#[test]
fn haproxy_with_an_agent_guards_the_application() {
    check(&HAPROXY_SPOE);
}

#[test]
fn traefik_guards_the_application() {
    check(&TRAEFIK);
}

/// Tests all behaviours even if one fails, and then names those that failed.
#[track_caller]
fn check(proxy: &'static Proxy) {
    let Some(mut stage) = Stage::set(proxy) else {
        return;
    };
    let mut failed = Vec::new();
    for (sentence, behaviour) in BEHAVIOURS.iter().copied().flatten() {
        println!("{}: {sentence}", proxy.name);
        if catch_unwind(AssertUnwindSafe(|| behaviour(&mut stage))).is_err() {
            failed.push(*sentence);
        }
    }
    assert!(failed.is_empty(), "not so with {}: {failed:#?}", proxy.name);
}

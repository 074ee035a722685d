//! What every route changes reaches a linked site: after each request of the tables, as the administrator, the next step or
//! pack leaves the site with what a whole pack has.
//!
//! The requests come from the lines of the routes, and a test of its own requires a line for every route; so a route that is
//! added later is tried here too. Routes that the lines leave to other files are tried with the requests of [`MORE`], or are in
//! [`LEFT_OUT`] with the reason.

use super::world::{By, World};
use super::{Line, Needs, TABLES, Thing, callers, line};
use crate::dialects::SURFACES;
use crate::ops::packs::feed::model::ModelSite;
use crate::ops::packs::feed::{run_answers, run_packs};
use serde_json::json;

/// Requests for routes whose lines name another file.
#[rustfmt::skip] // Columns are the point of this table.
const MORE: &[(&str, Line)] = &[
    ("/v1", line("PATCH",  "/sites/{name}",      Needs::Nothing).with(r#"{"minimal":true}"#)),
    ("/v1", line("POST",   "/packs",             Needs::Nothing)),
    ("/v1", line("POST",   "/packs/revocations", Needs::Nothing)),
    ("/v1", line("POST",   "/packs/signing-keys", Needs::Nothing)),
];

/// Routes that change something and that this test does not try.
const LEFT_OUT: &[(&str, &str)] = &[
    ("/v1/feed", "the link itself"),
    (
        "/v1/leaks/github",
        "needs the signature of GitHub; what it does is that of /v1/leaks",
    ),
    ("/v1/notices/test", "sends a notice, and changes no key"),
    ("/v1/packs/reports", "tested with the link"),
    (
        "/v1/users/{id}/authenticators",
        "second factors, which no verdict depends on",
    ),
    (
        "/v1/users/{id}/authenticators/start",
        "second factors, which no verdict depends on",
    ),
    (
        "/v1/users/{id}/recovery-codes",
        "second factors, which no verdict depends on",
    ),
    (
        "/v1/users/{id}/sessions/{session}",
        "sessions, which no verdict depends on",
    ),
    ("/v1/sites/{name}", "removing the site ends the link"),
];

#[test]
fn what_any_route_changes_reaches_a_linked_site() {
    let mut world = World::new();
    let owner = callers::all(&mut world)
        .into_iter()
        .find(|caller| caller.is_session() && caller.name.contains("owner in root"))
        .expect("an owner who has signed in");
    let body = json!({
        "name": "plant-7", "workspaces": ["root"], "passphrase": "nine anchors in the meadow", "server": "server.example",
    });
    world.local("POST", "/v1/sites", body);
    let app = world.app();
    let threads = [run_answers as fn(&_), run_packs].map(|run| {
        let app = app.clone();
        std::thread::spawn(move || run(&app))
    });
    let mut site = ModelSite::new(&app, "plant-7");
    site.catch_up(&app);
    let (mut changes, mut packs, mut untried) = (0, 0, Vec::new());
    for surface in SURFACES {
        let lines = TABLES.iter().find(|(name, _)| *name == surface.name);
        let lines = lines.map_or(&[][..], |(_, lines)| lines);
        for route in surface.routes.iter().filter(|route| route.method != "GET") {
            let path = format!("{}{}", surface.mount, route.path);
            let own = lines
                .iter()
                .find(|line| (line.method, line.path) == (route.method, route.path));
            let more = MORE.iter().find(|(mount, line)| {
                (*mount, line.method, line.path) == (surface.mount, route.method, route.path)
            });
            let known = own.filter(|line| !matches!(line.needs, Needs::Elsewhere(_)));
            let Some(line) = more.map(|(_, line)| line).or(known) else {
                untried.push(format!("{} {path}", route.method));
                continue;
            };
            // First about things on which a key depends; where that is refused, about things that nothing depends on.
            let dependents = world.dependents();
            let secret = match line.spends {
                true => owner.renewed(&mut world),
                false => owner.secret.clone(),
            };
            let (thing, by) = (dependents.of(line.thing), By::Bearer(secret.as_deref()));
            let mut has_changed = world.ask_about(surface.mount, line, thing, by).changed
                || world
                    .ask_about(surface.mount, line, thing, By::Local)
                    .changed;
            packs += site.check(&app);
            if !has_changed {
                has_changed = world.ask(surface.mount, line, secret.as_deref()).changed;
                packs += site.check(&app);
            }
            changes += usize::from(has_changed);
        }
    }
    untried.retain(|route| {
        let is_left_out = |(path, _): &(&str, &str)| route.ends_with(path);
        !LEFT_OUT.iter().any(is_left_out) && !route.contains(" /console")
    });
    assert!(untried.is_empty(), "not tried: {untried:#?}");
    assert!(changes > 30, "only {changes} requests changed something");
    assert!(packs < changes, "{packs} packs for {changes} changes");
    app.feed.stop();
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
}

/// The lines of this file are about routes that exist.
#[test]
fn every_line_here_has_its_route() {
    for (mount, line) in MORE {
        assert_eq!(line.thing, Thing::Nothing);
        let mut surfaces = SURFACES.iter().filter(|surface| surface.mount == *mount);
        let is_there = surfaces.any(|surface| {
            let mut routes = surface.routes.iter();
            routes.any(|route| (route.method, route.path) == (line.method, line.path))
        });
        assert!(is_there, "{} {mount}{}", line.method, line.path);
    }
}

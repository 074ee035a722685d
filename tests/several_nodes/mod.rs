//! What clients get of a node that may be behind the database that it shares with others. The routes are those of the tables.

use crate::dialects::{SURFACES, request_of};
use crate::http::client::Trust;
use crate::http::reply::Reply;
use crate::http::request::{Request, RequestId};
use crate::http::route::{Mounts, Router};
use crate::http1::{Execution, Service};
use crate::ops::fence::Limits;
use crate::ops::keys::issue::{NewKey, issue};
use crate::ops::keys::members::KeyMembers;
use crate::ops::setup::fixture::Fixture;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// A user of the machine who does not administrate the server.
const SOMEBODY: u32 = 4_711;
const ADMINISTRATOR: u32 = 0;

/// What answers at any age, because nothing in it depends on what anyone changes.
const SERVED: &[&str] = &[
    "/.well-known/security.txt",
    "/console/assets/{name}",
    "/healthz",
    "/metrics",
    "/readyz",
];

struct Node {
    fixture: Fixture,
    service: Service,
    /// Of a key that may do everything.
    secret: String,
}

impl Node {
    fn new() -> Node {
        let fixture = Fixture::behind_a_fence();
        fixture.app.be_proved_before(0);
        let new = NewKey {
            members: KeyMembers {
                name: Some("billing".to_owned()),
                scopes: Some(vec![
                    "keys:verify".to_owned(),
                    "keys:read".to_owned(),
                    "keys:write".to_owned(),
                ]),
                ..KeyMembers::default()
            },
            catalog: Some("latchkey".to_owned()),
            ..NewKey::default()
        };
        let issued = issue(&fixture.app, &fixture.local(), new, None).unwrap();
        let router = Router::new(
            fixture.app.clone(),
            Trust::default(),
            SURFACES,
            &Mounts::default(),
        );
        Node {
            service: router.service(),
            secret: issued.secret.unwrap().expose().to_owned(),
            fixture,
        }
    }

    fn request(&self, method: &str, target: &str, body: Option<Value>, uid: u32) -> Request {
        let body = body.map_or_else(Vec::new, |body| body.to_string().into_bytes());
        let id = RequestId::new(0, 0);
        Request::in_process(method, target, body, uid, id).unwrap()
    }

    fn answer(&self, request: &Request) -> Reply {
        (self.service.answer)(request, Execution::Blocking).unwrap()
    }

    /// Asks with the credential, and not as the administrator.
    fn ask(&self, method: &str, target: &str, body: Option<Value>) -> Reply {
        let mut request = self.request(method, target, body, SOMEBODY);
        let bearer = format!("Bearer {}", self.secret);
        let json = ("content-type", "application/json");
        let json = Some(json).filter(|_| !request.body.is_empty());
        let headers = [("authorization", &*bearer)].into_iter().chain(json);
        request.head.headers = headers.collect();
        self.answer(&request)
    }
}

fn told(reply: &Reply) -> Option<String> {
    let value = reply.headers.get("x-auth-stale")?;
    Some(String::from_utf8_lossy(value).into_owned())
}

fn json_of(reply: &Reply) -> Value {
    serde_json::from_slice(&reply.body).unwrap()
}

#[test]
fn every_route_of_a_refused_node_is_refused_unless_it_depends_on_nothing() {
    let node = Node::new();
    let app = &node.fixture.app;
    let mut refused = 0;
    let mut served: Vec<String> = Vec::new();
    for age_ms in [62_000, 3_600_000] {
        app.be_proved_before(age_ms);
        for surface in SURFACES {
            for route in surface.routes {
                let (path, method, target) = request_of(surface, route);
                let reply = node.ask(method, &target, None);
                if SERVED.contains(&&*path) {
                    served.push(path);
                    continue;
                }
                // That system sends every fault of the server as 520.
                let expected = if surface.name == "vspc" { 520 } else { 503 };
                assert_eq!(reply.status, expected, "{method} {path}");
                let text = String::from_utf8_lossy(&reply.body);
                assert!(!text.contains("\"valid\""), "{method} {path}: {text}");
                refused += 1;
            }
        }
    }
    served.sort();
    served.dedup();
    assert_eq!(served, SERVED);
    assert!(refused > 350, "{refused}");
}

#[test]
fn a_stale_node_says_how_old_its_verdicts_may_be_and_changes_nothing() {
    let node = Node::new();
    let app = &node.fixture.app;
    let question = || Some(json!({ "key": node.secret }));
    let questions = || Some(json!({ "items": [{ "key": node.secret }, { "key": "lk_nothing" }] }));
    let new = || Some(json!({ "name": "another" }));
    // Fresh: as ever.
    app.be_proved_before(0);
    let reply = node.ask("POST", "/v1/verify", question());
    assert_eq!((reply.status, told(&reply)), (200, None));
    assert_eq!(json_of(&reply).get("stale_s"), None);
    assert_eq!(node.ask("GET", "/auth/nginx", None).status, 200);
    assert_eq!(node.ask("POST", "/v1/keys", new()).status, 201);
    assert_eq!(node.ask("GET", "/readyz?write", None).status, 200);
    // Stale: by the date, which has a second of slack.
    app.be_proved_before(10_000);
    let reply = node.ask("POST", "/v1/verify", question());
    assert_eq!((reply.status, told(&reply)), (200, Some("9".to_owned())));
    let verdict = json_of(&reply);
    assert_eq!(
        (&verdict["valid"], &verdict["stale_s"]),
        (&json!(true), &json!(9))
    );
    let verdicts = json_of(&node.ask("POST", "/v1/verify/batch", questions()));
    for (position, valid) in [(0, true), (1, false)] {
        let verdict = &verdicts["items"][position];
        assert_eq!(
            (&verdict["valid"], &verdict["stale_s"]),
            (&json!(valid), &json!(9))
        );
    }
    for proxy in [
        "nginx",
        "nginx-url",
        "caddy",
        "traefik",
        "haproxy",
        "envoy",
        "envoy/x",
        "gateway/x",
    ] {
        let reply = node.ask("GET", &format!("/auth/{proxy}"), None);
        assert_eq!(told(&reply), Some("9".to_owned()), "{proxy}");
    }
    assert_eq!(node.ask("GET", "/auth/nginx", None).status, 200);
    assert_eq!(node.ask("GET", "/v1/keys", None).status, 200);
    let reply = node.ask("POST", "/v1/keys", new());
    assert_eq!(
        (reply.status, &json_of(&reply)["code"]),
        (503, &json!("stale"))
    );
    assert_eq!(node.ask("GET", "/readyz", None).status, 200);
    let reply = node.ask("GET", "/readyz?write", None);
    assert_eq!(reply.status, 503);
    assert!(String::from_utf8_lossy(&reply.body).contains("STALE"));
    // Refused: no verdict.
    app.be_proved_before(61_000);
    let reply = node.ask("POST", "/v1/verify", question());
    assert_eq!(
        (reply.status, &json_of(&reply)["code"]),
        (503, &json!("stale"))
    );
    for path in ["/readyz", "/auth/nginx"] {
        assert_eq!(node.ask("GET", path, None).status, 503, "{path}");
    }
    // Without an end, verdicts go on.
    app.set_limits(Limits {
        refuse_after_ms: None,
        ..Limits::default()
    });
    let reply = node.ask("POST", "/v1/verify", question());
    assert_eq!((reply.status, told(&reply)), (200, Some("60".to_owned())));
}

/// Otherwise the reason could not be found, and a key that has to end could not be ended.
#[test]
fn the_administrator_of_a_refused_node_still_looks_and_ends_and_gets_no_verdict() {
    let node = Node::new();
    let app = &node.fixture.app;
    app.be_proved_before(3_600_000);
    let local = |method, target: &str, body| {
        node.answer(&node.request(method, target, body, ADMINISTRATOR))
    };
    let doctor = local("GET", "/v1/doctor", None);
    assert_eq!(doctor.status, 200);
    assert!(String::from_utf8_lossy(&doctor.body).contains("s ago to know every change"));
    let question = Some(json!({ "key": node.secret }));
    assert_eq!(local("POST", "/v1/verify", question).status, 503);
    let new = Some(json!({ "name": "another" }));
    assert_eq!(local("POST", "/v1/keys", new).status, 503);
    let id = &node.secret[3..13];
    let ended = local("POST", &format!("/v1/keys/{id}/disable"), None);
    assert_eq!(ended.status, 200);
}

#[test]
fn a_node_with_a_wrong_clock_changes_nothing_and_says_so() {
    let node = Node::new();
    let app = &node.fixture.app;
    let new = || Some(json!({ "name": "another" }));
    for (skew_ms, is_wrong) in [(30_000, false), (-30_001, true), (23 * 3_600_000, true)] {
        app.differ_by(skew_ms);
        let expected = if is_wrong { 503 } else { 201 };
        assert_eq!(
            node.ask("POST", "/v1/keys", new()).status,
            expected,
            "{skew_ms}"
        );
        let ready = node.ask("GET", "/readyz", None);
        let text = String::from_utf8_lossy(&ready.body).into_owned();
        assert_eq!(
            (ready.status, text.contains("clock")),
            (200, is_wrong),
            "{text}"
        );
        let expected = if is_wrong { 503 } else { 200 };
        assert_eq!(node.ask("GET", "/readyz?write", None).status, expected);
    }
}

#[test]
fn the_metrics_of_a_node_are_those_of_the_document() {
    let document = include_str!("../../docs/metrics.md");
    let node = Node::new();
    node.fixture.app.be_proved_before(10_000);
    let local = node.request("GET", "/metrics", None, ADMINISTRATOR);
    let text = String::from_utf8_lossy(&node.answer(&local).body).into_owned();
    for (name, value) in [
        ("latchkey_clock_skew_seconds", "0.0"),
        ("latchkey_database_connected", "0.0"),
        ("latchkey_commit_unknown_total{resolved=\"not_saved\"}", "0"),
        ("latchkey_commit_unknown_total{resolved=\"saved\"}", "0"),
        ("latchkey_feed_lag_events", "0.0"),
        ("latchkey_lease_seconds", "51.0"),
        ("latchkey_nodes_live", "1.0"),
        ("latchkey_stale_seconds", "9.0"),
    ] {
        assert!(
            text.contains(&format!("\n{name} {value}\n")),
            "{name}: {text}"
        );
    }
    let alone = Fixture::new();
    let router = Router::new(
        alone.app.clone(),
        Trust::default(),
        SURFACES,
        &Mounts::default(),
    );
    let reply = (router.service().answer)(&local, Execution::Blocking).unwrap();
    let alone = String::from_utf8_lossy(&reply.body);
    let documented: BTreeSet<String> = document
        .split("\n## ")
        .filter(|section| section.starts_with("At a node "))
        .flat_map(|section| section.lines().filter(|line| line.starts_with("| `")))
        .map(|row| {
            let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
            format!("{} {} {}", cells[0].trim_matches('`'), cells[1], cells[3])
        })
        .collect();
    let mut answered: BTreeSet<String> = described(&text)
        .difference(&described(&alone))
        .cloned()
        .collect();
    // Only a database on a server can be an older copy.
    let forks = documented
        .iter()
        .find(|it| it.starts_with("latchkey_forks_total "));
    answered.extend(forks.cloned());
    assert_eq!(answered, documented);
}

/// The names, types and meanings of metrics.
fn described(text: &str) -> BTreeSet<String> {
    let mut helps = text.lines().filter_map(|line| line.strip_prefix("# HELP "));
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types
        .map(|line| {
            let (name, kind) = line.split_once(' ').unwrap();
            let help = helps.find_map(|help| help.strip_prefix(&format!("{name} ")));
            format!("{name} {kind} {}", help.unwrap())
        })
        .collect()
}

//! Decoys: outwardly an unknown key on every surface, inwardly an event.

use super::{changed, decoy, event, events, notice};
use crate::support::{Issued, Response, Server, User, executable, wait};
use serde_json::json;

/// A well-formed secret that this server does not know.
fn unknown() -> Issued {
    Server::start()
        .admin()
        .issue(json!({ "name": "elsewhere" }))
}

/// What a client sees of an answer: everything but the time and the id of the request.
fn seen(answer: &Response) -> (u16, Vec<(String, String)>, String) {
    let varies = ["date", "x-request-id"];
    let headers = answer.headers.iter().cloned();
    let headers = headers.filter(|(name, _)| !varies.contains(&name.as_str()));
    let id = answer.header("x-request-id").unwrap_or("-").to_owned();
    (
        answer.status,
        headers.collect(),
        answer.text().replace(&id, ""),
    )
}

/// Attack: a thief learns from an answer that a decoy is no unknown key, and leaves it alone.
#[test]
fn a_decoy_is_an_unknown_key_on_every_surface() {
    let server = Server::start();
    let (decoy, unknown) = (decoy(&server), unknown());
    let none = server.anonymous().with("Latchkey-Local", "1");
    let admin = server.admin();
    type Ask<'a> = Box<dyn Fn(&str) -> Response + 'a>;
    let bearer = |secret: &str| server.bearer(secret);
    let proxied = |path: &'static str| -> Ask<'_> {
        Box::new(move |secret: &str| {
            let user = bearer(secret)
                .with("X-Original-Method", "GET")
                .with("X-Original-URI", "/items?x=1")
                .with("X-Forwarded-Method", "GET")
                .with("X-Forwarded-Uri", "/items?x=1");
            user.get(path)
        })
    };
    let form = |user: &User, path: &str, secret: &str| {
        let body = format!("token={secret}");
        user.send(
            "POST",
            path,
            "application/x-www-form-urlencoded",
            body.as_bytes(),
        )
    };
    let surfaces: Vec<(&str, Ask<'_>)> = vec![
        (
            "verify",
            Box::new(|secret| none.post("/v1/verify", json!({ "key": secret }))),
        ),
        (
            "verify by a caller",
            Box::new(|secret| {
                admin.post(
                    "/v1/verify",
                    json!({ "key": secret, "method": "GET", "path": "/x" }),
                )
            }),
        ),
        (
            "batch",
            Box::new(|secret| {
                admin.post("/v1/verify/batch", json!({ "items": [{ "key": secret }] }))
            }),
        ),
        (
            "introspect",
            Box::new(|secret| form(&admin, "/v1/introspect", secret)),
        ),
        (
            "revoke",
            Box::new(|secret| form(&admin, "/v1/revoke", secret)),
        ),
        ("nginx", proxied("/auth/nginx")),
        ("caddy", proxied("/auth/caddy")),
        ("traefik", proxied("/auth/traefik")),
        ("haproxy", proxied("/auth/haproxy")),
        ("envoy", proxied("/auth/envoy/items")),
        (
            "whoami",
            Box::new(|secret| bearer(secret).get("/v1/whoami")),
        ),
        ("keys", Box::new(|secret| bearer(secret).get("/v1/keys"))),
        (
            "issue",
            Box::new(|secret| bearer(secret).post("/v1/keys", json!({ "name": "x" }))),
        ),
        (
            "rotate itself",
            Box::new(|secret| bearer(secret).post("/v1/whoami/rotate", json!({}))),
        ),
        (
            "import",
            Box::new(|secret| {
                bearer(secret).post("/v1/keys/import?source=x", json!({ "name": "x" }))
            }),
        ),
        (
            "aware",
            Box::new(|secret| {
                none.clone()
                    .with("X-Aware-Api-Key", secret)
                    .get("/external/api/v1/devices")
            }),
        ),
        (
            "awaretrain",
            Box::new(|secret| bearer(secret).get("/api/external/users")),
        ),
        (
            "adverity",
            Box::new(|secret| bearer(secret).get("/api/stacks")),
        ),
        (
            "adverity, a key about itself",
            Box::new(|secret| bearer(secret).post("/api/v1/auth/keys/introspect", json!({}))),
        ),
        (
            "vspc",
            Box::new(|secret| bearer(secret).get("/api/v3/users")),
        ),
    ];
    for (name, ask) in &surfaces {
        let (of_decoy, of_unknown) = (ask(&decoy.secret), ask(&unknown.secret));
        assert_eq!(
            seen(&of_decoy),
            seen(&of_unknown),
            "{name}\n{}",
            of_decoy.exchange()
        );
    }
    // The key is still there, was never used, and nothing was issued with it.
    let key = admin.key(&decoy.id);
    assert_eq!(
        (key["use_count"].as_u64(), &key["state"]),
        (Some(0), &json!("active"))
    );
    wait::until("all trips are recorded", || {
        server
            .alarm(&decoy.id, "tripped")
            .is_some_and(|count| count >= 14)
    });
    assert_eq!(events(&admin, "key.issue", &decoy.id).len(), 1);
    assert_eq!(
        events(&admin, "key.tripped", &decoy.id).len(),
        1,
        "one event in ten minutes"
    );
}

#[test]
fn the_event_of_a_decoy_says_from_where_for_what_and_through_what() {
    let server = Server::start();
    let (admin, decoy) = (server.admin(), decoy(&server));
    let thief = server
        .bearer(&decoy.secret)
        .with("X-Forwarded-For", "192.0.2.7")
        .with("X-Original-Method", "DELETE")
        .with("X-Original-URI", "/invoices/7?token=x");
    thief.get("/auth/nginx?catalog=latchkey").expect(401);
    let tripped = event(&admin, "key.tripped", &decoy.id);
    assert_eq!(tripped["source"], "192.0.2.7");
    assert_eq!(tripped["actor"], "system");
    assert_eq!(changed(&tripped, "via"), "nginx");
    assert_eq!(changed(&tripped, "request"), "DELETE /invoices/7");
    assert!(!tripped.to_string().contains(&decoy.secret));
    // Without a catalog the path decides nothing, and is recorded nevertheless.
    let other = admin.issue(json!({ "name": "other backup", "policy": "decoy" }));
    let thief = server
        .bearer(&other.secret)
        .with("X-Original-Method", "GET")
        .with("X-Original-URI", "/admin?token=x");
    thief.get("/auth/nginx").expect(401);
    let second = event(&admin, "key.tripped", &other.id);
    assert_eq!(changed(&second, "request"), "GET /admin");
    let told = notice(&admin, "key.tripped", &decoy.id);
    assert_eq!(told["address"], "192.0.2.7");
    assert_eq!(
        (&told["via"], &told["request"]),
        (&json!("nginx"), &json!("DELETE /invoices/7"))
    );
}

#[test]
fn a_decoy_trips_whatever_its_state_until_it_is_deleted() {
    let mut server = Server::start();
    let (admin, decoy) = (server.admin(), decoy(&server));
    admin
        .post(&format!("/v1/keys/{}/disable", decoy.id), json!({}))
        .expect(200);
    assert_eq!(admin.verdict(&decoy.secret), "NOT_FOUND");
    event(&admin, "key.tripped", &decoy.id);
    let trial = admin
        .post(&format!("/v1/keys/{}/test", decoy.id), json!({}))
        .expect(200)
        .json();
    assert_eq!(trial["code"], "NOT_FOUND", "{trial}");
    // The count survives a restart, and what waits is written when the server stops.
    assert_eq!(admin.verdict(&decoy.secret), "NOT_FOUND");
    server.stop();
    server.restart();
    let admin = server.admin();
    assert_eq!(server.alarm(&decoy.id, "tripped"), Some(2));
    admin.delete(&format!("/v1/keys/{}", decoy.id)).expect(204);
    assert_eq!(admin.verdict(&decoy.secret), "NOT_FOUND");
    event(&admin, "key.old_secret_tried", &decoy.id);
}

#[test]
fn keys_neither_become_decoys_nor_stop_being_decoys() {
    let server = Server::start();
    let (admin, decoy) = (server.admin(), decoy(&server));
    for (policy, value) in [("decoy", false), ("standard", true)] {
        let path = format!("/v1/policies/{policy}");
        let answer = admin.patch(&path, json!({ "decoy": value }));
        let problem = answer.refused(409, "conflict");
        assert!(
            problem["detail"].as_str().unwrap().contains("decoy"),
            "{problem}"
        );
    }
    admin.delete(&format!("/v1/keys/{}", decoy.id)).expect(204);
    admin
        .patch("/v1/policies/decoy", json!({ "decoy": false }))
        .expect(200);
}

#[test]
fn the_command_line_makes_the_policy_of_decoys_and_a_decoy() {
    let server = Server::start();
    let run = |args: &[&str]| {
        let mut command = executable(None);
        let ran = command.args(args).arg("--data").arg(&server.data).output();
        let ran = ran.unwrap();
        assert!(ran.status.success(), "{ran:?}");
        String::from_utf8(ran.stdout).unwrap()
    };
    run(&["policy", "create", "traps", "--template", "decoy"]);
    let admin = server.admin();
    let policy = admin.get("/v1/policies/traps").expect(200).json();
    let of = |member: &str| policy[member].clone();
    assert_eq!(
        (of("decoy"), of("owner")),
        (json!(true), json!("forbidden"))
    );
    assert_eq!(
        (of("can_rotate"), of("tied_to")),
        (json!(false), json!("workspace"))
    );
    let secret = run(&[
        "key",
        "issue",
        "old-backup",
        "--policy",
        "traps",
        "--secret-only",
    ]);
    assert_eq!(admin.verdict(secret.trim()), "NOT_FOUND");
    event(&admin, "key.tripped", &secret[3..13]);
}

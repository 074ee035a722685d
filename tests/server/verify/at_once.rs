//! A change affects every verification that starts after the answer to the change, under all conditions.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;

use serde_json::{Value, json};

use crate::support::{Issued, Server, User};

/// The number of threads that verify continuously.
const HAMMERS: usize = 8;
const ROUNDS: usize = 60;

/// The current round, and whether its change has been answered.
struct Round {
    /// Twice the number of the round, plus one once its change has been answered.
    step: AtomicU64,
    done: AtomicBool,
}

/// Issues `ROUNDS` keys. In each round all threads verify the current key while it is changed; a verification that
/// starts after the answer to the change must not succeed.
#[track_caller]
fn check(server: &Server, what: &str, member: Option<&str>, change: impl Fn(&User, &Issued)) {
    let admin = server.admin();
    let round = Round {
        step: AtomicU64::new(0),
        done: AtomicBool::new(false),
    };
    let keys: Vec<Issued> = (0..ROUNDS)
        .map(|number| {
            let mut key = json!({ "name": "k", "scopes": ["a"] });
            if let Some(member) = member {
                key[member] = json!(format!("{member}{number}"));
            }
            admin.issue(key)
        })
        .collect();
    let (round, keys) = (&round, &keys);
    let asked = [AtomicU64::new(0), AtomicU64::new(0)];
    thread::scope(|scope| {
        for _ in 0..HAMMERS {
            scope.spawn(|| {
                while !round.done.load(SeqCst) {
                    let step = round.step.load(SeqCst);
                    let Some(key) = keys.get(step as usize / 2) else {
                        break;
                    };
                    let question = json!({ "key": key.secret, "scopes": ["a"] });
                    let verdict = server.anonymous().verify(question);
                    let changed = step % 2 == 1;
                    assert!(!changed || verdict["valid"] == false, "{what}: {verdict}");
                    asked[usize::from(changed)].fetch_add(1, SeqCst);
                }
            });
        }
        for key in keys {
            assert_eq!(admin.verdict(&key.secret), "VALID", "{what}");
            change(&admin, key);
            round.step.fetch_add(1, SeqCst);
            let after = admin.verify(json!({ "key": key.secret, "scopes": ["a"] }));
            assert_eq!(after["valid"], false, "{what}: {after}");
            round.step.fetch_add(1, SeqCst);
        }
        round.done.store(true, SeqCst);
    });
    for asked in asked {
        assert!(asked.load(SeqCst) > 0, "{what}: nobody asked");
    }
}

fn at(key: &Issued, rest: &str) -> String {
    format!("/v1/keys/{}{rest}", key.id)
}

/// attacks 62
#[test]
fn what_is_done_to_a_key_counts_at_once() {
    let server = Server::start();
    let edit =
        |body: Value| move |admin: &User, key: &Issued| drop(admin.edit(&key.id, body.clone()));
    check(&server, "delete", None, |admin, key| {
        drop(admin.delete(&at(key, "")).expect(204))
    });
    let disable =
        |admin: &User, key: &Issued| drop(admin.post(&at(key, "/disable"), json!({})).expect(200));
    check(&server, "disable", None, disable);
    check(&server, "rotate", None, |admin, key| {
        drop(admin.rotate(&key.id, json!({})))
    });
    check(&server, "scopes", None, edit(json!({ "scopes": ["b"] })));
    check(
        &server,
        "addresses",
        None,
        edit(json!({ "allowed_ips": ["192.0.2.1"] })),
    );
    check(
        &server,
        "start",
        None,
        edit(json!({ "not_before": "2990-01-01T00:00:00Z" })),
    );
    check(&server, "uses", None, edit(json!({ "uses_left": 0 })));
    check(
        &server,
        "rate",
        None,
        edit(json!({ "rate_limit": { "limit": 0, "window_s": 1 } })),
    );
}

/// attacks 63
#[test]
fn what_is_done_to_owner_or_workspace_counts_at_once_for_their_keys() {
    let server = Server::start();
    let admin = server.admin();
    for number in 0..ROUNDS {
        let above = format!("above{number}");
        admin.workspace(&above, "root");
        admin.workspace(&format!("workspace{number}"), &above);
        let owner = json!({ "user_name": format!("owner{number}") });
        admin.post("/v1/users", owner).expect(201);
    }
    let off = |admin: &User, path: String| {
        drop(admin.patch(&path, json!({ "enabled": false })).expect(200))
    };
    let own = |key: &Issued, member: &str| key.key[member].as_str().unwrap().to_owned();
    check(&server, "owner", Some("owner"), |admin, key| {
        off(admin, format!("/v1/users/{}", own(key, "owner")))
    });
    check(&server, "above", Some("workspace"), |admin, key| {
        off(
            admin,
            format!(
                "/v1/workspaces/{}",
                own(key, "workspace").replace("workspace", "above")
            ),
        );
    });
    for number in 0..ROUNDS {
        admin
            .patch(
                &format!("/v1/workspaces/above{number}"),
                json!({ "enabled": true }),
            )
            .expect(200);
    }
    check(&server, "workspace", Some("workspace"), |admin, key| {
        off(admin, format!("/v1/workspaces/{}", own(key, "workspace")));
    });
}

//! Rate limits and counted uses: exact under load and across restarts, and never consumed by a refusal.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Server, User, together, wait};

/// How many of `count` verifications on so many threads succeed.
fn admitted(user: &User, secret: &str, threads: usize, count: usize) -> usize {
    let left = AtomicUsize::new(count);
    let valid = together(threads, |_| {
        let mut valid = 0;
        while left
            .fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1))
            .is_ok()
        {
            valid += usize::from(user.verdict(secret) == "VALID");
        }
        valid
    });
    valid.into_iter().sum()
}

#[test]
fn limits_are_exact_under_64_threads() {
    let server = Server::start_with(&["--usage-interval-s", "3600"], &[]);
    let admin = server.admin();
    let anonymous = server.anonymous();
    for (limits, expected) in [
        (
            json!({ "rate_limit": { "limit": 25, "window_s": 600 } }),
            25,
        ),
        (json!({ "rate_limit": { "limit": 1, "window_s": 600 } }), 1),
        (json!({ "uses_left": 1 }), 1),
        (json!({ "uses_left": 17 }), 17),
        (json!({ "uses_left": 500 }), 500),
        (
            json!({ "uses_left": 60, "rate_limit": { "limit": 40, "window_s": 600 } }),
            40,
        ),
        (
            json!({ "uses_left": 40, "rate_limit": { "limit": 60, "window_s": 600 } }),
            40,
        ),
    ] {
        let mut key = limits.clone();
        key["name"] = json!("k");
        let key = admin.issue(key);
        let asked = (expected + 100).max(100);
        assert_eq!(
            admitted(&anonymous, &key.secret, 64, asked),
            expected,
            "{limits}"
        );
        let shown = admin.key(&key.id);
        assert_eq!(shown["use_count"], expected, "{limits}");
        if let Some(uses) = limits["uses_left"].as_u64() {
            assert_eq!(shown["uses_left"], uses - expected as u64, "{limits}");
        }
    }
}

#[test]
fn an_edit_or_rotation_in_between_gives_nothing_back() {
    let server = Server::start();
    let admin = server.admin();
    let key = admin.issue(
        json!({ "name": "k", "uses_left": 100, "rate_limit": { "limit": 60, "window_s": 600 } }),
    );
    let anonymous = server.anonymous();
    let changing = AtomicUsize::new(0);
    let valid: usize = together(16, |thread| {
        if thread == 0 {
            for round in 0..20 {
                admin.edit(
                    &key.id,
                    json!({ "name": format!("k{round}"), "scopes": [format!("s{round}")] }),
                );
                changing.fetch_add(1, SeqCst);
            }
            return 0;
        }
        (0..8)
            .filter(|_| anonymous.verdict(&key.secret) == "VALID")
            .count()
    })
    .into_iter()
    .sum();
    assert_eq!((valid, changing.load(SeqCst)), (60, 20));
    let rotated = admin.rotate(&key.id, json!({}));
    assert_eq!(
        admin.verdict(&rotated.secret),
        "RATE_LIMITED",
        "a new secret is no new quota"
    );
    admin.edit(
        &key.id,
        json!({ "rate_limit": { "limit": 61, "window_s": 600 } }),
    );
    assert_eq!(admin.verdict(&rotated.secret), "VALID");
    assert_eq!(admin.verdict(&rotated.secret), "RATE_LIMITED");
    admin.edit(&key.id, json!({ "rate_limit": null }));
    assert_eq!(admin.key(&key.id)["uses_left"], 39);
    assert_eq!(admitted(&anonymous, &rotated.secret, 8, 60), 39);
    admin.edit(&key.id, json!({ "uses_left": 3 }));
    assert_eq!(admitted(&anonymous, &rotated.secret, 8, 10), 3);
    admin.edit(&key.id, json!({ "uses_left": null }));
    assert_eq!(admitted(&anonymous, &rotated.secret, 8, 10), 10);
}

#[test]
fn uses_survive_a_clean_restart_exactly_and_a_crash_without_ever_growing() {
    let mut server = Server::start();
    let admin = server.admin();
    let total = 1_000;
    let key = admin.issue(json!({ "name": "k", "uses_left": total }));
    let mut spent = admitted(&server.anonymous(), &key.secret, 8, 150);
    assert_eq!(spent, 150);
    assert!(server.stop().is_some_and(|status| status.success()));
    server.restart();
    assert_eq!(
        admin.key(&key.id)["uses_left"],
        total - 150,
        "after SIGTERM"
    );

    spent += admitted(&server.anonymous(), &key.secret, 8, 150);
    server.kill9();
    server.restart();
    let left = admin.key(&key.id)["uses_left"].as_u64().unwrap() as usize;
    // A reserved block is a sixteenth of the uses that were left.
    assert!(
        left <= total - spent,
        "{left} left of {total} after {spent}"
    );
    assert!(
        left + total.div_ceil(16) >= total - spent,
        "{left} left of {total} after {spent}"
    );
    assert_eq!(admitted(&server.anonymous(), &key.secret, 16, total), left);
    server.kill9();
    server.restart();
    assert_eq!(admin.verdict(&key.secret), "USAGE_EXCEEDED");

    // The server is killed several times under load: never may more verifications succeed than there were uses.
    let key = admin.issue(json!({ "name": "k", "uses_left": 200 }));
    let mut valid = 0;
    for _ in 0..4 {
        valid += admitted(&server.anonymous(), &key.secret, 8, 40);
        server.kill9();
        server.restart();
    }
    valid += admitted(&server.anonymous(), &key.secret, 8, 240);
    assert!((150..=200).contains(&valid), "{valid} of 200");
}

/// attacks 158: a successful verification consumes its cost, and a refused one consumes nothing.
#[test]
fn a_request_costs_what_it_says_and_a_refused_one_nothing() {
    let server = Server::start();
    let admin = server.admin();
    let key = admin.issue(
        json!({ "name": "k", "uses_left": 10, "rate_limit": { "limit": 8, "window_s": 600 } }),
    );
    let ask = |cost: u64, scopes: Value| {
        let verdict = admin.verify(json!({ "key": key.secret, "cost": cost, "scopes": scopes }));
        let remaining = verdict["rate_limit"]["remaining"].as_u64();
        (
            verdict["code"].as_str().unwrap().to_owned(),
            remaining,
            verdict["uses_left"].as_u64(),
        )
    };
    let told = |code: &str, remaining, left| (code.to_owned(), remaining, left);
    assert_eq!(ask(3, json!([])), told("VALID", Some(5), Some(7)));
    assert_eq!(
        ask(6, json!([])),
        told("RATE_LIMITED", Some(5), None),
        "dearer than what is free"
    );
    assert_eq!(
        ask(3, json!(["no"])),
        told("INSUFFICIENT_SCOPE", None, None)
    );
    assert_eq!(
        ask(0, json!([])),
        told("VALID", Some(5), Some(7)),
        "a look is free"
    );
    assert_eq!(ask(5, json!([])), told("VALID", Some(0), Some(2)));
    assert_eq!(ask(1, json!([])), told("RATE_LIMITED", Some(0), None));
    admin.edit(&key.id, json!({ "rate_limit": null }));
    assert_eq!(
        ask(3, json!([])),
        told("USAGE_EXCEEDED", None, None),
        "two are left"
    );
    assert_eq!(ask(2, json!([])), told("VALID", None, Some(0)));
    assert_eq!(ask(1, json!([])), told("USAGE_EXCEEDED", None, None));
    let largest = admin.issue(json!({
        "name": "k", "uses_left": 9_007_199_254_740_992_u64, "rate_limit": { "limit": 4_294_967_296_u64, "window_s": 2_678_400 },
    }));
    let verdict = admin.verify(json!({ "key": largest.secret, "cost": 1_000_000 }));
    assert_eq!(verdict["uses_left"], 9_007_199_253_740_992_u64);
    assert_eq!(verdict["rate_limit"]["remaining"], 4_293_967_296_u64);
}

#[test]
fn a_window_returns_what_was_spent_when_it_is_over() {
    let server = Server::start();
    let admin = server.admin();
    let window_s = 3;
    let rate = json!({ "limit": 2, "window_s": window_s });
    let (key, count, refused) = wait::quick_run(Duration::from_secs(window_s), || {
        let key = admin.issue(json!({ "name": "k", "rate_limit": rate.clone() }));
        let count = admitted(&admin, &key.secret, 1, 4);
        let refused = admin.verify(json!({ "key": key.secret }));
        (key, count, refused)
    });
    assert_eq!(count, 2);
    assert_eq!(refused["code"], "RATE_LIMITED");
    let reset_s = refused["rate_limit"]["reset_s"].as_u64().unwrap();
    assert!((1..=window_s).contains(&reset_s), "{refused}");
    let rate = json!({ "limit": 2, "window_s": window_s, "remaining": 0, "reset_s": reset_s });
    assert_eq!(refused["rate_limit"], rate);
    let count = wait::quick_run(Duration::from_secs(2 * window_s), || {
        wait::pause(Duration::from_secs(window_s));
        admitted(&admin, &key.secret, 1, 4)
    });
    assert_eq!(count, 2);
}

/// attacks 159
#[test]
fn forward_auth_tells_the_limit_in_headers() {
    let server = Server::start();
    let key = server
        .admin()
        .issue(json!({ "name": "k", "rate_limit": { "limit": 2, "window_s": 60 } }));
    let user = server.bearer(&key.secret);
    for (status, remaining) in [(200, 1), (200, 0), (429, 0)] {
        let answer = user.get("/auth/caddy").expect(status);
        assert_eq!(
            answer.header("ratelimit-policy"),
            Some("\"default\";q=2;w=60")
        );
        let state = answer.header("ratelimit").unwrap();
        let start = format!("\"default\";r={remaining};t=");
        let reset: u64 = state.strip_prefix(&start).unwrap().parse().unwrap();
        assert!((1..=60).contains(&reset));
        let wait: Option<u64> = answer
            .header("retry-after")
            .map(|wait| wait.parse().unwrap());
        assert_eq!(wait.is_some(), status == 429);
        assert!(wait.is_none_or(|wait| wait >= reset && wait <= 60));
    }
    let unlimited = server.bearer(&server.secret).get("/auth/caddy").expect(200);
    assert_eq!(
        (
            unlimited.header("ratelimit"),
            unlimited.header("ratelimit-policy")
        ),
        (None, None)
    );
}

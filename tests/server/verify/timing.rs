//! How long a refusal takes tells nothing.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::Server;

/// How often each question is asked; what counts is the least time, which other work on the machine disturbs least.
const ROUNDS: usize = 60;

/// attacks 61: an unknown id costs as much as a known one with another secret, and a good secret of a key that is
/// not in force as much as that of one that is.
#[test]
fn refusals_take_alike_long() {
    let server = Server::start();
    let admin = server.admin();
    let valid = admin.issue(json!({ "name": "k" })).secret;
    let disabled = admin.issue(json!({ "name": "k", "enabled": false })).secret;
    let early = json!({ "name": "k", "not_before": "2990-01-01T00:00:00Z" });
    let early = admin.issue(early).secret;
    // Well formed both: secrets that were replaced and deleted.
    let rotated = admin.issue(json!({ "name": "k" }));
    admin.rotate(&rotated.id, json!({}));
    let elsewhere = Server::start();
    let unknown = elsewhere.admin().issue(json!({ "name": "k" })).secret;

    let questions = [
        ("unknown id", unknown, "NOT_FOUND"),
        ("wrong secret", rotated.secret, "NOT_FOUND"),
        ("valid", valid, "VALID"),
        ("disabled", disabled, "DISABLED"),
        ("before its time", early, "NOT_YET_VALID"),
    ];
    let mut least = [Duration::MAX; 5];
    for _ in 0..ROUNDS {
        for (position, (_, secret, code)) in questions.iter().enumerate() {
            let items: Vec<Value> = (0..100).map(|_| json!({ "key": secret })).collect();
            let began = Instant::now();
            let answer = admin.post("/v1/verify/batch", json!({ "items": items }));
            least[position] = least[position].min(began.elapsed());
            assert_eq!(answer.expect(200).json()["items"][99]["code"], *code);
        }
    }
    let told: Vec<(&str, Duration)> = questions
        .iter()
        .map(|(name, _, _)| *name)
        .zip(least)
        .collect();
    // 100 questions a request, so that a look-up or a digest more would be seen: what is left of the difference
    // between two alike ones is noise.
    let alike = |one: usize, other: usize, within: f64| {
        let (one, other) = (least[one].as_secs_f64(), least[other].as_secs_f64());
        assert!(one.max(other) / one.min(other) < within, "{told:?}");
    };
    alike(0, 1, 1.5);
    alike(3, 4, 1.5);
    // These have longer and shorter answers.
    alike(0, 2, 2.5);
    alike(2, 3, 2.5);
}

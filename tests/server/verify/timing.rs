//! The time that a refusal takes reveals nothing. Measured in processor time, which other programs do not change.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::Server;

/// The minimum number of measurements of each question; the shortest time counts, because the work of the server in the
/// background affects it least.
const ROUNDS: usize = 12;
/// The maximum number.
const ROUNDS_MAX: usize = 20 * ROUNDS;
/// The requests of one measurement.
const REQUESTS: usize = 5;

/// Pairs of questions, and the allowed ratio of their times. A request contains 100 questions, so that an additional
/// look-up or digest would be noticeable; the remaining difference in pairs with the ratio 1.5 is noise, and in the
/// others also the length of the answers.
const ALIKE: [(usize, usize, f64); 4] = [(0, 1, 1.5), (3, 4, 1.5), (0, 2, 2.5), (2, 3, 2.5)];

fn are_alike(least: &[Duration; 5]) -> bool {
    let seconds = least.map(|time| time.as_secs_f64());
    ALIKE.iter().all(|(one, other, within)| {
        let (one, other) = (seconds[*one], seconds[*other]);
        one.max(other) / one.min(other) < *within
    })
}

/// attacks 61: an unknown id takes as long as a known id with a wrong secret, and the right secret of a key that is not
/// in force as long as that of one that is.
#[test]
fn refusals_take_alike_long() {
    let server = Server::start();
    let admin = server.admin();
    let valid = admin.issue(json!({ "name": "k" })).secret;
    let disabled = admin.issue(json!({ "name": "k", "enabled": false })).secret;
    let early = json!({ "name": "k", "not_before": "2990-01-01T00:00:00Z" });
    let early = admin.issue(early).secret;
    // Both are well formed: a secret that was replaced, and one of another server.
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
    for round in 0..ROUNDS_MAX {
        if round >= ROUNDS && are_alike(&least) {
            return;
        }
        for (position, (_, secret, code)) in questions.iter().enumerate() {
            let items: Vec<Value> = (0..100).map(|_| json!({ "key": secret })).collect();
            let body = json!({ "items": items });
            let before = server.processor_time();
            for _ in 0..REQUESTS {
                let answer = admin.post("/v1/verify/batch", body.clone());
                assert_eq!(answer.expect(200).json()["items"][99]["code"], *code);
            }
            least[position] = least[position].min(server.processor_time() - before);
        }
    }
    let told: Vec<(&str, Duration)> = questions
        .iter()
        .map(|(name, _, _)| *name)
        .zip(least)
        .collect();
    panic!("{told:?}");
}

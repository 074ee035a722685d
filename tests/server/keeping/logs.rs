//! Logs: one JSON object on each line, no secrets, and no flood of lines. Attacks 201, 202, 210.

use std::fs;

use serde_json::{Value, json};

use crate::support::{PASSWORD, Server, wait};

fn lines(server: &Server) -> Vec<Value> {
    let log = server.log();
    log.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|err| panic!("{err}: {line}")))
        .collect()
}

// attacks 201, 202
#[test]
fn every_event_is_one_json_line_without_secrets() {
    let mut server = Server::start_with(&["--log-format", "json"], &[("RUST_LOG", "trace")]);
    let admin = server.admin();
    admin.person("alice", "key_manager", "root");
    let mut secrets = vec![
        server.management_key.clone(),
        server.secret.clone(),
        server.owner_password.clone(),
        PASSWORD.to_owned(),
    ];
    for number in 0..20 {
        let key = admin.issue(json!({ "name": format!("k{number}"), "uses_left": 5 }));
        server.anonymous().verdict(&key.secret);
        let rotated = admin.rotate(&key.id, json!({}));
        server
            .anonymous()
            .bearer(&rotated.secret)
            .get("/auth/caddy");
        server
            .anonymous()
            .with("User-Agent", &format!("{}\u{202e}", rotated.secret))
            .get(&format!("/{}", rotated.secret));
        server.raw(format!("GET /{} HTTP/9.9\r\n\r\n", rotated.secret));
        secrets.extend([key.secret, rotated.secret]);
    }
    server.stop();
    let log = lines(&server);
    assert!(!log.is_empty());
    for line in &log {
        for member in ["at", "level", "target", "message"] {
            assert!(line[member].is_string(), "{line}");
        }
        let text = line.to_string();
        for secret in &secrets {
            let hidden = secret.get(13..).unwrap_or(secret);
            assert!(!text.contains(hidden), "{text}");
        }
    }
}

// attacks 210
#[test]
fn a_fault_that_lasts_is_told_a_few_times_and_then_counted() {
    let server = Server::start_with(&["--log-format", "json"], &[]);
    let database = server.data.join("latchkey.db");
    fs::rename(&database, server.data.join("elsewhere")).expect("it can be moved");
    for number in 0..50 {
        let answer = server
            .admin()
            .post("/v1/keys", json!({ "name": format!("k{number}") }));
        assert_eq!(answer.status, 503, "{}", answer.exchange());
    }
    let refused = |line: &&Value| {
        let message = line["message"].as_str().unwrap_or_default();
        message.contains("refused: ")
    };
    wait::until("all refusals are in the log", || {
        let told = lines(&server);
        let told: Vec<&Value> = told.iter().filter(refused).collect();
        assert!(told.len() < 12, "{} lines for one fault", told.len());
        let counts = told.iter().map(|line| line["count"].as_u64().unwrap_or(1));
        counts.sum::<u64>() >= 50
    });
    fs::rename(server.data.join("elsewhere"), &database).expect("it can be moved back");
}

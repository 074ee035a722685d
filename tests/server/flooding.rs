//! Requests that anonymous clients can send without limit: they fill neither the disk nor the memory.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Random, Server, together, wait};

const BASE62: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A secret with the right format and checksum that was never issued; the checksum is the `crc32` of the text before
/// it, in base 62.
fn unknown_secret(random: &mut Random) -> String {
    let mut text: String = (0..53)
        .map(|_| char::from(BASE62[random.below(62) as usize]))
        .collect();
    text.insert_str(0, "lk_");
    let mut crc = u32::MAX;
    for byte in text.bytes() {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = crc >> 1 ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
        }
    }
    let mut left = !crc;
    let mut digits = [b'0'; 6];
    for digit in digits.iter_mut().rev() {
        *digit = BASE62[(left % 62) as usize];
        left /= 62;
    }
    text + std::str::from_utf8(&digits).unwrap()
}

/// The size of the database and its write-ahead log.
fn stored_bytes(data: &Path) -> u64 {
    let files = fs::read_dir(data).unwrap().map(|entry| entry.unwrap());
    let database = files.filter(|file| file.file_name().to_string_lossy().contains(".db"));
    let sizes: Vec<u64> = database
        .map(|file| file.metadata().unwrap().len())
        .collect();
    assert!(!sizes.is_empty(), "no database in {}", data.display());
    sizes.iter().sum()
}

/// attacks 59, 161
#[test]
fn unknown_secrets_leave_nothing_in_store_and_memory() {
    // With this interval the server writes nothing on its own meanwhile.
    let server = Server::start_with(&["--usage-interval-s", "3600"], &[]);
    let mut random = Random::seeded();
    let mut ask = |count: usize| {
        for _ in 0..count {
            let items: Vec<Value> = (0..100)
                .map(|_| json!({ "key": unknown_secret(&mut random) }))
                .collect();
            let body = json!({ "items": items });
            let answer = server
                .anonymous()
                .post("/v1/verify/batch", body)
                .expect(200);
            let verdicts = answer.json();
            for verdict in verdicts["items"].as_array().unwrap() {
                assert_eq!(verdict["code"], "NOT_FOUND", "{verdict}");
            }
        }
    };
    ask(20);
    server.admin().verify(json!({ "key": server.secret }));
    let before = (
        stored_bytes(&server.data),
        server.admin().newest_event(),
        server.resident_bytes(),
    );
    ask(300);
    assert_eq!(stored_bytes(&server.data), before.0);
    assert_eq!(server.admin().newest_event(), before.1);
    let grown = server.resident_bytes().saturating_sub(before.2);
    assert!(grown < 8 << 20, "{grown} bytes for 30,000 unknown secrets");
    server.assert_alive();
}

/// attacks 162
#[test]
fn many_names_are_refused_before_they_cost_anything() {
    let server = Server::start();
    let admin = server.admin();
    let names = |count: usize| -> String {
        (0..count)
            .map(|number| format!("\"{number}\":0,"))
            .collect()
    };
    let body = format!("{{{}\"name\":\"x\"}}", names(6_000));
    let deep = format!(
        "{{\"metadata\":{{{}\"a\":1}},\"name\":\"x\"}}",
        names(6_000)
    );
    let parameters: String = (0..200).map(|number| format!("a{number}=1&")).collect();
    wait::quick_run(Duration::from_secs(20), || {
        for _ in 0..10 {
            admin
                .send("POST", "/v1/keys", "application/json", body.as_bytes())
                .refused(422, "invalid-field");
            admin
                .send("POST", "/v1/keys", "application/json", deep.as_bytes())
                .refused_field("metadata");
            admin
                .get(&format!("/v1/keys?{parameters}"))
                .refused(400, "invalid-request");
            let many: Vec<(String, String)> = (0..101)
                .map(|number| (format!("x-{number}"), "1".to_owned()))
                .collect();
            let many: Vec<(&str, &str)> = many
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .collect();
            assert_eq!(server.call("GET", "/v1/keys", &many, None).status, 431);
        }
    });
    server.assert_alive();
}

/// attacks 163
#[test]
fn strangers_fill_neither_the_log_nor_the_audit_log() {
    let server = Server::start();
    let seq = |event: Value| event["seq"].as_u64().unwrap();
    let before = (server.log().len(), seq(server.admin().newest_event()));
    together(4, |_| {
        for number in 0..100 {
            let bad = [("Authorization", "Bearer lk_bad")];
            server.call("GET", "/v1/keys", &bad, None);
            server.call("GET", &format!("/nothing/{number}"), &[], None);
            server.call("POST", "/v1/verify", &[], Some(b"{"));
            server.call("GET", "/auth/nginx", &bad, None);
            let body = json!({ "user_name": format!("u{number}"), "password": "x" });
            server.anonymous().post("/v1/sessions", body);
            server.raw("GET / HTTP/9.9\r\n\r\n");
        }
    });
    let log = server.log();
    assert!(log.len() < before.0 + 4096, "{log}");
    let events = seq(server.admin().newest_event()) - before.1;
    assert!(events <= 200, "{events} events of 2,400 requests");
    server.assert_alive();
}

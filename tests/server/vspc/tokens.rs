//! Tokens over time: how long a refresh token is valid, and what ends it earlier.

use rusqlite::Connection;
use serde_json::json;
use std::time::{SystemTime, UNIX_EPOCH};

use super::{Console, sign_in, text, token};
use crate::support::{Server, together};

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// Stops the server and starts it again that much later: the clock is never behind the stored mark.
fn later(server: &mut Server, ms: i64) {
    server.stop();
    let database = Connection::open(server.data.join("latchkey.db")).unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let mark = now.as_millis() as i64 + ms;
    let sql = "UPDATE clock SET mark = ?1";
    assert_eq!(database.execute(sql, [mark]).unwrap(), 1);
    drop(database);
    server.restart();
}

fn refresh(server: &Server, token_text: &str) -> (u16, serde_json::Value) {
    token(
        server,
        &format!("grant_type=refresh_token&refresh_token={token_text}"),
    )
}

// 1D-2, 1D-30
#[test]
fn an_access_token_lives_an_hour_a_refresh_token_14_days_and_a_key_for_ever() {
    let mut console = Console::start();
    let (_, key) = console.key("description=x&scopes=rest");
    let pair = sign_in(
        &console.server,
        &console.server.owner_user_name,
        &console.server.owner_password,
    );
    let (access, first) = (text(&pair, "access_token"), text(&pair, "refresh_token"));
    later(&mut console.server, HOUR_MS + 60_000);
    let server = &console.server;
    server.bearer(&access).get("/api/v3/about").expect(401);
    let (status, pair) = refresh(server, &first);
    assert_eq!(status, 200, "{pair}");
    server
        .bearer(&text(&pair, "access_token"))
        .get("/api/v3/about")
        .expect(200);
    let second = text(&pair, "refresh_token");
    later(&mut console.server, 14 * DAY_MS + 2 * HOUR_MS);
    let (status, failure) = refresh(&console.server, &second);
    assert_eq!((status, &failure["error"]), (400, &json!("invalid_grant")));
    let key = console.server.bearer(&key);
    key.get("/api/v3/about").expect(200);
}

/// finding L3: this holds for any number of renewals.
#[test]
fn a_sign_in_is_renewed_for_90_days_at_most() {
    let mut console = Console::start();
    let (name, password) = (
        console.server.owner_user_name.clone(),
        console.server.owner_password.clone(),
    );
    let pair = sign_in(&console.server, &name, &password);
    let mut newest = text(&pair, "refresh_token");
    for round in 1..=6 {
        later(&mut console.server, round * 13 * DAY_MS);
        let (status, pair) = refresh(&console.server, &newest);
        assert_eq!(status, 200, "after {round} renewals: {pair}");
        newest = text(&pair, "refresh_token");
    }
    // This is the 78th day. Two days later a renewal works; on the 90th day it does not, although the token is 10 days
    // old.
    later(&mut console.server, 80 * DAY_MS);
    let (status, pair) = refresh(&console.server, &newest);
    assert_eq!(status, 200, "{pair}");
    later(&mut console.server, 90 * DAY_MS);
    let (status, failure) = refresh(&console.server, &text(&pair, "refresh_token"));
    assert_eq!((status, &failure["error"]), (400, &json!("invalid_grant")));
    sign_in(&console.server, &name, &password);
}

#[test]
fn a_new_password_ends_tokens_and_not_keys() {
    let console = Console::start();
    let (_, key) = console.key("description=x&scopes=rest");
    let server = &console.server;
    let pair = sign_in(server, &server.owner_user_name, &server.owner_password);
    let admin = server.local();
    admin
        .post(
            &format!("/v1/users/{}/password", console.me),
            json!({"password": "quite another passphrase"}),
        )
        .expect(204);
    assert_eq!(refresh(server, &text(&pair, "refresh_token")).0, 400);
    let access = text(&pair, "access_token");
    server.bearer(&access).get("/api/v3/about").expect(401);
    server.bearer(&key).get("/api/v3/about").expect(200);
}

#[test]
fn of_many_uses_at_once_one_wins_and_the_family_ends() {
    let console = Console::start();
    let server = &console.server;
    let pair = sign_in(server, &server.owner_user_name, &server.owner_password);
    let old = text(&pair, "refresh_token");
    let answers = together(16, |_| refresh(server, &old));
    let won: Vec<_> = answers
        .iter()
        .filter(|(status, _)| *status == 200)
        .collect();
    assert_eq!(won.len(), 1, "{answers:?}");
    let new = text(&won[0].1, "access_token");
    server.bearer(&new).get("/api/v3/about").expect(401);
    assert_eq!(refresh(server, &text(&won[0].1, "refresh_token")).0, 400);
}

#[test]
fn a_family_is_renewed_60_times_an_hour_at_most() {
    let console = Console::start();
    let server = &console.server;
    let pair = sign_in(server, &server.owner_user_name, &server.owner_password);
    let mut newest = text(&pair, "refresh_token");
    for _ in 1..60 {
        let (status, pair) = refresh(server, &newest);
        assert_eq!(status, 200, "{pair}");
        newest = text(&pair, "refresh_token");
    }
    let (status, failure) = refresh(server, &newest);
    assert_eq!(
        (status, &failure["error"]),
        (400, &json!("invalid_request"))
    );
    // The refused request did not use the token: it works again after an hour.
    let mut console = console;
    later(&mut console.server, HOUR_MS + 60_000);
    assert_eq!(refresh(&console.server, &newest).0, 200);
}

#[test]
fn pairs_survive_a_kill_and_so_does_their_use() {
    let mut console = Console::start();
    let server = &console.server;
    let pair = sign_in(server, &server.owner_user_name, &server.owner_password);
    let (old, (status, next)) = {
        let old = text(&pair, "refresh_token");
        let next = refresh(server, &old);
        (old, next)
    };
    assert_eq!(status, 200);
    console.server.kill9();
    console.server.restart();
    let server = &console.server;
    let (status, third) = refresh(server, &text(&next, "refresh_token"));
    assert_eq!(status, 200);
    assert_eq!(refresh(server, &old).0, 400);
    let third = text(&third, "access_token");
    server.bearer(&third).get("/api/v3/about").expect(401);
}

#[test]
fn nothing_of_a_token_or_a_key_is_in_the_store_or_the_log() {
    let console = Console::start();
    let (_, key) = console.key("description=x&scopes=rest");
    let server = &console.server;
    let pair = sign_in(server, &server.owner_user_name, &server.owner_password);
    server.bearer(&key).get("/api/v3/about").expect(200);
    let mut texts = vec![server.log().into_bytes()];
    for entry in std::fs::read_dir(&server.data).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            texts.push(std::fs::read(path).unwrap());
        }
    }
    for secret in [
        &text(&pair, "access_token"),
        &text(&pair, "refresh_token"),
        &key,
    ] {
        // The first part is the id, which is public.
        let random = &secret.as_bytes()[20..52];
        for text in &texts {
            assert!(!text.windows(random.len()).any(|part| part == random));
        }
    }
}

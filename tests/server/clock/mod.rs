//! A wrong clock: the server's time never goes back, and the administrator of the machine can see and correct it.

mod accept;
pub mod date;

use rusqlite::Connection;
use serde_json::{Value, json};
use std::time::Duration;

use crate::support::{Server, wait};

const DAY_S: i64 = 86_400;
const DAY_MS: i64 = 1_000 * DAY_S;

/// Restarts the server as if the store had last been written so many days from now.
pub fn restart_with_mark(server: &mut Server, days: i64) {
    restart_with_mark_ms(server, days * DAY_MS);
}

/// Like [`restart_with_mark`], in milliseconds.
pub fn restart_with_mark_ms(server: &mut Server, ms: i64) {
    server.stop();
    let database = Connection::open(server.data.join("latchkey.db")).unwrap();
    let changed = database
        .execute("UPDATE clock SET mark = mark + ?1", [ms])
        .unwrap();
    assert_eq!(changed, 1);
    drop(database);
    server.restart();
}

/// The answer of `/readyz` on the socket once all keys are loaded.
fn ready(server: &Server) -> Value {
    wait::some("all keys are loaded", || {
        let told = server.local().get("/readyz").json();
        let loaded = told["keys_loaded"] == true;
        assert!(loaded || told["ready"] == false, "{told}");
        loaded.then_some(told)
    })
}

fn recorded(told: &Value) -> String {
    told["clock"]["mark"].as_str().unwrap().to_owned()
}

/// Waits until a secret gets this verdict.
#[track_caller]
fn ends_with(server: &Server, secret: &str, verdict: &str) {
    wait::until(&format!("the verdict is {verdict}"), || {
        server.anonymous().verdict(secret) == verdict
    });
}

// attacks 132
#[test]
fn the_socket_tells_how_the_clock_is_and_tcp_does_not() {
    let mut server = Server::start();
    ready(&server);
    let key = server
        .admin()
        .issue(json!({ "name": "k", "expires_in_s": 86_400 }));
    assert_eq!(ready(&server)["clock"]["state"], "in_step");
    assert_eq!(
        server.anonymous().get("/readyz").expect(200).text(),
        "ready\n"
    );

    // The machine's clock has fallen back by two days: keys that had expired by then stay expired.
    restart_with_mark(&mut server, 2);
    let told = ready(&server);
    assert_eq!(
        (&told["ready"], &told["clock"]["state"]),
        (&json!(true), &json!("behind"))
    );
    assert_eq!(told["clock"]["now"], told["clock"]["mark"]);
    assert_eq!(
        server.anonymous().get("/readyz").expect(200).text(),
        "ready\n"
    );
    assert_eq!(server.anonymous().verdict(&key.secret), "EXPIRED");
}

// attacks 237
#[test]
fn a_clock_far_ahead_is_told_and_not_believed_at_once() {
    let mut server = Server::start();
    ready(&server);
    restart_with_mark(&mut server, -3);
    let told = ready(&server);
    assert_eq!(told["clock"]["state"], "ahead");
    assert_eq!(told["clock"]["now"], told["clock"]["wall"]);
    let advice = told["clock"]["advice"].as_str().unwrap();
    assert!(advice.contains("latchkey clock accept"), "{advice}");
    assert!(
        server.log().contains("more than a day after"),
        "{}",
        server.log()
    );
}

// attacks 237: S2
#[test]
fn under_a_wrong_recorded_time_new_keys_and_events_go_on() {
    let mut server = Server::start();
    restart_with_mark(&mut server, 3650);
    let key = server
        .admin()
        .issue(json!({ "name": "short", "expires_in_s": 1 }));
    let before = server.admin().newest_event()["at"].to_string();
    ends_with(&server, &key.secret, "EXPIRED");
    server.admin().issue(json!({ "name": "next" }));
    let after = server.admin().newest_event()["at"].to_string();
    assert!(before < after, "{before} {after}");
    assert!(
        server
            .log()
            .contains("if it is right: latchkey clock accept")
    );
}

// attacks 237: S2
#[test]
fn the_time_is_recorded_from_the_first_moment_on_and_at_a_clean_stop() {
    let mut server = Server::start();
    let mark = |server: &Server| -> i64 {
        let database = Connection::open(server.data.join("latchkey.db")).unwrap();
        let sql = "SELECT mark FROM clock";
        database.query_row(sql, [], |row| row.get(0)).unwrap()
    };
    let first = mark(&server);
    wait::pause(Duration::from_millis(20));
    server.stop();
    assert!(mark(&server) > first + 19);
}

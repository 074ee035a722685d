//! A wrong clock is seen by whoever runs the machine, and by nobody else.

use rusqlite::Connection;
use serde_json::{Value, json};
use std::thread;

use crate::support::Server;

const DAY_MS: i64 = 86_400_000;

/// Serves again as if the store had last been written so many days from now.
fn restart_with_mark(server: &mut Server, days: i64) {
    server.stop();
    let database = Connection::open(server.data.join("latchkey.db")).unwrap();
    let changed = database
        .execute("UPDATE clock SET mark = mark + ?1", [days * DAY_MS])
        .unwrap();
    assert_eq!(changed, 1);
    drop(database);
    server.restart();
}

/// What the socket tells once the keys are read.
fn readiness(server: &Server) -> Value {
    loop {
        let told = server.local().get("/readyz").json();
        if told["keys_loaded"] == true {
            return told;
        }
        assert_eq!(told["ready"], false);
        thread::yield_now();
    }
}

// attacks 132
#[test]
fn the_socket_tells_how_the_clock_is_and_tcp_does_not() {
    let mut server = Server::start();
    readiness(&server);
    let key = server
        .admin()
        .issue(json!({ "name": "k", "expires_in_s": 86_400 }));
    assert_eq!(readiness(&server)["clock"]["state"], "in_step");
    assert_eq!(
        server.anonymous().get("/readyz").expect(200).text(),
        "ready\n"
    );

    // The machine's clock has fallen back by two days: what had expired by then stays so.
    restart_with_mark(&mut server, 2);
    let told = readiness(&server);
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
    readiness(&server);
    restart_with_mark(&mut server, -3);
    let told = readiness(&server);
    assert_eq!(told["clock"]["state"], "ahead");
    assert_eq!(told["clock"]["now"], told["clock"]["wall"]);
    assert!(
        server.log().contains("more than a day after"),
        "{}",
        server.log()
    );
}

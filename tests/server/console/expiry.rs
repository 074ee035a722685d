//! When a console session ends by itself.

use super::Visitor;
use crate::support::Server;
use rusqlite::Connection;

const MINUTE_MS: i64 = 60_000;

/// Serves again as if the sessions had begun, and had last been used, so many minutes earlier.
fn restart_later(server: &mut Server, begun_min: i64, used_min: i64) {
    server.stop();
    let database = Connection::open(server.data.join("latchkey.db")).unwrap();
    let sql = "UPDATE sessions SET issued_at = issued_at - ?1, expires_at = expires_at - ?1, used_at = used_at - ?2";
    let moved = [begun_min * MINUTE_MS, used_min * MINUTE_MS];
    assert!(database.execute(sql, moved).unwrap() > 0);
    drop(database);
    server.restart();
}

// attacks 172
#[test]
fn a_session_nobody_uses_ends_after_half_an_hour() {
    let mut server = Server::start();
    let mut owner = Visitor::owner(&server);
    restart_later(&mut server, 28, 28);
    owner.get("/console/account").expect(200);
    restart_later(&mut server, 28, 28);
    owner.get("/console/account").expect(200);
    restart_later(&mut server, 30, 30);
    owner.get("/console/account").expect(303);
}

// attacks 172
#[test]
fn a_session_ends_after_half_a_day_however_much_it_is_used() {
    let mut server = Server::start();
    let mut owner = Visitor::owner(&server);
    restart_later(&mut server, 12 * 60 - 2, 0);
    owner.get("/console/account").expect(200);
    restart_later(&mut server, 2, 0);
    owner.get("/console/account").expect(303);
}

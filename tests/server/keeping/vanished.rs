//! A database that is deleted or replaced while the server runs.

use std::fs;

use serde_json::json;

use super::metric;
use crate::faults::wait_for_readiness;
use crate::support::Server;

/// The server looks every five seconds.
#[track_caller]
fn check_noticed(server: &Server, name: &str) {
    wait_for_readiness(server, 503);
    server.wait_for_log("was deleted or replaced", 1);
    assert_eq!(metric(server, "latchkey_ready"), 0.0);
    let detail = server.local().get("/readyz?write").json();
    let fault = detail["fault"].as_str().unwrap_or_default().to_owned();
    assert!(fault.contains(name), "{fault}");
    // Verification goes on, so a load balancer goes on sending.
    assert_eq!(
        server.anonymous().get("/readyz").expect(200).text(),
        "ready\n"
    );
    let detail = server.local().get("/readyz").expect(200).json();
    assert_eq!(
        (&detail["ready"], &detail["writable"]),
        (&json!(true), &json!(false))
    );
    server.assert_alive();
}

fn issue(server: &Server) -> u16 {
    server
        .admin()
        .post("/v1/keys", json!({ "name": "k" }))
        .status
}

#[test]
fn a_database_that_was_moved_away_is_noticed_and_welcome_back() {
    let server = Server::start();
    assert_eq!(issue(&server), 201);
    let database = server.data.join("latchkey.db");
    let elsewhere = server.data.join("elsewhere");
    fs::rename(&database, &elsewhere).expect("it can be moved");
    // From now on the server acknowledges no change.
    assert_eq!(issue(&server), 503);
    check_noticed(&server, "latchkey.db");

    fs::rename(&elsewhere, &database).expect("it can be moved back");
    assert_eq!(issue(&server), 201);
    server.wait_until_ready();
    assert_eq!(metric(&server, "latchkey_ready"), 1.0);
}

#[test]
fn a_database_that_was_replaced_is_never_written_to() {
    let server = Server::start();
    let other = Server::start();
    let database = server.data.join("latchkey.db");
    let foreign = fs::read(other.data.join("latchkey.db")).expect("it can be read");
    fs::remove_file(&database).expect("it can be deleted");
    fs::write(&database, &foreign).expect("another can be put there");
    assert_eq!(issue(&server), 503);
    check_noticed(&server, "latchkey.db");
    assert_eq!(fs::read(&database).expect("it can be read"), foreign);
}

#[test]
fn a_log_that_was_deleted_is_noticed() {
    let server = Server::start();
    assert_eq!(issue(&server), 201);
    fs::remove_file(server.data.join("latchkey.db-wal")).expect("it can be deleted");
    assert_eq!(issue(&server), 503);
    check_noticed(&server, "latchkey.db-wal");
}

//! Another program holds the lock of the database: attacks 223.

use std::thread;
use std::time::Duration;

use rusqlite::Connection;
use serde_json::json;

use super::wait_for_readiness;
use crate::support::{Response, Server, together, wait};

fn hold(server: &Server) -> Connection {
    let holder = Connection::open(server.data.join("latchkey.db")).expect("it can be opened");
    holder
        .busy_timeout(wait::PATIENCE)
        .and_then(|()| holder.execute_batch("BEGIN EXCLUSIVE"))
        .expect("it can be locked");
    holder
}

#[test]
fn changes_wait_for_a_lock_and_are_then_unavailable_while_verification_goes_on() {
    let server = Server::start();
    let holder = hold(&server);
    // One after another, the requests would take forty seconds.
    let answers = wait::quick_run(Duration::from_secs(20), || write_meanwhile(&server));
    for answer in answers {
        let answer = answer.expect(503);
        let retry = answer.header("retry-after");
        assert!(retry.is_some(), "{}", answer.exchange());
    }
    server.admin().get("/v1/keys").expect(200);
    drop(holder);
    server.admin().issue(json!({ "name": "afterwards" }));
    let list = server.admin().get("/v1/keys").expect(200).text();
    assert!(!list.contains("waits"), "{list}");
}

/// Eight clients request a change; other clients verify meanwhile.
fn write_meanwhile(server: &Server) -> Vec<Response> {
    thread::scope(|scope| {
        let writers: Vec<_> = (0..8)
            .map(|number| {
                scope.spawn(move || {
                    // Some requests come later, while the first ones already wait.
                    wait::pause(Duration::from_millis(number * 300));
                    let body = json!({ "name": format!("waits {number}") });
                    server.admin().post("/v1/keys", body)
                })
            })
            .collect();
        while writers.iter().any(|writer| !writer.is_finished()) {
            // A request that waited for the lock would take five seconds.
            let verdict = wait::quick_run(Duration::from_secs(4), || {
                server.anonymous().verdict(&server.secret)
            });
            assert_eq!(verdict, "VALID");
        }
        let ended = writers.into_iter().map(|writer| writer.join());
        ended.map(|answer| answer.expect("it ends")).collect()
    })
}

/// Any client may send this request, so a request must not wait for all earlier ones.
#[test]
fn who_asks_at_once_whether_the_server_is_ready_waits_for_one_try() {
    let server = Server::start();
    let holder = hold(&server);
    // The server caches the previous result for a second, and one attempt takes five seconds.
    let answers = wait::quick_run(Duration::from_secs(25), || {
        wait::pause(Duration::from_millis(1100));
        together(12, |_| server.anonymous().get("/readyz?write").status)
    });
    assert_eq!(answers, [503; 12]);
    drop(holder);
    wait_for_readiness(&server, 200);
}

#[test]
fn a_change_that_waits_is_made_when_the_lock_goes_in_time() {
    let server = Server::start();
    // A change waits for five seconds at most.
    let limit = Duration::from_secs(5);
    let (waited, answer) = wait::quick_run(limit, || issue_in_spite_of_a_lock(&server));
    assert!(waited);
    let issued = answer.expect(201).json();
    let secret = issued["secret"].as_str().expect("a secret");
    assert_eq!(server.admin().verdict(secret), "VALID");
}

/// Requests a key while another program holds the lock, which it then releases. Returns whether the request waited
/// for that, and its answer.
fn issue_in_spite_of_a_lock(server: &Server) -> (bool, Response) {
    let holder = hold(server);
    thread::scope(|scope| {
        let admin = server.admin();
        let waiting = scope.spawn(move || admin.post("/v1/keys", json!({ "name": "patient" })));
        wait::pause(Duration::from_millis(1500));
        let waits = !waiting.is_finished();
        drop(holder);
        (waits, waiting.join().expect("it ends"))
    })
}

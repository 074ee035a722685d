//! Another program holds the lock of the database: attacks 223.

use std::thread;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde_json::json;

use super::readiness;
use crate::support::{Server, together};

fn hold(server: &Server) -> Connection {
    let holder = Connection::open(server.data.join("latchkey.db")).expect("it can be opened");
    holder
        .busy_timeout(Duration::from_secs(10))
        .and_then(|()| holder.execute_batch("BEGIN EXCLUSIVE"))
        .expect("it can be locked");
    holder
}

#[test]
fn changes_wait_for_a_lock_and_are_then_unavailable_while_verification_goes_on() {
    let server = Server::start();
    let holder = hold(&server);
    thread::scope(|scope| {
        let writers: Vec<_> = (0..8)
            .map(|number| {
                let (admin, began) = (server.admin(), Instant::now());
                scope.spawn(move || {
                    // Some requests come later, while the first ones already wait.
                    thread::sleep(Duration::from_millis(number * 300));
                    let answer =
                        admin.post("/v1/keys", json!({ "name": format!("waits {number}") }));
                    (answer, began.elapsed())
                })
            })
            .collect();
        while writers.iter().any(|writer| !writer.is_finished()) {
            let began = Instant::now();
            assert_eq!(server.anonymous().verdict(&server.secret), "VALID");
            // A request that waited for the lock would take five seconds.
            assert!(
                began.elapsed() < Duration::from_secs(4),
                "{:?}",
                began.elapsed()
            );
        }
        for writer in writers {
            let (answer, after) = writer.join().expect("it ends");
            let answer = answer.expect(503);
            assert!(
                answer.header("retry-after").is_some(),
                "{}",
                answer.exchange()
            );
            // One after another, the requests would take forty seconds.
            assert!(after < Duration::from_secs(20), "{after:?}");
        }
    });
    server.admin().get("/v1/keys").expect(200);
    drop(holder);
    server.admin().issue(json!({ "name": "afterwards" }));
    let list = server.admin().get("/v1/keys").expect(200).text();
    assert!(!list.contains("waits"), "{list}");
}

/// Any client may send this request, so a request must not wait for all earlier ones.
#[test]
fn who_asks_at_once_whether_the_server_is_ready_waits_for_one_try() {
    let server = Server::start();
    let holder = hold(&server);
    // The server caches the previous result for a second.
    thread::sleep(Duration::from_millis(1100));
    let began = Instant::now();
    let answers = together(12, |_| server.anonymous().get("/readyz").status);
    assert_eq!(answers, [503; 12]);
    // One attempt takes five seconds.
    let took = began.elapsed();
    assert!(took < Duration::from_secs(25), "{took:?}");
    drop(holder);
    assert!(readiness(&server, 200));
}

#[test]
fn a_change_that_waits_is_made_when_the_lock_goes_in_time() {
    let server = Server::start();
    let holder = hold(&server);
    thread::scope(|scope| {
        let waiting = scope.spawn(|| server.admin().issue(json!({ "name": "patient" })));
        thread::sleep(Duration::from_millis(1500));
        assert!(!waiting.is_finished());
        drop(holder);
        let issued = waiting.join().expect("it ends");
        assert_eq!(server.admin().verdict(&issued.secret), "VALID");
    });
}

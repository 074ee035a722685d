//! Floods of requests: a request that removes something is never refused because of the requests of other callers.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread;

use serde_json::json;

use crate::support::{PASSWORD, Server, User, wait};

/// More connections than the queue and the threads of the server can take together.
const THREADS: usize = 7;
const CONNECTIONS_EACH: usize = 40;

/// Keeps a request in flight on each of many connections while `meanwhile` runs. Returns how many were answered.
fn flooded(
    server: &Server,
    request: &(dyn Fn(usize) -> String + Sync),
    meanwhile: impl FnOnce(),
) -> usize {
    let (ended, answered, number) = (
        AtomicBool::new(false),
        AtomicUsize::new(0),
        AtomicUsize::new(0),
    );
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let connect = |_| {
                    let stream = TcpStream::connect(server.address).unwrap();
                    stream.set_read_timeout(Some(wait::PATIENCE)).unwrap();
                    stream
                };
                let mut streams: Vec<TcpStream> = (0..CONNECTIONS_EACH).map(connect).collect();
                while !ended.load(Relaxed) {
                    for stream in &mut streams {
                        let text = request(number.fetch_add(1, Relaxed));
                        stream.write_all(text.as_bytes()).unwrap();
                    }
                    for stream in &mut streams {
                        // Each request has one answer, and no answer is longer than this.
                        let mut some = [0; 16_384];
                        if stream.read(&mut some).unwrap_or(0) > 0 {
                            answered.fetch_add(1, Relaxed);
                        }
                    }
                }
            });
        }
        wait::until("as many requests were answered as are in flight", || {
            answered.load(Relaxed) >= THREADS * CONNECTIONS_EACH
        });
        meanwhile();
        ended.store(true, Relaxed);
    });
    answered.into_inner()
}

fn post(server: &Server, user: &User, path: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        server.address,
        user.authorization(),
        body.len(),
    )
}

#[test]
fn an_administrator_goes_on_while_others_flood_the_server() {
    let server = Server::start();
    let admin = server.admin();
    admin.workspace("emea", "root");
    admin.person("adm", "administrator", "emea");
    admin.person("mem", "member", "emea");
    let administrator = server.anonymous().signed_in("adm", PASSWORD);
    let member = server.anonymous().signed_in("mem", PASSWORD);
    let victim = admin.issue(json!({ "name": "to revoke" }));
    let change = |verb: &str| admin.post(&format!("/v1/keys/{}/{verb}", victim.id), json!({}));
    let changes = || {
        for _ in 0..3 {
            change("disable").expect(200);
            change("enable").expect(200);
        }
        server.local().issue(json!({ "name": "over the socket" }));
    };
    let workspaces = |number: usize| {
        let body = format!("{{\"slug\":\"w-{number}\",\"name\":\"w\",\"parent\":\"emea\"}}");
        post(&server, &administrator, "/v1/workspaces", &body)
    };
    flooded(&server, &workspaces, changes);
    let keys = |_| {
        post(
            &server,
            &member,
            "/v1/keys",
            "{\"name\":\"n\",\"workspace\":\"emea\"}",
        )
    };
    flooded(&server, &keys, changes);
    // Refused requests also take time of the server, but do not count against the budget.
    let refused = |_| {
        post(
            &server,
            &member,
            "/v1/workspaces",
            "{\"slug\":\"x\",\"name\":\"x\"}",
        )
    };
    flooded(&server, &refused, || {
        changes();
        let roles = json!({ "roles": [] });
        admin.put("/v1/users/mem/roles", roles).expect(200);
        admin
            .patch("/v1/users/mem", json!({ "enabled": false }))
            .expect(200);
        admin.delete("/v1/users/mem").expect(204);
        admin.delete(&format!("/v1/keys/{}", victim.id)).expect(204);
    });
    server.assert_alive();
}

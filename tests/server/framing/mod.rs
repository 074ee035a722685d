//! The first section of `docs/threats.md`: HTTP framing and connections, with raw bytes against the real executable.
//!
//! These cases are tested in other places, most of them as unit tests of `src/http1`:
//! - 37 (`accept` fails): `accept::tests::only_exhaustion_makes_the_loop_pause`
//! - 38 (no new threads): all threads start with the server; `pool` never starts one later
//! - 41, the statuses 204, 304 and 1xx: `connection::tests::answers_without_a_body_are_framed_as_such`
//! - 42 (a handler panics): `connection::tests::a_panic_is_a_500_and_the_connection_goes_on`
//! - 25, HTTP to the TLS port: `operations::tls::handshakes`

mod bodies;
mod connections;
mod deadlines;
mod heads;
mod process;
mod refusals;

use serde_json::json;

use crate::support::{Received, Server};

/// The name of the key that a hidden request would issue.
const HIDDEN: &str = "smuggled";

/// A complete request that must never be executed: it issues a key with the administrator's credential.
fn hidden(server: &Server) -> String {
    let body = json!({ "name": HIDDEN }).to_string();
    format!(
        "POST /v1/keys HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        server.address,
        server.management_key,
        body.len(),
    )
}

/// The start of the head of a valid verification, to which a test adds further header lines.
fn verify_head(server: &Server) -> String {
    format!(
        "POST /v1/verify HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n",
        server.address, server.management_key,
    )
}

fn question(server: &Server) -> String {
    json!({ "key": server.secret }).to_string()
}

/// Sends `bytes` followed by a hidden request. There must be exactly one answer, with one of these statuses; the server
/// must close the connection and not execute the hidden request.
#[track_caller]
fn check_refused(server: &Server, statuses: &[u16], bytes: impl AsRef<[u8]>) -> Received {
    let bytes = [bytes.as_ref(), hidden(server).as_bytes()].concat();
    let received = server.raw(&bytes);
    let start = bytes[..bytes.len().min(300)].escape_ascii();
    let seen = received.statuses();
    assert!(
        received.closed,
        "not closed after {start}\n{}",
        received.text()
    );
    assert!(
        seen.len() == 1 && statuses.contains(&seen[0]),
        "expected one of {statuses:?}, not {seen:?}, after {start}\n{}",
        received.text()
    );
    received
}

/// Checks at the end of every case that the server is alive and that no hidden request was executed.
#[track_caller]
fn check_unharmed(server: &Server) {
    server.assert_alive();
    let keys = server.admin().get("/v1/keys?limit=500").expect(200).text();
    assert!(
        !keys.contains(HIDDEN),
        "a hidden request was executed: {keys}"
    );
}

//! The fast path: requests that do not need hyper are answered as soon as their head is checked.
//!
//! These are requests without a body whose answer is computed from memory, which includes nearly all verifications.
//! They use the same [`Service`](crate::http1::Service) as all other requests, and the answers have the same
//! bytes.

use bytes::Bytes;
use http::Method;

use super::Line;
use super::answer::Answer;
use super::exchange::answer_caught;
use crate::http1::Lane;
use crate::http1::guard::Outbox;
use crate::http1::request::{Head, Request};

/// Writes the answer into an empty outbox; otherwise returns the head, and hyper has to serve the request.
pub fn answer(line: &Line, head: Head, outbox: &mut Outbox) -> Result<(), Box<Head>> {
    if !is_plain(&head) || line.front.registry.is_draining() {
        return Err(Box::new(head));
    }
    let body = Bytes::new();
    let request = Request { head, body };
    match answer_caught(&line.front, &request, Lane::Inline) {
        Some(reply) => {
            Answer::new(reply, request.head.id, line, false).send(outbox, true);
            Ok(())
        }
        None => Err(Box::new(request.head)),
    }
}

/// Whether the request needs nothing that only hyper does: closing the connection, or sending something before the
/// answer.
fn is_plain(head: &Head) -> bool {
    let stays = |value: &[u8]| value.eq_ignore_ascii_case(b"keep-alive");
    head.method == Method::GET
        && head.headers.all("connection").all(stays)
        && !head.headers.contains("expect")
}

//! Request bodies: only the application receives them, complete, and only after the check.

use crate::Behaviour;
use crate::harness::client::{Request, post};
use crate::harness::stage::Stage;

#[rustfmt::skip] // Columns are the point of this table.
pub const BEHAVIOURS: &[Behaviour] = &[
    ("a body of known length arrives whole",                  known_length),
    ("a body in chunks arrives whole",                        chunked),
    ("headers behind a body name nobody to the application",  trailers),
    ("a refused body reaches nobody, nor what hides in it",   refused),
];

/// More than any of the proxies keeps in one buffer.
const LARGE: usize = 200_000;

fn pay() -> Request {
    post("/billing/invoices/7/pay")
}

fn text(length: usize) -> Vec<u8> {
    (0u8..26)
        .cycle()
        .map(|letter| b'a' + letter)
        .take(length)
        .collect()
}

fn known_length(stage: &mut Stage) {
    for length in [0, 1, 1000, LARGE] {
        let body = text(length);
        let seen = stage.passes(&pay().bearer(&stage.writer.secret).body(&body));
        assert!(
            seen.body().as_bytes() == body,
            "{length} bytes, {} arrived",
            seen.body().len()
        );
    }
}

fn chunked(stage: &mut Stage) {
    for (length, piece) in [(0, 1), (1, 1), (1000, 7), (LARGE, 10_000)] {
        let body = text(length);
        let seen = stage.passes(&pay().bearer(&stage.writer.secret).chunked(&body, piece));
        assert!(
            seen.body().as_bytes() == body,
            "{length} bytes, {} arrived",
            seen.body().len()
        );
    }
}

fn trailers(stage: &mut Stage) {
    let forged = [("X-Auth-Subject", "user:owner"), ("remote_user", "owner")];
    for announced in [false, true] {
        let mut request = pay().bearer(&stage.writer.secret).chunked(b"body", 4);
        if announced {
            request = request.header("Trailer", "X-Auth-Subject, remote_user");
        }
        let seen = stage.passes(&request.trailers(&forged));
        assert_eq!(seen.body(), "body");
        assert_eq!(seen.values("X-Auth-Subject").len(), 1, "{}", seen.text());
        assert!(!seen.values("X-Auth-Subject").contains(&"user:owner"));
        assert!(!seen.values("Remote-User").contains(&"owner"));
        let arrive = !seen.trailers().is_empty();
        assert_eq!(arrive, stage.keeps_trailers(), "{}", seen.text());
    }
}

/// 16, 93.
fn refused(stage: &mut Stage) {
    let hidden = format!(
        "GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\r\n",
        stage.writer.secret
    );
    for request in [pay(), pay().bearer(&stage.reader.secret)] {
        let request = request.header("Connection", "close");
        stage.stops(&request.clone().body(hidden.as_bytes()));
        stage.stops(&request.clone().chunked(hidden.as_bytes(), 16));
        stage.stops(&request.body(&text(LARGE)));
    }
    // The connections to Latchkey that nginx keeps open still match requests and answers.
    for _ in 0..20 {
        stage.passes(&pay().bearer(&stage.writer.secret).body(b"x"));
        stage.refuses(&pay().body(b"x"), 401, None);
    }
}

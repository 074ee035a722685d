//! What the application learns about the caller: it comes from Latchkey, never from the client.

use serde_json::json;

use crate::Behaviour;
use crate::harness::client::{Request, get};
use crate::harness::stage::Stage;

#[rustfmt::skip] // Columns are the point of this table.
pub const BEHAVIOURS: &[Behaviour] = &[
    ("the application learns who called",                        who_called),
    ("the application never sees the key",                       key_stays_outside),
    ("identity headers of the client are replaced",              forged_identity),
    ("the Connection header removes no identity header",         named_in_connection),
];

pub const HEADERS: &[&str] = &[
    "Remote-User",
    "X-Auth-Subject",
    "X-Auth-Key-Id",
    "X-Auth-Key-Name",
    "X-Auth-Workspace",
    "X-Auth-Scopes",
    "X-Auth-Expires-In",
];

/// Adds every identity header, each twice and in all spellings that applications treat as equal.
pub fn forged(mut request: Request) -> Request {
    for name in HEADERS {
        for name in [
            *name,
            name,
            &name.replace('-', "_"),
            &name.replacen('-', "_", 1),
        ] {
            request = request.header(name, "forged");
        }
        request = request.header(&name.to_uppercase().replace('-', "_"), "forged");
        request = request.header(&name.to_lowercase(), "forged,forged");
    }
    request
}

fn who_called(stage: &mut Stage) {
    let seen = stage.passes(&get("/billing/invoices").bearer(&stage.reader.secret));
    assert_eq!(seen.values("X-Auth-Key-Id"), [&stage.reader.id]);
    assert_eq!(seen.values("X-Auth-Key-Name"), [&stage.reader.name]);
    assert_eq!(seen.values("X-Auth-Scopes"), ["invoices:read"]);
    let workspace = seen.values("X-Auth-Workspace");
    assert!(
        matches!(workspace[..], [value] if !value.is_empty()),
        "{}",
        seen.text()
    );
    // A key without an owner stands for no user, even if its name is that of a user.
    assert!(seen.values("Remote-User").concat().is_empty());
    let subject = format!("key:{}", stage.reader.id);
    assert_eq!(seen.values("X-Auth-Subject"), [&subject]);
    let owned = json!({"owner": "owner", "name": "of the owner"});
    let owned = stage.latchkey.issue("owned", &[], owned);
    let seen = stage.passes(&get("/").bearer(&owned.secret));
    assert_eq!(seen.values("Remote-User"), ["owner"]);
    assert_eq!(seen.values("X-Auth-Subject"), ["user:owner"]);
    // For a key without an expiry, the header is empty or left out.
    assert!(seen.values("X-Auth-Expires-In").concat().is_empty());
}

fn key_stays_outside(stage: &mut Stage) {
    let secret = &stage.reader.secret;
    for request in [
        get("/").bearer(secret),
        get("/").header("authorization", &format!("Token {secret}")),
        get("/").header("x-api-key", secret),
        get("/")
            .bearer(secret)
            .header("Connection", "close, Authorization-Not"),
    ] {
        let seen = stage.passes(&request);
        assert!(!seen.text().contains(secret.as_str()), "{}", seen.text());
        assert!(seen.values("Authorization").is_empty());
        assert!(seen.values("X-API-Key").is_empty());
    }
}

fn forged_identity(stage: &mut Stage) {
    let honest = stage.passes(&get("/").bearer(&stage.reader.secret));
    let seen = stage.passes(&forged(get("/").bearer(&stage.reader.secret)));
    for name in HEADERS {
        assert_eq!(seen.values(name), honest.values(name), "{name}");
    }
    assert!(!seen.text().contains("forged"), "{}", seen.text());
    // Nor do they replace a key.
    stage.refuses(&forged(get("/")), 401, None);
}

/// 31. A proxy may also refuse such a request, as Envoy does.
fn named_in_connection(stage: &mut Stage) {
    let named = format!("close, {}, X-Forwarded-For", HEADERS.join(", "));
    let honest = stage.passes(&get("/").bearer(&stage.reader.secret));
    let request = get("/")
        .bearer(&stage.reader.secret)
        .header("Connection", &named);
    let reply = stage.send(&request);
    if reply.status == 400 {
        return;
    }
    let seen = stage.passes(&request);
    for name in HEADERS {
        assert_eq!(seen.values(name), honest.values(name), "{name}");
    }
}

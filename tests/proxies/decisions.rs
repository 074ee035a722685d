//! Which requests pass, and which answer the client of a refused request gets.

use base64ct::{Base64, Encoding};
use serde_json::json;

use crate::Behaviour;
use crate::harness::client::{get, post, request};
use crate::harness::stage::Stage;

#[rustfmt::skip] // Columns are the point of this table.
pub const BEHAVIOURS: &[Behaviour] = &[
    ("a good key passes, in either header",                       good_key),
    ("the key is the password of Basic where its policy says so", basic),
    ("a request without a key is a 401 with a challenge",         no_key),
    ("a key that is no good is a 401 with a challenge",           bad_key),
    ("two credentials are a 401, whichever comes first",          two_credentials),
    ("a control byte in the credential is a 400",                 control_bytes),
    ("a preflight and an upgrade take a key like anything else",  odd_requests),
    ("many or large headers of a client are no fault of Latchkey", large_heads),
    ("a missing scope is a 403",                                  missing_scope),
    ("an operation outside the catalog is a 403",                 unknown_operation),
    ("a read-only key reads but does not write",                  read_only),
    ("a limited key is a 429 that says when to come back",        limited),
    ("a key that is used up is a 429",                            used_up),
];

fn good_key(stage: &mut Stage) {
    stage.passes(&get("/").bearer(&stage.bare.secret));
    stage.passes(&get("/").header("X-API-Key", &stage.bare.secret));
    let hosted = get("/")
        .header("Host", "api.example")
        .bearer(&stage.bare.secret);
    stage.passes(&hosted);
    stage.passes(&get("/billing/invoices").bearer(&stage.reader.secret));
    stage.passes(
        &post("/billing/invoices/7/pay")
            .bearer(&stage.writer.secret)
            .body(b""),
    );
}

/// finding c8
fn basic(stage: &mut Stage) {
    let policy = json!({"name": "basic-clients", "headers": ["bearer", "basic"]});
    stage.latchkey.call("POST", "/v1/policies", &policy);
    let members = json!({"policy": "basic-clients"});
    let key = stage
        .latchkey
        .issue("old camera", &["invoices:read"], members);
    let header = |user: &str, password: &str| {
        let text = Base64::encode_string(format!("{user}:{password}").as_bytes());
        get("/billing/invoices").header("Authorization", &format!("Basic {text}"))
    };
    stage.passes(&header("camera", &key.secret));
    let seen = stage.passes(&header(&key.secret, ""));
    assert!(
        !seen.text().contains("Basic "),
        "the application sees the key"
    );
    stage.refuses(&header("camera", &stage.reader.secret), 401, None);
    stage.refuses(&header("camera", "password"), 401, None);
}

fn no_key(stage: &mut Stage) {
    let plain = r#"Bearer realm="latchkey""#;
    let with_scope = r#"Bearer realm="latchkey", scope="invoices:read""#;
    for (target, challenge) in [
        ("/", plain),
        ("/billing/invoices", with_scope),
        ("/billing/other", plain),
        ("/?api_key=lk_0", plain),
    ] {
        let reply = stage.refuses(&get(target), 401, None);
        assert_eq!(reply.header("WWW-Authenticate"), Some(challenge));
        assert_eq!(reply.count("WWW-Authenticate"), 1, "{}", reply.text());
    }
}

fn bad_key(stage: &mut Stage) {
    let mut wrong = stage.reader.secret.clone();
    wrong.replace_range(15..16, if &wrong[15..16] == "x" { "y" } else { "x" });
    for secret in [wrong.as_str(), "lk_nonsense", "null"] {
        let reply = stage.refuses(&get("/").bearer(secret), 401, None);
        assert_eq!(reply.count("WWW-Authenticate"), 1, "{}", reply.text());
        let challenge = reply.header("WWW-Authenticate").unwrap();
        assert!(
            challenge.contains(r#"error="invalid_token""#),
            "{challenge}"
        );
    }
    // The paths of the question itself do not bypass the check.
    for target in [
        "/_latchkey/any",
        "/_latchkey/billing",
        "/auth/nginx",
        "/auth/caddy",
    ] {
        stage.stops(&get(target));
    }
}

/// 46, 48. nginx itself answers 400 if `Authorization` occurs twice. Before 1.23 it only reads the first of several
/// headers with any other name, and only passes this one on to Latchkey.
fn two_credentials(stage: &mut Stage) {
    let (one, two) = (stage.reader.secret.as_str(), stage.writer.secret.as_str());
    for [first, second] in [[one, two], [one, one], [one, "lk_no"], ["lk_no", one]] {
        let in_two_headers = get("/").bearer(first).header("X-API-Key", second);
        let in_the_other = get("/")
            .header("X-API-Key", first)
            .header("X-API-Key", second);
        for (request, is_doubled) in [(in_two_headers, false), (in_the_other, true)] {
            if is_doubled && stage.name == "nginx" && stage.send(&request).is_success() {
                let seen = stage.passes(&request);
                assert_eq!(first, one, "{}", seen.text());
                assert_eq!(seen.values("X-Auth-Key-Id"), [&stage.reader.id]);
                continue;
            }
            let reply = stage.refuses(&request, 401, None);
            assert!(
                reply.header("WWW-Authenticate").is_some(),
                "{}",
                reply.text()
            );
        }
        let reply = stage.stops(&get("/").bearer(first).bearer(second));
        assert!(matches!(reply.status, 400 | 401), "{}", reply.text());
    }
}

/// The request is wrong, and not the server: no 5xx.
fn control_bytes(stage: &mut Stage) {
    for byte in ["\0", "\x01", "\x0b", "\x1b", "\x7f"] {
        let credential = format!("{}{byte}", stage.reader.secret);
        for request in [
            get("/").bearer(&credential),
            get("/").bearer(&format!("lk_{byte}")),
            get("/").header("X-API-Key", &credential),
            get("/billing/invoices").bearer(&credential),
        ] {
            let reply = stage.refuses(&request, 400, None);
            assert_eq!(reply.header("Retry-After"), None, "{}", reply.text());
        }
    }
}

/// 98.
fn odd_requests(stage: &mut Stage) {
    let preflight = request("OPTIONS", b"/billing/invoices")
        .header("Origin", "https://evil.example")
        .header("Access-Control-Request-Method", "GET");
    stage.refuses(&preflight, 401, None);
    let upgrade = get("/")
        .header("Connection", "Upgrade, close")
        .header("Upgrade", "websocket");
    let upgrade = upgrade.header("Sec-WebSocket-Version", "13");
    stage.refuses(
        &upgrade.header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        401,
        None,
    );
    stage.refuses(&request("HEAD", b"/"), 401, None);
}

/// finding H7: a proxy may have a limit of its own and answer with its own error, but no request with a valid key gets
/// a 5xx.
fn large_heads(stage: &mut Stage) {
    let good = || get("/").bearer(&stage.reader.secret);
    let mut many = good();
    for number in 0..95 {
        many = many.header(&format!("X-H{number}"), "v");
    }
    let mut large = good();
    for number in 0..3 {
        large = large.header(&format!("X-L{number}"), &"a".repeat(7000));
    }
    let cookies = good().header("Cookie", &format!("a={}", "b".repeat(7000)));
    let cookies = cookies.header("Accept", &"c".repeat(7000));
    for request in [many, large, cookies] {
        let reply = stage.send(&request);
        assert!(matches!(reply.status, 200 | 400 | 431), "{}", reply.text());
        if stage.name == "nginx" {
            assert_eq!(reply.status, 200, "{}", reply.text());
        }
    }
}

fn missing_scope(stage: &mut Stage) {
    let list = get("/billing/invoices");
    stage.refuses(
        &list.bearer(&stage.bare.secret),
        403,
        Some("INSUFFICIENT_SCOPE"),
    );
    let pay = post("/billing/invoices/7/pay").body(b"");
    stage.refuses(
        &pay.bearer(&stage.reader.secret),
        403,
        Some("INSUFFICIENT_SCOPE"),
    );
}

fn unknown_operation(stage: &mut Stage) {
    let calls = [
        get("/billing"),
        get("/billing/"),
        get("/billing/invoices/7"),
        get("/billing/invoices/7/pay"),
        request("DELETE", b"/billing/invoices"),
        request("OPTIONS", b"/billing/invoices"),
    ];
    for call in calls {
        stage.refuses(
            &call.bearer(&stage.writer.secret),
            403,
            Some("UNKNOWN_OPERATION"),
        );
    }
}

fn read_only(stage: &mut Stage) {
    let key = stage
        .latchkey
        .issue("look", &["invoices:write"], json!({"read_only": true}));
    stage.passes(&get("/billing/invoices").bearer(&key.secret));
    let pay = post("/billing/invoices/7/pay").body(b"");
    stage.refuses(&pay.bearer(&key.secret), 403, Some("READ_ONLY"));
}

fn limited(stage: &mut Stage) {
    let limit = json!({"rate_limit": {"limit": 3, "window_s": 60}});
    let key = stage.latchkey.issue("limited", &["invoices:read"], limit);
    // A refused request spends nothing.
    stage.refuses(
        &get("/billing").bearer(&key.secret),
        403,
        Some("UNKNOWN_OPERATION"),
    );
    let list = get("/billing/invoices").bearer(&key.secret);
    for _ in 0..3 {
        stage.passes(&list);
    }
    for _ in 0..2 {
        let reply = stage.refuses(&list, 429, Some("RATE_LIMITED"));
        let wait: u32 = reply.header("Retry-After").unwrap().parse().unwrap();
        assert!((1..=60).contains(&wait), "{wait}");
    }
}

fn used_up(stage: &mut Stage) {
    let key = stage.latchkey.issue("ticket", &[], json!({"uses_left": 1}));
    stage.passes(&get("/").bearer(&key.secret));
    stage.refuses(&get("/").bearer(&key.secret), 429, Some("USAGE_EXCEEDED"));
}

//! A client that claims to be another client, or to send another request than its own.

use serde_json::json;

use crate::Behaviour;
use crate::harness::application::TUNNEL;
use crate::harness::client::{Request, get, post, request};
use crate::harness::stage::Stage;

#[rustfmt::skip] // Columns are the point of this table.
pub const BEHAVIOURS: &[Behaviour] = &[
    ("a forged method, path or host does not change the decision",    forged_request),
    ("a forged address does not open a key that is bound to one",     forged_address),
    ("the Connection header hides nothing from Latchkey",             hidden_by_connection),
    ("no header makes the application act on another request",        overrides),
    ("a target with a host in it is judged by its path",              absolute_target),
    ("headers that only the proxy may send are removed by prefix",    removed_by_prefix),
    ("no client leaves HTTP but for a WebSocket",                     upgrades),
];

const METHODS: &[&str] = &["X-Forwarded-Method", "X-Original-Method"];
const PATHS: &[&str] = &[
    "X-Forwarded-Uri",
    "X-Original-URI",
    "X-Original-URL",
    "X-Rewrite-URL",
];
const HOSTS: &[&str] = &["X-Forwarded-Host", "X-Original-Host"];
const OVERRIDES: &[&str] = &[
    "X-HTTP-Method-Override",
    "X-HTTP-Method",
    "X-Method-Override",
];

/// Each header alone, doubled, with underscores, and all of them together.
fn variants(request: &Request, names: &[&str], value: &str) -> Vec<Request> {
    let mut all = request.clone();
    let mut variants = Vec::new();
    for name in names {
        let once = request.clone().header(name, value);
        variants.push(once.clone().header(name, value));
        variants.push(request.clone().header(&name.replace('-', "_"), value));
        variants.push(once);
        all = all.header(name, value);
    }
    variants.push(all);
    variants
}

/// 76, 78, 89, 90.
fn forged_request(stage: &mut Stage) {
    let read = get("/billing/invoices").bearer(&stage.reader.secret);
    let pay = post("/billing/invoices/7/pay")
        .bearer(&stage.reader.secret)
        .body(b"");
    let elsewhere = get("/billing/secrets").bearer(&stage.reader.secret);
    for (names, value) in [
        (METHODS, "GET"),
        (PATHS, "/billing/invoices"),
        (HOSTS, "evil.example"),
        (OVERRIDES, "GET"),
        (&["X-Forwarded-Prefix"], "/billing"),
    ] {
        for request in variants(&pay, names, value) {
            stage.refuses(&request, 403, Some("INSUFFICIENT_SCOPE"));
        }
        for request in variants(&elsewhere, names, value) {
            stage.refuses(&request, 403, Some("UNKNOWN_OPERATION"));
        }
    }
    let mut both = pay.clone();
    for (names, value) in [(METHODS, "GET"), (PATHS, "/billing/invoices")] {
        both = variants(&both, names, value).pop().unwrap();
    }
    stage.refuses(&both, 403, Some("INSUFFICIENT_SCOPE"));
    // A forged header does not affect an honest request either.
    for request in variants(&read, METHODS, "POST") {
        stage.passes(&request);
    }
}

fn forged_address(stage: &mut Stage) {
    let office = json!({"allowed_ips": ["203.0.113.9"]});
    let key = stage.latchkey.issue("office", &["invoices:read"], office);
    let list = get("/billing/invoices").bearer(&key.secret);
    stage.refuses(&list, 403, Some("IP_NOT_ALLOWED"));
    for name in [
        "X-Forwarded-For",
        "X-Real-IP",
        "Forwarded",
        "True-Client-IP",
        "X-Client-IP",
    ] {
        for value in ["203.0.113.9", "203.0.113.9, 127.0.0.1", "for=203.0.113.9"] {
            for request in variants(&list, &[name], value) {
                stage.refuses(&request, 403, Some("IP_NOT_ALLOWED"));
            }
        }
    }
    let seen = stage.passes(
        &get("/")
            .bearer(&stage.bare.secret)
            .header("X-Forwarded-For", "203.0.113.9"),
    );
    assert_eq!(seen.values("X-Forwarded-For"), ["127.0.0.1"]);
}

/// 31. A proxy may also refuse such a request, as Envoy does.
fn hidden_by_connection(stage: &mut Stage) {
    let hidden = "close, X-Forwarded-Method, X-Forwarded-Uri, X-Forwarded-For, X-Forwarded-Host, \
                  X-Original-Method, X-Original-URI";
    let pay = post("/billing/invoices/7/pay")
        .header("Connection", hidden)
        .body(b"");
    let reply = stage.stops(&pay.bearer(&stage.reader.secret));
    if reply.status != 400 {
        assert_eq!(reply.status, 403, "{}", reply.text());
        assert_eq!(reply.header("X-Auth-Code"), Some("INSUFFICIENT_SCOPE"));
    }
}

/// 77, 89.
fn overrides(stage: &mut Stage) {
    let mut request = get("/billing/invoices").bearer(&stage.reader.secret);
    let names = [
        METHODS,
        PATHS,
        OVERRIDES,
        &["X-Forwarded-Prefix", "Forwarded"],
    ]
    .concat();
    for name in names {
        for name in [name, &name.replace('-', "_"), &name.to_lowercase()] {
            request = request.header(name, "overridden");
        }
    }
    let seen = stage.passes(&request);
    assert!(!seen.text().contains("overridden"), "{}", seen.text());
}

/// finding H11: the table of `examples/README.md`, with header names that no list can contain in advance.
fn removed_by_prefix(stage: &mut Stage) {
    let names = [
        "Forwarded",
        "Latchkey-Local",
        "Latchkey-Foo",
        "Remote-Foo",
        "Remote-Groups",
        "True-Client-IP",
        "X-Auth-Foo",
        "X-Auth-Scopes-Truncated",
        "X-Client-IP",
        "X-Forwarded",
        "X-Forwarded-Foo",
        "X-Forwarded-Path",
        "X-Forwarded-Prefix",
        "X-HTTP-Method",
        "X-HTTP-Method-Foo",
        "X-Latchkey-Foo",
        "X-Method-Override",
        "X-Original-Foo",
        "X-Real-IP",
        "X-Remote-User",
        "X-Rewrite-Foo",
    ];
    for name in names {
        let with_underscores = name.replace('-', "_");
        for name in [name, &name.to_lowercase(), &with_underscores] {
            let request = get("/").bearer(&stage.reader.secret);
            let seen = stage.passes(&request.header(name, "f0rged"));
            assert!(!seen.text().contains("f0rged"), "{}", seen.text());
        }
    }
    // Headers that an application needs still reach it.
    let mut request = get("/").bearer(&stage.reader.secret);
    let ordinary = [
        "Accept",
        "Accept-Language",
        "Content-Type",
        "Cookie",
        "If-None-Match",
        "Origin",
        "Range",
        "Referer",
        "Traceparent",
        "X-CSRF-Token",
        "X-Requested-With",
    ];
    for name in ordinary {
        request = request.header(name, "plain=1");
    }
    let seen = stage.passes(&request);
    for name in ordinary {
        assert_eq!(seen.values(name), ["plain=1"], "{name}: {}", seen.text());
    }
}

/// finding H1: requests inside a tunnel are no longer judged. The application accepts every protocol that a client asks
/// for.
fn upgrades(stage: &mut Stage) {
    let ask = |protocols: &[&str], connection: &str| {
        let mut request = get("/")
            .bearer(&stage.reader.secret)
            .header("Connection", connection)
            .header("HTTP2-Settings", "AAMAAABkAAQAAP__")
            .header("Sec-WebSocket-Version", "13")
            .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
        for protocol in protocols {
            request = request.header("Upgrade", protocol);
        }
        request.send_then(stage.port, b"GET /billing/secrets HTTP/1.1\r\n\r\n")
    };
    for protocols in [
        &["h2c"][..],
        &["H2C"],
        &["TLS/1.0"],
        &["tls/1.2"],
        &["websockets"],
        &["xwebsocket"],
        &["websocket/13"],
        &["\"websocket\""],
        &["spdy/3.1"],
        &["foo"],
        &["h2c", "foo"],
    ] {
        for connection in ["Upgrade", "Upgrade, HTTP2-Settings", "keep-alive, upgrade"] {
            let (reply, back) = ask(protocols, connection);
            let text = String::from_utf8_lossy(&back).into_owned();
            println!("  {protocols:?} {connection}: {}", reply.status);
            assert_ne!(reply.status, 101, "{protocols:?}: {}", reply.text());
            assert!(!text.contains("TUNNEL"), "{protocols:?}: {text}");
        }
    }
    // Of two protocols at most the WebSocket is established: HAProxy 3.4 takes `h2c` out of a list.
    for protocols in [
        &["websocket", "h2c"][..],
        &["TLS/1.0", "websocket"],
        &["h2c, websocket"],
        &["websocket, h2c"],
        &["websocket,h2c"],
        &["TLS/1.0, websocket"],
    ] {
        let (reply, _) = ask(protocols, "Upgrade, HTTP2-Settings");
        println!("  {protocols:?}: {}", reply.status);
        let protocol = reply.header("Upgrade").filter(|_| reply.status == 101);
        assert!(
            protocol.is_none_or(|protocol| protocol.eq_ignore_ascii_case("websocket")),
            "{protocols:?}: {}",
            reply.text()
        );
    }
    for protocol in ["websocket", "WebSocket"] {
        let (reply, back) = ask(&[protocol], "Upgrade");
        assert_eq!(reply.status, 101, "{}", reply.text());
        assert!(back.starts_with(TUNNEL), "{}", back.escape_ascii());
    }
}

/// 27.
fn absolute_target(stage: &mut Stage) {
    for method in ["GET", "POST"] {
        for target in [
            "http://x/billing/invoices/7/pay",
            "http://127.0.0.1:9000/billing/invoices",
        ] {
            stage.stops(&request(method, target.as_bytes()).bearer(&stage.bare.secret));
        }
    }
}

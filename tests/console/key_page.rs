//! The page of a key with a history, in a browser.

use crate::harness::browser::Browser;
use crate::support::Server;
use serde_json::json;

/// A catalog, and a key of it with an old secret, uses, refusals and a history.
fn busy_key(server: &Server) -> crate::support::Issued {
    let admin = server.admin();
    let catalog = json!({
        "scopes": [
            { "name": "invoices:read", "label": "Read invoices" },
            { "name": "invoices:write", "label": "Create and change invoices" },
        ],
        "operations": [
            { "id": "list", "method": "GET", "path": "/invoices", "any_of": ["invoices:read"], "access": "read" },
            { "id": "make", "method": "POST", "path": "/invoices", "any_of": ["invoices:write"], "access": "write" },
        ],
    });
    admin.put("/v1/catalogs/billing", catalog).expect(201);
    admin.person("alice", "key_manager", "root");
    let key = admin.issue(json!({
        "name": "Nightly export", "description": "Copies invoices to the warehouse", "contact": "team-billing@example.com",
        "catalog": "billing", "scopes": ["invoices:read"], "owner": "alice", "expires_in_s": 7_776_000,
        "allowed_ips": ["203.0.113.0/24", "2001:db8::/32"], "rate_limit": { "limit": 600, "window_s": 60 },
        "metadata": { "team": "billing" },
    }));
    let ask = |secret: &str, ip: &str, method: &str, path: &str| {
        admin.verify(json!({ "key": secret, "ip": ip, "method": method, "path": path }));
    };
    for _ in 0..37 {
        ask(&key.secret, "203.0.113.7", "GET", "/invoices");
    }
    for _ in 0..3 {
        ask(&key.secret, "203.0.113.7", "POST", "/invoices");
    }
    ask(&key.secret, "198.51.100.24", "GET", "/invoices");
    ask(
        &key.secret,
        "2001:db8:85a3::8a2e:370:7334",
        "GET",
        "/nowhere/1234567/with-a-rather-long-path-of-many-words",
    );
    admin.rotate(&key.id, json!({ "grace_s": 86_400 }));
    ask(&key.secret, "203.0.113.8", "GET", "/invoices");
    key
}

#[test]
fn the_page_of_a_busy_key_tells_what_it_does_and_why_it_is_refused() {
    let server = Server::start();
    let Some(browser) = Browser::signed_in(&server) else {
        return;
    };
    let key = busy_key(&server);
    let page = format!("/console/keys/{}", key.id);
    browser.go(&page);
    browser.sees("The old secret");
    browser.sees("It was last used just now.");
    browser.inspect("key-busy");
    browser.press("The codes as a table");
    browser.sees("A scope is missing");
    browser.press("The numbers as a table");
    browser.inspect("key-busy-open");
    for range in ["7 days", "30 days", "90 days"] {
        browser.press(range);
        browser.sees("38 accepted");
    }
    browser.inspect("key-busy-quarter");

    browser.set("path", "/invoices");
    browser.fill("ip", "198.51.100.7");
    browser.press("Test");
    browser.sees("198.51.100.7 is not among the addresses of the key");
    browser.inspect("key-test-refused");
    browser.find("[name=ip]").clear();
    browser.fill("ip", "203.0.113.7");
    browser.press("Test");
    browser.sees("The key opens this request.");
    browser.find("[name=ip]").clear();
    browser.fill("ip", "nowhere");
    browser.press("Test");
    browser.sees("Must be an IPv4 or IPv6 address.");
    browser.inspect("key-test-invalid");

    browser.press("Rotate");
    browser.sees("Only two secrets of a key can work at once");
    browser.inspect("key-rotate-in-grace");
    browser.press("End it now");
    browser.sees("Only the newest secret of the key works now.");
    browser.sees_not("The old secret lk_");
    assert_eq!(server.admin().verdict(&key.secret), "NOT_FOUND");
    browser.press("Rotate");
    browser.sees("It ends on");
    browser.inspect("key-rotate-choices");
    browser.press("Rotate");
    browser.sees("A new secret");
    browser.press("Python");
    browser.sees("urllib.request");
    browser.inspect("key-rotated");
}

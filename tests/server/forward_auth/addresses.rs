//! The client's address: which peers are trusted to forward it, and which headers of an untrusted peer are ignored.
//!
//! Over loopback every peer is trusted; `http::client` tests the rule for other peers alone. Here a second address of
//! this machine stands in for an untrusted peer, if the machine has one.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

use serde_json::json;

use super::verdict;
use crate::support::{Address, Server, User};

#[track_caller]
fn check(server: &Server, secret: &str, forwarded: &[&str], allowed: bool) {
    for proxy in super::PROXIES {
        let user = forwarded.iter().fold(server.bearer(secret), |user, value| {
            user.with("X-Forwarded-For", value)
        });
        let answer = user.get(&format!("/auth/{proxy}"));
        let expected = if allowed {
            (200, None)
        } else {
            (403, Some("IP_NOT_ALLOWED"))
        };
        assert_eq!(verdict(&answer), expected, "{proxy} {forwarded:?}");
    }
}

/// attacks 106, 108, 109, 111
#[test]
fn the_right_most_untrusted_address_decides() {
    let server = Server::start_with(
        &["--trusted-proxies", "10.1.0.0/16,2001:db8:ffff::/48"],
        &[],
    );
    let admin = server.admin();
    let issue = |list: serde_json::Value| {
        admin
            .issue(json!({ "name": "k", "allowed_ips": list }))
            .secret
    };
    let key = issue(json!(["203.0.113.0/24", "2001:db8:1::/48"]));
    let long = vec!["127.0.0.1"; 1000].join(",");
    let long = format!("203.0.113.9,{long}");
    for (forwarded, allowed) in [
        (&["203.0.113.9"][..], true),
        (&["198.51.100.1, 203.0.113.9"], true),
        (&["203.0.113.9, 198.51.100.1"], false),
        (&["203.0.113.9,10.1.2.3 ,\t10.1.2.4"], true),
        (&["203.0.113.9", "10.1.2.3"], true),
        (&["203.0.113.9", "198.51.100.1"], false),
        (&["203.0.113.9, 2001:db8:ffff::1"], true),
        (&["garbage, 203.0.113.9"], true),
        (&["203.0.113.9, garbage"], false),
        (&["203.0.113.9,"], false),
        (&["203.0.113.9, unknown"], false),
        (&[""], false),
        (&["::ffff:203.0.113.9"], true),
        (&["::ffff:cb00:7109"], true),
        (&["::203.0.113.9"], false),
        (&["64:ff9b::cb00:7109"], false),
        (&["2002:cb00:7109::"], false),
        (&["2001:db8:1::9"], true),
        (&["2001:DB8:1:0::9"], true),
        (&["2001:db8:2::9"], false),
        (&["203.0.113.9:80"], true),
        (&["198.51.100.7:80"], false),
        (&["203.0.113.9:80:80"], false),
        (&["203.0.113.9:"], false),
        (&["[203.0.113.9]:80"], false),
        (&["[2001:db8:1::9]"], true),
        (&["[2001:db8:1::9]:443"], true),
        (&["[2001:db8:2::9]:443"], false),
        (&["[2001:db8:1::9]443"], false),
        (&["2001:db8:1::9]:443"], false),
        (&["\"203.0.113.9\""], false),
        (&["fe80::1%eth0"], false),
        (&["203.0.113.009"], false),
        (&["3405803785"], false),
        (&[&long], false),
        (&[], false),
    ] {
        check(&server, &key, forwarded, allowed);
    }
    let loopback = issue(json!(["127.0.0.0/8"]));
    check(&server, &loopback, &[], true);
    check(&server, &loopback, &["203.0.113.9"], false);
    // `Forwarded` and similar headers have no effect here.
    for name in [
        "Forwarded",
        "X-Real-IP",
        "X-Client-IP",
        "True-Client-IP",
        "CF-Connecting-IP",
    ] {
        let user = server.bearer(&key).with(name, "203.0.113.9");
        assert_eq!(
            verdict(&user.get("/auth/nginx")),
            (403, Some("IP_NOT_ALLOWED")),
            "{name}"
        );
    }
    let over_socket = server.local().bearer(&key);
    assert_eq!(
        over_socket.get("/auth/nginx").status,
        403,
        "the socket has no address"
    );
    assert_eq!(
        over_socket
            .with("X-Forwarded-For", "203.0.113.9")
            .get("/auth/nginx")
            .status,
        200
    );
}

/// The address with which this machine reaches other machines, if it has one.
fn outer_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    // Sends nothing: it only looks up the route.
    socket.connect("192.0.2.1:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}

/// attacks 76, 104, 105, 113
#[test]
fn a_peer_that_nobody_trusts_is_not_heard() {
    let Some(outer) = outer_address() else {
        return; // A machine without network has loopback only.
    };
    let dual_stack = TcpListener::bind("[::]:0").is_ok();
    let server = Server::start_on(if dual_stack { "[::]:0" } else { "0.0.0.0:0" });
    let at = |address: IpAddr| {
        User::new(Address::Tcp(SocketAddr::new(
            address,
            server.address.port(),
        )))
    };
    let admin = at(Ipv4Addr::LOCALHOST.into()).bearer(&server.management_key);
    admin.put("/v1/catalogs/shop", json!({
        "scopes": [{ "name": "r" }],
        "operations": [{ "id": "o", "method": "GET", "path": "/items", "access": "read", "any_of": ["r"] }],
    })).expect(201);
    let key = admin
        .issue(json!({ "name": "k", "catalog": "shop", "scopes": ["r"] }))
        .secret;
    let stranger = || at(outer);
    let told = stranger()
        .bearer(&key)
        .with("X-Forwarded-Method", "GET")
        .with("X-Forwarded-Uri", "/items");
    assert_eq!(
        verdict(&told.get("/auth/caddy?catalog=shop")),
        (403, Some("UNSAFE_REQUEST"))
    );
    let told = stranger().bearer(&key).with("X-Latchkey-Catalog", "shop");
    assert_eq!(
        verdict(&told.get("/auth/envoy/items")),
        (403, Some("UNSAFE_REQUEST"))
    );
    stranger().bearer(&key).get("/auth/caddy").expect(200);
    // attacks 113: over a dual-stack socket an IPv4 client is an IPv4 client.
    let bound = admin
        .issue(json!({ "name": "k", "allowed_ips": [outer.to_string()] }))
        .secret;
    stranger().bearer(&bound).get("/auth/caddy").expect(200);
    let spoofed = admin
        .issue(json!({ "name": "k", "allowed_ips": ["203.0.113.9"] }))
        .secret;
    let spoofing = stranger()
        .bearer(&spoofed)
        .with("X-Forwarded-For", "203.0.113.9");
    assert_eq!(
        verdict(&spoofing.get("/auth/caddy")),
        (403, Some("IP_NOT_ALLOWED"))
    );
    stranger()
        .post("/v1/verify", json!({ "key": key }))
        .refused(401, "unauthenticated");
}

/// attacks 116
#[test]
fn a_whole_network_of_trusted_proxies_is_warned_of_at_the_start() {
    for (list, warned) in [
        ("10.0.0.0/8", true),
        ("192.168.7.0/24", true),
        ("2001:db8::/32", true),
        ("fd00:1::/64", true),
        ("192.0.2.7", false),
        ("192.0.2.0/28,2001:db8::1", false),
    ] {
        let server = Server::start_with(&["--trusted-proxies", list], &[]);
        let log = server.log();
        assert_eq!(
            log.contains("can claim any client address"),
            warned,
            "{list}: {log}"
        );
    }
}

//! HAProxy's questions in its own protocol have the answers of `/auth/haproxy`.

use super::{IDENTITY, shop};
use crate::support::{Server, fresh_folder, fresh_loopback};
use frames::{Value, ack, hello, needed, notify, one};
use serde_json::{Value as Json, json};
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;

#[path = "../../../src/http1/agent/testing.rs"]
#[allow(dead_code)]
mod frames;

/// A request of a client of HAProxy.
struct Asked<'a> {
    demands: &'a str,
    method: &'a str,
    uri: &'a str,
    headers: &'a [(&'a str, &'a str)],
}

/// The variables that HAProxy gets for it.
fn variables(stream: &mut (impl Read + Write), asked: &Asked<'_>) -> HashMap<String, String> {
    let target = format!("/auth/haproxy{}", asked.demands);
    let mut arguments = needed(&target);
    arguments[1].1 = Value::Text(asked.method);
    arguments[2].1 = Value::Text(asked.uri);
    for name in ["authorization", "x-api-key"] {
        let values = asked.headers.iter().filter(|(known, _)| *known == name);
        let values: Vec<&str> = values.map(|(_, value)| *value).collect();
        let last = values
            .last()
            .map_or(Value::Null, |value| Value::Text(value));
        arguments.push((name, last));
        let count = match name {
            "authorization" => "authorization.count",
            _ => "x-api-key.count",
        };
        arguments.push((count, Value::Count(values.len() as u64)));
    }
    stream.write_all(&notify((1, 1), &arguments)).unwrap();
    let (_, _, told) = ack(&one(stream));
    told.into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
}

/// Asks in both ways, and expects the same. Returns the variables.
#[track_caller]
fn both(server: &Server, stream: &mut UnixStream, asked: &Asked<'_>) -> HashMap<String, String> {
    let told = variables(stream, asked);
    let mut user = server
        .anonymous()
        .with("X-Forwarded-Method", asked.method)
        .with("X-Forwarded-Uri", asked.uri)
        .with("X-Forwarded-Host", "h")
        .with("X-Forwarded-For", "203.0.113.9");
    for (name, value) in asked.headers {
        user = user.with(name, value);
    }
    let reply = user.get(&format!("/auth/haproxy{}", asked.demands));
    assert_eq!(told["status"], reply.status.to_string());
    let allowed = told.get("allowed").map(String::as_str);
    assert_eq!(allowed, (reply.status == 200).then_some("allowed"));
    let more = ["www-authenticate", "x-auth-code", "retry-after"];
    for name in IDENTITY.iter().chain(&more) {
        let variable = told.get(&name.replace('-', "_")).map(String::as_str);
        assert_eq!(variable, reply.header(name), "{name}");
    }
    told
}

fn connect(path: &Path) -> UnixStream {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.write_all(&hello(16_380)).unwrap();
    assert_eq!(one(&mut stream)[0], 101);
    stream
}

#[test]
fn an_agent_of_haproxy_decides_as_the_route_does() {
    let path = fresh_folder().join("haproxy.sock");
    let agent = format!("unix:{}", path.display());
    let (server, user) = shop(&["r"]);
    let mut server = server.with_args(&["--haproxy-agent", &agent]);
    server.restart();
    let mut stream = connect(&path);
    let bearer = user.authorization();
    let secret = bearer.strip_prefix("Bearer ").unwrap();
    let good = [("authorization", bearer.as_str())];
    let doubled = [("x-api-key", secret), ("x-api-key", secret)];
    let two = [("authorization", bearer.as_str()), ("x-api-key", secret)];
    let basic = [("authorization", "Basic dXNlcjpwYXNz")];
    let bad = [("authorization", "Bearer lk_no"), ("x-api-key", "")];
    let mut statuses = Vec::new();
    for demands in [
        "",
        "?catalog=shop",
        "?catalog=shop&scope=w",
        "?catalog=none",
        "?catalog=",
        "?header=x-api-key",
        "?unknown=1",
        "?workspace=root",
    ] {
        for (method, uri) in [
            ("GET", "/items"),
            ("GET", "/items?a=b"),
            ("POST", "/items"),
            ("GET", "/items/../x"),
            ("get", "/"),
            ("GET", "*"),
        ] {
            for headers in [&good[..], &doubled, &two, &basic, &bad, &[]] {
                let asked = Asked {
                    demands,
                    method,
                    uri,
                    headers,
                };
                let told = both(&server, &mut stream, &asked);
                statuses.push(told["status"].clone());
            }
        }
    }
    for status in ["200", "401", "403"] {
        assert!(statuses.iter().any(|seen| seen == status), "{status}");
    }
    // It ends with the server, which takes its socket away.
    server.stop();
    assert!(!path.exists());
}

/// A limit, a key that is disabled, and an address that is not allowed; and both ways count together.
#[test]
fn what_a_question_uses_up_is_used_up() {
    let path = fresh_folder().join("haproxy.sock");
    let agent = format!("unix:{}", path.display());
    let server = Server::start_with(&["--haproxy-agent", &agent], &[]);
    let issue = |member: &str, value: Json| {
        let mut key = json!({"name": "k"});
        key[member] = value;
        server.admin().issue(key)
    };
    let mut stream = connect(&path);
    let mut ask = |secret: &str| {
        let bearer = format!("Bearer {secret}");
        let headers = [("authorization", bearer.as_str())];
        let asked = Asked {
            demands: "",
            method: "GET",
            uri: "/",
            headers: &headers,
        };
        variables(&mut stream, &asked)
    };
    let limited = issue("rate_limit", json!({"limit": 2, "window_s": 3600}));
    assert_eq!(ask(&limited.secret)["allowed"], "allowed");
    server.anonymous().verdict(&limited.secret);
    let told = ask(&limited.secret);
    assert_eq!(
        (&*told["status"], &*told["x_auth_code"]),
        ("429", "RATE_LIMITED")
    );
    assert!(told["retry_after"].parse::<u32>().unwrap() <= 3600);
    assert!(!told.contains_key("allowed") && !told.contains_key("x_auth_subject"));
    server
        .admin()
        .delete(&format!("/v1/keys/{}", limited.id))
        .expect(204);
    assert_eq!(ask(&limited.secret)["status"], "401");
    let elsewhere = issue("allowed_ips", json!(["203.0.113.8"]));
    let here = issue("allowed_ips", json!(["203.0.113.9"]));
    assert_eq!(ask(&elsewhere.secret)["x_auth_code"], "IP_NOT_ALLOWED");
    assert_eq!(ask(&here.secret)["allowed"], "allowed");
}

#[test]
fn an_agent_listens_where_the_setting_says() {
    let address = SocketAddr::from((fresh_loopback(), 8422));
    let server = Server::start_with(&["--haproxy-agent", &address.to_string()], &[]);
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(&hello(16_380)).unwrap();
    assert_eq!(one(&mut stream)[0], 101);
    // It is no second listener for HTTP.
    let mut other = TcpStream::connect(address).unwrap();
    other
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .unwrap();
    assert_eq!(one(&mut other)[0], 102);
    assert_eq!(other.read(&mut [0]).unwrap(), 0);
    server.wait_for_log("haproxy_agent: a frame is too big", 1);
    server.assert_alive();
}

//! Proxies that add no header of their own, as many do by default: the requests that they pass on have none of the
//! rights of local clients.

use std::fs;
use std::path::Path;

use crate::harness::client::{Request, get, post};
use crate::harness::latchkey::{Latchkey, PORT};
use crate::harness::process::{self, Process};
use crate::harness::stage;

/// In front of Latchkey's address, and of its Unix socket.
const OVER_TCP: u16 = 8086;
const OVER_THE_SOCKET: u16 = 8087;

/// The smallest configuration that makes nginx a proxy. It speaks HTTP/1.0 to Latchkey, under the name in `proxy_pass`.
fn nginx(latchkey: &Latchkey, folder: &Path) -> Option<Process> {
    let program = process::find("nginx")?;
    let site = |port: u16, target: &str| {
        format!("server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass {target}; }} }}")
    };
    let text = format!(
        "daemon off; user root; pid nginx.pid; error_log stderr; events {{}}\n\
         http {{ access_log off; client_body_temp_path b; proxy_temp_path p; fastcgi_temp_path f; uwsgi_temp_path u; \
         scgi_temp_path s;\n{}\n{} }}",
        site(OVER_TCP, &format!("http://127.0.0.1:{PORT}")),
        site(
            OVER_THE_SOCKET,
            &format!("http://unix:{}:", latchkey.socket().display())
        ),
    );
    let config = folder.join("plain.conf");
    fs::write(&config, text).unwrap();
    let (config, place) = (config.to_str().unwrap(), folder.to_str().unwrap());
    let args = ["-p", place, "-c", config];
    Some(Process::start(&program, &args, folder, OVER_TCP))
}

/// The smallest configuration that makes HAProxy a proxy. It speaks HTTP/1.1 to Latchkey.
fn haproxy(latchkey: &Latchkey, folder: &Path) -> Option<Process> {
    let program = process::find("haproxy")?;
    let site = |port: u16, target: &str| {
        format!("listen at{port}\n  bind 127.0.0.1:{port}\n  server latchkey {target}\n")
    };
    let text = format!(
        "defaults\n  mode http\n  timeout connect 5s\n  timeout client 5s\n  timeout server 5s\n{}{}",
        site(OVER_TCP, &format!("127.0.0.1:{PORT}")),
        site(
            OVER_THE_SOCKET,
            &format!("unix@{}", latchkey.socket().display())
        ),
    );
    let config = folder.join("plain.cfg");
    fs::write(&config, text).unwrap();
    let args = ["-db", "-f", config.to_str().unwrap()];
    Some(Process::start(&program, &args, folder, OVER_TCP))
}

/// Everything that a process of this machine may do without a credential.
fn local_rights() -> Vec<Request> {
    let json = |path: &str, body: &str| {
        let request = post(path).header("Content-Type", "application/json");
        request.body(body.as_bytes())
    };
    let form = post("/v1/introspect").header("Content-Type", "application/x-www-form-urlencoded");
    vec![
        get("/metrics"),
        json("/v1/verify", r#"{"key":"x"}"#),
        json("/v1/verify/batch", r#"{"items":[{"key":"x"}]}"#),
        form.body(b"token=x"),
        get("/v1/keys"),
        get("/v1/users"),
        get("/v1/doctor"),
        json(
            "/v1/keys",
            r#"{"name":"x","catalog":"latchkey","scopes":["server:admin"]}"#,
        ),
    ]
}

/// findings S11, H8, c5.
#[track_caller]
fn check(name: &str, start: fn(&Latchkey, &Path) -> Option<Process>, marked: bool) {
    let _lock = stage::alone();
    let folder = stage::fresh_folder(name);
    let latchkey = Latchkey::start(&folder);
    let Some(_proxy) = start(&latchkey, &folder) else {
        println!("left out: the proxy is not installed (dev/test installs it)");
        return;
    };
    for port in [OVER_TCP, OVER_THE_SOCKET] {
        for host in [format!("127.0.0.1:{PORT}"), "localhost".to_owned()] {
            for request in local_rights() {
                let request = request.header("Host", &host);
                let mut requests = vec![request.clone()];
                if marked {
                    requests.push(request.header("Latchkey-Local", "1"));
                }
                for request in requests {
                    let reply = request.send(port);
                    assert_eq!(reply.status, 401, "{port}: {}", reply.text());
                }
            }
            let ready = get("/readyz").header("Host", &host).send(port);
            assert!(ready.text().ends_with("ready\n"), "{}", ready.text());
        }
    }
}

#[test]
fn an_nginx_that_adds_nothing_gives_no_rights_of_its_machine() {
    check("plain nginx", nginx, true);
}

/// Such a proxy has to remove the header if a client sends it; README shows how.
#[test]
fn an_haproxy_that_adds_nothing_gives_no_rights_of_its_machine() {
    check("plain haproxy", haproxy, false);
}

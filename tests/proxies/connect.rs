//! What `latchkey connect` prints, with the real proxies: a good key passes, all others do not, and without Latchkey
//! nothing does.

use std::path::{Path, PathBuf};

use crate::harness::client::{Request, get};
use crate::harness::proxy::{
    CADDY, CURRENT_CADDY, ENVOY, HAPROXY, HAPROXY_SPOE, NGINX, Proxy, TRAEFIK,
};
use crate::harness::stage::Stage;
use crate::wait;

const HOST: &str = "orders.example";

/// What the program of a whole proxy needs around a generated file.
fn surrounded(proxy: &Proxy, folder: &Path) {
    match proxy.folder() {
        // The file is for the folder `conf.d` of an nginx that there is already.
        "nginx" => {
            let text = "daemon off;\npid nginx.pid;\nerror_log stderr warn;\nevents {}\nhttp {\n    access_log off;\n    \
                        client_body_temp_path body;\n    proxy_temp_path proxy;\n    fastcgi_temp_path fastcgi;\n    \
                        uwsgi_temp_path uwsgi;\n    scgi_temp_path scgi;\n    include orders.example.conf;\n}\n";
            std::fs::write(folder.join("nginx.conf"), text).unwrap();
        }
        "caddy" => {
            let file = folder.join("Caddyfile");
            let text = std::fs::read_to_string(&file).unwrap();
            std::fs::write(file, format!("{{\n\tadmin off\n}}\n{text}")).unwrap();
        }
        _ => {}
    }
}

fn generated(
    proxy: &'static Proxy,
    stage: &crate::harness::latchkey::Latchkey,
    folder: &Path,
) -> PathBuf {
    let made = folder.join("example");
    std::fs::create_dir_all(&made).unwrap();
    let listen = format!("127.0.0.1:{}", proxy.port);
    let done = stage.run(&[
        "connect",
        proxy.folder(),
        "--host",
        HOST,
        "--upstream",
        "127.0.0.1:9000",
        "--catalog",
        "billing",
        "--workspace",
        "root",
        "--listen",
        &listen,
        "--out",
        made.to_str().unwrap(),
    ]);
    assert!(done.status.success(), "{done:?}");
    surrounded(proxy, &made);
    made
}

#[track_caller]
fn protects(proxy: &'static Proxy) {
    let probe = get("/").header("Host", HOST);
    let Some(mut stage) = Stage::set_made(proxy, Some(&probe), &generated) else {
        return;
    };
    let ask = |target: &str| get(target).header("Host", HOST);
    stage.passes(&ask("/billing/invoices").bearer(&stage.reader.secret));
    stage.stops(&ask("/billing/invoices"));
    assert_eq!(stage.send(&ask("/billing/invoices")).status, 401);
    let bad = "lk_no_such_secret";
    assert_eq!(
        stage.stops(&ask("/billing/invoices").bearer(bad)).status,
        401
    );
    let missing = ask("/billing/invoices").bearer(&stage.bare.secret);
    stage.refuses(&missing, 403, Some("INSUFFICIENT_SCOPE"));
    // What is forged does not arrive, and the key does not either.
    let forged = ask("/billing/invoices")
        .bearer(&stage.reader.secret)
        .header("Remote-User", "owner")
        .header("X-Auth-Key-Name", "other");
    let seen = stage.passes(&forged);
    assert_eq!(seen.values("x-auth-key-name"), ["reader"]);
    assert!(!seen.text().contains(&stage.reader.secret));
    for strange in [
        "/billing//invoices",
        "/billing/%2e%2e/x",
        "/billing/invoices;x",
    ] {
        stage.stops(&ask(strange).bearer(&stage.reader.secret));
    }
    let (url, connect) = (
        format!("http://{HOST}/billing/invoices"),
        format!("127.0.0.1:{}", proxy.port),
    );
    let mut probe = vec![
        "probe",
        &url,
        "--connect",
        &connect,
        "--catalog",
        "billing",
        "--scope",
        "invoices:read",
        "--echo",
        "/billing/invoices",
    ];
    if stage.keeps_trailers() {
        probe.extend(["--accept", "forged-trailers"]);
    }
    let probed = stage.latchkey.run(&probe);
    let report = String::from_utf8_lossy(&probed.stdout);
    assert!(probed.status.success(), "{report}");
    stage.latchkey.stop();
    let good: Request = ask("/billing/invoices").bearer(&stage.reader.secret);
    wait::until("the proxy has noticed", || stage.send(&good).status >= 500);
    stage.stops(&good);
}

#[test]
fn nginx_protects_with_the_generated_file() {
    protects(&NGINX);
}

#[test]
fn caddy_protects_with_the_generated_file() {
    protects(&CADDY);
}

#[test]
fn the_current_caddy_protects_with_the_generated_file() {
    protects(&CURRENT_CADDY);
}

#[test]
fn haproxy_protects_with_the_generated_files() {
    protects(&HAPROXY);
}

#[test]
fn haproxy_protects_with_the_generated_files_for_an_agent() {
    protects(&HAPROXY_SPOE);
}

#[test]
fn traefik_protects_with_the_generated_files() {
    protects(&TRAEFIK);
}

#[test]
fn envoy_protects_with_the_generated_file() {
    protects(&ENVOY);
}
